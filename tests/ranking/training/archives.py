"""Archives to train on, small ones: visits with a pattern in them, or with none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ranking.catalog.learned import KINDS
from ranking.training.corpus import DAY_S, Corpus, gathered

VIEW = KINDS.index("view")
BEGIN = 1_700_000_000.0


def a_corpus(*sessions: Sequence[int], products: int = 10, apart_s: float = 3600.0) -> Corpus:
    """Sessions of product rows, an hour apart, their events a minute."""
    return gathered(
        products,
        [
            (
                list(rows),
                [VIEW] * len(rows),
                [BEGIN + number * apart_s + 60.0 * step for step in range(len(rows))],
                [1.0] * len(rows),
            )
            for number, rows in enumerate(sessions)
        ],
    )


def visits_by_kind(sessions: int, products: int = 40, kinds: int = 8, seed: int = 0) -> Corpus:
    """Visits of four products, all of one kind: a product's kind is its row modulo `kinds`."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(sessions):
        kind = random.integers(kinds)
        of_kind = np.arange(kind, products, kinds)
        made.append(random.permutation(of_kind)[:4].tolist())
    return a_corpus(*made, products=products, apart_s=60 * DAY_S / sessions)


def texts_by_kind(products: int = 40, kinds: int = 8, seed: int = 0) -> np.ndarray:
    """Unit vectors [products, 384] that are near to each other within a kind."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(kinds, 384))
    made = centres[np.arange(products) % kinds] + 0.5 * random.normal(size=(products, 384))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
