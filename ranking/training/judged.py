"""What a backtest found: every method's lists on the same instances, and what they say.

`gateway.backtest` fills it, the command line and the report show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ranking.training import baselines, compare, evaluate, sessions, tuning
from ranking.training.baselines import Method, Vectors
from ranking.training.clickstream import HORIZONS, Instance, Split
from ranking.training.compare import Compared
from ranking.training.evaluate import Gains, Lists
from ranking.training.tuning import GRIDS, Tuned

OURS = "attune"
UNTRAINED = "attune-untrained"  # on the first day: by texts, neighbours and popularity
TEXT = "text-whitened"
POPULAR, LATELY = "popularity", "popularity-7d"
TUNED = "-tuned"
SIMPLE = (POPULAR, LATELY, *GRIDS, *(name + TUNED for name in GRIDS), TEXT)
# What ranks the same for everybody also ranks for those of whom nothing is known.
FOR_STRANGERS = (OURS, UNTRAINED, POPULAR, LATELY)
AFTER_EVENTS = tuple(k for k in HORIZONS if k)  # what is pooled

Told = Callable[[str, int, int], None]  # (stage, done, of)
Gain = Callable[[Sequence[Instance], Sequence[Sequence[str]]], Gains]
GAINS: dict[str, Gain] = {"hit_rate@10": evaluate.hits, "ndcg@10": evaluate.discounted}

AGES: tuple[tuple[str, float], ...] = (
    ("up to 7 days", 7),
    ("8 to 30 days", 30),
    ("31 to 90 days", 90),
    ("over 90 days", float("inf")),
)
NEW = "never touched"


@dataclass(frozen=True)
class Judged:
    """`lists` holds per method and k one set of lists a seed, `trainings` what became of each;
    `first_seen` the products of the training part with the unix time of their first event there."""

    catalog: Sequence[str]
    cut: float
    first_seen: Mapping[str, float]
    instances: Mapping[int, list[Instance]]
    lists: Mapping[str, Mapping[int, list[Lists]]]
    tuned: Sequence[Tuned] = field(default_factory=list)
    trainings: Sequence[Mapping[str, Any]] = field(default_factory=list)

    @property
    def cold(self) -> frozenset[str]:
        """Products without an event in the training part."""
        return frozenset(self.catalog) - self.first_seen.keys()

    def rows(self) -> list[dict[str, Any]]:
        """One row a method and k, as `evaluate.results` gives them, the mean of the seeds."""
        return [
            _mean(
                [
                    evaluate.results(
                        method, k, self.instances[k], one,
                        catalog_size=len(self.catalog), cold=self.cold,
                    )
                    for one in by_k[k]
                ]
            )
            for method, by_k in self.lists.items()
            for k in sorted(by_k)
        ]  # fmt: skip

    def compared(
        self, first: str, second: str, *, metric: str = "hit_rate@10", ks: Sequence[int] = ()
    ) -> Compared | None:
        """One method against another over these k together (none given: all after the first
        event that both rank); None where there is nothing to compare."""
        ks = [
            k for k in ks or AFTER_EVENTS
            if self.instances.get(k) and k in self.lists[first] and k in self.lists[second]
        ]  # fmt: skip
        if not ks:
            return None
        names = {k: [one.session_id for one in self.instances[k]] for k in ks}
        return compare.compared(
            self._gains(first, metric, ks), self._gains(second, metric, ks), names
        )

    def comparisons(self, first: str = OURS) -> list[dict[str, Any]]:
        """Ours against every other method, k by k and pooled over all k from one event on."""
        found = []
        for metric in GAINS:
            for second in self.lists:
                for ks in (*((k,) for k in sorted(self.instances)), AFTER_EVENTS):
                    one = (
                        None
                        if second == first
                        else self.compared(first, second, metric=metric, ks=ks)
                    )
                    if one is not None:
                        names = {"method": first, "against": second, "metric": metric}
                        found.append(names | {"k": list(ks)} | asdict(one))
        return found

    def sliced(self, of: Callable[[Instance], str]) -> dict[str, dict[str, float]]:
        """HR@10 over all k from one event on by slice and method; under "n" the slice's size."""
        ks = [k for k in AFTER_EVENTS if self.instances.get(k)]
        slices = [of(one) for k in ks for one in self.instances[k]]
        found: dict[str, dict[str, float]] = {}
        for name in dict.fromkeys(slices):
            chosen = np.array([one == name for one in slices])
            found[name] = {"n": float(chosen.sum())} | {
                method: float(self._flat(method, ks)[chosen].mean())
                for method in self.lists
                if all(k in self.lists[method] for k in ks)
            }
        return found

    def warmth(self, instance: Instance) -> str:
        return "new products" if instance.target in self.cold else "known products"

    def age(self, instance: Instance) -> str:
        """How long the target has been known at the cut, by its first event."""
        first = self.first_seen.get(instance.target)
        if first is None:
            return NEW
        days = (self.cut - first) / 86400
        return next(name for name, most in AGES if days <= most)

    def _gains(self, method: str, metric: str, ks: Sequence[int]) -> dict[int, list[Gains]]:
        gain = GAINS[metric]
        return {k: [gain(self.instances[k], one) for one in self.lists[method][k]] for k in ks}

    def _flat(self, method: str, ks: Sequence[int]) -> Gains:
        gains = self._gains(method, "hit_rate@10", ks)
        return np.concatenate([np.mean(gains[k], axis=0) for k in ks])


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one row a seed; what is no fraction is the same in all."""
    if len(rows) == 1:
        return rows[0]
    return {
        name: _mean([row[name] for row in rows]) if isinstance(value, dict)
        else round(float(np.mean([row[name] for row in rows])), 4) if isinstance(value, float)
        else value
        for name, value in rows[0].items()
    }  # fmt: skip


def judge(
    ids: Sequence[str],
    split: Split,
    cut: float,
    ours: Mapping[str, Mapping[int, list[Lists]]],
    texts: Vectors,
    told: Told,
    *,
    simple: Sequence[str] = SIMPLE,
    instances: Mapping[int, list[Instance]] | None = None,
) -> Judged:
    """Ask the named simple methods for lists of the instances that `ours` were asked for."""
    asked = instances or instances_of(split)
    methods, tuned = simple_methods(ids, split, cut, texts, simple, told)
    first_seen: dict[str, float] = {}
    for click in split.train:
        first_seen.setdefault(click.product_id, click.ts)
    lists = {name: dict(by_k) for name, by_k in ours.items()}
    for name, rank in methods.items():
        lists[name] = {}
        for k, some in asked.items():
            if k or name in FOR_STRANGERS:
                told(f"{name}, k = {k}", 0, len(some))
                lists[name][k] = [rank(some)]
                told(f"{name}, k = {k}", len(some), len(some))
    return Judged(ids, cut, first_seen, asked, lists, tuned)


def instances_of(split: Split) -> dict[int, list[Instance]]:
    """Those of each k that has any."""
    found = {k: split.instances(k) for k in HORIZONS}
    return {k: some for k, some in found.items() if some}


def simple_methods(
    ids: Sequence[str], split: Split, cut: float, texts: Vectors, names: Sequence[str], told: Told
) -> tuple[dict[str, Method], list[Tuned]]:
    """The named simple methods, and what was chosen for those that are tuned."""
    lately = baselines.popular(ids, split.train, cut, baselines.POPULARITY_WINDOW_S)
    methods: dict[str, Method] = {}
    if POPULAR in names:
        methods[POPULAR] = baselines.one_list(baselines.popular(ids, split.train, cut, np.inf))
    if LATELY in names:
        methods[LATELY] = baselines.one_list(lately)
    known = sessions.of(split.train) if split.train else None
    tuned: list[Tuned] = []
    if known is not None:
        for name in (one for one in GRIDS if one in names):
            methods[name] = baselines.by_scores(GRIDS[name][0], known, lately)
        tuned = tuning.tuned(split.train, [one for one in GRIDS if one + TUNED in names], told)
        for found in tuned:
            methods[found.name + TUNED] = baselines.by_scores(found.method, known, lately)
    if texts and TEXT in names:
        methods[TEXT] = baselines.by_text(texts)
    return methods, tuned
