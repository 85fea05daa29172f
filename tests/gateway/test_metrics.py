"""What Prometheus sees, who may see it, and that what one process counted outlives it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from psycopg_pool import ConnectionPool

from gateway import VERSION, jobs
from gateway.http import create_app, metrics, scrape, state
from gateway.ledger import Total
from gateway.running.processes import Watcher
from gateway.settings import Settings
from gateway.telemetry import figures, gauges
from ranking.catalog import embeddings
from tests.builders import deliver, track
from tests.conftest import Shop

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-token-for-scrapers"


def figure(client: FlaskClient, name: str, **labels: str) -> float:
    """One sample's value; 0 where there is none."""
    scrape.totals.forget()
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = [s for family in families for s in family.samples if s.name == name]
    return next((s.value for s in found if labels.items() <= s.labels.items()), 0.0)


# who may ask -------------------------------------------------------------------------------------


@pytest.fixture
def asking(app_settings: Settings) -> Iterator[Any]:
    """The status of /metrics for a peer and its headers, under other settings."""
    made = []

    def ask(peer: str, headers: dict[str, str] | None = None, **changed: Any) -> int:
        app = create_app(replace(app_settings, **changed))
        made.append(app)
        answer = app.test_client().get(
            "/metrics", headers=headers or {}, environ_base={"REMOTE_ADDR": peer}
        )
        return answer.status_code

    yield ask
    for app in made:
        state.of(app).close()


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.1.2.3", "::ffff:192.168.0.9", "fd00::1"])
def test_private_peers_need_no_token(asking: Any, peer: str) -> None:
    assert asking(peer) == 200


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:4860::1", "::ffff:8.8.8.8", "unknown"])
def test_strangers_are_refused(asking: Any, peer: str) -> None:
    assert asking(peer) == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_what_comes_through_an_unknown_proxy_comes_from_anywhere(asking: Any, header: str) -> None:
    assert asking("127.0.0.1", {header: "10.0.0.1"}) == 403


def test_a_trusted_proxy_says_who_asks(asking: Any) -> None:
    assert asking("127.0.0.1", {"X-Forwarded-For": "8.8.8.8"}, trusted_proxies=1) == 403
    assert asking("127.0.0.1", {"X-Forwarded-For": "10.0.0.7"}, trusted_proxies=1) == 200
    assert asking("127.0.0.1", {"X-Forwarded-For": "10.0.0.7, 8.8.8.8"}, trusted_proxies=1) == 403
    assert asking("8.8.8.8", {"X-Forwarded-For": "10.0.0.7"}, trusted_proxies=1) == 403


def test_a_token_opens_to_whoever_has_it_and_to_nobody_else(asking: Any) -> None:
    def ask(value: str | None) -> int:
        headers = {"Authorization": value} if value else {}
        return int(asking("8.8.8.8", headers, metrics_token=TOKEN))

    assert ask(f"Bearer {TOKEN}") == 200
    assert [ask(None), ask(TOKEN), ask("Bearer wrong"), ask("Bearer \u00e9")] == [401] * 4
    assert asking("127.0.0.1", metrics_token=TOKEN) == 401


# the installation --------------------------------------------------------------------------------


def test_deliveries_are_counted_by_what_became_of_them(client: FlaskClient, shop: Shop) -> None:
    before = [
        figure(client, "attune_deliveries_total", connector="segment", outcome=outcome)
        for outcome in ("applied", "duplicate", "refused")
    ]
    message = track()
    deliver(shop.pool, shop.segment, message)
    deliver(shop.pool, shop.segment, message)
    deliver(shop.pool, shop.segment, b"{")
    after = [
        figure(client, "attune_deliveries_total", connector="segment", outcome=outcome)
        for outcome in ("applied", "duplicate", "refused")
    ]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]


