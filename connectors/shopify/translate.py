"""Shopify's payloads as facts, by topic.

Topics and payloads: https://shopify.dev/docs/api/webhooks. Two topics are not Shopify's: `browser`
is what a web pixel sends, `bulk` a product as `bulk.py` puts it together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connectors.shopify import checkouts, inventory, lifecycle, orders, people, products
from connectors.shopify.pixel import pixel
from connectors.shopify.webhook import Fact, Webhook
from schemas import Ignored, Malformed

BROWSER = "browser"

TOPICS: dict[str, Callable[[Webhook], list[Fact]]] = {
    "bulk": products.product,
    "products/create": products.product,
    "products/update": products.product,
    "products/delete": products.deleted,
    "variants/in_stock": products.in_stock,
    "variants/out_of_stock": products.out_of_stock,
    "inventory_levels/update": inventory.level,
    "inventory_levels/connect": inventory.level,
    "inventory_levels/disconnect": inventory.disconnected,
    "inventory_items/create": inventory.item,
    "inventory_items/update": inventory.item,
    "customers/create": people.customer,
    "customers/update": people.customer,
    "customers/enable": people.customer,
    "customers/disable": people.customer,
    "customers/delete": people.deleted,
    "customers/merge": people.merged,
    "customers/redact": people.redacted,
    "customers/data_request": people.requested,
    "carts/create": checkouts.cart,
    "carts/update": checkouts.cart,
    "checkouts/create": checkouts.started,
    "checkouts/update": checkouts.changed,
    "orders/create": orders.order,
    "orders/paid": orders.order,
    "orders/updated": orders.order,
    "orders/fulfilled": orders.order,
    "orders/partially_fulfilled": orders.order,
    "orders/cancelled": orders.order,
    "orders/delete": orders.deleted,
    "refunds/create": orders.refund,
    "app/uninstalled": lifecycle.uninstalled,
    "app/scopes_update": lifecycle.scopes_changed,
    "shop/redact": lifecycle.shop_redacted,
}

# Topics that are known and change nothing, with the reason.
IGNORED = {
    "collections": "Names of collections come with the bulk export: rules change them silently.",
    "collection_publications": "Names of collections come with the bulk export.",
    "collection_listings": "Names of collections come with the bulk export.",
    "product_listings": "Whether a product is published is told by products/update.",
    "product_publications": "Whether a product is published is told by products/update.",
    "checkouts/delete": "A checkout that is gone says nothing.",
    "orders/edited": "It names lines without their products: orders/updated tells the whole order.",
    "inventory_items/delete": "It is gone with its product.",
    "fulfillments": "What was sent was bought before.",
    "bulk_operations/finish": "The export is asked for its state as well.",
    "app_subscriptions": "Nothing is billed.",
    "shop": "Nothing about the shop itself is kept.",
}

# What a fact has at a pointer came from there in the payload.
POINTERS = {
    "/user_id": "/customer/id",
    "/order_id": "/id",
    "/occurred_at": "/created_at",
    "/as_of": "/updated_at",
    "/product_ids": "/line_items",
    "/quantities": "/line_items",
    "/revenue": "/subtotal_price",
    "/currency": "/currency",
    "/group_id": "/id",
    "/item_id": "/inventory_item_id",
    "/location_id": "/location_id",
    "/quantity": "/available",
    "/search": "/data/searchResult/query",
    "/category": "/data/collection/title",
    "/properties": "/customData",
    "/miso_id": "/customData/miso_id",
    "/context": "/context",
    "/record/product_id": "/variants",
    "/record/product_group_id": "/id",
    "/record/title": "/title",
    "/record/description": "/body_html",
    "/record/brand": "/vendor",
    "/record/type": "/product_type",
    "/record/tags": "/tags",
    "/record/categories": "/category",
    "/record/original_price": "/variants",
    "/record/sale_price": "/variants",
    "/record/availability": "/variants",
    "/record/url": "/handle",
    "/record/cover_image": "/images",
    "/record/custom_attributes": "/options",
    "/record/user_id": "/id",
    "/record/name": "/first_name",
    "/record/city": "/default_address/city",
    "/record/state": "/default_address/province",
    "/record/country": "/default_address/country",
    "/record/created_at": "/created_at",
    "/stock_item": "/variants",
}


def translate(topic: str | None, record: Any, settings: Mapping[str, Any]) -> list[Fact]:
    """The facts of one payload, or of one event of a pixel (topic `browser`).

    `settings`: the source's own (see README.md), with `received_at`, and what `receive.told` found.
    Raises Ignored and Malformed.
    """
    if topic == BROWSER:
        return pixel(record, settings)
    read = TOPICS.get(topic or "")
    if topic is None or read is None:
        raise Ignored(_reason(topic))
    if not isinstance(record, dict):
        raise Malformed("The body of a webhook is a JSON object.")
    return read(Webhook(topic, record, settings))


def _reason(topic: str | None) -> str:
    if not topic:
        return "It has no topic: X-Shopify-Topic is missing."
    known = IGNORED.get(topic) or IGNORED.get(topic.partition("/")[0])
    return known or f"Nothing follows from the topic {topic[:60]!r}."
