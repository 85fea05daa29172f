"""What do style clusters and similar users cost on 100,000 products and 100,000 visitors?"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from bench import catalog, engine
from bench.report import Line, at_most, known, note, percentile
from bench.stage import Stage, stage
from gateway import instant
from ranking import similar_users, styles
from ranking.catalog import clusters, popularity
from ranking.visitors import profile
from ranking.visitors.identity import actor_id
from schemas import database
from schemas.database import Connection

PRODUCTS = 100_000
EVENTS = 1_000_000
VISITORS = 100_000
ASKED = 60
FIT_S = 60.0
SIMILAR_MS = 100.0
OPTIONS = "-c jit=off -c random_page_cost=1.1"


def run() -> Iterator[Line]:
    with stage() as on:
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        _history(on)
        yield from _fits(on)
        with closing(database.connect(on.database_url, options=OPTIONS)) as connection:
            yield from _profiles(on, connection)
            yield from _similar(on, connection)
            yield from _listed(on, connection)


def _history(on: Stage) -> None:
    note(f"affinities: {EVENTS} events of {VISITORS} visitors")
    told = {
        "site_id": on.site.site_id,
        "actors": [actor_id(on.site.pepper, "anonymous", f"v{n}") for n in range(VISITORS)],
        "at": instant.now(),
        "events": EVENTS,
        "visitors": VISITORS,
    }
    with closing(database.connect(on.database_url, options=OPTIONS)) as connection:
        connection.execute(engine.SQL.actors, told)
        connection.execute(engine.SQL.events, told)
        connection.execute("vacuum analyze")
        popularity.refresh(connection, on.site.site_id, instant.now())


def _fits(on: Stage) -> Iterator[Line]:
    """A first fit, a day on which nothing is due, and a fit that goes on from the first."""
    for name in ("first fit", "day without a fit", "fit again"):
        note(f"affinities: {name}")
        if name == "fit again":
            with on.pool.connection() as connection:
                connection.execute("update cluster_sites set fitted_on = fitted_on / 2")
        seconds, megabytes, found = _in_a_process(on)
        what = f"{name}, {PRODUCTS:,} products, {found} clusters"
        yield at_most(what, seconds, "s", FIT_S)
        yield known(f"{name}, most memory of its process", megabytes, "MB", digits=0)


def _in_a_process(on: Stage) -> tuple[float, float, int]:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=refresh, args=(there, on.database_url, on.site.site_id))
    process.start()
    told: tuple[float, float, int] = here.recv()
    process.join()
    return told


def refresh(told: Pipe, url: str, site_id: int) -> None:
    """In a process of its own, whose memory is its own."""
    with closing(database.connect(url, options=OPTIONS)) as connection:
        began = time.perf_counter()
        found = clusters.refresh(connection, site_id)
        seconds = time.perf_counter() - began
    told.send((seconds, _most_megabytes(), found["clusters"]))


def _most_megabytes() -> float:
    """Of this process since it began: getrusage would count its parent's too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


def _profiles(on: Stage, connection: Connection) -> Iterator[Line]:
    took = _timed(on, lambda actor: _profile(on, connection, actor))
    yield known("profile made anew, p50", percentile(took, 50), "ms")
    yield known("the same, p95", percentile(took, 95), "ms")


def _profile(on: Stage, connection: Connection, visitor: str) -> None:
    actor = actor_id(on.site.pepper, "anonymous", visitor)
    profile.current(connection, on.site.site_id, actor, at=instant.now())


def _similar(on: Stage, connection: Connection) -> Iterator[Line]:
    """Once the profiles are there: the first time up to MAKING_S goes into making some."""

    def ask(visitor: str) -> None:
        actor = actor_id(on.site.pepper, "anonymous", visitor)
        similar_users.similar_users(connection, on.site.site_id, actor, at=instant.now(), limit=20)

    first = _timed(on, ask, seed=2)
    for _ in range(2):
        took = _timed(on, ask, seed=2)
    yield known("similar_users p50, profiles to be made", percentile(first, 50), "ms")
    yield at_most(
        f"similar_users p50, {VISITORS:,} visitors, {EVENTS:,} events", percentile(took, 50), "ms",
        SIMILAR_MS,
    )  # fmt: skip
    yield known("the same, p95", percentile(took, 95), "ms")


def _listed(on: Stage, connection: Connection) -> Iterator[Line]:
    found = styles.clusters(connection, on.site.site_id)
    for one in found[:5]:
        note(f"affinities: {one['label']}: {[each['title'] for each in one['examples'][:3]]}")
    took = _timed(on, lambda _: styles.clusters(connection, on.site.site_id))
    yield known("clusters listed, p50", percentile(took, 50), "ms")
    some = found[0]["id"]
    took = _timed(
        on,
        lambda _: styles.cluster(connection, on.site.site_id, some, at=instant.now(), limit=24),
    )
    yield known("one cluster, p50", percentile(took, 50), "ms")


def _timed(on: Stage, work: Callable[[str], object], seed: int = 1) -> list[float]:
    chooser, took = random.Random(seed), []
    for _ in range(ASKED):
        visitor = f"v{chooser.randrange(VISITORS)}"
        began = time.perf_counter()
        work(visitor)
        took.append(1000 * (time.perf_counter() - began))
    return took
