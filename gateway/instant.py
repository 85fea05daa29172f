"""What time it is. Where several machines, or one with a wrong clock, serve one installation, the
order of uploads, the hour of a repeat and what is too old must not depend on who took a request:
the roles follow Postgres's clock.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import structlog

log = structlog.get_logger(__name__)

EVERY_S, AGAIN_S = 10.0, 1.0
CONNECT_S = 3
TOLERATED = timedelta(seconds=1)  # less is the way there and back, and changes no order

_ahead = timedelta(0)
_followed: set[tuple[int, str]] = set()


def now() -> datetime:
    """The present instant by Postgres's clock, or by ours where this process does not follow."""
    return datetime.now(UTC) + _ahead


def follow(database_url: str) -> None:
    """Ask Postgres now and every few seconds from now on."""
    answered = _ask(database_url)
    followed = (os.getpid(), database_url)  # threads do not come along where a process forks
    if followed in _followed:
        return
    _followed.add(followed)
    for_ever = threading.Event()
    threading.Thread(target=_go_on, args=(database_url, answered, for_ever), daemon=True).start()


@contextlib.contextmanager
def following(database_url: str) -> Iterator[None]:
    """Follow Postgres within the block only: a process that goes on has its own time again."""
    global _ahead
    ended = threading.Event()
    asking = (database_url, _ask(database_url), ended)
    thread = threading.Thread(target=_go_on, args=asking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _ahead = timedelta(0)


def _go_on(database_url: str, answered: bool, ended: threading.Event) -> None:
    while not ended.wait(EVERY_S if answered else AGAIN_S):
        answered = _ask(database_url)


def _ask(database_url: str) -> bool:
    """While Postgres is away nothing is taken in either, so what was last known will do."""
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_S) as connection:
            _compare(connection)
    except psycopg.Error as error:
        log.debug("no time from postgres", error=str(error))
        return False
    return True


def _compare(connection: psycopg.Connection) -> None:
    global _ahead
    before = datetime.now(UTC)
    [(theirs,)] = connection.execute("select clock_timestamp()").fetchall()
    ahead: timedelta = theirs - before - (datetime.now(UTC) - before) / 2
    if abs(ahead) < TOLERATED:
        ahead = timedelta(0)
    if abs(ahead - _ahead) >= TOLERATED:
        log.warning(
            "the clock of this machine is not Postgres's, which is followed",
            postgres_ahead_s=round(ahead.total_seconds(), 3),
        )
    _ahead = ahead
