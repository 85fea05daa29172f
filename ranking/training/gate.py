"""Whether a trained version may go live: better than what is served, and harmful nowhere.

Both are judged on visits that neither has seen; the verdict is part of the version's record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ranking.training import measure
from ranking.training.corpus import Instances
from ranking.training.measure import Lists, Mask, Scores, mean

# What a version is named against that nothing was trained for.
UNTRAINED = "untrained lists"

BETTER_P = 0.05  # of the paired test, pooled over k
WORSE_P = 0.05 / 3  # at one k of three: one in twenty that are as good would be refused
RESAMPLES = 2_000
FEWEST = 200  # instances pooled over k: fewer prove nothing

# Guardrails, each against what is live on the same visits. Hand-set: they stop what is broken,
# the paired test chooses what is better.
COLD_KEPT = 0.6  # of the hit rate of products without history
FEWEST_COLD = 40
COVERAGE_KEPT = 0.5
TOP_SHARE_MOST = 0.5  # of all places, taken by the hundredth of products shown most
TOP_SHARE_TIMES = 3.0
DRIFT_MOST = 0.4  # of events: how far kinds before and after the cut differ (total variation)
RECALL_LEAST = 0.98
LATENCY_MS, LATENCY_TIMES = 25.0, 2.0  # so long, or so many times what texts take, is too long


@dataclass(frozen=True)
class Guardrail:
    """One thing that must not get worse: what it is, its value, the least or most it may be."""

    name: str
    value: float
    bar: float
    met: bool


@dataclass
class Verdict:
    """`compared` holds, for each rival and k, both figures; `reasons` say why not, if not."""

    compared: dict[str, Any] = field(default_factory=dict)
    guardrails: list[Guardrail] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.reasons

    def guard(self, name: str, value: float, bar: float, *, most: bool = False) -> None:
        """Hold a value to a bar, the least it may be or the most."""
        met = bool(value <= bar if most else value >= bar)
        self.guardrails.append(Guardrail(name, round(float(value), 4), round(float(bar), 4), met))
        if not met:
            side = "more" if most else "less"
            self.reasons.append(f"{name} is {value:.3f}, {side} than {bar:.3f}")

    def told(self) -> dict[str, Any]:
        """As the version's record keeps it."""
        return {
            "verdict": "good" if self.is_good else "refused",
            "reasons": self.reasons,
            "compared": self.compared,
            "guardrails": [asdict(one) for one in self.guardrails],
        }


@dataclass(frozen=True)
class Shown:
    """What a version shows for the visits of one k."""

    asked: Instances
    lists: Lists

    def since(self, begun: float) -> Shown:
        """For the visits that began at that unix time or later."""
        which = self.asked.begun >= begun
        return Shown(self.asked.chosen(which), self.lists.chosen(which))


@dataclass(frozen=True)
class Trial:
    """One k: the instances, which of their targets are products without history, and the lists
    of the version and of its rival."""

    asked: Instances
    is_cold: Mask
    ours: Lists
    theirs: Lists


# on visits held out -------------------------------------------------------------------------------


def crossed(asked: Sequence[Instances], by_half: Sequence[Scores], servable: Mask) -> list[Shown]:
    """The lists of every visit by what suited the other half of them best: `by_half` are the
    scores that suit the even visits, and those that suit the odd ones."""
    shown = []
    for one in asked:
        halves = [one.half(half) for half in (0, 1)]
        lists = [
            measure.lists(scores, half, servable)
            for scores, half in zip(reversed(by_half), halves, strict=True)
        ]
        shown.append(Shown(Instances.joined(halves), Lists.joined(lists)))
    return shown


def trials(ours: Sequence[Shown], theirs: Scores, servable: Mask, ever: Mask) -> list[Trial]:
    """The version beside a rival; products that were not `ever` touched are without history."""
    return [
        Trial(
            one.asked,
            ~ever[one.asked.targets],
            one.lists,
            measure.lists(theirs, one.asked, servable),
        )
        for one in ours
    ]


