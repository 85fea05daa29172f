"""What every strategy promises, whichever is added: run for each name in STRATEGIES."""

from __future__ import annotations

from typing import Any

import pytest

from ranking.answer import Answer
from ranking.merchandising import filters
from ranking.merchandising.rules import Rules
from ranking.strategies import STRATEGIES
from tests.ranking.market import Market, ids

CATALOG = [f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("mug", "hat")]
ANCHOR = "red vase"
FILLING = [name for name in STRATEGIES if name != "history"]
ABOUT_PRODUCTS = ("similar", "together")
MIXED = ("feed",)  # each source's scores are its own
SHOW_SOLD_OUT = ("search", "lexical")
# What else a question of a strategy must say.
ABOUT = {"search": {"query": "*"}, "lexical": {"query": "*"}}


@pytest.fixture(params=list(STRATEGIES))
def strategy(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def stocked(market: Market) -> Market:
    """Six products and an anchor; v1 has looked at two of them, three are popular."""
    market.stock(*CATALOG, ANCHOR)
    market.popular("green hat", "green mug", "blue hat")
    market.happens("v1", *(("product_detail_page_view", name) for name in CATALOG[:2]))
    return market


def asked(market: Market, strategy: str, visitor: str | None = "v1", **more: Any) -> list[str]:
    return ids(ask(market, strategy, visitor, **more))


def ask(market: Market, strategy: str, visitor: str | None = "v1", **more: Any) -> Answer:
    return market.ask(visitor, strategy, **{"anchors": [ANCHOR], **ABOUT.get(strategy, {}), **more})


def test_no_product_stands_twice(stocked: Market, strategy: str) -> None:
    listed = asked(stocked, strategy, rows=50)
    assert len(listed) == len(set(listed))
    assert listed


def test_filters_hold(stocked: Market, strategy: str) -> None:
    stocked.product("red mug special", brand="Acme")
    stocked.happens("v1", ("product_detail_page_view", "red mug special"))
    only_acme = filters.parse('brand:"Acme"')
    assert set(asked(stocked, strategy, filter=only_acme)) <= {"red mug special"}


def test_excluded_products_are_left_out(stocked: Market, strategy: str) -> None:
    before = asked(stocked, strategy)
    after = asked(stocked, strategy, exclude=[before[0], "never heard of"])
    assert before[0] not in after


def test_what_cannot_be_bought_is_left_out_but_of_searches(stocked: Market, strategy: str) -> None:
    for product in CATALOG[:4]:
        stocked.product(product, availability="OUT_OF_STOCK")
    stocked.remove(CATALOG[4])
    listed = asked(stocked, strategy, rows=50)
    assert set(listed[:2]) <= {CATALOG[5], ANCHOR}
    assert set(listed[2:]) == (set(CATALOG[:4]) if strategy in SHOW_SOLD_OUT else set())


def test_a_list_has_at_most_the_rows_asked_for(stocked: Market, strategy: str) -> None:
    assert len(asked(stocked, strategy, rows=1)) == 1


def test_the_same_question_has_the_same_answer(stocked: Market, strategy: str) -> None:
    assert asked(stocked, strategy, rows=50) == asked(stocked, strategy, rows=50)


def test_scores_descend_from_one_to_zero(stocked: Market, strategy: str) -> None:
    answer = ask(stocked, strategy, rows=50, rules=Rules(diversity=0.0))
    scores = [product.score for product in answer.products]
    assert scores == sorted(scores, reverse=True) or strategy in MIXED
    assert all(0 <= score <= 1 for score in scores)


def test_the_parts_of_a_score_sum_to_it(stocked: Market, strategy: str) -> None:
    answer = ask(stocked, strategy, explain=True)
    for position, product in enumerate(answer.products, start=1):
        assert product.explanation is not None
        assert sum(product.explanation["parts"].values()) == product.score
        assert product.explanation["position"] == position


def test_a_visitor_nobody_knows_is_answered(stocked: Market, strategy: str) -> None:
    listed = asked(stocked, strategy, visitor="unheard of")
    assert bool(listed) == (strategy != "history")


def test_nobody_in_particular_is_answered(stocked: Market, strategy: str) -> None:
    assert isinstance(asked(stocked, strategy, visitor=None), list)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in ABOUT_PRODUCTS])
def test_an_empty_catalog_gives_an_empty_list(market: Market, strategy: str) -> None:
    assert market.list("v1", strategy, **ABOUT.get(strategy, {})) == []


@pytest.mark.parametrize("strategy", FILLING)
def test_a_list_is_never_short_while_products_match(stocked: Market, strategy: str) -> None:
    stocked.stock("not yet", "encoded", encode=False)
    listed = asked(stocked, strategy, visitor="v2", rows=8)
    assert len(listed) == 8


@pytest.mark.parametrize("strategy", FILLING)
def test_one_variant_of_a_group_stands_for_all(stocked: Market, strategy: str) -> None:
    stocked.stock(*(f"red shirt {size}" for size in range(30)), product_group_id="shirt")
    listed = asked(stocked, strategy, visitor="v2", rows=7)
    assert len(listed) == 7
    assert sum(name.startswith("red shirt") for name in listed) <= 1


@pytest.mark.parametrize("strategy", FILLING)
def test_all_variants_may_be_asked_for(stocked: Market, strategy: str) -> None:
    stocked.stock(*(f"red shirt {size}" for size in range(3)), product_group_id="shirt")
    listed = asked(stocked, strategy, visitor="v2", rows=50, one_per_group=False)
    assert sum(name.startswith("red shirt") for name in listed) == 3


def test_each_answer_is_one_row(stocked: Market, strategy: str) -> None:
    answer = ask(stocked, strategy)
    numbers = stocked.numbers()
    row = stocked.connection.execute(
        "select endpoint, product_nos, actor_id from answers where site_id = %s and miso_id = %s",
        [stocked.site_id, answer.miso_id],
    ).fetchone()
    assert row == (strategy, [numbers[one] for one in ids(answer)], stocked.actor("v1"))


def test_fields_are_those_asked_for(stocked: Market, strategy: str) -> None:
    answer = ask(stocked, strategy, fields=["title", "no_such_field"])
    assert [product.fields for product in answer.products] == [
        {"title": product_id} for product_id in ids(answer)
    ]
