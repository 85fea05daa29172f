"""What the jobs do. RQ calls `run` in the worker, encoder and trainer roles; each task finds its
work in Postgres, so that one hint too many or too few changes nothing.
"""

from __future__ import annotations

import faulthandler
import functools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter, Histogram

from gateway import (
    access,
    erasing,
    idempotency,
    ingest,
    instant,
    jobs,
    learning,
    retention,
    site_settings,
    sync,
)
from gateway.importing import importer
from gateway.settings import load
from ranking import impressions, pages
from ranking.catalog import (
    clusters,
    embeddings,
    neighbours,
    newcomers,
    popularity,
    products,
    queries,
    searched,
    snapshot,
    suggestions,
    together,
    words,
)
from ranking.catalog.encoder import Encoder, Encodes, Vectors
from schemas import database, tracing
from schemas.database import Connection

log = structlog.get_logger(__name__)

RUNS_KEPT = timedelta(days=7)
QUERIES_KEPT = timedelta(days=90)
IMPORTS_KEPT = timedelta(days=90)
SNAPSHOTS_KEPT = 2 * importer.GIVEN_UP  # one that is gone on with still needs what it has named
HUNG_S = 120.0  # a slice of the longest texts takes 4 s on one core
STILL_S = 180.0

Report = dict[str, Any]

TOOK = Histogram(
    "attune_task_seconds",
    "How long jobs took, by task",
    ["task"],
    buckets=(0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0),
)
FAILED = Counter("attune_tasks_failed", "Jobs that ended with an error", ["task"])


def run(task: str, site_id: int) -> None:
    """The door of every job: whatever goes wrong is logged and noted, and found again later."""
    jobs.started()
    began = time.monotonic()
    structlog.contextvars.bind_contextvars(task=task, site=site_id)
    try:
        with (
            tracing.span(f"job {task}", jobs.carried(), **{"attune.site": site_id}),
            closing(database.connect(load().database_url, options=OPTIONS)) as connection,
        ):
            _run(connection, task, site_id)
    except Exception:
        FAILED.labels(task).inc()
        log.exception("task failed")
    else:
        log.info("task done", seconds=round(time.monotonic() - began, 3))
    finally:
        TOOK.labels(task).observe(time.monotonic() - began)
        structlog.contextvars.clear_contextvars()


OPTIONS = "-c jit=off -c random_page_cost=1.1"


def _run(connection: Connection, task: str, site_id: int) -> None:
    try:
        report = TASKS[task](connection, site_id)
    except psycopg.OperationalError:
        raise  # nothing can be noted
    except Exception as error:
        jobs.finish(connection, task, site_id, {"error": f"{type(error).__name__}: {error}"})
        raise
    jobs.finish(connection, task, site_id, report)


# catalog ----------------------------------------------------------------------------------------


def prepare_encoder() -> None:
    """Load the network, and export it for the web's queries where no sound export is there."""
    path = _encoder().export()
    log.info("encoder ready", queries_use=str(path))


@functools.cache
def _encoder() -> Encoder:
    return Encoder(load().encoder_threads)


class Watched:
    """An encoder whose process ends where it never comes back from a text: nothing else stops a
    network, and whoever supervises this role starts it anew."""

    def __init__(self, encoder: Encodes) -> None:
        self._encoder = encoder

    def encode(self, texts: Sequence[str]) -> Vectors:
        # In a thread of its own that needs no lock of the interpreter's.
        faulthandler.dump_traceback_later(HUNG_S, exit=True, file=2)
        try:
            return self._encoder.encode(texts)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _encode(connection: Connection, site_id: int) -> Report:
    # What it has taken nobody else takes until its session ends, and one of a process that stands
    # still would last.
    connection.execute("select set_config('idle_session_timeout', %s, false)", [f"{STILL_S:.0f}s"])
    encoded = embeddings.drain(connection, site_id, Watched(_encoder()), stop=jobs.stopping)
    if encoded and embeddings.is_due(connection, site_id):
        jobs.hint("fit", site_id)
    if encoded and clusters.is_due(connection, site_id):
        jobs.hint("clusters", site_id)
    return {"encoded": encoded}


def _find_dirty(connection: Connection, site_id: int) -> Report:
    found = embeddings.find_dirty(connection, site_id)
    if found:
        jobs.hint("encode", site_id)
    return {"found": found}


def _fit(connection: Connection, site_id: int) -> Report:
    model = embeddings.fit(connection, site_id)
    if model is not None:
        jobs.hint("clusters", site_id)
    return {"model_id": model.model_id if model else None}


def _clusters(connection: Connection, site_id: int) -> Report:
    return clusters.refresh(connection, site_id)


MOST_WAITING = 0.05  # of the texts, to be encoded before a training


class _Stopped(Exception):
    """The role was asked to end while it trained."""


