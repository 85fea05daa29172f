"""From a feed's file to its items, one at a time: what form it has is told by its first bytes.

Memory stays bounded by `MOST_BYTES` between two items, whatever the file holds.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast

import ijson

from connectors.feed import attributes, documents, shopify
from connectors.feed.bounded import Bounded, Broken, Item
from schemas import payload
from schemas.errors import Malformed
from schemas.fields import escape

GZIP = b"\x1f\x8b"
OTHERS = {b"PK\x03\x04": "a zip archive", b"%PDF": "a PDF", b"\xd0\xcf\x11\xe0": "an Excel file"}
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
DELIMITERS = "\t,;|"
LONGEST_FIELD = LARGEST_ITEM = 1_000_000
PEEKED = 1 << 20  # of JSON, to tell lines from a document
CUT = "premature EOF"  # what the JSON parser says where the file breaks off
NESTED_AT_MOST = 3  # where in a JSON document its list of products may lie


def read(file: BinaryIO, settings: Mapping[str, Any], limit_bytes: int) -> Iterator[Item]:
    """Every item of a file, packed with gzip or not; raises Broken where it cannot be read on.

    An item that is wrong in itself does not end the others: it comes with its problem.
    """
    for item in _read(file, settings, limit_bytes):
        yield _small(item) if _size(item.record) > LARGEST_ITEM else item


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(key) + _size(inner) for key, inner in value.items())
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value) if isinstance(value, str) else 8


def _small(item: Item) -> Item:
    """What is left of an item that is too large: enough to know which one it is."""
    short = {name: value for name, value in item.record.items() if _size(value) < 1000}
    return Item(item.pointer, short, f"The item is larger than {LARGEST_ITEM:,} characters.")


def _read(file: BinaryIO, settings: Mapping[str, Any], limit_bytes: int) -> Iterator[Item]:
    start = _peek(file)
    try:
        if start.startswith(GZIP):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield from _items(Bounded(unpacked, limit_bytes), settings)
        else:
            yield from _items(Bounded(file, limit_bytes), settings)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Broken(f"the gzip file is broken: {error}") from None


def _peek(file: BinaryIO) -> bytes:
    start = file.read(4)
    file.seek(0)
    return start


def _items(file: Bounded, settings: Mapping[str, Any]) -> Iterator[Item]:
    start = file.peek()
    for magic, kind in OTHERS.items():
        if start.startswith(magic):
            raise Broken(
                f"the file is {kind}: give XML, TSV, CSV, JSON or JSON lines, or .gz of it"
            )
    text = _decoded_start(start).lstrip()
    if not text:
        raise Broken("the file is empty")
    if text.startswith("<"):
        yield from _xml(file, settings)
    elif text.startswith("["):
        yield from _document(file)
    elif text.startswith("{"):
        yield from _objects(file, settings)
    else:
        yield from _table(file, settings)


def _decoded_start(start: bytes) -> str:
    return start.decode(_encoding(start, {}), "replace")


def _encoding(start: bytes, settings: Mapping[str, Any]) -> str:
    for bom, name in BOMS.items():
        if start.startswith(bom):
            return name
    return str(settings.get("encoding") or "utf-8")


# XML --------------------------------------------------------------------------------------------


def _xml(file: Bounded, settings: Mapping[str, Any]) -> Iterator[Item]:
    for line, record in documents.entries(file, settings):
        file.mark()
        yield Item(f"/line/{line}", record)


# JSON -------------------------------------------------------------------------------------------


def _objects(file: Bounded, settings: Mapping[str, Any]) -> Iterator[Item]:
    """JSON lines, where the first is whole in itself, or one document that holds a list."""
    first = file.peek_line(PEEKED)
    follows = file.peek(len(first) + 64)[len(first) :].lstrip()
    record, problem = _object(first)
    if not problem and (follows.startswith(b"{") or "id" in attributes.named(record, settings)):
        yield from _lines(file)
    else:
        yield from _document(file)


def _lines(file: Bounded) -> Iterator[Item]:
    number = 0
    while line := file.readline():
        number += 1
        file.mark()
        if line.strip():
            yield Item(f"/line/{number}", *_object(line.strip()))


def _object(text: bytes) -> tuple[dict[str, Any], str | None]:
    try:
        record = payload.parse(text)
    except Malformed as error:
        return {}, str(error).replace("The body", "The item")
    return (record, None) if isinstance(record, dict) else ({}, "The item is not a JSON object.")


def _document(file: Bounded) -> Iterator[Item]:
    """The objects of the first list of objects in a JSON document, as they come."""
    found = _List()
    try:
        for event, value in ijson.basic_parse(file, use_float=True):
            record = found.take(event, value)
            if record is not None:
                file.mark()
                # Read once more as every door reads: what no door takes is refused here, alone.
                yield Item(found.pointer(), *_object(json.dumps(record).encode()))
    except (ijson.JSONError, UnicodeDecodeError, OverflowError) as error:
        where = f"after item {found.whole:,}" if found.whole else "before its first item"
        if CUT in str(error):
            raise Broken(f"the file breaks off {where}") from None
        raise Broken(f"the file is not valid JSON {where}: {_one_line(error)}") from None
    if found.position < 0:
        raise Broken('the JSON holds no list of products, such as {"products": [{"id": "1"}]}')


class _List:
    """Follows the events of a JSON document, and builds one element of its list at a time."""

    def __init__(self) -> None:
        self.position = -1
        self._depth = 0
        self._keys: dict[int, str] = {}  # by depth
        self._inside = 0  # the depth of what may be the list
        self._is_over = False
        self._builder: Any = None

    @property
    def whole(self) -> int:
        """How many elements have ended."""
        return self.position + (self._builder is None)

    def pointer(self) -> str:
        keys = [escape(self._keys[depth]) for depth in range(1, self._inside)]
        return "".join(f"/{key}" for key in [*keys, str(self.position)])

    def take(self, event: str, value: Any) -> Any:
        """The element that this event completes, else None."""
        before = self._depth
        if event.startswith("start"):
            self._depth += 1
            if self._depth > payload.MAX_DEPTH:
                raise Broken(f"the JSON is nested deeper than {payload.MAX_DEPTH} levels")
        elif event.startswith("end"):
            self._depth -= 1
        if self._builder is not None:
            return self._build(event, value)
        if event == "map_key":
            self._keys[before] = value
        elif before and before == self._inside:
            return self._element(event, value)
        elif event == "start_array" and self._may_begin(before):
            self._inside = self._depth
        return None

    def _may_begin(self, depth: int) -> bool:
        return not self._is_over and not self._inside and depth <= NESTED_AT_MOST

    def _element(self, event: str, value: Any) -> Any:
        """What begins, or ends, at the level of the list's elements."""
        if event == "end_array":
            self._is_over = self.position >= 0
            self._inside = 0
        elif event == "start_map":
            self.position += 1
            self._builder = ijson.ObjectBuilder()
            self._builder.event(event, value)
        elif self.position < 0:
            self._inside = 0  # a list of something else
        else:
            self.position += 1
            return False  # an element that is no object
        return None

    def _build(self, event: str, value: Any) -> Any:
        self._builder.event(event, value)
        if self._depth > self._inside:
            return None
        built, self._builder = self._builder.value, None
        return built


