"""How much may a list vary before it finds less of what people took next? Online Retail, where its
files lie: on the three weeks before the test cut, by which the strength is chosen, and after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from bench.quality import CUT, FOLDER
from bench.report import Line, at_least, known, note
from bench.stage import stage
from gateway import backtest
from gateway.backtest import Scratch
from gateway.importing import files
from gateway.settings import load
from ranking import answer as answering
from ranking.arrangement import DIVERSITY
from ranking.merchandising import diversity
from ranking.merchandising.rules import Rules
from ranking.question import Question
from ranking.training import clickstream, evaluate
from ranking.training.clickstream import HORIZONS, Click, Instance

CHOOSING = datetime(2011, 10, 11, tzinfo=UTC)
STRENGTHS = (0.0, 0.02, 0.03, 0.04, 0.05, 0.1, 0.15, 0.2, 0.3)  # 1 - lambda
SHOWN = 10

Vectors = dict[str, np.ndarray[Any, Any]]


class Proposed(NamedTuple):
    """The candidates of an instance by score, as deep as variety looks."""

    ids: list[str]
    scores: list[float]


def run() -> Iterator[Line]:
    if not FOLDER.exists():
        note("diversity: left out, the Online Retail files are not beside the project")
        return
    items = [item for _, item in files.records(FOLDER / "items.jsonl.gz", "products")]
    clicks = list(clickstream.clicks(files.records(FOLDER / "events.jsonl.gz", "events")))
    before = [one for one in clicks if one.ts < CUT.timestamp()]
    with stage():
        yield from _swept("before the cut", items, before, CHOOSING)
        yield from _swept("test", items, clicks, CUT)


def _swept(
    name: str, items: list[dict[str, Any]], clicks: list[Click], cut: datetime
) -> Iterator[Line]:
    split = clickstream.split(clicks, cut.timestamp(), forced_cold=True)
    with backtest.scratch(load(), cut, split) as site:
        note(f"diversity: playing the archive up to {cut:%Y-%m-%d}; a few minutes")
        backtest.load(site, items, split, cut, lambda stage, done, total: None)
        with site.pool.connection() as connection:
            vectors = backtest.text_vectors(connection, site.site_id)
        for k in HORIZONS:
            instances = split.instances(k)
            asked = [_question(site, one, cut) for one in instances]
            title = f"user_to_products, {name}, k = {k}"
            yield from _lines(title, "recommend", instances, _proposed(site, asked), vectors)
        instances = split.instances(1)
        asked = [_about(site, one, cut) for one in instances]
        title = f"product_to_products, {name}"
        yield from _lines(title, "similar", instances, _proposed(site, asked), vectors)


def _lines(
    title: str, strategy: str, instances: Sequence[Instance], found: Sequence[Proposed],
    vectors: Vectors,
) -> Iterator[Line]:  # fmt: skip
    plain = None
    for strength in STRENGTHS:
        lists = [varied(one, vectors, strength) for one in found]
        rate = evaluate.results("", 0, instances, lists, catalog_size=1, cold=frozenset())
        plain = rate["hit_rate@10"] if plain is None else plain
        about = f"{title}, diversity {strength:g}"
        if strength and strength == DIVERSITY.get(strategy):
            yield at_least(f"HR@10, {about}", rate["hit_rate@10"], "share", plain)
        else:
            yield known(f"HR@10, {about}", rate["hit_rate@10"], "share", digits=4)
        apart = np.mean([diversity.variety(rows(one[:SHOWN], vectors)) for one in lists])
        yield known(f"variety of the first {SHOWN}, {about}", float(apart), "1 - cosine")


def varied(one: Proposed, vectors: Vectors, strength: float) -> list[str]:
    """The ids in the order that a request with that strength gets."""
    return [one.ids[at] for at in diversity.order(one.scores, rows(one.ids, vectors), strength)]


def rows(ids: Sequence[str], vectors: Vectors) -> np.ndarray[Any, Any]:
    """Their vectors, zeros where there is none."""
    nothing = np.zeros_like(next(iter(vectors.values())))
    return np.stack([vectors.get(one, nothing) for one in ids])


def _proposed(site: Scratch, asked: Sequence[Question]) -> list[Proposed]:
    with site.pool.connection() as connection:
        found = [answering.answer(connection, one, remember=False).products for one in asked]
    return [Proposed([p.product_id for p in one], [p.score for p in one]) for one in found]


def _question(site: Scratch, instance: Instance, at: datetime) -> Question:
    """By a stranger of whom only the context is known, as the backtest asks."""
    return Question(
        site_id=site.site_id,
        strategy="recommend",
        at=at,
        rows=diversity.DEEPEST,
        rules=Rules(diversity=0.0),
        additional=[backtest.event(click, at) for click in instance.context],
    )


def _about(site: Scratch, instance: Instance, at: datetime) -> Question:
    """About the last product of the context."""
    return Question(
        site_id=site.site_id,
        strategy="similar",
        at=at,
        rows=diversity.DEEPEST,
        rules=Rules(diversity=0.0),
        anchors=[instance.context[-1].product_id],
    )
