"""Methods that a shop could have instead of ours: they rank the same instances in a backtest.

Each looks at the training part alone, is deterministic, and needs numpy only. What a method does
not fill of twenty places, last week's bestsellers do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from ranking.training.clickstream import Click, Instance
from ranking.training.evaluate import LIST_LENGTH, Lists
from ranking.training.sessions import Floats, Numbers, Sessions

POPULARITY_WINDOW_S = 7 * 86400
TEXT_DECAY = 0.8  # a step back

Vectors = dict[str, np.ndarray[Any, Any]]
Method = Callable[[Sequence[Instance]], Lists]


class Scored(Protocol):
    """A method that gives every product of the training part a score; 0: nothing speaks for it."""

    def scores(self, sessions: Sessions, context: Sequence[int]) -> Floats: ...


@dataclass(frozen=True)
class ItemKnn:
    """Products of the same sessions, by the cosine of their sessions, where a session counts half
    after each half-life (Sarwar et al. 2001); a step back counts `decay`."""

    half_life_days: float = 60.0
    decay: float = 0.8
    most: int = 5000  # sessions of one product, the newest

    def scores(self, sessions: Sessions, context: Sequence[int]) -> Floats:
        total = np.zeros(len(sessions.ids))
        norms = _norms(sessions, self.half_life_days)
        for back, product in enumerate(reversed(context)):
            having = sessions.having(product, self.most)
            fresh = 0.5 ** (sessions.ages_days(having) / self.half_life_days)
            products, of, _ = sessions.spread(having)
            both = _summed(products, fresh[of], len(total))
            total += self.decay**back * both / (norms * norms[product])
        return total


_known_norms: WeakKeyDictionary[Sessions, dict[float, Floats]] = WeakKeyDictionary()


def _norms(sessions: Sessions, half_life_days: float) -> Floats:
    """The root of each product's decayed sessions, once a clickstream."""
    known = _known_norms.setdefault(sessions, {})
    if half_life_days not in known:
        everything = np.arange(len(sessions.ended))
        fresh = 0.5 ** (sessions.ages_days(everything) / half_life_days)
        products, of, _ = sessions.spread(everything)
        counts = _summed(products, fresh[of], len(sessions.ids))
        known[half_life_days] = np.sqrt(counts)
    return known[half_life_days]


@dataclass(frozen=True)
class VmisKnn:
    """VMIS-kNN (Kersbergen et al., "Serenade", SIGMOD 2022): of the `most` newest sessions of each
    known product the `neighbours` likest, whose products count by likeness, by how late the
    newest common product came, and by rarity."""

    neighbours: int = 500
    most: int = 500
    rarity: bool = True

    def scores(self, sessions: Sessions, context: Sequence[int]) -> Floats:
        count = len(context)
        weights = [(place + 1) / count for place in range(count)]
        found = _alike(sessions, context, weights, self.most)
        found = found.best(self.neighbours)
        products, of, _ = sessions.spread(found.sessions)
        late = np.maximum(0.0, 1.0 - 0.1 * (count - found.latest))
        total = _summed(products, (late * found.likeness)[of], len(sessions.ids))
        return total * np.log(len(sessions.ended) / _held(sessions)) if self.rarity else total


@dataclass(frozen=True)
class Stan:
    """STAN (Garg et al., SIGIR 2019): sessions with the known products, where late ones count more
    (lambda_1, in events), then newer sessions (lambda_2, in days), then products that stand near
    the newest common one (lambda_3, in places)."""

    neighbours: int = 500
    most: int = 1500  # sessions of one product, the newest
    lambda_1: float = 2.0
    lambda_2: float = 60.0
    lambda_3: float = 5.0

    def scores(self, sessions: Sessions, context: Sequence[int]) -> Floats:
        count = len(context)
        weights = [float(np.exp((place + 1 - count) / self.lambda_1)) for place in range(count)]
        found = _alike(sessions, context, weights, self.most)
        likeness = found.likeness / np.sqrt(count * sessions.lengths(found.sessions))
        likeness *= np.exp(-sessions.ages_days(found.sessions) / self.lambda_2)
        found = _Alike(found.sessions, likeness, found.latest).best(self.neighbours)
        products, of, places = sessions.spread(found.sessions)
        is_common = products == np.asarray(context, dtype=np.int64)[found.latest - 1][of]
        common = np.zeros(len(found.sessions))
        common[of[is_common]] = places[is_common]
        near = np.exp(-np.abs(places - common[of]) / self.lambda_3)
        return _summed(products, found.likeness[of] * near, len(sessions.ids))


