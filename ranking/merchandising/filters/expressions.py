"""What a parsed filter is made of. Every part is true or false of a product, never unknown: a
missing field makes a condition false, and NOT makes it true.
"""

from __future__ import annotations

from dataclasses import dataclass

from ranking.merchandising.filters.terms import Scalar, presence, term


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
class Not:
    item: Expression


@dataclass(frozen=True, slots=True)
class And:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple[Expression, ...]


Expression = Terms | Range | Available | Not | And | Or


def everything() -> Expression:
    """No filter: true of every product."""
    return And(())


def available() -> Expression:
    """Products that may be recommended: not OUT_OF_STOCK."""
    return Available()


def equals(field: str, *values: Scalar) -> Expression:
    """Has one of these values exactly; for callers' own conditions such as Miso's `type`."""
    return Terms(tuple(dict.fromkeys(term(field, value) for value in values)))


def has(field: str) -> Expression:
    """Has any value in that field."""
    return Terms((presence(field),))


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
