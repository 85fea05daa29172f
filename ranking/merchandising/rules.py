"""What a shop wants of a list beside its order: products lifted, put beside others, kept apart.

Pure: `answer` finds the candidates, these functions put them in order. Each takes and gives a list
without repeats and loses nothing.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from statistics import NormalDist
from typing import Generic, TypeVar

from ranking.merchandising.filters import Expression

T = TypeVar("T")
Key = Callable[[T], Hashable]
Values = Callable[[T, str], Iterable[Hashable]]

# Rules look at so many of the first; what comes behind keeps its order, so that pages fit together.
DEEPEST = 200


@dataclass(frozen=True, slots=True)
class Boost:
    """Lift the relevant products that match: above all others, or to these places alone, from 0."""

    condition: Expression
    positions: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Anchoring:
    """Put a product before (-1, -2 …) or behind (1, 2 …) the first of the anchors in the list."""

    product_id: str
    anchor_ids: tuple[str, ...]
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Spread:
    """Keep products with the same value of a field apart, with `distance` others between two of
    them, or `together`: all beside the first of them."""

    field: str
    distance: int = 1
    together: bool = False


@dataclass(frozen=True, slots=True)
class Dithering:
    """Some chance in the order: `amount` from 1 (none); the same `seed` gives the same list."""

    amount: float
    seed: str


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a request asks for, applied in this order: diversity (0 none, 1 nothing else; None:
    what its list has by itself), dithering, spreads, boosts to the top, anchorings, boosts to
    positions."""

    diversity: float | None = None
    dithering: Dithering | None = None
    spreads: tuple[Spread, ...] = ()
    boosts: tuple[Boost, ...] = ()
    anchorings: tuple[Anchoring, ...] = ()

    @property
    def looks_deep(self) -> bool:
        """Whether a page depends on more of the list than itself."""
        return bool(self.dithering or self.spreads or self.anchorings)


NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Lifted(Generic[T]):
    """The relevant products that a boost's condition is true of, best first."""

    boost: Boost
    products: Sequence[T]


def behind(asked: Rules, count: int) -> Rules:
    """The rules of what comes after the first `count` products of a list: positions count over
    all of it."""
    boosts = []
    for boost in asked.boosts:
        positions = tuple(place - count for place in boost.positions if place >= count)
        if positions or not boost.positions:
            boosts.append(replace(boost, positions=positions))
    return replace(asked, boosts=tuple(boosts))


def dithered(
    ranked: Sequence[T], asked: Dithering, name: Callable[[T], str], before: int = 0
) -> list[T]:
    """With some chance in the order of the first DEEPEST: by log(rank) + N(0, sqrt(log(amount))),
    so that the top moves little and what is far down comes up at times (T. Dunning's result
    dithering, buildingrecommenders.wordpress.com/2015/11/11/dithering). `before` so many ranks.

    Each product's own chance follows from the seed and its name, whatever else is in the list.
    """
    spread = NormalDist(0.0, math.sqrt(math.log(asked.amount))) if asked.amount > 1 else None
    if spread is None:
        return list(ranked)
    keyed = [
        (math.log(rank) + spread.inv_cdf(chance(asked.seed, name(one))), rank, one)
        for rank, one in enumerate(ranked[:DEEPEST], start=before + 1)
    ]
    keyed.sort(key=lambda each: each[:2])
    return [one for _, _, one in keyed] + list(ranked[DEEPEST:])


def chance(seed: str, name: str) -> float:
    """A number between 0 and 1, both exclusive, that follows from both."""
    text = f"{seed}\0{name}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(blake2b(text, digest_size=6).digest()) + 0.5) / 2**48


def topped(ranked: Sequence[T], lifted: Iterable[Lifted[T]], key: Key[T]) -> list[T]:
    """With the products of boosts without positions above all others, rule by rule."""
    top = [one for each in lifted if not each.boost.positions for one in each.products]
    return unique([*top, *ranked], key)


