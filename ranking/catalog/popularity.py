"""How much each product was asked for in the days before an instant. The worker refreshes it,
trending lists and cold visitors read it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

WINDOW = timedelta(days=7)
HALF_LIFE = timedelta(days=1)

# How much one event says; what is not named says nothing, impressions least of all: they are our
# own doing. Chosen by order (purchase > cart > wish > click > view), not tuned on any data.
WEIGHTS = {
    "purchase": 8.0,
    "add_to_cart": 4.0,
    "add_to_collection": 2.0,
    "like": 2.0,
    "bookmark": 2.0,
    "share": 2.0,
    "subscribe": 2.0,
    "complete": 2.0,
    "click": 1.5,
    "product_detail_page_view": 1.0,
    "read": 1.0,
    "watch": 1.0,
    "listen": 1.0,
    "rate": 1.0,
    "checkout_started": 1.0,
}


def refresh(connection: Connection, site_id: int, at: datetime) -> int:
    """Recompute the site's popularity as of `at`; returns how many products have any.

    `popular` is the sum of weights over WINDOW, `trending` the same halved by each HALF_LIFE of
    age. Where the window is empty it is that before the newest event instead. One statement:
    readers see the old rows or the new ones, and rows that stay equal are not written.
    """
    row = connection.execute(
        SQL.refresh,
        {
            "site_id": site_id,
            "at": at,
            "window": WINDOW,
            "half_life": HALF_LIFE,
            "weights": database.jsonb(WEIGHTS),
        },
    ).fetchone()
    return int(row[0]) if row else 0
