"""Reads Miso's `fq` text into an Expression; answers and the HTTP doors call `parse`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from ranking.merchandising.filters import expressions
from ranking.merchandising.filters.expressions import Bound, Expression, FullText, Range, Terms
from ranking.merchandising.filters.terms import (
    CUSTOM,
    DATE_FIELDS,
    FIELDS,
    NUMBER_FIELDS,
    TERM_FIELDS,
    Scalar,
    instants,
    presence,
    term,
)
from schemas.errors import AttuneError

MAX_LENGTH = 10_000  # characters
MAX_NESTING = 50  # brackets
MAX_TEXTS = 50
LONGEST_SHOWN = 40  # of what is quoted
MAX_RANGES = 50  # each may look at every product

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ESCAPED = re.compile(r'\\(["\\])')
# A phrase, closed or not, so that its brackets are not counted; or a bracket.
_BRACKET = re.compile(r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|[()]', re.DOTALL)
_EXPECTED = {
    "FIELD": "a field",
    "COLON": '":"',
    "WORD": "a value",
    "_TO": "TO",
    "CLOSING": '"]" or "}"',
    "_AND": "AND",
    "_OR": "OR",
    "RPAR": '")"',
    "$END": "the end",
}


class FilterError(AttuneError):
    """A filter that cannot be used: what is wrong, and at which character (counted from 0)."""

    def __init__(self, message: str, position: int) -> None:
        message = message.encode("utf-8", "replace").decode()  # may quote a lone surrogate
        super().__init__(f"The filter is wrong at character {position}: {message}.")
        self.message = message
        self.position = position


def parse(fq: str) -> Expression:
    """The expression of an `fq` text; blank is everything.

    FilterError says where it cannot be read, names an unknown field, or which limit it breaks.
    """
    expression = parse_advanced(fq)
    for text in expressions.texts(expression):
        raise FilterError("full_text is for advanced_q; a filter names a field", text.position)
    return expression


@lru_cache(maxsize=256)
def parse_advanced(fq: str) -> Expression:
    """The same for `advanced_q`, where `full_text` asks for words and phrases as well."""
    if len(fq) > MAX_LENGTH:
        raise FilterError(f"it is longer than {MAX_LENGTH:,} characters", MAX_LENGTH)
    if not fq.strip():
        return expressions.everything()
    _check_nesting(fq)
    try:
        expression: Expression = _PARSER.parse(fq)  # type: ignore[assignment]
    except UnexpectedInput as error:
        raise _syntax_error(error, fq) from None
    if sum(1 for _ in expressions.texts(expression)) > MAX_TEXTS:
        raise FilterError(f"it asks for more than {MAX_TEXTS} texts", 0)
    if _ranges_in(expression) > MAX_RANGES:
        raise FilterError(f"it has more than {MAX_RANGES} ranges, numbers and dates", 0)
    return expression


def equal(field: str, value: Scalar) -> Expression:
    """The field has this value: as `field:value`, where a text may be any text; FilterError."""
    asked = _field(Token("FIELD", field))
    if isinstance(value, str):
        return _equal(asked, Token("WORD", value), _spellings(asked.name, value))
    if asked.holds_terms:
        return Terms((term(asked.name, value),))
    return _equal(asked, Token("WORD", _written(value)), ())


def between(field: str, start: int | float | str | None, end: int | float | str | None) -> Range:
    """The field has a number or a date from `start` up to, but without, `end`; FilterError."""
    asked = _ranged(_field(Token("FIELD", field)))
    lower = None if start is None else _lower(asked, Token("WORD", _written(start)), inclusive=True)
    upper = None if end is None else _upper(asked, Token("WORD", _written(end)), inclusive=False)
    if lower and upper and _is_above(lower, upper):
        raise FilterError(f"nothing is from {_shown(start)} to {_shown(end)}: exchange them", 0)
    return Range(asked.name, lower, upper)


def _is_above(lower: Bound, upper: Bound) -> bool:
    one, other = lower.value, upper.value
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one > other
    return one > other


def _shown(value: Any) -> str:
    return str(value)[:LONGEST_SHOWN]


def _written(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _check_nesting(fq: str) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(fq):
        depth += {"(": 1, ")": -1}.get(bracket.group(), 0)
        if depth > MAX_NESTING:
            raise FilterError(f"brackets go deeper than {MAX_NESTING}", bracket.start())


def _ranges_in(expression: Expression) -> int:
    match expression:
        case expressions.And(items) | expressions.Or(items):
            return sum(map(_ranges_in, items))
        case expressions.Not(item):
            return _ranges_in(item)
    return int(isinstance(expression, Range))


def _syntax_error(error: UnexpectedInput, fq: str) -> FilterError:
    position, allowed = len(fq), frozenset[str]()
    if isinstance(error, UnexpectedToken):
        position = len(fq) if error.token.type == "$END" else error.token.start_pos or 0
        allowed = frozenset(error.accepts or error.expected)
    elif isinstance(error, UnexpectedCharacters):
        position, allowed = error.pos_in_stream or 0, frozenset(error.allowed or ())
    words = [text for name, text in _EXPECTED.items() if name in allowed] or ["a field"]
    expected = " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
    return FilterError(f"expected {expected}, found {_found(fq[position:])}", position)


def _found(rest: str) -> str:
    """What stands there, with a hint where the mistake is a usual one."""
    word = rest.split(maxsplit=1)[0][:40] if rest.strip() else ""
    if not word:
        return "the end"
    if word.startswith('"'):
        return "a quote that should not be there, or that is never closed"
    if word in ("and", "or", "not"):
        return f'"{word}" (write it in capitals)'
    return f'"{word}"' if word[0] in "()[]{}:" else f'"{word}" (text with blanks needs quotes)'


# fields and values -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    """A field as products have it, and where it stands in the filter."""

    name: str
    position: int

    @property
    def kind(self) -> str:
        """Its top-level field."""
        return self.name.partition(".")[0]

    @property
    def holds_terms(self) -> bool:
        return self.kind in TERM_FIELDS or self.name.startswith(f"{CUSTOM}.")

    @property
    def holds_ranges(self) -> bool:
        return self.kind in NUMBER_FIELDS | DATE_FIELDS or self.name.startswith(f"{CUSTOM}.")


# A value is read before its field is known, so it is a function that waits for the field.
_Value = Callable[[_Field], Expression]


def _field(token: Token) -> _Field:
    top, dot, rest = token.partition(".")
    top = CUSTOM if top == "attributes" else top
    if top not in FIELDS or (dot and (top != CUSTOM or not rest)):
        raise FilterError(f'products have no field "{token}"', token.start_pos or 0)
    return _Field(f"{top}{dot}{rest}", token.start_pos or 0)


@v_args(inline=True)
class _Build(Transformer[Token, Expression]):
    """Makes expressions while the text is read; keeps no state, so threads can share it."""

    def any(self, *items: Expression) -> Expression:
        return expressions.any_of(list(items))

    def all(self, *items: Expression) -> Expression:
        return expressions.all_of(list(items))

    def negation(self, item: Expression) -> Expression:
        return expressions.negated(item)

    def any_text(self, *items: Expression) -> Expression:
        return expressions.any_of(list(items))

    def all_texts(self, *items: Expression) -> Expression:
        """Words beside each other are one text, in which articles need not occur."""
        loose = [one for one in items if isinstance(one, FullText) and not one.phrase]
        others = [one for one in items if one not in loose]
        if loose:
            text = " ".join(one.text for one in loose)
            others.append(FullText(text, phrase=False, position=loose[0].position))
        return expressions.all_of(others)

    def full_phrase(self, token: Token) -> Expression:
        return FullText(_text(token), phrase=True, position=token.start_pos or 0)

    def full_words(self, token: Token) -> Expression:
        return FullText(str(token), phrase=False, position=token.start_pos or 0)

    def clause(self, token: Token, value: _Value) -> Expression:
        return value(_field(token))

    def any_value(self, *values: _Value) -> _Value:
        return lambda field: expressions.any_of([value(field) for value in values])

    def all_values(self, *values: _Value) -> _Value:
        return lambda field: expressions.all_of([value(field) for value in values])

    def star(self, _token: Token) -> _Value:
        return _present

    def word(self, token: Token) -> _Value:
        if "*" in token:
            raise FilterError(
                "* stands for a whole value only; quote the text if * is meant",
                token.start_pos or 0,
            )
        return lambda field: _equal(field, token, _spellings(field.name, token))

    def phrase(self, token: Token) -> _Value:
        text = _text(token)
        return lambda field: _equal(field, token, (term(field.name, text),))

    def range(self, opening: Token, lower: Token, upper: Token, closing: Token) -> _Value:
        if lower.type == upper.type == "STAR":
            return _present
        return lambda field: Range(
            _ranged(field).name,
            _lower(field, lower, inclusive=opening == "["),
            _upper(field, upper, inclusive=closing == "]"),
        )


def _present(field: _Field) -> Expression:
    return Terms((presence(field.name),))


def _equal(field: _Field, token: Token, spellings: tuple[int, ...]) -> Expression:
    if field.holds_terms:
        return Terms(spellings)
    first, last = _ends(_ranged(field), token)
    return Range(field.name, Bound(first, inclusive=True), Bound(last, inclusive=True))


def _spellings(field: str, word: str) -> tuple[int, ...]:
    """A bare word is text, and the boolean or number it spells."""
    other: bool | int | float | None = _number(word)
    if word in ("true", "false"):
        other = word == "true"
    text = term(field, word)
    return (text,) if other is None else (text, term(field, other))


def _ranged(field: _Field) -> _Field:
    if field.holds_ranges:
        return field
    if field.name == CUSTOM:
        raise FilterError(f"name the attribute, as in {CUSTOM}.material", field.position)
    if field.holds_terms:
        raise FilterError(f"{field.name} holds text, which has no ranges", field.position)
    raise FilterError(f"{field.name} can only be asked for as {field.name}:*", field.position)


def _lower(field: _Field, token: Token, *, inclusive: bool) -> Bound | None:
    if token.type == "STAR":
        return None
    first, last = _ends(field, token)
    return Bound(first if inclusive else last, inclusive)


def _upper(field: _Field, token: Token, *, inclusive: bool) -> Bound | None:
    if token.type == "STAR":
        return None
    first, last = _ends(field, token)
    return Bound(last if inclusive else first, inclusive)


def _ends(field: _Field, token: Token) -> tuple[int | float | str, int | float | str]:
    """First and last value that a bound stands for: a date is a whole day."""
    text = _text(token)
    number = None if field.kind in DATE_FIELDS else _number(text)
    if number is not None:
        return number, number
    dates = None if field.kind in NUMBER_FIELDS else instants(text)
    if dates is not None:
        return dates
    wanted = [] if field.kind in DATE_FIELDS else ["a number"]
    wanted += [] if field.kind in NUMBER_FIELDS else ["a date like 2024-05-31"]
    raise FilterError(f"{field.name} needs {' or '.join(wanted)} here", token.start_pos or 0)


def _text(token: Token) -> str:
    return _ESCAPED.sub(r"\1", token[1:-1]) if token.type == "PHRASE" else str(token)


def _number(text: str) -> int | float | None:
    """The number a text spells as JSON does, if it is finite as a double."""
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


_PARSER = Lark.open(
    "grammar.lark", rel_to=__file__, parser="lalr", lexer="contextual", transformer=_Build()
)
