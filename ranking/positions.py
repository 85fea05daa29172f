"""How likely each place of a list is looked at, estimated from what was clicked where.

Pure. The position-based model (Richardson et al., WWW 2007; Craswell et al., WSDM 2008): a product
is clicked where its place is looked at and it appeals, clicks = shown · looks(place) ·
appeal(product). The two are told apart by products that stood at several places; each is the
other's average, turn by turn, which is the maximum of the Poisson likelihood (clicks are rare) with
gamma priors. In use: Joachims et al., WSDM 2017; Wang et al., WSDM 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

COUNTED = 50  # places; behind them all are as the last
# What is assumed where a site's lists say nothing: 1 / √place, between no bias at all and the
# 1 / place that is often assumed for searches (Joachims et al.).
DEFAULT = (1.0 / np.sqrt(np.arange(1, COUNTED + 1))).tolist()
# How many clicks a place, and a product, must have until they say more than what was assumed.
PLACE_CLICKS = 50.0
PRODUCT_CLICKS = 1.0
LEAST = 0.02
TURNS = 100
MOST_WEIGHT = 5.0


class Shown(NamedTuple):
    """What a product came to at a place: arrays of one length. Products are any numbers, places
    count from 1."""

    products: np.ndarray[Any, Any]
    places: np.ndarray[Any, Any]
    shown: np.ndarray[Any, Any]
    clicked: np.ndarray[Any, Any]


def estimated(told: Shown) -> list[float]:
    """How likely each place is looked at, the first, or any more looked at, being 1. Near DEFAULT
    while little was clicked."""
    assumed = np.array(DEFAULT)
    clicks = np.asarray(told.clicked, np.float64)
    if not clicks.sum():
        return list(DEFAULT)
    shown = np.asarray(told.shown, np.float64)
    place = np.minimum(np.asarray(told.places, np.int64), COUNTED) - 1
    _, product = np.unique(told.products, return_inverse=True)
    of_place = np.bincount(place, clicks, COUNTED)
    of_product = np.bincount(product, clicks)
    looks = assumed.copy()
    for _ in range(TURNS):
        looked = np.bincount(product, shown * looks[place])
        mean = clicks.sum() / looked.sum()
        appeal = (of_product + PRODUCT_CLICKS) / (looked + PRODUCT_CLICKS / mean)
        expected = np.bincount(place, shown * appeal[product], COUNTED)
        before, looks = looks, (of_place + PLACE_CLICKS) / (expected + PLACE_CLICKS / assumed)
        looks = looks / looks[0]
        if np.abs(looks - before).max() < 1e-6:
            break
    return [float(one) for one in np.clip(looks, LEAST, 1.0)]


def weight(looks: Sequence[float], place: int) -> float:
    """How many clicks a click at that place (from 1) stands for, those at places that were not
    looked at among them: the inverse propensity, clipped, so that no chance click counts for very
    many."""
    return min(MOST_WEIGHT, 1.0 / looks[min(place, len(looks)) - 1])
