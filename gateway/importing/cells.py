"""Columns of a table as fields of `/v1` records: which are known, and what text in a cell means.

Nested fields have dotted names (`context.page.url`, `custom_attributes.fabric`) or hold JSON. Lists
are JSON or separated by `|`, the names of a category path by `>`. An empty cell says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from marshmallow import Schema
from marshmallow.fields import Field

from gateway.importing import common_format
from schemas import v1
from schemas.errors import AttuneError
from schemas.fields import (
    Anything,
    Attributes,
    Either,
    Flag,
    Items,
    Number,
    Part,
    Whole,
    lenient_instant,
)
from schemas.product import translation

LISTS = "|"
PATHS = ">"
KINDS = ("products", "users", "events")

Read = Callable[[str], Any]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d{1,15}")
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class UnknownColumn(AttuneError):
    """A table has a column that is no field of its records."""


@dataclass(frozen=True)
class _Column:
    path: tuple[str, ...]
    read: Read


class Columns:
    """The head of one table, and how its rows become records."""

    def __init__(self, columns: Sequence[_Column]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns)

    def record(self, cells: Iterable[str]) -> dict[str, Any]:
        """The record of a row of texts."""
        found: dict[str, Any] = {}
        for column, cell in zip(self._columns, cells, strict=True):
            if cell and not cell.isspace():
                _put(found, column.path, column.read(cell))
        return found

    def typed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The record of a row whose values have types: only texts are read as in `record`."""
        found: dict[str, Any] = {}
        for column, value in zip(self._columns, row.values(), strict=True):
            plain = _plain(value)
            if isinstance(plain, str):
                plain = column.read(plain) if plain and not plain.isspace() else None
            if plain is not None:
                _put(found, column.path, plain)
        return found


def columns(path: Path, names: Sequence[str], kind: str) -> Columns:
    """What the columns of that name are in records of a kind; raises UnknownColumn."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UnknownColumn(f"{path} has two columns named {twice!r}")
    return Columns([_Column(tuple(name.split(".")), _reader(path, name, kind)) for name in names])


def _reader(path: Path, name: str, kind: str) -> Read:
    first, *rest = name.split(".")
    known = _known(kind)
    if kind == "products" and translation(first, {}) is not None:
        return _loose
    if first in common_format.COLUMNS[kind] and not rest:
        return _number if first in common_format.NUMBERS else str
    if first not in known:
        advice = f", or name it custom_attributes.{name}" if kind != "events" else ""
        raise UnknownColumn(
            f"{path} has a column {name!r}, which is no field of {kind}: leave it out{advice}. "
            f"There are: {', '.join(sorted({*known, *common_format.COLUMNS[kind]}))}"
        )
    return _of_field(known[first], rest)


@cache
def _known(kind: str) -> dict[str, Field]:
    if kind == "products":
        return dict(v1.ProductRecord().fields)
    if kind == "users":
        return dict(v1.UserRecord().fields)
    return {name: one for shape in v1.INTERACTIONS.values() for name, one in shape().fields.items()}


def _of_field(field: Field, rest: Sequence[str]) -> Read:
    """How a cell of this field, or of one inside it, is read."""
    if rest:
        inner = _inside(field).get(rest[0])
        return _of_field(inner, rest[1:]) if inner is not None else _loose
    if isinstance(field, Items) and isinstance(field.inner, Items):
        return _paths
    if isinstance(field, (Items, Either)):
        return _list_of(_of_field(field.inner, ()))
    if isinstance(field, (Part, Anything, Attributes)):
        return _loose
    if isinstance(field, (Number, Whole)):
        return _number
    if isinstance(field, Flag):
        return lambda cell: _FLAGS.get(cell.strip().lower(), cell)
    return _instant if field.name == "timestamp" else str


def _inside(field: Field) -> Mapping[str, Field]:
    part = field.inner if isinstance(field, Either) else field
    if isinstance(part, Part):
        schema = part.schema
        return schema.fields if isinstance(schema, Schema) else {}
    return {}


# cells ------------------------------------------------------------------------------------------


def _loose(cell: str) -> Any:
    """JSON where it is a list or an object, else the text."""
    text = cell.strip()
    return _json(text, cell) if text[0] in "[{" else cell


def _json(text: str, otherwise: Any) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return otherwise


def _number(cell: str) -> Any:
    """What is no number stays text, so that the schema says so."""
    text = cell.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else cell


def _instant(cell: str) -> str:
    """A time without a zone is UTC, as in the commands."""
    try:
        return lenient_instant(cell.strip()).isoformat()
    except (ValueError, OverflowError):
        return cell


def _list_of(read: Read) -> Read:
    def of_cell(cell: str) -> Any:
        text = cell.strip()
        if text[0] in "[{" and (found := _json(text, None)) is not None:
            return found
        return [read(part.strip()) for part in text.split(LISTS) if part.strip()]

    return of_cell


def _paths(cell: str) -> Any:
    text = cell.strip()
    if text.startswith("[") and (found := _json(text, None)) is not None:
        return found
    paths = ([name.strip() for name in path.split(PATHS)] for path in text.split(LISTS))
    return [named for path in paths if (named := [name for name in path if name])]


# values with types ------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A value of a typed table as JSON has it, without nulls."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return _without_nulls(value.items())
    if isinstance(value, list):
        if value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
            return _without_nulls(value)  # a map
        return [plain for one in value if (plain := _plain(one)) is not None]
    return value


def _without_nulls(items: Iterable[tuple[Any, Any]]) -> dict[str, Any] | None:
    pairs = ((str(key), _plain(value)) for key, value in items)
    return {key: value for key, value in pairs if value is not None} or None


def _put(record: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """A dotted column beside the JSON of its parent adds to it."""
    for name in path[:-1]:
        inner = record.setdefault(name, {})
        if type(inner) is not dict:
            return
        record = inner
    known = record.get(path[-1])
    if type(known) is dict and type(value) is dict:
        record[path[-1]] = value | known
    else:
        record[path[-1]] = value
