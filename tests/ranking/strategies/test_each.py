"""What each strategy is for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import queries
from ranking.visitors.interests import MAX_TOUCHED
from schemas.facts import Event
from tests.ranking.market import Market, Words, ids

VIEW = "product_detail_page_view"
CATALOG = [
    f"{color} {thing}"
    for color in ("red", "blue", "green", "black")
    for thing in ("mug", "hat", "bag")
]


@pytest.fixture
def stocked(market: Market) -> Market:
    market.stock(*CATALOG)
    return market


# recommend ----------------------------------------------------------------------------------------


def test_a_stranger_gets_what_is_popular(stocked: Market) -> None:
    stocked.popular("green bag", "red hat", "blue mug")
    assert stocked.list()[:3] == ["green bag", "red hat", "blue mug"]


def test_one_click_moves_the_list_to_what_is_like_it(stocked: Market) -> None:
    stocked.popular("green bag")
    stocked.happens("v1", (VIEW, "red mug"))
    listed = stocked.list("v1", rows=5)
    assert "red mug" not in listed
    assert set(listed) == {"red hat", "red bag", "blue mug", "green mug", "black mug"}


def test_a_search_alone_leans_the_list_to_it(stocked: Market) -> None:
    stocked.searches("v1", "blue")
    assert set(stocked.list("v1", rows=3)) == {"blue mug", "blue hat", "blue bag"}


def test_another_ids_events_count_once_both_were_seen_together(stocked: Market) -> None:
    stocked.happens("v1", {"type": VIEW, "product_ids": ["red mug"], "user_id": "u1"})
    stocked.happens("v1", (VIEW, "red hat"))
    listed = stocked.list(actor=stocked.actor("u1", "user"), rows=1)
    assert listed == ["red bag"]


def test_what_was_touched_lately_is_left_out_and_older_things_return(market: Market) -> None:
    names = market.stock(*(f"thing {number}" for number in range(MAX_TOUCHED + 3)))
    market.happens("v1", *((VIEW, name) for name in names))
    assert set(market.list("v1", rows=50)) == set(names[:3])


def test_what_was_bought_is_left_out_for_ninety_days(stocked: Market) -> None:
    for product, days in (("red mug", 89), ("blue mug", 91)):
        bought = {"type": "checkout", "product_ids": [product]}
        at = stocked.now - timedelta(days=days)
        stocked.happens("v1", bought | {"timestamp": at.isoformat()})
    others = stocked.stock(*(f"thing {number}" for number in range(MAX_TOUCHED)))
    stocked.happens("v1", *((VIEW, name) for name in others))
    listed = stocked.list("v1", rows=100)
    assert "red mug" not in listed
    assert "blue mug" in listed
    assert "red mug" in stocked.list("v1", rows=100, bought_days=0)


def test_the_variant_that_suits_the_visitor_stands_for_its_group(stocked: Market) -> None:
    stocked.stock("red shirt", "blue shirt", product_group_id="shirt")
    for color in ("red", "blue"):
        stocked.happens(color, *((VIEW, f"{color} {thing}") for thing in ("mug", "hat", "bag")))
        assert stocked.list(color, rows=1) == [f"{color} shirt"]


def test_additional_interactions_lean_the_list_and_leave_it_out(stocked: Market) -> None:
    told = [Event(type="add_to_cart", product_ids=["green hat"])]
    listed = stocked.list(additional=told, rows=5)
    assert "green hat" not in listed
    assert {"green mug", "green bag"} <= set(listed)


def test_ties_are_broken_by_number(market: Market) -> None:
    names = [market.product(f"p{number}", title="the same") for number in range(6)]
    market.happens("v1", (VIEW, "p3"))
    assert market.list("v1") == [name for name in names if name != "p3"]


# similar ------------------------------------------------------------------------------------------


def test_a_product_not_encoded_yet_counts_by_its_title(stocked: Market) -> None:
    queries.vectors(stocked.connection, stocked.site_id, ["green thing"], encodes=Words())
    stocked.product("new", title="green thing", encode=False)
    listed = stocked.list(strategy="similar", anchors=["new"], rows=3)
    assert set(listed) == {"green mug", "green hat", "green bag"}


def test_similar_products_are_not_variants_of_the_one_asked_about(stocked: Market) -> None:
    stocked.stock("red shirt S", "red shirt M", product_group_id="shirt")
    asked = {"strategy": "similar", "anchors": ["red shirt S"], "rows": 50}
    assert "red shirt M" not in stocked.list(**asked)
    assert stocked.list(**asked, one_per_group=False)[0] == "red shirt M"
    by_group = stocked.list(strategy="similar", anchor_groups=["shirt"], rows=50)
    assert set(by_group) == set(CATALOG)


def test_what_the_visitor_touched_may_be_similar(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red hat"))
    assert "red hat" in stocked.list("v1", "similar", anchors=["red mug"])


# trending, history --------------------------------------------------------------------------------


def test_trending_comes_before_popular_comes_before_the_rest(stocked: Market) -> None:
    stocked.popular("green bag", "red hat", "blue mug")
    listed = stocked.list(strategy="trending", rows=50)
    assert listed[:3] == ["blue mug", "red hat", "green bag"]
    assert set(listed) == set(CATALOG)


def test_history_is_newest_first(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"), ("like", "blue hat"), (VIEW, "red mug"))
    assert stocked.list("v1", "history") == ["red mug", "blue hat"]


# when Postgres is slow ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["recommend", "similar"])
def test_popularity_answers_for_a_strategy_that_takes_too_long(slow: Market, strategy: str) -> None:
    answer = slow.ask("v1", strategy, anchors=["red mug"])
    assert answer.fallback == "popular"
    assert ids(answer)[:2] == ["green bag", "red hat"]


# whatever happened --------------------------------------------------------------------------------


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    told=st.lists(
        st.tuples(
            st.sampled_from([VIEW, "like", "dislike", "purchase", "remove_from_cart", "share"]),
            st.lists(st.sampled_from([*CATALOG, "unknown"]), max_size=4),
        ),
        max_size=20,
    ),
    rows=st.integers(0, 20),
)
def test_every_list_is_full_free_of_what_was_touched_and_adds_up(
    stocked: Market, told: list[tuple[str, list[str]]], rows: int
) -> None:
    additional = [Event(type=type, product_ids=list(products)) for type, products in told]
    answer = stocked.ask(additional=additional, rows=rows, explain=True)
    touched = {product for _, products in told for product in products} & set(CATALOG)
    assert len(answer.products) == min(rows, len(CATALOG) - len(touched))
    assert not set(ids(answer)) & touched
    for product in answer.products:
        assert product.explanation is not None
        assert sum(product.explanation["parts"].values()) == product.score
        shares = [event["share"] for event in product.explanation["because"]]
        assert shares == sorted(shares, reverse=True)
