"""What others took in the same sessions, in lists of recommendations."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.catalog import neighbours, popularity
from ranking.merchandising import filters
from ranking.question import NEW_LIFT
from ranking.strategies import mixing, recommend
from tests.ranking.market import Market

VIEW = "product_detail_page_view"
TITLES = [f"{color} {thing}" for color in ("red", "blue") for thing in ("mug", "hat", "bag")]
OTHER = "steel rope"  # like nothing else


@pytest.fixture
def crowded(market: Market) -> Market:
    """Whoever looks at the red mug looks at the rope next."""
    market.stock(*TITLES, OTHER)
    for number in range(8):
        market.happens(f"x{number}", (VIEW, "red mug"), (VIEW, OTHER))
    market.happens("y1", (VIEW, "blue hat"), (VIEW, "blue bag"))
    neighbours.refresh(market.connection, market.site_id, market.now)
    return market


def test_what_others_took_next_comes_before_what_is_like_it(crowded: Market) -> None:
    crowded.happens("v1", (VIEW, "red mug"))
    products = crowded.ask("v1", rows=20).products
    assert products[0].product_id == OTHER
    assert set(products[0].parts) >= {"interest", "neighbours"}
    assert all("neighbours" not in one.parts for one in products[1:])


def test_without_neighbours_the_score_is_lower_by_exactly_their_part(crowded: Market) -> None:
    crowded.happens("v1", (VIEW, "red mug"))
    whole = {one.product_id: one for one in crowded.ask("v1", rows=20).products}
    crowded.connection.execute("delete from neighbours where site_id = %s", [crowded.site_id])
    without = {one.product_id: one.score for one in crowded.ask("v1", rows=20).products}
    for product_id, one in whole.items():
        rest = sum(part for name, part in one.parts.items() if name != "neighbours")
        assert rest == pytest.approx(without[product_id], abs=1e-3)
        assert 0 <= one.score <= 1
    assert whole[OTHER].parts["neighbours"] > 0


def test_an_explanation_says_which_events_it_was_taken_beside(crowded: Market) -> None:
    crowded.happens("v1", (VIEW, "red mug"), (VIEW, "blue hat"))
    products = crowded.ask("v1", rows=20, explain=True).products
    told = {one.product_id: one.explanation["beside"] for one in products if one.explanation}
    assert [event["label"] for event in told[OTHER]] == ["red mug"]
    assert [event["label"] for event in told["blue bag"]] == ["blue hat"]
    assert told["blue mug"] == []
    # Of two events the newer counts twice as much, and of eight sessions eight ninths.
    assert told[OTHER][0]["share"] == pytest.approx(8 / 9 / 3, abs=1e-4)


def test_a_product_without_history_gets_its_chance_where_others_have_one(market: Market) -> None:
    market.stock("red mug", "red hat", "blue hat")
    market.happens("x", (VIEW, "red hat"))
    popularity.refresh(market.connection, market.site_id, market.now)
    market.happens("v1", (VIEW, "red mug"))
    parts = {one.product_id: one.parts for one in market.ask("v1").products}
    assert set(parts["red hat"]) == {"interest", "popularity"}
    assert set(parts["blue hat"]) == {"interest", "new"}
    assert parts["blue hat"]["new"] * recommend.whole(NEW_LIFT) >= recommend.fresh(NEW_LIFT)


def test_newer_events_say_more(crowded: Market) -> None:
    crowded.happens("v1", (VIEW, "red mug"), (VIEW, "blue hat"))
    crowded.happens("v2", (VIEW, "blue hat"), (VIEW, "red mug"))
    parts = [
        {one.product_id: one.parts["neighbours"] for one in crowded.ask(who).products[:2]}
        for who in ("v1", "v2")
    ]
    assert parts[0].keys() == parts[1].keys() == {OTHER, "blue bag"}
    assert parts[0][OTHER] < parts[1][OTHER]


def test_what_was_taken_back_says_nothing(crowded: Market) -> None:
    crowded.happens("v1", (VIEW, "blue hat"), ("remove_from_cart", "red mug"))
    products = crowded.ask("v1", rows=20).products
    assert "neighbours" not in {one.product_id: one.parts for one in products}[OTHER]


def test_filters_exclusions_and_stock_hold(crowded: Market) -> None:
    crowded.happens("v1", (VIEW, "red mug"))
    assert OTHER not in crowded.list("v1", rows=20, exclude=[OTHER])
    only = filters.parse('product_id:"blue hat"')
    assert crowded.list("v1", rows=20, filter=only) == ["blue hat"]
    crowded.product(OTHER, availability="OUT_OF_STOCK")
    assert OTHER not in crowded.list("v1", rows=20)


def test_products_without_texts_have_neighbours_too(market: Market) -> None:
    for product_id in ("p1", "p2", "p3"):
        market.post("products", {"product_id": product_id})
    market.happens("x", (VIEW, "p1"), (VIEW, "p3"))
    neighbours.refresh(market.connection, market.site_id, market.now)
    market.happens("v1", (VIEW, "p1"))
    products = market.ask("v1").products
    assert [one.product_id for one in products] == ["p3", "p2"]
    assert set(products[0].parts) == {"neighbours"}
    assert products[0].score > products[1].score


@given(st.floats(-1, 1), st.floats(1e-9, 1), st.floats(0.01, 10), st.floats(0.02, 2))
def test_odds_are_added(nearness: float, share: float, weight: float, temperature: float) -> None:
    [more] = mixing.added(
        np.array([nearness]), np.array([share]), weight=weight, temperature=temperature
    )
    odds = exp((nearness - 1) / temperature) + weight * share
    assert exp((nearness + more - 1) / temperature) == pytest.approx(odds)
    assert more >= 0
    assert nearness + more <= 1 + mixing.most(weight, temperature) + 1e-9


def test_no_share_adds_nothing() -> None:
    [more] = mixing.added(np.array([0.3]), np.array([0.0]), weight=4.0, temperature=0.1)
    assert more == 0.0
