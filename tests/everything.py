"""A shop with something of everything in it, filled through its doors, and all that can be asked of
it: for tests in which a database moves and every answer must be what it was.

It also runs on the code of a release (`tests/upgrade/make.py`), so it uses only what has been there
since 0.1.0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway import access
from ranking.catalog import embeddings, fitting, popularity
from schemas import database
from tests.connectors.signing import segment as signed
from tests.ranking.market import Words

COLORS = ("red", "blue", "green", "black", "white")
THINGS = ("mug", "hat", "lamp", "scarf", "clock", "bowl")
LISTS = ("user_to_products", "user_to_trending", "user_to_history")
VISITORS = ("a1", "a2", "a3", "u1", "u2")
# Made anew by each answer, or its own duration.
FLEETING = ("miso_id", "took")


@dataclass(frozen=True)
class Place:
    """Where to send things: a site's keys and its Segment source."""

    site: str
    secret_key: str
    publishable_key: str
    segment_path: str
    segment_secret: str


def open_shop(connection: database.Connection) -> Place:
    """A new site with a Segment source."""
    keys = access.create_site(connection, "shop")
    made = access.create_source(connection, access.site(connection, "shop"), "segment")
    path = f"/webhooks/segment/{made.source.public_id}"
    return Place("shop", keys["secret_key"], keys["publishable_key"], path, made.secret)


def fill(client: FlaskClient, place: Place, at: datetime) -> None:
    """A few days until `at`: an upload, visits, a login, an alias, orders, an erasure, mistakes."""
    _upload(client, place, "products", [_product(c, t, at) for c in COLORS for t in THINGS])
    _upload(client, place, "users", [{"user_id": "u1", "name": "Ann", "city": "Bern"}])
    for body in _messages(at):
        send(client, place, body)
    likes = [
        {"type": "like", "product_ids": [f"{color} mug"], "anonymous_id": "a3",
         "timestamp": (at - timedelta(hours=2)).isoformat()}
        for color in COLORS[:2]
    ]  # fmt: skip
    _upload(client, place, "interactions", likes)
    headers = {"X-API-KEY": place.secret_key}
    client.delete("/v1/products/white%20bowl", headers=headers)


def work(connection: database.Connection, at: datetime) -> None:
    """What the roles would do: vectors, model, popularity."""
    site_id = access.site(connection, "shop").site_id
    embeddings.drain(connection, site_id, Words())
    fitting.fit(connection, site_id)
    popularity.refresh(connection, site_id, at)


def send(client: FlaskClient, place: Place, body: Any) -> dict[str, Any]:
    """One signed delivery of Segment's; returns the answer's counts."""
    raw = body if isinstance(body, bytes) else _compact(body)
    of = _compact(body[0]) if isinstance(body, list) else raw  # of an array, its first message
    answer = client.post(place.segment_path, data=raw, headers=signed(of, place.segment_secret))
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def _compact(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def message(name: str, at: datetime, **fields: Any) -> dict[str, Any]:
    """A Segment track message that is the same at each call."""
    return {
        "type": "track",
        "messageId": name,
        "anonymousId": "a1",
        "event": "Product Viewed",
        "timestamp": at.isoformat(),
        "properties": {"product_id": "red mug"},
    } | fields


def ask(client: FlaskClient, place: Place) -> dict[str, Any]:
    """Every answer by what was asked, without what is new in each."""
    asked: dict[str, Any] = {}
    for visitor in VISITORS:
        kind = "user_id" if visitor.startswith("u") else "anonymous_id"
        for name in LISTS:
            body = {
                kind: visitor, "rows": 20, "fl": ["title", "brand"], "explain": True,
                "diversity": 0,  # a default that may change
            }  # fmt: skip
            asked[f"{name} {visitor}"] = _post(client, place, f"recommendation/{name}", body)
        asked[f"visitor {visitor}"] = _get(client, place, f"/admin/v1/visitors/{visitor}")
        asked[f"events {visitor}"] = _get(client, place, f"/admin/v1/events?visitor={visitor}")
    body = {"product_id": "red mug", "rows": 20, "anonymous_id": "a2", "explain": True}
    asked["similar"] = _post(client, place, "recommendation/product_to_products", body)
    body = {"anonymous_id": "a1", "fq": 'brand:"red" AND sale_price:[3 TO 9]', "rows": 20}
    body["diversity"] = 0
    asked["filtered"] = _post(client, place, "recommendation/user_to_products", body)
    for path in ("products/red%20mug", "products/found", "products/_ids", "users/u1", "users/_ids"):
        asked[path] = _get(client, place, f"/v1/{path}")
    asked["ledger"] = _get(client, place, "/admin/v1/ledger?minutes=60")
    asked["deliveries"] = _get(client, place, "/admin/v1/deliveries")
    for each in asked["deliveries"]["deliveries"]:
        path = f"/admin/v1/deliveries/{each['delivery_id']}"
        asked[path] = _get(client, place, path)
    return asked


def _post(client: FlaskClient, place: Place, path: str, body: dict[str, Any]) -> Any:
    return _told(client.post(f"/v1/{path}", json=body, headers={"X-API-KEY": place.secret_key}))


def _get(client: FlaskClient, place: Place, path: str) -> Any:
    return _told(client.get(path, headers={"X-API-KEY": place.secret_key}))


def _told(answer: TestResponse) -> Any:
    assert answer.status_code < 500, answer.text
    return _lasting(answer.get_json())


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(one) for name, one in value.items() if name not in FLEETING}
    return [_lasting(one) for one in value] if isinstance(value, list) else value