def _train(connection: Connection, site_id: int) -> Report:
    # A catalog that is being loaded says nothing yet: its turn comes again.
    waiting = embeddings.waiting(connection, site_id)
    if waiting > MOST_WAITING * embeddings.with_text(connection, site_id):
        return {"outcome": "busy", "reason": f"{waiting} texts are still to be encoded"}
    try:
        return learning.train(
            connection, site_id, instant.now(), scheduled=True, told=_unless_stopping
        )
    except _Stopped:  # as if another one ran: its turn comes again at once
        return {"outcome": "busy", "reason": "the trainer was stopped"}


def _unless_stopping(stage: str, done: int, of: int) -> None:
    if jobs.stopping():
        raise _Stopped


def _popularity(connection: Connection, site_id: int) -> Report:
    return {"products": popularity.refresh(connection, site_id, instant.now())}


def _impressions(connection: Connection, site_id: int) -> Report:
    """Count the lists, then who of the new products has had its chance, where a site gives any."""
    now = instant.now()
    counted = impressions.refresh(connection, site_id, now, stop=jobs.stopping)
    site = access.site_by_id(connection, site_id)
    if not site_settings.of(site, site_settings.EXPLORATION):
        return {"lists": counted}
    known = impressions.known(connection, site_id)
    return {"lists": counted} | newcomers.refresh(
        connection,
        site_id,
        now,
        settled=known.settled_until or now,
        looks=known.curve,
        enough=site_settings.of(site, site_settings.EXPLORATION_CHANCES),
    )


def _together(connection: Connection, site_id: int) -> Report:
    pairs, baskets = together.refresh(connection, site_id, instant.now())
    return {"pairs": pairs, "baskets": baskets}


def _neighbours(connection: Connection, site_id: int) -> Report:
    products, sessions = neighbours.refresh(connection, site_id, instant.now())
    return {"products": products, "sessions": sessions}


def _feeds(connection: Connection, site_id: int) -> Report:
    """One feed a job, so that a slow one holds up little else."""
    pool = database.open_pool(
        load().database_url, size=1, options=database.INGEST_OPTIONS, name="feeds"
    )
    with closing(pool):
        report = sync.pull_next(connection, pool, site_id, stop=jobs.stopping)
    if report["more"]:
        jobs.hint("feeds", site_id)
    return report


def _words(connection: Connection, site_id: int) -> Report:
    return {
        "split": words.fill(connection, site_id, stop=jobs.stopping),
        "recategorized": products.recategorize(connection, site_id, stop=jobs.stopping),
    }


def _facets(connection: Connection, site_id: int) -> Report:
    return {"described": products.describe_outdated(connection, site_id, stop=jobs.stopping)}


def _suggestions(connection: Connection, site_id: int) -> Report:
    now = instant.now()
    return suggestions.refresh(connection, site_id, now) | searched.refresh(
        connection, site_id, now
    )


# upkeep -----------------------------------------------------------------------------------------


def _sweep_failed(connection: Connection, site_id: int) -> Report:
    url = load().database_url
    pool = database.open_pool(url, size=1, options=database.INGEST_OPTIONS, name="sweep")
    with closing(pool):
        return {"mended": ingest.retry_failed(pool, site_id)}


def _erase_bodies(connection: Connection, site_id: int) -> Report:
    return {"records": erasing.overwrite(connection, site_id, stop=jobs.stopping)}


def _partitions(connection: Connection, site_id: int) -> Report:
    settings, now = load(), instant.now()
    made = database.make_partitions(
        connection,
        at=now,
        events_days=settings.retention_events_days,
        deliveries_days=settings.retention_deliveries_days,
        answers_days=settings.retention_impressions_days,
    )
    return {"made": made} | asdict(retention.apply(connection, settings, now))


def _purge(connection: Connection, site_id: int) -> Report:
    now = instant.now()
    return {
        "runs": jobs.purge(connection, now - RUNS_KEPT),
        "queries": queries.purge(connection, now - QUERIES_KEPT),
        "searched": searched.purge(connection, now - searched.WINDOW),
        "imports": importer.purge(connection, now - IMPORTS_KEPT),
        "impressions": impressions.purge(
            connection, now - timedelta(days=load().retention_impressions_days), now
        ),
        "snapshots": snapshot.purge(connection, now - SNAPSHOTS_KEPT),
        "paged_lists": pages.purge(connection, now - pages.IDLE),
        "idempotent_requests": idempotency.purge(connection, now - idempotency.KEPT),
    }


TASKS: dict[str, Callable[[Connection, int], Report]] = {
    "encode": _encode,
    "find_dirty": _find_dirty,
    "fit": _fit,
    "train": _train,
    "clusters": _clusters,
    "popularity": _popularity,
    "impressions": _impressions,
    "together": _together,
    "neighbours": _neighbours,
    "words": _words,
    "facets": _facets,
    "suggestions": _suggestions,
    "feeds": _feeds,
    "sweep_failed": _sweep_failed,
    "erase_bodies": _erase_bodies,
    "partitions": _partitions,
    "purge": _purge,
}
