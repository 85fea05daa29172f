"""What of a product record filters can ask for: columns and hashed terms for the products and
vector tables. The catalog calls `columns` when it stores a product, `compile` asks with `term`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

Scalar = str | bool | int | float

CUSTOM = "custom_attributes"

# How each field of a product can be asked for; a field in none of these is unknown.
TERM_FIELDS = frozenset(
    "product_id product_group_id parent_id related_ids type title subtitle language categories tags "
    "url cover_image size color material condition brand authors publishers collections availability "
    "enable_question_answering margin".split()
)
COLUMN_FIELDS = frozenset(("original_price", "sale_price", "rating"))
DATE_FIELDS = frozenset(("created_at", "published_at", "updated_at"))
# Long text and coordinates: only `field:*`.
PRESENCE_FIELDS = frozenset(
    "description short_description html headers paragraphs anchors children location".split()
)
FIELDS = TERM_FIELDS | COLUMN_FIELDS | DATE_FIELDS | PRESENCE_FIELDS | {CUSTOM}

DEFAULTS = {"condition": "NEW", "availability": "IN_STOCK"}
SOLD_OUT = "OUT_OF_STOCK"


@dataclass(frozen=True, slots=True)
class FilterColumns:
    """The filter columns of one row of products and of the vector tables."""

    available: bool
    original_price: float | None
    sale_price: float | None
    rating: float | None
    terms: list[int]
    group_key: int


def columns(record: dict[str, Any]) -> FilterColumns:
    """The filter columns of a product record; needs only its product_id, never raises for the rest.

    Every term is kept, however many there are: a filter that saw only some would answer wrongly.
    """
    group = record.get("product_group_id") or record["product_id"]
    return FilterColumns(
        available=record.get("availability") != SOLD_OUT,
        original_price=_number(record.get("original_price")),
        sale_price=_number(record.get("sale_price")),
        rating=_number(record.get("rating")),
        terms=sorted(set(_terms(record))),
        group_key=term("product_group_id", group),
    )


def term(field: str, value: Scalar) -> int:
    """The signed 64-bit hash that stands for "this field has this value".

    A string, a boolean and a number never share a term: "10" is not 10, but 10 is 10.0.
    """
    return _hash(field, _canonical(value))


def presence(field: str) -> int:
    """The term of a field, or of an object inside custom_attributes, that has any value."""
    return _hash(field, "*")


def _hash(field: str, canonical: str) -> int:
    text = f"{field}\0{canonical}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def _canonical(value: Scalar) -> str:
    if isinstance(value, str):
        return f"s{value}"
    if isinstance(value, bool):
        return "btrue" if value else "bfalse"
    if isinstance(value, int):
        return f"n{value:x}"  # hexadecimal, because decimal is refused above 4,300 digits
    return f"n{int(value):x}" if value.is_integer() else f"n{value!r}"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _terms(record: dict[str, Any]) -> Iterator[int]:
    present = {field: value for field, value in record.items() if value is not None}
    present = DEFAULTS | {"product_group_id": record["product_id"]} | present
    for field, value in present.items():
        if field in TERM_FIELDS:
            yield from _field_terms(field, value)
        elif field == CUSTOM:
            yield from _object_terms(CUSTOM, value)
        elif field in FIELDS and has_value(value):
            yield presence(field)


def _field_terms(field: str, value: Any) -> Iterator[int]:
    if has_value(value):
        yield presence(field)
    for scalar in scalars(value):
        yield term(field, scalar)


def _object_terms(path: str, value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        if has_value(value):
            yield presence(path)
        for name, inner in value.items():
            yield from _object_terms(f"{path}.{name}", inner)
    elif isinstance(value, list) and any(isinstance(element, dict) for element in value):
        for element in value:
            yield from _object_terms(path, element)
    else:
        yield from _field_terms(path, value)


def has_value(value: Any) -> bool:
    """Whether anything is there: not null, not an empty list or object; "" and 0 are values."""
    if isinstance(value, dict):
        return any(has_value(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_value(element) for element in value)
    return value is not None


def scalars(value: Any) -> Iterator[Scalar]:
    """Every string, boolean and finite number in a value and its nested lists."""
    if isinstance(value, (list, tuple)):
        for element in value:
            yield from scalars(element)
    elif isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        yield value
