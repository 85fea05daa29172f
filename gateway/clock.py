"""The clock: finds in Postgres what is due, claims its time slot, and gives a hint.

It runs nothing itself, so that two clocks, a lost hint or a Redis that is away do no harm: what
is still to do is found again in the next slot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import structlog

from gateway import erasing, instant, jobs, sync
from gateway.settings import load
from ranking.catalog import clusters, embeddings
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)
log = structlog.get_logger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AFTER_FAILURE_S = 5.0
OVERLAP = timedelta(minutes=1)  # a delivery may commit later than it was received
LOOKED_AT = 10_000  # deliveries, of which we ask whether they are much


# Trainings take all of a machine for minutes: sites begin at different times of the span.
TRAIN_EVERY = timedelta(hours=4)
TRAIN_LOOK = timedelta(minutes=10)  # so often a site's turn is looked for


@dataclass(frozen=True)
class Task:
    """`due` names the sites that have something to do at an instant."""

    name: str
    every: timedelta
    due: Callable[[Connection, datetime], list[int]]


def run() -> None:
    """Tick until SIGTERM or SIGINT; goes on when Postgres goes away and comes back."""
    settings = load()
    stop = jobs.stop_on_signals()
    with jobs.heartbeat(settings, "clock"):
        while not stop.is_set():
            try:
                with closing(database.connect(settings.database_url)) as connection:
                    _tick_until(connection, stop)
            except psycopg.OperationalError as error:
                log.warning("postgres is away", error=str(error))
                stop.wait(AFTER_FAILURE_S)


def _tick_until(connection: Connection, stop: threading.Event) -> None:
    while not stop.is_set():
        now = instant.now()
        tick(connection, now)
        stop.wait((_slot(now, SHORTEST) + SHORTEST - instant.now()).total_seconds())


def tick(connection: Connection, at: datetime) -> list[tuple[str, int]]:
    """Give the hints of the slots that `at` lies in and nobody claimed; returns (task, site)."""
    return [
        (task.name, site_id)
        for task in TASKS
        for site_id in task.due(connection, at)
        if _hinted(connection, task.name, site_id, _slot(at, task.every))
    ]


def _hinted(connection: Connection, task: str, site_id: int, slot: datetime) -> bool:
    if not jobs.claim(connection, task, site_id, slot):
        return False
    if jobs.hint(task, site_id):
        return True
    jobs.unclaim(connection, task, site_id, slot)
    return False


def _slot(at: datetime, every: timedelta) -> datetime:
    return at - (at - EPOCH) % every


# what is due ------------------------------------------------------------------------------------


def _sites_to_fit(connection: Connection, at: datetime) -> list[int]:
    return [site for site in embeddings.sites(connection) if embeddings.is_due(connection, site)]


def _sites_to_cluster(connection: Connection, at: datetime) -> list[int]:
    """Where the catalog has changed much, and each day all: prices change."""
    asked = {"task": "clusters", "before": at - timedelta(days=1)}
    done = {row[0] for row in connection.execute(SQL.sites_done_since, asked)}
    sites = embeddings.sites(connection)
    return [one for one in sites if one not in done or clusters.is_due(connection, one)]


def _sites_with_news(
    task: str, at_least: timedelta = timedelta(hours=1)
) -> Callable[[Connection, datetime], list[int]]:
    """Sites that were sent something since that task last ran, and so often all: time passes."""

    def due(connection: Connection, at: datetime) -> list[int]:
        asked = {"task": task, "at": at, "overlap": OVERLAP, "at_least": at_least}
        return [row[0] for row in connection.execute(SQL.sites_with_news, asked)]

    return due


def _sites_with_purchases(connection: Connection, at: datetime) -> list[int]:
    asked = {
        "at": at,
        "overlap": OVERLAP,
        "news_at_least": timedelta(hours=1),
        "at_least": timedelta(days=1),
        "looked_at": LOOKED_AT,
    }
    return [row[0] for row in connection.execute(SQL.sites_with_purchases, asked)]


def _sites_to_train(connection: Connection, at: datetime) -> list[int]:
    """Sites whose turn has come since their last training, and who were sent something since."""
    asked = {"at": at, "every": TRAIN_EVERY, "look": TRAIN_LOOK, "overlap": OVERLAP}
    return [row[0] for row in connection.execute(SQL.sites_to_train, asked)]


def _sites_with_failures(connection: Connection, at: datetime) -> list[int]:
    return [row[0] for row in connection.execute(SQL.sites_with_failures)]


def _all_sites(connection: Connection, at: datetime) -> list[int]:
    return embeddings.sites(connection)


def _once(connection: Connection, at: datetime) -> list[int]:
    return [jobs.EVERY_SITE]


TASKS = (
    Task("encode", timedelta(seconds=30), embeddings.sites_waiting),
    Task("fit", timedelta(minutes=1), _sites_to_fit),
    Task("clusters", timedelta(minutes=10), _sites_to_cluster),
    Task("train", TRAIN_LOOK, _sites_to_train),
    Task("popularity", timedelta(minutes=1), _sites_with_news("popularity")),
    Task("impressions", timedelta(minutes=1), _sites_with_news("impressions")),
    Task("suggestions", timedelta(minutes=1), _sites_with_news("suggestions")),
    Task("together", timedelta(minutes=1), _sites_with_purchases),
    # Each day all: erasure and retention take events away.
    Task("neighbours", timedelta(hours=1), _sites_with_news("neighbours", timedelta(days=1))),
    Task("sweep_failed", timedelta(minutes=1), _sites_with_failures),
    Task("erase_bodies", timedelta(minutes=5), erasing.sites),
    Task("feeds", timedelta(minutes=1), sync.due),
    Task("partitions", timedelta(hours=1), _once),
    Task("purge", timedelta(hours=1), _once),
    Task("words", timedelta(hours=1), _all_sites),
    Task("facets", timedelta(hours=1), _all_sites),
    Task("find_dirty", timedelta(days=1), _all_sites),
)
SHORTEST = min(task.every for task in TASKS)
