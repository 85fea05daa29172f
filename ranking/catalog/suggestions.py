"""What is suggested to whoever types, read anew from the catalog: its words, and the texts that
complete what is typed. The worker refreshes it; nothing waits for it, since a word that some
product has is known to be right whether or not it is here yet.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ranking.catalog import completions, encoder, vocabulary
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# Raise it with any change in what is read from a record, and every catalog is read anew.
RECIPE = 2
AT_LEAST_EVERY = timedelta(hours=1)  # what is popular changes, and what can be bought
PAUSE = 20  # times as long as reading took, until a changed catalog is read again
UNREAD = (
    "description", "short_description", "html", "headers", "paragraphs", "anchors", "children",
)  # fmt: skip
FETCHED = 2000


def refresh(
    connection: Connection, site_id: int, at: datetime, *, everything: bool = False
) -> dict[str, int]:
    """Read the site's catalog if its words changed, or after an hour; returns what was written.

    A catalog that took long to read rests for longer before it is read again, unless `everything`
    is asked for. Readers see what was or what is; rows that stay equal are not written.
    """
    with connection.transaction():
        asked = {"site_id": site_id, "at": at, "pause": PAUSE, "every": AT_LEAST_EVERY}
        [fingerprint] = connection.execute(SQL.fingerprint, {"site_id": site_id}).fetchone() or [""]
        asked["fingerprint"] = f"{RECIPE}:{fingerprint}"
        if not everything and not connection.execute(SQL.is_due, asked).fetchone():
            return {}
        began = time.monotonic()
        connection.execute(SQL.begin, asked)
        counted, collected = vocabulary.Counted(), completions.Collected()
        for product_no, available, record, popular in _records(connection, site_id):
            counted.add(text for kind, text in encoder.parts(record) if kind != "subtitle")
            if available:
                collected.add(product_no, record, popular)
        written = {
            "words": vocabulary.keep(connection, site_id, counted.words()),
            "completions": completions.keep(
                connection, site_id, collected.completions(), historical=False
            ),
        }
        connection.execute(SQL.end, asked | {"took_s": time.monotonic() - began})
    return written


def _records(
    connection: Connection, site_id: int
) -> Iterator[tuple[int, bool, dict[str, Any], float]]:
    """Piece by piece: a whole catalog would not fit into a worker's memory."""
    with connection.cursor(name="suggestions") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(SQL.records, {"site_id": site_id, "unread": list(UNREAD)})
        yield from cursor
