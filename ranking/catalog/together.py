"""Which products are bought with which: in one order, or in the same half hour by the same visitor.
The worker refreshes it; the strategy `together` reads it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

SESSION = timedelta(minutes=30)
WINDOW = timedelta(days=365)
MOST_PURCHASES = 500_000  # the newest; what a shop sold before tells little about today
MOST_PRODUCTS = 50  # of a basket, whose pairs are its square
KEPT = 50  # of a product
# Baskets that speak against a pair: one basket is chance, ten are a habit. Hand-set.
SHRINK = 2.0


def refresh(connection: Connection, site_id: int, at: datetime) -> tuple[int, int]:
    """Count anew, as of `at`; returns how many pairs are kept, and of how many baskets.

    The score of two products is their baskets' cosine, both / √(one · other), times
    both / (both + SHRINK) (Sarwar et al. 2001, item-based collaborative filtering; shrinkage: Bell
    and Koren 2007).
    Readers see the old rows or the new ones, and rows that stay equal are not written. An import
    and the worker may count at once: one waits for the other.
    """
    parameters = {
        "site_id": site_id,
        "at": at,
        "session": SESSION,
        "window": WINDOW,
        "most_purchases": MOST_PURCHASES,
        "most": MOST_PRODUCTS,
        "kept": KEPT,
        "shrink": SHRINK,
    }
    with connection.transaction():
        connection.execute(SQL.alone, {"site_id": site_id})
        row = connection.execute(SQL.refresh, parameters).fetchone()
    return (row[0], row[1]) if row else (0, 0)
