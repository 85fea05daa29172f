"""Training sessions as arrays, newest last: what nearest-neighbour methods look things up in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranking.training.clickstream import Click

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

DAY_S = 86400.0


@dataclass(frozen=True, eq=False)
class Sessions:
    """Sessions by the time of their last event, each with its distinct products as they were met.

    `products[starts[s] : starts[s + 1]]` are those of session s, `holding[held[p] : held[p + 1]]`
    the sessions that have product p, newest first; `ended` are unix seconds.
    """

    ids: list[str]
    number: dict[str, int]
    starts: Numbers
    products: Numbers
    ended: Floats
    held: Numbers
    holding: Numbers

    def known(self, context: Iterable[str]) -> list[int]:
        """The numbers of a context's products, oldest first, each at its last place."""
        numbers = [self.number[one] for one in context if one in self.number]
        return list(dict.fromkeys(reversed(numbers)))[::-1]

    def having(self, product: int, most: int) -> Numbers:
        """The newest sessions that have the product."""
        first, end = self.held[product], self.held[product + 1]
        return self.holding[first : min(end, first + most)]

    def lengths(self, some: Numbers) -> Numbers:
        return self.starts[some + 1] - self.starts[some]

    def ages_days(self, some: Numbers) -> Floats:
        """Days before the end of the newest session."""
        ages: Floats = (self.ended[-1] - self.ended[some]) / DAY_S
        return ages

    def spread(self, some: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """All products of these sessions one after another: each product, the index in `some` of
        its session, and its position there."""
        lengths = self.lengths(some)
        of = np.repeat(np.arange(len(some)), lengths)
        before = np.cumsum(lengths) - lengths
        places = np.arange(len(of)) - before[of]
        return self.products[self.starts[some][of] + places], of, places


def of(clicks: Iterable[Click]) -> Sessions:
    """The sessions of clicks that are sorted by time."""
    grouped: dict[str, tuple[dict[str, None], list[float]]] = {}
    for click in clicks:
        products, times = grouped.setdefault(click.session_id, ({}, [click.ts]))
        products.setdefault(click.product_id)
        times[0] = max(times[0], click.ts)
    ordered = sorted(grouped.values(), key=lambda session: session[1][0])
    ids = sorted({one for products, _ in ordered for one in products})
    number = {product_id: at for at, product_id in enumerate(ids)}
    lengths = np.array([len(products) for products, _ in ordered], dtype=np.int64)
    flat = np.array([number[p] for products, _ in ordered for p in products], dtype=np.int64)
    return Sessions(
        ids=ids,
        number=number,
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        products=flat,
        ended=np.array([times[0] for _, times in ordered], dtype=np.float64),
        **_holding(flat, np.repeat(np.arange(len(ordered)), lengths), len(ids)),
    )


def _holding(flat: Numbers, sessions: Numbers, count: int) -> dict[str, Numbers]:
    newest_first = np.arange(len(flat))[::-1]
    by_product = newest_first[np.argsort(flat[newest_first], kind="stable")]
    held = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=count))])
    return {"held": held.astype(np.int64), "holding": sessions[by_product]}
