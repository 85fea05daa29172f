"""Carts and checkouts: what is in them, and whose they are. Neither is ever revenue."""

from __future__ import annotations

from connectors import values
from connectors.shopify import webhook as of
from connectors.shopify.orders import browser_ids, line_products
from connectors.shopify.webhook import Fact, Webhook, identifier
from schemas import Ignored


def started(webhook: Webhook) -> list[Fact]:
    """A checkout was begun. The pixel tells of it too: the token makes one event of both."""
    token = webhook.id("token")
    lines = line_products(webhook.record)
    at = webhook.at("created_at", "updated_at")
    event = {
        "fact": "event",
        "type": "checkout_started",
        "user_id": identifier(webhook.part("customer").get("id")),
        "anonymous_id": _ids(webhook)[0],
        "message_id": started_id(token),
        "occurred_at": at,
        "product_ids": list(lines),
        "quantities": list(lines.values()) or None,
        "currency": values.currency(webhook.record.get("currency")),
    }
    return [event, *_links(webhook)]


def started_id(token: str) -> str:
    """The message id of the one event that a checkout's begin is, whoever tells of it."""
    return f"shopify:checkout_started:{token}"


def changed(webhook: Webhook) -> list[Fact]:
    """A customer or our attribute may have come in since; the rest says nothing new."""
    webhook.id("token")
    return _links(webhook) or _nothing("Nothing in it says whose checkout it is.")


def _ids(webhook: Webhook) -> list[str]:
    record = webhook.record
    return browser_ids(record, record.get("token"), record.get("cart_token"))


def _links(webhook: Webhook) -> list[Fact]:
    ids, at = _ids(webhook), webhook.at("updated_at")
    customer = identifier(webhook.part("customer").get("id"))
    return [*of.same_device(ids, at), *of.sighting(ids[0], customer, at)]


def cart(webhook: Webhook) -> list[Fact]:
    """Whose cart it is, where our snippet has written that into it."""
    found = of.attributed_id(webhook.record)
    alias = of.cart_alias(webhook.record.get("token") or webhook.record.get("id"))
    if found is None or alias is None:
        return _nothing("It names no visitor, and what goes into a cart is told by the pixel.")
    return of.same_device([found, alias], webhook.at("updated_at"))


def _nothing(reason: str) -> list[Fact]:
    raise Ignored(reason)
