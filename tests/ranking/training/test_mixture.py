"""The mix over arrays: one way to score visits, whichever way they are gone through."""

from __future__ import annotations

import numpy as np
import pytest

from ranking.catalog.learned import DIMENSION, KINDS, Mix
from ranking.strategies import mixing
from ranking.training import measure, mixture
from ranking.training.corpus import HORIZONS, Corpus, Instances, gathered, instances
from tests.ranking.training.versions import a_network

PRODUCTS = 300
DAY = 86400.0


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Visits of five products, of which each is near the one before; the last fifty are unseen."""
    random = np.random.default_rng(0)
    visits = []
    for visit in range(400):
        rows = (random.integers(0, 250) + np.cumsum(random.integers(1, 4, 5))) % 250
        kinds = random.integers(0, len(KINDS), 5)
        visits.append(
            (rows.tolist(), kinds.tolist(), [visit * DAY + n for n in range(5)], [1.0] * 5)
        )
    return gathered(PRODUCTS, visits)


def reasons_of(corpus: Corpus, sure: float) -> mixture.Told:
    """A network that knows nothing and is so sure of it."""
    random = np.random.default_rng(1)
    vectors = random.normal(scale=sure, size=(PRODUCTS, DIMENSION)).astype(np.float32)
    vectors[~corpus.ever(), -1] = 0
    texts = random.normal(size=(PRODUCTS, 384)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    texts[::7] = 0
    return mixture.told(a_network(), vectors, texts, mixture.taken_beside(corpus, 400 * DAY))


@pytest.fixture(scope="module")
def reasons(corpus: Corpus) -> mixture.Told:
    return reasons_of(corpus, 0.2)


@pytest.fixture(scope="module")
def asked(corpus: Corpus) -> list[Instances]:
    return [instances(corpus, k) for k in HORIZONS]


def test_a_price_is_what_lists_with_such_a_lift_are_worth(
    corpus: Corpus, reasons: mixture.Told, asked: list[Instances]
) -> None:
    servable = np.arange(PRODUCTS) % 10 != 3
    is_new = ~corpus.ever()
    mix = Mix(neighbours=1.0, text=0.3)
    for price in mixture.prices(reasons, mix, asked, servable, is_new):
        scores = mixture.by_mix(reasons, mix, price["lift"])
        gains = np.concatenate([measure.lists(scores, one, servable).gains() for one in asked])
        assert price["ndcg@10"] == pytest.approx(gains.mean(), abs=1e-3)


def test_shares_are_of_what_others_took_beside(corpus: Corpus, asked: list[Instances]) -> None:
    taken = mixture.taken_beside(corpus, 400 * DAY)
    for one in asked:
        shares = mixture.shares(one, taken)
        assert np.all(shares >= 0) and np.all(shares.sum(axis=1) <= 1 + 1e-5)
        assert not np.take_along_axis(shares, one.rows, axis=1).any()
        assert not shares[:, ~corpus.ever()].any()


def test_better_weights_are_found_and_chance_is_not_taken_for_better(
    corpus: Corpus, asked: list[Instances]
) -> None:
    """In this shop neighbours know all, the network and the texts nothing."""
    reasons = reasons_of(corpus, 1.0)
    everything = np.ones(PRODUCTS, bool)
    assert mixture.chosen(reasons, asked, everything).neighbours == max(
        mix.neighbours for mix in mixture.TRIED
    )
    few = [one.chosen(slice(0, 3)) for one in asked]
    assert mixture.chosen(reasons, few, everything) == Mix()
    assert mixture.chosen(reasons, [one.chosen(slice(0, 0)) for one in asked], everything) == Mix()


def test_no_score_is_worth_nothing() -> None:
    nothing = np.zeros((2, 3), np.float32)
    one = mixing.Reasons(nothing - np.inf, nothing[0], nothing, nothing - np.inf, nothing > 0)
    assert not mixing.scores(one, Mix(), 1.0).any()
