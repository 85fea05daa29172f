"""Differences between methods, and how probable they are by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ranking.training import compare
from ranking.training.compare import Compared

HITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


def hits(*values: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, dtype=np.float64)


def pair(first: list[float], second: list[float], sessions: list[str] | None = None) -> Compared:
    names = sessions or [f"s{at}" for at in range(len(first))]
    return compare.compared({1: [hits(*first)]}, {1: [hits(*second)]}, {1: names})


def test_equal_methods_do_not_differ() -> None:
    found = pair([1, 0, 1, 0], [1, 0, 1, 0])
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.p == found.p_mcnemar == 1.0


def test_a_difference_that_always_shows_is_no_chance() -> None:
    found = pair([1.0] * 60 + [0.0] * 40, [1.0] * 30 + [0.0] * 70)
    assert found.difference == pytest.approx(0.3)
    assert found.lift == pytest.approx(1.0)
    assert 0 < found.low < 0.3 < found.high
    assert found.p < 0.001
    assert found.p_mcnemar == pytest.approx(binomtest(30, 30).pvalue)


@given(HITS)
def test_the_other_way_round_the_signs_turn(given_hits: list[tuple[bool, bool]]) -> None:
    first, second = ([float(one[at]) for one in given_hits] for at in (0, 1))
    there, back = pair(first, second), pair(second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == pytest.approx(back.p)
    assert there.p_mcnemar == pytest.approx(back.p_mcnemar)
    assert there.low <= there.difference + 1e-9 and there.difference <= there.high + 1e-9


def test_events_of_one_session_are_one_fact() -> None:
    first, second = [1.0] * 8 + [0.0] * 2, [0.0] * 8 + [1.0] * 2
    apart = pair(first, second)
    as_one = pair(first, second, ["a"] * 4 + ["b"] * 4 + ["c"] * 2)
    assert as_one.high - as_one.low > apart.high - apart.low
    assert as_one.p > apart.p


def test_seeds_are_averaged_and_the_weakest_is_told() -> None:
    names = {1: [f"s{at}" for at in range(20)]}
    strong, weak = hits(*[1.0] * 12, *[0.0] * 8), hits(*[1.0] * 6, *[0.0] * 14)
    nothing = {1: [hits(*[0.0] * 20)]}
    found = compare.compared({1: [strong, weak]}, nothing, names)
    assert found.first == pytest.approx((0.6 + 0.3) / 2)
    assert found.p_mcnemar == pytest.approx(binomtest(6, 6).pvalue)
    assert found.lift is None
