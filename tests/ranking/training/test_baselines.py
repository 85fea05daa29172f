"""The methods that ours is compared with do what their papers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.training import baselines, sessions
from ranking.training.baselines import ItemKnn, Stan, VmisKnn
from ranking.training.clickstream import Click, Instance
from tests.ranking.training import sessions_of
from tests.ranking.training.sessions_of import clicks

TRAIN = st.lists(st.text("abcdefg", min_size=1, max_size=6), min_size=1, max_size=12)
CONTEXT = st.text("abcdefg", min_size=1, max_size=3).map(lambda text: "".join(dict.fromkeys(text)))


def scored(method: Any, train: list[Click], context: str) -> dict[str, float]:
    """The scores above nothing by product."""
    known = sessions.of(train)
    numbers = known.known(context)
    if not numbers:
        return {}
    scores = method.scores(known, numbers)
    return {known.ids[at]: scores[at] for at in np.flatnonzero(np.abs(scores) > 1e-12)}


def plain(scores: dict[str, float]) -> dict[str, float]:
    return {product: score for product, score in scores.items() if abs(score) > 1e-12}


def instance(context: str, target: str = "z") -> Instance:
    events = tuple(Click("test", "", 0, "click", product) for product in context)
    return Instance("test", len(context), events, target)


@given(TRAIN, CONTEXT, st.integers(1, 6))
def test_stan_is_what_its_paper_says(train: list[str], context: str, neighbours: int) -> None:
    method = Stan(neighbours=neighbours, lambda_1=1.5, lambda_2=20.0, lambda_3=2.5)
    stream = clicks(*train)
    known = "".join(one for one in context if any(one in session for session in train))
    expected = plain(sessions_of.stan(method, stream, known)) if known else {}
    assert scored(method, stream, context) == pytest.approx(expected)


@given(TRAIN, CONTEXT, st.integers(1, 6), st.booleans())
def test_vmis_knn_is_what_its_paper_says(
    train: list[str], context: str, neighbours: int, rarity: bool
) -> None:
    method = VmisKnn(neighbours=neighbours, rarity=rarity)
    stream = clicks(*train)
    known = "".join(one for one in context if any(one in session for session in train))
    expected = plain(sessions_of.vmis(method, stream, known)) if known else {}
    assert scored(method, stream, context) == pytest.approx(expected)


def test_item_knn_takes_the_cosine_of_sessions() -> None:
    found = scored(ItemKnn(half_life_days=1e9), clicks("ab", "ab", "ac", "c"), "a")
    assert found == pytest.approx({"a": 1.0, "b": 2 / np.sqrt(3 * 2), "c": 1 / np.sqrt(3 * 2)})


def test_item_knn_halves_a_session_each_half_life() -> None:
    found = scored(ItemKnn(half_life_days=1.0), clicks("ab", "ac"), "a")
    assert found["c"] > found["b"]


def test_only_the_newest_sessions_of_a_product_are_looked_at() -> None:
    train = clicks("ab", "ac", "ad")
    assert set(scored(Stan(most=2), train, "a")) == {"a", "c", "d"}
    assert set(scored(VmisKnn(most=1, rarity=False), train, "a")) == {"a", "d"}


def test_lists_leave_the_context_out_and_are_filled_by_bestsellers() -> None:
    train = clicks("ab", "ab", "ac", "dd")
    ranked = baselines.by_scores(Stan(), sessions.of(train), ["d", "a", "b", "e"])
    assert ranked([instance("a"), instance("x"), instance("")]) == [
        ["b", "c", "d", "e"], ["d", "a", "b", "e"], ["d", "a", "b", "e"],
    ]  # fmt: skip


def test_bestsellers_of_a_window_come_before_those_of_all_time() -> None:
    train = clicks("a", "a", "a", "b", "b", "c")
    cut = 6 * sessions_of.DAY
    assert baselines.popular("abcd", train, cut, 1.5 * sessions_of.DAY) == ["c", "a", "b", "d"]
    assert baselines.popular("abcd", train, cut, np.inf) == ["a", "b", "c", "d"]


def test_text_ranks_by_nearness_to_what_was_seen() -> None:
    texts = {"a": np.array([1.0, 0.0]), "b": np.array([0.9, 0.1]), "c": np.array([0.0, 1.0])}
    assert baselines.by_text(texts)([instance("a"), instance("ac")]) == [["b", "c"], ["b"]]
