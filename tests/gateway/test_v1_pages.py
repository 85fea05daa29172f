"""Lists given out page by page, with some chance in their order; through the real application."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import people, tasks
from gateway.jobs import EVERY_SITE
from ranking.catalog import embeddings
from tests.builders import one
from tests.conftest import Shop
from tests.gateway.test_v1_rules import BRANDS, PRODUCTS, Caller
from tests.ranking.market import Words

PATHS: dict[str, dict[str, Any]] = {
    "recommendation/user_to_products": {},
    "recommendation/user_to_trending": {},
    "recommendation/product_to_products": {"product_id": "puma-0"},
    "recommendation/user_to_history": {"anonymous_id": "looked"},
}


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """A shop of shoes; `looked` looked at ten of them, others at some."""
    made = Caller(client, shop)
    told = [("looked", one["product_id"]) for one in PRODUCTS[8:18]]
    told += [(f"v{number}", PRODUCTS[number % 5]["product_id"]) for number in range(12)]
    events = [
        {"type": "product_detail_page_view", "anonymous_id": who, "product_ids": [product_id]}
        for who, product_id in told
    ]
    for path, records in (("products", PRODUCTS), ("interactions", events)):
        status, answered = made.answer(path, key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


@pytest.fixture
def clock() -> Iterator[time_machine.Coordinates]:
    with time_machine.travel(datetime.now(UTC), tick=False) as travelling:
        yield travelling


def page(caller: Caller, path: str, start: int, rows: int = 3, **body: Any) -> list[str]:
    asked = {"pagination_id": "p", "start": start, "rows": rows, "anonymous_id": "pager"}
    asked |= PATHS[path] | body
    return caller.ids(path, **asked)


def pages(caller: Caller, path: str, **body: Any) -> list[list[str]]:
    """Every page up to the end."""
    found = [page(caller, path, 0, **body)]
    while found[-1]:
        found.append(page(caller, path, 3 * len(found), **body))
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("every", [True, False], ids=["every variant", "one variant a group"])
def test_pages_are_the_whole_list_and_no_product_twice(
    caller: Caller, path: str, every: bool
) -> None:
    dedupe = {"dedupe_product_group_id": not every}
    whole = caller.ids(path, **PATHS[path] | dedupe)
    listed = [one for each in pages(caller, path, **dedupe) for one in each]
    assert listed == whole
    assert len(listed) > 5


@pytest.mark.parametrize("path", PATHS)
def test_a_page_asked_for_again_is_the_same_whatever_has_happened(
    caller: Caller, path: str
) -> None:
    who = {"anonymous_id": "looked"}
    first, second = page(caller, path, 0, **who), page(caller, path, 3, **who)
    liked = {"type": "like", "anonymous_id": "looked", "product_ids": [first[0], "nike-7"]}
    caller.answer("interactions", data=[liked])
    assert page(caller, path, 0, **who) == first
    assert page(caller, path, 3, **who) == second
    assert not set(page(caller, path, 6, **who)) & {*first, *second}


def test_pages_nobody_asked_for_are_filled(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    whole = caller.ids(path)
    assert page(caller, path, 6) == whole[6:9]
    assert page(caller, path, 0, rows=8) == whole[:8]


def test_without_a_pagination_id_start_has_no_effect(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    for nothing in ({"pagination_id": ""}, {"pagination_id": None}):
        assert page(caller, path, 5000, **nothing) == page(caller, path, 0, **nothing)


def test_lists_of_others_and_under_other_ids_are_other_lists(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    first = page(caller, path, 0, anonymous_id="x")
    for other in ({"anonymous_id": "y"}, {"anonymous_id": "x", "pagination_id": "q"}):
        assert page(caller, path, 0, **other) == first
    whole = caller.ids("recommendation/user_to_trending", anonymous_id="x")
    assert page(caller, "recommendation/user_to_trending", 0, anonymous_id="x") == whole[:3]


def test_a_list_lapses_after_half_an_hour_without_a_request(
    caller: Caller, clock: time_machine.Coordinates
) -> None:
    path = "recommendation/user_to_products"
    first = page(caller, path, 0)
    for _ in range(2):
        clock.shift(timedelta(minutes=29))
        assert page(caller, path, 0, fq='brand:"puma" OR brand:"avia" OR brand:"nike"')
        assert not set(page(caller, path, 3)) & set(first)
    clock.shift(timedelta(minutes=31))
    assert page(caller, path, 3) == caller.ids(path)[3:6]


NOBODY: dict[str, Any] = {"anonymous_id": None}


def test_pages_without_a_visitor_are_no_strangers(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    plain, whole = page(caller, path, 0, **NOBODY), caller.ids(path)
    likes = {"type": "like", "product_ids": ["nike-7"]}
    for other in (
        {"additional_interactions": [likes]}, {"fq": 'brand:"avia"'}, {"exclude": [plain[0]]},
        {"boost_fq": 'brand:"avia"'}, {"additional_interactions": [likes | {"type": "dislike"}]},
    ):  # fmt: skip
        first = page(caller, path, 0, **NOBODY, **other)
        assert first == caller.ids(path, **other)[:3]
        assert not set(page(caller, path, 3, **NOBODY, **other)) & set(first)
    assert [page(caller, path, start, **NOBODY) for start in (0, 3)] == [plain, whole[3:6]]


def test_pages_of_who_says_who_they_are_are_not_those_of_nobody(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    mine = page(caller, path, 0, anonymous_id="looked")
    assert page(caller, path, 0, **NOBODY) == caller.ids(path)[:3]
    assert page(caller, path, 0, anonymous_id="looked") == mine


def test_pages_of_nobody_lapse_however_often_they_are_asked_for(
    caller: Caller, clock: time_machine.Coordinates
) -> None:
    path = "recommendation/user_to_products"
    first = page(caller, path, 0, **NOBODY)
    popular = {"type": "checkout", "anonymous_id": "b", "product_ids": ["nike-7"], "quantities": 9}
    for _ in range(2):
        clock.shift(timedelta(minutes=14))
        assert page(caller, path, 0, **NOBODY) == first
    assert caller.answer("interactions", data=[popular])[0] == 200
    clock.shift(timedelta(minutes=3))
    with caller.shop.pool.connection() as connection:
        tasks.TASKS["popularity"](connection, caller.shop.site.site_id)
    assert page(caller, path, 0, **NOBODY) == caller.ids(path)[:3] != first


def test_a_page_asked_for_otherwise_begins_anew_there(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    first, _ = page(caller, path, 0), page(caller, path, 3)
    narrowed = page(caller, path, 3, fq='brand:"puma"')
    assert all(one.startswith("puma") for one in narrowed)
    assert not set(narrowed) & set(first)
    everything = page(caller, path, 0, rows=20, fq='brand:"puma"')
    assert everything == caller.ids(path, fq='brand:"puma"')
    assert first[0] not in page(caller, path, 0, exclude=[first[0]])


def test_what_is_sold_out_meanwhile_is_replaced(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    first, second = page(caller, path, 0), page(caller, path, 3)
    sold_out = {"product_id": first[1], "availability": "OUT_OF_STOCK"}
    assert caller.client.patch(
        "/v1/products", json={"data": [sold_out]}, headers={"X-API-KEY": caller.shop.secret_key}
    ).json["data"]  # type: ignore[index]
    again = page(caller, path, 0)
    assert [again[0], again[2]] == [first[0], first[2]]
    assert again[1] not in {*first, *second}


def test_a_flushed_redis_forgets_no_page(caller: Caller, redis_url: str) -> None:
    path = "recommendation/user_to_products"
    first = page(caller, path, 0)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert not set(page(caller, path, 3)) & set(first)


def test_pages_asked_for_at_once_have_no_product_twice(app: Flask, caller: Caller) -> None:
    path = "recommendation/user_to_products"
    found: dict[int, list[str]] = {}

    def ask(start: int) -> None:
        mine = Caller(app.test_client(), caller.shop)
        found[start] = page(mine, path, start, rows=2)

    threads = [threading.Thread(target=ask, args=[start]) for start in (0, 2, 4, 6, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for start in sorted(found) for one in found[start]] == caller.ids(path)[:10]


def test_erasure_takes_a_persons_pages(caller: Caller) -> None:
    count = "select count(*) from paged_lists"
    page(caller, "recommendation/user_to_products", 0, anonymous_id="looked")
    page(caller, "recommendation/user_to_products", 0, anonymous_id="other")
    assert one(caller.shop.pool, count) == 2
    receipt = people.erase(caller.shop.pool, caller.shop.site, "looked")
    assert receipt["rows"]["paged_lists"] == 1
    assert one(caller.shop.pool, count) == 1


def test_the_clock_drops_lists_that_have_lapsed(
    caller: Caller, clock: time_machine.Coordinates
) -> None:
    page(caller, "recommendation/user_to_products", 0)
    clock.shift(timedelta(minutes=20))
    page(caller, "recommendation/user_to_products", 0, pagination_id="young")
    clock.shift(timedelta(minutes=20))
    with caller.shop.pool.connection() as connection:
        assert tasks.TASKS["purge"](connection, EVERY_SITE)["paged_lists"] == 1
    assert one(caller.shop.pool, "select count(*) from paged_lists") == 1


@pytest.mark.parametrize("path", list(PATHS)[:3])
def test_positions_of_boosts_count_over_all_pages(caller: Caller, path: str) -> None:
    boost = {"boost_fq": 'brand:"avia"', "boost_positions": [1, 4, 7]}
    whole = caller.ids(path, **boost)
    assert [one for each in pages(caller, path, **boost) for one in each] == whole
    [lifted] = [
        [at for at, one in enumerate(each["products"]) if one["_boosted"]]
        for each in [caller.data(path, pagination_id="p", start=3, rows=3, **boost)]
    ]
    assert lifted == [1]


def test_boosts_to_the_top_come_before_all_others_over_all_pages(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    # Varied, what comes behind differs from what was given, lifted or not.
    whole = caller.ids(path, boost_fq='brand:"avia"', diversity=0)
    found = pages(caller, path, boost_fq='brand:"avia"', diversity=0)
    assert [one for each in found for one in each] == whole


def test_each_page_explains_itself(caller: Caller) -> None:
    body = {"pagination_id": "p", "rows": 3, "explain": True, "anonymous_id": "looked"}
    for _ in range(2):
        for start in (0, 3):
            products = caller.data("recommendation/user_to_products", start=start, **body)
            told = [one["_explanation"] for one in products["products"]]
            assert [one["position"] for one in told] == [start + 1, start + 2, start + 3]
            assert all(one["because"] for one in told)
            assert products["interests"]["events"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"pagination_id": "p", "start": -1}, "/start"),
        ({"pagination_id": "p", "start": 2001}, "/start"),
        ({"pagination_id": "x" * 513}, "/pagination_id"),
        ({"pagination_id": 7}, "/pagination_id"),
        ({"dithering": 0.5}, "/dithering"),
        ({"dithering": "much"}, "/dithering"),
        ({"seed": ["s"]}, "/seed"),
    ],
    ids=["before", "too deep", "too long", "a number", "none", "no number", "a list"],
)
def test_what_cannot_be_is_refused_where_it_stands(
    caller: Caller, body: dict[str, Any], pointer: str
) -> None:
    status, answered = caller.answer("recommendation/user_to_products", **body)
    assert status == 422
    assert [one["pointer"] for one in answered["problems"]] == [pointer]


# dithering --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(PATHS)[:3])
def test_dithering_moves_products_and_the_seed_says_how(caller: Caller, path: str) -> None:
    plain = caller.ids(path)
    lists = {seed: caller.ids(path, dithering=3, seed=seed) for seed in ("a", "b", 3, 4.5)}
    assert len({tuple(each) for each in lists.values()}) == 4
    assert all(each != plain for each in lists.values())
    assert caller.ids(path, dithering=3, seed="a") == lists["a"]
    assert caller.ids(path, dithering=3, seed="3") == lists[3]
    assert caller.ids(path, dithering=1, seed="a") == plain


def test_dithering_keeps_to_filters_and_loses_nothing(caller: Caller) -> None:
    path = "recommendation/user_to_products"
    asked = {"fq": 'brand:"puma"', "dedupe_product_group_id": False}
    assert sorted(caller.ids(path, dithering=5, **asked)) == sorted(caller.ids(path, **asked))


def test_without_a_seed_a_list_stays_for_a_minute_and_over_its_pages(
    caller: Caller, clock: time_machine.Coordinates
) -> None:
    path = "recommendation/user_to_products"
    clock.move_to(datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC))
    lists = set()
    for _ in range(6):
        lists.add(tuple(caller.ids(path, dithering=3)))
        assert tuple(caller.ids(path, dithering=3)) in lists
        clock.shift(timedelta(minutes=1))
    assert len(lists) > 1
    first = page(caller, path, 0, dithering=3)
    clock.shift(timedelta(minutes=5))
    assert page(caller, path, 0, dithering=3) == first
    listed = [one for each in pages(caller, path, dithering=3) for one in each]
    assert sorted(listed) == sorted(set(listed))
    assert len({one.rpartition("-")[0] for one in listed}) == len(BRANDS)


def test_pages_of_one_seed_are_the_same_whoever_turns_them_and_repeat_nothing(
    caller: Caller,
) -> None:
    path, asked = "recommendation/user_to_products", {"dithering": 4, "seed": "monday"}
    lists = []
    for who in ("x", "y"):
        found = pages(caller, path, anonymous_id=who, pagination_id=f"p-{who}", **asked)
        lists.append([one for each in found for one in each])
    assert lists[0] == lists[1]
    assert sorted(lists[0]) == sorted(set(lists[0]))
    assert {one.rpartition("-")[0] for one in lists[0]} == set(BRANDS)
    other = pages(caller, path, anonymous_id="x", pagination_id="q", dithering=4, seed="tuesday")
    assert [one for each in other for one in each] != lists[0]


moves = st.lists(
    st.tuples(
        st.integers(0, 15),
        st.integers(0, 6),
        st.sampled_from(["", 'brand:"puma" OR brand:"nike"', "sale_price:[20 TO *]"]),
        st.sampled_from([{}, {"boost_fq": 'brand:"avia"', "boost_positions": [0, 5]}]),
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(asked=moves)
def test_however_pages_are_asked_for_each_is_sound(
    caller: Caller, asked: list[tuple[int, int, str, dict[str, Any]]]
) -> None:
    path, number = "recommendation/user_to_products", uuid4()
    for start, rows, fq, boost in asked:
        body = {"fq": fq, "pagination_id": str(number)} | boost
        found = page(caller, path, start, rows, **body)
        assert len(found) == len(set(found)) <= rows
        if fq:
            assert set(found) <= set(caller.ids(path, fq=fq, dedupe_product_group_id=False))
        assert page(caller, path, start, rows, **body) == found
