"""Loads what encodes queries, beside the first requests of a web process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from ranking.catalog import queries

log = structlog.get_logger(__name__)

TRIES, PAUSE_S = 60, 5.0
# On a first start the encoder role makes the network in less; only then something is wrong.
ENCODER_STARTS_WITHIN_S = 60.0


_ended = threading.Event()
_threads: list[threading.Thread] = []


def begin() -> None:
    """Warm up in a thread of its own; after the last fork."""
    _ended.clear()
    _threads.append(threading.Thread(target=warm_up, name="warming", daemon=True))
    _threads[-1].start()


def end(until: float) -> bool:
    """Try no more; whether it has come to an end by then (of time.monotonic)."""
    _ended.set()
    for thread in _threads:
        thread.join(max(0.0, until - time.monotonic()))
    _threads[:] = [thread for thread in _threads if thread.is_alive()]
    return not _threads


def warm_up(
    pause: Callable[[float], object] = _ended.wait, clock: Callable[[], float] = time.monotonic
) -> None:
    """Try until the network is there; says why not, as a warning once it should be."""
    begun, told = clock(), None
    for _ in range(TRIES):
        if queries.warm_up():
            return
        is_late = clock() - begun >= ENCODER_STARTS_WITHIN_S
        said = (queries.problem(), is_late)
        if said != told:
            told = said
            write = log.warning if is_late else log.info
            write("queries are not encoded", error=queries.problem())
        if pause(PAUSE_S):  # it is to end
            return
