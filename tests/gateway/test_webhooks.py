"""`/webhooks/segment/<source>` through the application on real Postgres."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from connectors import CONNECTORS
from gateway import access
from gateway.http import create_app, metrics, state
from gateway.settings import Settings
from schemas import database
from tests.builders import ago, identify, one, rows, track
from tests.conftest import Shop
from tests.connectors.reading import ROOT
from tests.connectors.signing import segment as sign
from tests.connectors.signing import wordpress as sign_as_woocommerce

Send = Callable[..., TestResponse]
TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*("[^"]*"|\d+)')
FIXTURES = sorted((ROOT / "connectors" / "segment" / "fixtures").glob("*.json"))


@pytest.fixture(autouse=True)
def environment(app_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the web role's own: what a process keeps for itself, such as its hints, reads it."""
    monkeypatch.setenv("DATABASE_URL", app_settings.database_url)
    monkeypatch.setenv("REDIS_URL", app_settings.redis_url)


@pytest.fixture
def send(client: FlaskClient, shop: Shop) -> Send:
    """Posts a body to the shop's Segment source, signed as Segment signs it."""
    url = f"/webhooks/segment/{shop.segment.public_id}"

    def post(body: Any, *, method: str = "POST", headers: dict[str, str] | None = None) -> Any:
        raw = body if isinstance(body, bytes) else as_segment_writes(body)
        signed = sign(signed_text(raw), shop.segment.secrets[0])
        return client.open(url, method=method, data=raw, headers=headers or signed)

    return post


def as_segment_writes(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def signed_text(raw: bytes) -> bytes:
    """What Segment signs: the body, or of an array its first event."""
    text = raw.decode("utf-8", "replace")
    if not text.startswith("[") or "{" not in text:
        return raw
    start = text.index("{")
    if text.startswith('{"json"', start):
        start = text.index("{", start + 1)
    return text[start : json.JSONDecoder().raw_decode(text, start)[1]].encode()


def counts(answer: TestResponse) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json  # type: ignore[assignment]
    return {name: value for name, value in body.items() if type(value) is int and value}


def test_a_signed_delivery_is_applied(send: Send, shop: Shop) -> None:
    answer = send(track(product="p1", messageId="m-1"))
    assert counts(answer) == {"received": 1, "applied": 1}
    assert answer.json and answer.json["message"] == "1 applied"
    stored = rows(shop.pool, "select type::text, product_ids, message_id from events")
    assert stored == [("product_detail_page_view", ["p1"], "m-1")]


def test_a_repeated_delivery_changes_nothing(send: Send, shop: Shop) -> None:
    message = track(product="p1")
    send(message)
    assert counts(send(message)) == {"received": 1, "duplicate": 1}
    assert one(shop.pool, "select count(*) from events") == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_mapping_may_use_any_of_three_methods(send: Send, method: str) -> None:
    assert counts(send(track(), method=method)) == {"received": 1, "applied": 1}


def test_a_batch_of_four_thousand_is_one_delivery(send: Send, shop: Shop) -> None:
    batch = [track(product=f"p{n % 50}", anonymousId=f"a{n % 90}") for n in range(4_000)]
    started = time.perf_counter()
    answer = send(batch)
    print(f"\n4,000 events: {time.perf_counter() - started:.2f} s")
    assert counts(answer) == {"received": 4_000, "applied": 4_000}
    assert one(shop.pool, "select count(*) from events") == 4_000
    assert one(shop.pool, "select count(*) from deliveries") == 1
    assert counts(send([*batch[1_000:], track()])) == {
        "received": 3_001,
        "applied": 1,
        "duplicate": 3_000,
    }


def test_one_bad_event_of_many_is_refused_alone(send: Send, shop: Shop) -> None:
    answer = send([track(), track(event=""), track(anonymousId=""), track(), {"type": "novelty"}])
    assert counts(answer) == {"received": 5, "applied": 2, "ignored": 1, "refused": 2}
    assert answer.json and [p["pointer"] for p in answer.json["problems"]] == [
        "/1/event",
        "/2/userId",
        "/4",
    ]
    assert one(shop.pool, "select count(*) from delivery_problems") == 3


def test_of_very_many_bad_events_the_answer_names_some(send: Send) -> None:
    answer = send([{"type": "track"}] * 200)
    assert counts(answer) == {"received": 200, "refused": 200}
    assert answer.json and len(answer.json["problems"]) == 20


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":',
        b"",
        b"\xff",
        b'{"n":1e400}',
        b'{"n":NaN}',
        b'{"a":' * 100_000,
        b'{"n":' + b"9" * 4_000 + b"}",
        b'"text"',
        b'{"cool":true}',
    ],
)
def test_what_cannot_be_read_is_kept_and_shown(
    send: Send, client: FlaskClient, shop: Shop, body: bytes
) -> None:
    answer = send(body)
    assert counts(answer) == {"received": 1, "refused": 1}
    shown = client.get(
        f"/admin/v1/deliveries/{answer.json['delivery']}",  # type: ignore[index]
        headers={"X-API-KEY": shop.secret_key},
    )
    assert shown.status_code == 200
    assert shown.json and shown.json["outcome"] == "refused"
    assert one(shop.pool, "select body from deliveries") == body


