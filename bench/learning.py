"""What does it take to train, and to know a visitor? Archives made up: products of 200 kinds,
visits of ten events that keep to a kind or two.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

from bench import catalog
from bench.report import Line, at_most, known, note
from bench.stage import Stage, stage
from gateway import instant
from ranking.catalog.learned import KINDS, STEPS, WIDTH, Network
from ranking.training import gate, train
from ranking.training.corpus import DAY_S, Corpus
from ranking.training.network import Settings, Training, repeatable
from schemas import database

SQL = database.queries(__file__)

EVENTS = (100_000, 300_000, 1_000_000, 3_000_000)
PRODUCTS = 100_000
OF_KINDS = 200
A_VISIT = 10
DAYS = 50
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
        yield known(f"epochs of training on {about}", whole, "s", digits=0)
        yield known(f"memory of training on {about}", mib, "MiB", digits=0)
    yield from _whole()


def _whole() -> Iterator[Line]:
    """A training from events in Postgres to a version that is live."""
    with stage() as on:
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        note(f"learning: {BAR_AT:,} events into Postgres")
        at = instant.now()
        _events(on, _archive(BAR_AT, PRODUCTS), at)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            seconds, mib, record = pool.apply(_trained, (on.database_url, on.site.site_id, at))
    about = f"{BAR_AT:,} events of {PRODUCTS:,} products in Postgres, {record['epochs']} epochs"
    yield at_most(f"a whole training on {about}", seconds, "s", MOST_S)
    yield at_most("most memory of it", mib, "MiB", MOST_MIB)


def _events(on: Stage, corpus: Corpus, at: datetime) -> None:
    ends = corpus.times.max()
    visits = np.repeat(np.arange(len(corpus)), corpus.lengths)
    with database.connect(on.database_url, options="-c jit=off") as connection:
        for some in np.array_split(np.arange(corpus.events), 10):
            told = {
                "site_id": on.site.site_id,
                "visits": visits[some].tolist(),
                "rows": corpus.rows[some].tolist(),
                "times": (at.timestamp() - ends + corpus.times[some] - 1).tolist(),
            }
            connection.execute(SQL.events, told)
        connection.execute("vacuum analyze")


def _trained(url: str, site_id: int, at: datetime) -> tuple[float, float, dict[str, Any]]:
    """Seconds, most memory in MiB, and the record. These visits are made up so plainly that
    neighbours alone know all of it: it goes live without being better."""
    gate.BETTER_P, gate.WORSE_P = 2.0, -1.0
    with database.connect(url, options=database.INGEST_OPTIONS) as connection:
        connection.execute("set statement_timeout = 0")
        began = time.monotonic()
        found = train.train(connection, site_id, at, told=_progress())
        took = time.monotonic() - began
    assert found.record is not None, found.skipped
    note(f"learning: {'promoted' if found.promoted else found.record['reasons']}")
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, found.record


def _progress() -> train.Told:
    began, stages = time.monotonic(), set[str]()

    def told(stage: str, done: int, of: int) -> None:
        if stage not in stages:
            stages.add(stage)
            note(f"learning: {stage}, after {time.monotonic() - began:.0f} s")

    return told


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
