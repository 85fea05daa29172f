"""The order that a search asks for: fields and formulas of fields, by which its matches are sorted.

Pure: `ranking.ordering` fetches the values, numpy evaluates. A formula is read into a tree of the
few things known here; nothing of it is ever run as code or put into a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, UnexpectedToken

from ranking.merchandising import filters
from schemas.errors import AttuneError

LONGEST = 500  # characters
DEEPEST = 100  # of one thing in another
Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

SEARCH, PERSONAL = "_search_score", "_personalization_score"
BOOSTING, DISTANCE = "_boosting_score", "_geo_distance"
SCORES = frozenset((SEARCH, PERSONAL))
SPECIAL = SCORES | {BOOSTING, DISTANCE}

# By name, with how many arguments they take.
FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "pow": (np.power, 2), "maximum": (np.maximum, 2), "minimum": (np.minimum, 2),
    "sqrt": (np.sqrt, 1), "exp": (np.exp, 1), "log": (np.log, 1), "log2": (np.log2, 1),
    "log10": (np.log10, 1), "abs": (np.abs, 1), "round": (np.round, 1), "floor": (np.floor, 1),
    "ceil": (np.ceil, 1), "sin": (np.sin, 1), "cos": (np.cos, 1), "tan": (np.tan, 1),
    "asin": (np.arcsin, 1), "acos": (np.arccos, 1), "atan": (np.arctan, 1),
}  # fmt: skip


class FormulaError(AttuneError):
    """A field or formula that cannot be ordered by: what is wrong, at which character (from 0)."""

    def __init__(self, message: str, position: int) -> None:
        message = message.encode("utf-8", "replace").decode()
        super().__init__(f"The formula is wrong at character {position}: {message}.")
        self.position = position


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A field of products, or one of SPECIAL."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    function: Callable[..., Any]
    arguments: tuple[Formula, ...]
    depth: int


Formula = Number | Name | Apply


@dataclass(frozen=True, slots=True)
class Key:
    """One thing to sort by. `default` stands in where the formula has no finite value (None: that
    comes last); values that differ by no more than the part `threshold` of the larger one are
    equal. `geo` is the point (lat, lon) from which DISTANCE is measured."""

    formula: Formula
    descending: bool = True
    default: float | None = 0.0
    threshold: float = 0.0
    geo: tuple[float, float] | None = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(_names(self.formula))


Order = tuple[Key, ...]


# reading ----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def parse(text: str) -> Formula:
    """The formula of a text; FormulaError names what is unknown or cannot be read, and where."""
    if len(text) > LONGEST:
        raise FormulaError(f"it is longer than {LONGEST} characters", LONGEST)
    if filters.orderable(text.strip()):
        return Name(filters.spelled(text.strip()))  # whatever characters an attribute's name has
    try:
        formula: Formula = _PARSER.parse(text)  # type: ignore[assignment]
    except UnexpectedInput as error:
        raise _syntax_error(error, text) from None
    return formula


def _syntax_error(error: UnexpectedInput, text: str) -> FormulaError:
    position = error.pos_in_stream if error.pos_in_stream is not None else len(text)
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        position = len(text)
    rest = text[position:].split(maxsplit=1)
    found = f'"{rest[0][:40]}"' if rest else "the end"
    return FormulaError(f"expected something else than {found}", position)


def _known(token: Token) -> Name:
    if token in SPECIAL or filters.orderable(str(token)):
        return Name(filters.spelled(str(token)))
    position = token.start_pos or 0
    if token in FUNCTIONS:
        raise FormulaError(f"{token} is a function: {token}(…)", position)
    if filters.known(filters.spelled(str(token))):
        raise FormulaError(f"{token} is no number, boolean or date", position)
    raise FormulaError(f'products have no field "{token}"', position)


def _apply(function: Callable[..., Any], *arguments: Formula) -> Formula:
    depth = 1 + max(one.depth if isinstance(one, Apply) else 0 for one in arguments)
    if depth > DEEPEST:
        raise FormulaError(f"it goes deeper than {DEEPEST}", 0)
    return Apply(function, arguments, depth)


@v_args(inline=True)
class _Build(Transformer[Token, Formula]):
    """Makes the tree while the text is read; keeps no state, so threads can share it."""

    def number(self, token: Token) -> Formula:
        return Number(float(token))

    def name(self, token: Token) -> Formula:
        return _known(token)

    def call(self, token: Token, *arguments: Formula) -> Formula:
        known = FUNCTIONS.get(str(token))
        position = token.start_pos or 0
        if known is None:
            raise FormulaError(f'there is no function "{token}"', position)
        function, count = known
        if len(arguments) != count:
            raise FormulaError(f"{token} takes {count}, not {len(arguments)}", position)
        return _apply(function, *arguments)

    def plus(self, *two: Formula) -> Formula:
        return _apply(np.add, *two)

    def minus(self, *two: Formula) -> Formula:
        return _apply(np.subtract, *two)

    def times(self, *two: Formula) -> Formula:
        return _apply(np.multiply, *two)

    def over(self, *two: Formula) -> Formula:
        return _apply(np.divide, *two)

    def modulo(self, *two: Formula) -> Formula:
        return _apply(np.mod, *two)

    def to_the(self, *two: Formula) -> Formula:
        return _apply(np.power, *two)

    def negative(self, one: Formula) -> Formula:
        return _apply(np.negative, one)


_PARSER = Lark.open("formula.lark", rel_to=__file__, parser="lalr", transformer=_Build())


def _names(formula: Formula) -> Iterator[str]:
    if isinstance(formula, Name):
        yield formula.name
    elif isinstance(formula, Apply):
        for one in formula.arguments:
            yield from _names(one)


# sorting ----------------------------------------------------------------------------------------


def evaluated(key: Key, values: Mapping[str, Floats], count: int) -> Floats:
    """The key of each of `count` products, from its values by name (nan: it has none). Whatever is
    missing or not finite on the way makes it the default."""
    with np.errstate(all="ignore"):
        found = _evaluated(key.formula, values, count)
    last = -np.inf if key.descending else np.inf
    return np.where(np.isnan(found), last if key.default is None else key.default, found)


def _evaluated(formula: Formula, values: Mapping[str, Floats], count: int) -> Floats:
    if isinstance(formula, Number):
        return np.full(count, formula.value)
    if isinstance(formula, Name):
        return values[formula.name]
    arguments = [_evaluated(one, values, count) for one in formula.arguments]
    made: Floats = formula.function(*arguments)
    missing = ~np.isfinite(made)
    for one in arguments:  # a power of nan may be 1
        missing |= np.isnan(one)
    return np.where(missing, np.nan, made)


def sorted_by(keys: Sequence[tuple[Key, Floats]]) -> tuple[Ints, Ints]:
    """The order of products by these keys with their values, and for each place the number of its
    tie: those with the same one are equal by every key, in the order in which they were given.

    Consecutive values are compared, so equality goes on from one to the next.
    """
    count = len(keys[0][1])
    order, tie = np.arange(count), np.zeros(count, np.int64)
    for key, values in keys:
        here = values[order]
        again = np.lexsort((-here if key.descending else here, tie))
        order, tie, here = order[again], tie[again], here[again]
        before, after = here[:-1], here[1:]
        apart = _apart(before, after, key.threshold) | (tie[1:] != tie[:-1])
        tie = np.concatenate([[0], np.cumsum(apart)])[:count]
    # Values that are a little apart and equal all the same have been put in order by that little.
    return order[np.lexsort((order, tie))], tie


def _apart(before: Floats, after: Floats, threshold: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether neighbours differ; what comes last for want of a value is like its kind alone."""
    with np.errstate(invalid="ignore"):
        largest = np.maximum(np.abs(before), np.abs(after))
        apart = np.abs(after - before) > threshold * largest
    return np.where(np.isinf(largest), before != after, apart)
