"""The encoder killed at work, Redis emptied under load, two clocks: the work is done, once."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from gateway import clock
from ranking.catalog import embeddings, models
from schemas import database
from tests.conftest import Shop
from tests.faults.installation import Installation, Keys, told_ledger
from tests.faults.senders import Sender
from tests.faults.state import ledger
from tests.faults.test_killed_web import check_effects, until_acknowledged
from tests.faults.traffic import senders
from tests.journeys.gateway_process import until

PRODUCTS = 400
KILLS = 3
FLUSHES = 100
RUN_BY_WORKER = ("popularity", "partitions", "purge")


def upload(running: Installation, keys: Keys, first: int, count: int) -> None:
    records = [
        {"product_id": f"made-{n}", "title": f"Enamel mug number {n}", "brand": f"Brand {n % 7}"}
        for n in range(first, first + count)
    ]
    running.ask("products", keys.secret_key, {"data": records})


def encoded(connection: database.Connection, keys: Keys) -> int:
    model = models.live(connection, keys.site_id)
    statement = sql.SQL("select count(*) from {}").format(model.vectors)
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0


def check_encoded(connection: database.Connection, keys: Keys) -> None:
    """Every product has one vector of its present text, served and raw, and nothing waits."""
    model = models.live(connection, keys.site_id)
    statement = sql.SQL(
        "select count(*), count(distinct v.product_no), "
        "count(*) filter (where v.text_hash = p.text_hash and t.text_hash = p.text_hash) "
        "from products p left join {vectors} v using (site_id, product_no) "
        "left join {texts} t using (site_id, product_no) "
        "where p.site_id = %s and p.text_hash is not null and not p.deleted"
    ).format(vectors=model.vectors, texts=model.texts)
    products, vectors, current = connection.execute(statement, [keys.site_id]).fetchone() or ()
    assert products == vectors == current > 0
    assert encoded(connection, keys) == products
    assert embeddings.waiting(connection, keys.site_id) == 0
    assert embeddings.failed(connection, keys.site_id) == 0
    assert embeddings.find_dirty(connection, keys.site_id) == 0


# the encoder ------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_an_encoder_killed_mid_batch_leaves_nothing_out_and_nothing_twice(
    running: Installation, keys: Keys
) -> None:
    running.start("clock")
    upload(running, keys, 0, PRODUCTS)
    with running.database() as connection:
        for _ in range(KILLS):
            before = encoded(connection, keys)
            running.start("encoder")
            until(lambda: encoded(connection, keys) > before, 120, what="a slice")  # noqa: B023
            running.kill("encoder")
            assert encoded(connection, keys) < PRODUCTS
        running.start("encoder")
        until(lambda: encoded(connection, keys) == PRODUCTS, 180, what="the rest")
        check_encoded(connection, keys)
        assert ledger(connection, keys.site_id) == told_ledger(running, keys)
    assert running.status() == 200


# Redis ------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_flushing_redis_under_load_loses_nothing(running: Installation, keys: Keys) -> None:
    for role in ("worker", "encoder", "clock"):
        running.start(role)
    sending = senders(running, keys)
    with running.database() as connection:
        upload(running, keys, 0, 100)
        until(lambda: encoded(connection, keys) > 0, 120, what="a first vector")
        flush_under(running, sending)
        for sender in sending:
            sender.finish()
        print(f"\n{FLUSHES} flushes, statuses {[dict(sender.statuses) for sender in sending]}")
        assert running.exceptions("web") == []
        assert all(set(sender.statuses) == {200} for sender in sending)
        sums = ledger(connection, keys.site_id)
        assert sums == told_ledger(running, keys)
        sent = sum(one.records for sender in sending for one in sender.log)
        assert sums["received"] == sent + 100
        assert sums["failed"] == 0
        until(lambda: embeddings.waiting(connection, keys.site_id) == 0, 240, what="every vector")
        check_encoded(connection, keys)
    assert running.status() == 200


def flush_under(running: Installation, sending: list[Sender]) -> None:
    """Empty Redis again and again while requests come, encodes run and tasks begin."""
    for sender in sending:
        sender.start()
    with running.redis() as client:
        for _ in range(FLUSHES):
            before = sum(len(sender.log) for sender in sending)
            until(lambda: sum(len(s.log) for s in sending) > before + 5, 60, what="answers")  # noqa: B023
            client.flushall()


@pytest.mark.heavy
def test_what_came_while_redis_was_away_is_found_in_postgres(
    running: Installation, keys: Keys
) -> None:
    """First it hangs, then it is gone, with all that was in it; how long makes no difference: a
    role tries again every few seconds, the clock every half minute."""
    for role in ("worker", "encoder", "clock"):
        running.start(role)
    sending = senders(running, keys, seed=17)
    with running.database() as connection:
        until(lambda: beats(connection, "encoder") == 1, 120, what="an encoder")
        for sender in sending:
            sender.start()
        until_acknowledged(sending, 20)
        running.processes["redis"].send_signal(signal.SIGSTOP)
        until_acknowledged(sending, 60)
        running.kill("redis")
        said = running.log("clock")
        until(lambda: "hint lost" in said.read_text(), 90, what="a slot without Redis")
        for sender in sending:
            sender.finish()
        upload(running, keys, 0, 50)
        left = embeddings.waiting(connection, keys.site_id)
        assert left >= 50
        running.serve("redis")
        until(lambda: embeddings.waiting(connection, keys.site_id) == 0, 240, what="every vector")
        check_encoded(connection, keys)
        ranked = "select count(*) from popularity"
        until(lambda: connection.execute(ranked).fetchone() != (0,), 120, what="popularity")
        assert {status for sender in sending for status in sender.statuses} == {200}
        check_effects(connection, keys, sending)
        assert ledger(connection, keys.site_id) == told_ledger(running, keys)
    assert running.exceptions("web") == []


@pytest.mark.heavy
def test_a_lost_hint_is_found_by_the_clock(running: Installation, keys: Keys) -> None:
    upload(running, keys, 0, 20)
    with running.redis() as client, running.database() as connection:
        assert client.exists(f"rq:job:encode-{keys.site_id}")
        client.flushall()
        running.start("encoder")
        running.start("clock")
        until(lambda: encoded(connection, keys) == 20, 120, what="the encode of a lost hint")
        check_encoded(connection, keys)


# clocks -----------------------------------------------------------------------------------------


def test_two_clocks_never_claim_one_slot(shop: Shop, environment: None) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    instants = [began + timedelta(seconds=30 * n) for n in range(60)]
    together = threading.Barrier(2)

    def ticks(_: int) -> list[tuple[str, int, datetime]]:
        with closing(database.connect(shop.pool.conninfo)) as connection:
            given = []
            for at in instants:
                together.wait()
                given += [(task, site, at) for task, site in clock.tick(connection, at)]
            return given

    with ThreadPoolExecutor(2) as threads:
        given = [one for each in threads.map(ticks, range(2)) for one in each]
    assert len(given) == len(set(given)) > 0
    assert {task for task, _, _ in given} >= {"popularity", "partitions", "purge", "find_dirty"}


@pytest.mark.heavy
def test_two_clocks_start_each_task_once(running: Installation, keys: Keys) -> None:
    upload(running, keys, 0, 1)  # nobody encodes it, so each slot has something to claim
    running.start("worker")
    with running.database() as connection:
        until(lambda: beats(connection, "worker") == 1, 60, what="a worker")
        running.start("clock")
        running.start("clock", name="another clock")
        until(lambda: beats(connection, "clock") == 2, 60, what="two clocks")
        until(lambda: len(slots(connection, "encode")) >= 2, 90, what="a second slot of both")
        until(lambda: set(slots(connection, *RUN_BY_WORKER).values()) == {"done"}, what="an end")
        claimed = Counter(task for task, _ in slots(connection, *RUN_BY_WORKER))
        assert set(claimed) == set(RUN_BY_WORKER)
        assert tasks_done(running.log("worker"), RUN_BY_WORKER) == claimed
    assert running.status() == 200


def beats(connection: database.Connection, role: str) -> int:
    row = connection.execute("select count(*) from heartbeats where role = %s", [role]).fetchone()
    return int(row[0]) if row else 0


def slots(connection: database.Connection, *tasks: str) -> dict[tuple[str, datetime], str]:
    """(task, slot) → state of every claimed slot of these tasks."""
    rows = connection.execute(
        "select task, slot, state from task_runs where task = any(%s)", [list(tasks)]
    )
    return {(task, slot): state for task, slot, state in rows}


def tasks_done(log: Path, names: tuple[str, ...]) -> Counter[str]:
    lines = [parsed for line in log.read_text().splitlines() if (parsed := _line(line))]
    return Counter(
        line["task"] for line in lines if line.get("event") == "task done" and line["task"] in names
    )


def _line(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
