"""Segment's track calls: named events, by a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connectors import values
from connectors.segment import orders
from connectors.segment.events import EVENTS, Row, normalized
from connectors.segment.message import PLACED, PRODUCT_TEXT, Fact, Message, event
from connectors.segment.products import as_custom, many, of_content, one_or_many, provisional
from schemas import Malformed

HIGHEST_RATING = 5


def track(message: Message) -> list[Fact]:
    """A named event: by its row of the table, else custom under its own name."""
    name = message.record.get("event")
    if not isinstance(name, str) or not name.strip():
        raise Malformed("A track call needs `event`, a name.", "/event")
    key = normalized(name)
    row = _own_row(message, key) or EVENTS.get(key)
    if row is None:
        facts = _unlisted(message, name.strip())
    else:
        facts = FAMILIES[row.family](message, row, message.part("properties"))
    return facts + message.sightings()


def _own_row(message: Message, key: str) -> Row | None:
    """The setting `events` gives a site's own names the meaning of one of the Spec's."""
    own = message.settings.get("events") or {}
    return next(
        (EVENTS.get(normalized(own[name])) for name in own if normalized(name) == key), None
    )


def _unlisted(message: Message, name: str) -> list[Fact]:
    properties = message.part("properties")
    fact = event(message, "custom", properties, one_or_many(message, properties))
    return [fact | {"custom_action_name": name}]


def _searched(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    search = _search(properties.get("query"))
    if search is None:
        return [as_custom(message, row, properties)]
    fact = event(message, row.type, properties, [], PLACED | {"query"})
    return [fact | {"search": search}]


def _search(query: Any) -> dict[str, Any] | None:
    """`query` as text, or as an object that holds the text and perhaps filters."""
    inside = query if isinstance(query, dict) else {"query": query}
    names = ("query", "keywords", "keyword", "q", "term", "text")
    keywords = next(filter(None, (values.text(inside.get(name)) for name in names)), None)
    if keywords is None:
        return None
    filters = inside.get("filters")
    return {"keywords": keywords, "filters": filters if isinstance(filters, dict) else None}


def _listed(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """The page of a category, and an impression of what it showed."""
    page = event(message, row.type, properties, [], PLACED | {"category"})
    page["category"] = values.path(properties.get("category")) or None
    lines = many(message, properties)
    if not lines:
        return [page]
    shown = event(message, "impression", {}, lines)
    return [page, shown, *provisional(message, lines)]


def _one_product(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    lines = one_or_many(message, properties)
    if not lines:
        return [as_custom(message, row, properties)]
    fact = event(message, row.type, properties, lines, PLACED | PRODUCT_TEXT | {"quantity"})
    return [fact, *provisional(message, lines)]


def _several(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    lines = many(message, properties)
    if not lines:
        return [as_custom(message, row, properties)]
    return [event(message, row.type, properties, lines), *provisional(message, lines)]


def _reviewed(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """A rating from 0 to 5, which the Spec writes as text; without one it is only a review."""
    rating = values.number(properties.get("rating"))
    if rating is None or not 0 <= rating <= HIGHEST_RATING:
        return [as_custom(message, row, properties)]
    rest = {name: value for name, value in properties.items() if name != "rating"}
    facts = _one_product(message, row, rest)
    if facts[0]["type"] == row.type:
        facts[0]["rating"] = rating
    return facts


def _content(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """What somebody begins or ends to watch; https://segment.com/docs/connections/spec/video/."""
    lines = of_content(message, properties)
    if not lines:
        return [as_custom(message, row, properties)]
    return [event(message, row.type, properties, lines, PLACED | {"asset_id"})]


def _silent(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """Told by a clock, not by a choice: kept without products, so that it weighs nothing. How far
    somebody watched is the greatest `position` among those of one `session_id`."""
    return [event(message, row.type, properties, []) | {"custom_action_name": row.action}]


def _named(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """Its `name` is a promotion's or coupon's, so no product is made of it."""
    return [as_custom(message, row, properties)]


def _cart(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """Carts and steps of a checkout; their amounts are properties, never revenue."""
    lines = many(message, properties)
    fact = event(message, row.type, properties, lines)
    if row.type == "custom":
        fact["custom_action_name"] = row.action
    return [fact, *provisional(message, lines)]


FAMILIES: dict[str, Callable[[Message, Row, dict[str, Any]], list[Fact]]] = {
    "search": _searched,
    "list": _listed,
    "product": _one_product,
    "products": _several,
    "review": _reviewed,
    "content": _content,
    "heartbeat": _silent,
    "named": _named,
    "cart": _cart,
    "order": orders.completed,
    "order updated": orders.updated,
    "order refunded": orders.refunded,
    "order cancelled": orders.cancelled,
}
