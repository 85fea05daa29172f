"""What a visitor's events say: the interest vector, interest tags, what was touched and bought.

Pure: profile reads the events and products and keeps the result. Nothing here knows the time of
day; recency counts steps, so that a profile stays true until something happens.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float32]]

STEP = 0.5  # what one step back in time is worth of the one after it: .4 to .6 were as good
MAX_EVENTS = 12  # that shape the vector
MAX_TOUCHED = 50  # products
MAX_PRODUCTS = 50  # of one event; a larger order says no more
MAX_TAGS = 12  # of a kind
SHORTEST_VIEW_S = 5.0
GOOD_RATING, BAD_RATING = 3.5, 2.0
NEGLIGIBLE = 1e-6

# What an event of each type says about its products, in product views. Hand-set: buying and
# keeping say more than looking; what takes something back says less than what it takes back, so
# that putting into the cart and out again leaves an interest. Types without an entry say nothing.
TYPE_WEIGHTS = {
    "purchase": 3.0,
    "add_to_cart": 2.0,
    "add_to_collection": 2.0,
    "like": 2.0,
    "bookmark": 2.0,
    "share": 2.0,
    "subscribe": 2.0,
    "checkout_started": 1.5,
    "complete": 1.5,
    "submit": 1.5,
    "product_detail_page_view": 1.0,
    "read": 1.0,
    "watch": 1.0,
    "listen": 1.0,
    "search": 1.0,
    "click": 1.0,
    "custom": 0.5,
    "product_image_view": 0.5,
    "promo_page_view": 0.5,
    "category_page_view": 0.5,
    "remove_from_cart": -0.5,
    "remove_from_collection": -0.5,
    "refund": -0.5,
    "unsubscribe": -0.5,
    "dislike": -1.0,
}
RATED_WELL, RATED_SO_SO, RATED_BADLY = 2.0, 0.5, -1.0

_WORD = re.compile(r"[^\W\d_]{3,}")
STOP_WORDS = frozenset((
    "the", "and", "for", "with", "from", "this", "that", "your", "our", "are", "was", "you",
    "all", "new", "set", "pack", "size", "und", "der", "die", "das", "mit", "für", "von",
    "aus", "ein", "eine", "les", "des", "pour", "avec", "sur", "une", "los", "las", "con",
    "para", "por", "del", "una", "het", "een", "van", "voor", "met",
))  # fmt: skip


class Happened(NamedTuple):
    """One event as it was stored, newest first in every list here."""

    event_id: str
    occurred_at: datetime | None
    type: str
    product_ids: list[str]
    group_ids: list[str] | None = None
    query: str | None = None
    category: list[str] | None = None
    duration: float | None = None
    rating: float | None = None


class Told(msgspec.Struct, frozen=True):
    """One event that counts as an interest; a negative weight turns away from its products."""

    event_id: str
    type: str
    occurred_at: datetime | None
    product_ids: list[str]
    query: str | None
    label: str  # the query, or the title of its first product
    weight: float


class Interest(msgspec.Struct, frozen=True):
    """A word, tag, brand or category, its share of what the visitor told, and the events."""

    kind: str
    name: str
    weight: float
    event_ids: list[str]


class PriceAffinity(msgspec.Struct, frozen=True):
    """What products of interest cost: the lowest, the weighted geometric mean, the highest."""

    low: float
    typical: float
    high: float


class Contents(msgspec.Struct, frozen=True):
    """What a profile keeps beside its vector. Products by number, newest first."""

    events: list[Told] = []
    touched: list[int] = []
    bought: list[tuple[int, datetime]] = []
    interests: list[Interest] = []
    price: PriceAffinity | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A product as the catalog knows it; `vector` None where it has none (yet)."""

    product_id: str
    product_no: int
    vector: Vector | None = None
    title: str | None = None
    brand: str | None = None
    tags: list[str] = field(default_factory=list)
    categories: list[list[str]] = field(default_factory=list)
    price: float | None = None


def telling(happened: Iterable[Happened]) -> list[tuple[Happened, float]]:
    """The newest events that count as interests, each with its weight: type times recency.

    The same thing done twice in a row counts once: a reload, or a search told by the page and by
    a mirror of its request.
    """
    counted: list[tuple[Happened, float]] = []
    for event in happened:
        weight = _type_weight(event)
        if weight and not (counted and _same(counted[-1][0], event)):
            counted.append((event, weight * STEP ** len(counted)))
        if len(counted) == MAX_EVENTS:
            break
    return counted


def query_of(event: Happened) -> str | None:
    """The text that an event without products stands for: a search, or a category's path."""
    if event.type == "search" and event.query and event.query.strip():
        return event.query
    if event.type == "category_page_view" and event.category:
        return ", ".join(event.category).strip(", ") or None
    return None


def contents(
    happened: Iterable[Happened],
    counted: Iterable[tuple[Happened, float]],
    bought: Iterable[tuple[str, datetime]],
    products: Mapping[str, Known],
) -> Contents:
    """Everything but the vector. `counted` is what `telling` made of `happened`; `products` knows
    the products of all of them by id."""
    told = [_told(event, weight, products) for event, weight in counted]
    return Contents(
        events=told,
        touched=_touched(happened, products),
        bought=[(products[p].product_no, at) for p, at in bought if p in products],
        interests=_interests(told, products),
        price=_price(told, products),
    )


