"""Partitions: made for as long as events are kept."""

from __future__ import annotations

from datetime import UTC, datetime

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
