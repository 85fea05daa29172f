"""What features of lists are together: facets and orders of whatever a search lists, corrections,
boosts and places; through the real application, against the list itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import instant
from ranking import groups
from ranking.catalog import embeddings, queries, suggestions
from tests.conftest import Shop
from tests.gateway.test_v1_search import Caller
from tests.ranking.market import Words

HERE, THERE = {"lat": 52.52, "lon": 13.405}, {"lat": 48.137, "lon": 11.575}
BRANDS = ("Acme", "Blau", "Coco")
COLORS = ("red", "blue", "green", "amber")
THINGS = ("mug", "hat", "lantern")
PRODUCTS: list[dict[str, Any]] = [
    {
        "product_id": f"{color}-{thing}-{n}",
        "product_group_id": f"{color}-{thing}",
        "title": f"{color} {thing}",
        "description": f"number {n}",
        "brand": BRANDS[(n + len(color)) % 3],
        "categories": [["Home", thing.title()]],
        "sale_price": float((7 * n + len(color) + len(thing)) % 11),
        "location": HERE if n else THERE,
        "language": "es" if color == "amber" else "en",
    }
    for color in COLORS
    for thing in THINGS
    for n in range(2)
]
ENCODED = ("red mug", "mug", "lantern", "shiny red lantern", "hat")


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    groups._remembered.clear()
    made = Caller(client, shop)
    sent = made.post("products", {"data": PRODUCTS}, key=shop.secret_key)
    assert sent.status_code == 200, sent.text
    like = {"type": "like", "anonymous_id": "fan", "product_ids": ["blue-hat-0"]}
    assert made.post("interactions", {"data": [like]}).status_code == 200
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
        suggestions.refresh(connection, shop.site.site_id, instant.now())
        queries.vectors(connection, shop.site.site_id, ENCODED, encodes=Words())
    return made


def brands(data: dict[str, Any]) -> Counter[str]:
    return Counter(one["brand"] for one in data["products"])


def counted(data: dict[str, Any], facet: str = "brand") -> dict[str, int]:
    return dict(data["facet_counts"]["facet_fields"][facet])


# all that a search lists ------------------------------------------------------------------------

OPTIONS = st.fixed_dictionaries(
    {"q": st.sampled_from([*ENCODED, "*", "red hat", '"red mug"', "zzz"])},
    optional={
        "advanced_q": st.sampled_from(
            ["full_text:red", "NOT full_text:mug", "brand:Acme OR full_text:(blue hat)"]
        ),
        "category": st.sampled_from([["Home"], ["Home", "Mug"], ["Nowhere"]]),
        "exclude_fields_from_search": st.sampled_from([["title"], ["description"]]),
        "include": st.just(["green-hat-0", "amber-mug-1", "unknown"]),
        "exclude": st.just(["red-mug-0", "green-hat-0"]),
        "enable_partial_match": st.just(True),
        "enable_partial_match_threshold": st.sampled_from([0, 3, 100]),
        "partial_match_mode": st.sampled_from(["blended", "separated"]),
        "enable_semantic_search": st.just(True),
        "semantic_search_threshold": st.sampled_from([0.2, 0.8]),
        "language": st.just("es"),
        "like": st.just("blue hat"),
        "fq": st.just("sale_price:[2 TO *]"),
        "geo": st.just({"filter": [HERE | {"distance": 5}]}),
        "anonymous_id": st.just("fan"),
    },
)


@given(asked=OPTIONS)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_a_search_lists_is_counted_and_sorted(caller: Caller, asked: dict[str, Any]) -> None:
    asked = asked | {"rows": 100, "dedupe_product_group_id": False, "fl": ["*"]}
    listed = caller.search(**asked, facets=["brand"])
    ids = [one["product_id"] for one in listed["products"]]
    assert counted(listed) == brands(listed)
    assert listed["total"] == len(ids)
    for field in ("sale_price", "_search_score + 0 * sale_price"):
        order = [{"field": field, "order": "asc"}]
        ordered = caller.search(**asked, order_by=order)
        assert sorted(one["product_id"] for one in ordered["products"]) == sorted(ids)
        assert ordered["total"] == len(ids)
        apart, sorted_apart = (
            {one["product_id"] for one in found["partially_matched_products"]}
            for found in (listed, ordered)
        )
        assert sorted_apart == apart
    prices = [one["sale_price"] for one in caller.search(
        **asked, order_by=[{"field": "sale_price", "order": "asc"}])["products"]]  # fmt: skip
    assert prices == sorted(prices)


@pytest.mark.parametrize("mode", ["blended", "separated"])
def test_pages_of_a_sorted_search_fit_together(caller: Caller, mode: str) -> None:
    asked = {
        "q": "shiny red lantern", "enable_partial_match": True, "partial_match_mode": mode,
        "include": ["green-hat-0"], "category": ["Home"], "fq": "sale_price:[1 TO *]",
        "order_by": [{"field": "sale_price", "order": "asc"}],
    }  # fmt: skip
    whole = caller.ids(rows=100, **asked)
    assert len(whole) >= 1
    pages = [
        product_id
        for start in range(0, len(whole), 2)
        for product_id in caller.ids(rows=2, start=start, **asked)
    ]
    assert pages == whole


def test_what_is_apart_has_the_same_order(caller: Caller) -> None:
    data = caller.search(
        q="shiny red lantern", rows=50, enable_partial_match=True, fl=["sale_price"],
        partial_match_mode="separated", order_by=[{"field": "sale_price", "order": "asc"}],
        dedupe_product_group_id=False,
    )  # fmt: skip
    prices = [one["sale_price"] for one in data["partially_matched_products"]]
    assert len(prices) > 5
    assert prices == sorted(prices)


# corrected --------------------------------------------------------------------------------------


def test_a_corrected_search_is_counted_sorted_and_marked_by_what_was_meant(caller: Caller) -> None:
    asked = {
        "facets": ["brand"], "rows": 50, "fl": ["*"], "highlight": ["title"],
        "order_by": [{"field": "sale_price"}], "enable_matched_fields": True,
        "query_product_existence": {"product_ids": ["red-lantern-0", "red-hat-0"]},
    }  # fmt: skip
    meant, typed = caller.search(q="red lantern", **asked), caller.search(q="red lantrn", **asked)
    assert typed["spellcheck"]["corrected_query"] == "red lantern"
    assert meant["products"]
    for name in ("products", "facet_counts", "total", "product_existence"):
        assert typed[name] == meant[name]
    assert typed["products"][0]["_highlights"]["title"] == "<mark>red</mark> <mark>lantern</mark>"


def test_words_of_a_corrected_search_are_missing_as_they_were_typed(caller: Caller) -> None:
    data = caller.search(q="red lantrn", enable_partial_match=True, rows=50)
    missing = {tuple(one.get("_missing_keywords", ())) for one in data["products"]}
    assert {(), ("lantrn",), ("red",)} == missing


def test_as_it_was_typed_nothing_is_counted(caller: Caller) -> None:
    data = caller.search(
        q="red lantrn", facets=["brand"], spellcheck={"enable_auto_spelling_correction": False}
    )
    assert (data["products"], counted(data)) == ([], {})


# boosts -----------------------------------------------------------------------------------------


def test_boosts_by_filter_and_by_place_lift_both_and_change_no_count(caller: Caller) -> None:
    asked = {"q": "mug", "rows": 50, "dedupe_product_group_id": False, "facets": ["brand"]}
    plain = caller.search(**asked)
    boosted = caller.search(
        **asked,
        boost_fq="brand:Blau",
        boost_positions=[0],
        geo={"boost": [THERE | {"distance": 5, "boost_positions": [1]}]},
        fl=["*"],
    )
    first, second = boosted["products"][:2]
    assert first["brand"] == "Blau"
    assert second["location"] == THERE
    assert first["_boosted"] and second["_boosted"]
    assert counted(boosted) == counted(plain)
    assert boosted["total"] == plain["total"]


def test_a_boost_to_a_position_holds_in_an_order_and_within_what_is_chosen(caller: Caller) -> None:
    data = caller.search(
        q="mug", rows=50, fl=["*"], dedupe_product_group_id=False, boost_fq="brand:Blau",
        boost_positions=[2], order_by=[{"field": "sale_price", "order": "asc"}],
        facet_filters={"brand": {"terms": ["Blau", "Acme"]}}, facets=["brand"],
        category=["Home", "Mug"],
    )  # fmt: skip
    products = data["products"]
    assert products[2]["brand"] == "Blau" and products[2]["_boosted"]
    others = [one["sale_price"] for one in products if not one["_boosted"]]
    assert others == sorted(others)
    assert set(counted(data)) == set(BRANDS)
    assert set(brands(data)) == {"Blau", "Acme"}


def test_lists_of_values_keep_to_places_and_boosts(caller: Caller) -> None:
    asked = {
        "field": "brand", "rows": 10, "products_per_attribute": 3, "fl": ["*"],
        "geo": {"filter": [THERE | {"distance": 5}]}, "boost_fq": "title:\"amber hat\"",
        "dedupe_product_group_id": False,
    }  # fmt: skip
    answer = caller.post("recommendation/user_to_attributes", asked)
    assert answer.status_code == 200, answer.text
    found: Any = answer.json
    lists = {one["value"]: one for one in found["data"]["attributes"]}
    there = Counter(one["brand"] for one in PRODUCTS if one["location"] == THERE)
    assert {value: one["total"] for value, one in lists.items()} == there
    for value, one in lists.items():
        assert all(each["location"] == THERE for each in one["recommended_products"])
        titles = [each["title"] for each in one["recommended_products"]]
        amber = value == BRANDS[len("amber") % 3]
        assert (titles[0] == "amber hat") == amber


def test_pages_of_a_recommendation_keep_to_places(caller: Caller) -> None:
    asked = {
        "pagination_id": "one", "rows": 5, "anonymous_id": "fan", "fl": ["location"],
        "geo": {"filter": [THERE | {"distance": 5}], "boost": [HERE | {"distance": 5}]},
        "dedupe_product_group_id": False,
    }  # fmt: skip
    given: list[str] = []
    for start in (0, 5, 10):
        answer: Any = caller.post("recommendation/user_to_products", asked | {"start": start}).json
        given += [one["product_id"] for one in answer["data"]["products"]]
    wanted = {one["product_id"] for one in PRODUCTS if one["location"] == THERE}
    assert set(given) == wanted - {"blue-hat-0"}
    assert len(given) == len(set(given))


# completions ------------------------------------------------------------------------------------


def test_completions_keep_to_places(caller: Caller) -> None:
    far = {"product_id": "far", "title": "red sea", "location": {"lat": 20.0, "lon": 38.0}}
    caller.post("products", {"data": [far]}, key=caller.shop.secret_key)
    with caller.shop.pool.connection() as connection:
        suggestions.refresh(connection, caller.shop.site.site_id, instant.now(), everything=True)

    def completed(**body: Any) -> list[str]:
        answer: Any = caller.post("search/autocomplete", {"q": "red", "rows": 10} | body).json
        return [one["text"] for one in answer["data"]["completions"]["title"]]

    near = {"filter": [HERE | {"distance": 5}]}
    assert set(completed()) == {"red sea", "red mug", "red hat", "red lantern"}
    assert set(completed(geo=near)) == {"red mug", "red hat", "red lantern"}
    assert completed(geo={"boost": [far["location"] | {"distance": 5}]})[0] == "red sea"  # type: ignore[operator]
