"""Segment's own paths through the application on real Postgres: its clients' recorded requests byte
for byte, and what else the protocol says."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway import access
from gateway.http import create_app, limits, metrics, state
from gateway.settings import Settings
from schemas import database
from tests.builders import ago, basic, identify, one, rows, track
from tests.conftest import Shop
from tests.connectors.reading import SHARED
from tests.connectors.signing import segment as sign

RECORDED = SHARED / "segment" / "clients"
SUCCESS = {"success": True}
SINGLE = {"track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "alias": "a"}

Send = Callable[..., TestResponse]


@pytest.fixture
def send(client: FlaskClient, shop: Shop) -> Send:
    """Posts a body with the shop's write key, as the server libraries do."""

    def post(path: str, body: Any, headers: dict[str, str] | None = None, **more: Any) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = basic(shop.write_key) if headers is None else headers
        return client.post(path, data=raw, headers=given, **more)

    return post


def batch(*events: Any, **fields: Any) -> dict[str, Any]:
    return {"batch": list(events)} | fields


def counts(shop: Shop) -> dict[str, int]:
    """The last delivery's counts that are not 0."""
    names = ("received", "applied", "duplicate", "ignored", "refused", "failed")
    [found] = rows(
        shop.pool,
        f"select {', '.join(names)} from deliveries order by delivery_id desc limit 1",
    )
    return {name: value for name, value in zip(names, found, strict=True) if value}


def events(shop: Shop) -> int:
    found: int = one(shop.pool, "select count(*) from events")
    return found


# what unmodified clients send --------------------------------------------------------------------


@pytest.mark.skipif(not RECORDED.exists(), reason="the shared Segment fixtures are not here")
@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("prefix", ["", "/segment"])
def test_what_unmodified_clients_sent_is_taken(
    client: FlaskClient, shop: Shop, path: Path, prefix: str
) -> None:
    requests, sent = json.loads(path.read_text(encoding="utf-8"))["requests"], 0
    for request in requests:
        answer = replayed(client, shop, request, prefix)
        assert answer.status_code == (204 if request["method"] == "OPTIONS" else 200), answer.text
        if request["method"] == "POST":
            assert answer.json == SUCCESS
            sent += body_of(request).count(b'"messageId"')
    received, refused = rows(shop.pool, "select sum(received), sum(refused) from deliveries")[0]
    assert (received, refused) == (sent, 0)
    assert events(shop) > 0
    before = events(shop)
    for request in requests:
        replayed(client, shop, request, prefix)
    assert events(shop) == before
    assert one(shop.pool, "select sum(duplicate + ignored) from deliveries") > sent / 2


def replayed(client: FlaskClient, shop: Shop, request: Any, prefix: str) -> TestResponse:
    """A recorded request with the shop's key for the recorded one, nothing else changed."""
    recorded_key = key_of(request)
    body = with_key(request, recorded_key, shop.write_key)
    headers = [
        (name, basic(shop.write_key)["Authorization"] if name == "Authorization" else value)
        for name, value in request["headers"]
        if name.lower() not in ("host", "content-length", "connection")
    ]
    path = prefix + request["path"].replace(recorded_key, shop.write_key)
    return client.open(path, method=request["method"], data=body, headers=headers)


def key_of(request: Any) -> str:
    if "/projects/" in request["path"]:
        return str(request["path"].split("/")[3])
    body = body_of(request)
    found = json.loads(body).get("writeKey", "") if body else ""
    return str(found) or "no key"


def with_key(request: Any, recorded_key: str, key: str) -> bytes:
    body = body_of(request).replace(recorded_key.encode(), key.encode())
    return gzip.compress(body) if "body_base64" in request else body


def body_of(request: Any) -> bytes:
    if "body_base64" in request:
        return gzip.decompress(base64.b64decode(request["body_base64"]))
    return str(request["body"]).encode()


