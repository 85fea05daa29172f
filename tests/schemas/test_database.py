"""Partitions: made for as long as events are kept. Connections: nothing is left of them."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from pgvector.psycopg.vector import VectorDumper
from psycopg import sql
from structlog.testing import capture_logs

from schemas import database
from schemas.database import Connection
from tests.conftest import FOLDER

AT = datetime.now(UTC)


def test_partitions_reach_back_as_far_as_events_are_kept(connection: Connection) -> None:
    oldest = AT.replace(year=AT.year - 2, day=1)
    made = database.make_partitions(connection, at=AT, events_days=2 * 366)
    assert f"events_{oldest:%Y_%m}" in made


def test_making_partitions_again_makes_none(connection: Connection) -> None:
    database.make_partitions(connection, at=AT, events_days=800)
    assert database.make_partitions(connection, at=AT, events_days=400) == []


def test_a_connection_leaves_nothing_behind(clean_database: str) -> None:
    """pgvector makes classes for each connection that it is told to, and psycopg keeps them."""
    with closing(database.connect(clean_database)):
        before = len(VectorDumper.__subclasses__())
    for _ in range(5):
        with closing(database.connect(clean_database)) as connection:
            row = connection.execute("select '[1,2]'::vector").fetchone()
            assert row and row[0].to_list() == [1, 2]
    assert len(VectorDumper.__subclasses__()) == before


@pytest.mark.parametrize("form", ["text", "bytes", "composed", "prepared"])
def test_a_statement_that_takes_too_long_is_told_by_its_beginning_alone(
    clean_database: str, servers: dict[str, str], form: str
) -> None:
    """Filters make some of them tens of kilobytes, which a log must not repeat each time."""
    end = f"the end of a {form} statement"
    text = f"select pg_sleep(20) /* {'x' * 20_000} {end} */"
    with (
        capture_logs() as lines,
        closing(database.connect(clean_database, options="-c statement_timeout=50")) as connection,
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        match form:
            case "prepared":
                database.prepared(sql.SQL(text)).execute(connection, {})  # type: ignore[arg-type]
            case "composed":
                connection.execute(sql.SQL(text))  # type: ignore[arg-type]
            case _:
                connection.execute(text if form == "text" else text.encode())  # type: ignore[arg-type]
    [line] = lines
    assert line["event"] == "a statement took too long"
    assert line["statement"] == text[: database.LONGEST_TOLD]
    log = (Path(servers[FOLDER]) / "run" / "postgres.log").read_text()
    assert "canceling statement due to statement timeout" in log
    assert end not in log
