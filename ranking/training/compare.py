"""Is one method better than another, or was it chance? Both on the same instances, in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ranking.training.evaluate import Gains

DRAWS = 4000
SEED = 20111101
CONFIDENCE = 95  # of 100
AT_ONCE = 2_000_000  # numbers of one piece of a bootstrap


@dataclass(frozen=True)
class Compared:
    """Means of two methods on n instances, their difference with its 95 % interval, the same as a
    share of the second, and how probable so great a difference is by chance: by the bootstrap, and
    of hits by McNemar's exact test."""

    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    p: float
    p_mcnemar: float | None


def compared(
    first: Mapping[int, Sequence[Gains]],
    second: Mapping[int, Sequence[Gains]],
    sessions: Mapping[int, Sequence[str]],
) -> Compared:
    """Compare over all given k together: gains by k, one array a seed, instance by instance.

    Sessions are drawn, not instances: those of one session at several k are no independent facts
    (cluster bootstrap, Field & Welsh 2007). Several seeds are averaged; McNemar takes the seeds
    pair by pair, and the largest of their p values is told.
    """
    ones = {k: np.mean(some, axis=0) for k, some in first.items()}
    others = {k: np.mean(some, axis=0) for k, some in second.items()}
    one, other = (np.concatenate([gains[k] for k in sessions]) for gains in (ones, others))
    names = [name for k in sessions for name in sessions[k]]
    _, of = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    drawn = _drawn(one, other, of)
    differences = drawn[0] - drawn[1]
    low, high = np.percentile(differences, _ends())
    lifts = drawn[0] / np.maximum(drawn[1], 1e-12) - 1 if other.mean() > 0 else None
    lift = one.mean() / other.mean() - 1 if other.mean() > 0 else None
    return Compared(
        n=len(one),
        first=float(one.mean()),
        second=float(other.mean()),
        difference=float(one.mean() - other.mean()),
        low=float(low),
        high=float(high),
        lift=None if lift is None else float(lift),
        lift_low=None if lifts is None else float(np.percentile(lifts, _ends()[0])),
        lift_high=None if lifts is None else float(np.percentile(lifts, _ends()[1])),
        p=_two_sided(differences),
        p_mcnemar=_mcnemar(first, second, sessions),
    )


def _ends() -> list[float]:
    return [(100 - CONFIDENCE) / 2, 100 - (100 - CONFIDENCE) / 2]


def _drawn(one: Gains, other: Gains, of: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The two means of each draw of sessions, as two rows."""
    count = int(of.max()) + 1 if len(of) else 0
    sums = np.stack([np.bincount(of, gains, minlength=count) for gains in (one, other)])
    sizes = np.bincount(of, minlength=count)
    chance = np.random.default_rng(SEED)
    step = max(1, AT_ONCE // max(1, count))
    pieces = []
    for start in range(0, DRAWS, step):
        chosen = chance.integers(0, count, (min(step, DRAWS - start), count))
        pieces.append(sums[:, chosen].sum(axis=2) / sizes[chosen].sum(axis=1))
    return np.concatenate(pieces, axis=1)


def _two_sided(differences: np.ndarray[Any, Any]) -> float:
    """Twice the share of draws on the other side of nothing; never quite 0."""
    count = len(differences)
    below = int(np.count_nonzero(differences <= 0))
    above = int(np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (min(below, above) + 1) / (count + 1))


def _mcnemar(
    first: Mapping[int, Sequence[Gains]],
    second: Mapping[int, Sequence[Gains]],
    sessions: Mapping[int, Sequence[str]],
) -> float | None:
    seeds = max(len(some[k]) for some in (first, second) for k in sessions)
    found = []
    for seed in range(seeds):
        one, other = (
            np.concatenate([some[k][seed % len(some[k])] for k in sessions])
            for some in (first, second)
        )
        if not set(np.unique(np.concatenate([one, other]))) <= {0.0, 1.0}:
            return None
        only_one = int(np.count_nonzero((one == 1) & (other == 0)))
        only_other = int(np.count_nonzero((one == 0) & (other == 1)))
        both = only_one + only_other
        found.append(float(binomtest(only_one, both).pvalue) if both else 1.0)
    return max(found)