# CSV, TSV ---------------------------------------------------------------------------------------


def _table(file: Bounded, settings: Mapping[str, Any]) -> Iterator[Item]:
    start = file.peek()
    encoding = _encoding(start, settings)
    try:
        text = io.TextIOWrapper(cast(Any, file), encoding, errors="surrogateescape", newline="")
        first = start.decode(encoding, "replace").lstrip("\ufeff").split("\n", 1)[0]
    except LookupError:
        raise Broken(f"there is no encoding {encoding!r}: correct the setting encoding") from None
    delimiter = max(DELIMITERS, key=first.count)
    rows = _tabbed(text) if delimiter == "\t" else _quoted(text, delimiter)
    _, names = next(rows, (0, []))
    lines = _named(file, names, rows, settings)
    if shopify.is_export(names):
        yield from shopify.products(lines)
    else:
        _check_names(names, settings)
        yield from lines


def _named(
    file: Bounded,
    names: list[str],
    rows: Iterable[tuple[int, list[str]]],
    settings: Mapping[str, Any],
) -> Iterator[Item]:
    for line, row in rows:
        file.mark()
        if row:
            yield Item(f"/line/{line}", *_row(names, row, settings))


def _tabbed(text: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines of fields; only a field that lies whole between quotes is unquoted, so that a single
    one (5" pipe) takes no lines with it."""
    number = 0
    try:
        for number, line in enumerate(text, 1):
            if line.strip():
                yield number, [_unquoted(field) for field in line.rstrip("\r\n").split("\t")]
    except UnicodeError as error:
        raise _unreadable(number + 1, error) from None


def _unquoted(field: str) -> str:
    if len(field) >= 2 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def _quoted(text: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of RFC 4180, each with the line it begins in."""
    csv.field_size_limit(LONGEST_FIELD)
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    line = 0
    try:
        for row in rows:
            yield line + 1, row
            line = rows.line_num
    except (csv.Error, UnicodeError) as error:
        raise _unreadable(line + 1, error) from None


def _unreadable(line: int, error: Exception) -> Broken:
    return Broken(f"the table cannot be read from line {line} on: {error}")


def _check_names(names: list[str], settings: Mapping[str, Any]) -> None:
    if not any(attributes.name(one, settings) == "id" for one in names):
        shown = ", ".join(names)[:200]
        raise Broken(
            f"no column is named id; the first line says: {shown}. The setting fields tells which "
            'one it is, such as {"article number": "id"}'
        )


def _row(
    names: list[str], row: list[str], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    if len(row) > len(names):
        return {}, f"The line has {len(row)} fields, the first line names {len(names)}."
    record: dict[str, Any] = {}
    problem = None
    for name, value in zip(names, row, strict=False):
        if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            problem = f"`{name}` is not UTF-8: the setting encoding tells what it is."
        elif value.strip():
            attributes.add(record, name, value.replace("\0", "\ufffd"), settings)
    return record, problem


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
