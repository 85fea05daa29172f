"""Segment's track calls: named events, by a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from connectors import values
from connectors.segment.message import PLACED, PRODUCT_TEXT, Fact, Message, event
from connectors.segment.products import many, one_or_many, provisional
from schemas import Malformed


class Row(NamedTuple):
    """A line of the event table: our type, the custom action's name, the payload's family."""

    type: str
    action: str
    family: str


# Names as `normalized` writes them: the Spec's first, then its V1 and Google Analytics aliases.
TABLE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("products searched", "product searched", "searched products"), "search", "search"),
    (("product list viewed", "viewed product category"), "category_page_view", "list"),
    (("product list filtered",), "category_page_view", "list"),
    (("product clicked", "clicked product"), "click", "product"),
    (("product viewed", "viewed product"), "product_detail_page_view", "product"),
    (("product added", "added product"), "add_to_cart", "product"),
    (("wishlist product added to cart",), "add_to_cart", "product"),
    (("product removed", "removed product"), "remove_from_cart", "product"),
    (("product added to wishlist",), "add_to_collection", "product"),
    (("product removed from wishlist",), "remove_from_collection", "product"),
    (("cart viewed", "viewed cart"), "custom", "cart"),
    (("checkout started", "started order"), "checkout_started", "cart"),
    (("checkout step viewed", "viewed checkout step"), "custom", "cart"),
    (("checkout step completed", "completed checkout step"), "custom", "cart"),
    (("payment info entered",), "custom", "cart"),
    (("order completed", "completed order"), "purchase", "order"),
)
EVENTS: dict[str, Row] = {
    name: Row(type_, names[0].replace(" ", "_"), family)
    for names, type_, family in TABLE
    for name in names
}
ABOUT_PRODUCTS = frozenset(row.action for row in EVENTS.values() if row.family == "product")

# Told by a clock, not by a choice: kept without products, so that they weigh nothing.
HEARTBEATS = frozenset(("heartbeat", "video content playing", "video ad playing"))


def track(message: Message) -> list[Fact]:
    """A named event: by its row of the table, else custom under its own name."""
    name = message.record.get("event")
    if not isinstance(name, str) or not name.strip():
        raise Malformed("A track call needs `event`, a name.", "/event")
    key = normalized(name)
    row = _own_row(message, key) or EVENTS.get(key)
    if row is None:
        facts = _unlisted(message, name.strip(), key)
    else:
        facts = FAMILIES[row.family](message, row, message.part("properties"))
    return facts + message.sightings()


def normalized(name: str) -> str:
    """`Product    Clicked`, `product_clicked` and `PRODUCT Clicked ` are one name."""
    return " ".join(name.replace("_", " ").lower().split())


def _own_row(message: Message, key: str) -> Row | None:
    """The setting `events` gives a site's own names the meaning of one of the Spec's."""
    own = message.settings.get("events") or {}
    return next(
        (EVENTS.get(normalized(own[name])) for name in own if normalized(name) == key), None
    )


def _unlisted(message: Message, name: str, key: str) -> list[Fact]:
    properties = message.part("properties")
    lines = [] if key in HEARTBEATS else one_or_many(message, properties)
    fact = event(message, "custom", properties, lines)
    return [fact | {"custom_action_name": name}]


def _searched(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    search = _search(properties.get("query"))
    if search is None:
        return [_as_custom(message, row, properties)]
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
        return [_as_custom(message, row, properties)]
    fact = event(message, row.type, properties, lines, PLACED | PRODUCT_TEXT | {"quantity"})
    return [fact, *provisional(message, lines)]


def _cart(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """Carts and steps of a checkout; their amounts are properties, never revenue."""
    lines = many(message, properties)
    fact = event(message, row.type, properties, lines)
    if row.type == "custom":
        fact["custom_action_name"] = row.action
    return [fact, *provisional(message, lines)]


def _order(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """What was bought, one event an order; products of one id are one line."""
    lines = many(message, properties) or one_or_many(message, properties)
    fact = event(message, row.type, properties, lines)
    amounts = (values.number(properties.get(name)) for name in ("revenue", "total", "value"))
    fact["revenue"] = next((amount for amount in amounts if amount is not None), None)
    return [fact, *provisional(message, lines)]


def _as_custom(message: Message, row: Row, properties: dict[str, Any]) -> Fact:
    """An event that lacks what its type is about; kept, and countable under the Spec's name."""
    fact = event(message, "custom", properties, one_or_many(message, properties))
    return fact | {"custom_action_name": row.action}


FAMILIES: dict[str, Callable[[Message, Row, dict[str, Any]], list[Fact]]] = {
    "search": _searched,
    "list": _listed,
    "product": _one_product,
    "cart": _cart,
    "order": _order,
}