def pinned(ranked: Sequence[T], lifted: Iterable[Lifted[T]], key: Key[T]) -> list[T]:
    """With the products of boosts with positions at these. A position that two rules want is the
    first rule's, a product that two rules lift too; a position behind the end is the end."""
    pins: dict[int, T] = {}
    taken: set[Hashable] = set()
    for each in lifted:
        free = (one for one in each.products if key(one) not in taken)
        for position in each.boost.positions:
            if position in pins:
                continue
            one = next(free, None)
            if one is None:
                break
            pins[position] = one
            taken.add(key(one))
    arranged = [one for one in ranked if key(one) not in taken]
    for position in sorted(pins):
        arranged.insert(position, pins[position])
    return arranged


def anchored(
    ranked: Sequence[T], asked: Iterable[tuple[T, Sequence[Hashable], int]], key: Key[T]
) -> list[T]:
    """With each product so far from the first of its anchors in the list; (product, anchors' keys,
    offset). Without any anchor in the list the product stays where it is, or is not there."""
    arranged = list(ranked)
    for product, anchors, offset in asked:
        wanted = set(anchors) - {key(product)}
        rest = [one for one in arranged if key(one) != key(product)]
        at = next((n for n, one in enumerate(rest) if key(one) in wanted), None)
        if at is None:
            continue
        place = at + offset + 1 if offset < 0 else at + offset
        rest.insert(max(0, place), product)
        arranged = rest
    return arranged


def spread(ranked: Sequence[T], spreads: Sequence[Spread], values: Values[T]) -> list[T]:
    """With every spread kept as well as can be; a product that lacks the field is free.

    Greedy from the first place: of those left the best whose values are far enough from their last,
    else the one that is farthest. Several values: one in common is enough to be alike.
    """
    arranged = _apart(ranked, [one for one in spreads if not one.together], values)
    for one in spreads:
        if one.together:
            arranged = _together(arranged, one, values)
    return arranged


def _apart(ranked: Sequence[T], spreads: Sequence[Spread], values: Values[T]) -> list[T]:
    # Of those with the same values only the best can be next: looking at one a kind is enough.
    kinds: dict[_Tags, deque[tuple[int, T]]] = {}
    for rank, one in enumerate(ranked):
        tags = frozenset((each, value) for each in spreads for value in values(one, each.field))
        kinds.setdefault(tags, deque()).append((rank, one))
    heads = [(waiting[0][0], tags) for tags, waiting in kinds.items()]
    heapq.heapify(heads)
    arranged: list[T] = []
    last: dict[tuple[str, Hashable], int] = {}
    while heads:
        tags = _next(heads, last, len(arranged))
        arranged.append(kinds[tags].popleft()[1])
        last.update(((each.field, value), len(arranged) - 1) for each, value in tags)
        if kinds[tags]:
            heapq.heappush(heads, (kinds[tags][0][0], tags))
    return arranged


_Tags = frozenset[tuple[Spread, Hashable]]


def _next(
    heads: list[tuple[int, _Tags]], last: Mapping[tuple[str, Hashable], int], place: int
) -> _Tags:
    """Takes out the best that lacks no distance, else the one that lacks least."""
    passed: list[tuple[int, int, _Tags]] = []
    chosen: _Tags | None = None
    while heads and chosen is None:
        rank, tags = heapq.heappop(heads)
        lacks = max(
            (
                last[each.field, value] + each.distance + 1 - place
                for each, value in tags
                if (each.field, value) in last
            ),
            default=0,
        )
        if lacks <= 0:
            chosen = tags
        else:
            passed.append((lacks, rank, tags))
    if chosen is None:
        least = min(passed, key=lambda one: one[:2])
        passed.remove(least)
        chosen = least[2]
    for _, rank, tags in passed:
        heapq.heappush(heads, (rank, tags))
    return chosen


def _together(ranked: list[T], asked: Spread, values: Values[T]) -> list[T]:
    first: dict[Hashable, int] = {}
    places = []
    for at, one in enumerate(ranked):
        of_one = values(one, asked.field)
        place = min((first[value] for value in of_one if value in first), default=at)
        for value in of_one:
            first.setdefault(value, place)
        places.append(place)
    order = sorted(range(len(ranked)), key=lambda at: (places[at], at))
    return [ranked[at] for at in order]


def unique(ranked: Iterable[T], key: Key[T]) -> list[T]:
    """The first of each key."""
    first: dict[Hashable, T] = {}
    for one in ranked:
        first.setdefault(key(one), one)
    return list(first.values())
