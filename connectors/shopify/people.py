"""Customers: their records, two that are one, and what the law asks for.

https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance. Of a customer only what
ranking can use is kept: no e-mail, phone, street or note.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connectors import values
from connectors.shopify.webhook import Fact, Webhook, an_object, identifier
from schemas import Ignored, Malformed

NAMES = ("first_name", "last_name")
PLACE = {"city": "city", "province": "state", "country": "country"}


def customer(webhook: Webhook) -> list[Fact]:
    """A customer's record as it is now; what was there and is empty is taken away."""
    told = dict(_told(webhook.record))
    record = {name: value for name, value in told.items() if value is not None}
    fact: Fact = {
        "fact": "user",
        "record": {"user_id": webhook.id(), **record},
        "as_of": webhook.at("updated_at"),
    }
    cleared = [name for name, value in told.items() if value is None]
    return [fact | ({"cleared": cleared} if cleared else {})]


def _told(record: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """The fields that the payload says something about, None where it says that there is none."""
    if not record.keys().isdisjoint(NAMES):
        names = (values.text(record.get(name)) for name in NAMES)
        yield "name", " ".join(filter(None, names)) or None
    if "default_address" in record:
        place = record["default_address"]
        for theirs, ours in PLACE.items():
            if place is None or (isinstance(place, dict) and theirs in place):
                yield ours, values.text(an_object(place).get(theirs))
    if (at := values.instant(record.get("created_at"))) is not None:
        yield "created_at", at.isoformat()


def deleted(webhook: Webhook) -> list[Fact]:
    user_id, at = webhook.id(), webhook.triggered_at
    return [{"fact": "removed", "kind": "user", "id": user_id, "at": at}]


def merged(webhook: Webhook) -> list[Fact]:
    """Two customers are one from now on, once the merge is completed."""
    status = values.text(webhook.record.get("status")) or "unknown"
    if status.lower() != "completed":
        raise Ignored(f"The merge has the status {status[:40]!r}, not `completed`.")
    kept = webhook.id("admin_graphql_api_customer_kept_id")
    previous = webhook.id("admin_graphql_api_customer_deleted_id")
    merge = {"fact": "merge", "previous_id": previous, "user_id": kept}
    return [merge | {"occurred_at": webhook.triggered_at}]


def redacted(webhook: Webhook) -> list[Fact]:
    """Forget this customer, and who placed these orders."""
    return [{"fact": "erase", **_asked_about(webhook, "orders_to_redact")}]


def requested(webhook: Webhook) -> list[Fact]:
    """The customer wants to know what is known of them; the shop's owner hands it on."""
    asked = _asked_about(webhook, "orders_requested")
    request_id = identifier(webhook.part("data_request").get("id"))
    return [{"fact": "export", **asked, "request_id": request_id}]


def _asked_about(webhook: Webhook, orders: str) -> Fact:
    """Customer and orders of a request of the law; an e-mail address alone names nobody here."""
    if values.text(webhook.record.get("shop_domain")) is None:
        raise Malformed("It has no `shop_domain`: this is no request of Shopify's.", "/shop_domain")
    user_id = identifier(webhook.part("customer").get("id"))
    listed = webhook.record.get(orders)
    ids = [identifier(each) for each in listed] if isinstance(listed, list) else []
    order_ids = list(filter(None, ids))
    if user_id is None and not order_ids:
        raise Ignored("It names neither a customer nor orders by id, and no addresses are kept.")
    asked: Fact = {"user_id": user_id, "at": webhook.triggered_at}
    return asked | ({"order_ids": order_ids} if order_ids else {})
