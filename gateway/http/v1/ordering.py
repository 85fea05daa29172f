"""The order that a search asks for (`order_by`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from marshmallow import Schema
from marshmallow.validate import Length, OneOf, Range

from ranking.merchandising import order
from ranking.merchandising.order import DISTANCE, FormulaError, Key, Order
from schemas.errors import Problem
from schemas.fields import Items, Number, Part, Text
from schemas.product import LocationSchema

MOST_KEYS = 10


class TieBreaker(Schema):
    """Which values are equal, so that the next field decides."""

    type = Text(
        validate=OneOf(["relative_difference"], error="The only type is relative_difference.")
    )
    threshold = Number(validate=Range(min=0, error="A threshold is 0 or more."))


class OrderKey(Schema):
    """One field or formula to sort by."""

    field = Text(required=True)
    order = Text(validate=OneOf(["asc", "desc"], error="Say asc or desc."))
    default_value = Number()
    tie_breaker = Part(TieBreaker)
    geo = Part(LocationSchema)


class OrderRequest(Schema):
    """What a search is sorted by, instead of how well it fits."""

    order_by = Items(
        Part(OrderKey), validate=Length(max=MOST_KEYS, error=f"At most {MOST_KEYS} fields.")
    )


def keys(asked: dict[str, Any]) -> tuple[Order, list[Problem]]:
    """What to sort by, and every problem found."""
    made, found = [], []
    for number, sent in enumerate(asked.get("order_by", [])):
        pointer = f"/order_by/{number}"
        try:
            key = _key(sent)
        except FormulaError as error:
            found.append(Problem(f"{pointer}/field", str(error), sent["field"]))
            continue
        if DISTANCE in key.names and key.geo is None:
            message = f"{DISTANCE} needs the place it is measured from: {{lat, lon}}."
            found.append(Problem(f"{pointer}/geo", message))
        made.append(key)
    return tuple(made), found


def _key(sent: dict[str, Any]) -> Key:
    geo = sent.get("geo")
    made = Key(
        order.parse(sent["field"]),
        descending=sent.get("order", "desc") == "desc",
        threshold=float(sent.get("tie_breaker", {}).get("threshold", 0)),
        geo=None if geo is None else (float(geo["lat"]), float(geo["lon"])),
    )
    return replace(made, default=_default(sent, made))


def _default(sent: dict[str, Any], key: Key) -> float | None:
    """Miso's 0, which is no distance: what is nowhere comes last unless the request says where."""
    if DISTANCE in key.names and "default_value" not in sent:
        return None
    return float(sent.get("default_value", 0))
