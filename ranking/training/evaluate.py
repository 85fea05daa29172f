"""How good lists are: HR, MRR and NDCG with one relevant product, and coverage of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

import numpy as np

from ranking.training.clickstream import Instance

LIST_LENGTH = 20
FIRST = 10  # places that HR@10 and NDCG@10 look at

Lists = list[list[str]]
Gains = np.ndarray[Any, np.dtype[np.float64]]


def results(
    method: str,
    k: int,
    instances: Sequence[Instance],
    lists: Sequence[Sequence[str]],
    *,
    catalog_size: int,
    cold: frozenset[str],
) -> dict[str, Any]:
    """One row of a backtest: metrics over all instances, and apart over warm and cold targets.

    `lists` holds 20 product ids an instance, best first; `cold` the products without any event in
    the training part. HR@n: share of targets among the first n; MRR@20: mean of 1/rank; NDCG@10
    with one relevant item: mean of 1/log2(1 + rank) (Järvelin & Kekäläinen 2002).
    """
    found = ranks(instances, lists)
    is_cold = [instance.target in cold for instance in instances]
    shown = {product_id for ids in lists for product_id in ids[:LIST_LENGTH]}
    return {
        "method": method,
        "k": k,
        **metrics(found),
        "coverage@20": round(len(shown) / max(catalog_size, 1), 4),
        "warm": metrics([rank for rank, c in zip(found, is_cold, strict=True) if not c]),
        "cold": metrics([rank for rank, c in zip(found, is_cold, strict=True) if c]),
    }


def ranks(instances: Sequence[Instance], lists: Sequence[Sequence[str]]) -> list[int | None]:
    """Where each target stands, 1 for the first; None where it is not among the 20."""
    return [_rank(instance.target, ids) for instance, ids in zip(instances, lists, strict=True)]


def hits(instances: Sequence[Instance], lists: Sequence[Sequence[str]]) -> Gains:
    """1 for each target among the first ten, else 0."""
    found = ranks(instances, lists)
    return np.array([rank is not None and rank <= FIRST for rank in found], dtype=np.float64)


def discounted(instances: Sequence[Instance], lists: Sequence[Sequence[str]]) -> Gains:
    """What each instance adds to NDCG@10."""
    found = ranks(instances, lists)
    return np.array([1 / log2(1 + r) if r is not None and r <= FIRST else 0.0 for r in found])


def _rank(target: str, ids: Sequence[str]) -> int | None:
    return next((n for n, one in enumerate(ids[:LIST_LENGTH], 1) if one == target), None)


def metrics(ranks: Sequence[int | None]) -> dict[str, Any]:
    """HR@10, HR@20, MRR@20 and NDCG@10 of these ranks, and how many there are."""
    n = len(ranks)
    found = [rank for rank in ranks if rank is not None]

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / n, 4) if n else 0.0

    return {
        "n": n,
        "hit_rate@10": mean([1.0 for rank in found if rank <= FIRST]),
        "hit_rate@20": mean([1.0 for _ in found]),
        "mrr@20": mean([1 / rank for rank in found]),
        "ndcg@10": mean([1 / log2(1 + rank) for rank in found if rank <= FIRST]),
    }
