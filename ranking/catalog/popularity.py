"""How much each product was asked for in the days before an instant. The worker refreshes it;
lists for strangers, trending lists and the prior of recommendations read it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# Half-lives, window and share were chosen on three weeks of Online Retail before its test cut
# (docs/decisions.md); a window without end, or none of the long share, was worse elsewhere.
WINDOW = timedelta(days=7)
HALF_LIFE = timedelta(days=4)
TREND_HALF_LIFE = timedelta(days=1)
LONG_HALF_LIFE = timedelta(days=90)
LONG_SHARE = 0.01  # of an event of the window
FLOOR = 20.0  # events: a shop with fewer for its best product says little about any
NEW_FACTOR = 1.5  # times the mean share: the chance given to products without history

# How much one event says, in purchases; what is not named says nothing, impressions least of all:
# they are our own doing. Chosen by order (purchase > cart > wish > click > view), not tuned.
WEIGHTS = {
    "purchase": 1.0,
    "add_to_cart": 0.5,
    "add_to_collection": 0.25,
    "like": 0.25,
    "bookmark": 0.25,
    "share": 0.25,
    "subscribe": 0.25,
    "complete": 0.25,
    "click": 0.2,
    "product_detail_page_view": 0.125,
    "read": 0.125,
    "watch": 0.125,
    "listen": 0.125,
    "rate": 0.125,
    "checkout_started": 0.125,
}


def refresh(connection: Connection, site_id: int, at: datetime, *, everything: bool = False) -> int:
    """Recompute the site's popularity as of `at`; returns how many products have any.

    `popular` is the sum over WINDOW of weights halved by each HALF_LIFE, and LONG_SHARE of the
    same over all time with LONG_HALF_LIFE; `trending` halves by TREND_HALF_LIFE. Where the window
    is empty it is that before the newest event instead. Readers see the old rows or the new ones,
    and rows that stay equal are not written: ages count from the start of a day. All time is gone
    through once a day, and with `everything`: after an import of the past.
    """
    parameters = {
        "site_id": site_id,
        "at": at,
        "window": WINDOW,
        "half_life": HALF_LIFE,
        "trend_half_life": TREND_HALF_LIFE,
        "long_half_life": LONG_HALF_LIFE,
        "long_share": LONG_SHARE,
        "floor": FLOOR,
        "new_factor": NEW_FACTOR,
        "weights": database.jsonb(WEIGHTS),
    }
    with connection.transaction():
        if everything or connection.execute(SQL.history_is_old, parameters).fetchone():
            connection.execute(SQL.history, parameters)
        row = connection.execute(SQL.refresh, parameters).fetchone()
    return int(row[0]) if row else 0