def test_an_empty_batch_has_no_signature_and_is_refused(send: Send, shop: Shop) -> None:
    assert send([]).status_code == 401
    assert one(shop.pool, "select count(*) from deliveries") == 0


def test_control_characters_and_lone_surrogates_are_no_reason_to_fail(
    send: Send, shop: Shop
) -> None:
    body = b'{"type":"track","event":"Odd\\u0000","userId":"u\\ud800","properties":{"a\\u0000":1}}'
    assert counts(send(body)) == {"received": 1, "applied": 1}
    assert one(shop.pool, "select body from deliveries") == body


@pytest.mark.parametrize("path", [path for path in FIXTURES if ".expected" not in path.name])
def test_every_fixture_comes_through_the_door(send: Send, path: Any) -> None:
    expected = json.loads(path.with_name(f"{path.stem}.expected.json").read_text("utf-8"))
    now = TIMESTAMP.sub(f'"timestamp":"{ago(minutes=1)}"'.encode(), path.read_bytes())
    found = counts(send(now))
    assert found["received"] == len(expected)
    for outcome in ("ignored", "refused"):
        assert found.get(outcome, 0) == sum(
            isinstance(one, dict) and outcome in one for one in expected
        )
    assert found.get("failed", 0) == 0


def test_identify_and_delete_reach_the_visitor(send: Send, shop: Shop) -> None:
    send([track(anonymousId="a9"), identify("u9", "a9")])
    assert one(shop.pool, "select count(*) from members") == 2
    send({"type": "delete", "userId": "u9"})
    assert one(shop.pool, "select count(*) from actors where erased_at is not null") >= 1


FAIL = """
create function fail() returns trigger language plpgsql as $$ begin raise 'out of order'; end $$;
create trigger fail before insert on events for each row execute function fail();
"""
MEND = "drop trigger if exists fail on events; drop function if exists fail"


def test_what_fails_on_our_side_is_kept_and_applied_later(
    send: Send, client: FlaskClient, shop: Shop
) -> None:
    try:
        changed_by(shop, FAIL)
        answer = send([track(), track()])
    finally:
        changed_by(shop, MEND)
    assert counts(answer) == {"received": 2, "failed": 2}
    assert answer.json and "again" in answer.json["message"]
    url = f"/admin/v1/deliveries/{answer.json['delivery']}/replay"
    replayed = client.post(url, headers={"X-API-KEY": shop.secret_key})
    assert replayed.status_code == 200
    assert one(shop.pool, "select count(*) from events") == 2


def changed_by(shop: Shop, statements: str) -> None:
    with shop.pool.connection() as connection:
        connection.execute(statements)  # type: ignore[call-overload]


# who may send ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Signature": ""},
        {"X-Signature": "0" * 40},
        {"X-Signature": "é" * 40},
        {"Authorization": "Basic eDo="},
    ],
)
def test_what_is_not_authentic_leaves_only_a_count(
    send: Send, shop: Shop, headers: dict[str, str]
) -> None:
    before = metrics.NOT_AUTHENTIC.labels("webhook")._value.get()
    answer = send(track(), headers=headers)
    assert answer.status_code == 401
    assert answer.json and answer.json["message"]
    assert metrics.NOT_AUTHENTIC.labels("webhook")._value.get() == before + 1
    assert one(shop.pool, "select count(*) from deliveries") == 0


