"""Erasure of a person: the step that happens at once, in the caller's transaction.

Every actor of the visitor keeps a tombstone (its keyed hash and the instant) that stops late
retries; everything up to that instant goes. Bytes inside kept bodies are a later job's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from ranking.visitors import identity, orders
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

UNTIL = sql.SQL("and e.occurred_at <= %(at)s")
JOINED = SQL.fill("joined", owners=identity.owners("devices", UNTIL))

TABLES = (
    "events", "identity_edges", "user_traits", "users", "profiles", "answers", "paged_lists",
)  # fmt: skip


class Erased(NamedTuple):
    """All actors of the person, for whom the caller derives the visitors again, once for all that
    its transaction changed; and how many rows went, by table."""

    actors: list[UUID]
    counts: dict[str, int]


def erase(connection: Connection, site_id: int, ids: Sequence[UUID], at: datetime) -> Erased:
    """Erase the visitors these actors belong to, up to `at`.

    Locks as ingest does: actors in key order, then identity. Whoever joined the visitor before the
    lock was ours is erased with it.
    """
    actors = _person(connection, site_id, ids, at)
    connection.execute(SQL.tombstones, {"site": site_id, "actors": actors, "at": at})
    connection.execute(identity.SQL.lock, {"site": site_id})
    late = sorted(set(_person(connection, site_id, ids, at)) - set(actors))
    connection.execute(SQL.tombstones, {"site": site_id, "actors": late, "at": at})
    parameters = {"site": site_id, "actors": actors + late, "at": at}
    counts = {"orders": orders.unname(connection, site_id, actors + late, at)}
    for table in TABLES:
        counts[table] = connection.execute(getattr(SQL, table), parameters).rowcount
    counts["actors"] = connection.execute(SQL.forget_ids, parameters).rowcount
    return Erased(actors + late, counts)


def of_orders(connection: Connection, site_id: int, order_ids: Sequence[str]) -> list[UUID]:
    """Everybody who was told to have placed these orders."""
    found = connection.execute(SQL.of_orders, {"site": site_id, "orders": list(order_ids)})
    return [row[0] for row in found]


def _person(connection: Connection, site_id: int, ids: Sequence[UUID], at: datetime) -> list[UUID]:
    """Whose ids these were at that instant, in key order: what was joined later is somebody's new
    life. A recursive query would look up the owner of an id once for each fact about it."""
    person, reached = set(ids), set(ids)
    parameters = {"site": site_id, "at": at, "most_owners": identity.MOST_OWNERS}
    while reached:
        rows = connection.execute(JOINED, parameters | {"actors": list(reached)}).fetchall()
        devices = [(first, second) for kind, first, second, _ in rows if kind == "device"]
        owned = [row[1:] for row in rows if row[0] == "owned"]
        pairs = [row[1:3] for row in rows if row[0] == "same"] + identity.joined(devices, owned)
        # A user's facts also name ids that somebody else owns.
        joined = {actor for pair in pairs if not reached.isdisjoint(pair) for actor in pair}
        reached = joined - person
        person |= reached
    return sorted(person)
