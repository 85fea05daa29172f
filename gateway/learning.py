"""The learned model as people and the trainer role deal with it: train, list, promote, go back.

What is learned and how it is judged is in `ranking.training`; torch is loaded only to train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import Counter

from ranking.catalog import learned_models
from ranking.training import checkpoint, gate, promote
from ranking.training.promote import NoSuchVersion
from schemas.database import Connection

TRAININGS = Counter(
    "attune_trainings", "Trainings of the learned model, by how they ended", ["outcome"]
)

Told = Callable[[str, int, int], None]

__all__ = [
    "NoSuchVersion", "changed", "now_live", "sentences", "train", "verdict", "versions",
]  # fmt: skip


def train(
    connection: Connection,
    site_id: int,
    at: datetime,
    *,
    seed: int = 0,
    epochs: int | None = None,
    scheduled: bool = False,
    told: Told = lambda stage, done, of: None,
) -> dict[str, Any]:
    """Train on what happened before `at`; the report: `outcome` (promoted, held, refused, skipped,
    busy), and the version with its record, or the reason. A `scheduled` one is held where somebody
    went back to an earlier version."""
    from ranking.training import train as training
    from ranking.training.network import Settings

    settings = Settings(seed=seed) if epochs is None else Settings(seed=seed, epochs=epochs)
    found = training.train(
        connection, site_id, at, settings=settings, scheduled=scheduled, told=told
    )
    report = _report(found.model_id, found.promoted, found.record, found.skipped, found.busy)
    TRAININGS.labels(report["outcome"]).inc()
    return report


def forget(connection: Connection, site_id: int) -> None:
    """Keep nothing of what was learned, nor go on from it: as before the first training."""
    learned_models.forget(connection, site_id)
    checkpoint.forget(connection, site_id)


def _report(
    model_id: int | None,
    promoted: bool,
    record: dict[str, Any] | None,
    skipped: str | None,
    busy: bool,
) -> dict[str, Any]:
    if busy:
        return {"outcome": "busy", "reason": "another training runs; one runs at a time"}
    if skipped:
        return {"outcome": "skipped", "reason": skipped}
    return {
        "outcome": "promoted" if promoted else "held" if _is_held(record) else "refused",
        "version": model_id,
        "record": record,
    }


def _is_held(record: dict[str, Any] | None) -> bool:
    return bool(record and "held" in record)


def versions(connection: Connection, site_id: int) -> list[dict[str, Any]]:
    """All versions of the site's models, the newest first."""
    return promote.versions(connection, site_id)


def changed(connection: Connection, site_id: int, version: int | None) -> int | None:
    """Promote that version, or go back where none is named; the learned version that is live now,
    None where texts and popularity answer. Raises NoSuchVersion."""
    if version is None:
        is_live = promote.live_id(connection, site_id) is not None
        return promote.rollback(connection, site_id) if is_live else None
    promote.promote_by_hand(connection, site_id, version)
    return version


# in words -----------------------------------------------------------------------------------------


def now_live(live: int | None) -> str:
    if live is None:
        return "No learned version is live now: texts and popularity answer."
    return f"Version {live} is live."


def verdict(record: dict[str, Any]) -> str:
    """A record's verdict in one line."""
    if "verdict" not in record:
        return str(record.get("method", ""))
    if "held" in record:
        return f"better, but {record['held']}"
    if record["reasons"]:
        return "refused: " + "; ".join(record["reasons"])
    return "better: " + ", ".join(_gains(record))


def sentences(report: Mapping[str, Any], *, foretold: bool = False) -> Iterator[str]:
    """What a training came to, for a person; `foretold`: nothing of it was kept."""
    if "reason" in report:
        yield f"Nothing was trained: {report['reason']}."
        return
    record = report["record"]
    who = "A version" if foretold else f"Version {report['version']}"
    yield (
        f"{who} learned from {record['events']:,} events in "
        f"{record['sessions']:,} sessions, {record['epochs']} times through, in "
        f"{record['seconds']:.0f} s; tested on those since {record['held_out_from']}."
    )
    for rival, figures in record["compared"].items():
        for gain in _gains(record, rival):
            yield f"  against {rival}, {gain}"
        if "p_not_better" in figures:
            yield (
                f"  if it were no better than {rival}, chance alone would do as well with a "
                f"probability of {figures['p_not_better']:.4f}"
            )
    for one in record["guardrails"]:
        met = "met" if one["met"] else "NOT MET"
        yield f"  {met}: {one['name']} {one['value']}, bar {one['bar']}"
    for one in record["new_products"]:
        yield (
            f"  new products lifted by {one['lift']:g}: NDCG@10 {one['ndcg@10']:.3f}, where the "
            f"next one is new {one['ndcg@10 of new']:.3f}"
        )
    yield _ending(report, foretold)


def _ending(report: Mapping[str, Any], foretold: bool) -> str:
    record = report["record"]
    if report["outcome"] == "promoted":
        return "It would be live." if foretold else "It is live."
    if report["outcome"] == "held":
        return f"It is better, but {record['held']}."
    again = (
        ". What answered before still does; more visits prove more, it is tried again in four hours"
    )
    return "Refused: " + "; ".join(record["reasons"]) + ("" if foretold else again) + "."


def _gains(record: dict[str, Any], rival: str = gate.UNTRAINED) -> Iterator[str]:
    for k, figures in record["compared"].get(rival, {}).items():
        if isinstance(figures, dict):
            (found, other), (ours, theirs) = figures["hit_rate@10"], figures["ndcg@10"]
            yield (f"{k}: NDCG@10 {ours:.3f} to {theirs:.3f}, HR@10 {found:.3f} to {other:.3f}")
