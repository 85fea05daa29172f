"""Whether a trained version may go live: better than what is live, and harmful nowhere.

`judged` compares on visits that neither has seen; its verdict is part of the version's record.
`promote` and `rollback` flip which version is live, in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psycopg

from ranking.catalog import learned_models
from ranking.catalog.learned_models import NAME, Learned
from ranking.catalog.models import SQL
from ranking.training import build
from ranking.training.corpus import Instances
from ranking.training.measure import Lists
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

# What a version is named against that nothing was trained for.
UNTRAINED = "untrained lists"

BETTER_P = 0.05  # of the paired test, pooled over k
WORSE_P = 0.05 / 3  # at one k of three: one in twenty that are as good would be refused
RESAMPLES = 2_000
FEWEST = 200  # instances pooled over k: fewer prove nothing

# Guardrails, each against what is live on the same visits. Hand-set: they stop what is broken,
# the paired test chooses what is better.
COLD_KEPT = 0.6  # of the hit rate of products without history
FEWEST_COLD = 40
COVERAGE_KEPT = 0.5
TOP_SHARE_MOST = 0.5  # of all places, taken by the hundredth of products shown most
TOP_SHARE_TIMES = 3.0
DRIFT_MOST = 0.4  # of events: how far kinds before and after the cut differ (total variation)
RECALL_LEAST = 0.98
LATENCY_MS, LATENCY_TIMES = 25.0, 2.0  # so long, or so many times what texts take, is too long


class NoSuchVersion(AttuneError):
    """No version of that number can serve."""


@dataclass(frozen=True)
class Guardrail:
    """One thing that must not get worse: what it is, its value, the least or most it may be."""

    name: str
    value: float
    bar: float
    met: bool


@dataclass
class Verdict:
    """`compared` holds, for each rival and k, both figures; `reasons` say why not, if not."""

    compared: dict[str, Any] = field(default_factory=dict)
    guardrails: list[Guardrail] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.reasons

    def guard(self, name: str, value: float, bar: float, *, most: bool = False) -> None:
        """Hold a value to a bar, the least it may be or the most."""
        met = bool(value <= bar if most else value >= bar)
        self.guardrails.append(Guardrail(name, round(float(value), 4), round(float(bar), 4), met))
        if not met:
            side = "more" if most else "less"
            self.reasons.append(f"{name} is {value:.3f}, {side} than {bar:.3f}")

    def told(self) -> dict[str, Any]:
        """As the version's record keeps it."""
        return {
            "verdict": "good" if self.is_good else "refused",
            "reasons": self.reasons,
            "compared": self.compared,
            "guardrails": [asdict(one) for one in self.guardrails],
        }


@dataclass(frozen=True)
class Trial:
    """One k: the instances, which of their targets are products without history, and the lists
    of the version and of its rival."""

    asked: Instances
    is_cold: np.ndarray[Any, Any]
    ours: Lists
    theirs: Lists


# the paired test ----------------------------------------------------------------------------------


def compare(verdict: Verdict, rival: str, tested: Sequence[Trial], *, must_win: bool) -> None:
    """Add the paired test against one rival. `must_win`: significantly better over all k together;
    else it is enough not to be worse. At no k may it be significantly worse."""
    pooled = sum(len(one.asked) for one in tested)
    told: dict[str, Any] = {f"k={one.asked.k}": _figures(one) for one in tested}
    verdict.compared[rival] = told
    if must_win and pooled < FEWEST:
        verdict.reasons.append(f"only {pooled} visits to test on, fewer than {FEWEST}")
        return
    if not pooled:
        return
    better = chance_of_no_gain(tested)
    told["p_not_better"] = better
    if must_win and better >= BETTER_P:
        verdict.reasons.append(f"not proved better than {rival}: p = {better:.3f}")
    for one in tested:
        if len(one.asked) and 1 - chance_of_no_gain([one]) < WORSE_P:
            verdict.reasons.append(f"worse than {rival} after {one.asked.k} events")
    if not must_win and 1 - better < BETTER_P:
        verdict.reasons.append(f"worse than {rival} over all")


def chance_of_no_gain(tested: Sequence[Trial]) -> float:
    """One-sided p of "the version's NDCG@10 is not above the rival's", by a bootstrap over visits:
    those of one visit are drawn together."""
    gain = np.concatenate([one.ours.gains() - one.theirs.gains() for one in tested])
    visits = np.concatenate([one.asked.sessions for one in tested])
    if not len(gain) or not gain.any():
        return 1.0
    _, number = np.unique(visits, return_inverse=True)
    of_visit = np.bincount(number, weights=gain)
    random = np.random.default_rng(0)
    not_above = 0
    for _ in range(RESAMPLES):
        drawn = random.integers(0, len(of_visit), len(of_visit))
        not_above += int(of_visit[drawn].sum() <= 0)
    return (not_above + 1) / (RESAMPLES + 1)


def _figures(one: Trial) -> dict[str, Any]:
    def mean(values: Any) -> float:
        return round(float(np.mean(values)), 4) if len(values) else 0.0

    return {
        "n": len(one.asked),
        "hit_rate@10": [mean(one.ours.hits()), mean(one.theirs.hits())],
        "ndcg@10": [mean(one.ours.gains()), mean(one.theirs.gains())],
    }


