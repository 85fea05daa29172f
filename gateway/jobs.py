"""Hints that there is work, and the roles that take them. Postgres knows the work, Redis may lose
every hint: the clock finds what is left to do.

Doors call `hint`, the roles `work`. What a job does is in `gateway.tasks`, named here by text, as
RQ wants it and because tasks themselves give hints.
"""

from __future__ import annotations

import functools
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any
from uuid import uuid4

import psycopg
import redis
import structlog
from prometheus_client import Counter
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker, get_current_job
from rq.exceptions import DuplicateJobError
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

from gateway.settings import Settings, load
from schemas import database, tracing
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)
log = structlog.get_logger(__name__)

# Which queue a task waits in, and which queue a role takes from.
TASKS = {
    "encode": "encoder",
    "find_dirty": "encoder",
    "fit": "trainer",
    "train": "trainer",
    "clusters": "trainer",
    "popularity": "default",
    "impressions": "default",
    "together": "default",
    "neighbours": "default",
    "words": "default",
    "facets": "default",
    "suggestions": "default",
    "sweep_failed": "default",
    "feeds": "default",
    "erase_bodies": "default",
    "partitions": "default",
    "purge": "default",
}
ROLES = {"worker": "default", "encoder": "encoder", "trainer": "trainer"}
RUN = "gateway.tasks.run"
PREPARE = {"encoder": "gateway.tasks.prepare_encoder"}  # what a role does before it takes jobs

PREPARE_AGAIN_S = 60.0

EVERY_SITE = 0  # the site of tasks that belong to none

RESULT_TTL_S = 0  # a finished or failed job must not stand in the way of the next hint
FAILURE_TTL_S = 60
# A worker killed between taking a job and beginning it leaves a hash that refuses hints so long.
QUEUED_TTL_S = 300
RUNNING_TTL_S = 86400  # what is left of a job whose process was killed
NO_TIMEOUT = -1  # statements have their own, and a catalog may take hours to encode

CONNECT_TIMEOUT_S = 0.2
ANSWER_TIMEOUT_S = 1.0
# After a failure no hint is tried for so long, because a dead host must not slow every request;
# each time twice as long, up to what the clock needs to find the work.
PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0
RECONNECT_S = 1.0
RECONNECT_MOST_S = 5.0
HEARTBEAT_S = 15.0
RQ_LOG_LEVEL = "WARNING"

HINTS_LOST = Counter("attune_hints_lost_total", "Hints that Redis did not take.", ["task"])


class UnknownRole(AttuneError):
    """No role has that name."""


# hints ------------------------------------------------------------------------------------------


def hint(task: str, site_id: int) -> bool:
    """Say that a site has something to do; never raises and takes little time.

    True where a job waits for it now. False is harmless: the clock will find the work.
    """
    try:
        hints = _hints()
    except AttuneError as error:  # a process that knows no Redis, such as a one-off command
        HINTS_LOST.labels(task).inc()
        log.warning("hint lost", task=task, site=site_id, error=str(error))
        return False
    return hints.give(task, site_id)


@functools.cache
def _hints() -> Hints:
    return Hints(load().redis_url)


class Hints:
    """A client that gives up soon, and for a moment altogether."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(
            redis_url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._paused_until = 0.0
        self._pause_s = PAUSE_S

    def give(self, task: str, site_id: int) -> bool:
        """Enqueue the site's one job of this task; one that waits already is as good."""
        if time.monotonic() < self._paused_until:
            HINTS_LOST.labels(task).inc()
            return False
        try:
            self._enqueue(task, site_id)
        except DuplicateJobError:
            pass
        except (redis.RedisError, OSError) as error:
            self._paused_until = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            HINTS_LOST.labels(task).inc()
            log.warning("hint lost", task=task, site=site_id, error=str(error))
            return False
        self._pause_s = PAUSE_S
        return True

    def _enqueue(self, task: str, site_id: int) -> None:
        queue = Queue(TASKS[task], connection=self._client, serializer=JSONSerializer)
        queue.enqueue_call(
            RUN,
            args=(task, site_id),
            job_id=f"{task}-{site_id}",
            unique=True,
            timeout=NO_TIMEOUT,
            result_ttl=RESULT_TTL_S,
            failure_ttl=FAILURE_TTL_S,
            ttl=QUEUED_TTL_S,
            description=f"{task} of site {site_id}",
            meta=tracing.carrier(),
        )


def carried() -> tracing.Carrier:
    """The trace in which the running job's hint was given, if anybody follows it."""
    job = get_current_job()
    return dict(job.meta) if job else {}


def started() -> None:
    """Called by a job that begins: from now on a hint is news and enqueues the next one.

    RQ would refuse hints of this id until the job ends, and for long where its process was killed.
    So the running job takes another id, under which RQ notes its end.
    """
    job = get_current_job()
    if job is None:
        return
    waiting, job._id = job.key, f"{job.id}-{uuid4().hex}"
    try:
        job.connection.rename(waiting, job.key)
        job.connection.expire(job.key, RUNNING_TTL_S)
    except redis.ResponseError:
        pass  # Redis was flushed since it was taken


