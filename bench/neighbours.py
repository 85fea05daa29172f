"""What do neighbours add to lists without training, and how much should they count? Online Retail,
where its files lie: on the three weeks before the test cut, by which the settings are chosen.

Every product that a strategy would propose is asked for once an instance; what else its shares
could have come to is then a sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np

from bench.diversity import CHOOSING
from bench.quality import CUT, FOLDER
from bench.report import Line, known, note
from bench.stage import stage
from gateway import backtest
from gateway.backtest import Scratch
from gateway.importing import files
from gateway.settings import load
from ranking import preparation
from ranking.catalog import nearest, neighbours
from ranking.catalog.neighbours import Recipe
from ranking.question import NEW_LIFT, Question
from ranking.strategies import beside, mixing, near, recommend
from ranking.training import clickstream, evaluate
from ranking.training.clickstream import Instance
from schemas.database import Connection

KNOWN = (1, 2, 3)
WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0)
TEMPERATURES = (0.1, 0.15, 0.2)
POPULARITIES = (0.0, 0.1, 0.15, 0.25)
FRESH = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3)
RECIPES: dict[str, tuple[float, ...]] = {
    "half_life_days": (20.0, 40.0, 90.0, 240.0, 2000.0),
    "near_places": (2.0, 3.0, 5.0, 15.0),
    "chance": (0.0, 1.0, 10.0),
    "sharpness": (1.0, 1.3, 1.6),
}


class Mix(NamedTuple):
    """How much neighbours and popularity count."""

    weight: float = recommend.NEIGHBOURS
    temperature: float = recommend.TEMPERATURE
    popularity: float = recommend.POPULARITY
    fresh: float = recommend.fresh(NEW_LIFT)


class Proposed(NamedTuple):
    """The products proposed for one instance: ids, cosines, the shares of neighbours and of
    popularity, and which have no history."""

    ids: list[str]
    cosines: list[float]
    shares: list[float]
    popular: list[float]
    new: list[bool]


def run() -> Iterator[Line]:
    if not FOLDER.exists():
        note("neighbours: left out, the Online Retail files are not beside the project")
        return
    items = [item for _, item in files.records(FOLDER / "items.jsonl.gz", "products")]
    clicks = clickstream.clicks(files.records(FOLDER / "events.jsonl.gz", "events"))
    before = [one for one in clicks if one.ts < CUT.timestamp()]
    split = clickstream.split(before, CHOOSING.timestamp(), forced_cold=True)
    with stage(), backtest.scratch(load(), CHOOSING, split) as site:
        note(f"neighbours: playing the archive up to {CHOOSING:%Y-%m-%d}; a few minutes")
        backtest.load(site, items, split, CHOOSING, lambda stage, done, total: None)
        instances = {k: split.instances(k) for k in KNOWN}
        yield from _mixes(site, instances)
        yield from _recipes(site, instances)


def _mixes(site: Scratch, instances: dict[int, list[Instance]]) -> Iterator[Line]:
    found = {k: proposed(site, some, CHOOSING) for k, some in instances.items()}
    for temperature in TEMPERATURES:
        for weight in WEIGHTS:
            yield _line("", instances, found, Mix(weight, temperature))
    for fresh in FRESH:
        yield _line("", instances, found, Mix(fresh=fresh))
    for popularity in POPULARITIES:
        for weight in (0.0, recommend.NEIGHBOURS):
            yield _line("", instances, found, Mix(weight, popularity=popularity))


def _recipes(site: Scratch, instances: dict[int, list[Instance]]) -> Iterator[Line]:
    """Each setting of how neighbours are counted over its values, the others as they are."""
    usual = neighbours.RECIPE
    for setting, values in RECIPES.items():
        for value in values:
            with site.pool.connection() as connection:
                recounted(connection, site.site_id, CHOOSING, replace(usual, **{setting: value}))
            found = {k: proposed(site, some, CHOOSING) for k, some in instances.items()}
            yield _line(f", {setting} {value:g}", instances, found, Mix())


def recounted(connection: Connection, site_id: int, at: datetime, recipe: Recipe) -> None:
    """Count neighbours anew by another recipe."""
    usual = neighbours.RECIPE
    neighbours.RECIPE = recipe
    try:
        neighbours.refresh(connection, site_id, at)
    finally:
        neighbours.RECIPE = usual


def _line(
    about: str, instances: dict[int, list[Instance]], found: dict[int, list[Proposed]], mix: Mix
) -> Line:
    lists = {k: [listed(one, mix) for one in found[k]] for k in instances}
    rates = [np.mean(evaluate.hits(some, lists[k])) for k, some in instances.items()]
    told = ", ".join(f"{rate:.4f}" for rate in rates)
    cold = [np.mean(hits_of_new(some, lists[k])) for k, some in instances.items()]
    told += "; new products " + ", ".join(f"{rate:.3f}" for rate in cold)
    settings = ", ".join(f"{name} {value:g}" for name, value in mix._asdict().items())
    title = f"HR@10 before the cut, mean of k = 1, 2, 3 ({told}), {settings}{about}"
    return known(title, float(np.mean(rates)), "share", digits=4)


def hits_of_new(instances: Sequence[Instance], lists: list[list[str]]) -> evaluate.Gains:
    """The hits of targets that lost their history."""
    new = [clickstream.is_forced_cold(one.target) for one in instances]
    return evaluate.hits(instances, lists)[np.array(new)]


def listed(one: Proposed, mix: Mix) -> list[str]:
    """The first ten where they count so much."""
    cosines, shares, popular, new = (np.array(column, np.float64) for column in one[1:])
    scores = cosines + mix.popularity * popular + mix.fresh * new
    if mix.weight:
        scores += mixing.added(cosines, shares, weight=mix.weight, temperature=mix.temperature)
    return [one.ids[at] for at in np.argsort(-scores, kind="stable")[: evaluate.FIRST]]


def proposed(site: Scratch, instances: Sequence[Instance], at: datetime) -> list[Proposed]:
    """What the strategy chooses from, by a stranger of whom only the context is known."""
    with site.pool.connection() as connection:
        return [_proposed(connection, site.site_id, one, at) for one in instances]


def _proposed(connection: Connection, site_id: int, instance: Instance, at: datetime) -> Proposed:
    question = Question(
        site_id=site_id,
        strategy="recommend",
        at=at,
        rows=evaluate.LIST_LENGTH,
        additional=[backtest.event(click, at) for click in instance.context],
    )
    question = replace(preparation.prepared(connection, question), limit=near.POOL)
    assert question.visitor.vector is not None
    told: dict[str, tuple[float, float, float, bool]] = {}
    near_ones = nearest.nearest(
        connection, question.live_model, question.visitor.vector, question.where(nearest.ALIAS),
        near.POOL, question.excluded, prior=recommend.POPULARITY, pool=near.POOL,
    )  # fmt: skip
    for one in near_ones:
        told[one.product_id] = (
            one.similarity, 0.0, _popular(one.share, one.new_share), one.share is None,
        )  # fmt: skip
    for other in beside.beside(connection, question):
        cosine = -1.0 if other.similarity is None else other.similarity
        told[other.product_id] = (
            cosine, other.share, _popular(other.popular, other.new_share), other.popular is None,
        )  # fmt: skip
    return Proposed(list(told), *map(list, zip(*told.values(), strict=True)))


def _popular(share: float | None, new_share: float | None) -> float:
    return sum(near.asked_for(share, new_share, 1.0).values())
