"""The network: what numpy serves is what torch trained, and it learns what there is to learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.catalog import learned
from ranking.catalog.learned import KINDS, STEPS, WIDTH, Damaged, Network
from ranking.training import measure
from ranking.training.corpus import instances
from ranking.training.network import POSITIONS, Settings, Trained, Training, repeatable
from tests.ranking.training.archives import a_corpus, texts_by_kind, visits_by_kind

QUICK = Settings(threads=1, epochs=3, rows_a_step=256, blocks=4)


def a_training(seed: int = 0, epochs: int = 3, **settings: object) -> Training:
    """One that has been through an archive with a pattern."""
    chosen = replace(QUICK, seed=seed, **settings)
    with repeatable(chosen):
        training = Training(visits_by_kind(400), texts_by_kind(), chosen)
        for _ in range(epochs):
            training.epoch()
    return training


@pytest.fixture(scope="module")
def trained() -> Training:
    return a_training()


def shaken(training: Training, seed: int) -> Training:
    """The same with other weights, none of them at its beginning."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in training.average.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return training


visits = st.lists(st.integers(0, 39), min_size=1, max_size=POSITIONS)


@settings(max_examples=30, deadline=None)
@given(rows=visits, kinds=st.integers(0, len(KINDS) ** POSITIONS - 1), seed=st.integers(0, 9))
def test_numpy_serves_the_visitor_that_torch_trained(
    rows: list[int], kinds: int, seed: int
) -> None:
    training = shaken(Training(a_corpus([0, 1]), texts_by_kind(10), QUICK), seed)
    events = torch.randn(1, len(rows), WIDTH)
    of_each = [kinds // len(KINDS) ** step % len(KINDS) for step in range(len(rows))]
    torchs = training.average.encoder(events, torch.tensor([of_each]))[0, -1].detach().numpy()
    newest_first = events[0].numpy()[::-1][:STEPS]
    served = training.network({}).visitor(newest_first, np.array(of_each[::-1][:STEPS]))
    assert served == pytest.approx(torchs, abs=1e-5 * float(np.abs(torchs).max()))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_numpy_serves_the_product_that_torch_trained(seed: int) -> None:
    training = shaken(Training(a_corpus([0, 1]), texts_by_kind(10), QUICK), seed)
    texts = texts_by_kind(10, seed=seed)
    torchs = training.average.tower(torch.from_numpy(texts)).detach().numpy()
    assert training.network({}).tower(texts) == pytest.approx(
        torchs, abs=1e-5 * float(np.abs(torchs).max())
    )


@settings(max_examples=20, deadline=None)
@given(number=st.integers(1, STEPS), seed=st.integers(0, 99))
def test_the_shares_of_events_sum_to_the_inner_product(number: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    training = shaken(Training(a_corpus([0, 1]), texts_by_kind(10), QUICK), seed)
    network = training.network({})
    events = random.normal(size=(number, WIDTH)).astype(np.float32)
    kinds = random.integers(0, len(KINDS), number)
    products = random.normal(size=(5, WIDTH)).astype(np.float32)
    shares = network.shares(events, kinds, products)
    assert shares.shape == (5, number)
    whole = products @ network.visitor(events, kinds)
    assert shares.sum(axis=1) == pytest.approx(
        whole, abs=1e-4 * max(1.0, float(np.abs(whole).max()))
    )


def test_more_visitors_at_once_are_as_each_alone(trained: Training) -> None:
    network, random = trained.network({}), np.random.default_rng(0)
    events = random.normal(size=(3, STEPS, WIDTH)).astype(np.float32)
    kinds = random.integers(0, len(KINDS), (3, STEPS))
    together = network.visitors(events, kinds, np.array([1, 5, STEPS]))
    for row, length in enumerate((1, 5, STEPS)):
        alone = network.visitor(events[row, :length], kinds[row, :length])
        assert together[row] == pytest.approx(alone, abs=1e-4)


def hit_rate(training: Training, k: int = 2) -> float:
    corpus = visits_by_kind(200, seed=1)
    network = training.network({})
    vectors = np.concatenate(
        [
            network.tower(texts_by_kind()) + training.history(),
            network.biases(training.corpus.counts(training.until))[:, np.newaxis],
        ],
        axis=1,
    )
    asked = instances(corpus, k)
    servable = np.ones(corpus.products, bool)
    return float(
        measure.lists(measure.by_network(network, vectors), asked, servable).hits(3).mean()
    )


def test_it_learns_which_products_go_together(trained: Training) -> None:
    """Three of 38 by chance; all three left of the kind where it is known."""
    assert hit_rate(trained) > 0.8


def test_it_learns_them_where_not_all_products_compete() -> None:
    assert hit_rate(a_training(all_products_up_to=20, negatives=10)) > 0.8


def test_it_learns_without_texts() -> None:
    corpus = visits_by_kind(400)
    with repeatable(QUICK):
        training = Training(corpus, np.zeros((40, 384), np.float32), QUICK)
        before = training.epoch()
        for _ in range(5):
            after = training.epoch()
    assert after < before - 0.5


def test_the_same_seed_makes_the_same_weights() -> None:
    first, second = a_training(epochs=1), a_training(epochs=1)
    assert learned.written(first.network({})) == learned.written(second.network({}))
    assert (first.history() == second.history()).all()


def test_another_seed_makes_others() -> None:
    first, second = a_training(epochs=1), a_training(seed=1, epochs=1)
    assert not np.array_equal(first.network({}).weights["skip"], second.network({}).weights["skip"])


def test_it_goes_on_from_what_it_had(trained: Training) -> None:
    start = (trained.network({}), trained.history())
    again = Training(trained.corpus, texts_by_kind(), QUICK, start)
    for name, weights in start[0].weights.items():
        assert again.network({}).weights[name] == pytest.approx(weights)
    assert again.history() == pytest.approx(start[1])


def test_weights_are_kept_whole(trained: Training) -> None:
    network = trained.network({})
    back = learned.read(learned.written(network))
    assert all(np.array_equal(back.weights[name], of) for name, of in network.weights.items())


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"], ids=["empty", "cut", "other"]
)
def test_damaged_weights_are_named(content: bytes) -> None:
    with pytest.raises(Damaged):
        learned.read(content)


def test_weights_of_another_shape_are_named(trained: Training) -> None:
    weights = dict(trained.network({}).weights) | {"gate": np.zeros((2, 2), np.float32)}
    with pytest.raises(Damaged, match="gate"):
        Network(weights)


def test_weights_that_are_no_numbers_are_named(trained: Training) -> None:
    weights = dict(trained.network({}).weights)
    weights["scale"] = np.array(np.nan, np.float32)
    with pytest.raises(Damaged, match="scale"):
        Network(weights)


def test_a_product_without_events_has_no_history() -> None:
    corpus = a_corpus([0, 1], [1, 2], products=5)
    training = Training(corpus, texts_by_kind(5), QUICK)
    torch.nn.init.ones_(training.average.history)
    assert training.history().any(axis=1).tolist() == [True, True, True, False, False]


def test_every_trained_weight_is_served() -> None:
    names = {name.rsplit(".", 1)[-1] for name, _ in Trained(3).named_parameters()}
    assert names == {*learned.SHAPES, "history"} - {"mix"}