# the paired test ----------------------------------------------------------------------------------


def compare(verdict: Verdict, rival: str, tested: Sequence[Trial], *, must_win: bool) -> None:
    """Add the paired test against one rival. `must_win`: significantly better over all k together;
    else it is enough not to be worse. At no k may it be significantly worse."""
    pooled = sum(len(one.asked) for one in tested)
    told: dict[str, Any] = {f"k={one.asked.k}": _figures(one) for one in tested}
    verdict.compared[rival] = told
    if must_win and pooled < FEWEST:
        verdict.reasons.append(f"only {pooled} visits to test on, fewer than {FEWEST}")
        return
    if not pooled:
        return
    better = chance_of_no_gain(tested)
    told["p_not_better"] = better
    if must_win and better >= BETTER_P:
        verdict.reasons.append(f"not proved better than {rival}: p = {better:.3f}")
    for one in tested:
        if len(one.asked) and 1 - chance_of_no_gain([one]) < WORSE_P:
            verdict.reasons.append(f"worse than {rival} after {one.asked.k} events")
    if not must_win and 1 - better < BETTER_P:
        verdict.reasons.append(f"worse than {rival} over all")


def chance_of_no_gain(tested: Sequence[Trial]) -> float:
    """One-sided p of "the version's NDCG@10 is not above the rival's", by a bootstrap over visits:
    those of one visit are drawn together."""
    gain = np.concatenate([one.ours.gains() - one.theirs.gains() for one in tested])
    visits = np.concatenate([one.asked.sessions for one in tested])
    if not len(gain) or not gain.any():
        return 1.0
    _, number = np.unique(visits, return_inverse=True)
    of_visit = np.bincount(number, weights=gain)
    random = np.random.default_rng(0)
    not_above = 0
    for _ in range(RESAMPLES):
        drawn = random.integers(0, len(of_visit), len(of_visit))
        not_above += int(of_visit[drawn].sum() <= 0)
    return (not_above + 1) / (RESAMPLES + 1)


def _figures(one: Trial) -> dict[str, Any]:
    return {
        "n": len(one.asked),
        "hit_rate@10": [mean(one.ours.hits()), mean(one.theirs.hits())],
        "ndcg@10": [mean(one.ours.gains()), mean(one.theirs.gains())],
    }


# guardrails ---------------------------------------------------------------------------------------


def guard(verdict: Verdict, tested: Sequence[Trial], products: int) -> None:
    """Cold products, coverage and concentration, against the rival's lists."""
    cold = np.concatenate([one.is_cold for one in tested])
    if cold.sum() >= FEWEST_COLD:
        ours = np.concatenate([one.ours.hits() for one in tested])[cold].mean()
        theirs = np.concatenate([one.theirs.hits() for one in tested])[cold].mean()
        verdict.guard("hit rate of products without history", ours, COLD_KEPT * theirs)
    ours_shown = np.concatenate([one.ours.rows for one in tested]).ravel()
    theirs_shown = np.concatenate([one.theirs.rows for one in tested]).ravel()
    verdict.guard(
        "share of the catalog in any list",
        _coverage(ours_shown, products),
        COVERAGE_KEPT * _coverage(theirs_shown, products),
    )
    most = max(TOP_SHARE_MOST, TOP_SHARE_TIMES * _top_share(theirs_shown, products))
    verdict.guard(
        "places taken by the top hundredth", _top_share(ours_shown, products), most, most=True
    )


def _coverage(shown: np.ndarray[Any, Any], products: int) -> float:
    return len(np.unique(shown)) / max(1, products)


def _top_share(shown: np.ndarray[Any, Any], products: int) -> float:
    counts = np.sort(np.bincount(shown, minlength=products))[::-1]
    return float(counts[: max(1, products // 100)].sum() / max(1, counts.sum()))


def drift(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> float:
    """How far two distributions of counts differ, from 0 to 1."""
    if not before.sum() or not after.sum():
        return 1.0
    return float(np.abs(before / before.sum() - after / after.sum()).sum() / 2)
