"""Asks a few served searches again exactly, beside the requests, so that `/metrics` can tell how
much an index misses.
"""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg
import structlog

from gateway.telemetry import logs
from ranking.catalog import nearest, recall
from ranking.catalog.recall import Served
from schemas import database
from schemas.database import Connection

log = structlog.get_logger(__name__)

# An exact search of 100,000 products takes 45 ms of a processor, so this is one percent of one.
PAUSE_S = 5.0
LOW = 0.8  # of one search: a line in the log says whose it was

# A connection of its own, so that no request waits for one; as the requests' are, but in no hurry
# and on one processor.
OPTIONS = (
    f"{database.SERVING_OPTIONS} -c statement_timeout=10000 -c max_parallel_workers_per_gather=0"
)


def watch(database_url: str) -> None:
    """Look at one search at a time until this process ends; after the last fork."""
    threading.Thread(target=_run, args=[database_url], name="recall", daemon=True).start()


def _run(database_url: str) -> None:
    pause = threading.Event()
    while True:
        served = recall.taken()
        if served is not None:
            _look(database_url, served)
        pause.wait(PAUSE_S)
        recall.taken(0)  # too old to compare: the catalog may have changed


def _look(database_url: str, served: Served) -> None:
    """Without Postgres, or where a new model has taken the place of this one, nothing is known."""
    try:
        with closing(database.connect(database_url, options=OPTIONS)) as connection:
            check(connection, served)
    except psycopg.Error as error:
        log.info("no search asked again", error=logs.first_line(error))


def check(connection: Connection, served: Served) -> None:
    """Ask it again exactly, and show what comes of it."""
    exact = nearest.asked_again(connection, served)
    matches = nearest.matches(connection, served.model, served.filter)
    known = recall.compared(served, exact, matches)
    if known is not None and known[1] < LOW:
        width, share = known
        log.warning(
            "a search missed products", site=served.model.site_id, selectivity=width,
            recall=round(share, 3),
        )  # fmt: skip
