"""Turns an Expression into a WHERE condition; whatever a visitor sent travels as a parameter."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, LiteralString, TypeGuard

from psycopg import sql

from ranking.merchandising.filters.expressions import (
    And,
    Available,
    Bound,
    Expression,
    FullText,
    Near,
    Not,
    Or,
    Range,
    Terms,
    Words,
    all_of,
)
from ranking.merchandising.filters.places import box, degrees
from ranking.merchandising.filters.terms import COLUMN_FIELDS

PRODUCTS = "p"  # the alias of products itself; any other table lacks `ranges`
WORDS = "w"  # the alias of product_words

_HAS = sql.SQL("{alias}.terms @> {terms}::bigint[]")
_HAS_ANY = sql.SQL("{alias}.terms && {terms}::bigint[]")
_AVAILABLE = sql.SQL("{alias}.available")
# "is not null", because NOT of an unknown comparison would be unknown too.
_COLUMN = sql.SQL("({column} is not null and {bounds})")
_RANGE = sql.SQL("{alias}.ranges @? {path}::jsonpath")
_IN_PRODUCTS = sql.SQL(
    "exists (select 1 from products ranged where ranged.site_id = {alias}.site_id "
    "and ranged.product_no = {alias}.product_no and {where})"
)
# The bounds are a range of product_places' index; what they let through is measured. Of a bare
# comparison Postgres expects a third to be true, of this a half: nearer to a circle's part of its
# box (.79), so that what is estimated chooses well between exact search and the index.
_NEAR = sql.SQL(
    "exists (select 1 from product_places near where near.site_id = {alias}.site_id "
    "and near.product_no = {alias}.product_no and near.field = {field} "
    "and near.lat between {south} and {north} and ({easts}) "
    "and coalesce(great_circle_km({lat}, {lon}, near.lat, near.lon) <= {km}, false))"
)
ROUNDING_KM = 1e-9  # a thousandth of a millimetre: a place is at no distance from itself
_EAST = sql.SQL("near.lon between {} and {}")
_WORDS = sql.SQL("{alias}.words @@ {query}::tsquery")
_IN_WORDS = sql.SQL(
    "exists (select 1 from product_words worded where worded.site_id = {alias}.site_id "
    "and worded.product_no = {alias}.product_no and worded.words @@ {query}::tsquery)"
)


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition for a WHERE, its parameters, and whether it looks beyond the aliased table, where
    it may measure distances."""

    where: sql.Composable
    params: dict[str, Any]
    joins_products: bool
    measures: bool = False


@lru_cache(maxsize=512)
def compile(expression: Expression, alias: str) -> Filter:
    """The condition on the vector table or products called `alias` ("p" is products).

    Never unknown (null), never a cast error. Names of parameters follow from their values, so the
    parameters of two filters can be put into one statement. Cached: don't change `params`.
    """
    items = expression.items if isinstance(expression, And) else (expression,)
    beyond = [item for item in items if alias != PRODUCTS and _asks(item, _is_beyond)]
    measures = alias != PRODUCTS and _asks(expression, _is_near)
    beside = _Compiler(alias)
    where = beside.where(all_of([item for item in items if item not in beyond]))
    if not beyond:
        joins = measures or (alias != WORDS and _asks(expression, _is_words))
        return Filter(where, beside.params, joins_products=joins, measures=measures)
    # One look-up for all that needs it: as one semi-join Postgres can estimate and hash it.
    ranged = _Compiler("ranged")
    found = _IN_PRODUCTS.format(alias=beside.alias, where=ranged.where(all_of(beyond)))
    both = sql.SQL("({} and {})").format(where, found)
    return Filter(both, beside.params | ranged.params, joins_products=True, measures=measures)


def _asks(expression: Expression, what: Callable[[Expression], bool]) -> bool:
    """Whether some part of it is of that kind."""
    match expression:
        case And(items) | Or(items):
            return any(_asks(item, what) for item in items)
        case Not(item):
            return _asks(item, what)
    return what(expression)


def _is_beyond(one: Expression) -> bool:
    return isinstance(one, Range) and one.field not in COLUMN_FIELDS


def _is_near(one: Expression) -> bool:
    return isinstance(one, Near)


