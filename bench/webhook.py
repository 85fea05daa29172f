"""What does a Segment event cost, verified, translated and applied, beside a bare insert?"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from bench import load
from bench.report import Line, against, known, note, percentile
from bench.stage import Stage, stage, web
from gateway import ingest

CONNECTIONS = 8
SECONDS = 8.0
WARM_S = 6.0  # until each process has met the 500 products
ROUNDS = 3
HISTORY = 50  # batches of 1,000: no shop is empty for long


def run() -> Iterator[Line]:
    with stage() as on:
        remember(on)
        ours, bare = load.Result(), load.Result()
        for number in range(ROUNDS):
            note(f"webhook: round {number + 1} of {ROUNDS}")
            add(bare, bare_inserts(on))
            add(ours, _ours(on))
    yield against("webhook single events", ours.rate, "requests/s", bare.rate, least=0.6)
    slow, fast = percentile(ours.latencies, 99), percentile(bare.latencies, 99)
    yield against("webhook single events p99", slow, "ms", fast, most=2.5)
    yield known("webhook single events, goal 1000", ours.rate, "requests/s")


def remember(on: Stage) -> None:
    """A history, and the table of the bare handler."""
    note("bench: a history of 50,000 events")
    for _ in range(HISTORY):
        body = b"[" + b",".join(event() for _ in range(1000)) + b"]"
        ingest.deliver(on.pool, on.segment, topic=None, headers={}, body=body)
    with on.pool.connection() as connection:
        connection.execute("create table bare (id bigserial primary key, body bytea not null)")
        connection.execute("vacuum analyze")


def _ours(on: Stage) -> load.Result:
    secret, path = on.segment.secrets[0], f"/webhooks/segment/{on.segment.public_id}"

    def signed() -> bytes:
        body = event()
        digest = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
        headers = {"Content-Type": "application/json", "X-Signature": digest}
        return load.post(path, body, headers)

    with web(on) as port:
        return measure(port, signed)


def bare_inserts(on: Stage) -> load.Result:
    """The baseline: a handler that inserts the body and commits."""

    def plain() -> bytes:
        return load.post("/bare", event(), {"Content-Type": "application/json"})

    with web(on, "bench.bare:create_app()") as port:
        return measure(port, plain)


def measure(port: int, requests: Callable[[], bytes]) -> load.Result:
    """As many as eight connections can have answered, after a warm-up."""
    load.closed(port, requests, connections=CONNECTIONS, seconds=WARM_S)
    return load.closed(port, requests, connections=CONNECTIONS, seconds=SECONDS).check()


def add(total: load.Result, part: load.Result) -> None:
    """Count one round into the total."""
    total.latencies += part.latencies
    total.seconds += part.seconds


def event() -> bytes:
    """A product view as Segment delivers it: about 900 bytes, one of 500 visitors and products."""
    number = uuid.uuid4()
    visitor, product = number.int % 500, number.int // 500 % 500
    return json.dumps(
        {
            "anonymousId": f"visitor-{visitor}",
            "channel": "client",
            "context": {
                "library": {"name": "analytics.js", "version": "next-1.84.3"},
                "locale": "en-GB",
                "page": {
                    "path": f"/products/{product}",
                    "referrer": "https://shop.example/",
                    "title": f"Product {product}",
                    "url": f"https://shop.example/products/{product}",
                },
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0",
            },
            "event": "Product Viewed",
            "integrations": {},
            "messageId": f"ajs-next-{number}",
            "projectId": "r3QPgvJBMpsc1XLzT17X8P",
            "properties": {
                "product_id": f"p{product}",
                "name": f"Product {product}",
                "price": 19.9,
                "currency": "GBP",
                "category": "Home/Kitchen",
            },
            "receivedAt": datetime.now(UTC).isoformat(),
            "timestamp": datetime.now(UTC).isoformat(),
            "type": "track",
            "version": 2,
        }
    ).encode()
