"""A customer's own names: rules that change a sender's record before its connector reads it.

{"rules": [{"when": {"/event": "Artikel gesehen"},
            "set": {"/event": "Product Viewed"},
            "move": {"/properties/product_id": "/properties/artikel/nr"}}]}

`gateway/reading.py` applies them; docs/how-to/mapping.md says how they are meant. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from schemas import Invalid
from schemas.errors import Problem
from schemas.fields import escape

RULES_AT_MOST = 200
NAMES_AT_MOST = 50  # of one `when`, `set` or `move`
WRITES_AT_MOST = 1_000  # of all rules together: each may copy a part of every record
STEPS_AT_MOST = 32
CHARACTERS_AT_MOST = 1000
# What is moved within one record: one that copies itself many times over would fill the memory.
MOVED_AT_MOST = 1_000_000

PARTS = ("when", "set", "move")
# RFC 6901, but "", which is the whole record.
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_NOTHING = object()

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Paths instead of pointers; what `when` compares is folded already."""

    when: tuple[tuple[Path, Any], ...]
    set: tuple[tuple[Path, Any], ...]
    move: tuple[tuple[Path, Path], ...]


Mapping = tuple[Rule, ...]


# the document -----------------------------------------------------------------------------------


def check(document: Any) -> Mapping:
    """The rules of a document, ready to be applied.

    Raises Invalid with pointers into the document.
    """
    problems = list(_problems(document))
    if problems:
        raise Invalid(problems)
    return compiled(document)


def compiled(document: dict[str, Any]) -> Mapping:
    """The rules of a document that was checked when it was stored."""
    return tuple(_rule(rule) for rule in document["rules"])


def _problems(document: Any) -> Iterator[Problem]:
    if not isinstance(document, dict):
        yield Problem("", 'A mapping is a JSON object: {"rules": [...]}.')
        return
    for name in document.keys() - {"rules"}:
        yield Problem(f"/{escape(name)}", "There is no such key; a mapping has `rules`.")
    rules = document.get("rules")
    if not isinstance(rules, list):
        yield Problem("/rules", "`rules` must be a list.")
    elif len(rules) > RULES_AT_MOST:
        yield Problem("/rules", f"There are {len(rules)} rules, at most {RULES_AT_MOST} may be.")
    else:
        for number, rule in enumerate(rules):
            yield from _problems_of_rule(rule, f"/rules/{number}")
        writes = sum(_writes(rule) for rule in rules)
        if writes > WRITES_AT_MOST:
            told = f"The rules set and move {writes:,} values, at most {WRITES_AT_MOST:,} may be."
            yield Problem("/rules", told)


def _writes(rule: Any) -> int:
    parts = [rule.get(name) for name in ("set", "move")] if isinstance(rule, dict) else []
    return sum(len(part) for part in parts if isinstance(part, dict))


def _problems_of_rule(rule: Any, at: str) -> Iterator[Problem]:
    if not isinstance(rule, dict):
        yield Problem(at, "A rule must be an object with `when`, `set`, `move`.")
        return
    for name in rule.keys() - set(PARTS):
        yield Problem(f"{at}/{escape(name)}", "A rule has `when`, `set` and `move`, nothing else.")
    if not rule.get("set") and not rule.get("move"):
        yield Problem(at, "The rule changes nothing: it needs `set` or `move`.")
    problems = [
        problem
        for part in PARTS
        if part in rule
        for problem in _problems_of_part(part, rule[part], f"{at}/{part}")
    ]
    yield from problems or _overlapping(rule, at)


def _problems_of_part(part: str, pairs: Any, at: str) -> Iterator[Problem]:
    if not isinstance(pairs, dict):
        yield Problem(at, f"`{part}` must be an object with pointers as its keys.")
        return
    if len(pairs) > NAMES_AT_MOST:
        yield Problem(at, f"`{part}` has {len(pairs)} pointers, at most {NAMES_AT_MOST} may be.")
    for pointer, value in pairs.items():
        where = f"{at}/{escape(pointer)}"
        if reason := _wrong_pointer(pointer):
            yield Problem(where, reason)
        if part == "move" and (reason := _wrong_pointer(value)):
            yield Problem(where, reason, value)
        if part == "when" and isinstance(value, dict | list):
            yield Problem(where, "`when` compares texts, numbers, true, false and null.")


def _wrong_pointer(pointer: Any) -> str | None:
    if not isinstance(pointer, str) or not _POINTER.fullmatch(pointer):
        return f"{str(pointer)[:100]!r} is no JSON pointer such as /properties/product_id."
    if len(pointer) > CHARACTERS_AT_MOST or pointer.count("/") > STEPS_AT_MOST:
        return f"A pointer has at most {STEPS_AT_MOST} steps and {CHARACTERS_AT_MOST} characters."
    return None


def _overlapping(rule: dict[str, Any], at: str) -> Iterator[Problem]:
    """Of two that write to one place none is first: an object has no order."""
    targets = sorted((_path(to), part, to) for part in ("set", "move") for to in rule.get(part, {}))
    for (path, _, outer), (inner, part, pointer) in pairwise(targets):
        if inner[: len(path)] == path:
            where = f"{at}/{part}/{escape(pointer)}"
            yield Problem(where, f"The rule writes to {outer} too: make two rules of it.")


def _rule(rule: dict[str, Any]) -> Rule:
    parts = [rule.get(part, {}).items() for part in PARTS]
    return Rule(
        tuple((_path(pointer), _folded(value)) for pointer, value in parts[0]),
        tuple((_path(to), value) for to, value in parts[1]),
        tuple((_path(to), _path(source)) for to, source in parts[2]),
    )


def _path(pointer: str) -> Path:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


# a record ---------------------------------------------------------------------------------------


def applied(record: Any, mapping: Mapping) -> Any:
    """The record as the rules make it; the given one stays as it is. Never raises.

    Rules read what was sent, whatever others have written, and write one after the other.
    """
    if not isinstance(record, dict):
        return record
    mapped: Any = record
    left = MOVED_AT_MOST
    for rule in mapping:
        if not all(_holds(_found(record, path), value) for path, value in rule.when):
            continue
        for to, value in rule.set:
            mapped = _written(mapped, to, value)
        for to, source in rule.move:
            value = _found(record, source)
            if value is not _NOTHING and left > 0 and (left := left - _size(value)) >= 0:
                mapped = _written(mapped, to, value)
    return mapped


def _found(value: Any, path: Path) -> Any:
    """What stands at a path, _NOTHING where there is no such place."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, _NOTHING)
        elif isinstance(value, list) and (at := _index(step, value)) is not None:
            value = value[at]
        else:
            return _NOTHING
    return value


def _holds(found: Any, wanted: Any) -> bool:
    # 1 == True in Python, which nobody means who writes it in JSON.
    return isinstance(found, bool) == isinstance(wanted, bool) and _folded(found) == wanted


def _folded(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


def _written(value: Any, path: Path, new: Any) -> Any:
    """A copy of the value with another one at a path. Objects that lack are made; where the path
    leads into a text or beyond the end of a list, it stays as it is."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if value is None:
        value = {}
    if isinstance(value, dict):
        return value | {step: _written(value.get(step), rest, new)}
    if isinstance(value, list) and (at := _index(step, value)) is not None:
        return [*value[:at], _written(value[at], rest, new), *value[at + 1 :]]
    return value


def _index(step: str, values: list[Any]) -> int | None:
    return int(step) if _INDEX.fullmatch(step) and int(step) < len(values) else None


def _size(value: Any) -> int:
    """About as many characters as its JSON."""
    return len(value) if isinstance(value, str) else len(repr(value))
