"""Segment's order events: the purchase, and what becomes of it later."""

from __future__ import annotations

from typing import Any

from connectors import values
from connectors.segment.events import Row
from connectors.segment.message import Fact, Line, Message, currency_of, event, order_id_of
from connectors.segment.products import as_custom, many, one_or_many, provisional


def completed(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """What was bought, one event an order; products of one id are one line."""
    lines = _lines(message, properties)
    fact = event(message, row.type, properties, lines)
    fact["revenue"] = _amount(properties)
    return [fact, *provisional(message, lines)]


def updated(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """The order's lines as they are now; no second purchase, and no new interest in its products.
    Without lines there is nothing to replace them by."""
    lines = _lines(message, properties)
    fact = event(message, row.type, properties, []) | {"custom_action_name": row.action}
    if not lines or order_id_of(properties) is None:
        return [fact]
    order = _told(message, "placed", properties, lines) | {"revenue": _amount(properties)}
    return [fact, order, *provisional(message, lines)]


def refunded(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """Of the products in it so many came back; none named: the whole order did. `total` is with
    shipping and tax, which an order's revenue is not, so only `revenue` says what was paid back."""
    lines = _lines(message, properties)
    if not lines and (
        order_id_of(properties) is None or values.objects(properties.get("products"))
    ):
        return [as_custom(message, row, properties)]  # of nothing, or of products that have no id
    fact = event(message, row.type, properties, lines)
    if order_id_of(properties) is None:
        return [fact]
    paid_back = values.number(properties.get("revenue")) if lines else None
    order = _told(message, "refunded", properties, lines) | {
        "refund_id": message.message_id,
        "revenue": abs(paid_back) if paid_back is not None else None,
    }
    return [fact, order]


def cancelled(message: Message, row: Row, properties: dict[str, Any]) -> list[Fact]:
    """The order no longer counts, whatever products it names."""
    lines = _lines(message, properties)
    is_known = order_id_of(properties) is not None
    if not lines and not is_known:
        return [as_custom(message, row, properties)]
    fact = event(message, row.type, properties, lines)
    return [fact, _told(message, "cancelled", properties, [])] if is_known else [fact]


def _lines(message: Message, properties: dict[str, Any]) -> list[Line]:
    return many(message, properties) or one_or_many(message, properties)


def _amount(properties: dict[str, Any]) -> float | None:
    amounts = (values.number(properties.get(name)) for name in ("revenue", "total", "value"))
    return next((amount for amount in amounts if amount is not None), None)


def _told(message: Message, told: str, properties: dict[str, Any], lines: list[Line]) -> Fact:
    """What is told of an order that has an id; no address and no agent of whoever placed it."""
    return {
        "fact": "order",
        "order_id": order_id_of(properties),
        "told": told,
        **message.ids(),
        "as_of": message.at,
        "product_ids": [line.product_id for line in lines],
        "quantities": [line.quantity for line in lines] or None,
        "currency": currency_of(properties),
    }
