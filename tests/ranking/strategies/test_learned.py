"""What every list promises, where a learned version answers. Which products it chooses is another
matter: its weights are drawn at random."""

from __future__ import annotations

import pytest

from ranking.catalog import learned_models
from ranking.merchandising import filters
from ranking.training import promote
from tests.ranking.market import Market, ids
from tests.ranking.training.versions import a_version

CATALOG = [f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("mug", "hat")]


@pytest.fixture
def market(market: Market) -> Market:
    """Six products, a visitor who looked at one, and a learned version."""
    market.stock(*CATALOG)
    market.happens("v1", ("product_detail_page_view", "red mug"))
    promote.promote(market.connection, a_version(market.connection, market.site_id))
    learned_models.uncache(market.connection, market.site_id)
    return market


@pytest.fixture(params=["recommend", "feed"])
def strategy(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


def test_it_answers(market: Market) -> None:
    products = market.ask("v1").products
    assert products
    assert {name for one in products for name in one.parts} == {"interest", "new", "text"}


def test_nothing_stands_twice_nor_what_was_touched(market: Market, strategy: str) -> None:
    listed = market.list("v1", strategy, rows=50)
    assert sorted(listed) == sorted(set(CATALOG) - {"red mug"})


def test_filters_hold(market: Market, strategy: str) -> None:
    market.product("green mug special", brand="Acme")
    acme = filters.parse('brand:"Acme"')
    assert market.list("v1", strategy, filter=acme) == ["green mug special"]


def test_the_filter_columns_follow_the_catalog(market: Market) -> None:
    market.product("green mug", brand="Acme")
    assert market.list("v1", filter=filters.parse('brand:"Acme"')) == ["green mug"]


def test_what_is_sold_out_is_not_listed(market: Market) -> None:
    market.product("green mug", availability="OUT_OF_STOCK")
    assert "green mug" not in market.list("v1", rows=50)


def test_excluded_products_are_left_out(market: Market, strategy: str) -> None:
    assert "green mug" not in market.list("v1", strategy, exclude=["green mug"], rows=50)


def test_what_is_not_encoded_yet_fills_the_list(market: Market) -> None:
    market.product("yellow vase", encode=False)
    assert market.list("v1", rows=50)[-1] == "yellow vase"


def test_somebody_unknown_is_shown_what_is_popular(market: Market) -> None:
    market.popular("green hat", "blue hat")
    assert market.list(rows=2) == ["green hat", "blue hat"]


def test_additional_events_count(market: Market) -> None:
    from schemas.facts import Event

    seen = Event(
        type="product_detail_page_view",
        anonymous_id="x",
        occurred_at=market.now,
        product_ids=["green hat"],
    )
    products = market.ask(None, additional=[seen]).products
    assert "green hat" not in [one.product_id for one in products]
    assert {name for one in products for name in one.parts} == {"interest", "new", "text"}


def test_what_turns_away_is_not_looked_at(market: Market) -> None:
    before = market.profile("v1").taste
    market.happens("v1", ("remove_from_cart", "green hat"))
    after = market.profile("v1").taste
    assert before is not None and after is not None
    assert (before == after).all()


def test_other_strategies_keep_to_texts(market: Market) -> None:
    for name in ("similar", "search"):
        asked = market.ask("v1", name, anchors=["red mug"], query="mug", rows=3)
        assert ids(asked)
        assert all("new" not in one.parts or name == "search" for one in asked.products)


def test_a_kept_profile_has_its_taste(market: Market) -> None:
    made, kept = market.profile("v1"), market.profile("v1")
    assert made.taste is not None and kept.taste is not None
    assert kept.taste == pytest.approx(made.taste)
