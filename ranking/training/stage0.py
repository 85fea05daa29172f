"""What a site is served without a learned model, over arrays: `strategies.recommend` by texts, by
what others took and by popularity. A learned version must beat it on the same visits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ranking.catalog import popularity
from ranking.catalog.encoder import Vectors
from ranking.catalog.learned import KINDS, Array
from ranking.question import NEW_LIFT
from ranking.strategies import near, recommend
from ranking.training import mixture
from ranking.training.corpus import Corpus, Instances
from ranking.training.measure import Scores

Floats = np.ndarray[Any, np.dtype[np.float64]]

KIND_SHARES = np.array([popularity.WEIGHTS.get(mixture.STANDS_FOR[kind], 0.0) for kind in KINDS])
UNLIKE = np.float32(-1.0)  # the cosine of what has no text
BEHIND = np.float32(10.0)  # points, what only fills up


def served(
    texts: Vectors,
    corpus: Corpus,
    taken: csr_array,
    at: float,
    *,
    lift: float = NEW_LIFT,
) -> Scores:
    """Scores by text vectors as text-1 serves them (zeros: none), by what others took, and by
    popularity as of `at`; products without history are lifted by `lift` logits."""
    popular = popular_points(corpus, at, recommend.fresh(lift))

    def scores(part: Instances) -> Array:
        cosines = mixture.cosines(part, texts)
        np.put_along_axis(cosines, part.rows, -np.inf, axis=1)
        shares = mixture.shares(part, taken)
        proposed = mixture.among_the_first(cosines, near.POOL) & np.isfinite(cosines) | (shares > 0)
        likeness: Array = cosines.clip(min=UNLIKE)
        added = recommend.added(likeness, shares).astype(np.float32)
        points = likeness + added + popular
        # What is not proposed fills up by popularity, behind.
        made: Array = np.where(proposed, points, popular - BEHIND)
        return made

    return scores


def popular_points(corpus: Corpus, at: float, fresh: float) -> Array:
    """What popularity gives each product, or what it is given without history [products]."""
    shares, known = popular_shares(corpus, at)
    points = recommend.POPULARITY * shares + fresh * ~known
    made: Array = points.astype(np.float32)
    return made


def popular_shares(corpus: Corpus, at: float) -> tuple[Array, np.ndarray[Any, Any]]:
    """What `catalog.popularity` says of each product as of `at`, as a share of the most popular
    one's, for products without history what the site gives these; and which have a history."""
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
    return shares, known


def _decayed(corpus: Corpus, weights: Floats, age: Floats, half_life_s: float) -> Floats:
    decayed = weights * 0.5 ** (np.maximum(age, 0) / half_life_s)
    return np.bincount(corpus.rows, weights=decayed, minlength=corpus.products).astype(np.float64)
