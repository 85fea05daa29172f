"""How dear what a visitor chooses is, among what they saw: price sensitivity, with the events
behind it. Pure; interests asks.

A price's place is its mid-rank among the others', from 0 (the cheapest) to 1 (the dearest), so that
neither scale nor outliers count. It is compared with what the visitor saw of the same style cluster
where that is enough, else with what the catalog has of it. Nothing of another currency is compared.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

# What says that a product was chosen, and how much in product views.
CHOICES = {"purchase": 3.0, "subscribe": 2.0, "add_to_cart": 2.0, "checkout_started": 2.0}
TAKEN_BACK = frozenset(("remove_from_cart", "refund", "unsubscribe"))

MOST_PRODUCTS = 50  # the last ones
MOST_BEHIND = 12  # products that it is made of, the newest
ENOUGH_SEEN = 3  # prices, with its own: fewer say less than the catalog
# One imaginary event in the middle, so that one click does not say all.
DOUBT = 1.0
LOW, HIGH = 1 / 3, 2 / 3

EVERYTHING = 0  # the cluster that is the whole catalog
Market = Mapping[int, Mapping[str, Sequence[float]]]  # quantiles by cluster and currency


class Offer(NamedTuple):
    """A product's price as the catalog has it; `cluster` None where it has none."""

    product_id: str
    price: float
    currency: str = ""
    cluster: int | None = None


class Act(NamedTuple):
    """One product of an event; newest first in every list here."""

    event_id: str
    type: str
    offer: Offer
    weight: float = 1.0  # in product views


class Priced(msgspec.Struct, frozen=True):
    """An event behind a price affinity: its product's price and place, and what it adds to the
    whole's distance from the middle."""

    event_id: str
    type: str
    product_id: str
    price: float
    position: float
    among: str  # "seen": what the visitor saw of that style; "catalog": what the shop has of it
    adds: float


class PriceAffinity(msgspec.Struct, frozen=True):
    """What products of interest cost: the lowest, the weighted geometric mean, the highest; and how
    dear what was chosen is (`by` "chosen", else "seen"): `position` from 0 to 1 is .5 and what the
    events add. `sure` rises from 0 to 1 with how much they say."""

    low: float
    typical: float
    high: float
    currency: str | None = None
    position: float | None = None
    word: str | None = None
    by: str | None = None
    sure: float = 0.0
    events: list[Priced] = []


class Sensitivity(NamedTuple):
    """The half of a price affinity that is measured here."""

    position: float
    word: str
    by: str
    sure: float
    events: list[Priced]


def main_currency(offers: Sequence[Offer]) -> str:
    """The one most products are told in; of several the first in the alphabet."""
    counted = Counter(one.currency for one in offers)
    return min(counted, key=lambda one: (-counted[one], one)) if counted else ""


def sensitivity(acts: Sequence[Act], market: Market) -> Sensitivity | None:
    """Of acts of one currency, newest first; None where nothing says anything."""
    seen = _seen(acts)
    chosen = _chosen(acts, seen)
    by, behind = ("chosen", chosen) if chosen else ("seen", list(seen.values()))
    found = ((act, _place(act.offer, seen, market, by)) for act in behind)
    places = [(act, place) for act, place in found if place is not None][:MOST_BEHIND]
    if not places:
        return None
    total = sum(act.weight for act, _ in places) + DOUBT
    events = [_priced(act, *found, act.weight * (found[0] - 0.5) / total) for act, found in places]
    position = min(1.0, max(0.0, round(0.5 + sum(one.adds for one in events), 6)))
    return Sensitivity(position, word(position), by, round(1 - DOUBT / total, 4), events)


def word(position: float) -> str:
    return "low" if position < LOW else "high" if position > HIGH else "middle"


# one price ----------------------------------------------------------------------------------------


def among_seen(price: float, prices: Sequence[float]) -> float:
    """The mid-rank of a price among these, of which it is one."""
    ordered = sorted(prices)
    return (bisect_left(ordered, price) + bisect_right(ordered, price)) / 2 / len(ordered)


def among_quantiles(price: float, quantiles: Sequence[float]) -> float:
    """Where a price lies between quantiles from 0 to 1 in equal steps; in the middle of those that
    are equal to it."""
    below, until = bisect_left(quantiles, price), bisect_right(quantiles, price)
    last = max(1, len(quantiles) - 1)
    if below < until:
        return 0.5 if until - below == len(quantiles) else (below + until - 1) / 2 / last
    if below in (0, len(quantiles)):
        return 0.0 if below == 0 else 1.0
    lower, upper = quantiles[below - 1], quantiles[below]
    return (below - 1 + (price - lower) / (upper - lower)) / last


def _place(
    offer: Offer, seen: Mapping[str, Act], market: Market, by: str
) -> tuple[float, str] | None:
    """Where its price lies and among what. What was only seen says nothing among itself."""
    alike = [one.offer.price for one in seen.values() if one.offer.cluster == offer.cluster]
    if by == "chosen" and len(alike) >= ENOUGH_SEEN and len(set(alike)) > 1:
        return among_seen(offer.price, alike), "seen"
    for cluster in (offer.cluster, EVERYTHING):
        quantiles = market.get(cluster, {}).get(offer.currency) if cluster is not None else None
        if quantiles:
            return among_quantiles(offer.price, quantiles), "catalog"
    return None


def _priced(act: Act, position: float, among: str, adds: float) -> Priced:
    offer = act.offer
    return Priced(
        act.event_id, act.type, offer.product_id, offer.price, round(position, 6), among,
        round(adds, 6),
    )  # fmt: skip


# what was seen and chosen -------------------------------------------------------------------------


def _seen(acts: Sequence[Act]) -> dict[str, Act]:
    """The last products that anything speaks for, each by its newest event."""
    seen: dict[str, Act] = {}
    for act in acts:
        if act.weight > 0 and (len(seen) < MOST_PRODUCTS or act.offer.product_id in seen):
            seen.setdefault(act.offer.product_id, act)
    return seen


def _chosen(acts: Sequence[Act], seen: Mapping[str, Act]) -> list[Act]:
    """Each product once, by what says most that it was chosen; not what was taken back since."""
    chosen: dict[str, Act] = {}
    gone: set[str] = set()
    for act in acts:
        product = act.offer.product_id
        if act.type in TAKEN_BACK:
            gone.add(product)
        if act.type not in CHOICES or product in gone or product not in seen:
            continue
        act = act._replace(weight=CHOICES[act.type])
        if product not in chosen or act.weight > chosen[product].weight:
            chosen[product] = act
    return list(chosen.values())
