"""What visitors search for: derived from their events, and which searches of ours found nothing.

The worker refreshes it in one pass over the newest searches. What looks like an address or a number
of a person is never kept, and what somebody searched for who was erased goes with the next refresh.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ranking.catalog import completions, words
from ranking.catalog.completions import HISTORICAL, Completion
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

WINDOW = timedelta(days=90)
LATELY = timedelta(days=7)
MOST_SEARCHES = 500_000  # the newest, that one refresh reads
MOST_TEXTS = 50_000  # kept for a site
LONGEST = 100  # characters of a query
MOST_IN_VAIN = 10_000  # texts of a site a day
KINDS = ("popular", "rising", "no_results")

_NUMBER = re.compile(r"\d(?:[\s().+/-]{0,2}\d){6,}")


def is_kept(text: str) -> bool:
    """Whether a query says nothing of a person: no e-mail, telephone or other long number."""
    return (
        len(text) <= LONGEST
        and "@" not in text
        and not _NUMBER.search(text)
        and bool(words.folded(text))
    )


# from events ------------------------------------------------------------------------------------


def refresh(connection: Connection, site_id: int, at: datetime) -> dict[str, int]:
    """Count the searches of the last 90 days as of `at`; returns how many texts there are. Rows
    that stay equal are not written."""
    window = {
        "site_id": site_id,
        "since": at - WINDOW,
        "at": at,
        "lately": at - LATELY,
        "before": at - 2 * LATELY,
        "most": MOST_SEARCHES,
        "longest": LONGEST,
    }
    with connection.transaction():
        texts = [row[0] for row in connection.execute(SQL.texts, window)]
        folded = [
            {"text": text, "folded": " ".join(words.folded(text))}
            for text in texts
            if is_kept(text)
        ]
        parameters = window | {"texts": database.jsonb(folded), "kept": MOST_TEXTS}
        connection.execute(SQL.refresh, parameters)
        found = connection.execute(SQL.completing, window).fetchall()
        now = {
            (HISTORICAL, text): Completion(shown, completions.weight(visitors), visitors, None)
            for text, shown, visitors in found
        }
        completions.keep(connection, site_id, now, historical=True)
    return {"queries": len(found)}


# in vain ----------------------------------------------------------------------------------------


def in_vain(connection: Connection, site_id: int, text: str, at: datetime) -> None:
    """Count a search that found nothing. Serving connections do not wait for the disk here."""
    if not is_kept(text):
        return
    parameters = {
        "site_id": site_id,
        "day": at.astimezone(UTC).date(),
        "folded": " ".join(words.folded(text)),
        "text": text.strip(),
        "at": at,
        "most": MOST_IN_VAIN,
    }
    if not connection.execute(SQL.again_in_vain, parameters).rowcount:
        connection.execute(SQL.in_vain, parameters)


def purge(connection: Connection, before: datetime) -> int:
    """Forget the searches in vain of days before then; returns how many texts went."""
    return connection.execute(SQL.purge, {"before": before.astimezone(UTC).date()}).rowcount


# looking ----------------------------------------------------------------------------------------


def report(
    connection: Connection, site_id: int, kind: str, *, at: datetime, limit: int
) -> list[dict[str, Any]]:
    """Queries of a kind, the most telling first. `popular` by searches of 90 days, `rising` by how
    many more there were in the last 7 days than in the 7 before, `no_results` by how many searches
    of ours found nothing in 90 days (`visitors` are null where no event tells of it)."""
    parameters = {
        "site_id": site_id,
        "limit": limit,
        "since": (at - WINDOW).astimezone(UTC).date(),
    }
    statement = {"popular": SQL.popular, "rising": SQL.rising, "no_results": SQL.no_results}[kind]
    return database.dicts(connection.execute(statement, parameters))