def test_failed_deliveries_are_open_until_they_are_mended(client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        receipt = deliver(shop.pool, shop.segment, track())
        connection.execute(
            "update deliveries set failed = received, applied = 0, outcome = 'failed', "
            "received_at = received_at - interval '1 minute' where delivery_id = %s",
            [receipt.delivery_id],
        )
    assert figure(client, "attune_failed_deliveries") == 1
    assert figure(client, "attune_failed_deliveries_oldest_seconds") >= 60


def test_the_encoders_queue_tells_its_length_its_age_and_what_was_given_up(
    client: FlaskClient, shop: Shop
) -> None:
    with shop.pool.connection() as connection:
        connection.execute(
            "insert into products_to_encode (site_id, product_no, text_hash, queued_at, attempts) "
            "values (%(s)s, 1, gen_random_uuid(), now() - interval '90 s', 0), "
            "(%(s)s, 2, gen_random_uuid(), now() - interval '1 h', %(most)s)",
            {"s": shop.site.site_id, "most": embeddings.MAX_ATTEMPTS},
        )
    assert figure(client, "attune_encode_queue") == 2
    assert figure(client, "attune_encode_given_up") == 1
    assert 90 <= figure(client, "attune_encode_oldest_seconds") < 600


def test_roles_and_tasks_tell_their_age_and_their_failures(client: FlaskClient, shop: Shop) -> None:
    site_id, now = shop.site.site_id, datetime.now(UTC)
    with shop.pool.connection() as connection:
        connection.execute(
            "insert into heartbeats values ('clock', 'h', 1, now(), now() - interval '10 min'), "
            "('worker', 'h', 2, now(), now() - interval '10 min'), "
            "('worker', 'h', 3, now(), now())"
        )
        jobs.claim(connection, "popularity", site_id, now - timedelta(minutes=9))
        jobs.finish(connection, "popularity", site_id, {"products": 1})
        jobs.claim(connection, "popularity", site_id, now - timedelta(minutes=5))
        jobs.finish(connection, "popularity", site_id, {"error": "broken"})
        jobs.claim(connection, "partitions", jobs.EVERY_SITE, now)
    assert figure(client, "attune_heartbeat_age_seconds", role="clock") >= 600
    assert figure(client, "attune_role_processes", role="worker") == 1
    assert 300 <= figure(client, "attune_task_age_seconds", task="popularity") < 500
    assert figure(client, "attune_task_failing_sites", task="popularity") == 1
    assert figure(client, "attune_task_failing_sites", task="partitions") == 0
    assert figure(client, "attune_task_unfinished_seconds", task="partitions") > 0


def test_jobs_that_wait_are_counted_and_a_redis_that_is_away_is_told(
    client: FlaskClient, shop: Shop, app_settings: Settings
) -> None:
    jobs._hints.cache_clear()
    assert jobs.hint("popularity", shop.site.site_id)
    assert figure(client, "attune_jobs_waiting", queue="default") == 1
    assert figure(client, "attune_redis_up") == 1
    jobs._hints.cache_clear()

    app = create_app(replace(app_settings, redis_url="unix:///nowhere/redis.sock"))
    assert figure(app.test_client(), "attune_redis_up") == 0
    assert figure(app.test_client(), "attune_postgres_up") == 1
    state.of(app).close()


def test_without_postgres_the_rest_is_told(app_settings: Settings) -> None:
    app = create_app(replace(app_settings, database_url="postgresql://x@/x?host=/nowhere"))
    assert figure(app.test_client(), "attune_postgres_up") == 0
    assert figure(app.test_client(), "attune_redis_up") == 1
    state.of(app).close()


def test_the_build_is_that_of_the_project(client: FlaskClient) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    assert figure(client, "attune_build", version=VERSION) == 1


def test_of_many_sources_only_the_busiest_stand_alone() -> None:
    rows = [
        Total(f"s{n}", str(n), "segment", received=n, applied=n, duplicate=0, ignored=0,
              refused=0, failed=0)
        for n in range(1000)
    ]  # fmt: skip
    samples = gauges._ledger(rows).samples
    assert len(samples) == (gauges.MOST_SOURCES + 1) * 6
    received = [s for s in samples if s.labels["outcome"] == "received"]
    assert sum(s.value for s in received) == sum(range(1000))


def test_a_method_of_ones_own_making_makes_no_series(client: FlaskClient) -> None:
    before = len(metrics._requests)
    for n in range(20):
        client.open("/healthz", method=f"MADE{n}")
    assert len(metrics._requests) <= before + 1


# processes ---------------------------------------------------------------------------------------


def test_a_process_tells_of_itself_and_its_pools(
    client: FlaskClient, pool: ConnectionPool[psycopg.Connection[Any]]
) -> None:
    watcher = Watcher("worker", lambda: [pool])
    watcher.look()
    with pool.connection():
        watcher.look()
        used = {"role": "worker", "pool": "tests", "state": "used"}
        assert figure(client, "attune_pool_connections", **used) >= 1  # one more may be opening
    assert figure(client, "attune_processes", role="worker") == 1
    assert figure(client, "attune_resident_bytes", role="worker") > 1e7
    assert figure(client, "attune_cpu_seconds_total", role="worker") > 0
    assert figure(client, "attune_pool_requests_total", pool="tests") >= 1


COUNT = """
import sys
from pathlib import Path
from gateway.telemetry import figures
figures.share(Path(sys.argv[1]))
from prometheus_client import Counter, Gauge, Histogram
Counter("c", "c", ["k"]).labels("x").inc(2)
Gauge("g", "g", multiprocess_mode="livesum").set(7)
Histogram("h", "h").observe(0.3)
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(figures.FOLDER, str(tmp_path))
    return tmp_path


def shared(run_dir: Path) -> dict[str, float]:
    """What a process that shares the folder sees of all the others."""
    figures.share(run_dir)
    with figures.unchanged():
        families = list(scrape._processes().collect())
    return {s.name: s.value for family in families for s in family.samples}


def counting(run_dir: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", COUNT, str(run_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == b"counted\n"
    return process


def test_what_the_dead_have_counted_is_kept_and_what_they_were_is_not(run_dir: Path) -> None:
    first, second = counting(run_dir), counting(run_dir)
    assert shared(run_dir) | {"c_total": 4, "g": 14, "h_count": 2} == shared(run_dir)
    first.kill()
    first.communicate()
    assert shared(run_dir) | {"c_total": 4, "g": 7, "h_count": 2} == shared(run_dir)
    second.kill()
    second.communicate()
    third = counting(run_dir)
    assert shared(run_dir) | {"c_total": 6, "g": 7, "h_count": 3} == shared(run_dir)
    third.kill()
    third.communicate()
    figures.bury()
    files = [path.name for path in Path(os.environ[figures.FOLDER]).glob("*.db")]
    assert sorted(files) == ["counter_dead.db", "histogram_dead.db"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("counter_999999.db", b"\xff\xff\x00\x00" + b"x" * 60),
        ("counter_999999.db", b""),
        ("counter_999999.db.new", b""),
    ],
    ids=["torn", "empty", "unfinished"],
)
def test_a_file_torn_by_a_kill_is_no_reason_to_fail(
    run_dir: Path, name: str, content: bytes
) -> None:
    process = counting(run_dir)
    process.kill()
    process.communicate()
    figures.share(run_dir)
    folder = Path(os.environ[figures.FOLDER])
    (folder / name).write_bytes(content)
    figures.bury()
    assert not (folder / name).exists()
    assert shared(run_dir)["c_total"] == 2


# documents ---------------------------------------------------------------------------------------


def test_each_figure_named_in_the_docs_exists(client: FlaskClient) -> None:
    import_module("gateway.tasks")  # which the web role does not
    text = (ROOT / "docs" / "how-to" / "monitor.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\battune_[a-z_]+", text))
    exist = {
        name
        for family in [*text_string_to_metric_families(client.get("/metrics").text)]
        for name in (family.name, f"{family.name}_total", f"{family.name}_bucket",
                     f"{family.name}_count", f"{family.name}_sum")
    }  # fmt: skip
    assert len(named) > 20
    assert named <= exist
