"""What visitors search for: derived from their events, and which searches of ours found nothing, or
something only once their words were corrected.

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
MOST_A_DAY = 10_000  # texts of a site that found nothing; as many that were corrected
KINDS = ("popular", "rising", "no_results", "corrected")

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


# searches of ours -------------------------------------------------------------------------------


def in_vain(connection: Connection, site_id: int, text: str, at: datetime) -> None:
    """Count a search that found nothing. Serving connections do not wait for the disk here."""
    _count(connection, SQL.again_in_vain, SQL.in_vain, _search(site_id, text, at))


def after_correction(
    connection: Connection, site_id: int, text: str, corrected: str, at: datetime
) -> None:
    """Count a search that found something for the corrected text, some word of which no product
    has as it was typed."""
    search = _search(site_id, text, at) | {"corrected": corrected.strip()}
    _count(connection, SQL.again_corrected, SQL.corrected, search)


def _search(site_id: int, text: str, at: datetime) -> dict[str, Any]:
    return {
        "site_id": site_id,
        "day": at.astimezone(UTC).date(),
        "folded": " ".join(words.folded(text)),
        "text": text.strip(),
        "at": at,
        "most": MOST_A_DAY,
    }


def _count(connection: Connection, again: str, first: str, search: dict[str, Any]) -> None:
    if is_kept(search["text"]) and not connection.execute(again, search).rowcount:
        connection.execute(first, search)


def purge(connection: Connection, before: datetime) -> int:
    """Forget these searches of days before then; returns how many texts went."""
    asked = {"before": before.astimezone(UTC).date()}
    row = connection.execute(SQL.purge, asked).fetchone()
    return int(row[0]) if row else 0


# looking ----------------------------------------------------------------------------------------


def report(
    connection: Connection, site_id: int, kind: str, *, at: datetime, limit: int
) -> list[dict[str, Any]]:
    """Queries of a kind, the most telling first. `popular` by searches of 90 days, `rising` by how
    many more there were in the last 7 days than in the 7 before, `no_results` by how many searches
    of ours found nothing in 90 days, `corrected` by how many found something only as
    `corrected_text` (`visitors` are null where no event tells of it)."""
    parameters = {
        "site_id": site_id,
        "limit": limit,
        "since": (at - WINDOW).astimezone(UTC).date(),
    }
    statements = {
        "popular": SQL.popular,
        "rising": SQL.rising,
        "no_results": SQL.no_results,
        "corrected": SQL.report_corrected,
    }
    return database.dicts(connection.execute(statements[kind], parameters))
