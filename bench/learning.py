"""What does it take to train, and to know a visitor? Archives made up: products of 200 kinds,
visits of ten events that keep to a kind or two.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.report import Line, at_most, known, note
from ranking.catalog.learned import KINDS, STEPS, WIDTH, Network
from ranking.training.corpus import DAY_S, Corpus
from ranking.training.network import Settings, Training, repeatable

EVENTS = (100_000, 300_000, 1_000_000, 3_000_000)
PRODUCTS = 100_000
OF_KINDS = 200
A_VISIT = 10
DAYS = 90
# Times through an archive: those chosen on Online Retail and two until nothing more is gained, as
# far as there is time for them; and the chosen ones again with the last days.
CHOSEN, IN_VAIN = 4, 2
STEPS_TIMED = 30
MOST_S, MOST_MIB = 900.0, 3_072.0
BAR_AT = 1_000_000
VISITORS = 2_000


def run() -> Iterator[Line]:
    yield from _visitor()
    for events in EVENTS:
        note(f"learning: an epoch of {events:,} events")
        seconds, mib = _apart(events)
        about = f"{events:,} events of {PRODUCTS:,} products"
        first = min(CHOSEN + IN_VAIN, 1 + int(Settings().budget_s / seconds))
        whole = seconds * (first + min(first, CHOSEN))
        if events == BAR_AT:
            yield at_most(f"training on {about}", whole, "s", MOST_S)
            yield at_most(f"memory of training on {about}", mib, "MiB", MOST_MIB)
        else:
            yield known(f"training on {about}", whole, "s", digits=0)
            yield known(f"memory of training on {about}", mib, "MiB", digits=0)


def _visitor() -> Iterator[Line]:
    """The vector of a visitor from their last events, as each request of somebody new makes it."""
    random = np.random.default_rng(0)
    training = Training(_archive(1_000, 100), _texts(100), Settings())
    network: Network = training.network({})
    events = random.normal(size=(STEPS, WIDTH)).astype(np.float32)
    kinds = random.integers(0, len(KINDS), STEPS)
    began = time.perf_counter()
    for _ in range(VISITORS):
        network.visitor(events, kinds)
    took = 1000 * (time.perf_counter() - began) / VISITORS
    yield at_most(f"a visitor's vector from {STEPS} events", took, "ms", 1.0)


def _apart(events: int) -> tuple[float, float]:
    """Seconds of an epoch, from its first steps, and most memory in MiB, in a process apart."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_epoch, (events,))


def _epoch(events: int) -> tuple[float, float]:
    settings = Settings()
    corpus, texts = _archive(events, PRODUCTS), _texts(PRODUCTS)
    with repeatable(settings):
        training = Training(corpus, texts, settings)
        training.epoch(most=2)
        began = time.monotonic()
        training.epoch(most=STEPS_TIMED)
        took = time.monotonic() - began
    took *= training.steps_an_epoch() / min(STEPS_TIMED, training.steps_an_epoch())
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _archive(events: int, products: int) -> Corpus:
    """Popular products more, by a power law; one in ten events of a visit is of another kind."""
    random = np.random.default_rng(0)
    visits = events // A_VISIT
    kind = np.repeat(random.integers(0, OF_KINDS, visits), A_VISIT)
    other = random.random(len(kind)) < 0.1
    kind[other] = random.integers(0, OF_KINDS, other.sum())
    rank = (products // OF_KINDS * random.random(len(kind)) ** 3).astype(np.int64)
    rows = np.minimum(rank * OF_KINDS + kind, products - 1)
    starts = np.arange(0, len(rows) + 1, A_VISIT)
    begun = np.sort(random.random(visits)) * DAYS * DAY_S
    times = np.repeat(begun, A_VISIT) + np.tile(np.arange(A_VISIT), visits)
    kinds = np.full(len(rows), KINDS.index("view"), np.int64)
    return Corpus(products, rows, kinds, times, starts)


def _texts(products: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    random = np.random.default_rng(0)
    centres = random.normal(size=(OF_KINDS, 384)).astype(np.float32)
    made = centres[np.arange(products) % OF_KINDS]
    made = made + random.normal(size=made.shape).astype(np.float32)
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(made / lengths, np.float32)
