"""A shop's day, told by its platform, by Segment and by its pages, in any order and repeated: one
state. People log in, share devices, are merged; orders are paid, changed, refunded, cancelled."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from connectors.shopify import receive
from gateway import access, ingest
from gateway.reading import CLAIMED
from tests.builders import rows
from tests.conftest import Shop

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
RECEIVED = NOON + timedelta(hours=13)
PRODUCTS, BUYERS, ORDERS = 6, 5, 12
STATE = {
    "events": (
        "select e.event_id, e.occurred_at, e.type, e.product_ids, e.quantities, e.revenue, "
        "e.data, a.sent_id, b.sent_id from events e "
        "left join actors a using (site_id, actor_id) "
        "left join actors b on b.site_id = e.site_id and b.actor_id = e.anonymous_actor_id "
        "order by 1"
    ),
    "orders": "select to_jsonb(o) - 'version' from orders o order by order_id",
    "members": "select actor_id, visitor_id from members order by 1",
    "products": (
        "select product_id, as_of, deleted, provisional, available, record from products order by 1"
    ),
    "people": "select user_id, name, as_of, value from user_traits order by 1, 2",
}
EMPTIED = (
    "events", "event_keys", "members", "identity_edges", "actors", "orders", "order_tellings",
    "order_people", "products", "product_groups", "products_to_encode", "user_traits",
    "stock_items", "stock_levels", "deliveries", "delivery_problems",
)  # fmt: skip


class Told(NamedTuple):
    """One delivery: of which source, with which headers, and its body."""

    source: str
    headers: dict[str, str]
    body: Any


def at(minutes: int) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


def segment(number: int, minutes: int, **message: Any) -> Told:
    body = {"messageId": f"s{number}", "timestamp": at(minutes)} | message
    return Told("segment", {}, body)


def shopify(number: int, topic: str, minutes: int, **record: Any) -> Told:
    headers = {
        "X-Shopify-Topic": topic,
        "X-Shopify-Webhook-Id": f"w{number}",
        "X-Shopify-Triggered-At": at(minutes),
        "X-Shopify-Shop-Domain": "shop.myshopify.com",
    }
    return Told("shopify", headers, record)


def pixel(number: int, minutes: int, name: str, client: str, **data: Any) -> Told:
    event = {"id": f"e{number}", "name": name, "type": "standard", "clientId": client,
             "timestamp": at(minutes), "data": data}  # fmt: skip
    return Told("browser", {CLAIMED: "1"}, event)


def day(chance: random.Random) -> list[Told]:
    told = [*_catalog(chance), *_visits(chance), *_orders(chance)]
    told += [
        shopify(900, "customers/merge", 300, status="completed",
                admin_graphql_api_customer_kept_id="gid://shopify/Customer/1",
                admin_graphql_api_customer_deleted_id="gid://shopify/Customer/2"),
        segment(901, 310, type="alias", previousId="9", userId="3"),
        shopify(902, "inventory_levels/update", 400, inventory_item_id=701, location_id=1,
                available=0, updated_at=at(400)),
    ]  # fmt: skip
    return told


def _catalog(chance: random.Random) -> Iterator[Told]:
    for product in range(1, PRODUCTS + 1):
        for change in range(3):
            minutes = 10 * product + 90 * change + chance.randrange(5)
            variants = [
                {"id": 100 * product + n, "price": f"{5 + change}.00", "title": f"V{n}",
                 "inventory_item_id": 700 + product, "inventory_management": "shopify",
                 "inventory_policy": "deny", "inventory_quantity": 3 - change}
                for n in range(1 + chance.randrange(3))
            ]  # fmt: skip
            yield shopify(
                10 * product + change, "products/update", minutes, id=product + 50,
                title=f"Thing {product}", status="active", published_at=at(0),
                updated_at=at(minutes), variants=variants,
            )  # fmt: skip
    yield shopify(99, "products/delete", 500, id=52)


def _visits(chance: random.Random) -> Iterator[Told]:
    for number in range(24):
        device, product = f"c{chance.randrange(6)}", chance.randrange(1, PRODUCTS + 1)
        variant = {"id": str(100 * product), "title": "V0", "product": {"id": str(product + 50)}}
        yield pixel(number, number * 7, "product_viewed", device, productVariant=variant)
    for number in range(8):
        who = {"userId": str(chance.randrange(1, BUYERS)), "anonymousId": f"c{number % 6}"}
        yield segment(100 + number, 100 + number, type="identify",
                      traits={"city": f"C{number}"}, **who)  # fmt: skip


def _orders(chance: random.Random) -> Iterator[Told]:
    for number in range(1, ORDERS + 1):
        minutes, buyer = 200 + 9 * number, chance.randrange(BUYERS + 1)
        yield from _told_by_shopify(chance, number, minutes, buyer)
        lines = [{"product_id": "100", "quantity": 1}]
        who = chance.choice([{"userId": str(buyer or 1)}, {"anonymousId": f"c{number % 6}"}])
        yield segment(
            200 + number, minutes + 1, type="track", event="Order Completed",
            properties={"order_id": str(number), "revenue": 1, "products": lines}, **who,
        )  # fmt: skip
        if chance.random() < 0.3:
            undone = chance.choice(["Order Refunded", "Order Cancelled"])
            yield segment(300 + number, minutes + 50, type="track", event=undone,
                          properties={"order_id": str(number)}, **who)  # fmt: skip
        checkout = {"token": f"t{number}", "order": {"id": str(number)}, "lineItems": []}
        yield pixel(500 + number, minutes, "checkout_completed", f"c{number % 6}",
                    checkout=checkout)  # fmt: skip


def _told_by_shopify(
    chance: random.Random, number: int, minutes: int, buyer: int
) -> Iterator[Told]:
    order = {
        "id": number, "created_at": at(minutes), "updated_at": at(minutes), "currency": "EUR",
        "subtotal_price": "30.00", "checkout_token": f"t{number}", "cart_token": f"k{number}",
        "customer": {"id": buyer} if buyer else None,
        "line_items": [{"id": 1, "product_id": 51, "variant_id": 100, "quantity": 3}],
    }  # fmt: skip
    yield shopify(1000 + number, "orders/create", minutes, **order)
    yield shopify(1100 + number, "orders/paid", minutes + 1, **order | {"updated_at": at(minutes)})
    if chance.random() < 0.3:
        changed = {"updated_at": at(minutes + 20), "subtotal_price": "20.00"}
        yield shopify(1200 + number, "orders/updated", minutes + 20, **order | changed)
    if chance.random() < 0.3:
        back = [{"line_item_id": 1, "quantity": 1, "subtotal": 10,
                 "line_item": order["line_items"][0]}]  # fmt: skip
        yield shopify(1300 + number, "refunds/create", minutes + 40, id=number, order_id=number,
                      created_at=at(minutes + 40), refund_line_items=back)  # fmt: skip
    if chance.random() < 0.2:
        gone = {"cancelled_at": at(minutes + 60), "updated_at": at(minutes + 60)}
        yield shopify(1400 + number, "orders/cancelled", minutes + 60, **order | gone)


@pytest.fixture
def sources(shop: Shop) -> dict[str, access.Source]:
    with shop.pool.connection() as connection:
        made = access.create_source(connection, shop.site, "shopify").source
    return {"segment": shop.segment, "shopify": made, "browser": made}


def state_after(
    shop: Shop, sources: dict[str, access.Source], told: list[Told]
) -> dict[str, list[Any]]:
    with shop.pool.connection() as connection:
        for table in EMPTIED:
            connection.execute(f"delete from {table}")  # type: ignore[call-overload]
    for one in told:
        lowered = {name.lower(): value for name, value in one.headers.items()}
        topic = {"browser": "browser", "shopify": receive.topic(lowered)}.get(one.source)
        receipt = ingest.deliver(
            shop.pool,
            sources[one.source],
            topic=topic,
            headers=one.headers,
            body=json.dumps(one.body).encode(),
            received_at=RECEIVED,
        )
        assert not receipt.refused and not receipt.failed, (one, receipt)
    return {name: rows(shop.pool, statement) for name, statement in STATE.items()}


def check(shop: Shop, sources: dict[str, access.Source], shuffles: int) -> None:
    chance = random.Random(7)
    told = day(chance)
    first = state_after(shop, sources, told)
    statuses = {order["status"] for (order,) in first["orders"]}
    assert statuses == {"placed", "partly_refunded", "refunded", "cancelled"}
    assert len(first["orders"]) == ORDERS and len({row[1] for row in first["members"]}) > 2
    assert len([row for row in first["events"] if row[2] == "purchase"]) <= ORDERS
    for seed in range(shuffles):
        shuffled = told + chance.sample(told, 10)
        random.Random(seed).shuffle(shuffled)
        found = state_after(shop, sources, shuffled)
        for name in STATE:
            assert found[name] == first[name], (name, seed)


def test_a_day_in_any_order_is_one_state(shop: Shop, sources: dict[str, access.Source]) -> None:
    check(shop, sources, 4)


@pytest.mark.heavy
def test_a_day_in_a_hundred_orders_is_one_state(
    shop: Shop, sources: dict[str, access.Source]
) -> None:
    check(shop, sources, 100)
