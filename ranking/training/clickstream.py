"""Sessions of a clickstream, and the instances that the evaluation protocol makes of them.

The protocol: sessions by `session_id` sorted by time, immediate repeats of one product collapsed;
those that start before the cut train, later ones test. For each k the context is the first k events
of a test session and the target is the next one, unless the context holds it already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple
from zlib import crc32

from ranking.catalog.neighbours import GAP
from schemas.errors import AttuneError

HORIZONS = (0, 1, 2, 3)  # k: how many events of the session are known
SESSION_GAP_S = GAP.total_seconds()  # where the source has no session ids
FORCED_COLD = (20, 7)  # crc32(product_id) % 20 == 7 loses its training events


class BadLine(AttuneError):
    """A line of an archive that is not in the common format."""


class Click(NamedTuple):
    """One event of a file: who, unix seconds, what."""

    session_id: str
    user_id: str
    ts: float
    type: str
    product_id: str
    rating: float | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """Known events of one test session and the one to find."""

    session_id: str
    k: int
    context: tuple[Click, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Split:
    """A clickstream cut in two: what was known, and the sessions to foretell."""

    train: list[Click]
    test: list[list[Click]]

    def instances(self, k: int) -> list[Instance]:
        return [
            Instance(session[0].session_id, k, tuple(session[:k]), session[k].product_id)
            for session in self.test
            if len(session) > k and session[k].product_id not in {c.product_id for c in session[:k]}
        ]


def clicks(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Click]:
    """Every event of records in the common format, each with where it stood; sessions are made up
    where there are none. Raises BadLine."""
    return in_sessions([_click(record, where) for where, record in rows])


def _click(record: Mapping[str, Any], where: str) -> Click:
    try:
        return Click(
            str(record.get("session_id") or ""),
            str(record.get("user_id") or ""),
            float(record["ts"]),
            str(record["type"]),
            str(record["product_id"]),
            record.get("rating"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadLine(
            f"{where} is no event: it needs ts (unix seconds), type and product_id ({error!r})"
        ) from None


def split(clicks: Iterable[Click], cut: float, *, forced_cold: bool) -> Split:
    """Cut at a unix time; `forced_cold`: a twentieth of the products lose their train events."""
    sessions: dict[str, list[Click]] = defaultdict(list)
    for click in clicks:
        sessions[click.session_id].append(click)
    train: list[Click] = []
    test: list[list[Click]] = []
    for session in sessions.values():
        session.sort(key=lambda click: click.ts)
        ordered = _collapsed(session)
        if ordered[0].ts < cut:
            train += ordered
        else:
            test.append(ordered)
    if forced_cold:
        train = [click for click in train if not is_forced_cold(click.product_id)]
    train.sort(key=lambda click: click.ts)
    return Split(train, test)


def is_forced_cold(product_id: str) -> bool:
    modulus, remainder = FORCED_COLD
    return crc32(product_id.encode()) % modulus == remainder


def _collapsed(session: list[Click]) -> list[Click]:
    repeats = (later.product_id == earlier.product_id for earlier, later in pairwise(session))
    return session[:1] + [
        click for click, repeat in zip(session[1:], repeats, strict=True) if not repeat
    ]


def in_sessions(clicks: list[Click]) -> list[Click]:
    """The clicks, in sessions made up where they have none: half an hour without an event of the
    person ends one."""
    return clicks if all(click.session_id for click in clicks) else list(_in_sessions(clicks))


def _in_sessions(clicks: list[Click]) -> Iterator[Click]:
    last: dict[str, tuple[float, int]] = {}
    for click in sorted(clicks, key=lambda click: click.ts):
        if click.session_id:
            yield click
            continue
        ts, number = last.get(click.user_id, (click.ts, 0))
        number += click.ts - ts > SESSION_GAP_S
        last[click.user_id] = (click.ts, number)
        yield click._replace(session_id=f"{click.user_id}/{number}")