@dataclass(frozen=True)
class _Alike:
    """Sessions that have a known product; `latest` is the place (from 1) of the newest of those."""

    sessions: Numbers
    likeness: Floats
    latest: Numbers

    def best(self, count: int) -> _Alike:
        """The likest, newer ones first where they are equal."""
        order = np.lexsort((-self.sessions, -self.likeness))[:count]
        return _Alike(self.sessions[order], self.likeness[order], self.latest[order])


def _alike(
    sessions: Sessions, context: Sequence[int], weights: Sequence[float], most: int
) -> _Alike:
    each = [sessions.having(product, most) for product in context]
    found, at = np.unique(np.concatenate(each), return_inverse=True)
    counts = [len(one) for one in each]
    likeness = _summed(at, np.repeat(weights, counts), len(found))
    latest = np.zeros(len(found), dtype=np.int64)
    latest[at] = np.repeat(np.arange(1, len(context) + 1), counts)  # the last one stays
    return _Alike(found, likeness, latest)


def _summed(numbers: Numbers, values: Floats, count: int) -> Floats:
    """The sum of the values of each number below `count`."""
    return np.bincount(numbers, values, minlength=count).astype(np.float64)


def _held(sessions: Sessions) -> Numbers:
    return np.maximum(1, np.diff(sessions.held))


# lists ------------------------------------------------------------------------------------------


def by_scores(method: Scored, sessions: Sessions, otherwise: Sequence[str]) -> Method:
    """Lists of a scored method; what it knows nothing of is filled up from `otherwise`."""

    def ranked(instances: Sequence[Instance]) -> Lists:
        return [_best(method, sessions, one, otherwise) for one in instances]

    return ranked


def _best(
    method: Scored, sessions: Sessions, instance: Instance, otherwise: Sequence[str]
) -> list[str]:
    context = sessions.known(click.product_id for click in instance.context)
    if not context:
        return without(otherwise, instance)
    scores = method.scores(sessions, context)
    scores[context] = 0.0
    count = min(LIST_LENGTH, int(np.count_nonzero(scores > 0)))
    best = np.lexsort((np.arange(len(scores)), -scores))[:count]
    listed = [sessions.ids[at] for at in best]
    if len(listed) == LIST_LENGTH:
        return listed
    have = set(listed)
    more = [one for one in without(otherwise, instance, len(listed)) if one not in have]
    return [*listed, *more][:LIST_LENGTH]


def popular(ids: Sequence[str], train: Sequence[Click], cut: float, window_s: float) -> list[str]:
    """All products by their events in so many seconds before the cut; ties by all events."""
    recent = Counter(click.product_id for click in train if click.ts >= cut - window_s)
    ever = Counter(click.product_id for click in train)
    return sorted(ids, key=lambda product_id: (-recent[product_id], -ever[product_id]))


def one_list(ranked: Sequence[str]) -> Method:
    """The same for everybody, without what they have seen."""
    return lambda instances: [without(ranked, instance) for instance in instances]


def by_text(texts: Vectors) -> Method:
    """Nearest to the recency-weighted mean of the context's text vectors."""
    ids = list(texts)
    matrix = np.stack([texts[product_id] for product_id in ids])

    def ranked(instances: Sequence[Instance]) -> Lists:
        lists = []
        for instance in instances:
            known = [click.product_id for click in instance.context if click.product_id in texts]
            weights = TEXT_DECAY ** np.arange(len(known))[::-1]
            mean = sum(
                (weight * texts[one] for weight, one in zip(weights, known, strict=True)),
                np.zeros(matrix.shape[1]),
            )
            order = np.argsort(-(matrix @ mean), kind="stable")[: LIST_LENGTH + instance.k]
            lists.append(without([ids[n] for n in order], instance))
        return lists

    return ranked


def without(ranked: Sequence[str], instance: Instance, more: int = 0) -> list[str]:
    """The first 20, and so many more, that the context does not hold."""
    context = {click.product_id for click in instance.context}
    wanted = LIST_LENGTH + more
    first = ranked[: wanted + len(context)]
    return [one for one in first if one not in context][:wanted]
