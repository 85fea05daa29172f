"""How long do a hundred orders wait that Shopify delivers at once? It gives up after 5 seconds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from bench import load
from bench.report import Line, against, at_most, note, percentile
from bench.stage import stage, web
from gateway import access

AT_ONCE = 100
ROUNDS = 5


def run() -> Iterator[Line]:
    with stage() as on:
        with on.pool.connection() as connection:
            made = access.create_source(connection, on.site, "shopify")
        requests = _orders(made.source.public_id, made.secret)
        with web(on) as port:
            load.closed(port, requests, connections=8, seconds=3.0).check()  # warm
            rounds = []
            for number in range(ROUNDS):
                note(f"shopify: round {number + 1} of {ROUNDS}")
                rounds.append(_at_once(port, requests))
    slowest = percentile([max(one) for one in rounds], 50)
    median = percentile([percentile(one, 50) for one in rounds], 50)
    question = f"slowest of {AT_ONCE} orders that Shopify delivers at once"
    yield against(f"{question}, to the median", slowest, "ms", median, most=3.0)
    yield at_most(question, max(max(one) for one in rounds), "ms", 5000)


def _at_once(port: int, requests: Callable[[], bytes]) -> list[float]:
    """All of them scheduled for the same instant, each on a connection of its own."""
    found = load.open_loop(
        port, requests, connections=AT_ONCE, seconds=AT_ONCE / 1e6, rate=1e6
    ).check()
    return found.latencies


def _orders(source: str, secret: str) -> Callable[[], bytes]:
    numbers = itertools.count(1)

    def request() -> bytes:
        number, at = next(numbers), datetime.now(UTC).isoformat()
        body = json.dumps(
            {
                "id": number, "created_at": at, "updated_at": at, "currency": "EUR",
                "subtotal_price": "30.00", "checkout_token": f"token-{number}",
                "customer": {"id": number % 50 + 1},
                "line_items": [
                    {"id": n, "product_id": n, "variant_id": 10 * n, "quantity": 1}
                    for n in range(1, 4)
                ],
            }
        ).encode()  # fmt: skip
        digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": "orders/create",
            "X-Shopify-Webhook-Id": f"webhook-{number}",
            "X-Shopify-Triggered-At": at,
            "X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode(),
        }
        return load.post(f"/webhooks/shopify/{source}", body, headers)

    return request
