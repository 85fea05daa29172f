"""Does the very next list know the last event, when another process answers it?

A thousand times: one web process takes a signed Segment event, another one is asked at once. A list
is stale unless the touched product is gone from it, its explanations name the event's product, and
the list has leaned to it: with touched products left out of both lists, more of the clicked
product's 50 nearest are among the first 20 than before.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bench import catalog
from bench.report import Line, at_most, known, note
from bench.stage import Stage, stage, web
from ranking.catalog import models, nearest
from ranking.merchandising import filters
from schemas.database import Connection

PRODUCTS = 20_000
TIMES = 1000
CLICKS_EACH = 2
SHOWN = 20
NEAREST = 50


def run() -> Iterator[Line]:
    with stage() as on:
        on.environment["WEB_CONCURRENCY"] = "1"
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        catalog.visits(on.pool, on.site.site_id, on.api, 200, 3)
        with web(on) as writer, web(on) as reader, on.pool.connection() as connection:
            stale, rises = 0, []
            ids = _ids(on, connection)
            for number in range(TIMES // CLICKS_EACH):
                if number % 100 == 0:
                    note(f"freshness: {number * CLICKS_EACH} of {TIMES}")
                clicks = random.Random(number).choices(ids, k=CLICKS_EACH)
                for known_there, rise in _visit(on, connection, writer, reader, number, clicks):
                    stale += not (known_there and rise > 0)
                    rises.append(rise)
    yield at_most(
        f"stale lists of {TIMES} written and read through two processes", stale, "lists", 0
    )
    mean = sum(rises) / len(rises)
    yield known("rise of the clicked product's 50 nearest in the top 20, mean", mean, "products")


def _visit(
    on: Stage, connection: Connection, writer: int, reader: int, number: int, clicks: list[str]
) -> Iterator[tuple[bool, int]]:
    """For each click: whether the next list knew it, and how many nearest products it gained."""
    visitor = f"f{number}"
    for clicked in clicks:
        before = _list(on, reader, visitor)
        near = _nearest(on, connection, clicked)
        _click(on, writer, visitor, clicked)
        after = _list(on, reader, visitor)
        named = any(
            clicked in event["product_ids"]
            for product in after
            for event in product["_explanation"]["because"]
        )
        gone = all(product["product_id"] != clicked for product in after)
        yield gone and named, _among(near, after, clicked) - _among(near, before, clicked)


def _ids(on: Stage, connection: Connection) -> list[str]:
    """Any product may be clicked: one comes from a search, a friend, an advertisement."""
    rows = connection.execute(
        "select product_id from products where site_id = %s order by product_id",
        [on.site.site_id],
    )
    return [row[0] for row in rows]


def _among(near: set[str], products: list[dict[str, Any]], clicked: str) -> int:
    first = [one["product_id"] for one in products if one["product_id"] != clicked][:SHOWN]
    return len(near.intersection(first))


def _list(on: Stage, port: int, visitor: str) -> list[dict[str, Any]]:
    key = on.keys["publishable_key"]
    body = {"anonymous_id": visitor, "rows": SHOWN + 5, "explain": True}
    path = f"/v1/recommendation/user_to_products?api_key={key}"
    found: list[dict[str, Any]] = _post(port, path, json.dumps(body).encode())["data"]["products"]
    return found


def _click(on: Stage, port: int, visitor: str, product_id: str) -> None:
    body = json.dumps(
        {
            "type": "track",
            "event": "Product Viewed",
            "messageId": str(uuid.uuid4()),
            "anonymousId": visitor,
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": {"product_id": product_id},
        }
    ).encode()
    digest = hmac.new(on.segment.secrets[0].encode(), body, hashlib.sha1).hexdigest()
    path = f"/webhooks/segment/{on.segment.public_id}"
    assert _post(port, path, body, {"X-Signature": digest})["applied"] == 1


def _post(port: int, path: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=body,
        headers={"Content-Type": "application/json"} | (headers or {}),
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def _nearest(on: Stage, connection: Connection, product_id: str) -> set[str]:
    model = models.live(connection, on.site.site_id)
    [(number,)] = connection.execute(
        "select product_no from products where site_id = %s and product_id = %s",
        [on.site.site_id, product_id],
    ).fetchall()
    [vector] = nearest.vectors(connection, model, [number]).values()
    anything = filters.compile(filters.everything(), nearest.ALIAS)
    found = nearest.exact(connection, model, vector, anything, NEAREST + 1)
    return {one.product_id for one in found} - {product_id}
