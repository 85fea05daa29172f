"""Shares of what is likely next, each a named part of a score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.catalog.learned import Mix
from ranking.strategies import learned, mixing
from ranking.strategies.mixing import Reasons

FLOATS = st.floats(-20, 20, width=32)


@st.composite
def told(draw: st.DrawFn) -> Reasons:
    """Some products, of which each may lack a logit, a history, a share or a text."""
    count = draw(st.integers(1, 12))

    def column(values: st.SearchStrategy[float], missing: float) -> np.ndarray:
        some = st.one_of(st.just(missing), values)
        return np.array(draw(st.lists(some, min_size=count, max_size=count)), np.float32)

    logits = column(FLOATS, -np.inf)
    biases = column(FLOATS, 0.0)
    shares = column(st.floats(0, 1, width=32), 0.0)
    shares /= max(1.0, float(shares.sum()))
    cosines = column(st.floats(-1, 1, width=32), -np.inf)
    counted = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    return Reasons(logits, biases, shares, cosines, counted)


MIXES = st.builds(Mix, st.floats(0, 5), st.floats(0, 2))
LIFTS = st.floats(0, 4)


@given(told(), MIXES, LIFTS)
def test_a_score_is_the_sum_of_its_parts_from_0_to_1(one: Reasons, mix: Mix, lift: float) -> None:
    whole = sum(mixing.shared(one, mix, lift).values())
    assert whole == pytest.approx(mixing.scores(one, mix, lift), abs=1e-6)
    assert np.all(whole >= -1e-6) and np.all(whole <= 1 + 1e-6)


@given(told(), MIXES, LIFTS)
def test_without_a_reason_a_score_is_less_by_its_part(one: Reasons, mix: Mix, lift: float) -> None:
    parts, before = mixing.shared(one, mix, lift), mixing.scores(one, mix, lift)
    without = {
        "neighbours": one._replace(shares=np.zeros_like(one.shares)),
        "text": one._replace(cosines=np.full_like(one.cosines, -np.inf)),
    }
    for name, left in without.items():
        after = mixing.scores(left, mix, lift)
        assert before - after == pytest.approx(parts[name], abs=1e-6), name


@given(told(), MIXES, LIFTS, st.floats(0.1, 2))
def test_lifting_new_products_lifts_them_alone(
    one: Reasons, mix: Mix, lift: float, more: float
) -> None:
    gained = mixing.scores(one, mix, lift + more) - mixing.scores(one, mix, lift)
    is_new = one.biases == 0
    assert np.all(gained[~is_new] <= 1e-6)
    if one.counted[is_new].all():
        assert np.all(gained[is_new] >= -1e-6)


def test_a_new_product_is_not_buried_by_what_nobody_could_take() -> None:
    """As likely as another one to the model, and others took that as often as it says."""
    one = Reasons(
        np.float32([2.0, 2.0]), np.float32([0.0, 1.0]), np.float32([0.0, 0.5]),
        np.float32([-np.inf, -np.inf]), np.array([True, True]),
    )  # fmt: skip
    assert mixing.scores(one, Mix(neighbours=3.0), 0.0) == pytest.approx([2 / 4.2, 2 / 4.2])


@given(st.lists(st.floats(0, 1), max_size=20))
def test_scores_are_compared_by_how_many_times(scores: list[float]) -> None:
    told = learned.comparable(scores)
    assert all(0 <= one <= 1 for one in told)
    by_score = sorted(zip(scores, told, strict=True))
    assert [one for _, one in by_score] == sorted(told)
