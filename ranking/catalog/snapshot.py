"""A snapshot tells a whole catalog: what it does not name is no longer to be had. The importer and
feeds name what they read under a run of theirs, which survives a kill, and end with `vanished`.

    snapshot.name(connection, site_id, run, ids, at)      as often as there are ids
    gone = snapshot.vanished(connection, site_id, run)    raises TooManyVanish unless force=True
    for body in snapshot.patches(gone): ingest.deliver(…, topic=snapshot.TOPIC, body=body)
    snapshot.forget(connection, site_id, run)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

MOST_VANISH = 0.5  # of the available products, unless forced: a cut-off file must not empty a shop
TOPIC = "products/_patch"
PRODUCTS_A_BODY = 1000


class TooManyVanish(AttuneError):
    """A snapshot lacks more than half of what is available: probably it is not whole."""

    def __init__(self, gone: int, available: int) -> None:
        super().__init__(
            f"the snapshot lacks {gone:,} of {available:,} available products, more than half: "
            "none was made unavailable. If it is whole, say so with --force"
        )
        self.gone = gone
        self.available = available


def name(
    connection: Connection, site_id: int, run: str, product_ids: Iterable[str], at: datetime
) -> None:
    """The run's snapshot holds these products; saying so again changes nothing."""
    ids = sorted(set(product_ids))
    connection.execute(
        SQL.name, {"site_id": site_id, "run": run, "ids": database.jsonb(ids), "at": at}
    )


def count(connection: Connection, site_id: int, run: str) -> tuple[int, int]:
    """How many products are available, and how many of them the run did not name.

    What was written after the run's first product is left alone: it came from somebody else.
    """
    row = connection.execute(SQL.count, _judged(connection, site_id, run)).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def share(connection: Connection, site_id: int, run: str) -> float:
    """The share of the available products that the run did not name, 0 where there are none."""
    available, gone = count(connection, site_id, run)
    return gone / available if available else 0.0


def vanished(connection: Connection, site_id: int, run: str, *, force: bool = False) -> list[str]:
    """The ids of the available products that the run did not name; raises TooManyVanish."""
    available, gone = count(connection, site_id, run)
    if gone > MOST_VANISH * available and not force:
        raise TooManyVanish(gone, available)
    rows = connection.execute(SQL.vanished, _judged(connection, site_id, run))
    return [row[0] for row in rows]


def _judged(connection: Connection, site_id: int, run: str) -> dict[str, Any]:
    return {"site_id": site_id, "run": run, "began": began(connection, site_id, run)}


def began(connection: Connection, site_id: int, run: str) -> datetime | None:
    """When the run named its first product; None where it has named none."""
    row = connection.execute(SQL.began, {"site_id": site_id, "run": run}).fetchone()
    return row[0] if row else None


def patches(product_ids: Sequence[str]) -> Iterator[bytes]:
    """Bodies for `ingest.deliver` under TOPIC that make these products unavailable."""
    for start in range(0, len(product_ids), PRODUCTS_A_BODY):
        batch = product_ids[start : start + PRODUCTS_A_BODY]
        gone = [{"product_id": one, "availability": "OUT_OF_STOCK"} for one in batch]
        yield msgspec.json.encode({"data": gone})


def forget(connection: Connection, site_id: int, run: str) -> None:
    """Drop what a finished run has named."""
    connection.execute(SQL.forget, {"site_id": site_id, "run": run})


def purge(connection: Connection, before: datetime) -> int:
    """Drop runs that named nothing since then, and so were given up; returns how many names."""
    return connection.execute(SQL.purge, {"before": before}).rowcount
