"""Variety of a list: what the greedy order promises of any scores and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ranking.merchandising import diversity

Listed = tuple[list[float], np.ndarray[Any, Any]]

strengths = st.floats(0, 1)


@st.composite
def lists(draw: st.DrawFn) -> Listed:
    """Scores, best first, and vectors of unit length, or zeros; few directions, so many alike."""
    count = draw(st.integers(0, 12))
    scores = sorted(draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)), reverse=True)
    raw = draw(arrays.arrays(np.int8, (count, 3), elements=st.integers(-2, 2))).astype(np.float32)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    return scores, raw / np.where(lengths == 0, 1, lengths)


@given(listed=lists(), strength=strengths)
def test_every_candidate_is_there_once_and_the_first_stays_first(
    listed: Listed, strength: float
) -> None:
    order = diversity.order(*listed, strength)
    assert sorted(order) == list(range(len(listed[0])))
    assert order[:1] == [0][: len(order)]


@given(listed=lists())
def test_no_strength_leaves_the_order(listed: Listed) -> None:
    assert diversity.order(*listed, 0.0) == list(range(len(listed[0])))


@given(listed=lists(), strength=strengths)
def test_the_same_list_varies_in_the_same_way(listed: Listed, strength: float) -> None:
    assert diversity.order(*listed, strength) == diversity.order(*listed, strength)


@given(listed=lists(), strength=strengths, given_before=st.integers(0, 12))
def test_what_goes_on_behind_a_page_is_the_rest_of_the_whole(
    listed: Listed, strength: float, given_before: int
) -> None:
    scores, vectors = listed
    whole = diversity.order(scores, vectors, strength)
    given, rest = whole[:given_before], sorted(whole[given_before:])
    if strength == 0 or not given:
        return
    order = diversity.order([scores[at] for at in rest], vectors[rest], strength, vectors[given])
    assert [rest[at] for at in order] == whole[given_before:]


@given(listed=lists(), strength=strengths)
def test_each_place_has_the_best_of_those_left(listed: Listed, strength: float) -> None:
    scores, vectors = listed
    order = diversity.order(scores, vectors, strength)

    def worth(one: int, before: list[int]) -> float:
        likest = max(float(vectors[one] @ vectors[each]) for each in before)
        return (1 - strength) * scores[one] - strength * likest

    for place in range(1, len(order)):
        best = max(worth(one, order[:place]) for one in order[place:])
        assert worth(order[place], order[:place]) == pytest.approx(best, abs=1e-5)


@given(st.integers(2, 6), st.integers(2, 6), st.floats(0.01, 1))
def test_copies_are_spread(kinds: int, copies: int, strength: float) -> None:
    """All equally good: one of each kind comes before the second of any."""
    vectors = np.repeat(np.eye(kinds, dtype=np.float32), copies, axis=0)
    order = diversity.order([0.5] * (kinds * copies), vectors, strength)
    assert sorted(at // copies for at in order[:kinds]) == list(range(kinds))
    assert order[:kinds] == [kind * copies for kind in range(kinds)]


def test_a_copy_of_the_first_makes_room_for_what_is_nearly_as_good() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert diversity.order([0.9, 0.89, 0.85], vectors, 0.02) == [0, 1, 2]
    assert diversity.order([0.9, 0.89, 0.85], vectors, 0.1) == [0, 2, 1]


def test_what_has_no_vector_is_like_nothing() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 0]], np.float32)
    assert diversity.order([0.9, 0.9, 0.9], vectors, 0.1) == [0, 2, 1]


def test_variety_is_nothing_of_copies_and_one_of_what_is_unlike() -> None:
    assert diversity.variety(np.ones((3, 1), np.float32)) == 0
    assert diversity.variety(np.eye(3, dtype=np.float32)) == 1
    assert diversity.variety(np.eye(1, dtype=np.float32)) == 0
