"""All captured deliveries of WooCommerce, in any order and twice over: one state.

They are told to one source as if the shops were one: their ids are the same, which makes it harder.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from connectors.wordpress.receive import is_ping, topic
from gateway import access, ingest
from ranking.visitors import users
from schemas import database
from tests.builders import rows
from tests.conftest import Shop
from tests.connectors import wordpress_outcomes as expected
from tests.connectors.wordpress_deliveries import FOLDER, Delivery, deliveries, needed

pytestmark = needed
CAPTURED = deliveries() if FOLDER.exists() else []
RECORDS = [told for told in CAPTURED if not is_ping(told.lowered, told.body)]
# Of an order's row what is another in another site, and how often it was told.
OF_THE_SITE = ["site_id", "actor_id", "version"]


@pytest.fixture(autouse=True)
def partitions(shop: Shop) -> None:
    """For when these deliveries came, which may be long ago."""
    with shop.pool.connection() as connection:
        database.make_partitions(connection, at=RECORDS[0].received_at, months_ahead=1)


def state_after(shop: Shop, name: str, told: list[Delivery]) -> dict[str, Any]:
    """What a new site knows that was told all this: products (tombstones too), people, purchases
    and orders."""
    with shop.pool.connection() as connection:
        access.create_site(connection, name)
        site = access.site(connection, name)
        source = access.create_source(connection, site, "wordpress").source
    for each in told:
        deliver(shop, source, each)
    return {"people": _people(shop, site.site_id)} | {
        name: rows(shop.pool, statement, *parameters, site.site_id)
        for name, (statement, *parameters) in STATEMENTS.items()
    }


def deliver(shop: Shop, source: access.Source, told: Delivery) -> None:
    receipt = ingest.deliver(
        shop.pool,
        source,
        topic=topic(told.lowered),
        headers=told.headers,
        body=told.body,
        received_at=told.received_at,
    )
    assert receipt.outcome in ("applied", "ignored", "duplicate"), receipt
    assert not receipt.notes


def _people(shop: Shop, site_id: int) -> dict[str, Any]:
    with shop.pool.connection() as connection:
        known = users.ids(connection, site_id)
        return {user_id: users.get(connection, site_id, user_id) for user_id in known}


STATEMENTS: dict[str, tuple[Any, ...]] = {
    "products": (
        "select product_id, as_of, deleted, available, record from products "
        "where site_id = %s order by 1",
    ),
    "purchases": (
        "select occurred_at, product_ids, quantities, revenue, data from events "
        "where type = 'purchase' and site_id = %s order by 1, 2, 4",
    ),
    "orders": (
        "select to_jsonb(o) - %s::text[], a.kind, a.sent_id from orders o "
        "left join actors a using (site_id, actor_id) where site_id = %s order by o.order_id",
        OF_THE_SITE,
    ),
}


@pytest.fixture
def in_order(shop: Shop) -> dict[str, Any]:
    return state_after(shop, "in-order", RECORDS)


def test_all_of_them_come_to_what_the_reference_says(shop: Shop, in_order: dict[str, Any]) -> None:
    live = [product_id for product_id, _, deleted, *_ in in_order["products"] if not deleted]
    assert live == expected.PRODUCTS
    assert list(in_order["people"]) == expected.USERS


@pytest.mark.parametrize("seed", range(6))
def test_in_any_order_they_come_to_one_state(
    shop: Shop, in_order: dict[str, Any], seed: int
) -> None:
    shuffled = RECORDS[:]
    random.Random(seed).shuffle(shuffled)
    assert state_after(shop, "shuffled", shuffled) == in_order


def test_backwards_they_come_to_one_state(shop: Shop, in_order: dict[str, Any]) -> None:
    assert state_after(shop, "backwards", RECORDS[::-1]) == in_order


@pytest.mark.parametrize("seed", range(2))
def test_twice_over_they_come_to_one_state(shop: Shop, in_order: dict[str, Any], seed: int) -> None:
    twice = RECORDS * 2
    random.Random(seed).shuffle(twice)
    assert state_after(shop, "shuffled", twice) == in_order
    assert state_after(shop, "again", RECORDS + RECORDS) == in_order
