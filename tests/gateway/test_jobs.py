"""Hints come and go; the work is always found again in Postgres."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from gateway import clock, jobs, tasks
from gateway.running import services
from ranking.catalog import embeddings
from schemas import database
from schemas.database import Connection
from tests.conftest import SECRET_KEY
from tests.journeys.gateway_process import until
from tests.ranking.catalog.catalogs import Catalog, a_product, many, open_catalog

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)


@pytest.fixture
def environment(
    clean_database: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """This process, and those it starts, are roles on the test's services."""
    given = {
        "DATABASE_URL": clean_database,
        "REDIS_URL": redis_url,
        "ATTUNE_HOME": str(tmp_path),
        "ATTUNE_SECRET_KEY": SECRET_KEY,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    jobs._hints.cache_clear()
    yield given
    jobs._hints.cache_clear()


@pytest.fixture
def store(redis_url: str, environment: dict[str, str]) -> Iterator[redis.Redis]:
    """The Redis that hints lie in, empty."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def catalog(environment: dict[str, str]) -> Iterator[Catalog]:
    with database.connect(environment["DATABASE_URL"]) as connection:
        yield open_catalog(connection)


def waiting(store: redis.Redis, queue: str) -> list[str]:
    return Queue(queue, connection=store, serializer=JSONSerializer).get_job_ids()


def work_off(store: redis.Redis, queue: str) -> None:
    """A role that ends when its queue is empty; the test keeps its own signal handlers."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    jobs.RoleWorker(
        [Queue(queue, connection=store, serializer=JSONSerializer)],
        connection=store,
        serializer=JSONSerializer,
    ).work(burst=True, logging_level="ERROR")
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ticked(connection: Connection, at: datetime, task: str) -> list[int]:
    return [site for name, site in clock.tick(connection, at) if name == task]


def pinned(monkeypatch: pytest.MonkeyPatch, task: str, work: Callable[[], object]) -> None:
    """Let a task do this instead: the queue is what the test is about."""
    monkeypatch.setitem(tasks.TASKS, task, lambda connection, site_id: {"did": work()})


# hints ------------------------------------------------------------------------------------------


def test_hints_of_one_site_are_one_job(store: redis.Redis) -> None:
    assert jobs.hint("popularity", 1)
    assert jobs.hint("popularity", 1)
    assert jobs.hint("popularity", 2)
    assert waiting(store, "default") == ["popularity-1", "popularity-2"]


def test_every_waiting_hint_ends_by_itself(store: redis.Redis) -> None:
    jobs.hint("popularity", 1)
    assert 0 < store.ttl("rq:job:popularity-1") <= jobs.QUEUED_TTL_S


def test_a_finished_job_does_not_stand_in_the_way(store: redis.Redis) -> None:
    for _ in range(2):
        jobs.hint("purge", jobs.EVERY_SITE)
        assert waiting(store, "default") == ["purge-0"]
        work_off(store, "default")


