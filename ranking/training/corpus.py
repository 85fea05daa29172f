"""Sessions as arrays: what the network is trained and tested on, whatever they were read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from ranking.catalog.learned import STEPS, Array

Ints = np.ndarray[Any, np.dtype[np.int64]]

HALF_LIFE = timedelta(days=21)  # of the popularity term
DAY_S = 86400.0
HORIZONS = (1, 2, 3)  # events known of a visit, for testing


@dataclass(frozen=True)
class Corpus:
    """Sessions one after another, the earlier begun first.

    `products` counts the catalog's rows; each event has a `row`, a `kind` (of learned.KINDS) and a
    time in unix seconds. Session n is from `starts[n]` up to `starts[n + 1]`. `weights`: how many
    events each stands for; None: all for themselves.
    """

    products: int
    rows: Ints
    kinds: Ints
    times: np.ndarray[Any, np.dtype[np.float64]]
    starts: Ints
    weights: Array | None = None

    def __len__(self) -> int:
        """How many sessions."""
        return len(self.starts) - 1

    @property
    def events(self) -> int:
        return len(self.rows)

    @property
    def begun(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """When each session began."""
        return self.times[self.starts[:-1]]

    @property
    def lengths(self) -> Ints:
        return np.diff(self.starts)

    def chosen(self, sessions: np.ndarray[Any, Any]) -> Corpus:
        """These sessions alone, by number or by a mask."""
        numbers = np.flatnonzero(sessions) if sessions.dtype == bool else sessions
        lengths = self.lengths[numbers]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        take = np.repeat(self.starts[numbers] - starts[:-1], lengths) + np.arange(starts[-1])
        weights = None if self.weights is None else self.weights[take]
        return Corpus(
            self.products, self.rows[take], self.kinds[take], self.times[take], starts, weights
        )

    def without(self, hidden: np.ndarray[Any, Any]) -> Corpus:
        """The same without the events of these products (a mask over rows); what becomes a repeat
        is one event."""
        keep = ~hidden[self.rows]
        session = np.repeat(np.arange(len(self)), self.lengths)[keep]
        rows, kinds, times = self.rows[keep], self.kinds[keep], self.times[keep]
        weights = None if self.weights is None else self.weights[keep]
        if len(rows):
            again = np.concatenate(
                [[False], (rows[1:] == rows[:-1]) & (session[1:] == session[:-1])]
            )
            rows, kinds, times, session = (one[~again] for one in (rows, kinds, times, session))
            weights = None if weights is None else weights[~again]
        lengths = np.bincount(session, minlength=len(self))
        starts = np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64)
        return Corpus(self.products, rows, kinds, times, starts, weights)

    def counts(self, at: float, half_life: timedelta = HALF_LIFE) -> Array:
        """Events of each product before `at`, each halved by every half-life since."""
        before = self.times < at
        weights = 0.5 ** ((at - self.times[before]) / half_life.total_seconds())
        counted = np.bincount(self.rows[before], weights=weights, minlength=self.products)
        return counted.astype(np.float32)

    def ever(self) -> np.ndarray[Any, Any]:
        """Which products have any event: a mask over rows."""
        return np.bincount(self.rows, minlength=self.products) > 0


def gathered(
    products: int,
    sessions: Sequence[tuple[Sequence[int], Sequence[int], Sequence[float], Sequence[float]]],
) -> Corpus:
    """A corpus of sessions told as (rows, kinds, times, weights), put in order of their
    beginnings."""
    ordered = sorted((one for one in sessions if len(one[0])), key=lambda one: (one[2][0], one[0]))
    lengths = [len(rows) for rows, *_ in ordered]
    weights = np.array([weight for *_, weights in ordered for weight in weights], np.float32)
    return Corpus(
        products,
        np.array([row for rows, *_ in ordered for row in rows], np.int64),
        np.array([kind for _, kinds, *_ in ordered for kind in kinds], np.int64),
        np.array([time for _, _, times, _ in ordered for time in times], np.float64),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        weights if np.any(weights != 1) else None,
    )


@dataclass(frozen=True)
class Instances:
    """Visits of which `k` events are known, newest first in `rows` and `kinds` [n, k], and the
    product that came next: the evaluation protocol's, which drops what the context holds.
    `sessions` are their numbers in the corpus, `begun` when those began, in unix seconds."""

    k: int
    rows: Ints
    kinds: Ints
    targets: Ints
    sessions: Ints
    begun: np.ndarray[Any, np.dtype[np.float64]]

    def __len__(self) -> int:
        return len(self.targets)

    def chosen(self, which: Any) -> Instances:
        """These alone: a mask, numbers or a slice."""
        return Instances(
            self.k,
            self.rows[which],
            self.kinds[which],
            self.targets[which],
            self.sessions[which],
            self.begun[which],
        )

    def half(self, half: int) -> Instances:
        """Those of the even visits (0) or of the odd ones (1)."""
        return self.chosen(self.sessions % 2 == half)

    @classmethod
    def joined(cls, some: Sequence[Instances]) -> Instances:
        """All of these, of one k."""
        arrays = ("rows", "kinds", "targets", "sessions", "begun")
        return cls(
            some[0].k, *(np.concatenate([getattr(one, name) for one in some]) for name in arrays)
        )


def instances(corpus: Corpus, k: int) -> Instances:
    """Those of a corpus, for k from 1 to STEPS."""
    assert 1 <= k <= STEPS
    long_enough = np.flatnonzero(corpus.lengths > k)
    at = corpus.starts[:-1][long_enough][:, np.newaxis] + np.arange(k + 1)
    rows, kinds = corpus.rows[at], corpus.kinds[at]
    is_new = (rows[:, :k] != rows[:, k:]).all(axis=1)
    newest_first = slice(k - 1, None, -1)
    return Instances(
        k,
        rows[is_new][:, newest_first],
        kinds[is_new][:, newest_first],
        rows[is_new][:, k],
        long_enough[is_new],
        corpus.begun[long_enough[is_new]],
    )
