"""How many events a click of our own lists stands for, from the answer's row to what is learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from ranking import impressions, positions
from ranking.catalog.learned import STEPS
from ranking.training import reading
from ranking.training.corpus import Corpus
from ranking.training.network import Settings, Training, repeatable
from tests.ranking.market import Market
from tests.ranking.training.archives import BEGIN, VIEW, texts_by_kind, visits_by_kind

QUICK = Settings(threads=1, epochs=2, rows_a_step=256, blocks=4)


def weights_of(corpus: Corpus, archive: reading.Archive, market: Market) -> dict[str, list[float]]:
    """By product what its events weigh."""
    names = {number: product_id for product_id, number in market.numbers().items()}
    found: dict[str, list[float]] = {}
    weights = np.ones(corpus.events) if corpus.weights is None else corpus.weights
    for row, weight in zip(corpus.rows, weights, strict=True):
        name = names[int(archive.product_nos[row])]
        found.setdefault(name, []).append(round(float(weight), 4))
    return found


def read(market: Market) -> reading.Archive:
    at = market.now + timedelta(hours=1)
    return reading.archive(market.connection, market.site_id, at, lambda *_: None)


def shown(market: Market, **asked: Any) -> tuple[str, list[str]]:
    answered = market.ask("v", "popular", **asked)
    return str(answered.miso_id), [one.product_id for one in answered.products]


def clicks(market: Market, *events: dict[str, Any]) -> None:
    """Of a visitor each, so that every one is a session of its own."""
    for number, event in enumerate(events):
        market.happens(f"w{number}", {"type": "click"} | event)


@pytest.fixture
def market(market: Market) -> Market:
    market.stock("mug", "lamp", "scarf", "chair", "clock")
    market.popular("mug", "lamp", "scarf", "chair", "clock")
    return market


def test_a_click_stands_for_those_that_did_not_look_so_far(market: Market) -> None:
    miso_id, listed = shown(market)
    assert listed == ["mug", "lamp", "scarf", "chair", "clock"]
    page, behind = shown(market, pagination_id="p", rows=2)
    page, behind = shown(market, pagination_id="p", rows=2, start=2)
    clicks(
        market,
        {"product_ids": ["chair"], "miso_id": miso_id},
        {"product_ids": ["mug"], "miso_id": miso_id},
        {"product_ids": [behind[1]], "miso_id": page},  # on the fourth place of all pages
        {"product_ids": ["lamp"]},
        {"product_ids": ["lamp"], "miso_id": str(uuid4())},
        {"product_ids": ["clock"], "miso_id": page},  # which was not in it
    )
    archive = read(market)
    fourth = round(positions.weight(positions.DEFAULT, 4), 4)
    assert weights_of(archive.corpus, archive, market) == {
        "chair": [fourth, fourth], "mug": [1], "lamp": [1, 1], "clock": [1],
    }  # fmt: skip


def test_the_sites_own_places_count_once_they_are_known(market: Market) -> None:
    miso_id, _ = shown(market)
    clicks(market, {"product_ids": ["lamp"], "miso_id": miso_id})
    looks = [1.0, 0.4, 0.3]
    market.connection.execute(
        "insert into impressions_sites values (%s, %s, %s, %s)",
        [market.site_id, market.now, looks, market.now],
    )
    assert impressions.known(market.connection, market.site_id).curve == pytest.approx(looks)
    archive = read(market)
    assert weights_of(archive.corpus, archive, market) == {"lamp": [2.5]}


def test_without_own_lists_nothing_is_weighed(market: Market) -> None:
    shown(market)
    clicks(market, {"product_ids": ["lamp"]}, {"product_ids": ["mug"]})
    assert read(market).corpus.weights is None


def fitted(corpus: Corpus, settings: Settings = QUICK) -> list[np.ndarray]:
    with repeatable(settings):
        training = Training(corpus, texts_by_kind(corpus.products), settings)
        for _ in range(settings.epochs):
            training.epoch()
    weights = training.network({}).weights
    return [training.history(), *(weights[name] for name in sorted(weights))]


def test_weights_of_one_change_no_bit_of_what_is_learned() -> None:
    corpus = visits_by_kind(200)
    ones = replace(corpus, weights=np.ones(corpus.events, np.float32))
    twos = replace(corpus, weights=np.linspace(1, 2, corpus.events, dtype=np.float32))
    plain = fitted(corpus)
    assert all((a == b).all() for a, b in zip(plain, fitted(ones), strict=True))
    assert not all((a == b).all() for a, b in zip(plain, fitted(twos), strict=True))


def test_a_corpus_takes_its_weights_along() -> None:
    corpus = visits_by_kind(20)
    corpus = replace(corpus, weights=np.arange(corpus.events, dtype=np.float32))
    some = corpus.chosen(np.array([3, 5]))
    expected = [
        *range(corpus.starts[3], corpus.starts[4]),
        *range(corpus.starts[5], corpus.starts[6]),
    ]
    assert some.weights is not None and some.weights.tolist() == expected
    hidden = np.arange(corpus.products) % 4 == 0
    left = corpus.without(hidden)
    assert left.weights is not None
    assert left.rows.tolist() == corpus.rows[left.weights.astype(int)].tolist()


PRODUCTS = 12
LOOKS = 1.0 / np.sqrt(np.arange(1, PRODUCTS - 1))
APPEAL = np.linspace(0.08, 0.15, PRODUCTS - 2)


def clicked_lists(number: int, seed: int = 0) -> Corpus:
    """Visits of one of two products, then a click in a list that shows first what appeals least."""
    random = np.random.default_rng(seed)
    wrong = -np.arange(PRODUCTS - 2) * 0.5
    rows, weights = [], []
    while len(rows) < number:
        listed = np.argsort(-(wrong + random.gumbel(size=PRODUCTS - 2)))
        clicked = np.flatnonzero(random.random(len(listed)) < LOOKS * APPEAL[listed])
        for place in random.permutation(clicked)[:1]:
            rows.append((len(rows) % 2, 2 + listed[place]))
            weights.append((1.0, positions.weight(LOOKS.tolist(), int(place) + 1)))
    times = BEGIN + np.repeat(np.arange(number) * 600.0, 2) + np.tile([0, 60.0], number)
    return Corpus(
        PRODUCTS,
        np.array(rows, np.int64).ravel(),
        np.full(2 * number, VIEW),
        times,
        np.arange(0, 2 * number + 1, 2),
        np.array(weights, np.float32).ravel(),
    )


def proposed(corpus: Corpus) -> np.ndarray:
    """The score of each product of the lists after the first of the two."""
    settings = Settings(threads=1, rows_a_step=512, blocks=1, dropped=0.0, memory_days=1e6)
    with repeatable(settings):
        training = Training(corpus, np.zeros((PRODUCTS, 384), np.float32), settings)
        for _ in range(5):
            training.epoch()
    network, history = training.network({}), training.history()
    visitor = network.visitor(history[:1], np.full(min(STEPS, 1), VIEW))
    return (history @ visitor + network.biases(corpus.counts(BEGIN + 1e9)))[2:]


def in_order(scores: np.ndarray) -> float:
    pairs = [(a, b) for a in range(len(scores)) for b in range(a)]
    return float(np.mean([scores[a] > scores[b] for a, b in pairs]))


def test_weighted_clicks_teach_the_true_order_and_plain_ones_do_not() -> None:
    corpus = clicked_lists(6_000)
    assert in_order(proposed(corpus)) > 0.85
    assert in_order(proposed(replace(corpus, weights=None))) < 0.5
