"""Bodies that are valid and meant to hurt: said twice, huge, of another time or encoding."""

from __future__ import annotations

import codecs
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.builders import one, rows, track
from tests.conftest import Shop
from tests.hostile.calls import Call, compact, every_call, failures, stocked
from tests.hostile.test_bodies import check_error, full_body, places, replaced, with_body

MB = 1024 * 1024


@pytest.fixture
def writing(app: Flask, client: FlaskClient, shop: Shop) -> list[Call]:
    deliveries = stocked(client, shop)
    return [call for call in every_call(app, shop, deliveries) if call.method != "GET"]


def posted(client: FlaskClient, shop: Shop, path: str, body: Any, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else compact(body)
    return client.post(path, data=raw, headers={"X-API-KEY": shop.secret_key} | headers)


# said twice -------------------------------------------------------------------------------------


def test_of_two_equal_keys_the_last_one_counts(client: FlaskClient, shop: Shop) -> None:
    body = (
        b'{"data": 17, "data": [{"product_id": "p0", "product_id": "p1", "title": "A", '
        b'"title": "B", "custom_attributes": {"x": 1, "x": 2}}]}'
    )
    assert posted(client, shop, "/v1/products", body).status_code == 200
    [(product_id, record)] = rows(shop.pool, "select product_id, record from products")
    assert (product_id, record["title"], record["custom_attributes"]) == ("p1", "B", {"x": 2})
    assert one(shop.pool, "select body from deliveries") == body


def test_a_key_said_twice_opens_no_door(client: FlaskClient, writing: list[Call]) -> None:
    """Whoever reads the first of two keys and whoever reads the last must agree on the answer."""
    for call in with_body(writing):
        body = json.loads(call.body or b"")
        if isinstance(body, dict) and body:
            name = next(iter(body))
            twice = compact(body)[:-1] + b',"%b":"\\u0000"}' % name.encode()
            last = compact(body | {name: "\0"})
            answers = [call.saying(raw).send(client) for raw in (twice, last)]
            assert len({answer.status_code for answer in answers}) == 1, str(call)


# of another encoding ----------------------------------------------------------------------------


def test_a_byte_order_mark_changes_nothing(client: FlaskClient, writing: list[Call]) -> None:
    for call in with_body(writing):
        if not call.is_webhook:  # its signature is of the bytes
            answer = call.saying(codecs.BOM_UTF8 + (call.body or b"")).send(client)
            assert answer.status_code == 200, f"{call}: {answer.text}"


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7", "cp037"]
)
@pytest.mark.parametrize("declared", [False, True])
def test_another_encoding_is_refused_whatever_the_header_says(
    client: FlaskClient, shop: Shop, writing: list[Call], encoding: str, declared: bool
) -> None:
    """UTF-7 is ASCII, and was the way around many a filter: its text stays as it was sent."""
    kind = {"Content-Type": f"application/json; charset={encoding}"} if declared else {}
    for call in with_body(writing):
        text = (call.body or b"").decode().replace("Mug", "<Müg>")
        answer = call.saying(text.encode(encoding, "replace")).send(client, headers=kind)
        if encoding == "utf-7":
            assert answer.status_code < 500, f"{call}: {answer.text}"
        else:
            assert answer.status_code == call.refusal, f"{call}: {answer.text}"
    assert failures(shop) == 0
    assert one(shop.pool, "select count(*) from products where record::text like '%%ü%%'") == 0


