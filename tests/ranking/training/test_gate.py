"""The gate: only what is proved better on visits that nobody saw, and harmful nowhere."""

from __future__ import annotations

import numpy as np
import pytest

from ranking.training import gate
from ranking.training.corpus import Instances
from ranking.training.gate import Trial, Verdict
from ranking.training.measure import Lists

PRODUCTS = 300


def lists(ranks: np.ndarray, seed: int = 0) -> Lists:
    shown = np.random.default_rng(seed).integers(0, PRODUCTS, (len(ranks), 20))
    return Lists(shown, ranks)


def a_test(ours: float, theirs: float, n: int = 400, k: int = 1, cold: float = 0.0) -> Trial:
    """Visits of which so large a share is hit by either, at random and first in the list."""
    random = np.random.default_rng(k)
    asked = Instances(
        k,
        np.zeros((n, k), int),
        np.zeros((n, k), int),
        np.zeros(n, int),
        np.arange(n),
        np.arange(n),
    )
    return Trial(
        asked,
        random.random(n) < cold,
        lists((random.random(n) < ours).astype(int)),
        lists((random.random(n) < theirs).astype(int), seed=1),
    )


def judged(*tested: Trial, must_win: bool = True) -> Verdict:
    verdict = Verdict()
    gate.compare(verdict, "text-1", tested, must_win=must_win)
    return verdict


def test_what_is_much_better_is_good() -> None:
    assert judged(a_test(0.5, 0.2)).is_good


@pytest.mark.parametrize("ours", [0.2, 0.21, 0.1], ids=["equal", "hardly", "worse"])
def test_what_is_not_proved_better_is_refused(ours: float) -> None:
    verdict = judged(a_test(ours, 0.2))
    assert not verdict.is_good
    assert "not proved better than text-1" in verdict.reasons[0]


def test_equal_lists_prove_nothing() -> None:
    one = a_test(0.3, 0.3)
    same = Trial(one.asked, one.is_cold, one.ours, one.ours)
    assert gate.chance_of_no_gain([same]) == 1.0


def test_a_gain_over_all_does_not_pay_for_a_loss_somewhere() -> None:
    verdict = judged(a_test(0.6, 0.2, k=1), a_test(0.6, 0.2, k=2), a_test(0.2, 0.5, k=3))
    assert verdict.reasons == ["worse than text-1 after 3 events"]


def test_few_visits_prove_nothing() -> None:
    verdict = judged(a_test(0.9, 0.0, n=gate.FEWEST - 1))
    assert "visits to test on" in verdict.reasons[0]


def test_a_successor_need_not_be_better_but_not_worse() -> None:
    assert judged(a_test(0.3, 0.3), must_win=False).is_good
    assert not judged(a_test(0.1, 0.4), must_win=False).is_good
    assert judged(must_win=False).is_good  # nothing has happened since


def test_chance_is_half_by_chance() -> None:
    """Under no difference p is uniform: over many tests small ones are as rare as they say."""
    small = sum(
        gate.chance_of_no_gain([a_test(0.3, 0.3, n=100, k=seed)]) < 0.1 for seed in range(1, 61)
    )
    assert small <= 15  # 6 expected; 15 would be 1 in 10,000


def guarded(*tested: Trial) -> list[str]:
    verdict = Verdict()
    gate.guard(verdict, tested, PRODUCTS)
    return verdict.reasons


def test_a_version_like_the_rival_harms_nothing() -> None:
    assert guarded(a_test(0.3, 0.3, cold=0.5)) == []


def test_lost_cold_products_are_seen() -> None:
    one = a_test(0.5, 0.3, cold=0.5)
    ranks = np.where(one.is_cold, 0, one.ours.ranks)
    [reason] = guarded(Trial(one.asked, one.is_cold, Lists(one.ours.rows, ranks), one.theirs))
    assert reason.startswith("hit rate of products without history")


def test_the_same_list_for_everybody_is_seen() -> None:
    one = a_test(0.5, 0.3)
    same = Lists(np.tile(np.arange(20), (len(one.asked), 1)), one.ours.ranks)
    names = [
        reason.split(" is ")[0]
        for reason in guarded(Trial(one.asked, one.is_cold, same, one.theirs))
    ]
    assert names == ["share of the catalog in any list"]


def test_three_products_everywhere_are_seen() -> None:
    one = a_test(0.5, 0.3)
    shown = one.ours.rows.copy()
    shown[:, :15] = np.arange(15) % 3
    reasons = guarded(Trial(one.asked, one.is_cold, Lists(shown, one.ours.ranks), one.theirs))
    assert [reason.split(" is ")[0] for reason in reasons] == ["places taken by the top hundredth"]


def test_drift_is_the_part_that_moved() -> None:
    assert gate.drift(np.array([10, 0]), np.array([0, 3])) == 1.0
    assert gate.drift(np.array([3, 1]), np.array([6, 2])) == 0.0
    assert gate.drift(np.array([1, 1]), np.array([1, 0])) == pytest.approx(0.5)
    assert gate.drift(np.array([1, 1]), np.array([0, 0])) == 1.0
