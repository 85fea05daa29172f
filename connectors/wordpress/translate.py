"""WooCommerce's and WordPress' records as facts: by the resource that the topic names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from connectors.wordpress import fields, orders, people, posts, products
from connectors.wordpress.fields import Fact, Record, Settings
from schemas import Ignored, Malformed, Unsupported


class Resource(NamedTuple):
    """What becomes of a record that was made or changed, and of the id of one that is gone."""

    told: Callable[[Record, Settings], list[Fact]]
    deleted: Callable[[str], list[Fact]]


RESOURCES: dict[str, Resource] = {
    "product": Resource(products.product, products.deleted),
    "order": Resource(orders.order, orders.deleted),
    "customer": Resource(people.customer, people.deleted),
    "post": Resource(posts.post, products.deleted),
    "page": Resource(posts.post, products.deleted),
}
EVENTS = frozenset(("created", "updated", "restored", "published", "deleted"))

# Known, and of no use.
IGNORED = {
    "coupon": "Coupons say nothing about interest.",
    "action": "An action names neither a visitor nor a product: carts come from the browser.",
}

SETTINGS = {"currency": "the shop's currency, such as EUR: its products do not say it"}

_CURRENCY = re.compile(r"[A-Z]{3}")  # ISO 4217

# What a fact has at a pointer stands there in a record of WooCommerce's.
POINTERS = {
    "/id": "/id",
    "/as_of": "/date_modified_gmt",
    "/at": "/date_modified_gmt",
    "/order_id": "/id",
    "/user_id": "/customer_id",
    "/anonymous_id": "/meta_data",
    "/occurred_at": "/date_paid_gmt",
    "/product_ids": "/line_items",
    "/quantities": "/line_items",
    "/revenue": "/line_items",
    "/currency": "/currency",
    "/refund_id": "/refunds",
    "/record/product_id": "/id",
    "/record/product_group_id": "/parent_id",
    "/record/user_id": "/id",
    "/record/type": "/type",
    "/record/title": "/name",
    "/record/description": "/description",
    "/record/html": "/description",
    "/record/short_description": "/short_description",
    "/record/created_at": "/date_created_gmt",
    "/record/published_at": "/date_created_gmt",
    "/record/updated_at": "/date_modified_gmt",
    "/record/categories": "/categories",
    "/record/tags": "/tags",
    "/record/brand": "/brands",
    "/record/url": "/permalink",
    "/record/cover_image": "/images",
    "/record/original_price": "/regular_price",
    "/record/sale_price": "/sale_price",
    "/record/availability": "/stock_status",
    "/record/rating": "/average_rating",
    "/record/name": "/first_name",
    "/record/city": "/billing/city",
    "/record/state": "/billing/state",
    "/record/country": "/billing/country",
}


def check(settings: Settings) -> Settings:
    """The settings as they are kept; raises Malformed for a currency that is none."""
    given = settings.get("currency")
    if given is None:
        return settings
    code = given.strip().upper() if isinstance(given, str) else ""
    if not _CURRENCY.fullmatch(code):
        raise Malformed("`currency` must be the three letters of ISO 4217, such as EUR or USD.")
    return {**settings, "currency": code}


def translate(topic: str | None, record: Any, settings: Settings) -> list[Fact]:
    """The facts of one record under a topic such as `product.updated`.

    Settings: `currency`, and the shop's `site_url` from the headers. Raises Ignored, Unsupported
    (a topic we do not know) and Malformed.
    """
    name, event = _told_by(topic)
    if name in IGNORED:
        raise Ignored(IGNORED[name])
    if name not in RESOURCES or event not in EVENTS:
        raise Unsupported(f"Deliveries of the topic {(topic or '')[:100]!r} are not known.")
    if not isinstance(record, dict):
        raise Malformed("A record must be a JSON object.")
    if _is_error(record):
        raise Ignored("It was gone when WooCommerce wanted to tell of it: an error came instead.")
    resource = RESOURCES[name]
    if event == "deleted":
        return resource.deleted(fields.identifier(record))
    return resource.told(record, settings)


def _told_by(topic: str | None) -> tuple[str, str]:
    if topic is None:
        raise Unsupported("It has no header X-WC-Webhook-Topic, which says what the body is.")
    name, _, event = topic.partition(".")
    return name, event


def _is_error(record: Record) -> bool:
    """The body is made when it is delivered, not when the thing happened; what is gone by then
    makes it `{"code": …, "message": …, "data": {"status": 404}}`. A coupon has a `code` as well."""
    return "id" not in record and isinstance(record.get("code"), str)
