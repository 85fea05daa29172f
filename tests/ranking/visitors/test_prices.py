"""How dear what a visitor chooses is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.visitors import prices
from ranking.visitors.prices import Act, Offer

VIEW, CART, BUY = "product_detail_page_view", "add_to_cart", "purchase"
CATALOG = {0: {"": [float(n) for n in range(21)]}, 1: {"": [100.0 + n for n in range(21)]}}

PRICES = st.floats(0.01, 1e4)
ACTS = st.lists(
    st.builds(
        lambda number, type, price, cluster: Act(
            f"e{number}", type, Offer(f"p{number}", price, "", cluster)
        ),
        st.integers(0, 9), st.sampled_from([VIEW, CART, BUY, "remove_from_cart"]), PRICES,
        st.sampled_from([None, 1, 2]),
    ), max_size=20, unique_by=lambda act: act.offer.product_id,
)  # fmt: skip


def act(product: str, price: float, type: str = VIEW, cluster: int | None = None) -> Act:
    return Act(f"of {product}", type, Offer(product, price, "", cluster))


@dataclass
class Told:
    position: float
    by: str
    among: list[str]
    sure: float


def told(*acts: Act) -> Told:
    found = prices.sensitivity(acts, CATALOG)
    assert found is not None
    return Told(found.position, found.by, [one.among for one in found.events], found.sure)


@given(ACTS)
def test_the_number_is_the_middle_and_what_the_events_add(acts: list[Act]) -> None:
    found = prices.sensitivity(acts, CATALOG)
    if found is None:
        assert not acts or all(one.type == "remove_from_cart" for one in acts) or not found
        return
    assert found.position == pytest.approx(0.5 + sum(one.adds for one in found.events), abs=1e-5)
    assert 0 <= found.position <= 1 and 0 < found.sure < 1
    assert all(0 <= one.position <= 1 for one in found.events)
    assert all((one.adds >= 0) == (one.position >= 0.5) or not one.adds for one in found.events)
    assert prices.word(found.position) == found.word


@given(ACTS, st.floats(0.1, 50))
def test_another_scale_of_money_changes_nothing(acts: list[Act], rate: float) -> None:
    def scaled(one: Act) -> Act:
        return one._replace(offer=one.offer._replace(price=one.offer.price * rate))

    assert len({one.offer.price * rate for one in acts}) == len({one.offer.price for one in acts})
    market = {c: {"": [q * rate for q in of[""]]} for c, of in CATALOG.items()}
    before = prices.sensitivity(acts, CATALOG)
    after = prices.sensitivity([scaled(one) for one in acts], market)
    assert (before is None) == (after is None)
    if before and after:
        assert after.position == pytest.approx(before.position, abs=1e-3)


@given(PRICES, st.lists(PRICES, min_size=2, max_size=30))
def test_a_higher_price_is_never_placed_lower(price: float, market: list[float]) -> None:
    quantiles = sorted(market)
    places = [prices.among_quantiles(one, quantiles) for one in (price, price * 2)]
    assert 0 <= places[0] <= places[1] <= 1


@given(st.lists(PRICES, min_size=1, max_size=30))
def test_the_mid_ranks_of_all_prices_are_in_the_middle_together(some: list[float]) -> None:
    places = [prices.among_seen(one, some) for one in some]
    assert sum(places) / len(places) == pytest.approx(0.5)


def test_who_buys_the_cheapest_of_what_they_saw_is_low() -> None:
    seen = [act(f"p{n}", 10.0 + n, cluster=1) for n in range(4)]
    cheap = told(act("cheap", 5.0, BUY, 1), *seen)
    assert (cheap.by, cheap.among) == ("chosen", ["seen"])
    assert cheap.position < 1 / 3
    assert told(act("dear", 50.0, BUY, 1), *seen).position > 2 / 3


def test_where_too_little_was_seen_the_catalog_of_that_cluster_is_compared() -> None:
    assert told(act("a", 120.0, CART, 1), act("b", 3.0, VIEW, None)).among == ["catalog"]
    assert told(act("a", 120.0, CART, 1)).position > 2 / 3
    assert told(act("a", 120.0, CART, 2)).position > 2 / 3  # unknown there: the whole catalog


def test_equal_prices_say_nothing_among_themselves() -> None:
    found = told(act("a", 101.0, CART, 1), *(act(f"p{n}", 101.0, VIEW, 1) for n in range(4)))
    assert found.among == ["catalog"] and found.position < 1 / 3


def test_where_nothing_is_chosen_what_was_seen_counts() -> None:
    found = told(act("a", 1.0), act("b", 2.0))
    assert found.by == "seen" and found.position < 1 / 3


def test_one_click_says_something_and_more_say_it_surer() -> None:
    one, two = told(act("a", 0.0001)), told(act("a", 0.0001), act("b", 0.0001))
    assert 0.5 > one.position > two.position
    assert 0 < one.sure < two.sure < told(act("a", 0.0001, BUY)).sure


def test_what_was_taken_back_was_not_chosen() -> None:
    acts = [act("a", 1.0, "remove_from_cart"), act("a", 1.0, CART), act("b", 19.0, CART)]
    found = prices.sensitivity(acts, CATALOG)
    assert found is not None
    assert [one.product_id for one in found.events] == ["b"]
    assert [one.product_id for one in prices.sensitivity(acts[1:], CATALOG).events] == ["a", "b"]  # type: ignore[union-attr]


def test_a_product_counts_once_by_what_says_most() -> None:
    found = prices.sensitivity([act("a", 1.0, CART), act("a", 1.0, BUY)], CATALOG)
    assert found is not None
    assert [one.type for one in found.events] == [BUY]


def test_prices_that_nothing_is_known_to_compare_with_say_nothing() -> None:
    assert prices.sensitivity([act("a", 1.0, BUY)], {}) is None
    assert prices.sensitivity([], CATALOG) is None


def test_the_currency_most_are_told_in_counts() -> None:
    assert (
        prices.main_currency([Offer("a", 1, "EUR"), Offer("b", 1, "USD"), Offer("c", 1, "USD")])
        == "USD"
    )
    assert prices.main_currency([Offer("a", 1, "USD"), Offer("b", 1, "EUR")]) == "EUR"
    assert prices.main_currency([]) == ""