def test_a_failed_job_does_not_stand_in_the_way(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned(monkeypatch, "purge", lambda: 1 / 0)
    for _ in range(2):
        jobs.hint("purge", jobs.EVERY_SITE)
        assert waiting(store, "default") == ["purge-0"]
        work_off(store, "default")


def test_a_hint_during_the_job_makes_the_next_one(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def hint_once() -> None:
        runs.append(1)
        if len(runs) == 1:
            assert jobs.hint("purge", jobs.EVERY_SITE)

    pinned(monkeypatch, "purge", hint_once)
    jobs.hint("purge", jobs.EVERY_SITE)
    work_off(store, "default")
    assert len(runs) == 2


def test_a_job_leaves_no_keys_of_its_own(store: redis.Redis) -> None:
    jobs.hint("purge", jobs.EVERY_SITE)
    work_off(store, "default")
    left = {key.decode() for key in store.keys("rq:*") if store.ttl(key) == -1}
    assert {key for key in left if "purge" in key} == set()


def test_flushall_during_a_job_harms_nobody(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned(monkeypatch, "purge", store.flushdb)
    for _ in range(2):
        jobs.hint("purge", jobs.EVERY_SITE)
        work_off(store, "default")
    assert waiting(store, "default") == []


@pytest.mark.parametrize("url", ["unix:///nowhere/redis.sock", "redis://192.0.2.1:6379/0"])
def test_a_redis_that_is_away_costs_no_request_more_than_a_moment(url: str) -> None:
    hints = jobs.Hints(url)
    started = time.monotonic()
    assert not any(hints.give("encode", 1) for _ in range(100))
    assert time.monotonic() - started < 1.5


def test_every_task_has_a_queue_that_a_role_takes_from() -> None:
    assert set(jobs.TASKS) == set(tasks.TASKS)
    assert set(jobs.TASKS.values()) == set(jobs.ROLES.values())
    assert {task.name for task in clock.TASKS} == set(jobs.TASKS)


def test_an_unknown_role_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(jobs.UnknownRole, match="worker, encoder, trainer"):
        jobs.work("waiter")


# runs -------------------------------------------------------------------------------------------


def runs(connection: Connection, task: str) -> list[tuple[str, Any]]:
    return connection.execute(
        "select state, report from task_runs where task = %s order by slot", [task]
    ).fetchall()


def test_a_run_is_noted_with_its_report(store: redis.Redis, catalog: Catalog) -> None:
    clock.tick(catalog.connection, NOW)
    work_off(store, "default")
    assert runs(catalog.connection, "popularity") == [("done", {"products": 0})]


def test_a_failed_run_is_noted_with_its_error(
    store: redis.Redis, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned(monkeypatch, "popularity", lambda: 1 / 0)
    clock.tick(catalog.connection, NOW)
    work_off(store, "default")
    error = {"error": "ZeroDivisionError: division by zero"}
    assert runs(catalog.connection, "popularity") == [("failed", error)]


# the clock --------------------------------------------------------------------------------------


def test_two_clocks_give_one_hint(store: redis.Redis, catalog: Catalog) -> None:
    catalog.upload(a_product())
    assert ("encode", catalog.site_id) in clock.tick(catalog.connection, NOW)
    assert clock.tick(catalog.connection, NOW) == []


def test_encoding_is_hinted_only_where_something_waits(
    store: redis.Redis, catalog: Catalog
) -> None:
    assert ticked(catalog.connection, NOW, "encode") == []
    catalog.upload(a_product())
    assert ticked(catalog.connection, NOW, "encode") == [catalog.site_id]


def test_after_flushall_the_next_slot_finds_the_work(store: redis.Redis, catalog: Catalog) -> None:
    catalog.upload(a_product())
    clock.tick(catalog.connection, NOW)
    store.flushdb()
    clock.tick(catalog.connection, NOW + timedelta(seconds=30))
    assert waiting(store, "encoder")[0] == f"encode-{catalog.site_id}"


def test_while_redis_is_away_slots_are_kept_for_its_return(
    store: redis.Redis, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.upload(a_product())
    reachable = jobs._hints
    monkeypatch.setattr(jobs, "_hints", lambda: jobs.Hints("unix:///nowhere/redis.sock"))
    assert clock.tick(catalog.connection, NOW) == []
    monkeypatch.setattr(jobs, "_hints", reachable)
    assert ticked(catalog.connection, NOW, "encode") == [catalog.site_id]


def test_a_fit_is_hinted_when_enough_is_encoded(store: redis.Redis, catalog: Catalog) -> None:
    catalog.upload(*many(1000))
    assert ticked(catalog.connection, NOW, "fit") == []
    catalog.encode()
    assert ticked(catalog.connection, NOW + timedelta(minutes=1), "fit") == [catalog.site_id]
    work_off(store, "trainer")
    assert embeddings.is_due(catalog.connection, catalog.site_id) is False


def delivery(connection: Connection, site_id: int, at: datetime, **counts: int) -> None:
    counted = {"applied": 0, "failed": 0} | counts
    connection.execute(
        "insert into deliveries (site_id, received_at, delivery_id, source_id, outcome, received, "
        "applied, duplicate, ignored, refused, failed, headers, body_hash) values (%s, %s, "
        "gen_random_uuid(), 1, 'applied', 1, %s, 0, 0, 0, %s, '{}', gen_random_uuid())",
        [site_id, at, counted["applied"], counted["failed"]],
    )


def test_popularity_is_refreshed_only_where_events_came_or_an_hour_passed(
    store: redis.Redis, catalog: Catalog
) -> None:
    connection, minute = catalog.connection, timedelta(minutes=1)
    assert ticked(connection, NOW, "popularity") == [catalog.site_id]
    work_off(store, "default")
    assert ticked(connection, NOW + 3 * minute, "popularity") == []
    delivery(connection, catalog.site_id, NOW + 4 * minute, applied=1)
    assert ticked(connection, NOW + 6 * minute, "popularity") == [catalog.site_id]
    work_off(store, "default")
    assert ticked(connection, NOW + 8 * minute, "popularity") == []
    assert ticked(connection, NOW + 70 * minute, "popularity") == [catalog.site_id]


SPAN = clock.TRAIN_EVERY


def beginning(at: datetime, site_id: int) -> datetime:
    """Of the site's span that `at` lies in: they are moved by its number."""
    looks = int(SPAN / clock.TRAIN_LOOK)
    moved = site_id * 37 % looks * clock.TRAIN_LOOK
    return at - (at - clock.EPOCH - moved) % SPAN


def trained(store: redis.Redis, monkeypatch: pytest.MonkeyPatch, **report: str) -> None:
    monkeypatch.setitem(tasks.TASKS, "train", lambda connection, site_id: report)
    work_off(store, "trainer")


def test_a_site_is_trained_once_in_its_span_where_something_is_new(
    store: redis.Redis, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, site_id, look = catalog.connection, catalog.site_id, clock.TRAIN_LOOK
    begin = beginning(NOW, site_id)
    assert ticked(connection, begin, "train") == []  # nothing was ever sent
    delivery(connection, site_id, begin, applied=1)
    assert ticked(connection, begin + look, "train") == [site_id]
    assert ticked(connection, begin + 2 * look, "train") == []  # it waits
    trained(store, monkeypatch, outcome="promoted")
    delivery(connection, site_id, begin + 3 * look, applied=1)
    assert ticked(connection, begin + 4 * look, "train") == []  # not yet again
    assert ticked(connection, begin + SPAN, "train") == [site_id]
    trained(store, monkeypatch, outcome="refused")
    assert ticked(connection, begin + 2 * SPAN, "train") == []  # nothing new


def test_a_training_that_found_another_one_has_its_turn_again(
    store: redis.Redis, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, site_id, look = catalog.connection, catalog.site_id, clock.TRAIN_LOOK
    begin = beginning(NOW, site_id)
    delivery(connection, site_id, begin, applied=1)
    assert ticked(connection, begin, "train") == [site_id]
    trained(store, monkeypatch, outcome="busy")
    assert ticked(connection, begin + look, "train") == [site_id]


def test_sites_are_trained_at_different_times() -> None:
    begins = {beginning(NOW, site_id) for site_id in range(1, 13)}
    assert len(begins) == 12


def test_a_failed_training_is_noted_and_counted(
    store: redis.Redis, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = beginning(NOW, catalog.site_id)
    delivery(catalog.connection, catalog.site_id, begin, applied=1)
    clock.tick(catalog.connection, begin)
    before = tasks.FAILED.labels("train")._value.get()

    def fails(connection: Connection, site_id: int) -> dict[str, Any]:
        raise MemoryError("no room for the histories")

    monkeypatch.setitem(tasks.TASKS, "train", fails)
    work_off(store, "trainer")
    assert runs(catalog.connection, "train") == [
        ("failed", {"error": "MemoryError: no room for the histories"})
    ]
    assert tasks.FAILED.labels("train")._value.get() == before + 1


def test_failed_deliveries_are_hinted(store: redis.Redis, catalog: Catalog) -> None:
    assert ticked(catalog.connection, NOW, "sweep_failed") == []
    delivery(catalog.connection, catalog.site_id, NOW, failed=1)
    assert ticked(catalog.connection, NOW, "sweep_failed") == [catalog.site_id]


def test_old_runs_and_heartbeats_are_dropped(store: redis.Redis, catalog: Catalog) -> None:
    clock.tick(catalog.connection, NOW - timedelta(days=8))
    catalog.connection.execute(
        "insert into heartbeats values ('web', 'gone', 1, %(at)s, %(at)s)",
        {"at": NOW - timedelta(days=8)},
    )
    assert jobs.purge(catalog.connection, NOW - timedelta(days=7)) > 1
    assert runs(catalog.connection, "purge") == []


# real processes -----------------------------------------------------------------------------------


@dataclass
class Role:
    process: subprocess.Popen[bytes]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@contextmanager
def running(role: str) -> Iterator[Role]:
    """`python -m gateway ROLE` in the test's environment."""
    process = subprocess.Popen([sys.executable, "-m", "gateway", role], cwd=ROOT)
    try:
        yield Role(process)
    finally:
        process.kill()
        process.wait()


def beats(url: str, role: str) -> list[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select pid from heartbeats where role = %s", [role])
        return [pid for (pid,) in rows]


@pytest.mark.parametrize("role", ["worker", "clock"])
def test_a_role_says_that_it_lives_and_ends_cleanly(environment: dict[str, str], role: str) -> None:
    url = environment["DATABASE_URL"]
    with running(role) as started:
        until(lambda: beats(url, role) == [started.process.pid], what="a heartbeat")
        assert started.end() == 0
    assert beats(url, role) == []


def test_the_encoder_role_encodes_what_it_is_told(
    store: redis.Redis, catalog: Catalog, environment: dict[str, str]
) -> None:
    catalog.upload(*many(5))
    with running("encoder") as encoder:
        jobs.hint("encode", catalog.site_id)
        until(lambda: len(catalog.served()) == 5, 60, what="encoding")
        assert encoder.end() == 0
    assert list(Path(environment["ATTUNE_HOME"]).glob("models/*/*.onnx"))


@pytest.mark.heavy
def test_an_encoder_killed_at_work_is_followed_by_one_that_ends_it(
    store: redis.Redis, catalog: Catalog
) -> None:
    catalog.upload(*(a_product(f"p{n}", description=f"a thing {n} " * 60) for n in range(600)))
    for _ in range(3):
        before = len(catalog.served())
        with running("encoder") as encoder:
            jobs.hint("encode", catalog.site_id)
            until(lambda b=before: len(catalog.served()) > b, 90, what="encoding")
            encoder.end(signal.SIGKILL)
    with running("encoder"):
        assert jobs.hint("encode", catalog.site_id)
        until(lambda: len(catalog.served()) == 600, 120, what="the rest")
    assert catalog.waiting() == 0
    assert embeddings.find_dirty(catalog.connection, catalog.site_id) == 0


@pytest.mark.heavy
def test_an_encoder_at_work_stops_within_a_few_slices(store: redis.Redis, catalog: Catalog) -> None:
    catalog.upload(*(a_product(f"p{n}", description=f"a thing {n} " * 60) for n in range(600)))
    with running("encoder") as encoder:
        jobs.hint("encode", catalog.site_id)
        until(lambda: len(catalog.served()) > 0, 90, what="encoding")
        assert encoder.end() == 0
    assert 0 < catalog.waiting() < 600


@pytest.mark.heavy
def test_a_role_outlives_its_redis(
    catalog: Catalog, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with services.start_redis(tmp_path) as url:
        monkeypatch.setenv("REDIS_URL", url)
        jobs._hints.cache_clear()
        with running("worker") as worker:
            until(lambda: beats(environment["DATABASE_URL"], "worker"), what="a heartbeat")
            until(lambda: took_a_job(catalog), what="a first run")
            stop_redis(url)
            with services.start_redis(tmp_path):
                catalog.connection.execute("delete from task_runs")
                until(lambda: took_a_job(catalog), 60, what="a run by the new Redis")
                assert worker.end() == 0


def stop_redis(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.shutdown(nosave=True)


def took_a_job(catalog: Catalog) -> bool:
    """Whether a hinted refresh was done; hints once more until it is."""
    jobs.claim(catalog.connection, "popularity", catalog.site_id, NOW)
    jobs.hint("popularity", catalog.site_id)
    return runs(catalog.connection, "popularity") == [("done", {"products": 0})]


@pytest.mark.heavy
def test_the_clock_outlives_its_connection(
    store: redis.Redis, catalog: Catalog, environment: dict[str, str]
) -> None:
    with running("clock") as started:
        until(lambda: runs(catalog.connection, "popularity"), what="a first tick")
        catalog.connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        catalog.upload(a_product())
        until(lambda: runs(catalog.connection, "encode"), 60, what="a later tick")
        assert started.end() == 0
