"""Replaying every kept delivery, twice and in any order, changes neither state nor ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import connectors
from gateway import ingest
from tests.builders import ago, deliver, identify, rows, track
from tests.conftest import Shop
from tests.faults import traffic
from tests.faults.state import assert_equal_states, ledger, state

pytestmark = pytest.mark.usefixtures("environment")

ORDER = {"order_id": "o1", "total": 9, "products": [{"product_id": "p1", "quantity": 2}]}
LIKE = {"type": "like", "product_ids": ["p1"], "anonymous_id": "a2"}

# One of everything that can become of a delivery: (topic of the API or None for Segment, body).
DAY: list[tuple[str | None, Any]] = [
    (None, [track(product=f"p{n}", messageId=f"r{n}", timestamp=ago(hours=n)) for n in range(60)]),
    (None, track("Order Completed", properties=ORDER, userId="u1", timestamp=ago(hours=2))),
    (None, track("Order Completed", properties=ORDER, userId="u1", timestamp=ago(hours=1))),
    (None, identify("u1", "a1", traits={"age": 3}, timestamp=ago(hours=5))),
    (None, identify("u2", "a1", traits={"age": 4}, timestamp=ago(hours=6))),
    (None, {"type": "alias", "messageId": "ra", "previousId": "a9", "userId": "u1"}),
    (None, {"type": "page", "anonymousId": "a1"}),
    (None, {"type": "page", "anonymousId": "a1"}),
    (None, [track(messageId="twice"), track(messageId="twice"), {"type": "nonsense"}, 17]),
    (None, track(messageId="old", timestamp=ago(days=4000))),
    (None, b'{"type": "track"'),
    (None, {"type": "delete", "userId": "u3", "messageId": "rd", "timestamp": ago(hours=1)}),
    (None, track(userId="u3", anonymousId=None, messageId="late", timestamp=ago(hours=2))),
    ("interactions", {"data": [LIKE, LIKE, {"type": "nonsense"}]}),
    ("interactions", {"data": [LIKE | {"timestamp": ago(minutes=3)}]}),
    ("products", {"data": [{"product_id": "p1", "title": "Mug", "updated_at": ago(hours=3)}]}),
    ("products", {"data": [{"product_id": "p1", "title": "Cup", "updated_at": ago(hours=4)}]}),
    ("products", {"data": [{"product_id": "p2", "title": "Hat"}]}),
    ("products/_delete", {"data": {"product_ids": ["p2"]}}),
    ("users", {"data": [{"user_id": "u1", "name": "Ann", "updated_at": ago(hours=3)}]}),
    ("users/_delete", {"data": {"user_ids": ["u1"]}}),
    ("products", {"data": [{"product_id": "p3", "title": "Bag", "updated_at": ago(hours=3)}]}),
    ("products/_patch", {"data": [{"product_id": "p3", "sale_price": 5}, {"product_id": "none"}]}),
    ("products/_patch", {"data": [{"product_id": "p3", "title": "Sack", "sale_price": None}]}),
    ("interactions", {"data": [LIKE | {"user_id": "u9", "timestamp": ago(hours=1)}]}),
    ("interactions/_delete", {"user_ids": ["u9"]}),
    ("interactions", {"data": [LIKE | {"user_id": "u9", "timestamp": ago(hours=2)}]}),
]  # fmt: skip
FIXTURES = sorted(
    path
    for path in Path(connectors.__path__[0]).glob("segment/fixtures/*.json")
    if not path.name.endswith(".expected.json")
)
MIXED = 150


@pytest.mark.parametrize("seed", range(3))
def test_two_replays_of_everything_change_nothing(shop: Shop, seed: int) -> None:
    everything = [*DAY, *((None, path.read_bytes()) for path in FIXTURES), *mixed(Random(seed))]
    for topic, body in everything:
        deliver(shop.pool, shop.api if topic else shop.segment, body, topic)
    before, sums, events = state_of(shop), ledger_of(shop), places(shop)
    assert {"applied", "duplicate", "ignored", "refused"} <= set(outcomes(shop))
    kept = rows(shop.pool, "select source_id, delivery_id from deliveries") * 2
    Random(seed).shuffle(kept)
    sources = {source.source_id: source for source in (shop.segment, shop.api)}
    for source_id, delivery_id in kept:
        ingest.replay(shop.pool, sources[source_id], delivery_id)
    assert_equal_states(state_of(shop), before)
    assert ledger_of(shop) == sums
    assert places(shop) == events
    assert open_problems(shop) == sums["ignored"] + sums["refused"]


def test_an_old_link_brings_no_later_erasure_to_whom_an_earlier_one_reached(shop: Shop) -> None:
    """Anonymous a1 was somebody's, who was erased with it; what a1 did since is nobody's."""
    link = identify("u1", "a1", timestamp=ago(hours=5))
    first, second = (
        {"type": "delete", "userId": "u1", "messageId": f"gone-{n}", "timestamp": ago(hours=n)}
        for n in (4, 2)
    )
    for body in (link, first, track(messageId="since", timestamp=ago(hours=3)), second, link):
        deliver(shop.pool, shop.segment, body)
    assert rows(shop.pool, "select message_id from events") == [("since",)]


def mixed(random: Random) -> Iterator[tuple[str | None, Any]]:
    """A busy day: events, uploads of each kind, single fields, deletions, people erased. Fields of
    products that stay: what was refused for want of a product may be applied once there is one."""
    single, batches = traffic.messages(random), traffic.batches(random)
    interactions, products = traffic.interactions(random), traffic.products(random)
    yield "products", {"data": [{"product_id": f"kept-{n}", "title": "Cap"} for n in range(9)]}
    for _ in range(MIXED):
        product, user = f"p{random.randrange(9)}", f"u{random.randrange(traffic.USERS)}"
        yield random.choice(
            [
                (None, next(single)[0]),
                (None, next(batches)),
                ("interactions", {"data": next(interactions)}),
                ("products", {"data": next(products)}),
                ("products", {"data": [{"product_id": product, "title": f"Hat {product}"}]}),
                ("products/_patch", {"data": [{"product_id": f"kept-{user[1:]}", "rating": 3}]}),
                ("products/_delete", {"data": {"product_ids": [product]}}),
                ("users", {"data": [{"user_id": user, "name": "Ann"}]}),
                ("users/_delete", {"data": {"user_ids": [user]}}),
                ("interactions/_delete", {"user_ids": [user]}),
            ]
        )


def state_of(shop: Shop) -> dict[str, list[tuple[Any, ...]]]:
    with shop.pool.connection() as connection:
        return state(connection, shop.site.site_id)


def ledger_of(shop: Shop) -> dict[str, int]:
    with shop.pool.connection() as connection:
        return ledger(connection, shop.site.site_id)


def places(shop: Shop) -> list[tuple[Any, ...]]:
    """Where each event came from: the first delivery that told of it."""
    return rows(shop.pool, "select event_id, delivery_id, position from events order by 1")


def outcomes(shop: Shop) -> list[str]:
    return [row[0] for row in rows(shop.pool, "select outcome from deliveries")]


def open_problems(shop: Shop) -> int:
    statement = "select count(*) from delivery_problems where resolved_at is null"
    return int(rows(shop.pool, statement)[0][0])
