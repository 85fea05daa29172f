"""Variety: near-copies at the top of a list make room for what is nearly as good and differs.

Pure: `arrangement` brings the vectors. Maximal marginal relevance (Carbonell & Goldstein, SIGIR
1998): place by place the one whose score, less what the likest one before it takes off, is highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Cosines = np.ndarray[Any, np.dtype[np.float64]]

# The places it fills, of a list of which so many are known; behind them the score alone decides.
# With one variant a group a quarter more is proposed: still no more than `near.POOL`, so that no
# search goes deeper for it.
DEEPEST = 80
UNSHARED = 4 * 65_536  # multiplications, up to which OpenBLAS uses one thread
DECIMALS = 6  # of a cosine: a product of many numbers is rounded otherwise beside others


def order(
    scores: Sequence[float], vectors: Vectors, strength: float, before: Vectors | None = None
) -> list[int]:
    """Indexes of the candidates in their new order; the first stays first where none are before.

    Each place takes the highest of (1 - strength) · score - strength · cosine to the likest one
    chosen earlier, the vectors `before` among them; ties go to the lower index. `vectors`, one row
    a candidate, have unit length, or are zero: like nothing. `strength` 0 changes nothing, 1 looks
    at likeness alone.
    """
    if strength <= 0 or len(scores) < 2:
        return list(range(len(scores)))
    alike = _alike(vectors, vectors)
    worth = (1.0 - strength) * np.asarray(scores, np.float64)
    chosen: list[int] = []
    if before is None or not len(before):
        chosen, likest = [0], alike[0].copy()
        worth[0] = -np.inf
    else:
        likest = _alike(before, vectors).max(axis=0)
    while len(chosen) < len(scores):
        best = int(np.argmax(worth - strength * likest))
        chosen.append(best)
        worth[best] = -np.inf
        np.maximum(likest, alike[best], out=likest)
    return chosen


def _alike(some: Vectors, others: Vectors) -> Cosines:
    """The cosine of each of some with each of others, in pieces that no BLAS shares out to threads:
    those wait for each other where cores are busy (2.8 ms of processor time for 100, 0.4 so)."""
    step = max(1, UNSHARED // others.size)
    pieces = [some[at : at + step] @ others.T for at in range(0, len(some), step)]
    cosines: Cosines = np.concatenate(pieces).astype(np.float64)
    return cosines.round(DECIMALS)


def variety(vectors: Vectors) -> float:
    """How unlike these are: the mean of 1 - cosine over all pairs (Ziegler et al., WWW 2005)."""
    count = len(vectors)
    if count < 2:
        return 0.0
    alike = vectors @ vectors.T
    return 1.0 - float(alike.sum() - np.trace(alike)) / (count * (count - 1))
