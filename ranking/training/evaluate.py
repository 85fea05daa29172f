"""How good lists are: HR, MRR and NDCG with one relevant product, and coverage of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

from ranking.training.clickstream import Instance

LIST_LENGTH = 20


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
    ranks = [_rank(instance.target, ids) for instance, ids in zip(instances, lists, strict=True)]
    is_cold = [instance.target in cold for instance in instances]
    shown = {product_id for ids in lists for product_id in ids[:LIST_LENGTH]}
    return {
        "method": method,
        "k": k,
        **_metrics(ranks),
        "coverage@20": round(len(shown) / max(catalog_size, 1), 4),
        "warm": _metrics([rank for rank, c in zip(ranks, is_cold, strict=True) if not c]),
        "cold": _metrics([rank for rank, c in zip(ranks, is_cold, strict=True) if c]),
    }


def _rank(target: str, ids: Sequence[str]) -> int | None:
    """1 for the first; None where the target is not in the list."""
    return next((n for n, one in enumerate(ids[:LIST_LENGTH], 1) if one == target), None)


def _metrics(ranks: Sequence[int | None]) -> dict[str, Any]:
    n = len(ranks)
    found = [rank for rank in ranks if rank is not None]

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / n, 4) if n else 0.0

    return {
        "n": n,
        "hit_rate@10": mean([1.0 for rank in found if rank <= 10]),
        "hit_rate@20": mean([1.0 for _ in found]),
        "mrr@20": mean([1 / rank for rank in found]),
        "ndcg@10": mean([1 / log2(1 + rank) for rank in found if rank <= 10]),
    }
