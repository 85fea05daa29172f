"""Sessions as arrays, beside what the protocol makes of the same clicks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.training.clickstream import Click, split
from ranking.training.corpus import Corpus, instances
from tests.ranking.training.archives import BEGIN, a_corpus

sessions = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=5)


def without_repeats(rows: list[int]) -> list[int]:
    return [row for at, row in enumerate(rows) if not at or rows[at - 1] != row]


def protocol(some: list[list[int]], k: int) -> list[tuple[str, list[str]]]:
    """(target, context from the oldest) of each instance by `clickstream`."""
    clicks = [
        Click(f"s{number}", "", BEGIN + number * 3600 + step, "view", str(row))
        for number, rows in enumerate(some)
        for step, row in enumerate(rows)
    ]
    found = split(clicks, BEGIN - 1, forced_cold=False).instances(k)
    return [(one.target, [click.product_id for click in one.context]) for one in found]


@given(some=sessions, k=st.integers(1, 3))
def test_instances_are_those_of_the_protocol(some: list[list[int]], k: int) -> None:
    found = instances(a_corpus(*map(without_repeats, some), products=5), k)
    ours = [
        (str(target), [str(row) for row in context[::-1]])
        for target, context in zip(found.targets, found.rows, strict=True)
    ]
    assert ours == protocol(some, k)


@given(some=sessions, hidden=st.sets(st.integers(0, 4)))
def test_hidden_products_are_as_if_they_never_were(some: list[list[int]], hidden: set[int]) -> None:
    mask = np.isin(np.arange(5), list(hidden))
    left = a_corpus(*map(without_repeats, some), products=5).without(mask)
    wanted = [without_repeats([row for row in rows if row not in hidden]) for rows in some]
    assert as_lists(left) == [rows for rows in wanted if rows]


def as_lists(corpus: Corpus) -> list[list[int]]:
    return (
        [one.tolist() for one in np.split(corpus.rows, corpus.starts[1:-1])] if len(corpus) else []
    )


def test_chosen_sessions_keep_their_events() -> None:
    corpus = a_corpus([0, 1], [2], [3, 4, 5])
    assert as_lists(corpus.chosen(np.array([True, False, True]))) == [[0, 1], [3, 4, 5]]
    assert as_lists(corpus.chosen(np.array([1]))) == [[2]]
    assert as_lists(corpus.chosen(np.zeros(3, bool))) == []


def test_counts_halve_with_each_half_life() -> None:
    corpus = a_corpus([0], [0], [1], apart_s=21 * 86400.0)
    at = BEGIN + 2 * 21 * 86400.0
    assert corpus.counts(at)[:2] == pytest.approx([0.25 + 0.5, 0.0])
    assert corpus.counts(at + 1)[1] == pytest.approx(1.0, abs=1e-6)
