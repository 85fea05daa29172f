"""The rules of a list as pure functions: nothing is lost or doubled, and what is promised holds."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.merchandising import filters, rules
from ranking.merchandising.rules import Boost, Dithering, Lifted, Rules, Spread


def itself(one: object) -> Hashable:
    return one  # type: ignore[return-value]


def boost(*positions: int) -> Boost:
    return Boost(filters.everything(), positions)


lists = st.lists(st.integers(0, 40), unique=True, max_size=30)
lifts = st.lists(
    st.builds(
        Lifted,
        st.lists(st.integers(0, 12), max_size=4).map(lambda at: boost(*at)),
        st.lists(st.integers(0, 60), unique=True, max_size=10),
    ),
    max_size=4,
)


@given(ranked=lists, lifted=lifts)
def test_a_boosted_list_has_each_product_once_and_the_rest_in_its_order(
    ranked: list[int], lifted: list[Lifted[int]]
) -> None:
    arranged = rules.pinned(rules.topped(ranked, lifted, itself), lifted, itself)
    assert len(arranged) == len(set(arranged))
    assert set(ranked) <= set(arranged)
    lifts = {one for each in lifted for one in each.products}
    rest = [one for one in arranged if one not in lifts]
    assert rest == [one for one in ranked if one not in lifts]


@given(
    ranked=lists,
    positions=st.lists(st.integers(0, 12), unique=True, max_size=5),
    products=st.lists(st.integers(0, 60), unique=True, max_size=8),
)
def test_every_pin_stands_where_it_was_put(
    ranked: list[int], positions: list[int], products: list[int]
) -> None:
    arranged = rules.pinned(ranked, [Lifted(boost(*positions), products)], itself)
    if max(positions, default=0) < len(arranged):
        for position, product in zip(positions, products, strict=False):
            assert arranged[position] == product


def test_rules_for_different_places_hold_together() -> None:
    lifted = [Lifted(boost(0, 1), ["n1", "n2", "n3"]), Lifted(boost(2, 3), ["a1", "n1", "a2"])]
    arranged = rules.pinned(["x", "n1", "a2", "y", "a1", "n2"], lifted, itself)
    assert arranged == ["n1", "n2", "a1", "a2", "x", "y"]


def test_the_first_rule_has_a_place_that_two_want() -> None:
    lifted = [Lifted(boost(0), ["a"]), Lifted(boost(0, 2), ["b", "c"])]
    assert rules.pinned(["x", "y", "b", "c"], lifted, itself) == ["a", "x", "b", "y", "c"]


def test_a_place_behind_the_end_is_the_end() -> None:
    assert rules.pinned(["x", "y"], [Lifted(boost(9), ["y"])], itself) == ["x", "y"]


def test_without_places_all_that_are_lifted_come_first() -> None:
    lifted = [Lifted(boost(), ["c", "b"]), Lifted(boost(), ["d", "b"])]
    assert rules.topped(["a", "b", "c", "d"], lifted, itself) == ["c", "b", "d", "a"]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(-1, "abPcd"), (-2, "aPbcd"), (1, "abcPd"), (2, "abcdP"), (9, "abcdP"), (-9, "Pabcd")],
)
def test_an_anchored_product_stands_beside_its_first_anchor(offset: int, expected: str) -> None:
    for ranked in ("abcd", "Pabcd", "abcdP"):
        assert "".join(rules.anchored(ranked, [("P", "dc", offset)], itself)) == expected


def test_without_an_anchor_in_the_list_nothing_moves() -> None:
    assert rules.anchored("abP", [("P", "xy", -1)], itself) == list("abP")
    assert rules.anchored("ab", [("P", "xyP", -1)], itself) == list("ab")


# spreads ----------------------------------------------------------------------------------------


def brand(one: str, field: str) -> frozenset[Hashable]:
    assert field == "brand"
    return frozenset(one[0]) - {"-"}


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (0, ["N1", "N2", "A1", "P1"]),
        (1, ["N1", "A1", "N2", "P1"]),
        (2, ["N1", "A1", "P1", "N2"]),
        (3, ["N1", "A1", "P1", "N2"]),  # what cannot be is as far as can be
    ],
)
def test_equal_values_have_so_many_others_between_them(distance: int, expected: list[str]) -> None:
    asked = [Spread("brand", distance)]
    assert rules.spread(["N1", "N2", "A1", "P1"], asked, brand) == expected


def test_together_puts_all_beside_the_first() -> None:
    asked = [Spread("brand", together=True)]
    ranked = ["N1", "A1", "-1", "N2", "P1", "A2"]
    assert rules.spread(ranked, asked, brand) == ["N1", "N2", "A1", "A2", "-1", "P1"]


branded = st.lists(st.sampled_from("NAP-"), max_size=25).map(
    lambda brands: [f"{one}{number}" for number, one in enumerate(brands)]
)


@given(ranked=branded, distance=st.integers(0, 4), together=st.booleans())
def test_a_spread_loses_nothing_and_keeps_the_order_of_equals(
    ranked: list[str], distance: int, together: bool
) -> None:
    arranged = rules.spread(ranked, [Spread("brand", distance, together)], brand)
    assert sorted(arranged) == sorted(ranked)
    for one in "NAP-":
        of_it = [product for product in ranked if product[0] == one]
        assert [product for product in arranged if product[0] == one] == of_it


@given(ranked=branded)
def test_equals_are_neighbours_only_where_nothing_else_is_left(ranked: list[str]) -> None:
    arranged = rules.spread(ranked, [Spread("brand", 1)], brand)
    for at, (one, next_one) in enumerate(pairwise(arranged), start=1):
        if brand(one, "brand") & brand(next_one, "brand"):
            assert all(brand(other, "brand") == brand(one, "brand") for other in arranged[at:])


def test_several_values_are_alike_where_one_is_common() -> None:
    tags = {"a": "xy", "b": "yz", "c": "w"}
    arranged = rules.spread("abc", [Spread("tags")], lambda one, _: frozenset(tags[one]))
    assert arranged == ["a", "c", "b"]


@given(ranked=lists, amount=st.floats(1, 1e6), before=st.integers(0, 500), seed=st.text())
def test_dithering_changes_the_order_alone_and_each_time_in_the_same_way(
    ranked: list[int], amount: float, before: int, seed: str
) -> None:
    asked = Dithering(amount, seed)
    arranged = rules.dithered(ranked, asked, str, before)
    assert sorted(arranged) == sorted(ranked)
    assert rules.dithered(ranked, asked, str, before) == arranged
    assert rules.dithered(ranked, Dithering(1, seed), str, before) == ranked


def test_the_more_dithering_the_less_is_left_of_the_order() -> None:
    def moved(amount: float) -> float:
        listed = [rules.dithered(range(300), Dithering(amount, str(n)), str) for n in range(30)]
        assert all(one[200:] == list(range(200, 300)) for one in listed)
        return sum(abs(at - rank) for one in listed for at, rank in enumerate(one)) / len(listed)

    assert 0 == moved(1) < moved(1.5) < moved(2) < moved(5)


def test_dithering_moves_by_the_logarithm_of_the_rank() -> None:
    first = [rules.dithered(range(200), Dithering(1.5, str(n)), str)[0] for n in range(400)]
    # The first keeps its place more often than not, and nothing from far down takes it.
    assert 50 < sum(one == 0 for one in first) / 4 < 90
    assert max(first) < 20


@given(positions=st.lists(st.integers(0, 9), max_size=4), count=st.integers(0, 12))
def test_behind_some_products_positions_count_on(positions: list[int], count: int) -> None:
    asked = Rules(boosts=(boost(*positions), boost()))
    left = rules.behind(asked, count).boosts
    ahead = tuple(place - count for place in positions if place >= count)
    expected = [ahead] if ahead or not positions else []
    assert [one.positions for one in left] == [*expected, ()]
