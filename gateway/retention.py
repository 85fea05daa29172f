"""What is older than it is kept for goes: whole partitions, once nothing in them is young enough.

The worker calls `apply` each hour, `python -m gateway retention` shows and does the same. Killed at
any step it goes on at the next call: `partitions_leaving` says how far a partition has come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import dict_row

from gateway.settings import Settings
from ranking.catalog import embeddings
from ranking.visitors import profile
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)
log = structlog.get_logger(__name__)

LOCK = 0x4154_5253  # any constant but that of migrations: one run at a time per database
LOCK_TIMEOUT = "5s"  # how long one step waits for others; the next run tries again
# A week with deliveries that failed by our fault, and were acknowledged, is kept this much longer.
FAILED_FACTOR = 2

FOLLOWS = {"delivery_problems": "deliveries"}  # what may not go before the other
FAILED = "it holds failed deliveries, which a replay may still apply"

_DATES = re.compile(r"_(\d{4})_(\d{2})(?:_(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition that nothing young enough lies in; `rows` is Postgres's estimate."""

    name: str
    parent: str
    since: datetime
    until: datetime
    rows: int
    bytes: int
    attached: bool
    pending: bool  # a detach was interrupted
    leaving: bool  # given up by an earlier run
    held: str | None = None  # why it stays for now


@dataclass(slots=True)
class Report:
    """What one run did; `waiting` names what the next one must try again."""

    dropped: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    busy: bool = False  # another run was at it


def horizons(settings: Settings, at: datetime) -> dict[str, datetime]:
    """By parent: what lies wholly before is no longer kept. In the order in which it goes."""
    days = {
        "deliveries": settings.retention_deliveries_days,
        "delivery_problems": settings.retention_deliveries_days,
        "events": settings.retention_events_days,
        "answers": settings.retention_impressions_days,
    }
    return {parent: at - timedelta(days=count) for parent, count in days.items()}


def expired(connection: Connection, settings: Settings, at: datetime) -> list[Partition]:
    """Every partition that is due, and those kept a while longer with the reason why."""
    return [
        replace(one, held=_why_held(connection, one, settings, at))
        for parent, horizon in horizons(settings, at).items()
        for one in _partitions(connection, parent)
        if one.leaving or one.until <= horizon
    ]


def apply(connection: Connection, settings: Settings, at: datetime) -> Report:
    """Drop what is due as of `at`; needs an autocommit connection. What somebody holds open for
    longer than the lock timeout waits for the next run."""
    report = Report()
    with _alone(connection) as alone:
        if not alone:
            report.busy = True
            return report
        connection.execute(SQL.forget_missing)
        stuck: set[str] = set()
        for one in expired(connection, settings, at):
            if one.held:
                report.held.append(one.name)
                log.warning("partition kept", partition=one.name, reason=one.held)
            elif one.parent in stuck or FOLLOWS.get(one.parent) in stuck:
                report.waiting.append(one.name)
            elif not _left(connection, one, at, report):
                stuck.add(one.parent)
    return report


def _left(connection: Connection, one: Partition, at: datetime, report: Report) -> bool:
    """Whether it is gone; while one is half detached, no other of its parent can be."""
    try:
        _give_up(connection, one)
        _detach(connection, one)
        if one.parent == "events":
            _forget_profiles(connection, at)
        _drop(connection, one)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.ObjectNotInPrerequisiteState) as error:
        report.waiting.append(one.name)
        log.warning("partition waits", partition=one.name, reason=str(error).strip())
        return False
    report.dropped.append(one.name)
    log.info("partition dropped", partition=one.name, rows=one.rows, bytes=one.bytes)
    return True


# steps ------------------------------------------------------------------------------------------


def _give_up(connection: Connection, one: Partition) -> None:
    """Mark it, and in the same transaction sum up its deliveries: none is counted twice or lost."""
    if one.leaving:
        return
    row = {"name": one.name, "parent": one.parent, "since": one.since, "until": one.until}
    with connection.transaction():
        if one.parent == "deliveries":
            connection.execute(_filled("close", one))
        is_news = connection.execute(SQL.give_up, row).fetchone()
        if one.parent == "deliveries" and is_news:
            connection.execute(_filled("sum_up", one))


def _detach(connection: Connection, one: Partition) -> None:
    if one.attached:
        connection.execute(_filled("finalize" if one.pending else "detach", one))


def _forget_profiles(connection: Connection, at: datetime) -> None:
    """What was made of the events that are gone is made anew, or of visitors who never came back
    is gone too."""
    for site_id in embeddings.sites(connection):
        profile.forget(connection, site_id, made_before=at)


def _drop(connection: Connection, one: Partition) -> None:
    with connection.transaction():
        connection.execute(_filled("drop", one))
        connection.execute(SQL.gone, {"name": one.name})


@contextmanager
def _alone(connection: Connection) -> Iterator[bool]:
    """Whether no other run is at it, for as long as the block lasts; locks wait LOCK_TIMEOUT."""
    lock = {"lock": LOCK}
    [alone] = connection.execute(SQL.lock, lock).fetchone() or (False,)
    before = connection.execute("show lock_timeout").fetchone()
    try:
        if alone:
            connection.execute("select set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        yield alone
    finally:
        if alone and not connection.closed:
            connection.execute("select set_config('lock_timeout', %s, false)", before)
            connection.execute(SQL.unlock, lock)


# what there is ----------------------------------------------------------------------------------


def _partitions(connection: Connection, parent: str) -> list[Partition]:
    """A partition with a name of somebody else's is theirs to drop."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL.partitions, {"parent": parent}).fetchall()
    return [
        Partition(parent=parent, since=bounds[0], until=bounds[1], **row)
        for row in rows
        if (bounds := _bounds(parent, row["name"]))
    ]


def _bounds(parent: str, name: str) -> tuple[datetime, datetime] | None:
    """A month's partition is called parent_2026_11, a week's by the date of its Monday."""
    match = _DATES.fullmatch(name.removeprefix(parent))
    if match is None:
        return None
    year, month, day = (int(part or 1) for part in match.groups())
    since = datetime(year, month, day, tzinfo=UTC)
    if match[3]:
        return since, since + timedelta(days=7)
    return since, (since + timedelta(days=32)).replace(day=1)


def _why_held(
    connection: Connection, one: Partition, settings: Settings, at: datetime
) -> str | None:
    """Failed deliveries are acknowledged, not applied: their week stays while they may yet be."""
    if one.leaving or one.parent not in ("deliveries", "delivery_problems"):
        return None
    if one.until <= at - FAILED_FACTOR * timedelta(days=settings.retention_deliveries_days):
        return None
    week = f"deliveries_{one.since:%Y_%m_%d}"
    if not connection.execute("select to_regclass(%s) is not null", [week]).fetchone()[0]:  # type: ignore[index]
        return None
    statement = SQL.fill("has_failed", partition=sql.Identifier(week))
    [failed] = connection.execute(statement).fetchone() or (False,)
    return FAILED if failed else None


def _filled(name: str, one: Partition) -> sql.Composed:
    slots = {"parent": sql.Identifier(one.parent), "partition": sql.Identifier(one.name)}
    return SQL.fill(name, **slots)
