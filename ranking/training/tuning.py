"""The best settings of a baseline, chosen on the last part of the training sessions alone.

One setting after another is moved over its values, the others held, for as many rounds as given;
the score is HR@10, the mean over one to three known events. Nothing of the test part is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from ranking.training import baselines, clickstream, evaluate, sessions
from ranking.training.baselines import ItemKnn, Scored, Stan, VmisKnn
from ranking.training.clickstream import Click, Instance, Split

ROUNDS = 2
SAMPLE = 500  # instances of each k
DAY_S = 86400.0
SHARE = 14  # of the training part's time one such part is held out, but
LEAST_DAYS, MOST_DAYS = 1.0, 21.0

Grid = Mapping[str, Sequence[Any]]

GRIDS: dict[str, tuple[Any, Grid]] = {
    "item-knn": (
        ItemKnn(),
        {"half_life_days": (15.0, 30.0, 60.0, 120.0, 240.0), "decay": (0.5, 0.65, 0.8, 1.0)},
    ),
    "vmis-knn": (
        VmisKnn(),
        {
            "neighbours": (50, 100, 250, 500, 1500),
            "most": (100, 250, 500, 1000, 2500),
            "rarity": (True, False),
        },
    ),
    "stan": (
        Stan(),
        {
            "neighbours": (100, 200, 500, 1500),
            "most": (500, 1500, 5000),
            "lambda_1": (0.5, 1.0, 2.0, 5.0),
            "lambda_2": (7.0, 30.0, 60.0, 120.0, 240.0),
            "lambda_3": (1.5, 3.0, 5.0, 10.0, 30.0),
        },
    ),
}


@dataclass(frozen=True)
class Tuned:
    """What was chosen, what it and the untuned one reached on the held-out days, and how many days
    and instances those are."""

    name: str
    method: Any
    hit_rate: float
    untuned: float
    days: float
    instances: int
    tried: int


def held_out(train: Sequence[Click]) -> tuple[Split, float]:
    """The training part, its last days cut off to choose by; how many days those are."""
    first, last = train[0].ts, train[-1].ts
    days = min(MOST_DAYS, max(LEAST_DAYS, (last - first) / DAY_S / SHARE))
    return clickstream.split(train, last - days * DAY_S, forced_cold=False), days


def tuned(
    train: Sequence[Click], names: Sequence[str], told: Callable[[str, int, int], None]
) -> list[Tuned]:
    """Each named method with the settings that suit the last training days."""
    split, days = held_out(train)
    if not split.train:
        return []
    looked_in = sessions.of(split.train)
    instances = _sample(split)
    if not instances:
        return []
    otherwise = baselines.popular(
        looked_in.ids, split.train, split.train[-1].ts, baselines.POPULARITY_WINDOW_S
    )

    def score(method: Scored) -> float:
        ranked = baselines.by_scores(method, looked_in, otherwise)
        rates = [np.mean(evaluate.hits(some, ranked(some))) for some in instances.values()]
        return float(np.mean(rates))

    count = sum(map(len, instances.values()))
    return [_chosen(name, score, days, count, told) for name in names]


def _sample(split: Split) -> dict[int, list[Instance]]:
    found = {k: split.instances(k) for k in clickstream.HORIZONS if k}
    for some in found.values():
        Random(0).shuffle(some)
    return {k: some[:SAMPLE] for k, some in found.items() if some}


def _chosen(
    name: str,
    score: Callable[[Scored], float],
    days: float,
    instances: int,
    told: Callable[[str, int, int], None],
) -> Tuned:
    start, grid = GRIDS[name]
    known: dict[Any, float] = {start: score(start)}
    best, tries = start, ROUNDS * sum(map(len, grid.values()))
    done = 0
    for _ in range(ROUNDS):
        for setting, values in grid.items():
            for value in values:
                one = replace(best, **{setting: value})
                if one not in known:
                    known[one] = score(one)
                done += 1
                told(f"tuning {name}", done, tries)
            # The first of equals: the grid's order, not chance, decides.
            best = max(known, key=known.__getitem__)
    return Tuned(name, best, known[best], known[start], days, instances, len(known))
