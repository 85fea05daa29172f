"""Which products visitors took in the same sessions as a product: its neighbours, with shares that
say how much each is of all that came with it. The worker refreshes them from events; the strategy
`recommend` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

GAP = timedelta(minutes=30)  # without an event ends a session
WINDOW = timedelta(days=365)
MOST_EVENTS = 500_000  # the newest
MOST_OF_ONE = 10_000  # events of one visitor: one who has more is a crawler, or a whole office
MOST_PRODUCTS = 500  # of a session; a longer one is nobody's choice
KEPT = 100  # of a product
WRITTEN_AT_ONCE = 500  # products

# How much an event says of its product, in views; what is not named says nothing. Hand-set, in the
# order of ranking.catalog.popularity, but flatter: all of these are somebody's own choice.
WEIGHTS = {
    "purchase": 3.0,
    "add_to_cart": 2.0,
    "add_to_collection": 2.0,
    "like": 2.0,
    "bookmark": 2.0,
    "share": 2.0,
    "subscribe": 2.0,
    "checkout_started": 1.5,
    "complete": 1.5,
    "click": 1.0,
    "product_detail_page_view": 1.0,
    "read": 1.0,
    "watch": 1.0,
    "listen": 1.0,
    "rate": 1.0,
}

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Recipe:
    """What a pair of one session counts: exp(-places between / `near_places`), half after each
    `half_life_days`, by the root of the session's length (Garg et al., "STAN", SIGIR 2019). A
    product with few sessions has its shares cut by sessions / (sessions + `chance`). Counts are
    raised to `sharpness` before they become shares: what came along often is meant more surely.

    Chosen on three weeks of Online Retail before its test cut (`python -m bench neighbours`),
    `sharpness` there and on Serenade's clicks (`python -m bench mixing`).
    """

    half_life_days: float = 90.0
    near_places: float = 3.0
    reach: int = 15  # places; further ones count under a hundredth
    chance: float = 1.0
    sharpness: float = 1.3


RECIPE = Recipe()


class Lines(NamedTuple):
    """Products of sessions, one after another as they were met: numbers, what each says, and the
    sessions' lengths and ends (unix seconds)."""

    products: Numbers
    weights: Floats
    lengths: Numbers
    ended: Floats


class Neighbours(NamedTuple):
    """A product's nearest first, each with its share."""

    product_no: int
    other_nos: list[int]
    shares: list[float]


def refresh(connection: Connection, site_id: int, at: datetime) -> tuple[int, int]:
    """Count anew, as of `at`; returns of how many products neighbours are kept, and how many
    sessions they are from.

    Readers see the old rows or the new ones, and rows that stay equal are not written.
    """
    lines = _read(connection, site_id, at)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    return keep(connection, site_id, nearest(lines, day, RECIPE)), len(lines.lengths)


def keep(connection: Connection, site_id: int, found: Iterable[Neighbours]) -> int:
    """Keep these neighbours of a site, and no others; returns of how many products."""
    numbers: list[int] = []
    with connection.transaction():
        for batch in _batches(found):
            rows = [one._asdict() for one in batch]
            connection.execute(SQL.write, {"site_id": site_id, "rows": database.jsonb(rows)})
            numbers += [one.product_no for one in batch]
        connection.execute(SQL.drop_others, {"site_id": site_id, "kept": numbers})
    return len(numbers)


def nearest(lines: Lines, at: float, recipe: Recipe) -> Iterator[Neighbours]:
    """The neighbours of each product that has any, as of a unix time."""
    products, weights, of = _distinct(lines)
    if not len(products):
        return
    numbers, index = np.unique(products, return_inverse=True)
    lengths = np.bincount(of, minlength=len(lines.ended))
    ages = (at - lines.ended) / 86400.0
    worth = 0.5 ** (ages / recipe.half_life_days) / np.sqrt(np.maximum(1, lengths))
    pairs = _pairs(index, weights, of, worth, len(numbers), recipe)
    sessions = np.bincount(index, minlength=len(numbers))
    yield from _rows(pairs, numbers, sessions, recipe)


def _distinct(lines: Lines) -> tuple[Numbers, Floats, Numbers]:
    """Each product of a session once, where it was met first, with the most that any of its events
    says, and the index of its session. Sessions that nobody chose are left out."""
    of = np.repeat(np.arange(len(lines.lengths)), lines.lengths)
    highest = int(lines.products.max(initial=0)) + 1
    _, first, same = np.unique(
        of * highest + lines.products, return_index=True, return_inverse=True
    )
    weights = np.zeros(len(first))
    np.maximum.at(weights, same, lines.weights)
    order = np.argsort(first, kind="stable")
    first, weights = first[order], weights[order]
    of, products = of[first], lines.products[first]
    counts = np.bincount(of, minlength=len(lines.lengths))
    chosen = (counts[of] > 1) & (counts[of] <= MOST_PRODUCTS)
    return products[chosen], weights[chosen], of[chosen]


def _pairs(
    index: Numbers, weights: Floats, of: Numbers, worth: Floats, count: int, recipe: Recipe
) -> csr_array:
    """What each product (row) says of each other one (column), all sessions together."""
    total = csr_array((count, count))
    for apart in range(1, recipe.reach + 1):
        together = of[apart:] == of[:-apart]
        if not together.any():
            break
        one, other = index[:-apart][together], index[apart:][together]
        value = worth[of[apart:][together]] * np.exp(-apart / recipe.near_places)
        rows, columns = np.concatenate([one, other]), np.concatenate([other, one])
        says = np.concatenate(
            [value * weights[apart:][together], value * weights[:-apart][together]]
        )
        total = total + csr_array((says, (rows, columns)), shape=(count, count))
    return total


def _rows(
    pairs: csr_array, numbers: Numbers, sessions: Numbers, recipe: Recipe
) -> Iterator[Neighbours]:
    for row in range(len(numbers)):
        part = slice(pairs.indptr[row], pairs.indptr[row + 1])
        others, says = pairs.indices[part], pairs.data[part] ** recipe.sharpness
        if not says.sum() > 0:
            continue
        best = np.lexsort((others, -says))[:KEPT]
        sure = sessions[row] / (sessions[row] + recipe.chance)
        # Rounded, so that a row nothing happened to stays as it is from day to day.
        shares = np.round(says[best] / says.sum() * sure, 5)
        some = shares > 0
        yield Neighbours(
            int(numbers[row]), numbers[others[best][some]].tolist(), shares[some].tolist()
        )


# Postgres ---------------------------------------------------------------------------------------


def _read(connection: Connection, site_id: int, at: datetime) -> Lines:
    parameters = {
        "site_id": site_id,
        "at": at,
        "gap": GAP,
        "window": WINDOW,
        "most_events": MOST_EVENTS,
        "most_of_one": MOST_OF_ONE,
        "weights": database.jsonb(WEIGHTS),
    }
    products, weights, lengths, ended = [], [], [], []
    with connection.cursor(binary=True) as cursor:
        for one, says, end in cursor.execute(SQL.sessions, parameters):
            products.append(np.array(one, dtype=np.int64))
            weights.append(np.array(says, dtype=np.float64))
            lengths.append(len(one))
            ended.append(end)
    return Lines(
        np.concatenate(products) if products else np.zeros(0, dtype=np.int64),
        np.concatenate(weights) if weights else np.zeros(0),
        np.array(lengths, dtype=np.int64),
        np.array(ended, dtype=np.float64),
    )


def _batches(found: Iterable[Neighbours]) -> Iterator[list[Neighbours]]:
    batch: list[Neighbours] = []
    for one in found:
        batch.append(one)
        if len(batch) == WRITTEN_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
