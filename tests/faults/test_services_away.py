"""Postgres away, its connections all taken, Redis away: each route says so, and heals by itself."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway import access, jobs
from gateway.http import create_app, limits, state
from gateway.settings import Settings
from tests.conftest import Shop
from tests.faults.installation import Installation, Keys, a_site, installation, told_ledger
from tests.faults.senders import Sender
from tests.faults.state import ledger
from tests.faults.test_killed_web import check_effects, pool_of, summary, until_acknowledged
from tests.faults.traffic import senders
from tests.gateway.conftest import app, app_settings, client
from tests.gateway.conftest import environment as web_environment
from tests.hostile.calls import Call, every_call, stocked
from tests.journeys.gateway_process import until

environment = web_environment
__all__ = ["app", "app_settings", "client", "environment"]

RECOVERY_S = 5.0
# After so long a reconnection whose waits double would next be tried eleven seconds later.
AWAY_S = 20.0
TICK_S = 0.05


def asking(call: Call, url: str) -> httpx.Response:
    return httpx.request(
        call.method,
        url + call.path,
        content=call.body,
        headers=call.headers(),
        timeout=30,
        trust_env=False,
    )


# Postgres ---------------------------------------------------------------------------------------


@pytest.fixture
def running(folder: Path) -> Iterator[Installation]:
    with installation(folder, "web") as made:
        yield made


@pytest.mark.heavy
def test_without_postgres_each_route_is_503_and_recovers_by_itself(
    running: Installation, app: Flask
) -> None:
    with running.database() as connection:
        keys = a_site(connection)
    with pool_of(running.database_url) as pool:
        shop = as_shop(keys, pool)
        calls = [call for call in every_call(app, shop, NOBODY) if call.needs_services]
        assert asking(calls[0], running.url).status_code in (200, 404)
    workers = {worker.pid for worker in running.web_workers()}
    running.stop("postgres", signal.SIGINT)
    left_at = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        for call, answer in zip(
            calls, threads.map(lambda call: asking(call, running.url), calls), strict=True
        ):
            assert answer.status_code == 503, f"{call}: {answer.status_code} {answer.text}"
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["message"]
    while time.monotonic() - left_at < AWAY_S:
        assert running.status() == 503
    running.serve("postgres")  # until it takes connections: its own recovery is not ours
    with metronome(running) as passed:
        recovered(lambda: running.status() == 200, passed, "readiness")
        for call in calls:
            recovered(lambda: asking(call, running.url).status_code < 500, passed, str(call))  # noqa: B023
    assert {worker.pid for worker in running.web_workers()} == workers


@contextmanager
def metronome(running: Installation) -> Iterator[Callable[[], float]]:
    """Seconds as this machine has them: of each tick an answer is part that needs no Postgres, so
    where everything takes longer they do too, and a wait of ours for Postgres still counts."""
    ticks = 0
    ended = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not ended.wait(TICK_S):
            assert running.status("/healthz") == 200
            ticks += 1

    with ThreadPoolExecutor(1) as thread:
        ticking = thread.submit(tick)
        try:
            yield lambda: ticks * TICK_S
        finally:
            ended.set()
            ticking.result()


def recovered(condition: Callable[[], bool], passed: Callable[[], float], what: str) -> None:
    while not condition():
        assert passed() < RECOVERY_S, f"{what} did not come back within {RECOVERY_S:.0f} s"


NOBODY = dict.fromkeys(
    ("delivery", "products", "users", "feed", "model"), "00000000-0000-7000-8000-000000000000"
)


def as_shop(keys: Keys, pool: object) -> Shop:
    site = access.Site(keys.site_id, "shop", keys.segment_source.pepper, {})
    return Shop(
        pool,  # type: ignore[arg-type]
        site,
        keys.api_source,
        keys.segment_source,
        keys.secret_key,
        keys.publishable_key,
        keys.write_key,
    )


@pytest.mark.heavy
def test_restarts_of_postgres_under_load_lose_nothing(running: Installation) -> None:
    """Fast and immediate stops, and a kill -9 of the postmaster."""
    with running.database() as connection:
        keys = a_site(connection)
    sending = senders(running, keys, seed=7)
    for sender in sending:
        sender.start()
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        until_acknowledged(sending, 40)
        running.stop("postgres", how)
        until(lambda: refused(sending) > 0, 20, what="a refusal")
        running.serve("postgres")
        until_acknowledged(sending, 40)
    for sender in sending:
        sender.finish()
    print(f"\n{summary(sending)}; statuses {[dict(sender.statuses) for sender in sending]}")
    with running.database() as connection:
        sums = ledger(connection, keys.site_id)
        assert sums["failed"] == sums["refused"] == 0
        assert sums == told_ledger(running, keys)
        check_effects(connection, keys, sending)
    assert running.exceptions("web") == []
    assert {status for sender in sending for status in sender.statuses} <= {0, 200, 503}


def refused(sending: list[Sender]) -> int:
    return sum(sender.statuses[503] for sender in sending)


# connections ------------------------------------------------------------------------------------


def test_with_every_connection_taken_each_route_is_503(
    app: Flask, client: FlaskClient, shop: Shop
) -> None:
    calls = [call for call in every_call(app, shop, stocked(client, shop)) if call.needs_services]
    with ExitStack() as taken, app.app_context():
        for pool in (state.serving(), state.ingest()):
            for _ in range(state.POOL_SIZE):
                taken.enter_context(pool.connection())
        access.forget()
        with ThreadPoolExecutor(len(calls)) as threads:
            answers = list(threads.map(lambda call: call.send(app.test_client()), calls))
    for call, answer in zip(calls, answers, strict=True):
        assert answer.status_code == 503, f"{call}: {answer.status_code} {answer.text}"
        assert int(answer.headers["Retry-After"]) > 0
    for call in calls:
        assert call.send(client).status_code in (200, 202), str(call)


# Redis ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["unix:///nonexistent/redis.sock", "redis://127.0.0.1:1/0"], ids=["socket", "tcp"]
)
def test_without_redis_each_route_answers_as_ever(
    app_settings: Settings, shop: Shop, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    limits.forget()
    app = create_app(replace(app_settings, redis_url=url))
    try:
        client = app.test_client()
        for call in every_call(app, shop, stocked(client, shop)):
            expected = (404,) if call.rule == "/demo" else (200, 202)  # there is no demo site
            assert call.send(client).status_code in expected, str(call)
    finally:
        state.of(app).close()
        limits.forget()


def test_threads_that_begin_together_share_one_redis_client(app_settings: Settings) -> None:
    """A client that loses the race and is dropped closes what another thread reads from."""
    together = threading.Barrier(4)

    def first_use(fresh: state.State) -> int:
        together.wait()
        return id(fresh.redis_client())

    with ThreadPoolExecutor(4) as threads:
        for _ in range(300):
            fresh = state.State(app_settings)
            assert len(set(threads.map(first_use, [fresh] * 4))) == 1
            fresh.close()


@pytest.mark.heavy
def test_a_redis_that_hangs_slows_nobody_down_for_long(running: Installation) -> None:
    """Stopped by SIGSTOP it takes connections and never answers."""
    with running.database() as connection:
        keys = a_site(connection)
    sending = senders(running, keys, seed=3)
    for sender in sending:
        sender.start()
    until_acknowledged(sending, 20)
    began = time.monotonic()
    running.processes["redis"].send_signal(signal.SIGSTOP)
    try:
        until_acknowledged(sending, 200)
    finally:
        running.processes["redis"].send_signal(signal.SIGCONT)
    waits = waits_for_redis(running)
    passed = time.monotonic() - began
    for sender in sending:
        sender.finish()
    print(f"\n{waits} waits for Redis in {passed:.0f} s, {summary(sending)}")
    assert running.exceptions("web") == []
    assert {status for sender in sending for status in sender.statuses} == {200}
    # Each thread may wait once, then its process leaves Redis alone for a while.
    again = passed / limits.RETRY_REDIS_AFTER_S + passed / jobs.PAUSE_S
    assert 0 < waits <= running.web_processes * (2 * state.POOL_SIZE + again)


def waits_for_redis(running: Installation) -> int:
    """How often a request waited its time for Redis; those that did not even try say nothing."""
    said = running.log("web").read_text()
    return said.count("hint lost") + said.count("limits are off")
