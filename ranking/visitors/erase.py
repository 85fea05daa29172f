"""Erasure of a person: the step that happens at once, in the caller's transaction.

Every actor of the visitor keeps a tombstone (its keyed hash and the instant) that stops late
retries; everything up to that instant goes. Bytes inside kept bodies are a later job's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ranking.visitors import identity
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)


def erase(
    connection: Connection, site_id: int, ids: Sequence[UUID], at: datetime
) -> dict[str, int]:
    """Erase the visitors these actors belong to, up to `at`. Returns rows removed by table.

    Locks as ingest does: actors in key order, then identity. Whoever joined the visitor before the
    lock was ours is erased with it.
    """
    actors = _person(connection, site_id, ids, at)
    connection.execute(SQL.tombstones, {"site": site_id, "actors": actors, "at": at})
    connection.execute(identity.SQL.lock, {"site": site_id})
    late = sorted(set(_person(connection, site_id, ids, at)) - set(actors))
    connection.execute(SQL.tombstones, {"site": site_id, "actors": late, "at": at})
    parameters = {"site": site_id, "actors": actors + late, "at": at}
    removed = {
        name: connection.execute(getattr(SQL, name), parameters).rowcount
        for name in ("events", "identity_edges", "user_traits", "users", "profiles")
    }
    connection.execute(SQL.forget_ids, parameters)
    identity.rebuild(connection, site_id, actors + late)
    return removed


def _person(connection: Connection, site_id: int, ids: Sequence[UUID], at: datetime) -> list[UUID]:
    """Whose ids these were at that instant: what was joined later is somebody's new life."""
    parameters = {"site": site_id, "actors": list(ids), "at": at}
    parameters["most_owners"] = identity.MOST_OWNERS
    return [row[0] for row in connection.execute(SQL.person, parameters)]
