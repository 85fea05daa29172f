"""What a site is served without a learned model, over arrays: `strategies.recommend` by texts and
popularity. A learned version must beat it on the same visits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranking.catalog import popularity
from ranking.catalog.encoder import Vectors
from ranking.catalog.learned import KIND_OF, KINDS, Array
from ranking.strategies import near, recommend
from ranking.training.corpus import Corpus, Instances
from ranking.training.measure import Scores
from ranking.visitors.interests import STEP, TYPE_WEIGHTS

Floats = np.ndarray[Any, np.dtype[np.float64]]

# One type stands for its kind.
_STANDS_FOR = {kind: name for name, kind in reversed(KIND_OF.items())}
KIND_WEIGHTS = np.array([TYPE_WEIGHTS.get(_STANDS_FOR[kind], 0.5) for kind in KINDS], np.float32)
KIND_SHARES = np.array([popularity.WEIGHTS.get(_STANDS_FOR[kind], 0.0) for kind in KINDS])


def by_text(served: Vectors, corpus: Corpus, at: float) -> Scores:
    """Scores by text vectors as text-1 serves them (zeros: none) and popularity as of `at`."""
    shares = popular_shares(corpus, at)
    without = ~np.any(served != 0, axis=1)

    def scores(part: Instances) -> Array:
        weights = KIND_WEIGHTS[part.kinds] * STEP ** np.arange(part.k)
        mean = np.einsum("ns,nsd->nd", weights, served[part.rows])
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)
        cosines = mean @ served.T
        cosines[:, without] = -1.0
        blocked = np.take_along_axis(cosines, part.rows, axis=1)
        np.put_along_axis(cosines, part.rows, -2.0, axis=1)
        total = _with_prior(cosines, shares)
        np.put_along_axis(cosines, part.rows, blocked, axis=1)
        return total

    return scores


def _with_prior(cosines: Array, shares: Array) -> Array:
    """Popularity chooses among the nearest alone; the others stand behind them."""
    count = min(near.POOL, cosines.shape[1])
    pool = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    total = cosines - 10.0
    chosen = np.take_along_axis(cosines, pool, axis=1) + recommend.POPULARITY * shares[pool]
    np.put_along_axis(total, pool, chosen.astype(np.float32), axis=1)
    with_prior: Array = total
    return with_prior


def popular_shares(corpus: Corpus, at: float) -> Array:
    """What `catalog.popularity` says of each product as of `at`, as a share of the most popular
    one's; for products without history what the site gives these."""
    age = at - corpus.times
    weight = KIND_SHARES[corpus.kinds]
    lately = (age > 0) & (age < popularity.WINDOW.total_seconds())
    popular = _decayed(corpus, weight * lately, age, popularity.HALF_LIFE.total_seconds())
    ever = _decayed(corpus, weight * (age > 0), age, popularity.LONG_HALF_LIFE.total_seconds())
    popular += popularity.LONG_SHARE * ever
    known = popular > 0
    norm = np.log1p(max(popularity.FLOOR, popular.max(initial=0.0)))
    mean = np.log1p(popular[known]).mean() if known.any() else 0.0
    new = min(1.0, popularity.NEW_FACTOR * mean / norm)
    shares: Array = np.where(known, np.log1p(popular) / norm, new).astype(np.float32)
    return shares


def _decayed(corpus: Corpus, weights: Floats, age: Floats, half_life_s: float) -> Floats:
    decayed = weights * 0.5 ** (np.maximum(age, 0) / half_life_s)
    return np.bincount(corpus.rows, weights=decayed, minlength=corpus.products).astype(np.float64)
