"""Bodies that nobody should send: each door answers as its table says, and never with a 5xx."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.builders import one
from tests.conftest import Shop
from tests.hostile.calls import Call, compact, every_call, failures, rows_of, stocked

MB = 1024 * 1024
WHAT_IS_KEPT = ("deliveries", "delivery_problems")

UNREADABLE = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "no JSON": b"type=track&event=x",
    "an open object": b'{"data":[{"type":"search"',
    "two values": b"{}{}",
    "a comma too many": b'{"data":[],}',
    "single quotes": b"{'data':[]}",
    "a comment": b"{/* */}",
    "no UTF-8": b'{"data":"\xff\xfe"}',
    "UTF-16": '{"data":[]}'.encode("utf-16"),
    "a raw NUL": b'{"data":"\x00"}',
    "a raw newline in a text": b'{"data":"\n"}',
    "objects 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "open objects 100,000 deep": b'{"a":' * 100_000,
    "arrays 100,000 deep": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "arrays 65 deep": b'{"data":' + b"[" * 65 + b"]" * 65 + b"}",
    "NaN": b'{"data":[{"revenue":NaN}]}',
    "Infinity": b'{"data":[{"revenue":-Infinity}]}',
    "1e400": b'{"data":[{"revenue":1e400}]}',
    "4,000 digits": b'{"data":[{"revenue":' + b"9" * 4000 + b"}]}",
    "a million digits": b'{"data":[{"revenue":-' + b"1" * 1_000_000 + b"}]}",
    "a number": b"17",
    "a text": b'"data"',
    "null": b"null",
    "true": b"true",
    "cut gzip": gzip.compress(b'{"data":[]}')[:-3],
}


@pytest.fixture
def writing(app: Flask, client: FlaskClient, shop: Shop) -> list[Call]:
    """Every route that takes a body, on a site that has something of everything."""
    deliveries = stocked(client, shop)
    return [call for call in every_call(app, shop, deliveries) if call.method not in ("GET",)]


def with_body(calls: list[Call]) -> Iterator[Call]:
    return (call for call in calls if call.body is not None)


def check_error(answer: TestResponse) -> None:
    """One body of every error: a sentence, and problems with pointers."""
    told = answer.json
    assert isinstance(told, dict), answer.text
    assert len(told["message"]) > 8
    assert all(set(problem) == {"pointer", "message"} for problem in told["problems"])


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused_as_each_door_says(
    client: FlaskClient, shop: Shop, writing: list[Call], body: bytes
) -> None:
    fit = [call for call in with_body(writing) if len(body) <= call.limit_bytes]
    for call in fit:
        before, kept = rows_of(shop, *WHAT_IS_KEPT), deliveries(shop)
        answer = call.saying(body).send(client)
        assert answer.status_code == call.refusal, f"{call}: {answer.text}"
        if call.is_webhook:
            assert answer.json and answer.json["refused"] == answer.json["received"] == 1
        else:
            check_error(answer)
        assert deliveries(shop) - kept == (0 if call.is_engine else 1), str(call)
        assert rows_of(shop, *WHAT_IS_KEPT) == before, str(call)
    assert failures(shop) == 0
    assert one(shop.pool, "select count(*) from deliveries where body = %s", body) == len(
        [call for call in fit if not call.is_engine]
    )


def deliveries(shop: Shop) -> int:
    found: int = one(shop.pool, "select count(*) from deliveries")
    return found


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_gzip_bomb_is_refused_and_leaves_nothing(
    client: FlaskClient, shop: Shop, writing: list[Call], encoding: str
) -> None:
    bomb = gzip.compress(b" " * (130 * MB), 6)
    before = rows_of(shop)
    for call in with_body(writing):
        answer = call.saying(bomb).send(client, headers={"Content-Encoding": encoding})
        assert answer.status_code == 413, f"{call}: {answer.text}"
        check_error(answer)
    assert rows_of(shop) == before


def test_a_bomb_of_bombs_is_refused(client: FlaskClient, shop: Shop, writing: list[Call]) -> None:
    """Sixteen members each inflate to little less than the limit of one."""
    bomb = gzip.compress(b" " * (20 * MB - 1), 6) * 16
    for call in with_body(writing):
        answer = call.saying(bomb).send(client, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 413, str(call)


def test_what_is_too_large_is_refused_before_it_is_read(
    client: FlaskClient, shop: Shop, writing: list[Call]
) -> None:
    before = rows_of(shop)
    for call in with_body(writing):
        answer = call.saying(b"{}").send(client, environ_overrides={"CONTENT_LENGTH": "9" * 18})
        assert answer.status_code == 413, f"{call}: {answer.text}"
    assert rows_of(shop) == before


def test_a_length_of_five_thousand_digits_is_refused(
    client: FlaskClient, writing: list[Call]
) -> None:
    for call in with_body(writing):
        answer = call.send(client, environ_overrides={"CONTENT_LENGTH": "9" * 5000})
        assert answer.status_code in (400, 413), f"{call}: {answer.text}"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd", "é"])
def test_another_encoding_is_named(
    client: FlaskClient, shop: Shop, writing: list[Call], encoding: str
) -> None:
    before = rows_of(shop)
    for call in with_body(writing):
        answer = call.send(client, headers={"Content-Encoding": encoding})
        assert answer.status_code == 415, f"{call}: {answer.text}"
    assert rows_of(shop) == before


# readable and odd -------------------------------------------------------------------------------

HOSTILE_TEXTS = [
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\U0001f45c" * 300, "x" * 5000, "null",
    "undefined", "0", "__proto__", "'; drop table events; --", "%s %(site)s {vectors}", "../../etc",
    "\u202egnp", "\ufffe", "\r\nSet-Cookie: a=b", "<script>alert(1)</script>", "1e400", "NaN",
    "2026-02-30T25:61:61Z", "9999-12-31T23:59:59.999999+14:00", "0001-01-01T00:00:00Z", "-1",
    "+275760-09-13T00:00:00Z", "²", "١٢٣", "\u2028",
]  # fmt: skip
HOSTILE_VALUES = [
    *HOSTILE_TEXTS, None, True, False, 0, -0.0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**300,
    1.7976931348623157e308, 5e-324, [], {}, [[]], [{}], [None], {"": ""}, {"\0": "\0"}, {"a": None},
    [[[[1]]]], ["x"] * 2000, {"data": {}}, {str(n): n for n in range(300)},
]  # fmt: skip

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()) | st.sampled_from(HOSTILE_VALUES),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


def check_odd(client: FlaskClient, shop: Shop, call: Call, sent: Any) -> None:
    """Whatever it is: a 2xx that names what was refused, or a 4xx of the door's own."""
    answer = call.saying(compact(sent)).send(client)
    if call.is_webhook:
        # Segment signs nothing of an empty array.
        allowed = {200} if sent != [] or call.connector != "segment" else {401}
    elif call.is_collector:
        allowed = {200, 400, 413}
    elif call.path.startswith("/collect/"):
        allowed = {200, 422, 413}  # a page sends no thousand events at once
    else:
        allowed = {200, 422} | ({404, 409} if call.is_engine else set())
    assert answer.status_code in allowed, f"{call} {sent!r}: {answer.text}"
    if answer.status_code != 200:
        check_error(answer)
    assert failures(shop) == 0, f"{call} {sent!r}: {errors(shop)}"


