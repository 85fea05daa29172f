"""Figures of the whole installation, read from Postgres and Redis when `/metrics` is scraped.

They are true whichever machine answers: failures, queues, heartbeats, tasks, partitions, the
ledger. Series are bounded: of many sources only the busiest stand alone.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import UTC, datetime

import redis
from prometheus_client.core import GaugeMetricFamily, Metric

from gateway import VERSION, jobs, ledger
from ranking.catalog import embeddings
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

FRESH_S = 60
# Each has six series, so many sites at most make a scrape of a megabyte.
MOST_SOURCES = 200
OTHERS = "others"


def of_postgres(connection: Connection) -> Iterator[Metric]:
    """Everything Postgres knows, in about five statements."""
    yield _ledger(ledger.totals(connection))
    yield _backlog(ledger.backlog(connection))
    yield from _failed_deliveries(connection)
    yield from _encoding(connection)
    yield from _roles(connection)
    yield from _tasks(connection)
    yield from _partitions(connection)


def of_redis(client: redis.Redis) -> Iterator[Metric]:
    """Whether it answers, and how many jobs wait in each queue."""
    up = GaugeMetricFamily("attune_redis_up", "Whether Redis answers")
    waiting = GaugeMetricFamily(
        "attune_jobs_waiting", "Jobs that wait in Redis, by queue", labels=["queue"]
    )
    try:
        for queue in sorted(set(jobs.ROLES.values())):
            waiting.add_metric([queue], client.llen(f"rq:queue:{queue}"))  # type: ignore[arg-type]
        up.add_metric([], 1)
    except redis.RedisError:
        up.add_metric([], 0)
    yield up
    yield waiting


def build() -> Metric:
    """Which versions answer; the value is always 1."""
    family = GaugeMetricFamily(
        "attune_build", "Versions of this installation", labels=["version", "python", "schema"]
    )
    schema = max(path.stem for path in database.MIGRATIONS.glob("*.sql"))
    family.add_metric([VERSION, platform.python_version(), schema], 1)
    return family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _ledger(rows: list[ledger.Total]) -> Metric:
    family = GaugeMetricFamily(
        "attune_ledger_records",
        "Records of everything ever received, by what became of them",
        labels=["site", "source", "connector", "outcome"],
    )
    ranked = sorted(rows, key=lambda row: -row.received)
    for row in ranked[:MOST_SOURCES]:
        for outcome in ledger.COLUMNS:
            labels = [row.site, row.source, row.connector, outcome]
            family.add_metric(labels, getattr(row, outcome))
    others = ranked[MOST_SOURCES:]
    for connector in sorted({row.connector for row in others}):
        for outcome in ledger.COLUMNS:
            total = sum(getattr(row, outcome) for row in others if row.connector == connector)
            family.add_metric([OTHERS, OTHERS, connector, outcome], total)
    return family


def _backlog(rows: list[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(
        "attune_products_to_encode", "Products whose text has no vector yet", labels=["site"]
    )
    ranked = sorted(rows, key=lambda row: -row[1])
    for site, count in ranked[:MOST_SOURCES]:
        family.add_metric([site], count)
    if others := ranked[MOST_SOURCES:]:
        family.add_metric([OTHERS], sum(count for _, count in others))
    return family


def _failed_deliveries(connection: Connection) -> Iterator[Metric]:
    count, age = connection.execute(SQL.failed_deliveries).fetchone()  # type: ignore[misc]
    yield _gauge("attune_failed_deliveries", "Deliveries kept as failed by our fault", count)
    yield _gauge(
        "attune_failed_deliveries_oldest_seconds", "Age of the oldest failed delivery", age
    )


def _encoding(connection: Connection) -> Iterator[Metric]:
    parameters = {"max_attempts": embeddings.MAX_ATTEMPTS}
    row = connection.execute(SQL.encoding, parameters).fetchone()
    waiting, given_up, age = row  # type: ignore[misc]
    yield _gauge("attune_encode_queue", "Products in the encoder's queue", waiting)
    yield _gauge(
        "attune_encode_given_up", "Products that could not be encoded in any attempt", given_up
    )
    yield _gauge(
        "attune_encode_oldest_seconds", "Age of the oldest product never tried to encode", age
    )


def _roles(connection: Connection) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "attune_heartbeat_age_seconds", "Since a process of a role reported", labels=["role"]
    )
    living = GaugeMetricFamily(
        "attune_role_processes", "Processes of a role that reported lately", labels=["role"]
    )
    for role, seconds, count in connection.execute(SQL.roles, {"fresh_s": FRESH_S}):
        age.add_metric([role], seconds)
        living.add_metric([role], count)
    yield age
    yield living


def _tasks(connection: Connection) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "attune_task_age_seconds", "Since the newest run of a task was due", labels=["task"]
    )
    failing = GaugeMetricFamily(
        "attune_task_failing_sites", "Sites whose newest run of a task failed", labels=["task"]
    )
    running = GaugeMetricFamily(
        "attune_task_unfinished_seconds",
        "Age of the oldest newest run of a task that has not ended",
        labels=["task"],
    )
    for task, since, failed, unfinished in connection.execute(
        SQL.tasks, {"tasks": sorted(jobs.TASKS)}
    ):
        age.add_metric([task], since)
        failing.add_metric([task], failed)
        running.add_metric([task], unfinished)
    yield age
    yield failing
    yield running


def _partitions(connection: Connection) -> Iterator[Metric]:
    missing = database.missing_partitions(connection, at=datetime.now(UTC))
    yield _gauge("attune_partitions_missing", "Partitions that the coming week lacks", len(missing))
