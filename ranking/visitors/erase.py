"""Erasure of a person: the step that happens at once, in the caller's transaction.

Every actor of the visitor keeps a tombstone (its keyed hash and the instant) that stops late
retries; everything up to that instant goes. Bytes inside kept bodies are a later job's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    its transaction changed; the orders they placed; and how many rows went, by table."""

    actors: list[UUID]
    orders: list[str]
    counts: dict[str, int]


def lock(connection: Connection, site_id: int, joined: Iterable[UUID] = ()) -> bool:
    """Keep erasures and what writes more than events apart, to the end of the transaction: they
    lock the same rows in orders of their own, and who was erased must be seen by what comes after.
    Events of anonymous ids alone need it not: their one statement sees to it. Who joins (`joined`)
    an id to one that was erased may erase it too, so it waits as an erasure does; then true."""
    where = {"site": site_id, "joined": list(joined)}
    row = connection.execute(SQL.lock_shared, where).fetchone()
    return bool(row and row[0])


def lock_alone(connection: Connection, site_id: int) -> None:
    """The same for an erasure; taken before anything else, for it waits for all that write."""
    connection.execute(SQL.lock_alone, {"site": site_id})


def erase(connection: Connection, site_id: int, ids: Sequence[UUID], at: datetime) -> Erased:
    """Erase the visitors these actors belong to, up to `at`.

    The caller holds `lock_alone`. Actors are locked as ingest does, in key order, then identity.
    """
    lock_alone(connection, site_id)
    actors = _person(connection, site_id, ids, at)
    connection.execute(SQL.tombstones, {"site": site_id, "actors": actors, "at": at})
    connection.execute(identity.SQL.lock, {"site": site_id})
    parameters = {"site": site_id, "actors": actors, "at": at}
    placed = orders.placed_by(connection, site_id, actors, at)
    counts = {"orders": orders.unname(connection, site_id, actors, at)}
    for table in TABLES:
        counts[table] = connection.execute(getattr(SQL, table), parameters).rowcount
    counts["actors"] = connection.execute(SQL.forget_ids, parameters).rowcount
    return Erased(actors, placed, counts)


def of_orders(connection: Connection, site_id: int, order_ids: Sequence[str]) -> list[UUID]:
    """Everybody who was told to have placed these orders, but users whom only a claim names."""
    where = {"site": site_id, "orders": list(order_ids), "claimed": orders.BROWSER}
    found = connection.execute(SQL.of_orders, where)
    return [row[0] for row in found]


def _person(connection: Connection, site_id: int, ids: Sequence[UUID], at: datetime) -> list[UUID]:
    """Whose ids these were at that instant, in key order: what was joined later is somebody's new
    life. Facts are read of whole visitors as they are now, which are most of the person, and of
    whoever else the facts lead to."""
    where = {"site": site_id, "at": at, "most_owners": identity.MOST_OWNERS}
    unread = set(identity.members_of(connection, site_id, ids))
    read: set[UUID] = set()
    pairs: list[tuple[UUID, UUID]] = []
    while True:
        rows = connection.execute(JOINED, where | {"actors": list(unread)}).fetchall()
        devices = [(first, second) for kind, first, second, _ in rows if kind == "device"]
        owned = [row[1:] for row in rows if row[0] == "owned"]
        pairs += [row[1:3] for row in rows if row[0] == "same"] + identity.joined(devices, owned)
        read |= unread
        person = identity.reached(ids, pairs)
        unread = person - read
        if not unread:
            return sorted(person)
