"""Segment's page and screen calls."""

from __future__ import annotations

from connectors.segment.message import PAGE, PLACED, Fact, Message, context_of, event, texts
from connectors.segment.products import of_page

PAGE_PLACED = PLACED.union(PAGE)


def page(message: Message) -> list[Fact]:
    """The view of a page, or of the product that its properties name."""
    properties = message.part("properties")
    lines = of_page(message, properties)
    type_ = "product_detail_page_view" if lines else "custom"
    fact = event(message, type_, properties, lines, PAGE_PLACED)
    fact["context"] = context_of(message, properties)
    fact["custom_action_name"] = None if lines else "page_view"
    names = texts(message.record, ("name", "category"))
    fact["properties"] = names | (fact["properties"] or {}) or None
    return [fact, *message.sightings()]
