"""WooCommerce's orders: what was bought, what came back. Whom it goes to is not read.

https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, NamedTuple

from connectors import values
from connectors.wordpress import fields
from connectors.wordpress.fields import Fact, Record, Settings
from schemas import Ignored, present

GONE = frozenset(("cancelled", "failed", "trash"))
VISITOR = "_attune_anonymous_id"  # our plugin writes it at the checkout: the browser's own id
LONGEST_VISITOR = 1024
CENT = 0.005  # below it two amounts are one: they are sums of floats


class Bought(NamedTuple):
    """An order's lines by product; what they cost after discounts, without shipping and tax."""

    quantities: dict[str, float]
    revenue: float | None


def order(record: Record, settings: Settings) -> list[Fact]:
    """What is known of the order as of its last change. Raises Ignored while it is not paid."""
    order_id = fields.identifier(record)
    status = values.text(record.get("status"))
    at = fields.instant(record, "date_modified_gmt", "date_created_gmt")
    if status in GONE:
        return [_told("cancelled", order_id, at)]
    paid = fields.instant(record, "date_paid_gmt")
    facts = _refunds(order_id, status, record, at)
    if paid or status == "completed":
        facts = _placed(order_id, record, at, settings) + facts
    if not facts:
        raise Ignored(f"The order is not paid (its status is {(status or 'unknown')[:40]}).")
    return facts


def deleted(order_id: str) -> list[Fact]:
    """In the trash: it no longer counts."""
    return [_told("cancelled", order_id, None)]


def _told(told: str, order_id: str, at: datetime | None, **more: Any) -> Fact:
    return {"fact": "order", "told": told, "order_id": order_id, "as_of": at, **more}


def _placed(order_id: str, record: Record, at: datetime | None, settings: Settings) -> list[Fact]:
    """The purchase; both ids of its buyer say that they are one person's."""
    user_id = fields.number(record.get("customer_id"))
    visitor = _visitor(record)
    occurred_at = fields.instant(record, "date_paid_gmt", "date_created_gmt")
    bought = _bought(record)
    fact = _told(
        "placed",
        order_id,
        at,
        user_id=user_id,
        anonymous_id=visitor,
        occurred_at=occurred_at,
        product_ids=list(bought.quantities),
        quantities=list(bought.quantities.values()) or None,
        revenue=bought.revenue,
        currency=_currency(record, settings),
    )
    if user_id is None or visitor is None:
        return [fact]
    ids = {"anonymous_id": visitor, "user_id": user_id}
    return [fact, {"fact": "sighting", **ids, "occurred_at": occurred_at}]


def _visitor(record: Record) -> str | None:
    """The browser that placed it, where our plugin knew: the one private meta key that is read."""
    for one in values.objects(record.get("meta_data")):
        if one.get("key") == VISITOR and (found := present(one.get("value"))):
            return found if len(found) <= LONGEST_VISITOR else None
    return None


def _bought(record: Record) -> Bought:
    """`product_id` is the parent's of a variation, and 0 where the product is gone: then only the
    money counts. Lines of one product are one."""
    quantities: dict[str, float] = {}
    totals = []
    for line in values.objects(record.get("line_items")):
        total = values.number(line.get("total"))
        totals += [total] if total is not None else []
        product_id, quantity = fields.number(line.get("product_id")), _quantity(line)
        if product_id and quantity:
            quantities[product_id] = quantities.get(product_id, 0) + quantity
    return Bought(quantities, round(math.fsum(totals), 6) if totals else None)


def _quantity(line: Record) -> float:
    """How many; 1 where it does not say, 0 (not bought) where that is no amount."""
    quantity = values.number(line.get("quantity", 1))
    return quantity if quantity is not None and 0 < quantity <= 1e6 else 0


def _currency(record: Record, settings: Settings) -> str | None:
    return values.currency(record.get("currency")) or values.currency(settings.get("currency"))


def _refunds(order_id: str, status: str | None, record: Record, at: datetime | None) -> list[Fact]:
    """What was paid back: all of it, or each amount. Before WooCommerce 11 an order that was paid
    back in full keeps its status."""
    paid_back, total = _paid_back(record), values.number(record.get("total"))
    is_all = paid_back and total is not None and math.fsum(paid_back.values()) > total - CENT
    if status == "refunded" or is_all:
        return [_told("refunded", order_id, at)]
    return [
        _told("refunded", order_id, at, refund_id=refund_id, revenue=amount)
        for refund_id, amount in paid_back.items()
    ]


def _paid_back(record: Record) -> dict[str, float]:
    """By refund the amount, shipping and tax in it; `total` is negative."""
    found = {}
    for refund in values.objects(record.get("refunds")):
        refund_id, total = fields.number(refund.get("id")), values.number(refund.get("total"))
        if refund_id and total:
            found[refund_id] = abs(total)
    return found
