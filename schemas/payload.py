"""Strict JSON for bodies that anybody may send; every door and importer parses through here.

What Postgres or a float column could not hold is refused here or cleaned in the parsed copy, so
that nothing behind this module has to expect it. The raw body is kept elsewhere, untouched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from schemas.errors import Malformed

MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 308  # what still fits a double

_BOM = b"\xef\xbb\xbf"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_CONTAINERS = frozenset((dict, list))


class _NotANumber(ValueError):
    """A literal that is no number we can keep."""

    def __init__(self, reason: str, literal: str) -> None:
        super().__init__(reason)
        self.literal = literal


def parse(body: bytes) -> Any:
    """The value of a JSON body; raises Malformed with a sentence that names the place.

    UTF-8 only, a byte order mark is skipped, the last of two equal keys wins. NaN, Infinity,
    numbers beyond a double (1e400, integers of more than 308 digits) and nesting deeper than 64
    levels are refused. NUL and lone surrogates become U+FFFD.
    """
    text = _decode(body)
    try:
        value = _DECODER.decode(text)
    except _NotANumber as error:
        raise Malformed(
            f"The body is not valid JSON: {error}{_near(text, error.literal)}."
        ) from None
    except json.JSONDecodeError as error:
        raise Malformed(
            f"The body is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}."
        ) from None
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return _clean(value) if _UNSTORABLE_ESCAPE.search(body) else value


def parse_or_none(body: bytes) -> Any:
    """The value of a body, None where it cannot be read: for who looks before `ingest`, which says
    why and keeps it."""
    try:
        return parse(body)
    except Malformed:
        return None


def overwritten(body: bytes, pointers: Iterable[str], by: bytes) -> bytes:
    """The body with the values at these JSON pointers replaced and every other byte as it was.

    What a pointer does not lead to stays. Raises Malformed for a body that `parse` refuses.
    """
    text = _decode(body)
    try:
        found = (_span(text, pointer) for pointer in set(pointers))
        spans = sorted((span for span in found if span is not None), reverse=True)
    except (json.JSONDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not valid JSON: {error}.") from None
    for start, end in spans:
        text = text[:start] + by.decode() + text[end:]
    return text.encode()


def _span(text: str, pointer: str) -> tuple[int, int] | None:
    """Where the value at a pointer begins and ends in the text."""
    at = _skip(text, 0)
    for step in pointer.split("/")[1:]:
        child = _child(text, at, step.replace("~1", "/").replace("~0", "~"))
        if child is None:
            return None
        at = child
    return at, _PLACES.raw_decode(text, at)[1]


def _child(text: str, at: int, step: str) -> int | None:
    """Where a member of the array or object that begins at `at` begins."""
    is_object, found, position = text[at] == "{", None, 0
    if text[at] not in "{[":
        return None
    at = _skip(text, at + 1)
    while at < len(text) and text[at] not in "}]":
        name = str(position)
        if is_object:
            name, at = _PLACES.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # the colon
        if name == step:
            found = at  # of equal keys the last counts
            if not is_object:
                return found
        at = _skip(text, _PLACES.raw_decode(text, at)[1])
        if at < len(text) and text[at] == ",":
            at = _skip(text, at + 1)
        position += 1
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


# Where a value ends; numbers stay text, since only places are asked for.
_PLACES = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)


def _decode(body: bytes) -> str:
    if body.startswith(_BOM):
        body = body[len(_BOM) :]
    if not body.strip():
        raise Malformed("The body is empty; JSON was expected.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not valid UTF-8 at byte {error.start}.") from None


def _integer(literal: str) -> int:
    if len(literal) > MAX_INTEGER_DIGITS:
        raise _NotANumber(f"an integer of {len(literal)} digits", literal)
    return int(literal)


def _float(literal: str) -> float:
    value = float(literal)
    if value - value != 0:
        raise _NotANumber("a number too large", literal)
    return value


def _constant(literal: str) -> Any:
    raise _NotANumber(f"{literal} is not a number", literal)


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant)


def _near(text: str, literal: str) -> str:
    at = text.find(literal)
    return f" near line {text.count(chr(10), 0, at) + 1} column {at - text.rfind(chr(10), 0, at)}"


def _too_deep() -> Malformed:
    return Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _check_depth(value: Any) -> None:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in _CONTAINERS
        ]
    if level:
        raise _too_deep()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
