"""What lists are worth on a site's own last days: of its visitors' next clicks after two, how many
are in our ten, how many in the ten bestsellers. The importer ends with it.

The catalog and its vectors are the site's, each visitor is a stranger with two clicks, and
popularity and neighbours are those of the cut, in temporary tables. `backtest` asks more, at
leisure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from scipy.stats import binomtest

from gateway import backtest
from gateway.settings import Settings
from ranking.catalog import embeddings, neighbours, popularity, records
from ranking.catalog.encoder import Encoder
from ranking.training import baselines, clickstream
from ranking.training.clickstream import Click, Instance
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

KNOWN = 2  # clicks
LENGTH = 10
DAYS = (1, 3, 7, 14, 28)  # the fewest that give ENOUGH sessions
ENOUGH = 300
FEWEST = 50
SAMPLE = 1000  # sessions; an interval of 3 of 100 to each side
LISTS_S = 60.0
MOST_CLICKS = 500_000
MOST_TO_ENCODE = 20_000  # two minutes; more is the encoder role's
CATALOG_HAS = 0.5  # of the clicked products, or the lists cannot be judged
CONFIDENCE = 0.95
BEFORE = timedelta(hours=6)  # a session that began then is known, and foretells nothing
# Not what somebody chose to look at, or not a product.
NOT_CLICKS = ["impression", "viewable_impression", "remove_from_cart", "refund", "unsubscribe",
              "remove_from_collection", "dislike"]  # fmt: skip
OPTIONS = (
    "-c jit=off -c random_page_cost=1.1 -c hnsw.ef_search=200 -c hnsw.iterative_scan=relaxed_order"
)

Told = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True)
class Share:
    """Hits of 100, with the ends of the 95 % interval (Wilson)."""

    of_100: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """`sentence` says it all, also why there is none; then the others are None."""

    sentence: str
    days: int | None = None
    sessions: int | None = None
    ours: Share | None = None
    bestsellers: Share | None = None


class _Unknowable(Exception):
    """Why nothing can be foretold."""


def run(settings: Settings, site_id: int, told: Told) -> Forecast:
    """Foretell the last days of the site's events from those before; takes a minute or two."""
    with closing(database.connect(settings.database_url, options=OPTIONS)) as connection:
        try:
            _encode(connection, site_id, settings, told)
            days, cut, instances = _last_days(connection, site_id)
            return _foretell(connection, site_id, days, cut, instances, told)
        except _Unknowable as error:
            return Forecast(f"No forecast: {error}.")
        except KeyboardInterrupt:
            return Forecast("No forecast: it was interrupted; what was imported stays.")


def _encode(connection: Connection, site_id: int, settings: Settings, told: Told) -> None:
    """A product without a vector is in no list after two clicks."""
    waiting = embeddings.waiting(connection, site_id)
    if waiting > MOST_TO_ENCODE:
        raise _Unknowable(
            f"{waiting:,} products are still to be encoded; afterwards the same command gives one"
        )
    if waiting:
        encoder = Encoder(settings.encoder_threads)
        embeddings.drain(connection, site_id, encoder, lambda d, n: told("encoding products", d, n))
        if embeddings.is_due(connection, site_id):
            embeddings.fit(connection, site_id)
    model = embeddings.live(connection, site_id)
    statement = SQL.fill("titled", vectors=model.vectors)
    titled, encoded = connection.execute(statement, {"site_id": site_id}).fetchone()  # type: ignore[misc]
    if not titled:
        raise _Unknowable("no product has a title yet, so there is nothing to tell them apart by")
    if encoded < titled / 2:
        raise _Unknowable(f"only {encoded:,} of {titled:,} products are encoded")


# the last days ----------------------------------------------------------------------------------


def _last_days(connection: Connection, site_id: int) -> tuple[int, datetime, list[Instance]]:
    clicks = {"site_id": site_id, "at": datetime.now(UTC), "not_clicks": NOT_CLICKS}
    newest = connection.execute(SQL.newest, clicks).fetchone()[0]  # type: ignore[index]
    if newest is None:
        raise _Unknowable(
            "no event that is kept names a product (those before RETENTION_EVENTS_DAYS are not)"
        )
    found: list[Instance] = []
    for days in DAYS:
        cut = newest - timedelta(days=days)
        if not _popular(connection, site_id, cut):
            break
        instances = _instances(connection, site_id, cut, newest)
        if len(instances) >= len(found):
            found, best = instances, (days, cut)
        if len(found) >= ENOUGH:
            break
    if len(found) < FEWEST:
        raise _Unknowable(
            f"the last days have {len(found)} sessions of three clicks or more after older events, "
            f"and fewer than {FEWEST} say nothing"
        )
    return *best, found