def _is_words(one: Expression) -> bool:
    return isinstance(one, Words)


class _Compiler:
    """Composes the condition on one table and collects its parameters."""

    def __init__(self, alias: str) -> None:
        self.has_words = alias == WORDS
        self.alias = sql.Identifier(alias)
        self.params: dict[str, Any] = {}

    def where(self, expression: Expression) -> sql.Composable:
        match expression:
            case Terms(any_of):
                how = _HAS if len(any_of) == 1 else _HAS_ANY
                return how.format(alias=self.alias, terms=self._bind("terms", list(any_of)))
            case Range():
                return self._range(expression)
            case Available():
                return _AVAILABLE.format(alias=self.alias)
            case Words(query):
                how = _WORDS if self.has_words else _IN_WORDS
                return how.format(alias=self.alias, query=self._bind("words", query))
            case FullText(text):
                raise ValueError(f"{text!r} has to be told as words before it is compiled")
            case Near():
                return self._near(expression)
            case Not(item):
                return sql.SQL("not ({})").format(self.where(item))
            case And(items):
                return _joined(" and ", self._all_terms(items), otherwise="true")
            case Or(items):
                return _joined(" or ", [self.where(item) for item in items], otherwise="false")

    def _all_terms(self, items: tuple[Expression, ...]) -> list[sql.Composable]:
        """Terms that must all be there cost one comparison together."""
        single = [item.any_of[0] for item in items if _is_single(item)]
        others = [self.where(item) for item in items if not _is_single(item)]
        if not single:
            return others
        return [_HAS.format(alias=self.alias, terms=self._bind("terms", single)), *others]

    def _range(self, asked: Range) -> sql.Composable:
        if asked.field not in COLUMN_FIELDS:
            return _RANGE.format(alias=self.alias, path=self._bind("path", _path(asked)))
        column = sql.SQL("{}.{}").format(self.alias, sql.Identifier(asked.field))
        bounds = [
            sql.SQL("{} {} {}::float8").format(
                column, sql.SQL(sign), self._bind("number", float(bound.value))
            )
            for sign, bound in _signs(asked)
        ]
        return _COLUMN.format(column=column, bounds=sql.SQL(" and ").join(bounds))

    def _near(self, asked: Near) -> sql.Composable:
        def number(value: float) -> sql.Composable:
            return sql.SQL("{}::float8").format(self._bind("number", value))

        around = box(asked.lat, asked.lon, asked.km)
        easts = [_EAST.format(number(west), number(east)) for west, east in around.easts]
        return _NEAR.format(
            alias=self.alias,
            field=sql.SQL("{}::text").format(self._bind("field", asked.field)),
            south=number(around.south),
            north=number(around.north),
            easts=sql.SQL(" or ").join(easts),
            lat=number(degrees(asked.lat)),
            lon=number(degrees(asked.lon)),
            km=number(asked.km + ROUNDING_KM),
        )

    def _bind(self, kind: str, value: Any) -> sql.Placeholder:
        digest = blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        name = f"{kind}_{digest}"
        self.params[name] = value
        return sql.Placeholder(name)


def _joined(
    word: LiteralString, parts: list[sql.Composable], *, otherwise: LiteralString
) -> sql.Composable:
    if not parts:
        return sql.SQL(otherwise)
    return sql.SQL("({})").format(sql.SQL(word).join(parts))


def _is_single(item: Expression) -> TypeGuard[Terms]:
    return isinstance(item, Terms) and len(item.any_of) == 1


def _signs(asked: Range) -> list[tuple[LiteralString, Bound]]:
    signs: list[tuple[LiteralString, Bound]] = []
    if asked.lower:
        signs.append((">=" if asked.lower.inclusive else ">", asked.lower))
    if asked.upper:
        signs.append(("<=" if asked.upper.inclusive else "<", asked.upper))
    return signs


def _path(asked: Range) -> str:
    """A jsonpath that some value of the field passes; other types than the bounds' never do."""
    name = json.dumps(asked.field)
    conditions = [f"@ {sign} {json.dumps(bound.value)}" for sign, bound in _signs(asked)]
    return f"$.{name} ? ({' && '.join(conditions)})"