# paths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/segment"])
def test_the_path_of_a_single_call_says_its_type(send: Send, shop: Shop, prefix: str) -> None:
    told = {"event": "Product Viewed", "groupId": "g", "previousId": "u0", "type": "no"}
    for long, short in SINGLE.items():
        for name in (long, short):
            assert send(f"{prefix}/v1/{name}", identify("u1", "a1", **told)).json == SUCCESS
            assert counts(shop) == {"received": 1, "applied": 1}
        assert one(shop.pool, "select count(*) from deliveries where topic = %s", long) == 2


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/segment/v1/b"])
def test_in_a_batch_each_event_says_its_type(send: Send, shop: Shop, path: str) -> None:
    answer = send(path, batch(track(), identify("u1", "a1"), {"type": "novelty", "userId": "u"}))
    assert (answer.status_code, answer.json) == (200, SUCCESS)
    assert counts(shop) == {"received": 3, "applied": 2, "ignored": 1}


@pytest.mark.parametrize("path", ["/v1/x", "/v1/tracks", "/v1/T", "/segment/v1/", "/segment/t"])
def test_other_paths_are_none(send: Send, path: str) -> None:
    assert send(path, track()).status_code == 404


def test_the_browsers_own_figures_are_thrown_away(client: FlaskClient, shop: Shop) -> None:
    for path in ("/v1/m", "/segment/v1/m"):
        answer = client.post(path, data=b'{"series":[]}', content_type="text/plain")
        assert (answer.status_code, answer.json) == (200, SUCCESS)
    assert one(shop.pool, "select count(*) from deliveries") == 0


@pytest.mark.parametrize("prefix", ["", "/segment"])
def test_the_browser_is_told_where_to_send(client: FlaskClient, shop: Shop, prefix: str) -> None:
    url = f"{prefix}/v1/projects/{shop.write_key}/settings"
    answer = client.get(url, headers={"Origin": "https://shop.example"})
    assert answer.json == {
        "integrations": {
            "Segment.io": {
                "apiKey": shop.write_key,
                "apiHost": f"attune.example{prefix}/v1",
                "protocol": "https",
            }
        },
        "metrics": {"sampleRate": 0},
    }
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert client.get(url.replace(shop.write_key, "wk_0")).status_code == 401
    assert client.get(url.replace(shop.write_key, shop.secret_key)).status_code == 403


# keys --------------------------------------------------------------------------------------------


