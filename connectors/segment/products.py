"""The products that Segment's events name: their ids, quantities, and what is told of them."""

from __future__ import annotations

from typing import Any

from connectors import values
from connectors.segment.events import Row
from connectors.segment.message import Fact, Line, Message, event

# Which property names the product; on the top level `id` counts only beside a `sku` (as in V1),
# because alone it may be anything.
PRODUCT_KEYS = ("product_id", "productId", "id", "sku")
TOP_LEVEL_KEYS = ("product_id", "productId", "sku")
PAGE_KEYS = ("product_id", "productId")


def one_or_many(message: Message, properties: dict[str, Any]) -> list[Line]:
    """The product on the top level, else those of `products`."""
    keys = PRODUCT_KEYS if values.text(properties.get("sku")) else TOP_LEVEL_KEYS
    line = _line(properties, _keys(message, keys))
    return [line] if line else many(message, properties)


def of_page(message: Message, properties: dict[str, Any]) -> list[Line]:
    """The product that a page is about; its other names may be the page's."""
    line = _line(properties, _keys(message, PAGE_KEYS))
    return [line] if line else []


def of_content(message: Message, properties: dict[str, Any]) -> list[Line]:
    """The content that a video event is about."""
    line = _line(properties, (*_keys(message, ()), "asset_id"))
    return [line] if line else []


def many(message: Message, properties: dict[str, Any]) -> list[Line]:
    """The members of `products` that have an id; the same product twice is one line."""
    lines: dict[str, Line] = {}
    keys = _keys(message, PRODUCT_KEYS)
    for item in values.objects(properties.get("products")):
        if line := _line(item, keys):
            before = lines.get(line.product_id)
            lines[line.product_id] = _together(before, line) if before else line
    return list(lines.values())


def _together(one: Line, other: Line) -> Line:
    return one._replace(quantity=one.quantity + other.quantity)


def _line(item: dict[str, Any], keys: tuple[str, ...]) -> Line | None:
    product_id = next(filter(None, (values.text(item.get(key)) for key in keys)), None)
    if product_id is None:
        return None
    quantity = values.number(item.get("quantity"))
    return Line(product_id, quantity if quantity and 0 < quantity <= 1e6 else 1, item)


def _keys(message: Message, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The setting `product_id` (a property's name, or several in order) replaces what is usual."""
    chosen = message.settings.get("product_id")
    if not chosen:
        return usual
    return (chosen,) if isinstance(chosen, str) else tuple(chosen)


def as_custom(message: Message, row: Row, properties: dict[str, Any]) -> Fact:
    """An event that lacks what its type is about; kept, and countable under the Spec's name."""
    fact = event(message, "custom", properties, one_or_many(message, properties))
    return fact | {"custom_action_name": row.action}


def provisional(message: Message, lines: list[Line]) -> list[Fact]:
    """Provisional products of the lines that carry a title; any upload overwrites them."""
    return [fact for line in lines if (fact := _product(message, line))]


def _product(message: Message, line: Line) -> Fact | None:
    title = values.text(line.item.get("name"))
    if title is None:
        return None
    price = values.number(line.item.get("price"))
    category = values.path(line.item.get("category"))
    record = {
        "product_id": line.product_id,
        "title": title,
        "brand": values.text(line.item.get("brand")),
        "original_price": price if price is not None and price >= 0 else None,
        "url": values.web_address(line.item.get("url")),
        "cover_image": values.web_address(line.item.get("image_url")),
        "categories": [category] if category else None,
    }
    return {"fact": "product", "record": record, "as_of": message.at, "provisional": True}