def errors(shop: Shop) -> Any:
    with shop.pool.connection() as connection:
        return connection.execute("select error from deliveries where failed > 0").fetchall()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a body."""
    yield at
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    if not at:
        return by
    changed = copy.deepcopy(value)
    holder = changed
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = by
    return changed


ORDER = {
    "type": "track", "event": "Order Completed", "messageId": "m1", "anonymousId": "a1",
    "userId": "u1", "timestamp": "2026-01-01T00:00:00Z", "sentAt": "2026-01-01T00:00:00Z",
    "context": {"page": {"url": "https://a.b/c"}, "campaign": {"name": "x"}, "ip": "::1"},
    "properties": {
        "order_id": "o1", "total": 3, "currency": "EUR",
        "products": [{"product_id": "p1", "quantity": 2, "price": 1, "name": "Mug"}],
    },
}  # fmt: skip
FULL: dict[str, Any] = {
    "/v1/<call:call>": ORDER | {"writeKey": "w", "integrations": {"All": True}},
    "/segment/v1/<call:call>": {
        "batch": [ORDER, {"type": "alias", "messageId": "m7", "previousId": "a1", "userId": "u1"}],
        "context": {"page": {"url": "https://a.b/c"}}, "integrations": {"All": True},
        "sentAt": "2026-01-01T00:00:00Z", "writeKey": "w",
    },
    "/webhooks/": [
        ORDER,
        {"type": "track", "event": "Products Searched", "messageId": "m2", "userId": "u1",
         "properties": {"query": "mug"}},
        {"type": "identify", "messageId": "m3", "userId": "u1", "anonymousId": "a1",
         "traits": {"name": "A", "age": 3, "address": {"city": "X"}}},
        {"type": "alias", "messageId": "m4", "previousId": "a1", "userId": "u1"},
        {"type": "page", "messageId": "m5", "anonymousId": "a1", "name": "Home",
         "properties": {"url": "https://a.b/"}},
        {"type": "delete", "messageId": "m6", "userId": "u1"},
    ],
    "/webhooks/<connector>": {
        "id": 5, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "currency": "EUR", "subtotal_price": "3.00", "customer": {"id": 7}, "checkout_token": "t",
        "note_attributes": [{"name": "__attune_anonymous_id", "value": "a1"}],
        "line_items": [{"id": 1, "product_id": 2, "variant_id": 3, "quantity": 1}],
        "refunds": [{"id": 9, "refund_line_items": [
            {"line_item_id": 1, "quantity": 1, "subtotal": 3}]}],
    },
    "/v1/interactions": {"data": [
        {
            "type": "checkout", "product_ids": ["p1"], "quantities": [1], "revenue": 2.5,
            "user_id": "u1", "anonymous_id": "a1", "timestamp": "2026-01-01T00:00:00Z",
            "miso_id": "123e4567-e89b-12d3-a456-426614174000",
            "context": {"page": {"url": "https://a.b"}, "custom_context": {
                "uuid": "123e4567-e89b-12d3-a456-426614174000"}},
        },
        {"type": "search", "anonymous_id": "a1", "search": {"keywords": "mug", "filters": {}}},
        {"type": "rate", "product_ids": ["p1"], "rating": 4, "user_id": "u1"},
        {"type": "category_page_view", "category": ["a", "b"], "user_id": "u1", "duration": 3},
        {"type": "custom", "custom_action_name": "x", "user_id": "u1"},
    ]},
    "/v1/products": {"data": [{
        "product_id": "p1", "product_group_id": "g1", "title": "Mug", "description": "<b>x</b>",
        "created_at": "2026-01-01", "updated_at": "2026-01-01T00:00:00Z", "brand": "B",
        "categories": [["a", "b"]], "tags": ["t"], "sale_price": 1, "original_price": 2.5,
        "rating": 4.5, "url": "https://a.b", "availability": "IN_STOCK", "size": "L",
        "custom_attributes": {"colour": "red", "n": 3, "list": [1, 2]}, "type": "x",
    }]},
    "PATCH /v1/products/<id:product_id>": {
        "title": "Mug", "updated_at": "2026-01-01T00:00:00Z", "brand": None, "sale_price": 1,
        "categories": [["a", "b"]], "custom_attributes": {"colour": None, "n": 3},
    },
    "/v1/users": {"data": [{
        "user_id": "u1", "name": "A", "age": 3, "gender": "f", "city": "X", "country": "Y",
        "custom_attributes": {"a": 1}, "updated_at": "2026-01-01T00:00:00Z",
    }]},
    "/v1/products/_delete": {"data": {"product_ids": ["p8", "p9"]}},
    "/v1/users/_delete": {"data": {"user_ids": ["u9"]}},
    "DELETE /v1/interactions": {"user_ids": ["u9"]},
    "/v1/recommendation/audience": {
        "product_id": "p1", "product_ids": ["p1", "p2"], "rows": 5, "days": 9, "buyers": True,
    },
    "/v1/recommendation/user_to_categories": {
        "user_id": "u1", "rows": 5, "fq": "categories:a", "boost_fq": "brand:B", "fl": ["title"],
        "root_category": ["a"], "products_per_category": 2, "user_cohort": {"country": "Y"},
    },
    "/v1/recommendation/user_to_attributes": {
        "anonymous_id": "a1", "field": "custom_attributes.colour", "rows": 5, "exclude": ["p9"],
        "products_per_attribute": 2, "boost_attributes": ["red"], "exclude_attributes": ["blue"],
        "user_cohort": {"custom_attributes.a": True},
    },
    "/v1/recommendation/": {
        "pagination_id": "p", "dithering": 2.5, "diversity": 0, "seed": "s",
        "user_cohort": {"country": "Y"},
        "user_id": "u1", "anonymous_id": "a1", "rows": 5, "start": 0, "fl": ["title"],
        "fq": "brand:B", "type": "x", "exclude": ["p1"], "dedupe_product_group_id": True,
        "product_id": "p1", "additional_interactions": [
            {"type": "like", "product_ids": ["p1"], "user_id": "u1"}],
        "explain": True, "engine_id": "e", "boost_fq": "",
        "geo": {"filter": [{"lat": 1, "lon": 2, "distance": 3, "distance_unit": "km",
                            "field": "location"}],
                "boost": [{"lat": 1, "lon": 2, "distance": 3, "boost_positions": [1]}]},
    },
    "/v1/search/search": {
        "q": "mug", "anonymous_id": "a1",
        "facets": ["brand", {"field": "sale_price", "alias": "a", "size": 3, "include": "1.*",
                             "ranges": [{"key": "k", "from": 1, "to": 2}],
                             "queries": [{"key": "k", "query": "brand:B"}]}],
        "facet_filters": {"brand": {"terms": ["B"]}, "a": {"ranges": [{"to": 2}]}},
        "order_by": [{"field": "sale_price * 2 + _geo_distance", "order": "asc",
                      "default_value": 1, "geo": {"lat": 1, "lon": 2},
                      "tie_breaker": {"type": "relative_difference", "threshold": "0.1"}}],
    },
}  # fmt: skip


def full_body(call: Call) -> Any:
    """A body that uses what the route understands."""
    for prefix in (f"{call.method} {call.rule}", call.rule):
        if prefix in FULL:
            return FULL[prefix]
    sent = json.loads(call.body or b"null")
    body = next((body for prefix, body in FULL.items() if call.rule.startswith(prefix)), sent)
    if call.rule.startswith("/v1/recommendation/") and "product_to" not in call.rule:
        return {name: value for name, value in body.items() if name != "product_id"}
    return body


def test_the_full_bodies_are_understood(
    client: FlaskClient, shop: Shop, writing: list[Call]
) -> None:
    """Else the tests below would only ever try the first refusal."""
    for call in with_body(writing):
        raw = compact(full_body(call))
        answer = call.saying(raw).send(client)
        assert answer.status_code == 200, f"{call}: {answer.text}"
        assert not call.is_webhook or (answer.json and not answer.json["refused"]), answer.text


@pytest.mark.heavy
@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=lambda value: ascii(value)[:40])
def test_a_hostile_value_in_any_place_is_no_server_error(
    client: FlaskClient, shop: Shop, writing: list[Call], value: Any
) -> None:
    for call in with_body(writing):
        if call.method in ("PUT", "PATCH"):  # the same view as POST
            continue
        body = full_body(call)
        for at in places(body):
            check_odd(client, shop, call, replaced(body, at, value))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_in_any_place_is_no_server_error(
    client: FlaskClient, shop: Shop, writing: list[Call], data: st.DataObject
) -> None:
    call = data.draw(st.sampled_from(list(with_body(writing))))
    body = full_body(call)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(list(places(body))))
        body = replaced(body, at, data.draw(any_json))
    check_odd(client, shop, call, body)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_unknown_name_beside_the_known_ones_is_no_server_error(
    client: FlaskClient, shop: Shop, writing: list[Call], data: st.DataObject
) -> None:
    call = data.draw(st.sampled_from(list(with_body(writing))))
    body = full_body(call)
    objects = [at for at in places(body) if isinstance(inside(body, at), dict)]
    at = data.draw(st.sampled_from(objects))
    changed = inside(body, at) | {data.draw(st.text()): data.draw(any_json)}
    check_odd(client, shop, call, replaced(body, at, changed))


def inside(value: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        value = value[key]
    return value


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), body=st.binary(max_size=300))
def test_no_bytes_are_a_server_error(
    client: FlaskClient, shop: Shop, writing: list[Call], data: st.DataObject, body: bytes
) -> None:
    call = data.draw(st.sampled_from(list(with_body(writing))))
    answer = call.saying(body).send(client)
    assert answer.status_code in ((200, 401) if call.is_webhook else (call.refusal,)), answer.text
    assert failures(shop) == 0
