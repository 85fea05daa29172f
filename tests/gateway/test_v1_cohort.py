"""Visitors of whom nothing is known but what they are, through the real application."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from ranking.catalog import embeddings
from ranking.visitors import cohort
from tests.builders import deliver
from tests.conftest import Shop
from tests.gateway.test_v1_rules import Caller
from tests.ranking.market import Words

PATH = "recommendation/user_to_products"
TITLES = [
    f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("mug", "hat", "bag")
]
US = {"country": "United States", "gender": "Female"}


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """Twelve women of the United States like mugs, seven of Peru hats; nobody else anything."""
    cohort._remembered.clear()
    made = Caller(client, shop)
    people = [({"user_id": f"u{n}", "custom_attributes": {"vip": True}} | US, "red mug")
              for n in range(12)]  # fmt: skip
    people += [({"user_id": f"p{n}", "country": "Peru", "custom_attributes": {"tags": ["x", "y"]}},
                "blue hat") for n in range(7)]  # fmt: skip
    people += [({"user_id": f"c{n}", "country": "Chile"}, "green bag") for n in range(4)]
    events = [
        {"type": "like", "user_id": user["user_id"], "product_ids": [product_id]}
        for user, product_id in people
    ]
    records = [{"product_id": title, "title": title} for title in TITLES]
    sent = (
        ("products", records),
        ("users", [user for user, _ in people]),
        ("interactions", events),
    )
    for path, data in sent:
        status, answered = made.answer(path, key=shop.secret_key, data=data)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


def first(caller: Caller, path: str = PATH, **body: Any) -> str:
    """What the list's first product is."""
    return caller.ids(path, **body)[0].split()[1]


def parts(caller: Caller, path: str = PATH, **body: Any) -> set[str]:
    products = caller.products(path, explain=True, **body)
    return {name for one in products for name in one["_explanation"]["parts"]}


@pytest.mark.parametrize(
    ("fields", "thing"),
    [
        (US, "mug"),
        ({"country": "United States"}, "mug"),
        ({"custom_attributes.vip": True}, "mug"),
        ({"country": "Peru"}, "hat"),
        ({"custom_attributes.tags": "y"}, "hat"),
    ],
)
def test_a_stranger_is_given_what_people_like_them_like(
    caller: Caller, fields: dict[str, Any], thing: str
) -> None:
    for who in ({}, {"anonymous_id": "new"}):
        assert first(caller, user_cohort=fields, **who) == thing
        assert parts(caller, user_cohort=fields, **who) >= {"cohort"}
        assert "interest" not in parts(caller, user_cohort=fields, **who)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"country": "Nowhere"},
        {"country": "Peru", "gender": "Female"},
        {"custom_attributes.vip": "true"},
        {"country": "united states"},
        # Four people are too few: one of them could be asked for.
        {"country": "Chile"},
    ],
)
def test_where_nobody_is_like_them_popularity_decides(
    caller: Caller, fields: dict[str, Any]
) -> None:
    assert caller.ids(PATH, user_cohort=fields) == caller.ids(PATH)
    assert "cohort" not in parts(caller, user_cohort=fields)


def test_who_has_interests_of_their_own_is_given_these(caller: Caller) -> None:
    liked = {"type": "like", "anonymous_id": "own", "product_ids": ["green bag"]}
    caller.answer("interactions", data=[liked])
    plain = caller.ids(PATH, anonymous_id="own")
    assert caller.ids(PATH, anonymous_id="own", user_cohort=US) == plain
    assert "cohort" not in parts(caller, anonymous_id="own", user_cohort=US)
    told = {"type": "like", "product_ids": ["green bag"]}
    assert first(caller, user_cohort=US, additional_interactions=[told]) == "bag"


def test_a_trait_counts_where_it_is_newer_than_the_record(caller: Caller) -> None:
    for number in range(12):
        trait = {"type": "identify", "userId": f"u{number}", "messageId": f"t{number}",
                 "traits": {"address": {"country": "Spain"}, "gender": "Female"}}  # fmt: skip
        deliver(caller.shop.pool, caller.shop.segment, trait)
    with caller.shop.pool.connection() as connection:
        [(named,)] = connection.execute(
            "select count(distinct name) from user_traits where name = 'country'"
        ).fetchall()
    assert named == 1
    assert first(caller, user_cohort={"country": "Spain"}) == "mug"
    assert caller.ids(PATH, user_cohort=US) == caller.ids(PATH)


def test_categories_and_searches_lean_to_the_cohort_too(caller: Caller) -> None:
    search = {"q": "*", "user_cohort": {"country": "Peru"}}
    assert first(caller, "search/search", **search) == "hat"
    assert "cohort" in parts(caller, "search/search", **search)


def test_other_lists_take_it_without_effect(caller: Caller) -> None:
    for path, body in (
        ("recommendation/user_to_trending", {}),
        ("recommendation/product_to_products", {"product_id": "red mug"}),
    ):
        plain = caller.ids(path, **body)
        assert caller.ids(path, user_cohort=US, **body) == plain


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"nonsense": "x"}, "/user_cohort"),
        ({"custom_attributes": "x"}, "/user_cohort"),
        ({"custom_attributes.": "x"}, "/user_cohort"),
        ({"age": 7}, "/user_cohort/age"),
        ({"country": ["Peru"]}, "/user_cohort/country"),
        ("Peru", "/user_cohort"),
        ({f"custom_attributes.{n}": "x" for n in range(11)}, "/user_cohort"),
    ],
    ids=["unknown", "all of them", "no name", "a number", "a list", "text", "too many"],
)
def test_a_cohort_that_cannot_be_is_refused(caller: Caller, fields: Any, pointer: str) -> None:
    status, answered = caller.answer(PATH, user_cohort=fields)
    assert status == 422
    assert [one["pointer"] for one in answered["problems"]] == [pointer]


def test_hostile_names_are_names(caller: Caller) -> None:
    for name in ("'", "{", "a.b", '"', "\\", "a,b", "\u0000"):
        asked = {f"custom_attributes.{name}": name}
        assert caller.ids(PATH, user_cohort=asked) == caller.ids(PATH)
