"""The visits that a training is judged by: the last ones of an archive, of which something can be
foretold, and of no day many more than usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from ranking.training.corpus import DAY_S, HORIZONS, Corpus, Instances, Ints, instances
from ranking.training.measure import Mask

# Less says too little to learn from, or to prove anything with.
FEWEST_SESSIONS = 500  # of two products or more
SHORTEST_SPAN = timedelta(days=14)

SHARE = 0.1  # of the visits that can be foretold, the last ones
LONGEST = timedelta(days=21)
# Of one day no more visits choose and judge than so many times those of a usual day, or so few: a
# crawler's hour must not judge what it taught.
DAY_TIMES, DAY_FEW = 3, 20
# Visits that choose and judge, and those times products: more would tell little, and cost minutes.
MOST_VISITS, MOST_COMPARED = 4_000, 200_000_000


@dataclass(frozen=True)
class HeldOut:
    """Sessions that begin before the `cut` (unix seconds) and after it, and the visits `asked`
    of those after it, one set for each k of HORIZONS."""

    cut: float
    before: Corpus
    after: Corpus
    asked: Sequence[Instances]

    def half(self, half: int) -> list[Instances]:
        """Those asked of the even visits (0) or of the odd ones (1)."""
        return [one.half(half) for one in self.asked]


def held_out(corpus: Corpus, hidden: Mask) -> HeldOut:
    """The last visits of a corpus. Those before them do not know of `hidden` products (a mask over
    rows), which show how new products fare."""
    at = cut(corpus)
    before = corpus.chosen(corpus.begun < at).without(hidden)
    after = corpus.chosen(corpus.begun >= at)
    visits = after.chosen(usual(after, before))
    most = min(MOST_VISITS, MOST_COMPARED // max(1, corpus.products))
    last = max(0, len(visits) - 1)
    some = visits.chosen(np.unique(np.linspace(0, last, max(1, most)).astype(np.int64)))
    return HeldOut(at, before, after, [instances(some, k) for k in HORIZONS])


def lacking(corpus: Corpus) -> str | None:
    """What an archive lacks to be trained on, as a sentence; None where nothing."""
    sessions = int((corpus.lengths > 1).sum())
    if sessions < FEWEST_SESSIONS:
        return (
            f"{sessions} sessions of two products or more are too few to learn from: "
            f"{FEWEST_SESSIONS} are needed"
        )
    days = float(corpus.begun.max() - corpus.begun.min()) / DAY_S
    if days < SHORTEST_SPAN.days:
        return (
            f"the sessions begin within {days:.1f} days: {SHORTEST_SPAN.days} are needed to test "
            "on days that were not trained on"
        )
    return None


def cut(corpus: Corpus) -> float:
    """When the sessions that are held out begin: the last SHARE of them, or the LONGEST days."""
    begun = corpus.begun[usual(corpus, corpus)]
    by_share = float(np.quantile(begun, 1 - SHARE))
    return max(by_share, float(begun[-1]) - LONGEST.total_seconds())


def usual(corpus: Corpus, known: Corpus) -> Ints:
    """The numbers of sessions that something can be foretold of, of each day no more than
    DAY_TIMES as many as on half of the days that are `known`, spread over the day."""
    long = np.flatnonzero(corpus.lengths > 1)
    days = corpus.begun[long] // DAY_S
    of_days = np.unique(known.begun[known.lengths > 1] // DAY_S, return_counts=True)[1]
    most = max(DAY_FEW, DAY_TIMES * int(np.median(of_days))) if len(of_days) else DAY_FEW
    chosen = []
    for day in np.unique(days):
        of_day = long[days == day]
        some = np.linspace(0, len(of_day) - 1, min(most, len(of_day))).astype(np.int64)
        chosen.append(of_day[some])
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
