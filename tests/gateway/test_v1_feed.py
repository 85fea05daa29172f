"""The mixed list without an end, and whom products may interest; through the real application."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient

from ranking import audience
from ranking.catalog import embeddings, popularity
from ranking.strategies import feed
from tests.builders import one
from tests.conftest import Shop
from tests.gateway.test_v1_rules import Caller
from tests.ranking.market import Words

PRODUCTS = [
    {"product_id": f"{color}-{thing}", "title": f"{color} {thing}", "brand": color,
     "product_group_id": f"{color}-{thing[0]}"}
    for thing in ("mug", "hat", "bag", "belt", "map", "jug", "pen", "cup", "fan", "tie")
    for color in ("red", "blue", "green", "black")
]  # fmt: skip
FEED, AUDIENCE = "recommendation/feed", "recommendation/audience"


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """Forty products; some rise, `fan` and user `u1` like red things, `other` green pens."""
    made = Caller(client, shop)
    liked = [
        ({"anonymous_id": "fan"}, "red-mug"), ({"anonymous_id": "fan"}, "red-hat"),
        ({"user_id": "u1", "anonymous_id": "u1s phone"}, "red-hat"),
        ({"anonymous_id": "other"}, "green-pen"),
    ]  # fmt: skip
    events = [{"type": "like", "product_ids": [one]} | who for who, one in liked]
    events += [
        {"type": "checkout", "anonymous_id": f"v{n}", "product_ids": [f"black-{thing}"]}
        for n in range(4) for thing in ("map", "jug", "fan", "tie", "belt")
    ]  # fmt: skip
    for path, records in (("products", PRODUCTS), ("interactions", events)):
        status, answered = made.answer(path, key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
        popularity.refresh(connection, shop.site.site_id, datetime.now(UTC) + timedelta(minutes=1))
    return made


def sources(data: dict[str, Any]) -> list[str]:
    return [one["_from"] for one in data["products"]]


# feed -------------------------------------------------------------------------------------------


def test_a_feed_is_mixed_in_fixed_shares(caller: Caller) -> None:
    data = caller.data(FEED, anonymous_id="fan", rows=10, explain=True)
    assert sources(data) == list(feed.TURNS)
    parts = {one["_from"]: set(one["_explanation"]["parts"]) for one in data["products"]}
    assert parts["recommend"] >= {"interest"}
    assert parts["trending"] == {"trending"}
    assert parts["similar"] == {"likeness"}
    assert parts["new"] == {"new"}
    trending = [one["product_id"] for one in data["products"] if one["_from"] == "trending"]
    assert all(one.startswith("black") for one in trending)
    assert not {"red-mug", "red-hat"} & {one["product_id"] for one in data["products"]}


def test_a_feed_goes_on_to_the_end_without_repeats(caller: Caller) -> None:
    every = {"dedupe_product_group_id": False, "anonymous_id": "fan"}
    data = caller.data(FEED, rows=7, **every)
    listed, from_all = data["products"], sources(data)
    while data["products"]:
        again = {"pagination_id": data["pagination_id"], "start": data["next_start"]}
        data = caller.data(FEED, rows=7, **again, **every)
        assert data["pagination_id"] == again["pagination_id"]
        assert caller.data(FEED, rows=7, **again, **every)["products"] == data["products"]
        listed += data["products"]
        from_all += sources(data)
    ids = [one["product_id"] for one in listed]
    assert len(ids) == len(set(ids)) == len(PRODUCTS) - 2
    assert from_all[:20] == [*feed.TURNS, *feed.TURNS]
    assert Counter(from_all)["recommend"] > 10


def test_two_visits_are_two_feeds(caller: Caller) -> None:
    first, second = caller.data(FEED, rows=5), caller.data(FEED, rows=5)
    assert first["pagination_id"] != second["pagination_id"]
    assert first["products"] == second["products"]


def test_a_stranger_is_given_a_feed_too_with_rules_and_filters(caller: Caller) -> None:
    data = caller.data(FEED, rows=10, fq='NOT brand:"black"', fl=["brand"],
                       boost_fq='brand:"green"', boost_positions=[3])  # fmt: skip
    assert len(data["products"]) == 10
    assert [one["_boosted"] for one in data["products"]].index(True) == 3
    assert "black" not in {one["brand"] for one in data["products"]}
    assert {"recommend", "new"} <= set(sources(data))


# audience ---------------------------------------------------------------------------------------


BUYERS = {"v0", "v1", "v2", "v3"}


def whom(caller: Caller, **body: Any) -> list[dict[str, Any]]:
    """After a list for each of them, which keeps their profile."""
    for who in ("fan", "other", "v0", "nobody"):
        caller.data(FEED, anonymous_id=who)
    status, _ = caller.answer(FEED, key=caller.shop.secret_key, user_id="u1")
    assert status == 200
    status, answered = caller.answer(AUDIENCE, key=caller.shop.secret_key, **body)
    assert status == 200, answered
    visitors: list[dict[str, Any]] = answered["data"]["visitors"]
    return visitors


def test_those_who_lean_to_a_product_come_first_with_reasons(caller: Caller) -> None:
    visitors = whom(caller, product_id="red-bag")
    assert [one.get("anonymous_id") or one["user_id"] for one in visitors[:2]] in (
        ["fan", "u1"],
        ["u1", "fan"],
    )
    assert len(visitors) == 7  # and those who only bought black things
    [known] = [one for one in visitors if "user_id" in one]
    assert known["user_id"] == "u1"
    scores = [one["score"] for one in visitors]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    [event] = known["because"]
    assert (event["type"], event["product_ids"]) == ("like", ["red-hat"])
    assert 2 * known["score"] - 1 == pytest.approx(event["share"], abs=1e-3)


def test_of_several_products_what_they_have_in_common_counts(caller: Caller) -> None:
    visitors = whom(caller, product_ids=["green-cup", "green-bag"], rows=1)
    assert [one["anonymous_id"] for one in visitors] == ["other"]


def test_who_has_bought_it_is_left_out_unless_asked_for(caller: Caller) -> None:
    body = {"product_id": "black-map"}
    assert "v0" not in [one.get("anonymous_id") for one in whom(caller, **body)]
    assert whom(caller, buyers=True, **body)[0]["anonymous_id"] in BUYERS
    # However few are asked for: others take the place.
    assert len(whom(caller, rows=1, **body)) == 1


def test_who_has_not_been_here_for_long_is_left_out(caller: Caller) -> None:
    assert whom(caller, product_id="red-bag")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=5)):
        for days, count in ((4, 0), (6, 7)):
            _, answered = caller.answer(
                AUDIENCE, key=caller.shop.secret_key, product_id="red-bag", days=days
            )
            assert len(answered["data"]["visitors"]) == count


def test_an_erased_person_is_in_no_audience(caller: Caller) -> None:
    assert "fan" in [one.get("anonymous_id") for one in whom(caller, product_id="red-bag")]
    headers = {"X-API-KEY": caller.shop.secret_key}
    caller.client.post("/admin/v1/erase", json={"id": "fan"}, headers=headers)
    _, answered = caller.answer(AUDIENCE, key=caller.shop.secret_key, product_id="red-bag")
    left = [one.get("anonymous_id") for one in answered["data"]["visitors"]]
    assert left
    assert "fan" not in left


def asked(caller: Caller, **body: Any) -> list[str]:
    """The audience as it is, by ids: nobody has asked for a list."""
    status, answered = caller.answer(AUDIENCE, key=caller.shop.secret_key, **body)
    assert status == 200, answered
    return [one.get("user_id") or one["anonymous_id"] for one in answered["data"]["visitors"]]


def test_who_only_sent_events_is_found_too(caller: Caller) -> None:
    assert set(asked(caller, product_id="red-bag", rows=2)) == {"fan", "u1"}
    assert asked(caller, product_id="green-cup", rows=1) == ["other"]


def test_who_is_known_by_a_list_is_asked_for_as_of_their_last_event(caller: Caller) -> None:
    caller.data(FEED, anonymous_id="fan")
    assert asked(caller, product_id="green-cup", rows=1) == ["other"]
    events = [
        {"type": "like", "anonymous_id": "fan", "product_ids": [f"green-{thing}"]}
        for thing in ("cup", "mug", "hat", "bag")
    ]
    assert caller.answer("interactions", data=events)[0] == 200
    assert "fan" in asked(caller, product_id="green-map", rows=2)


def test_who_bought_it_is_not_made_known_for_it(caller: Caller) -> None:
    made = "select count(*) from profiles"
    assert not BUYERS & set(asked(caller, product_id="black-map"))
    assert one(caller.shop.pool, made) == 3
    assert "v2" in asked(caller, product_id="black-map", buyers=True)
    assert one(caller.shop.pool, made) == 7


def test_who_was_last_seen_long_ago_is_no_news_when_made_known(caller: Caller) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(days=20)):
        assert "fan" not in asked(caller, product_id="red-bag", days=15)
        assert "fan" in asked(caller, product_id="red-bag", days=25)
        assert "fan" not in asked(caller, product_id="red-bag", days=15)


def test_one_request_makes_few_profiles_and_the_next_one_others(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "MOST_MADE", 3)
    found = [len(asked(caller, product_id="red-bag")) for _ in range(4)]
    assert found == [3, 6, 7, 7]
    monkeypatch.setattr(audience, "MAKING_S", -1.0)
    with caller.shop.pool.connection() as connection:
        connection.execute("delete from profiles")
    assert asked(caller, product_id="red-bag") == []


def test_only_the_newest_events_are_looked_at(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "LOOKED_AT", 1)
    assert len(asked(caller, product_id="red-bag")) == 1


def test_an_audience_that_takes_too_long_to_look_for_is_of_those_who_are_known(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.data(FEED, anonymous_id="fan")
    slow = audience.SQL.statements | {"seen": "select pg_sleep(9)"}
    monkeypatch.setattr(audience, "SQL", replace(audience.SQL, statements=slow))
    assert asked(caller, product_id="red-bag") == ["fan"]


def test_an_audience_is_for_a_secret_key_alone(caller: Caller) -> None:
    assert caller.answer(AUDIENCE, product_id="red-bag")[0] == 403


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, "/product_id"),
        ({"product_id": "nobody's"}, 404, ""),
        ({"product_id": "red-bag", "rows": 1001}, 422, "/rows"),
        ({"product_id": "red-bag", "days": 0}, 422, "/days"),
        ({"product_id": "red-bag", "buyers": "yes"}, 422, "/buyers"),
        ({"product_id": "red-bag", "fq": "age:1"}, 422, "/fq"),
    ],
    ids=["about nothing", "unknown", "too many", "no day", "no flag", "no such field"],
)
def test_an_audience_that_cannot_be_is_refused(
    caller: Caller, body: dict[str, Any], status: int, pointer: str
) -> None:
    found, answered = caller.answer(AUDIENCE, key=caller.shop.secret_key, **body)
    assert found == status
    assert [one["pointer"] for one in answered["problems"]] == ([pointer] if pointer else [])


def test_more_are_looked_at_where_the_nearest_have_bought_it(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "MORE_EACH_TRY", 2)
    buyers = {one.get("anonymous_id") for one in whom(caller, product_id="black-map", buyers=True)}
    others = {one.get("anonymous_id") for one in whom(caller, product_id="black-map", rows=3)}
    assert others == buyers - BUYERS
