"""Settings of the compared methods are chosen on the training part alone."""

from __future__ import annotations

import random

from ranking.training import tuning
from ranking.training.tuning import GRIDS
from tests.ranking.training.sessions_of import DAY, clicks


def stream(sessions: int = 120) -> list[str]:
    chance = random.Random(3)
    starts = [chance.choice(["abcd", "efgh", "ijkl"]) for _ in range(sessions)]
    return ["".join(chance.sample(one, 3)) for one in starts]


def test_the_last_days_are_held_out_and_nothing_else() -> None:
    train = clicks(*stream())
    split, days = tuning.held_out(train)
    assert days == (train[-1].ts - train[0].ts) / DAY / tuning.SHARE
    assert sorted([*split.train, *(c for s in split.test for c in s)]) == sorted(train)
    assert max(c.ts for c in split.train) < min(c.ts for s in split.test for c in s)


def test_what_is_chosen_is_not_worse_there_and_the_same_each_time() -> None:
    train = clicks(*stream())
    first, again = (tuning.tuned(train, list(GRIDS), lambda *told: None) for _ in range(2))
    assert first == again
    assert [one.name for one in first] == list(GRIDS)
    assert all(one.hit_rate >= one.untuned for one in first)
    assert all(one.instances for one in first)


def test_where_nothing_can_be_held_out_nothing_is_tuned() -> None:
    assert tuning.tuned(clicks("ab"), ["stan"], lambda *told: None) == []
