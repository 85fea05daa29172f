"""What of a product record filters can ask for: columns and hashed terms for the products and
vector tables. The catalog calls `columns` when it stores a product, `compile` asks with `term`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from schemas.fields import lenient_instant

Scalar = str | bool | int | float

CUSTOM = "custom_attributes"
CATEGORY = "category/path"  # no field that a filter can name

# How each field of a product can be asked for; a field in none of these is unknown.
TERM_FIELDS = frozenset(
    [
        "product_id",
        "product_group_id",
        "parent_id",
        "related_ids",
        "type",
        "title",
        "subtitle",
        "language",
        "categories",
        "tags",
        "url",
        "cover_image",
        "size",
        "color",
        "material",
        "condition",
        "brand",
        "authors",
        "publishers",
        "collections",
        "availability",
        "enable_question_answering",
    ]
)
COLUMN_FIELDS = frozenset(("original_price", "sale_price", "rating"))
NUMBER_FIELDS = COLUMN_FIELDS | {"margin"}
DATE_FIELDS = frozenset(("created_at", "published_at", "updated_at"))
# Long text and coordinates: only `field:*`.
PRESENCE_FIELDS = frozenset(
    [
        "description",
        "short_description",
        "html",
        "headers",
        "paragraphs",
        "anchors",
        "children",
        "location",
    ]
)
# Mostly another value for each product: nothing that a facet could count.
SINGULAR_FIELDS = frozenset(
    ["product_id", "product_group_id", "title", "subtitle", "url", "cover_image"]
)
_COUNTED_TEXTS = TERM_FIELDS - SINGULAR_FIELDS
FIELDS = TERM_FIELDS | NUMBER_FIELDS | DATE_FIELDS | PRESENCE_FIELDS | {CUSTOM}


def known(field: str) -> bool:
    """Whether products have such a field: one of the schema's, or `custom_attributes.name`."""
    top, dot, name = field.partition(".")
    return top in FIELDS and (top == CUSTOM) == bool(dot and name)


DEFAULTS = {"condition": "NEW", "availability": "IN_STOCK"}
SOLD_OUT = "OUT_OF_STOCK"

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ]|$)")
DAY_LENGTH = len("2024-05-31")


@dataclass(frozen=True, slots=True)
class FilterColumns:
    """The filter columns of a row of products; all but `ranges` also lie beside its vectors."""

    available: bool
    original_price: float | None
    sale_price: float | None
    rating: float | None
    terms: list[int]
    group_key: int
    ranges: dict[str, list[int | float | str]]  # jsonb of products: dates and rarer numbers


def columns(record: dict[str, Any]) -> FilterColumns:
    """The filter columns of a product record; needs only its product_id, never raises for the rest.

    Every term is kept, however many there are: with a part of them filters would answer wrongly.
    """
    group = record.get("product_group_id") or record["product_id"]
    return FilterColumns(
        available=record.get("availability") != SOLD_OUT,
        original_price=number(record.get("original_price")),
        sale_price=number(record.get("sale_price")),
        rating=number(record.get("rating")),
        terms=sorted({*_terms(record), *_paths(record)}),
        group_key=term("product_group_id", group),
        ranges=_ranges(record),
    )


def term(field: str, value: Scalar) -> int:
    """The signed 64-bit hash that stands for "this field has this value".

    A string, a boolean and a number never share a term: "10" is not 10, but 10 is 10.0.
    """
    return _hash(field, _canonical(value))


@lru_cache(4096)
def presence(field: str) -> int:
    """The term of a field, or of an object inside custom_attributes, that has any value."""
    return _hash(field, "*")


def category_term(path: Sequence[str]) -> int:
    """The term of products in the category with this path, or in one below."""
    return _hash(CATEGORY, json.dumps(list(path), ensure_ascii=False))


def _hash(field: str, canonical: str) -> int:
    text = f"{field}\0{canonical}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


HAS_CATEGORIES = presence("categories")
IN_CATEGORIES = _hash(CATEGORY, "*")  # what a record has whose paths are among its terms


def _canonical(value: Scalar) -> str:
    if isinstance(value, str):
        return f"s{value}"
    if isinstance(value, bool):
        return "btrue" if value else "bfalse"
    if isinstance(value, int):
        return f"n{value:x}"  # hexadecimal, because decimal is refused above 4,300 digits
    return f"n{int(value):x}" if value.is_integer() else f"n{value!r}"


