"""Which places are left to chance, and what comes to stand there: for any rules, share and seed."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.merchandising import exploration
from ranking.merchandising.exploration import CHOICE, FIRST, Exploring

PAGES = st.lists(st.booleans(), max_size=40)
ASKED = st.builds(Exploring, st.floats(0, exploration.MOST_SHARE), st.text(max_size=5))
SEEDS = 4_000


@given(PAGES, ASKED, st.integers(0, 60), st.integers(0, 40))
def test_a_page_keeps_what_is_fixed_and_repeats_nothing(
    fixed: list[bool], asked: Exploring, before: int, newcomers: int
) -> None:
    page = [f"p{place}" for place in range(len(fixed))]
    held = {one for one, is_fixed in zip(page, fixed, strict=True) if is_fixed}
    chosen = exploration.drawn(exploration.places(fixed, asked, before), newcomers, asked, before)
    made = exploration.inserted(
        page, {one.place: f"new{one.which}" for one in chosen}, lambda one: one in held
    )
    assert len(made) == len(page) == len({*made})
    assert [one for one in made if one in held] == [one for one in page if one in held]
    assert all(made[place] == one for place, one in enumerate(page) if one in held)
    assert made[: FIRST - before] == page[: FIRST - before] if before < FIRST else True
    free = [one for one in made if one.startswith("p") and one not in held]
    assert free == [one for one in page if one not in held][: len(free)]
    assert all(0 < one.chance <= asked.share for one in chosen)
    assert {one.which for one in chosen} <= set(range(min(newcomers, CHOICE)))


@given(PAGES, st.integers(0, 60), st.text(max_size=5))
def test_without_a_share_no_place_is_drawn(fixed: list[bool], before: int, seed: str) -> None:
    assert exploration.places(fixed, Exploring(0.0, seed), before) == []


@given(PAGES, ASKED, st.integers(0, 10))
def test_pages_agree_with_one_long_page(fixed: list[bool], asked: Exploring, cut: int) -> None:
    whole = exploration.places(fixed, asked)
    first = exploration.places(fixed[:cut], asked)
    behind = exploration.places(fixed[cut:], asked, before=len(fixed[:cut]))
    assert first + [place + len(fixed[:cut]) for place in behind] == whole


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_so_many_of_the_free_places_are_left_to_chance(share: float) -> None:
    fixed = [False, False, False, True, False, False, True, False]
    free = exploration.free(fixed)
    drawn = [exploration.places(fixed, Exploring(share, f"s{n}")) for n in range(SEEDS)]
    for place in free:  # each by itself
        found = sum(place in some for some in drawn) / SEEDS
        assert abs(found - share) < 4 * sqrt(share * (1 - share) / SEEDS)
    assert {place for some in drawn for place in some} == set(free)


def test_a_product_comes_as_often_as_its_probability_says() -> None:
    asked = [Exploring(0.5, f"s{n}") for n in range(SEEDS)]
    drawn = [exploration.drawn([4], 5, one) for one in asked]
    for which in range(5):
        [expected] = {one.chance / 0.5 for [one] in drawn if one.which == which}
        found = sum(one.which == which for [one] in drawn) / SEEDS
        assert abs(found - expected) < 4 * sqrt(expected * (1 - expected) / SEEDS)


def test_two_places_share_out_what_is_left() -> None:
    [first, second] = exploration.drawn([2, 5], 2, Exploring(0.4, "s"))
    assert {first.which, second.which} == {0, 1}
    assert second.chance == pytest.approx(0.4)  # one is left: that one
    assert exploration.drawn([2, 5, 7], 2, Exploring(0.4, "s")) == [first, second]