# roles ------------------------------------------------------------------------------------------

_stopping = threading.Event()


def stopping() -> bool:
    """Whether this process was asked to end: long jobs ask after each step."""
    return _stopping.is_set()


class RoleWorker(SimpleWorker):  # type: ignore[misc]
    """Runs jobs in its own process: models are loaded once, and forked ones would deadlock."""

    max_connection_wait_time = RECONNECT_MOST_S

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        _stopping.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def _install_signal_handlers(self) -> None:
        """A signal that came before RQ listened is meant for it too."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        self._stop_requested = _stopping.is_set()

    def set_shutdown_requested_date(self) -> None:
        """RQ would ask Redis from inside the signal handler."""


def work(role: str) -> None:
    """Take jobs until SIGTERM or SIGINT; goes on when Redis or Postgres go away and come back."""
    if role not in ROLES:
        raise UnknownRole(f"there is no role {role!r}: it is one of {', '.join(ROLES)}")
    settings = load()
    if role in PREPARE:
        _prepare(role)
    with heartbeat(settings, role):
        stop_on_signals()
        while not _stopping.is_set():
            _work_until_redis_goes(settings, role)


def _prepare(role: str) -> None:
    """Without what it needs a role gives no sign of life and tries again: to end would only have
    it started at once, for ever."""
    while True:
        try:
            import_attribute(PREPARE[role])()
            return
        except AttuneError as error:
            log.error("not able to work", error=str(error), next_try_s=PREPARE_AGAIN_S)
            time.sleep(PREPARE_AGAIN_S)


def eviction_policy(client: redis.Redis) -> str:
    """What this Redis does when its memory is full; a managed one may refuse to tell."""
    found: dict[str, str] = client.config_get("maxmemory-policy")  # type: ignore[assignment]
    return found["maxmemory-policy"]


def _warn_of_eviction(client: redis.Redis) -> None:
    with suppress(redis.ResponseError):
        policy = eviction_policy(client)
        if policy != "noeviction":
            log.error("redis evicts: set its maxmemory-policy to noeviction", policy=policy)


def _work_until_redis_goes(settings: Settings, role: str) -> None:
    client = redis.Redis.from_url(settings.redis_url)
    try:
        _warn_of_eviction(client)
        queue = Queue(ROLES[role], connection=client, serializer=JSONSerializer)
        worker = RoleWorker([queue], connection=client, serializer=JSONSerializer)
        worker.work(logging_level=RQ_LOG_LEVEL)
    except redis.RedisError as error:
        log.warning("redis is away", error=str(error))
    finally:
        client.close()
    _stopping.wait(RECONNECT_S)


def stop_on_signals() -> threading.Event:
    """The event that SIGTERM and SIGINT set from now on; RQ puts its own handlers in our place."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stopping.set())
    return _stopping


# what Postgres knows of roles and runs -----------------------------------------------------------


@contextmanager
def heartbeat(settings: Settings, role: str) -> Iterator[None]:
    """Keep this process's row in `heartbeats` fresh (after FLUSHALL RQ lists no workers)."""
    row = {
        "role": role,
        "host": platform.node(),
        "pid": os.getpid(),
        "started_at": datetime.now(UTC),
    }
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(settings, row, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=ANSWER_TIMEOUT_S)


def _beat(settings: Settings, row: dict[str, Any], ended: threading.Event) -> None:
    while True:
        statement = SQL.unbeat if ended.is_set() else SQL.beat
        try:
            with psycopg.connect(settings.database_url, autocommit=True) as connection:
                connection.execute(statement, row)  # type: ignore[arg-type]
        except psycopg.Error as error:
            log.debug("no heartbeat", error=str(error))
        if ended.is_set():
            return
        ended.wait(HEARTBEAT_S)


def claim(connection: Connection, task: str, site_id: int, slot: datetime) -> bool:
    """Whether this task of this time is ours to start: each slot is claimed once."""
    row = {"site_id": site_id, "task": task, "slot": slot}
    return connection.execute(SQL.claim, row).rowcount == 1


def unclaim(connection: Connection, task: str, site_id: int, slot: datetime) -> None:
    """Give a slot back whose hint was lost."""
    connection.execute(SQL.unclaim, {"site_id": site_id, "task": task, "slot": slot})


def finish(connection: Connection, task: str, site_id: int, report: dict[str, Any]) -> None:
    """Note how the claimed runs ended; a report with `error` is a failure."""
    connection.execute(
        SQL.finish,
        {
            "site_id": site_id,
            "task": task,
            "state": "failed" if "error" in report else "done",
            "report": database.jsonb(report),
        },
    )


def purge(connection: Connection, before: datetime) -> int:
    """Drop runs and heartbeats from before then; returns how many."""
    parameters = {"before": before}
    runs = connection.execute(SQL.purge_runs, parameters).rowcount
    return runs + connection.execute(SQL.purge_heartbeats, parameters).rowcount