# guardrails ---------------------------------------------------------------------------------------


def guard(verdict: Verdict, tested: Sequence[Trial], products: int) -> None:
    """Cold products, coverage and concentration, against the rival's lists."""
    cold = np.concatenate([one.is_cold for one in tested])
    if cold.sum() >= FEWEST_COLD:
        ours = np.concatenate([one.ours.hits() for one in tested])[cold].mean()
        theirs = np.concatenate([one.theirs.hits() for one in tested])[cold].mean()
        verdict.guard("hit rate of products without history", ours, COLD_KEPT * theirs)
    ours_shown = np.concatenate([one.ours.rows for one in tested]).ravel()
    theirs_shown = np.concatenate([one.theirs.rows for one in tested]).ravel()
    verdict.guard(
        "share of the catalog in any list",
        _coverage(ours_shown, products),
        COVERAGE_KEPT * _coverage(theirs_shown, products),
    )
    most = max(TOP_SHARE_MOST, TOP_SHARE_TIMES * _top_share(theirs_shown, products))
    verdict.guard(
        "places taken by the top hundredth", _top_share(ours_shown, products), most, most=True
    )


def _coverage(shown: np.ndarray[Any, Any], products: int) -> float:
    return len(np.unique(shown)) / max(1, products)


def _top_share(shown: np.ndarray[Any, Any], products: int) -> float:
    counts = np.sort(np.bincount(shown, minlength=products))[::-1]
    return float(counts[: max(1, products // 100)].sum() / max(1, counts.sum()))


def drift(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> float:
    """How far two distributions of counts differ, from 0 to 1."""
    if not before.sum() or not after.sum():
        return 1.0
    return float(np.abs(before / before.sum() - after / after.sum()).sum() / 2)


# going live ---------------------------------------------------------------------------------------

TRIES = 20


def promote(connection: Connection, learned: Learned, *, again: bool = False) -> None:
    """Make it the live version: caught up with the catalog, then flipped in one transaction while
    no product changes. `again`: it is gone back to. The connection is in autocommit."""
    site_id = learned.model.site_id
    build.catch_up(connection, learned)
    for attempt in range(TRIES):
        try:
            with connection.transaction():
                connection.execute(SQL.wait_briefly)
                connection.execute(SQL.lock_models, {"site_id": site_id})
                build.catch_up(connection, learned)
                retire = SQL.go_back if again else SQL.retire
                connection.execute(retire, {"site_id": site_id, "name": NAME})
                row = {"site_id": site_id, "model_id": learned.model_id, "again": again}
                connection.execute(SQL.go_live, row)
            break
        except psycopg.errors.LockNotAvailable:
            if attempt + 1 == TRIES:
                raise
    learned_models.uncache(connection, site_id)
    learned_models.drop_left_over(connection, site_id)


def promote_by_hand(
    connection: Connection, site_id: int, model_id: int, *, again: bool = False
) -> None:
    """Make any version live that can serve: not refused, nor older than the last two. Raises
    NoSuchVersion."""
    gone = NoSuchVersion(
        f"no learned version {model_id} can serve: it was refused, or is older than the last two, "
        "or there is none; `models SITE` says which can"
    )
    learned = learned_models.version(connection, site_id, model_id)
    if learned is None:
        raise gone
    try:
        promote(connection, learned, again=again)
    except psycopg.errors.UndefinedTable:  # dropped while we waited
        raise gone from None


def rollback(connection: Connection, site_id: int) -> int | None:
    """Back to the version that was live before this one, or to none, where texts and popularity
    answer; its number. Raises NoSuchVersion where none is live."""
    site = {"site_id": site_id, "name": NAME}
    row = connection.execute(SQL.live_since, site).fetchone()
    if row is None:
        raise NoSuchVersion("no learned version is live: there is nothing to go back from")
    before = connection.execute(SQL.before, site | {"promoted_at": row[1]}).fetchone()
    if before is not None:
        promote_by_hand(connection, site_id, before[0], again=True)
        return int(before[0])
    with connection.transaction():
        connection.execute(SQL.lock_models, {"site_id": site_id})
        connection.execute(SQL.go_back, site)
    learned_models.uncache(connection, site_id)
    return None


def is_held(connection: Connection, site_id: int) -> bool:
    """Whether somebody went back to an earlier version and promoted none since: then a schedule
    promotes none either."""
    row = connection.execute(SQL.held, {"site_id": site_id, "name": NAME}).fetchone()
    return bool(row and row[0])


def versions(connection: Connection, site_id: int) -> list[dict[str, Any]]:
    """All versions of the site's models, the newest first, each with its record."""
    cursor = connection.execute(SQL.versions, {"site_id": site_id, "name": None})
    return [_shown(row) for row in database.dicts(cursor)]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in row.items()
    }


def live_id(connection: Connection, site_id: int) -> int | None:
    """The number of the live learned version."""
    row = connection.execute(SQL.live_since, {"site_id": site_id, "name": NAME}).fetchone()
    return int(row[0]) if row else None
