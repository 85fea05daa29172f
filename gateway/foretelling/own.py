"""`backtest SITE`: the last weeks of a site foretold from those before, on its own catalog.

Products and the vectors of their texts are the site's; popularity, neighbours and what is learned
are those of the cut, in temporary tables of one connection, so nothing that visitors see changes.
Each test session is a stranger's.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from gateway import backtest
from gateway.importing.forecast import NOT_CLICKS, OPTIONS
from gateway.settings import Settings
from ranking.catalog import neighbours, popularity
from ranking.catalog.models import MODEL_NAME
from ranking.training import clickstream, judged, promote
from ranking.training.clickstream import HORIZONS, Click, Instance, Split
from ranking.training.judged import Judged, Told
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

MOST_DAYS = 28.0
HELD_OUT = 0.2  # of the time there are events of, where that is less
MOST_CLICKS = 500_000  # the newest
SESSIONS = 1500  # of the test part; one standard error of a rate is about 1 of 100
FEWEST = 50


class NotEnough(AttuneError):
    """There is too little to foretell anything from; the text says what is missing."""


@dataclass(frozen=True)
class Own:
    """What was found, with titles by product id; `left_out`: how many targets cannot be had now;
    `live`: the number of the learned version that answers now."""

    judged: Judged
    titles: dict[str, str]
    cut: datetime
    left_out: int
    live: int | None


def run(
    settings: Settings, site_id: int, cut: datetime | None, told: Told, *, seeds: int = 1
) -> Own:
    """Judge the lists of a site by its own last weeks. Raises NotEnough."""
    with closing(database.connect(settings.database_url, options=OPTIONS)) as connection:
        live = promote.live_id(connection, site_id)
        titles = dict(connection.execute(SQL.catalog, {"site_id": site_id}).fetchall())
        split, cut = _split(connection, site_id, cut)
        instances, left_out = _asked(split, titles)
        told("neighbours and popularity at the cut", 0, 1)
        _as_of(connection, site_id, cut)
        told("neighbours and popularity at the cut", 1, 1)
        ours, trainings = backtest.ours(connection, site_id, cut, instances, told, seeds=seeds)
        texts = backtest.text_vectors(connection, site_id)
        found = judged.judge(
            list(titles), split, cut.timestamp(), ours, texts, told, instances=instances
        )
        return Own(replace(found, trainings=trainings), titles, cut, left_out, live)


def _split(connection: Connection, site_id: int, cut: datetime | None) -> tuple[Split, datetime]:
    asked: dict[str, Any] = {
        "site_id": site_id, "at": datetime.now(UTC), "not_clicks": NOT_CLICKS, "limit": MOST_CLICKS,
    }  # fmt: skip
    first, last = connection.execute(SQL.span, asked).fetchone()  # type: ignore[misc]
    if first is None:
        raise NotEnough("no event of this site names a product")
    cut = cut or last - min(timedelta(days=MOST_DAYS), HELD_OUT * (last - first))
    clicks = [
        Click(f"{visitor}/{session}" if session else "", visitor, ts, kind, product_id)
        for visitor, session, ts, kind, product_id in connection.execute(SQL.clicks, asked)
    ]
    sessions = clickstream.in_sessions(clicks)
    return clickstream.split(sessions, cut.timestamp(), forced_cold=False), cut


def _asked(split: Split, titles: dict[str, str]) -> tuple[dict[int, list[Instance]], int]:
    """Instances of a sample of the test sessions whose target can be had, and how many cannot."""
    if not split.train:
        raise NotEnough("there is no event before the cut: choose a later one with --cut")
    sessions = sorted(split.test, key=lambda session: session[0].session_id)
    Random(0).shuffle(sessions)
    sample = Split(split.train, sessions[:SESSIONS])
    every = {k: sample.instances(k) for k in HORIZONS}
    found = {k: [one for one in some if one.target in titles] for k, some in every.items()}
    if len(found[1]) < FEWEST:
        raise NotEnough(
            f"after the cut {len(found[1])} sessions go on to a second product that can be had "
            f"now, and fewer than {FEWEST} say nothing"
        )
    left_out = sum(len(every[k]) - len(found[k]) for k in HORIZONS)
    return found, left_out


def _as_of(connection: Connection, site_id: int, cut: datetime) -> None:
    for statement in (
        SQL.scratch_first, SQL.scratch_popularity, SQL.scratch_popularity_sites,
        SQL.scratch_neighbours, SQL.scratch_checkpoints, SQL.scratch_known,
    ):  # fmt: skip
        connection.execute(statement)
    connection.execute(SQL.know_models, {"site_id": site_id, "name": MODEL_NAME})
    connection.execute(SQL.scratch_models)
    connection.execute(SQL.copy_models)
    popularity.refresh(connection, site_id, cut, everything=True)
    neighbours.refresh(connection, site_id, cut)