def _terms(record: dict[str, Any]) -> Iterator[int]:
    for field, name, value in _leaves(_with_defaults(record)):
        yield from (presence(prefix) for prefix in _prefixes(name))
        if field in TERM_FIELDS or field == CUSTOM:
            yield term(name, value)


def _paths(record: dict[str, Any]) -> Iterator[int]:
    """A term for each category and all above it, so that one path finds all that is below."""
    for path in record.get("categories") or ():
        if isinstance(path, list) and path and all(isinstance(name, str) for name in path):
            yield IN_CATEGORIES
            for end in range(1, len(path) + 1):
                yield category_term(path[:end])


def _ranges(record: dict[str, Any]) -> dict[str, list[int | float | str]]:
    ranges: dict[str, list[int | float | str]] = {}
    for field, name, value in _leaves(record):
        comparable = _comparable(field, value)
        if comparable is not None:
            ranges.setdefault(name, []).append(comparable)
    return ranges


def _comparable(field: str, value: Scalar) -> int | float | str | None:
    """What a range can compare: a number as it is, a date as its instant; None for the rest."""
    if field in DATE_FIELDS:
        return _instant(value) if isinstance(value, str) else None
    if field == CUSTOM and isinstance(value, str):
        return _instant(value) if _DATE.match(value) else None
    if field == "margin" or field == CUSTOM:
        return None if number(value) is None else value
    return None


def facets(record: dict[str, Any]) -> Iterator[tuple[str, Scalar]]:
    """Each (field, value) that a facet can count, as filters would find it; some repeatedly."""
    for field, name, value in _leaves(_with_defaults(record)):
        if field in NUMBER_FIELDS:
            if number(value) is not None:
                yield name, value
        elif field == CUSTOM or field in _COUNTED_TEXTS:
            yield name, value


def spelled(field: str) -> str:
    """A field as products have it: `attributes.x` is short for `custom_attributes.x`."""
    top, dot, rest = field.partition(".")
    return f"{CUSTOM}.{rest}" if dot and top == "attributes" else field


def orderable(field: str) -> bool:
    """Whether a field may hold a number, a boolean or a date, `attributes.x` too."""
    top = spelled(field).partition(".")[0]
    return known(spelled(field)) and (
        top in NUMBER_FIELDS | DATE_FIELDS | {CUSTOM, "enable_question_answering"}
    )


def countable(field: str) -> bool:
    """Whether a facet can count the values of this field, `attributes.x` too."""
    top = spelled(field).partition(".")[0]
    return known(spelled(field)) and top in _COUNTED_TEXTS | NUMBER_FIELDS | {CUSTOM}


def _with_defaults(record: dict[str, Any]) -> dict[str, Any]:
    given = {field: value for field, value in record.items() if value is not None}
    return DEFAULTS | {"product_group_id": record["product_id"]} | given


def _leaves(record: dict[str, Any]) -> Iterator[tuple[str, str, Scalar]]:
    """(field, dotted name, value) of every string, boolean and finite number filters know of."""
    for field, value in record.items():
        if field in FIELDS:
            yield from ((field, *leaf) for leaf in _inner(field, value))


def _inner(name: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _inner(f"{name}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        for element in value:
            yield from _inner(name, element)
    elif isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        yield name, value


def _prefixes(name: str) -> Iterator[str]:
    """a.b.c: a, a.b, a.b.c, so that an object has a value when anything in it has."""
    end = name.find(".")
    while end >= 0:
        yield name[:end]
        end = name.find(".", end + 1)
    yield name


def number(value: Any) -> float | None:
    """A finite number as Postgres's float8; None for anything else, a boolean too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def instants(text: str) -> tuple[str, str] | None:
    """First and last instant of an ISO 8601 date (a whole day of UTC) or date-time; else None.

    As text in UTC of one length, so that they compare as they follow each other in time.
    """
    moment = _instant(text) if _DATE.match(text) else None
    if moment is None:
        return None
    if len(text) == DAY_LENGTH:
        return moment, f"{text}T23:59:59.999999"
    return moment, moment


def _instant(text: str) -> str | None:
    try:
        moment = lenient_instant(text)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")
