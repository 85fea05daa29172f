"""Who does not count in training: machines, and whoever would drown out everybody else.

The rules, in this order; docs/reference/learning.md tells them to the shop:

1. A visitor with more than MOST_A_DAY product events on one day is a machine: all of it is left
   out.
2. A session counts with its first MOST_OF_SESSION products.
3. The same series of SCRIPT or more products counts MOST_ALIKE times: more is a script.
4. Nobody is more than MOST_OF_ALL of the archive: the oldest sessions of whoever is are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ranking.training.clickstream import SESSION_GAP_S
from ranking.training.corpus import DAY_S

MOST_A_DAY = 2_000
MOST_OF_SESSION = 200
SCRIPT = 4
MOST_ALIKE = 5
MOST_OF_ALL = 0.02
FEWEST_CUT = 200  # events: nobody with fewer is cut back


class Happened(NamedTuple):
    """One product event: when (unix seconds), the product's row, its kind, the session's name
    where the sender told one, and how many events it stands for."""

    at: float
    row: int
    kind: int
    session: str | None
    weight: float = 1.0


Session = tuple[list[int], list[int], list[float], list[float]]  # rows, kinds, times, weights


@dataclass
class LeftOut:
    """What did not count, and why; part of a version's record."""

    machines: int = 0
    machine_events: int = 0
    long_session_events: int = 0
    script_sessions: int = 0
    heavy_visitors: int = 0
    heavy_events: int = 0
    unknown_products: int = 0


@dataclass
class Cleaned:
    """Sessions that count, and the visitor (a number) of each."""

    sessions: list[Session] = field(default_factory=list)
    visitors: list[int] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


class Cleaning:
    """Takes visitor after visitor, so that an archive need not fit into memory."""

    def __init__(self) -> None:
        self.made = Cleaned()
        self._alike: Counter[tuple[int, ...]] = Counter()
        self._visitors = 0

    def visitor(self, happened: Iterable[Happened]) -> None:
        """All of one visitor's events, the oldest first. Of a machine no more is kept than is
        needed to see it."""
        self._visitors += 1
        known = list(_while_human(happened, self.made.left_out))
        for session in _sessions(known):
            rows, kinds, times, weights = session
            self.made.left_out.long_session_events += max(0, len(rows) - MOST_OF_SESSION)
            rows = rows[:MOST_OF_SESSION]
            if len(rows) >= SCRIPT:
                self._alike[tuple(rows)] += 1
                if self._alike[tuple(rows)] > MOST_ALIKE:
                    self.made.left_out.script_sessions += 1
                    continue
            end = len(rows)
            self.made.sessions.append((rows, kinds[:end], times[:end], weights[:end]))
            self.made.visitors.append(self._visitors)

    def done(self) -> Cleaned:
        """What is left, nobody of it too much."""
        total = sum(len(session[0]) for session in self.made.sessions)
        most = max(FEWEST_CUT, int(MOST_OF_ALL * total))
        events: Counter[int] = Counter()
        for visitor, session in zip(self.made.visitors, self.made.sessions, strict=True):
            events[visitor] += len(session[0])
        heavy = {visitor for visitor, count in events.items() if count > most}
        if not heavy:
            return self.made
        return self._without(_oldest(self.made, heavy, most), heavy)

    def _without(self, dropped: set[int], heavy: set[int]) -> Cleaned:
        left_out = self.made.left_out
        left_out.heavy_visitors = len(heavy)
        left_out.heavy_events = sum(len(self.made.sessions[n][0]) for n in dropped)
        kept = [n for n in range(len(self.made.sessions)) if n not in dropped]
        return Cleaned(
            [self.made.sessions[n] for n in kept], [self.made.visitors[n] for n in kept], left_out
        )


def _while_human(happened: Iterable[Happened], left_out: LeftOut) -> Iterator[Happened]:
    """The events, or none where there is a day of too many."""
    kept: list[Happened] = []
    days: Counter[int] = Counter()
    seen, is_machine = 0, False
    for one in happened:
        seen += 1
        day = int(one.at // DAY_S)
        days[day] += 1
        if days[day] > MOST_A_DAY:
            is_machine = True
            kept.clear()
        if not is_machine:
            kept.append(one)
    if is_machine:
        left_out.machines += 1
        left_out.machine_events += seen
    return iter(kept)


def _sessions(happened: Sequence[Happened]) -> Iterator[Session]:
    """By the sender's names of them, else by gaps of half an hour; immediate repeats of a product
    are one event, of the strongest kind and the greatest weight."""
    open_: dict[str, Session] = {}
    made: list[Session] = []
    gap: Session | None = None
    for one in happened:
        if one.session:
            session = open_.get(one.session)
            if session is None:
                session = open_[one.session] = ([], [], [], [])
                made.append(session)
        elif gap is None or one.at - gap[2][-1] > SESSION_GAP_S:
            session = gap = ([], [], [], [])
            made.append(session)
        else:
            session = gap
        _add(session, one)
    return iter(made)


def _add(session: Session, one: Happened) -> None:
    rows, kinds, times, weights = session
    if rows and rows[-1] == one.row:
        kinds[-1] = max(kinds[-1], one.kind)
        weights[-1] = max(weights[-1], one.weight)
        return
    rows.append(one.row)
    kinds.append(one.kind)
    times.append(one.at)
    weights.append(one.weight)


def _oldest(cleaned: Cleaned, heavy: set[int], most: int) -> set[int]:
    """The sessions of heavy visitors but their newest that are `most` events together."""
    by_age = sorted(
        (n for n, visitor in enumerate(cleaned.visitors) if visitor in heavy),
        key=lambda n: -cleaned.sessions[n][2][0],
    )
    kept: Counter[int] = Counter()
    dropped = set()
    for number in by_age:
        visitor, events = cleaned.visitors[number], len(cleaned.sessions[number][0])
        if kept[visitor] + events > most:
            dropped.add(number)
        else:
            kept[visitor] += events
    return dropped
