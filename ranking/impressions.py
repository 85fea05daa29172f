"""What became of our own lists: how often each product and each place was shown, seen, clicked, and
how likely each place is looked at. A worker's task counts; reports and training read.

Clients tell with `miso_id` which list an event comes from. Each list is counted once, LATE after it
was given: what they tell of it later is not counted here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from psycopg.rows import dict_row

from ranking import positions
from ranking.catalog.learned import KIND_NUMBERS
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

LATE = timedelta(minutes=30)
SKEW = timedelta(minutes=1)  # a browser's clock against ours
OLDEST = timedelta(days=30)  # that the first count goes back, and each estimate
SLICE = timedelta(hours=1)
LISTS_A_SLICE = 20_000
MOST_SLICES = 500  # in one run; the next one goes on
# An estimate looks through so many lists, takes so many of one visitor, so that nobody makes the
# estimate alone, and ends at so many places, so that its memory does not grow with the lists.
MOST_LISTS = 300_000
MOST_OF_ONE = 10
MOST_PLACES = 1_000_000
ROWS_A_READ = 20_000
ESTIMATE_EVERY = timedelta(days=1)
PRIOR = 20.0  # looks, until which a product's rate is rather that of all

SEEN = ("impression", "viewable_impression")
# Whatever else somebody did with a product because of a list.
CLICKS = tuple(name for name in KIND_NUMBERS if name not in ("search", "category_page_view"))


class Known(NamedTuple):
    """How far a site's lists are counted, and the places' looks; None: nothing is known yet."""

    settled_until: datetime | None = None
    looks: list[float] | None = None
    estimated_at: datetime | None = None

    @property
    def curve(self) -> list[float]:
        """How likely each place is looked at; what is assumed where the lists do not tell."""
        return self.looks or positions.DEFAULT


def refresh(
    connection: Connection,
    site_id: int,
    at: datetime,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Count the lists that were given LATE ago and more, span by span, and once a day estimate the
    places; returns how many lists were counted. Killed at any point it goes on where it was."""
    goal = at - LATE
    parameters = {"site_id": site_id, "goal": goal, "oldest": at - OLDEST}
    connection.execute(SQL.begin, parameters)
    counted = 0
    for _ in range(MOST_SLICES):
        with connection.transaction():
            found = _settled(connection, site_id, goal)
        if found is None or stop():
            break
        counted += found
    site = known(connection, site_id)
    if site.estimated_at is None or site.estimated_at <= at - ESTIMATE_EVERY:
        estimate(connection, site_id, at)
    return counted


def _settled(connection: Connection, site_id: int, goal: datetime) -> int | None:
    """Count the next span of lists; None where there is none."""
    row = connection.execute(SQL.site, {"site_id": site_id}).fetchone()
    assert row is not None, "refresh() has begun the site"
    site = Known(*row)
    where = {"site_id": site_id, "since": site.settled_until, "goal": goal, "most": LISTS_A_SLICE}
    first, last = connection.execute(SQL.next_lists, where).fetchone() or (None, None)
    if first is None:
        connection.execute(SQL.settled, {"site_id": site_id, "until": max(goal, row[0])})
        return None
    until = min(last, first + SLICE)
    parameters = {
        "site_id": site_id,
        "since": first - timedelta(microseconds=1),
        "until": until,
        "skew": SKEW,
        "late": LATE,
        "types": [*SEEN, *CLICKS],
        "looks": site.curve,
    }
    connection.execute(SQL.joined_by_hash)
    [lists] = connection.execute(SQL.settle, parameters).fetchone() or (0,)
    connection.execute(SQL.settled, parameters)
    return int(lists)


def estimate(connection: Connection, site_id: int, at: datetime) -> list[float]:
    """How likely each place is looked at, by the newest lists; kept for the site."""
    parameters = {
        "site_id": site_id,
        "oldest": at - OLDEST,
        "until": at - LATE,
        "skew": SKEW,
        "late": LATE,
        "clicks": list(CLICKS),
        "most": MOST_LISTS,
        "most_of_one": MOST_OF_ONE,
        "most_places": MOST_PLACES,
        "places": positions.COUNTED,
    }
    columns = _at_places(connection, parameters)
    looks = positions.estimated(positions.Shown(*columns))
    known_of = looks if columns[3].sum() else None
    connection.execute(SQL.estimated, {"site_id": site_id, "looks": known_of, "at": at})
    return looks


def _at_places(connection: Connection, parameters: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Products, places, how often shown and clicked: four rows. Read piece by piece, for they would
    take ten times as much as Python's numbers."""
    pieces = [np.zeros((4, 0), np.int32)]
    with connection.transaction():
        connection.execute(SQL.joined_by_hash)
        with connection.cursor("at_places", binary=True) as cursor:
            cursor.execute(SQL.at_places, parameters)
            while rows := cursor.fetchmany(ROWS_A_READ):
                pieces.append(np.array(rows, np.int32).T)
    return np.concatenate(pieces, axis=1)


def known(connection: Connection, site_id: int) -> Known:
    """What is known of a site's lists."""
    row = connection.execute(SQL.known, {"site_id": site_id}).fetchone()
    return Known(*row) if row else Known()


def report(
    connection: Connection,
    site_id: int,
    *,
    since: datetime,
    product_id: str | None = None,
    limit: int,
) -> dict[str, Any]:
    """By place and by product what was `shown`, `seen`, `clicked`, its click rate, and of products
    the rate with the places they stood at taken out, `corrected_rate`: as often it would be clicked
    at the first place. Whole weeks, that of `since` among them."""
    site = known(connection, site_id)
    until = site.settled_until
    parameters = {
        "site_id": site_id,
        "since": week(since),
        "places": positions.COUNTED,
        "product_id": product_id,
        "prior": PRIOR,
        "limit": limit,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        of_places = cursor.execute(SQL.places, parameters).fetchall()
        of_products = cursor.execute(SQL.products, parameters).fetchall()
    for one in of_places:
        one["ctr"] = one["clicked"] / one["shown"]
        one["looks"] = site.curve[min(one["place"], len(site.curve)) - 1]
    return {
        "since": week(since).isoformat(),
        "counted_until": until.isoformat(timespec="seconds") if until else None,
        "looks_estimated": site.looks is not None,
        "places": of_places,
        "products": of_products,
    }


def week(at: datetime) -> date:
    """The Monday of that day, UTC."""
    day = at.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


def purge(connection: Connection, before: datetime, at: datetime) -> int:
    """Forget weeks that ended before then, and whose chances of which day are counted."""
    yesterday = at.astimezone(UTC).date() - timedelta(days=1)
    connection.execute(SQL.purge_chances, {"day": yesterday})
    parameters = {"before": week(before)}
    gone = connection.execute(SQL.purge_products, parameters).rowcount
    return gone + connection.execute(SQL.purge_places, parameters).rowcount
