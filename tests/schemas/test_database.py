"""Partitions: made for as long as events are kept. Connections: nothing is left of them."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

from pgvector.psycopg.vector import VectorDumper

from schemas import database
from schemas.database import Connection

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
