"""How many of an item lie where. A shop's places are summed for us by whoever keeps them."""

from __future__ import annotations

from datetime import datetime

from connectors import values
from connectors.shopify.webhook import Fact, Webhook
from schemas import Ignored

# The place at which there is always one of what nobody counts.
UNTRACKED = "untracked"


def level(webhook: Webhook) -> list[Fact]:
    """What one place has; null where the item is not counted there."""
    if "available" not in webhook.record:
        raise Ignored("It does not say how many there are: let the subscription send `available`.")
    available = values.number(webhook.record["available"])
    return [_stock(webhook, available) | {"as_of": webhook.at("updated_at")}]


def disconnected(webhook: Webhook) -> list[Fact]:
    """The item is no longer kept at this place."""
    return [_stock(webhook, None)]


def _stock(webhook: Webhook, quantity: float | None) -> Fact:
    return {
        "fact": "stock",
        "item_id": webhook.id("inventory_item_id"),
        "location_id": webhook.id("location_id"),
        "quantity": quantity,
        "as_of": webhook.triggered_at,
    }


def item(webhook: Webhook) -> list[Fact]:
    """Whether an item's stock is counted at all: one that is not never runs out."""
    is_tracked = webhook.record.get("tracked")
    if not isinstance(is_tracked, bool):
        raise Ignored("It does not say whether its stock is tracked.")
    return [tracked(webhook.id(), is_tracked, webhook.at("updated_at"))]


def tracked(item_id: str, is_tracked: bool, at: datetime | None) -> Fact:
    """Product webhooks don't say it: kept as stock, it holds whatever they say of the quantity."""
    count = None if is_tracked else 1
    where = {"item_id": item_id, "location_id": UNTRACKED}
    return {"fact": "stock", **where, "quantity": count, "as_of": at}
