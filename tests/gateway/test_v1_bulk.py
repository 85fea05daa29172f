"""Several engine requests in one, through the real application."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
import time_machine
from flask.testing import FlaskClient

from gateway import access
from gateway.http import limits
from gateway.http.v1 import bulk
from tests.conftest import Shop

MUGS = [{"product_id": f"mug-{number}", "title": f"mug number {number}"} for number in range(3)]


@pytest.fixture
def mugs(client: FlaskClient, shop: Shop) -> Shop:
    """A shop with three products."""
    sent = client.post(
        "/v1/products", headers={"X-API-KEY": shop.secret_key}, data=json.dumps({"data": MUGS})
    )
    assert sent.status_code == 200
    return shop


def ask(client: FlaskClient, key: str, *requests: Any) -> Any:
    return client.post(
        "/v1/bulk",
        query_string={"api_key": key},
        data=json.dumps({"requests": list(requests)}),
        content_type="text/plain;charset=UTF-8",
    )


def one(api_name: str, **body: Any) -> dict[str, Any]:
    return {"api_name": api_name, "body": body}


def test_answers_come_in_the_order_of_the_requests_each_as_it_would_come_alone(
    client: FlaskClient, mugs: Shop
) -> None:
    asked = [
        one("search/mget", product_ids=["mug-2", "none"], fl=["title"]),
        one("search/search", q="mug", rows=2),
        one("search/autocomplete", q="mu"),
        one("recommendation/user_to_trending", rows=1),
    ]
    answered = ask(client, mugs.publishable_key, *asked).json
    assert answered["errors"] is False
    assert [(item["error"], item["status_code"]) for item in answered["data"]] == [(False, 200)] * 4
    for request, item in zip(asked, answered["data"], strict=True):
        alone = client.post(
            f"/v1/{request['api_name']}",
            headers={"X-API-KEY": mugs.publishable_key},
            data=json.dumps(request["body"]),
        ).json
        for body in (alone, item["body"]):
            body["data"].pop("took")
            body["data"].pop("miso_id")
        assert item["body"] == alone


def test_one_failure_stops_no_other_and_is_told_with_its_request(
    client: FlaskClient, mugs: Shop
) -> None:
    answered = ask(
        client,
        mugs.publishable_key,
        one("search/search", q="mug", rows=-1),
        one("search/nothing"),
        one("bulk", requests=[]),
        one("recommendation/product_to_products", product_id="nowhere"),
        one("search/search", q="mug", user_id="ann"),
        one("search/search", q="mug"),
    ).json
    assert answered["errors"] is False
    assert [(item["error"], item["status_code"]) for item in answered["data"]] == [
        (True, 422), (True, 404), (True, 404), (True, 404), (True, 403), (False, 200),
    ]  # fmt: skip
    bodies = [item["body"] for item in answered["data"]]
    assert bodies[0]["detail"][0]["loc"] == ["body", "rows"]
    assert "search/autocomplete" in bodies[1]["message"]
    assert len(bodies[5]["data"]["products"]) == 3


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({}, "/requests"),
        ({"requests": []}, "/requests"),
        ({"requests": [one("search/search")] * 101}, "/requests"),
        ({"requests": ["search"]}, "/requests/0"),
        ({"requests": [{"body": {}}]}, "/requests/0/api_name"),
        ({"requests": [{"api_name": "search/search"}]}, "/requests/0/body"),
        ({"requests": [{"api_name": "search/search", "body": []}]}, "/requests/0/body"),
        ({"requests": [one("search/search") | {"more": 1}]}, "/requests/0/more"),
    ],
    ids=["none", "empty", "too-many", "no-object", "no-name", "no-body", "body-list", "unknown"],
)
def test_what_is_no_list_of_requests_is_refused_whole(
    client: FlaskClient, shop: Shop, sent: Any, pointer: str
) -> None:
    response = client.post(
        "/v1/bulk", headers={"X-API-KEY": shop.publishable_key}, data=json.dumps(sent)
    )
    assert response.status_code == 422
    assert [problem["pointer"] for problem in response.json["problems"]] == [pointer]


def test_a_key_that_may_not_read_gets_one_answer(client: FlaskClient, shop: Shop) -> None:
    assert ask(client, "wrong", one("search/search", q="mug")).status_code == 401


@pytest.mark.parametrize("limit", ["DEADLINE_S", "MOST_ANSWERED_BYTES"])
def test_what_has_not_begun_in_time_or_would_be_too_much_is_sent_back(
    client: FlaskClient, mugs: Shop, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(bulk, limit, -1)
    item = ask(client, mugs.publishable_key, one("search/search", q="mug")).json["data"][0]
    assert (item["error"], item["status_code"]) == (True, 503)


def test_requests_beyond_the_limit_of_the_key_are_told_so_each_in_its_place(
    client: FlaskClient, mugs: Shop
) -> None:
    limits.forget()
    with mugs.pool.connection() as connection:
        key = access.create_key(connection, mugs.site, "publishable", requests_per_second=4)
    with time_machine.travel(datetime(2026, 11, 30, 12, tzinfo=UTC), tick=False):
        answered = ask(client, key, *[one("search/search", q="mug")] * 6)
    assert answered.status_code == 200 and answered.json["errors"] is False
    items = answered.json["data"]
    assert [item["status_code"] for item in items] == [200] * 3 + [429] * 3
    assert [item["error"] for item in items] == [False] * 3 + [True] * 3
    assert "more than 4 requests a second" in items[-1]["body"]["message"]


def test_a_flushed_redis_changes_no_answer_of_a_bulk(
    client: FlaskClient, mugs: Shop, redis_url: str
) -> None:
    pages = [
        one("recommendation/user_to_products", anonymous_id="a", pagination_id="p", start=start,
            rows=1, dithering=3, seed="s")
        for start in (0, 1, 2)
    ]  # fmt: skip

    def listed() -> list[str]:
        items = ask(client, mugs.publishable_key, *pages).json["data"]
        return [one["product_id"] for item in items for one in item["body"]["data"]["products"]]

    first = listed()
    with redis.Redis.from_url(redis_url) as store:
        store.flushall()
    assert listed() == first
    assert len(set(first)) == 3


@pytest.mark.parametrize(
    "name", ["search/search?q=mug", "search/../../admin/v1/erase", "/search/search",
             "search/search/", "search//search", "SEARCH/SEARCH", "../admin/v1/erase", "bulk",
             "products", ""],
)  # fmt: skip
def test_only_a_lists_own_name_is_a_name(client: FlaskClient, mugs: Shop, name: str) -> None:
    [item] = ask(client, mugs.secret_key, one(name, q="mug", id="a1")).json["data"]
    assert (item["error"], item["status_code"]) == (True, 404)