# huge -------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_text_of_a_megabyte_in_any_place_is_answered(
    client: FlaskClient, shop: Shop, writing: list[Call]
) -> None:
    for call in with_body(writing):
        if call.method == "PUT" or (call.is_webhook and call.method == "PATCH"):
            continue
        body = full_body(call)
        for at in places(body):
            answer = call.saying(compact(replaced(body, at, "é" * (MB // 2)))).send(client)
            assert answer.status_code in (200, 400, 404, 413, 422), (
                f"{call} {at}: {answer.text[:300]}"
            )
            assert len(answer.data) < 64 * 1024, f"{call} {at}"
    assert failures(shop) == 0, one(shop.pool, "select min(error) from deliveries where failed > 0")


@pytest.mark.heavy
@pytest.mark.parametrize("where", ["root", "record", "custom"])
def test_a_million_keys_are_answered_in_few_words(
    client: FlaskClient, shop: Shop, writing: list[Call], where: str
) -> None:
    many = b"{" + b",".join(b'"k%d":0' % n for n in range(1_000_000)) + b"}"
    bodies = {
        "root": many,
        "record": b'{"data":[%b]}' % many,
        "custom": b'{"data":[{"product_id":"p1","user_id":"u1","type":"search","anonymous_id":"a",'
        b'"custom_attributes":%b,"context":{"custom_context":%b}}]}' % (many, b"{}"),
    }
    for call in with_body(writing):
        if call.method not in ("POST", "DELETE"):
            continue
        answer = call.saying(bodies[where]).send(client)
        allowed = (200,) if call.is_webhook else (413, 422)
        assert answer.status_code in allowed, f"{call}: {answer.status_code} {answer.text[:300]}"
        assert len(answer.data) < 2 * MB, f"{call}: {len(answer.data):,} bytes"
    assert failures(shop) == 0


@pytest.mark.heavy
def test_a_million_records_are_too_many(client: FlaskClient, shop: Shop) -> None:
    body = b'{"data":[' + b",".join([b"{}"] * 1_000_000) + b"]}"
    answer = posted(client, shop, "/v1/interactions", body)
    assert answer.status_code == 413
    check_error(answer)
    assert one(shop.pool, "select count(*) from deliveries") == 0


def test_an_event_of_more_than_a_megabyte_is_one_bad_of_many(
    client: FlaskClient, shop: Shop, writing: list[Call]
) -> None:
    [hook] = [call for call in writing if str(call) == "POST /webhooks/<connector>/<source>"]
    large = track(product="p1")
    large["properties"]["padding"] = "x" * (MB + 10)
    answer: Any = hook.saying(compact([track(), large, track()])).send(client).json
    assert (answer["received"], answer["applied"], answer["refused"]) == (3, 2, 1)
    assert answer["problems"][0]["pointer"].startswith("/1")


# of another time --------------------------------------------------------------------------------

NOW = datetime.now(UTC).replace(microsecond=0)
OLD = (
    "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "1900-02-28T00:00:00+14:00",
)
COMING = ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+12:00", "2286-11-20T17:46:40Z")
NONE = (
    0, 1_700_000_000, 1_700_000_000_000, "1700000000000", "2026-01-01", "2026-01-01T00:00:00",
    "2026-02-30T00:00:00Z", "2026-01-01T24:00:01Z", "2026-01-01T00:00:60Z",
    "9999-12-31T23:59:59-12:00",
    "+12026-01-01T00:00:00Z", "2026-01-01T00:00:00+25:00", "now", "", "\u0662\u0660\u0662\u0666",
)  # fmt: skip


def seen(timestamp: Any) -> dict[str, Any]:
    return {"data": [{"type": "product_detail_page_view", "product_ids": ["p1"],
                      "anonymous_id": "a1", "timestamp": timestamp}]}  # fmt: skip


@pytest.mark.parametrize("timestamp", OLD)
def test_what_is_older_than_what_is_kept_is_ignored(
    client: FlaskClient, shop: Shop, timestamp: str
) -> None:
    answer = posted(client, shop, "/v1/interactions", seen(timestamp))
    assert answer.status_code == 200, answer.text
    assert rows(shop.pool, "select outcome, ignored from deliveries") == [("ignored", 1)]
    assert one(shop.pool, "select count(*) from events") == 0


@pytest.mark.parametrize("timestamp", COMING)
def test_what_is_to_come_happened_at_latest_now(
    client: FlaskClient, shop: Shop, timestamp: str
) -> None:
    answer = posted(client, shop, "/v1/interactions", seen(timestamp))
    assert answer.status_code == 200, answer.text
    at = one(shop.pool, "select occurred_at from events")
    assert NOW <= at <= datetime.now(UTC)


@pytest.mark.parametrize("timestamp", NONE, ids=ascii)
def test_what_is_no_moment_is_refused_by_its_name(
    client: FlaskClient, shop: Shop, timestamp: Any
) -> None:
    answer: Any = posted(client, shop, "/v1/interactions", seen(timestamp))
    assert answer.status_code == 422, answer.text
    assert answer.json["problems"][0]["pointer"] == "/data/0/timestamp"


@pytest.mark.parametrize("timestamp", [*OLD, *COMING, *NONE], ids=ascii)
def test_no_webhook_is_refused_for_its_time_alone(
    client: FlaskClient, shop: Shop, writing: list[Call], timestamp: Any
) -> None:
    """A platform sends it once: an unreadable time becomes that of the receipt."""
    [hook] = [call for call in writing if str(call) == "POST /webhooks/<connector>/<source>"]
    body = track(timestamp=timestamp, originalTimestamp=timestamp, sentAt=timestamp)
    answer: Any = hook.saying(compact(body)).send(client).json
    assert answer["applied"] + answer["ignored"] == 1, answer
    latest = one(shop.pool, "select coalesce(max(occurred_at), now()) from events")
    assert latest <= datetime.now(UTC) + timedelta(seconds=1)
