"""Products that began without a history and are still to have their chance in lists. A worker's
task finds and counts them; `exploring` draws from those that are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# That one request compares; the newest, of which a shop has something to learn.
MOST = 500
ENOUGH = 100  # times seen


def refresh(
    connection: Connection,
    site_id: int,
    at: datetime,
    *,
    settled: datetime,
    looks: Sequence[float],
    enough: int = ENOUGH,
) -> dict[str, int]:
    """Take in products without any event, and tell whose chance is over: after `enough` times seen
    in lists. Of lists given since `settled` an explored place counts with how likely it is looked
    at (`looks`, from the first place on). Returns how many there are of each state."""
    parameters = {
        "site_id": site_id,
        "at": at,
        "settled": settled,
        "looks": list(looks),
        "enough": enough,
    }
    with connection.transaction():
        connection.execute(SQL.joined_by_hash)
        connection.execute(SQL.enter, parameters)
        connection.execute(SQL.open_again, parameters)
        connection.execute(SQL.count, parameters)
    return tally(connection, site_id)


def open_ones(connection: Connection, site_id: int) -> list[int]:
    """The numbers of those that may be shown for their chance, the newest first."""
    rows = connection.execute(SQL.open_ones, {"site_id": site_id, "most": MOST})
    return [row[0] for row in rows]


def tally(connection: Connection, site_id: int) -> dict[str, int]:
    """How many products wait for their chance (`open`), may have had it (`waiting`), have had it
    (`done`)."""
    found = dict(connection.execute(SQL.tally, {"site_id": site_id}).fetchall())
    return {state: int(found.get(state, 0)) for state in ("open", "waiting", "done")}