def interest_vector(
    told: Sequence[Told], products: Mapping[str, Known], queries: Mapping[str, Vector]
) -> Vector | None:
    """The weighted mean of what the events stand for, of unit length; None without an interest."""
    weighted = [
        one.weight * stands_for
        for one in told
        if (stands_for := event_vector(one, products, queries)) is not None
    ]
    if not weighted or not any(one.weight > 0 for one in told):
        return None
    total = np.stack(weighted).sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    return (total / length).astype(np.float32) if length > NEGLIGIBLE else None


def event_vector(
    told: Told, products: Mapping[str, Known], queries: Mapping[str, Vector]
) -> Vector | None:
    """What one event stands for: its query's vector, or the mean of its products'."""
    if told.query is not None:
        return queries.get(told.query)
    found = [
        product.vector
        for product_id in told.product_ids
        if (product := products.get(product_id)) and product.vector is not None
    ]
    if not found:
        return None
    mean: Vector = np.mean(np.stack(found), axis=0, dtype=np.float32)
    return mean


# one event --------------------------------------------------------------------------------------


def _type_weight(event: Happened) -> float:
    if not (event.product_ids or query_of(event)):
        return 0.0
    weight = _rating_weight(event) if event.type == "rate" else TYPE_WEIGHTS.get(event.type, 0.0)
    too_short = event.duration is not None and event.duration < SHORTEST_VIEW_S
    return min(weight, 0.0) if too_short else weight


def _rating_weight(event: Happened) -> float:
    if event.rating is None:
        return RATED_SO_SO
    if event.rating <= BAD_RATING:
        return RATED_BADLY
    return RATED_WELL if event.rating >= GOOD_RATING else RATED_SO_SO


def _same(newer: Happened, older: Happened) -> bool:
    return (
        newer.type == older.type
        and newer.product_ids == older.product_ids
        and (query_of(newer) or "").casefold() == (query_of(older) or "").casefold()
    )


def _told(event: Happened, weight: float, products: Mapping[str, Known]) -> Told:
    query, product_ids = query_of(event), event.product_ids[:MAX_PRODUCTS]
    titles = (products[p].title for p in product_ids if p in products)
    return Told(
        event_id=event.event_id,
        type=event.type,
        occurred_at=event.occurred_at,
        product_ids=product_ids,
        query=query,
        label=query or next((title for title in titles if title), "") or ", ".join(product_ids[:1]),
        weight=weight,
    )


def _touched(happened: Iterable[Happened], products: Mapping[str, Known]) -> list[int]:
    touched: dict[int, None] = {}
    for event in happened:
        for product_id in event.product_ids:
            if product_id in products:
                touched.setdefault(products[product_id].product_no)
            if len(touched) == MAX_TOUCHED:
                return list(touched)
    return list(touched)


# tags -------------------------------------------------------------------------------------------


def _interests(told: Sequence[Told], products: Mapping[str, Known]) -> list[Interest]:
    """Per kind the strongest names, each weighing its share of all that was told in favour."""
    total = sum(one.weight for one in told if one.weight > 0)
    weights: defaultdict[tuple[str, str], float] = defaultdict(float)
    event_ids: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in told:
        for key, share in _names(one, products).items():
            weights[key] += one.weight * share
            event_ids[key].append(one.event_id)
    kinds: defaultdict[str, list[Interest]] = defaultdict(list)
    for (kind, name), weight in sorted(weights.items(), key=lambda item: (-item[1], item[0])):
        if weight > NEGLIGIBLE and len(kinds[kind]) < MAX_TAGS:
            share = round(weight / total, 4)
            kinds[kind].append(Interest(kind, name, share, event_ids[kind, name]))
    return [interest for kind in sorted(kinds) for interest in kinds[kind]]


def _names(told: Told, products: Mapping[str, Known]) -> dict[tuple[str, str], float]:
    """What an event's query or products are called, each with the share of them it is true of."""
    if told.query is not None:
        return {("word", word): 1.0 for word in _words(told.query)}
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    known = [products[p] for p in told.product_ids if p in products]
    for product in known:
        for key in set(_product_names(product)):
            shares[key] += 1 / len(known)
    return shares


def _product_names(product: Known) -> Iterator[tuple[str, str]]:
    if product.brand:
        yield "brand", product.brand
    for tag in product.tags:
        yield "tag", tag
    for path in product.categories:
        for level in range(1, len(path) + 1):
            yield "category", " > ".join(path[:level])
    for word in _words(product.title or ""):
        yield "word", word


def _words(text: str) -> Iterator[str]:
    return (word for word in _WORD.findall(text.casefold()) if word not in STOP_WORDS)


def _price(told: Sequence[Told], products: Mapping[str, Known]) -> PriceAffinity | None:
    paid = [
        (price, one.weight / len(one.product_ids))
        for one in told
        for product_id in one.product_ids
        if one.weight > 0 and product_id in products and (price := products[product_id].price)
        if price > 0
    ]
    if not paid:
        return None
    total = sum(weight for _, weight in paid)
    mean = math.exp(sum(weight * math.log(price) for price, weight in paid) / total)
    prices = [price for price, _ in paid]
    return PriceAffinity(low=min(prices), typical=round(mean, 2), high=max(prices))
