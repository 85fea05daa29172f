"""How fast are uploads of 1,000 interactions, validation on, beside COPY of the same rows?"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bench.report import Line, against, known, note, percentile
from bench.stage import Stage, stage, web

BATCH = 1000
BATCHES = 40
SENDERS = 4
ROUNDS = 3
TABLES = ("event_keys", "events", "actors", "deliveries")
DELIVERIES = "select delivery_id from deliveries order by delivery_id"
WRITTEN = {
    "event_keys": "select k.* from event_keys k join events e using (site_id, event_id) "
    "where e.delivery_id = '{delivery}'",
    "events": "select * from events where delivery_id = '{delivery}'",
    "deliveries": "select * from deliveries where delivery_id = '{delivery}'",
}


def run() -> Iterator[Line]:
    with stage() as on:
        ours, copies = [], []
        with web(on) as port:
            _send(on, port, _bodies(4))  # warm
            for number in range(ROUNDS):
                note(f"interactions: round {number + 1} of {ROUNDS}")
                empty(on)
                bodies = _bodies(BATCHES)
                ours.append(_rate(partial(_send, on, port, bodies)))
                copies.append(BATCH * BATCHES / copy_s(on))
    rate, bare = percentile(ours, 50), percentile(copies, 50)
    yield against("/v1/interactions, batches of 1,000", rate, "events/s", bare, least=0.4)
    yield known("/v1/interactions, goal 10000", rate, "events/s")


def _rate(work: Any) -> float:
    began = time.perf_counter()
    work()
    return BATCH * BATCHES / (time.perf_counter() - began)


def _bodies(count: int) -> list[bytes]:
    return [json.dumps({"data": [interaction(n) for n in range(BATCH)]}).encode()
            for _ in range(count)]  # fmt: skip


def interaction(number: int) -> dict[str, Any]:
    """About 650 bytes, as the browser SDK writes it."""
    at = datetime.now(UTC) - timedelta(seconds=number)
    return {
        "type": "product_detail_page_view",
        "anonymous_id": f"visitor-{uuid.uuid4().int % 5000}",
        "product_ids": [f"p{number % 3000}"],
        "timestamp": at.isoformat(),
        "duration": 12.5,
        "context": {
            "page": {
                "url": f"https://shop.example/products/{number}",
                "referrer": "https://shop.example/",
                "title": f"Product {number}",
            },
            "locale": "en-GB",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0",
            "campaign": {"source": "newsletter", "medium": "email", "name": "autumn"},
            "custom_context": {
                "uuid": str(uuid.uuid4()),
                "sdk_version": "1.9.3",
                "site": "shop.example",
            },
        },
    }


def _send(on: Stage, port: int, bodies: list[bytes]) -> None:
    headers = {"X-API-KEY": on.keys["secret_key"], "Content-Type": "application/json"}
    send(f"http://127.0.0.1:{port}/v1/interactions", headers, bodies)


def send(url: str, headers: dict[str, str], bodies: list[bytes]) -> None:
    """Every body, by four senders."""
    waiting = iter(bodies)
    lock = threading.Lock()

    def sender() -> None:
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                return
            request = urllib.request.Request(url, data=body, headers=headers)
            with urllib.request.urlopen(request) as answer:
                answer.read()

    threads = [threading.Thread(target=sender) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def empty(on: Stage) -> None:
    """Take away what events and deliveries have written."""
    with on.pool.connection() as connection:
        for table in TABLES:
            connection.execute(f"truncate {table}")


def copy_s(on: Stage) -> float:
    """Seconds of a COPY of the rows that the uploads made into the same tables, all indexes in
    place, a transaction a batch as well; the rows are there in Postgres's own binary form."""
    with on.pool.connection() as connection:
        batches = [_dumped(connection, row[0]) for row in connection.execute(DELIVERIES).fetchall()]
        batches[0]["actors"] = _dump(connection, "table actors")
        empty(on)
        began = time.perf_counter()
        for batch in batches:
            with connection.transaction():
                for table, rows in batch.items():
                    _load(connection, table, rows)
        return time.perf_counter() - began


def _dumped(connection: Any, delivery_id: uuid.UUID) -> dict[str, bytes]:
    """What one delivery wrote, by table."""
    return {
        table: _dump(connection, statement.format(delivery=delivery_id))
        for table, statement in WRITTEN.items()
    }


def _dump(connection: Any, statement: str) -> bytes:
    query = f"copy ({statement}) to stdout (format binary)"
    with connection.cursor().copy(query) as copy:
        return b"".join(bytes(block) for block in copy)


def _load(connection: Any, table: str, rows: bytes) -> None:
    with connection.cursor().copy(f"copy {table} from stdin (format binary)") as copy:
        copy.write(rows)
