"""What do Segment's own clients cost us: single events beside a bare insert, and batches of 100
beside COPY of the same rows?"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from bench import interactions, load, webhook
from bench.report import Line, against, known, note, percentile
from bench.stage import Stage, stage, web
from gateway import access

ROUNDS = 3
BATCH, BATCHES = 100, 150


def run() -> Iterator[Line]:
    with stage() as on:
        with on.pool.connection() as connection:
            write_key = access.create_source(connection, on.site, "segment").write_key
        token = base64.b64encode(f"{write_key}:".encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
        webhook.remember(on)
        yield from _singles(on, headers)
        yield from _batches(on, headers)


def _singles(on: Stage, headers: dict[str, str]) -> Iterator[Line]:
    ours, bare = load.Result(), load.Result()
    for number in range(ROUNDS):
        note(f"collector: single events, round {number + 1} of {ROUNDS}")
        webhook.add(bare, webhook.bare_inserts(on))
        with web(on) as port:
            found = webhook.measure(port, lambda: load.post("/v1/track", webhook.event(), headers))
        webhook.add(ours, found)
    yield against("collector single events", ours.rate, "requests/s", bare.rate, least=0.6)


def _batches(on: Stage, headers: dict[str, str]) -> Iterator[Line]:
    ours, copies = [], []
    with web(on) as port:
        url = f"http://127.0.0.1:{port}/v1/batch"
        interactions.send(url, headers, _bodies(8))  # warm
        for number in range(ROUNDS):
            note(f"collector: batches, round {number + 1} of {ROUNDS}")
            interactions.empty(on)
            bodies = _bodies(BATCHES)
            began = time.perf_counter()
            interactions.send(url, headers, bodies)
            ours.append(BATCH * BATCHES / (time.perf_counter() - began))
            copies.append(BATCH * BATCHES / interactions.copy_s(on))
    rate, bare = percentile(ours, 50), percentile(copies, 50)
    yield against("collector, batches of 100", rate, "events/s", bare, least=0.4)
    yield known("collector, batches of 100 a second", rate / BATCH, "requests/s")


def _bodies(count: int) -> list[bytes]:
    sent_at = datetime.now(UTC).isoformat()
    return [
        json.dumps(
            {"batch": [json.loads(webhook.event()) for _ in range(BATCH)], "sentAt": sent_at}
        ).encode()
        for _ in range(count)
    ]
