"""Clicks drawn with a known bias: what is estimated of the places, and of the products, comes
near what they were drawn with; what was clicked alone does not."""

from __future__ import annotations

import numpy as np
import pytest

from ranking import positions
from ranking.positions import Shown

PLACES = 10
PRODUCTS = 16
LISTS = 60_000


def drawn(
    looks: np.ndarray, appeal: np.ndarray, lists: int = LISTS, seed: int = 0, steady: float = 0.3
) -> Shown:
    """Lists in which those products stand first that appeal least: ranked by a wrong idea of them
    and some chance, each looked at and clicked as told."""
    random = np.random.default_rng(seed)
    wrong = -np.argsort(np.argsort(appeal)) * steady
    listed = np.argsort(-(wrong + random.gumbel(size=(lists, PRODUCTS))))[:, :PLACES]
    is_clicked = random.random((lists, PLACES)) < looks * appeal[listed]
    shown, clicked = (np.zeros((PRODUCTS, PLACES), np.int64) for _ in range(2))
    at = (listed, np.broadcast_to(np.arange(PLACES), listed.shape))
    np.add.at(shown, at, 1)
    np.add.at(clicked, at, is_clicked)
    product, place = np.nonzero(shown)
    return Shown(product, place + 1, shown[product, place], clicked[product, place])


def rates(told: Shown, by: np.ndarray) -> np.ndarray:
    """Of each product its clicks by so many looks."""
    clicks = np.bincount(told.products, told.clicked, PRODUCTS)
    return clicks / np.bincount(told.products, by, PRODUCTS)


def in_order(found: np.ndarray, truth: np.ndarray) -> float:
    """Which share of the pairs of products stands in their true order."""
    pairs = [(a, b) for a in range(PRODUCTS) for b in range(PRODUCTS) if truth[a] > truth[b]]
    return float(np.mean([found[a] > found[b] for a, b in pairs]))


STEEP = 1.0 / np.arange(1, PLACES + 1)
FLAT = np.linspace(1.0, 0.8, PLACES)
APPEAL = np.linspace(0.1, 0.3, PRODUCTS)


@pytest.mark.parametrize("looks", [STEEP, FLAT], ids=["steep", "flat"])
def test_the_bias_of_places_is_found(looks: np.ndarray) -> None:
    found = positions.estimated(drawn(looks, APPEAL))
    assert found[:PLACES] == pytest.approx(looks, rel=0.15)
    assert found[0] == 1.0


def test_corrected_rates_give_the_true_order_and_plain_ones_do_not() -> None:
    told = drawn(STEEP, APPEAL)
    looks = np.array(positions.estimated(told))
    corrected = in_order(rates(told, told.shown * looks[told.places - 1]), APPEAL)
    plain = in_order(rates(told, told.shown), APPEAL)
    assert corrected > 0.93
    assert plain < 0.7


def test_weighted_clicks_give_the_true_order_and_plain_ones_do_not() -> None:
    """As training counts them: each click by its weight, clipped."""
    told = drawn(STEEP, APPEAL)
    looks = positions.estimated(told)
    weights = np.array([positions.weight(looks, int(place)) for place in told.places])
    often = np.bincount(told.products, told.shown, PRODUCTS)
    weighted = np.bincount(told.products, told.clicked * weights, PRODUCTS) / often
    plain = np.bincount(told.products, told.clicked, PRODUCTS) / often
    assert in_order(weighted, APPEAL) > 0.93
    assert in_order(plain, APPEAL) < 0.7


def test_little_says_little() -> None:
    few = drawn(FLAT, APPEAL, lists=20)
    assert positions.estimated(few) == pytest.approx(positions.DEFAULT, rel=0.35)
    nothing = Shown(*(np.array([], np.int64) for _ in range(4)))
    assert positions.estimated(nothing) == positions.DEFAULT


def test_no_click_counts_for_very_many() -> None:
    looks = [1.0, 0.5, 0.02]
    assert [positions.weight(looks, place) for place in (1, 2, 3, 99)] == [1, 2, 5, 5]
