"""Going live and back: which version serves is flipped in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from ranking.catalog import learned_models
from ranking.catalog.learned_models import NAME, Learned
from ranking.catalog.models import SQL
from ranking.training import build
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

TRIES = 20


class NoSuchVersion(AttuneError):
    """No version of that number can serve."""


def promote(connection: Connection, learned: Learned, *, again: bool = False) -> None:
    """Make it the live version: caught up with the catalog, then flipped in one transaction while
    no product changes. `again`: it is gone back to. The connection is in autocommit."""
    site_id = learned.model.site_id
    build.catch_up(connection, learned)
    for attempt in range(TRIES):
        try:
            with connection.transaction():
                connection.execute(SQL.wait_briefly)
                connection.execute(SQL.lock_models, {"site_id": site_id})
                build.catch_up(connection, learned)
                retire = SQL.go_back if again else SQL.retire
                connection.execute(retire, {"site_id": site_id, "name": NAME})
                row = {"site_id": site_id, "model_id": learned.model_id, "again": again}
                connection.execute(SQL.go_live, row)
            break
        except psycopg.errors.LockNotAvailable:
            if attempt + 1 == TRIES:
                raise
    learned_models.uncache(connection, site_id)
    learned_models.drop_left_over(connection, site_id)


def promote_by_hand(
    connection: Connection, site_id: int, model_id: int, *, again: bool = False
) -> None:
    """Make any version live that can serve: not refused, nor older than the last two. Raises
    NoSuchVersion."""
    gone = NoSuchVersion(
        f"no learned version {model_id} can serve: it was refused, or is older than the last two, "
        "or there is none; `models SITE` says which can"
    )
    learned = learned_models.version(connection, site_id, model_id)
    if learned is None:
        raise gone
    try:
        promote(connection, learned, again=again)
    except psycopg.errors.UndefinedTable:  # dropped while we waited
        raise gone from None


def rollback(connection: Connection, site_id: int) -> int | None:
    """Back to the version that was live before this one, or to none, where texts and popularity
    answer; its number. Raises NoSuchVersion where none is live."""
    site = {"site_id": site_id, "name": NAME}
    row = connection.execute(SQL.live_since, site).fetchone()
    if row is None:
        raise NoSuchVersion("no learned version is live: there is nothing to go back from")
    before = connection.execute(SQL.before, site | {"promoted_at": row[1]}).fetchone()
    if before is not None:
        promote_by_hand(connection, site_id, before[0], again=True)
        return int(before[0])
    with connection.transaction():
        connection.execute(SQL.lock_models, {"site_id": site_id})
        connection.execute(SQL.go_back, site)
    learned_models.uncache(connection, site_id)
    return None


def is_held(connection: Connection, site_id: int) -> bool:
    """Whether somebody went back to an earlier version and promoted none since: then a schedule
    promotes none either."""
    row = connection.execute(SQL.held, {"site_id": site_id, "name": NAME}).fetchone()
    return bool(row and row[0])


def versions(connection: Connection, site_id: int) -> list[dict[str, Any]]:
    """All versions of the site's models, the newest first, each with its record."""
    cursor = connection.execute(SQL.versions, {"site_id": site_id, "name": None})
    return [_shown(row) for row in database.dicts(cursor)]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in row.items()
    }


def live_id(connection: Connection, site_id: int) -> int | None:
    """The number of the live learned version."""
    row = connection.execute(SQL.live_since, {"site_id": site_id, "name": NAME}).fetchone()
    return int(row[0]) if row else None
