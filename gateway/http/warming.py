"""Loads what encodes queries, beside the first requests of a web process."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from ranking.catalog import queries

log = structlog.get_logger(__name__)

TRIES, PAUSE_S = 60, 5.0
# On a first start the encoder role makes the network in less; only then something is wrong.
ENCODER_STARTS_WITHIN_S = 60.0


def warm_up(
    pause: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
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
        pause(PAUSE_S)