def encoded(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


PLACES: dict[str, Callable[[str], tuple[dict[str, str], dict[str, Any]]]] = {
    "basic": lambda key: (basic(key), {}),
    "basic without a colon": lambda key: (encoded(key), {}),
    "basic with a password": lambda key: (encoded(f"{key}:secret"), {}),
    "basic in small letters": lambda key: (
        {"Authorization": basic(key)["Authorization"].replace("Basic", "basic")},
        {},
    ),
    "bearer and body": lambda key: ({"Authorization": "Bearer token"}, {"writeKey": key}),
    "body": lambda key: ({}, {"writeKey": key}),
    "body, header empty": lambda key: (basic(""), {"writeKey": key}),
    "body, header unreadable": lambda key: ({"Authorization": "Basic ***"}, {"writeKey": key}),
    "header before body": lambda key: (basic(key), {"writeKey": "wk_0"}),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_key_is_found_in_each_place(send: Send, shop: Shop, place: Any) -> None:
    headers, fields = place(shop.write_key)
    assert send("/v1/track", track() | fields, headers).status_code == 200
    assert send("/v1/batch", batch(track()) | fields, headers).status_code == 200
    assert events(shop) == 2


def test_the_key_may_lie_in_an_event_of_the_batch(send: Send, shop: Shop) -> None:
    body = batch(1, track(), track(writeKey=shop.write_key))
    assert send("/v1/batch", body, {}).status_code == 200
    assert events(shop) == 2


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_an_unknown_key_leaves_only_a_count(send: Send, shop: Shop, place: Any) -> None:
    before = metrics.NOT_AUTHENTIC.labels("collector")._value.get()
    headers, fields = place("wk_unknown")
    for path, body in (("/v1/t", track()), ("/v1/b", batch(track()))):
        answer = send(path, body | fields, headers)
        assert answer.status_code == 401, answer.text
        assert answer.json and answer.json["message"]
    assert metrics.NOT_AUTHENTIC.labels("collector")._value.get() == before + 2
    assert one(shop.pool, "select count(*) from deliveries") == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"batch":[1]}', b'{"writeKey":7}'])
def test_no_key_at_all_is_401(send: Send, shop: Shop, body: bytes) -> None:
    assert send("/v1/batch", body, {}).status_code == 401
    assert one(shop.pool, "select count(*) from deliveries") == 0


def test_a_key_of_another_kind_is_403(send: Send, shop: Shop) -> None:
    for key in (shop.secret_key, shop.publishable_key):
        refused = send("/v1/track", track(), basic(key))
        assert refused.status_code == 403
        assert "`keys list SITE`" in refused.json["message"]  # type: ignore[index]
        assert send("/v1/track", track(writeKey=key), {}).status_code == 403


def test_a_write_key_without_a_source_is_403(send: Send, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        key = access.create_key(connection, shop.site, "write")
    assert send("/v1/track", track(), basic(key)).status_code == 403


def test_the_key_says_the_source(send: Send, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        second = access.create_source(connection, shop.site, "segment")
    message = track()
    for key in (shop.write_key, second.write_key, shop.write_key):
        send("/v1/track", message, basic(key or ""))
    assert rows(shop.pool, "select source_id, count(*) from events group by 1 order by 1") == [
        (shop.segment.source_id, 1),
        (second.source.source_id, 1),
    ]


def test_no_key_is_kept_with_a_delivery(send: Send, client: FlaskClient, shop: Shop) -> None:
    key = shop.write_key
    send("/v1/batch", batch(track(writeKey=key), track(writeKey=key), writeKey=key), basic(key))
    send("/v1/track", track() | {"writeKey": key}, {})
    send("/v1/track", f'{{"writeKey" : "{key}", '.encode(), basic(key))
    for (delivery_id,) in rows(shop.pool, "select delivery_id from deliveries"):
        shown = client.get(
            f"/admin/v1/deliveries/{delivery_id}", headers={"X-API-KEY": shop.secret_key}
        )
        assert shown.status_code == 200
        assert key not in shown.text and basic(key)["Authorization"] not in shown.text
    for body, headers in rows(shop.pool, "select body, headers::text from deliveries"):
        assert key.encode() not in bytes(body)
        assert "Authorization" not in headers


def test_a_text_that_quotes_a_key_stays_as_it_is(send: Send, shop: Shop) -> None:
    quoted = (
        r'{"userId":"u","event":"E","properties":{"text":"\"writeKey\":\"x\""},"writeKey":"a\"b"}'
    )
    assert send("/v1/track", quoted.encode()).status_code == 200
    expected = quoted.replace(r"a\"b", "").encode()
    assert one(shop.pool, "select body from deliveries") == expected


def test_no_address_is_kept_beside_the_body(send: Send, shop: Shop) -> None:
    headers = basic(shop.write_key) | {"X-Forwarded-For": "203.0.113.7", "Cookie": "a=203.0.113.7"}
    send("/v1/track", track(context={"ip": "203.0.113.8", "locale": "de"}), headers)
    assert "203.0.113" not in one(shop.pool, "select headers::text from deliveries")
    assert "203.0.113" not in one(shop.pool, "select e::text from events e")


# bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "text/plain", "", "a/b"]
)
def test_any_content_type_is_json(send: Send, shop: Shop, kind: str) -> None:
    assert send("/v1/track", track(), content_type=kind).status_code == 200
    assert events(shop) == 1


def test_gzip_is_undone(send: Send, shop: Shop) -> None:
    headers = basic(shop.write_key) | {"Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(batch(track(), track())).encode())
    assert send("/v1/batch", body, headers).status_code == 200
    assert events(shop) == 2


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_a_gzip_bomb_is_413(send: Send, shop: Shop, path: str) -> None:
    headers = basic(shop.write_key) | {"Content-Encoding": "gzip"}
    assert send(path, gzip.compress(b" " * 100_000_000), headers).status_code == 413
    assert one(shop.pool, "select count(*) from deliveries") == 0


def sized(size: int, **fields: Any) -> dict[str, Any]:
    """An event of so many bytes of JSON as our test client writes it."""
    event = track(**fields)
    event["properties"]["text"] = ""
    event["properties"]["text"] = "x" * (size - len(json.dumps(event)))
    return event


def test_a_single_event_has_at_most_32_kb(send: Send, shop: Shop) -> None:
    assert send("/v1/track", sized(32 * 1024)).status_code == 200
    refused = send("/v1/track", sized(32 * 1024 + 1))
    assert refused.status_code == 413
    assert "one event may have 32 KB" in refused.json["message"]  # type: ignore[index]
    assert one(shop.pool, "select count(*) from deliveries") == 1


def test_in_a_batch_a_larger_event_is_one_bad_of_many(send: Send, shop: Shop) -> None:
    body = batch(track(), sized(40_000), sized(32 * 1024), sentAt=ago(seconds=1))
    assert send("/v1/batch", body).json == SUCCESS
    assert counts(shop) == {"received": 3, "applied": 2, "refused": 1}
    assert rows(shop.pool, "select pointer, reason from delivery_problems") == [
        ("/batch/1", "The event is larger than 32 KB.")
    ]


def test_a_batch_has_at_most_500_kb(send: Send, shop: Shop) -> None:
    body = json.dumps(batch(*(sized(30_000) for _ in range(17)))).encode()
    fits = body + b" " * (500 * 1024 - len(body))
    assert send("/v1/batch", fits).status_code == 200
    refused = send("/v1/batch", fits + b" ")
    assert refused.status_code == 413
    assert "a batch may have 500 KB" in refused.json["message"]  # type: ignore[index]
    assert one(shop.pool, "select count(*) from deliveries") == 1


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import"])
def test_a_batch_that_is_no_list_is_told_so(send: Send, shop: Shop, path: str) -> None:
    refused = send(path, {"batch": "x"})
    assert refused.status_code == 400
    [problem] = refused.json["problems"]  # type: ignore[index]
    assert problem["pointer"] == "/batch" and "must be a list of events" in problem["message"]


def test_a_batch_has_at_most_2500_events(send: Send, shop: Shop) -> None:
    few = [{"type": "page", "userId": f"u{n}", "messageId": f"p{n}"} for n in range(2_501)]
    assert send("/v1/batch", batch(*few)).status_code == 413
    assert one(shop.pool, "select count(*) from deliveries") == 0
    assert send("/v1/batch", batch(*few[1:])).status_code == 200
    assert events(shop) == 2_500


def test_the_bad_events_of_a_batch_are_kept_with_the_reason(send: Send, shop: Shop) -> None:
    answer = send("/v1/batch", batch(track(), track(event=""), 7, track(anonymousId=""), track()))
    assert (answer.status_code, answer.json) == (200, SUCCESS)
    assert counts(shop) == {"received": 5, "applied": 2, "refused": 3}
    pointers = rows(shop.pool, "select pointer from delivery_problems order by position")
    assert pointers == [("/batch/1/event",), ("/batch/2",), ("/batch/3/userId",)]


def test_an_empty_batch_is_no_error(send: Send) -> None:
    assert send("/v1/batch", batch()).json == SUCCESS


INVALID: dict[str, tuple[str, Any]] = {
    "track without a name": ("/v1/track", track(event=7)),
    "nobody": ("/v1/page", {"name": "Home"}),
    "alias without a user": ("/v1/alias", {"anonymousId": "a"}),
    "group without a group": ("/v1/group", {"userId": "u"}),
    "a long id": ("/v1/track", track(messageId="m" * 101)),
    "no type": ("/v1/batch", track(type=None)),
    "a number": ("/v1/track", 7),
    "a text": ("/v1/track", "text"),
}


@pytest.mark.parametrize(("path", "event"), INVALID.values(), ids=INVALID)
def test_a_single_event_that_is_not_valid_is_400_and_kept(
    send: Send, shop: Shop, path: str, event: Any
) -> None:
    answer = send(path, event)
    assert answer.status_code == 400
    assert answer.json and answer.json["message"] and answer.json["problems"]
    assert counts(shop) == {"received": 1, "refused": 1}


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a":NaN}', b"null"])
def test_what_is_not_json_is_400_and_kept(send: Send, shop: Shop, path: str, body: bytes) -> None:
    answer = send(path, body)
    assert answer.status_code == 400
    assert one(shop.pool, "select body from deliveries") == body
    assert counts(shop) == {"received": 1, "refused": 1}


def test_the_path_does_not_erase_anybody(send: Send, shop: Shop) -> None:
    """A write key lies open in web pages."""
    send("/v1/track", track(userId="u1"))
    answer = send("/v1/batch", batch({"type": "delete", "userId": "u1", "messageId": "d"}))
    assert answer.status_code == 200
    assert counts(shop) == {"received": 1, "ignored": 1}
    assert one(shop.pool, "select count(*) from actors where erased_at is not null") == 0


# the same event again ----------------------------------------------------------------------------


def test_a_retry_with_a_new_time_of_sending_changes_nothing(send: Send, shop: Shop) -> None:
    sent = [track(), identify("u1", "a1", traits={"name": "Ann"}), track("Order Completed")]
    send("/v1/batch", batch(*sent, sentAt=ago(seconds=9)))
    send("/v1/batch", batch(*sent[::-1], track(), sentAt=ago(seconds=1)))
    assert counts(shop) == {"received": 4, "applied": 1, "duplicate": 3}
    assert events(shop) == 3


def test_the_webhook_and_the_collector_of_a_source_are_one(
    send: Send, client: FlaskClient, shop: Shop
) -> None:
    for message in (track(), identify("u1", "a1")):
        send("/v1/batch", batch(message, sentAt=ago(seconds=1)))
        body = json.dumps(message).encode()
        url = f"/webhooks/segment/{shop.segment.public_id}"
        client.post(url, data=body, headers=sign(body, shop.segment.secrets[0]))
        assert counts(shop) == {"received": 1, "duplicate": 1}


# time --------------------------------------------------------------------------------------------

NOW = datetime.now(UTC).replace(microsecond=0)


def at(**delta: float) -> str:
    return (NOW + timedelta(**delta)).isoformat()


CLOCKS: dict[str, tuple[str, dict[str, Any], str | None, str]] = {
    "five hours fast": (
        "/v1/batch", {"timestamp": at(hours=5)}, at(hours=5, minutes=1), at(minutes=-1)
    ),
    "slow, back-dated": (
        "/v1/batch", {"timestamp": at(days=-30)}, at(hours=-2), at(days=-30, hours=2)
    ),
    "never sent": ("/v1/batch", {"timestamp": at(minutes=-3)}, None, at(minutes=-3)),
    "sent at no time": ("/v1/batch", {"timestamp": at(minutes=-3)}, "NOW", at(minutes=-3)),
    "beyond all years": (
        "/v1/batch", {"timestamp": "9999-12-31T00:00:00Z"}, "0001-01-01T00:00:00Z", at()
    ),
    "unreadable": ("/v1/batch", {"timestamp": "NOW"}, at(hours=3), at()),
    "no time": ("/v1/batch", {"timestamp": None}, at(hours=3), at()),
    "original": (
        "/v1/batch", {"timestamp": None, "originalTimestamp": at(hours=1)}, at(hours=2),
        at(hours=-1),
    ),
    "received by nobody else": (
        "/v1/batch", {"timestamp": "NOW", "receivedAt": at(hours=-9)}, at(), at()
    ),
    "import": ("/v1/import", {"timestamp": at(days=-60)}, None, at(days=-60)),
    "import, sent": ("/v1/import", {"timestamp": at(days=-60)}, at(days=1), at(days=-61)),
}  # fmt: skip


@pytest.mark.parametrize(("path", "fields", "sent_at", "occurred"), CLOCKS.values(), ids=CLOCKS)
def test_a_clients_clock_is_corrected(
    send: Send, shop: Shop, path: str, fields: Any, sent_at: str | None, occurred: str
) -> None:
    with time_machine.travel(NOW, tick=False):
        body = batch(track() | fields) | ({"sentAt": sent_at} if sent_at else {})
        assert send(path, body).status_code == 200
        found = one(shop.pool, "select occurred_at from events")
    assert found == datetime.fromisoformat(occurred)


def test_a_single_event_carries_its_own_time_of_sending(send: Send, shop: Shop) -> None:
    with time_machine.travel(NOW, tick=False):
        send("/v1/t", track(timestamp=at(hours=7), sentAt=at(hours=7, minutes=2)))
    assert one(shop.pool, "select occurred_at from events") == NOW - timedelta(minutes=2)


def test_a_webhooks_time_is_corrected_already(client: FlaskClient, shop: Shop) -> None:
    body = json.dumps(track(timestamp=at(minutes=-5), sentAt=at(hours=-7))).encode()
    url = f"/webhooks/segment/{shop.segment.public_id}"
    client.post(url, data=body, headers=sign(body, shop.segment.secrets[0]))
    assert one(shop.pool, "select occurred_at from events") == NOW - timedelta(minutes=5)


# what a batch says for its events ---------------------------------------------------------------


def test_an_event_inherits_the_batchs_context_under_its_own(send: Send, shop: Shop) -> None:
    shared = {"locale": "de", "campaign": {"name": "fall"}}
    own = track(context={"locale": "fr"})
    send("/v1/batch", batch(own, track(context=None), track(context=7), context=shared))
    found = rows(
        shop.pool, "select data #>> '{context,locale}', data #>> '{context,campaign,name}' "
        "from events order by message_id"
    )  # fmt: skip
    assert sorted(found) == [("de", "fall"), ("de", "fall"), ("fr", "fall")]


def test_an_event_inherits_the_batchs_integrations(send: Send, shop: Shop) -> None:
    body = batch(track(), track(integrations={"Attune": True}), integrations={"All": False})
    send("/v1/batch", body)
    assert counts(shop) == {"received": 2, "applied": 1, "ignored": 1}


# trouble -----------------------------------------------------------------------------------------


@pytest.fixture
def slow_key(shop: Shop) -> Iterator[str]:
    """A write key that may be used once a second."""
    with shop.pool.connection() as connection:
        source_id = shop.segment.source_id
        yield access.create_key(
            connection, shop.site, "write", source_id=source_id, requests_per_second=1
        )
    limits.forget()


def test_a_key_that_is_too_fast_is_told_when_to_come_again(
    send: Send, shop: Shop, slow_key: str
) -> None:
    headers = basic(slow_key) | {"Origin": "https://shop.example"}
    with time_machine.travel(NOW, tick=False):
        assert send("/v1/track", track(), headers).status_code == 200
        for path, body in (("/v1/t", track()), ("/segment/v1/batch", batch(track()))):
            answer = send(path, body, headers)
            assert answer.status_code == 429
            assert int(answer.headers["Retry-After"]) > 0
            assert int(answer.headers["X-RateLimit-Reset"]) > 0
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert "Retry-After" in exposed and "X-RateLimit-Reset" in exposed
            assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert events(shop) == 1


def test_what_a_browser_asks_for_first_is_not_limited(
    client: FlaskClient, shop: Shop, slow_key: str
) -> None:
    """Without it a page sends nothing at all."""
    with time_machine.travel(NOW, tick=False):
        for _ in range(5):
            assert client.get(f"/v1/projects/{slow_key}/settings").status_code == 200


def test_without_postgres_clients_are_asked_to_come_again(
    app_settings: Settings, shop: Shop
) -> None:
    away = create_app(
        replace(app_settings, database_url="postgresql://nobody@/none?host=/nonexistent")
    )
    access.forget()
    answer = away.test_client().post(
        "/v1/batch",
        json=batch(track()),
        headers=basic(shop.write_key) | {"Origin": "https://shop.example"},
    )
    state.of(away).close()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


def test_with_every_connection_taken_clients_are_asked_to_come_again(
    send: Send, app: Any, shop: Shop
) -> None:
    send("/v1/track", track())
    pool = state.of(app).pool("ingest", database.INGEST_OPTIONS)
    held = [pool.getconn() for _ in range(state.POOL_SIZE)]
    try:
        answer = send("/v1/track", track())
    finally:
        for connection in held:
            pool.putconn(connection)
    assert answer.status_code == 503
    assert send("/v1/track", track()).status_code == 200


FAIL = """
create function fail() returns trigger language plpgsql as $$ begin raise 'out of order'; end $$;
create trigger fail before insert on events for each row execute function fail();
"""
MEND = "drop trigger if exists fail on events; drop function if exists fail"


def test_what_fails_on_our_side_is_kept_and_applied_later(
    send: Send, client: FlaskClient, shop: Shop
) -> None:
    event = track(timestamp=at(hours=5), sentAt=at(hours=5, minutes=1))
    with time_machine.travel(NOW, tick=False):
        try:
            changed_by(shop, FAIL)
            assert send("/v1/t", event).json == SUCCESS
        finally:
            changed_by(shop, MEND)
    assert counts(shop) == {"received": 1, "failed": 1}
    delivery_id = one(shop.pool, "select delivery_id from deliveries")
    client.post(
        f"/admin/v1/deliveries/{delivery_id}/replay", headers={"X-API-KEY": shop.secret_key}
    )
    assert one(shop.pool, "select occurred_at from events") == NOW - timedelta(minutes=1)


def changed_by(shop: Shop, statements: str) -> None:
    with shop.pool.connection() as connection:
        connection.execute(statements)  # type: ignore[call-overload]


# browsers ----------------------------------------------------------------------------------------

NAMES = [*SINGLE, *SINGLE.values(), "batch", "b", "import", "m", "projects/x/settings"]
PATHS = [f"{prefix}/v1/{name}" for prefix in ("", "/segment") for name in NAMES]


def test_a_preflight_needs_no_key(client: FlaskClient) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-retry-count",
    }
    for path in PATHS:
        answer = client.options(path, headers=asked)
        assert answer.status_code == 204, path
        check_preflight(answer)


def check_preflight(answer: TestResponse) -> None:
    told = {name.lower(): value for name, value in answer.headers.items()}
    assert told["access-control-allow-origin"] == "https://shop.example"
    assert "Origin" in told["vary"]
    assert {"GET", "POST", "OPTIONS"} <= set(told["access-control-allow-methods"].split(", "))
    allowed = set(told["access-control-allow-headers"].split(", "))
    assert {"authorization", "content-type", "x-retry-count"} <= allowed
    assert told["access-control-max-age"] == "7200"
    assert "access-control-allow-credentials" not in told


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/t", 401), ("/segment/v1/b", 401), ("/v1/projects/x/settings", 401), ("/v1/none", 404)],
)
def test_an_error_is_readable_from_any_origin(client: FlaskClient, path: str, status: int) -> None:
    method = "GET" if path.endswith("settings") else "POST"
    answer = client.open(path, method=method, data=b"{}", headers={"Origin": "https://a.example"})
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
