"""How good a model's lists are on visits it has not seen: the evaluation protocol over arrays.

The whole catalog is ranked, what the visit holds left out. `promote` compares two models on the
same instances with these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranking.catalog.learned import Array, Network
from ranking.training.corpus import Instances, Ints
from ranking.training.evaluate import FIRST, LIST_LENGTH

# Instances at once: so many that a few arrays over all products take some tens of MB each.
CHUNK, CHUNK_NUMBERS = 256, 4_000_000

# Scores [n, products] of a chunk of instances.
Scores = Callable[[Instances], Array]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Lists:
    """LIST_LENGTH rows an instance, best first, and at which rank from 1 its target stood (0: it
    did not)."""

    rows: Ints
    ranks: Ints

    @classmethod
    def joined(cls, some: Sequence[Lists]) -> Lists:
        return cls(
            np.concatenate([one.rows for one in some]), np.concatenate([one.ranks for one in some])
        )

    def chosen(self, which: Mask) -> Lists:
        """Those of these instances alone."""
        return Lists(self.rows[which], self.ranks[which])

    def hits(self, length: int = FIRST) -> Mask:
        return (self.ranks > 0) & (self.ranks <= length)

    def gains(self, length: int = FIRST) -> Array:
        """NDCG with one relevant product, of each list."""
        gains = np.where(self.hits(length), 1 / np.log2(1 + np.maximum(self.ranks, 1)), 0)
        return gains.astype(np.float32)


def mean(values: Array | Mask) -> float:
    """Of all visits, as it is told; 0 of none."""
    return round(float(np.mean(values)), 4) if len(values) else 0.0


def lists(scores: Scores, asked: Instances, servable: Mask) -> Lists:
    """What is shown for each instance, of the products that are `servable` (a mask)."""
    found = [_first(scores(part), part, servable) for part in parts(asked, len(servable))]
    length = min(LIST_LENGTH, len(servable))
    rows = np.concatenate(found) if found else np.zeros((0, length), np.int64)
    at = rows == asked.targets[:, np.newaxis]
    return Lists(rows, np.where(at.any(axis=1), at.argmax(axis=1) + 1, 0))


def parts(asked: Instances, products: int) -> list[Instances]:
    """The instances in chunks."""
    chunk = max(1, min(CHUNK, CHUNK_NUMBERS // max(1, products)))
    return [asked.chosen(slice(at, at + chunk)) for at in range(0, len(asked), chunk)]


def _first(scores: Array, part: Instances, servable: Mask) -> Ints:
    scores = np.where(servable, scores, -np.inf)
    np.put_along_axis(scores, part.rows, -np.inf, axis=1)
    length = min(LIST_LENGTH, scores.shape[1])
    best = np.argpartition(-scores, length - 1, axis=1)[:, :length]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    ranked: Ints = np.take_along_axis(best, order, axis=1)
    return ranked


def by_network(network: Network, vectors: Array) -> Scores:
    """The learned model over product vectors [products, 65]."""

    def scores(part: Instances) -> Array:
        events = vectors[:, :-1][part.rows]
        lengths = np.full(len(part), part.k)
        visitors = network.visitors(events, part.kinds, lengths)
        made: Array = visitors @ vectors[:, :-1].T + vectors[:, -1]
        return made

    return scores
