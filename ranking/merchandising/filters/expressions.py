"""What a parsed filter is made of. Every part is true or false of a product, never unknown: a
missing field makes a condition false, and NOT makes it true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ranking.merchandising.filters.terms import Scalar, category_term, presence, term


@dataclass(frozen=True, slots=True)
class Terms:
    """Has at least one of these terms."""

    any_of: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range."""

    value: int | float | str
    inclusive: bool


@dataclass(frozen=True, slots=True)
class Range:
    """Some value of the field lies between the bounds; None is an open end."""

    field: str
    lower: Bound | None
    upper: Bound | None


@dataclass(frozen=True, slots=True)
class Available:
    """Can be bought: in stock or on pre-order."""


@dataclass(frozen=True, slots=True)
class FullText:
    """Has these words, or as a phrase all of them in a row. What products have is known to the
    catalog: before it is compiled, it is `told` as Words."""

    text: str
    phrase: bool
    position: int = field(default=0, compare=False)  # where it stands, to say so


@dataclass(frozen=True, slots=True)
class Words:
    """Its words pass this tsquery."""

    query: str


@dataclass(frozen=True, slots=True)
class Near:
    """Some place of the field is at most so many kilometres from that one, degrees north and
    east."""

    field: str
    lat: float
    lon: float
    km: float


@dataclass(frozen=True, slots=True)
class Not:
    item: Expression


@dataclass(frozen=True, slots=True)
class And:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple[Expression, ...]


Expression = Terms | Range | Available | FullText | Words | Near | Not | And | Or


def everything() -> Expression:
    """No filter: true of every product."""
    return And(())


def available() -> Expression:
    """Products that may be recommended: not OUT_OF_STOCK."""
    return Available()


def equals(name: str, *values: Scalar) -> Expression:
    """Has one of these values exactly; for callers' own conditions such as Miso's `type`."""
    return Terms(tuple(dict.fromkeys(term(name, value) for value in values)))


def has(name: str) -> Expression:
    """Has any value in that field."""
    return Terms((presence(name),))


def all_of(items: list[Expression]) -> Expression:
    """True where every item is; of nothing: everything."""
    flat = [inner for item in items for inner in (item.items if isinstance(item, And) else [item])]
    return flat[0] if len(flat) == 1 else And(tuple(dict.fromkeys(flat)))


def any_of(items: list[Expression]) -> Expression:
    """True where at least one item is; terms are gathered, so that they cost one look-up."""
    flat = [inner for item in items for inner in (item.items if isinstance(item, Or) else [item])]
    terms = [item for item in flat if isinstance(item, Terms)]
    if terms:
        gathered = Terms(tuple(dict.fromkeys(one for item in terms for one in item.any_of)))
        flat = [gathered, *(item for item in flat if not isinstance(item, Terms))]
    return flat[0] if len(flat) == 1 else Or(tuple(dict.fromkeys(flat)))


def negated(item: Expression) -> Expression:
    """True where the item is not; a double NOT is none, so that a chain of them never nests."""
    return item.item if isinstance(item, Not) else Not(item)


def texts(item: Expression) -> Iterator[FullText]:
    """Every text that is asked for, those too that must not occur."""
    match item:
        case FullText():
            yield item
        case And(items) | Or(items):
            for one in items:
                yield from texts(one)
        case Not(inner):
            yield from texts(inner)


def told(item: Expression, tell: Callable[[FullText], Expression]) -> Expression:
    """The same with something else for each text."""
    match item:
        case FullText():
            return tell(item)
        case And(items):
            return all_of([told(one, tell) for one in items])
        case Or(items):
            return any_of([told(one, tell) for one in items])
        case Not(inner):
            return negated(told(inner, tell))
    return item


def nothing() -> Expression:
    """True of no product."""
    return Or(())


def in_category(path: Sequence[str]) -> Expression:
    """Has a category that begins with this path."""
    return Terms((category_term(path),))