def test_another_sites_secret_is_refused(client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        access.create_site(connection, "other")
        other = access.create_source(connection, access.site(connection, "other"), "segment").source
    body = as_segment_writes(track())
    for source, secret in ((shop.segment, other.secrets[0]), (other, shop.segment.secrets[0])):
        url = f"/webhooks/segment/{source.public_id}"
        assert client.post(url, data=body, headers=sign(body, secret)).status_code == 401


def test_while_a_secret_is_rotated_both_are_accepted(
    send: Send, client: FlaskClient, shop: Shop
) -> None:
    with shop.pool.connection() as connection:
        fresh = access.rotate_source_secret(connection, shop.segment)
    access.forget()
    assert counts(send(track()))["applied"] == 1
    body = as_segment_writes(track())
    url = f"/webhooks/segment/{shop.segment.public_id}"
    assert client.post(url, data=body, headers=sign(body, fresh)).status_code == 200


def test_a_source_may_ask_for_a_header_instead(client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        source = access.create_source(
            connection, shop.site, "segment", settings={"header": "X-Attune-Secret"}
        ).source
    url, body = f"/webhooks/segment/{source.public_id}", as_segment_writes([track(), track()])
    secret = source.secrets[0]
    assert client.post(url, data=body, headers={"X-Attune-Secret": secret}).status_code == 200
    assert client.post(url, data=body, headers=sign(signed_text(body), secret)).status_code == 401
    [(kept,)] = rows(shop.pool, "select headers from deliveries")
    assert secret not in json.dumps(kept)


@pytest.mark.parametrize("path", ["segment/none", "shopify/{}", "api/{}", "none/{}", "segment/%00"])
def test_an_unknown_source_is_not_found(client: FlaskClient, shop: Shop, path: str) -> None:
    answer = client.post(f"/webhooks/{path.format(shop.segment.public_id)}", data=b"{}")
    assert answer.status_code == 404
    assert answer.json and answer.json["message"]


def test_the_implicit_api_source_has_no_webhook(client: FlaskClient, shop: Shop) -> None:
    for connector in ("api", *CONNECTORS):
        url = f"/webhooks/{connector}/{shop.api.public_id}"
        assert client.post(url, data=b"{}").status_code == 404


def test_without_postgres_segment_is_asked_to_come_again(
    app_settings: Settings, shop: Shop
) -> None:
    away = create_app(
        replace(app_settings, database_url="postgresql://nobody@/none?host=/nonexistent")
    )
    access.forget()
    url, body = f"/webhooks/segment/{shop.segment.public_id}", as_segment_writes(track())
    answer = away.test_client().post(url, data=body, headers=sign(body, shop.segment.secrets[0]))
    state.of(away).close()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json and answer.json["message"]


def test_with_every_connection_taken_segment_is_asked_to_come_again(
    send: Send, app: Any, shop: Shop
) -> None:
    send(track())
    pool = state.of(app).pool("ingest", database.INGEST_OPTIONS)
    held = [pool.getconn() for _ in range(state.POOL_SIZE)]
    try:
        answer = send(track())
    finally:
        for connection in held:
            pool.putconn(connection)
    assert answer.status_code == 503
    assert counts(send(track())) == {"received": 1, "applied": 1}


# a platform that tries the address ---------------------------------------------------------------

PING = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def woocommerce(shop: Shop) -> access.Source:
    with shop.pool.connection() as connection:
        return access.create_source(connection, shop.site, "wordpress").source


def test_a_ping_is_answered_200_and_leaves_nothing(
    client: FlaskClient, shop: Shop, woocommerce: access.Source
) -> None:
    before = metrics.NOT_AUTHENTIC.labels("webhook")._value.get()
    url = f"/webhooks/wordpress/{woocommerce.public_id}"
    answer = client.post(url, data=b"webhook_id=12", headers=PING)
    assert answer.status_code == 200
    assert answer.json and answer.json["message"].startswith("pong")
    assert metrics.NOT_AUTHENTIC.labels("webhook")._value.get() == before
    assert one(shop.pool, "select count(*) from deliveries") == 0


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PING, b"webhook_id=12&more=1"),
        (PING, b"webhook_id=12x"),
        (PING, b""),
        ({"Content-Type": "application/json"}, b"webhook_id=12"),
        ({"Content-Type": "application/json"}, b'{"id":1}'),
    ],
)
def test_what_only_looks_like_a_ping_must_be_signed(
    client: FlaskClient, woocommerce: access.Source, headers: dict[str, str], body: bytes
) -> None:
    url = f"/webhooks/wordpress/{woocommerce.public_id}"
    assert client.post(url, data=body, headers=headers).status_code == 401


def test_a_ping_means_nothing_elsewhere(
    client: FlaskClient, shop: Shop, woocommerce: access.Source
) -> None:
    segment = client.post(
        f"/webhooks/segment/{shop.segment.public_id}", data=b"webhook_id=1", headers=PING
    )
    assert segment.status_code == 401
    unknown = client.post("/webhooks/wordpress/none", data=b"webhook_id=1", headers=PING)
    assert unknown.status_code == 404


def test_a_delivery_of_woocommerce_is_applied_by_its_topic(
    client: FlaskClient, shop: Shop, woocommerce: access.Source
) -> None:
    url = f"/webhooks/wordpress/{woocommerce.public_id}"
    body = b'[{"id":7,"name":"Mug &amp; lid"},{"id":8,"type":"variation"},{"id":0}]'
    headers = sign_as_woocommerce(body, woocommerce.secrets[0])
    answer = client.post(url, data=body, headers=headers)
    assert counts(answer) == {"received": 3, "applied": 1, "ignored": 1, "refused": 1}
    assert answer.json and answer.json["problems"][1]["pointer"] == "/2/id"
    assert one(shop.pool, "select record->>'title' from products") == "Mug & lid"
