"""One order is one purchase, whoever tells of it, whatever comes first, however often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import access
from ranking.visitors import orders
from tests.builders import ago, deliver, one, rows, track
from tests.conftest import Shop

AT = datetime(2026, 11, 1, tzinfo=UTC)
USER, DEVICE = UUID(int=1), UUID(int=2)
SEGMENT, SHOP = 1, 2
STATE = (
    "select order_id, status, placed_at, revenue, refunded, currency, lines, actor_id, event_at "
    "from orders order by 1",
    "select event_id, occurred_at, actor_id, anonymous_actor_id, product_ids, quantities, revenue "
    "from events where type = 'purchase' order by 1",
    "select actor_id, visitor_id from members order by 1",
)


def telling(told: str = "placed", hours: int = 0, **fields: Any) -> orders.Telling:
    content = {"product_ids": ["p1", "p2"], "quantities": [2, 1], "revenue": 30.0}
    values: dict[str, Any] = {
        "order_id": "o1",
        "source_id": SEGMENT,
        "told": told,
        "reference": "",
        "trust": orders.BACKEND,
        "as_of": AT + timedelta(hours=hours),
        "told_hash": UUID(int=hours),
        "occurred_at": AT,
        "user_actor_id": USER,
        "anonymous_actor_id": None,
        "content": content if told == "placed" else {},
        "delivery_id": UUID(int=9),
        "position": 0,
        "received_at": AT,
    }
    return orders.Telling(**values | fields)


def settled(*tellings: orders.Telling) -> orders.Order:
    return orders.settled("o1", tellings)


def test_an_order_is_what_its_newest_telling_says() -> None:
    updated = telling(hours=1, content={"product_ids": ["p1"], "quantities": [1], "revenue": 9.0})
    order = settled(updated, telling())
    assert (order.status, order.revenue) == ("placed", 9.0)
    assert order.lines == [orders.Line("p1", 1)]


def test_a_platform_is_believed_before_whoever_told_later() -> None:
    platform = telling(
        source_id=SHOP, trust=orders.PLATFORM,
        content={"product_ids": ["p1"], "quantities": [3], "revenue": 40.0},
    )  # fmt: skip
    order = settled(telling(hours=5), platform)
    assert order.revenue == 40.0 and order.lines == [orders.Line("p1", 3)]


def test_what_the_platform_does_not_know_comes_from_others() -> None:
    nobody = telling(source_id=SHOP, trust=orders.PLATFORM, user_actor_id=None,
                     anonymous_actor_id=DEVICE)  # fmt: skip
    order = settled(nobody, telling())
    assert (order.user_actor_id, order.anonymous_actor_id) == (USER, DEVICE)


def test_refunds_of_lines_leave_the_rest() -> None:
    back = telling("refunded", reference="r1",
                   content={"product_ids": ["p1"], "quantities": [1], "revenue": 10.0})  # fmt: skip
    order = settled(back, telling())
    assert (order.status, order.refunded) == ("partly_refunded", 10.0)
    assert [line.returned for line in order.lines] == [1.0, 0.0]


def test_two_sources_that_tell_of_one_refund_return_it_once() -> None:
    of_one = {"product_ids": ["p1"], "quantities": [1], "revenue": 10.0}
    order = settled(
        telling(),
        telling("refunded", reference="m1", content=of_one),
        telling("refunded", reference="77", source_id=SHOP, trust=3, content=of_one),
    )
    assert order.refunded == 10.0 and order.lines[0].returned == 1.0


def test_a_refund_of_everything_is_no_purchase() -> None:
    for everything in (
        telling("refunded", reference="r"),
        telling("refunded", reference="r", content={"product_ids": ["p1", "p2"],
                                                    "quantities": [5, 1]}),
    ):  # fmt: skip
        order = settled(everything, telling())
        assert order.status == "refunded" and not order.counts


def test_a_cancelled_order_stays_so_unless_its_platform_placed_it_again() -> None:
    late = telling(hours=9)
    assert settled(telling("cancelled", hours=1), late).status == "cancelled"
    platform = {"source_id": SHOP, "trust": orders.PLATFORM}
    cancelled = telling("cancelled", hours=1, **platform)
    assert settled(cancelled, telling(**platform)).status == "cancelled"
    assert settled(cancelled, telling(hours=2, **platform)).status == "placed"


def test_what_undoes_an_unknown_order_waits_for_it() -> None:
    assert settled(telling("refunded", reference="r")).status is None
    assert settled(telling("cancelled")).counts is False


# through the door ---------------------------------------------------------------------------------


def completed(order_id: str, **fields: Any) -> dict[str, Any]:
    properties = {
        "order_id": order_id,
        "revenue": 30,
        "currency": "eur",
        "products": [{"product_id": "p1", "quantity": 2}, {"product_id": "p2"}],
    }
    return track("Order Completed", properties=properties | fields.pop("more", {}), **fields)


def of(shop: Shop, order_id: str) -> dict[str, Any]:
    with shop.pool.connection() as connection:
        found = orders.get(connection, shop.site.site_id, order_id)
    assert found is not None
    return found


def test_two_messages_of_one_order_are_one_purchase(shop: Shop) -> None:
    receipt = deliver(shop.pool, shop.segment, [completed("o1"), completed("o1")])
    assert (receipt.applied, receipt.duplicate) == (2, 0)
    assert one(shop.pool, "select count(*) from events where type = 'purchase'") == 1
    found = of(shop, "o1")
    assert (found["count"], found["revenue"], found["currency"]) == (1, 30, "EUR")
    assert found["status"] == "placed" and found["anonymous_id"] == "a1"


def test_a_message_sent_again_is_a_duplicate(shop: Shop) -> None:
    message = completed("o1")
    deliver(shop.pool, shop.segment, message)
    assert deliver(shop.pool, shop.segment, message).duplicate == 1


def test_an_erased_persons_order_is_nobodys_and_late_copies_name_nobody(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, completed("o1", userId="u1"))
    erase = {"type": "delete", "userId": "u1", "messageId": "e", "timestamp": ago(seconds=1)}
    deliver(shop.pool, shop.segment, erase)
    assert rows(shop.pool, "select 1 from events") == []
    assert of(shop, "o1")["user_id"] is None and of(shop, "o1")["count"] == 1
    deliver(shop.pool, shop.segment, completed("o1", userId="u1", timestamp=ago(minutes=2)))
    assert rows(shop.pool, "select 1 from events") == []
    assert rows(shop.pool, "select sent_id from actors where sent_id is not null") == []


def test_an_order_that_another_source_names_somebodys_joins_the_ids(shop: Shop) -> None:
    with shop.pool.connection() as connection:
        second = access.create_source(connection, shop.site, "segment").source
    deliver(shop.pool, shop.segment, [track(), completed("o1")])
    deliver(shop.pool, second, completed("o1", anonymousId=None, userId="u1"))
    assert len(rows(shop.pool, "select 1 from members")) == 2
    assert of(shop, "o1")["user_id"] == "u1"


PEOPLE = st.sampled_from([{"userId": "u1"}, {"anonymousId": "a1"}, {"anonymousId": "a2"},
                          {"userId": "u2", "anonymousId": "a1"}])  # fmt: skip
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["o1", "o2"]), st.integers(1, 40), st.integers(0, 1), PEOPLE),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=MESSAGES, order=st.randoms(use_true_random=False))
def test_any_order_of_messages_comes_to_one_state(shop: Shop, sent, order) -> None:  # type: ignore[no-untyped-def]
    with shop.pool.connection() as connection:
        sources = [shop.segment, access.create_source(connection, shop.site, "segment").source]
    start = datetime.now(UTC) - timedelta(days=1)
    made = [
        (sources[source], completed(order_id, messageId=f"m{n}", anonymousId=None,
                                    timestamp=(start + timedelta(minutes=minutes)).isoformat(),
                                    more={"revenue": minutes}) | person)
        for n, (order_id, minutes, source, person) in enumerate(sent)
    ]  # fmt: skip
    found = []
    for _ in range(3):
        with shop.pool.connection() as connection:
            for table in ("events", "event_keys", "members", "identity_edges", "actors", "orders",
                          "order_tellings", "order_people"):  # fmt: skip
                connection.execute(f"delete from {table}")
        for source, message in made:
            deliver(shop.pool, source, message)
        found.append([rows(shop.pool, statement) for statement in STATE])
        order.shuffle(made)
        made += made[:1]  # somebody repeats themselves
    assert found[0] == found[1] == found[2]