def _upload(client: FlaskClient, place: Place, kind: str, records: list[dict[str, Any]]) -> None:
    answer = client.post(
        f"/v1/{kind}", json={"data": records}, headers={"X-API-KEY": place.secret_key}
    )
    assert answer.status_code == 200, answer.text


def _product(color: str, thing: str, at: datetime) -> dict[str, Any]:
    number = COLORS.index(color) + len(COLORS) * THINGS.index(thing)
    return {
        "product_id": f"{color} {thing}",
        "product_group_id": thing if thing == "hat" else f"{color} {thing}",
        "title": f"{color} {thing}",
        "brand": color,
        "categories": [["home", thing]],
        "tags": [thing, "sale"] if number % 4 else [thing],
        "original_price": 10 + number,
        "sale_price": 3 + number / 3,
        "availability": "OUT_OF_STOCK" if number == 7 else "IN_STOCK",
        "custom_attributes": {"material": ["wool", "clay"][number % 2]},
        "updated_at": (at - timedelta(days=2)).isoformat(),
    }


def _messages(at: datetime) -> list[Any]:
    def track(name: str, hours: float, **fields: Any) -> dict[str, Any]:
        return message(name, at - timedelta(hours=hours), **fields)

    def views(visitor: str, *products: str) -> list[dict[str, Any]]:
        return [
            track(f"{visitor} {n}", 9 - n, anonymousId=visitor, properties={"product_id": product})
            for n, product in enumerate(products)
        ]

    order = {"order_id": "o1", "total": 21.5, "currency": "EUR",
             "products": [{"product_id": "green lamp", "quantity": 2}]}  # fmt: skip
    found = {"product_id": "found", "name": "brass telescope", "brand": "Found", "price": 40}
    login = {"type": "identify", "messageId": "login", "userId": "u1", "anonymousId": "a1",
             "timestamp": (at - timedelta(hours=1)).isoformat(), "traits": {"age": 33}}  # fmt: skip
    alias = {"type": "alias", "messageId": "alias", "previousId": "a2", "userId": "u2"}
    erase = {"type": "delete", "messageId": "erase", "userId": "u9",
             "timestamp": (at - timedelta(minutes=9)).isoformat()}  # fmt: skip
    return [
        views("a1", "red mug", "red hat", "blue mug"),
        views("a2", "green lamp", "black lamp", "white clock"),
        track("bought", 3, event="Order Completed", userId="u1", properties=order),
        track("provisional", 2, properties=found),
        track("searched", 1.5, event="Products Searched", properties={"query": "blue scarf"}),
        track("gone", 5, userId="u9", anonymousId=None),
        login,
        alias | {"timestamp": (at - timedelta(hours=1)).isoformat()},
        erase,
        track("provisional", 2, properties=found),
        [track("good", 4), {"type": "nonsense"}, 17],
        b'{"type": "track"',
        track("ancient", 24 * 4000),
    ]
