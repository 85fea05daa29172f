"""What is bought together with a product or a cart, through the real application."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg.types.json import Jsonb

from gateway import clock, tasks
from ranking.catalog import embeddings, together
from tests.builders import rows
from tests.conftest import Shop
from tests.gateway.test_v1_rules import Caller
from tests.ranking.market import Words

PATH = "recommendation/product_to_products"
THINGS = ("tent", "rope", "lamp", "boot", "sock", "map")
PRODUCTS = [
    {"product_id": f"{thing}-{size}", "title": f"{thing} {size}", "product_group_id": thing,
     "brand": thing[0]}
    for thing in THINGS for size in ("s", "l")
]  # fmt: skip
START = datetime.now(UTC) - timedelta(days=3)


class Till(Caller):
    """Also buys."""

    def buys(self, who: str, *product_ids: str, minutes: float = 0) -> None:
        at = START + timedelta(minutes=minutes)
        event = {"type": "checkout", "anonymous_id": who, "product_ids": product_ids,
                 "timestamp": at.isoformat()}  # fmt: skip
        status, answered = self.answer("interactions", data=[event])
        assert status == 200, answered

    def counts(self) -> Any:
        with self.shop.pool.connection() as connection:
            return tasks.TASKS["together"](connection, self.shop.site.site_id)

    def together(self, *anchors: str, **body: Any) -> list[str]:
        return self.ids(PATH, product_ids=anchors, buy_together=True, **body)


@pytest.fixture
def till(client: FlaskClient, shop: Shop) -> Till:
    """Camping things in two sizes, encoded; nothing is bought yet."""
    made = Till(client, shop)
    status, answered = made.answer("products", key=shop.secret_key, data=PRODUCTS)
    assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


def test_what_was_bought_in_one_order_comes_first(till: Till) -> None:
    for number in range(3):
        till.buys(f"a{number}", "tent-s", "map-l")
    till.buys("b", "tent-s", "sock-s")
    # Everybody buys boots, so that boots say little.
    till.buys("c", "tent-s", "boot-s")
    for number in range(6):
        till.buys(f"d{number}", "boot-s")
    assert till.counts() == {"pairs": 6, "baskets": 11}
    products = till.products(PATH, product_id="tent-s", buy_together=True, explain=True)
    assert [one["product_id"] for one in products][:3] == ["map-l", "sock-s", "boot-s"]
    parts = [set(one["_explanation"]["parts"]) for one in products]
    assert parts[:4] == [{"together"}, {"together"}, {"together"}, {"likeness"}]
    scores = [one["_personalization_score"] for one in products]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(3 / 15**0.5 * 3 / 5)
    # The rest fills up by likeness, one of each group.
    assert {one["product_group_id"] for one in products} == set(THINGS) - {"tent"}


def test_bought_within_half_an_hour_is_bought_together(till: Till) -> None:
    till.buys("a", "rope-s")
    till.buys("a", "lamp-s", minutes=29)
    till.buys("a", "boot-s", minutes=58)
    till.buys("a", "sock-s", minutes=89)
    till.buys("b", "map-s", minutes=1)
    assert till.counts() == {"pairs": 6, "baskets": 3}
    assert set(till.together("rope-s", rows=2)) == {"lamp-s", "boot-s"}
    pairs = rows(till.shop.pool, "select count(*) from bought_together where score > 0")
    assert pairs == [(6,)]


def test_without_it_likeness_decides(till: Till) -> None:
    till.buys("a", "tent-s", "map-l")
    till.counts()
    body = {"product_id": "tent-s", "explain": True}
    for asked in ({}, {"buy_together": False}):
        parts = [one["_explanation"]["parts"] for one in till.products(PATH, **body, **asked)]
        assert all(set(one) == {"likeness"} for one in parts)


def test_a_cart_finds_what_goes_with_all_of_it(till: Till) -> None:
    till.buys("a", "tent-s", "map-l", "lamp-s")
    till.buys("b", "rope-s", "map-l")
    till.buys("c", "rope-s", "sock-s")
    till.counts()
    assert till.together("tent-s", "rope-s")[0] == "map-l"
    assert not {"tent", "rope"} & {one.split("-")[0] for one in till.together("tent-s", "rope-s")}


def test_another_variant_stands_for_what_was_bought(till: Till) -> None:
    till.buys("a", "tent-s", "map-l")
    till.counts()
    assert till.together("tent-l")[0] == "map-l"
    body = {"product_group_id": "tent", "buy_together": True, "rows": 1}
    assert till.ids(PATH, **body) == ["map-l"]


def test_filters_and_what_is_left_out_hold(till: Till) -> None:
    for number in range(3):
        till.buys(f"a{number}", "tent-s", "map-l")
    till.buys("b", "tent-s", "sock-s")
    till.counts()
    assert till.together("tent-s", exclude=["map-l"])[0] == "sock-s"
    assert till.together("tent-s", fq='brand:"r"', dedupe_product_group_id=False) == [
        "rope-s", "rope-l",
    ]  # fmt: skip
    till.client.patch(
        "/v1/products/map-l", json={"availability": "OUT_OF_STOCK"},
        headers={"X-API-KEY": till.shop.secret_key},
    )  # fmt: skip
    assert till.together("tent-s", rows=1) == ["sock-s"]
    lifted = till.products(PATH, product_id="tent-s", buy_together=True, boost_fq='brand:"b"')
    assert lifted[0]["product_group_id"] == "boot"


def test_what_was_never_bought_is_like_and_an_unknown_product_not_found(till: Till) -> None:
    assert till.together("tent-s") == till.ids(PATH, product_id="tent-s")
    assert till.answer(PATH, product_id="nobody's", buy_together=True)[0] == 404
    assert till.answer(PATH, product_id="tent-s", buy_together="yes")[0] == 422


def test_pages_of_what_is_bought_together_are_a_list_of_their_own(till: Till) -> None:
    till.buys("a", "tent-s", "map-l")
    till.counts()
    whole = till.together("tent-s")
    pages = [till.together("tent-s", pagination_id="p", start=n, rows=2) for n in range(0, 6, 2)]
    assert [one for page in pages for one in page] == whole
    like = till.ids(PATH, product_ids=["tent-s"])
    assert till.ids(PATH, product_ids=["tent-s"], pagination_id="p", rows=9) == like


def test_counted_anew_what_was_taken_back_is_gone(till: Till) -> None:
    till.buys("a", "tent-s", "map-l")
    till.buys("b", "tent-s", "sock-s")
    till.counts()
    headers = {"X-API-KEY": till.shop.secret_key}
    assert till.client.post("/admin/v1/erase", json={"id": "a"}, headers=headers).status_code == 200
    assert till.counts() == {"pairs": 2, "baskets": 1}
    assert till.together("tent-s", rows=1) == ["sock-s"]


def test_of_a_large_basket_a_part_counts_and_of_a_product_the_best(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "MOST_PRODUCTS", 4)
    monkeypatch.setattr(together, "KEPT", 2)
    till.buys("a", *(one["product_id"] for one in PRODUCTS))
    assert till.counts() == {"pairs": 8, "baskets": 1}


class Clock:
    """Says whether the counting is due, and remembers one."""

    def __init__(self, till: Till) -> None:
        self.till, self.site, self.at = till, till.shop.site.site_id, datetime.now(UTC)
        [self.task] = [one for one in clock.TASKS if one.name == "together"]

    def is_due(self, after: timedelta = timedelta()) -> bool:
        with self.till.shop.pool.connection() as connection:
            return self.site in self.task.due(connection, self.at + after)

    def counted(self, slot: timedelta, *, took: timedelta = timedelta()) -> None:
        """A run of then, which found what there is."""
        with self.till.shop.pool.connection() as connection:
            connection.execute(
                "insert into task_runs (site_id, task, slot, state, started_at, finished_at, "
                "report) values (%s, 'together', %s, 'done', %s, %s, %s)",
                [self.site, self.at + slot, self.at, self.at + took, Jsonb(self.till.counts())],
            )

    def passes(self, by: timedelta) -> None:
        """What was received until now came so much later."""
        with self.till.shop.pool.connection() as connection:
            connection.execute("update deliveries set received_at = received_at + %s", [by])


MINUTE = timedelta(minutes=1)


def test_the_clock_counts_where_something_came_in(till: Till) -> None:
    clock = Clock(till)
    assert clock.is_due()
    clock.counted(5 * MINUTE)
    assert not clock.is_due(timedelta(hours=1))
    assert clock.is_due(timedelta(hours=25))
    till.buys("a", "tent-s")
    clock.passes(6 * MINUTE)
    assert clock.is_due(66 * MINUTE)


def test_the_first_orders_are_counted_within_a_minute(till: Till) -> None:
    clock = Clock(till)
    clock.counted(5 * MINUTE)
    assert not clock.is_due(6 * MINUTE)
    till.buys("a", "tent-s", "map-l")
    clock.passes(6 * MINUTE)
    assert clock.is_due(7 * MINUTE)


def test_orders_after_the_first_are_counted_when_they_are_as_many_again_or_within_an_hour(
    till: Till,
) -> None:
    clock = Clock(till)
    for number in range(4):
        till.buys(f"a{number}", "tent-s", "map-l")
    clock.counted(5 * MINUTE)
    with till.shop.pool.connection() as connection:
        connection.execute("delete from deliveries")
    for number in range(4):
        till.buys(f"b{number}", "tent-s", "map-l")
    clock.passes(6 * MINUTE)
    assert not clock.is_due(7 * MINUTE)
    assert clock.is_due(65 * MINUTE)
    till.buys("c", "tent-s", "map-l")
    with till.shop.pool.connection() as connection:
        connection.execute("update deliveries set received_at = %s", [clock.at + 6 * MINUTE])
    assert clock.is_due(7 * MINUTE)


def test_where_counting_takes_long_the_next_one_waits(till: Till) -> None:
    clock = Clock(till)
    clock.counted(5 * MINUTE, took=MINUTE)
    till.buys("a", "tent-s", "map-l")
    clock.passes(6 * MINUTE)
    assert not clock.is_due(20 * MINUTE)
    assert clock.is_due(26 * MINUTE)
