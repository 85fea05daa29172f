"""What became of everything received: received = applied + duplicate + ignored + refused + failed.

Sums over the deliveries kept and the minutes of those that were; `/admin/v1/ledger`, the command
line and `/metrics` read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row, dict_row

from connectors import CONNECTORS
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

COLUMNS = ("received", "applied", "duplicate", "ignored", "refused", "failed")
MINUTES_AT_MOST = 1440

# Events are looked through for those that lack a product this far back, and so many at most.
LOOKED_BACK = timedelta(days=7)
LOOKED_THROUGH = 20_000


@dataclass(frozen=True, slots=True)
class Total:
    """One source's sums."""

    site: str
    source: str
    connector: str
    received: int
    applied: int
    duplicate: int
    ignored: int
    refused: int
    failed: int


def totals(connection: Connection) -> list[Total]:
    """The sums of every source of every site."""
    with connection.cursor(row_factory=class_row(Total)) as cursor:
        return cursor.execute(SQL.totals).fetchall()


def backlog(connection: Connection) -> list[tuple[str, int]]:
    """How many products wait for their vector, by site; sites without any are left out."""
    return connection.execute(SQL.backlog).fetchall()


def of_site(
    connection: Connection,
    site_id: int,
    *,
    source_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """A site's sums, whole and by source: {"total": {…}, "sources": [{…}]}."""
    params = {"site_id": site_id, "source_id": source_id, "since": since, "until": until}
    rows = _rows(connection, SQL.by_source, params)
    names = ("deliveries", *COLUMNS)
    return {"total": {name: sum(row[name] for row in rows) for name in names}, "sources": rows}


def minutes(
    connection: Connection,
    site_id: int,
    *,
    source_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 60,
) -> list[dict[str, Any]]:
    """A site's sums by minute and source, newest first, minutes without deliveries left out."""
    params = {"site_id": site_id, "source_id": source_id, "since": since, "until": until}
    return _rows(connection, SQL.by_minute, params | {"limit": min(limit, MINUTES_AT_MOST)})


def without_product(connection: Connection, site_id: int, *, at: datetime) -> list[dict[str, Any]]:
    """Recent events that are about a product and named none, by source and action: kept as custom,
    of no use to lists, and a sign that a source's products go by another name."""
    pairs = [(name, action) for name, c in CONNECTORS.items() for action in c.about_products]
    params = {
        "site_id": site_id,
        "at": at,
        "since": at - LOOKED_BACK,
        "limit": LOOKED_THROUGH,
        "connectors": [connector for connector, _ in pairs],
        "actions": [action for _, action in pairs],
    }
    return _rows(connection, SQL.without_product, params)


def _rows(connection: Connection, statement: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, params).fetchall()
