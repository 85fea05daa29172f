"""What a visitor's events say: the interest vector, interest tags, what was touched and bought.

Pure: profile reads the events and products and keeps the result. Nothing here knows the time of
day; recency counts steps, so that a profile stays true until something happens.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ranking.catalog.neighbours import GAP
from ranking.visitors import names, prices
from ranking.visitors.prices import Act, Market, Offer, PriceAffinity

Vector = np.ndarray[Any, np.dtype[np.float32]]

STEP = 0.5  # what one step back in time is worth of the one after it: .4 to .6 were as good
# What an event of an earlier visit is worth beside; a sixteenth to a quarter were as good
# (`python -m bench mixing`). A visit ends with half an hour without anything that counts.
EARLIER = 0.125
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


class Interest(msgspec.Struct, frozen=True, array_like=True):
    """A word, tag, brand, category, style or attribute; its share of what the visitor told; the
    events `behind` it, by their places among those told, with what each adds to that; and how sure
    it is, from 0 to 1."""

    kind: str
    name: str
    weight: float
    behind: list[int]
    shares: list[float]
    sure: float


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
    currency: str = ""
    attributes: list[str] = field(default_factory=list)  # "color: red"
    style: str | None = None  # what its cluster is called
    cluster: int | None = None


def telling(happened: Iterable[Happened], at: datetime) -> list[tuple[Happened, float]]:
    """The newest events that count as interests, each with its weight: type times recency, and
    EARLIER for those of earlier visits. What has no time happened at `at`.

    The same thing done twice in a row counts once: a reload, or a search told by the page and by
    a mirror of its request.
    """
    counted: list[tuple[Happened, float]] = []
    newer: datetime | None = None
    worth = 1.0
    for event in happened:
        occurred_at = event.occurred_at or at
        if newer and newer - occurred_at > GAP:
            worth = EARLIER
        newer = occurred_at
        weight = worth * _type_weight(event)
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
    happened: Sequence[Happened],
    counted: Iterable[tuple[Happened, float]],
    bought: Iterable[tuple[str, datetime]],
    products: Mapping[str, Known],
    market: Market | None = None,
) -> Contents:
    """Everything but the vector. `counted` is what `telling` made of `happened`; `products` knows
    the products of all of them by id, `market` what the products of their clusters cost."""
    told = [_told(event, weight, products) for event, weight in counted]
    return Contents(
        events=told,
        touched=_touched(happened, products),
        bought=[(products[p].product_no, at) for p, at in bought if p in products],
        interests=_interests(told, products),
        price=_price(happened, told, products, market or {}),
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

DOUBT = 1.0  # one imaginary event that says nothing (additive smoothing), so that none is certain


def _interests(told: Sequence[Told], products: Mapping[str, Known]) -> list[Interest]:
    """Per kind the strongest names, each weighing its share of all that was told in favour."""
    total = sum(one.weight for one in told if one.weight > 0)
    named = [_names(one, products) for one in told]
    kinds: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one, names_of in zip(told, named, strict=True):
        for (kind, name), part in names_of.items():
            kinds[kind][name] = kinds[kind].get(name, 0.0) + one.weight * part
    return [
        _interest(kind, name, _behind((kind, name), told, named), total)
        for kind in sorted(kinds)
        for name, weight in nsmallest(
            MAX_TAGS, kinds[kind].items(), key=lambda one: (-one[1], one[0])
        )
        if weight > NEGLIGIBLE
    ]


def _behind(
    key: tuple[str, str], told: Sequence[Told], named: Sequence[Mapping[tuple[str, str], float]]
) -> list[tuple[int, float]]:
    """The events that a name is true of, by their places, with what each says of it."""
    return [
        (place, one.weight * names_of[key])
        for place, (one, names_of) in enumerate(zip(told, named, strict=True))
        if key in names_of
    ]


def _interest(kind: str, name: str, behind: Sequence[tuple[int, float]], total: float) -> Interest:
    """The shares sum to the weight, but for rounding."""
    shares = [says / total for _, says in behind]
    count = sum(says > 0 for _, says in behind)
    return Interest(
        kind=kind,
        name=name,
        weight=round(sum(shares), 4),
        behind=[place for place, _ in behind],
        shares=[round(share, 6) for share in shares],
        sure=round(count / (count + DOUBT), 4),
    )


def _names(told: Told, products: Mapping[str, Known]) -> dict[tuple[str, str], float]:
    """What an event's query or products are called, each with the share of them it is true of."""
    if told.query is not None:
        return {("word", word): 1.0 for word in names.words(told.query)}
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    known = [products[p] for p in told.product_ids if p in products]
    for product in known:
        for key in _product_names(product):
            shares[key] += 1 / len(known)
    return shares


def _product_names(product: Known) -> set[tuple[str, str]]:
    """The first of each kind: no product, however much is told of it, makes a profile slow."""
    kinds: dict[str, Iterable[str]] = {
        "brand": [product.brand] if product.brand else (),
        "style": [product.style] if product.style else (),
        "tag": product.tags,
        "attribute": product.attributes,
        "category": _levels(product.categories),
        "word": names.words(product.title or ""),
    }
    return {(kind, name) for kind, called in kinds.items() for name in islice(called, names.MOST)}


def _levels(paths: Iterable[Sequence[str]]) -> Iterator[str]:
    return (" > ".join(path[:level]) for path in paths for level in range(1, len(path) + 1))


# prices -----------------------------------------------------------------------------------------


def _price(
    happened: Sequence[Happened],
    told: Sequence[Told],
    products: Mapping[str, Known],
    market: Market,
) -> PriceAffinity | None:
    """Of the products in the currency that most are told in."""
    acts = [
        Act(event.event_id, event.type, offer, _type_weight(event))
        for event in happened
        for product_id in event.product_ids[:MAX_PRODUCTS]
        if (offer := _offer(products.get(product_id)))
    ]
    currency = prices.main_currency([one.offer for one in acts if one.weight > 0])
    paid = _paid(told, products, currency)
    if not paid:
        return None
    total = sum(weight for _, weight in paid)
    mean = math.exp(sum(weight * math.log(price) for price, weight in paid) / total)
    found = prices.sensitivity([one for one in acts if one.offer.currency == currency], market)
    asked = [price for price, _ in paid]
    return PriceAffinity(
        low=min(asked),
        typical=round(mean, 2),
        high=max(asked),
        currency=currency or None,
        **(found._asdict() if found else {}),
    )


def _paid(
    told: Sequence[Told], products: Mapping[str, Known], currency: str
) -> list[tuple[float, float]]:
    return [
        (offer.price, one.weight / len(one.product_ids))
        for one in told
        for product_id in one.product_ids
        if one.weight > 0 and (offer := _offer(products.get(product_id)))
        if offer.currency == currency
    ]


def _offer(product: Known | None) -> Offer | None:
    if product is None or not product.price or product.price <= 0:
        return None
    return Offer(product.product_id, product.price, product.currency, product.cluster)
