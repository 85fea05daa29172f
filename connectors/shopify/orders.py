"""Orders: placed, cancelled, paid back. Every topic sends the whole order as it is then.

https://shopify.dev/docs/api/admin-rest/latest/resources/order says what its fields mean. Money is
the shop's, never the one in which the customer was shown the prices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from connectors import values
from connectors.shopify import webhook as of
from connectors.shopify.webhook import Fact, Webhook, an_object, identifier
from schemas import Ignored

TEST = "It is a test order."


def order(webhook: Webhook) -> list[Fact]:
    """What was bought, by whom, whether it was cancelled, and what came back of it."""
    order_id = webhook.id()
    if webhook.record.get("test") is True:
        raise Ignored(TEST)
    facts = _placed(webhook, order_id) if "line_items" in webhook.record else []
    if _is_cancelled(webhook):
        facts.append(_cancelled(order_id, webhook.at("cancelled_at", "updated_at")))
    for one in values.objects(webhook.record.get("refunds")):
        facts += _refunded(order_id, one, _lines_by_id(webhook.record), webhook.triggered_at)
    if not facts:
        raise Ignored("It has no lines: let the subscription send `line_items`.")
    return facts


def deleted(webhook: Webhook) -> list[Fact]:
    """Only a test order or one cancelled before can be deleted; it counts no longer."""
    return [_cancelled(webhook.id(), webhook.triggered_at)]


def refund(webhook: Webhook) -> list[Fact]:
    """One refund by itself, perhaps before its order."""
    order_id = webhook.id("order_id")
    payments = values.objects(webhook.record.get("transactions"))
    if payments and all(payment.get("test") is True for payment in payments):
        raise Ignored(TEST)
    facts = _refunded(order_id, webhook.record, {}, webhook.triggered_at)
    if not facts:
        raise Ignored("It pays back no lines of the order: shipping, a tip, or goodwill.")
    return facts


# placed -----------------------------------------------------------------------------------------


def _placed(webhook: Webhook, order_id: str) -> list[Fact]:
    record, at = webhook.record, webhook.at("processed_at", "created_at")
    customer = identifier(webhook.part("customer").get("id"))
    ids = browser_ids(record, record.get("checkout_token"), record.get("cart_token"))
    lines = line_products(record)
    revenue, currency = _subtotal(record)
    fact = {
        "fact": "order",
        "order_id": order_id,
        "told": "placed",
        "user_id": customer,
        "anonymous_id": ids[0] if ids else None,
        "occurred_at": at,
        "as_of": webhook.at("updated_at"),
        "product_ids": list(lines),
        "quantities": list(lines.values()) or None,
        "revenue": revenue,
        "currency": currency,
    }
    seen = of.sighting(ids[0] if ids else None, customer, at)
    return [fact, *of.same_device(ids, at), *seen]


def browser_ids(record: Mapping[str, Any], checkout_token: Any, cart_token: Any) -> list[str]:
    """The anonymous ids under which the browser may be known, the best first."""
    ids = (of.attributed_id(record), of.checkout_alias(checkout_token), of.cart_alias(cart_token))
    return list(dict.fromkeys(filter(None, ids)))


def line_products(record: Mapping[str, Any]) -> dict[str, float]:
    """Quantities by product, as ordered; what came back is told by the refunds."""
    return of.summed(_lines(record))


def _lines(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for line in values.objects(record.get("line_items")):
        if (product_id := line_product(line)) and (count := of.quantity(line.get("quantity"))):
            yield product_id, count


def line_product(line: Mapping[str, Any]) -> str | None:
    """The variant of a line, else its product. Tips and custom lines have no product, and a gift
    card says nothing about taste."""
    if line.get("gift_card") is True or ("product_id" in line and line["product_id"] is None):
        return None
    return identifier(line.get("variant_id")) or identifier(line.get("product_id"))


def _subtotal(record: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """What the lines cost after discounts, without shipping, tax (unless prices include it), and
    tips; not the `current_` one, from which refunds are taken already. With its currency."""
    money = an_object(an_object(record.get("subtotal_price_set")).get("shop_money"))
    amount = of.price(money.get("amount"))
    if amount is None:
        amount = of.price(record.get("subtotal_price"))
    code = values.currency(money.get("currency_code")) or values.currency(record.get("currency"))
    return amount, code


# undone -----------------------------------------------------------------------------------------


def _is_cancelled(webhook: Webhook) -> bool:
    return webhook.topic == "orders/cancelled" or bool(webhook.record.get("cancelled_at"))


def _cancelled(order_id: str, at: datetime | None) -> Fact:
    return {"fact": "order", "order_id": order_id, "told": "cancelled", "as_of": at}


def _lines_by_id(record: Mapping[str, Any]) -> dict[str | None, dict[str, Any]]:
    lines = values.objects(record.get("line_items"))
    return {identifier(line.get("id")): line for line in lines}


def _refunded(
    order_id: str,
    record: dict[str, Any],
    lines_by_id: Mapping[str | None, dict[str, Any]],
    triggered_at: datetime | None,
) -> list[Fact]:
    """What came back in one refund; nothing where it pays back no lines, because a refund without
    products and revenue would mean all of them."""
    items = values.objects(record.get("refund_line_items"))
    lines = of.summed(_returned(items, lines_by_id))
    amounts = [amount for item in items if (amount := _paid_back(item)) is not None]
    if not lines and not amounts:
        return []
    found = (values.instant(record.get(name)) for name in ("processed_at", "created_at"))
    return [
        {
            "fact": "order",
            "order_id": order_id,
            "told": "refunded",
            "as_of": next(filter(None, found), triggered_at),
            "product_ids": list(lines),
            "quantities": list(lines.values()) or None,
            "revenue": round(sum(amounts), 6) if amounts else None,
            "currency": _currency_of(items),
            "refund_id": identifier(record.get("id")),
        }
    ]


def _returned(
    items: list[dict[str, Any]], lines_by_id: Mapping[str | None, dict[str, Any]]
) -> Iterator[tuple[str, float]]:
    for item in items:
        line = an_object(item.get("line_item"))
        line = line or lines_by_id.get(identifier(item.get("line_item_id")), {})
        if (product_id := line_product(line)) and (count := of.quantity(item.get("quantity"))):
            yield product_id, count


def _paid_back(item: Mapping[str, Any]) -> float | None:
    """Of a refunded line, after discounts and without tax."""
    money = an_object(an_object(item.get("subtotal_set")).get("shop_money"))
    amount = of.price(money.get("amount"))
    return amount if amount is not None else of.price(item.get("subtotal"))


def _currency_of(items: list[dict[str, Any]]) -> str | None:
    money = (an_object(an_object(item.get("subtotal_set")).get("shop_money")) for item in items)
    return next(filter(None, (values.currency(one.get("currency_code")) for one in money)), None)