def _instances(
    connection: Connection, site_id: int, cut: datetime, until: datetime
) -> list[Instance]:
    rows = connection.execute(
        SQL.clicks,
        {
            "site_id": site_id,
            "since": cut - BEFORE,
            "until": until,
            "not_clicks": NOT_CLICKS,
            "limit": MOST_CLICKS,
        },
    )
    clicks = [
        Click(f"{visitor}/{session}" if session else "", visitor, ts, kind, product_id)
        for visitor, session, ts, kind, product_id in rows
    ]
    sessions = clickstream.in_sessions(clicks)
    return clickstream.split(sessions, cut.timestamp(), forced_cold=False).instances(KNOWN)


def _popular(connection: Connection, site_id: int, cut: datetime) -> list[str]:
    """The bestsellers of the week before the cut, enough for ten without the two clicked."""
    rows = connection.execute(
        SQL.popular,
        {
            "site_id": site_id,
            "cut": cut,
            "window": timedelta(seconds=baselines.POPULARITY_WINDOW_S),
            "not_clicks": NOT_CLICKS,
            "limit": LENGTH + KNOWN,
        },
    )
    return [row[0] for row in rows]


# lists ------------------------------------------------------------------------------------------


def _foretell(
    connection: Connection,
    site_id: int,
    days: int,
    cut: datetime,
    instances: list[Instance],
    told: Told,
) -> Forecast:
    connection.execute(SQL.scratch_popularity)
    connection.execute(SQL.scratch_popularity_sites)
    connection.execute(SQL.scratch_neighbours)
    neighbours.refresh(connection, site_id, cut)
    if not popularity.refresh(connection, site_id, cut, everything=True):
        raise _Unknowable("no product of the catalog was clicked before")
    Random(0).shuffle(instances)
    sample = instances[:SAMPLE]
    _check_catalog(connection, site_id, sample)
    bestsellers = _popular(connection, site_id, cut)
    ours = _hits(connection, site_id, cut, sample, told)
    sample = sample[: len(ours)]
    theirs = [_in_ten(one, baselines.without(bestsellers, one)) for one in sample]
    return _forecast(days, _share(ours), _share(theirs), len(sample))


def _check_catalog(connection: Connection, site_id: int, sample: Sequence[Instance]) -> None:
    targets = {one.target for one in sample}
    known = len(records.numbers(connection, site_id, targets))
    if known < CATALOG_HAS * len(targets):
        raise _Unknowable(
            f"only {100 * known / len(targets):.0f} of 100 clicked products are in the catalog: "
            "import the products too"
        )


def _hits(
    connection: Connection,
    site_id: int,
    cut: datetime,
    sample: Sequence[Instance],
    told: Told,
) -> list[bool]:
    """Whether each target is in our ten; of as many as can be asked in time."""
    hits: list[bool] = []
    until = time.monotonic() + LISTS_S
    for instance in sample:
        shown = backtest.listed(connection, site_id, instance, cut, LENGTH)
        hits.append(_in_ten(instance, shown))
        told("foretelling the last days", len(hits), len(sample))
        if time.monotonic() > until and len(hits) >= FEWEST:
            break
    return hits


def _in_ten(instance: Instance, ids: Sequence[str]) -> bool:
    return instance.target in ids[:LENGTH]


def _share(hits: Sequence[bool]) -> Share:
    found = binomtest(sum(hits), len(hits))
    interval: Any = found.proportion_ci(CONFIDENCE, method="wilson")
    shares = (sum(hits) / len(hits), interval.low, interval.high)
    return Share(*(round(100 * share, 1) for share in shares))


def _forecast(days: int, ours: Share, bestsellers: Share, sessions: int) -> Forecast:
    last = "day" if days == 1 else f"{days} days"
    sentence = (
        f"On the last {last}, of the next clicks {ours.of_100:.0f} of 100 are in our ten after two "
        f"clicks ({ours.low:.0f} to {ours.high:.0f}), {bestsellers.of_100:.0f} of 100 in the "
        f"bestsellers ({bestsellers.low:.0f} to {bestsellers.high:.0f}); {sessions:,} sessions, "
        "95 % intervals by Wilson."
    )
    return Forecast(sentence, days, sessions, ours, bestsellers)
