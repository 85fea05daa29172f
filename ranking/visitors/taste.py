"""What the learned model looks at of a visitor's events: a vector and a kind for each.

Pure, like interests. Events that turn away from a product say nothing here, and of the same
product twice in a row only the stronger counts, as in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ranking.catalog.learned import KIND_NUMBERS, STEPS, WIDTH, Array
from ranking.visitors.interests import Told


class Looked(NamedTuple):
    """`vectors` [n, 64] and `kinds` [n] of n events, newest first."""

    vectors: Array
    kinds: np.ndarray[Any, np.dtype[np.int64]]


def looked(
    events: Sequence[Told], products: Mapping[str, Array], queries: Mapping[str, Array]
) -> tuple[Looked, list[int]]:
    """At most STEPS of a profile's events, and which of them those are. `products` are vectors by
    id, of which the bias is no part; `queries` are P(t) by text."""
    found: list[tuple[int, Array, int, str | list[str]]] = []
    for number, one in enumerate(events):
        if one.weight <= 0 or one.type not in KIND_NUMBERS:
            continue
        vector = _vector(one, products, queries)
        if vector is None:
            continue
        kind, about = KIND_NUMBERS[one.type], one.query or one.product_ids
        if found and found[-1][3] == about:
            number, vector, _, about = found[-1]
            found[-1] = (number, vector, max(kind, found[-1][2]), about)
        elif len(found) < STEPS:
            found.append((number, vector, kind, about))
    vectors = np.stack([one[1] for one in found]) if found else np.zeros((0, WIDTH), np.float32)
    kinds = np.array([one[2] for one in found], np.int64)
    return Looked(vectors.astype(np.float32), kinds), [one[0] for one in found]


def _vector(
    told: Told, products: Mapping[str, Array], queries: Mapping[str, Array]
) -> Array | None:
    if told.query is not None:
        return queries.get(told.query)
    found = [products[one][:WIDTH] for one in told.product_ids if one in products]
    if not found:
        return None
    mean: Array = np.mean(found, axis=0, dtype=np.float32)
    return mean
