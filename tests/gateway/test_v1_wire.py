"""What every engine route of `/v1` has in common on Miso's wire, success or error: the envelope,
both places of the key, bodies of any content type, and CORS."""

from __future__ import annotations

import json
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import Shop

ORIGIN = "https://shop.example"
NONE: dict[str, Any] = {}
# What is asked of each route, and what its answer has beside `took` and `miso_id`.
ENGINE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "search/search": (
        {"q": "mug"},
        {
            "products", "total", "start", "spellcheck", "product_existence", "custom_assets",
            "partially_matched_products", "facet_counts", "boosting_rules", "filtering_rule",
        },
    ),
    "search/autocomplete": ({"q": "mu"}, {"completions"}),
    "search/mget": ({"product_ids": ["p1", "none"]}, {"products"}),
    "recommendation/user_to_products": (NONE, {"products"}),
    "recommendation/user_to_trending": (NONE, {"products"}),
    "recommendation/user_to_history": (NONE, {"products"}),
    "recommendation/product_to_products": ({"product_id": "p1"}, {"products"}),
    "recommendation/user_to_categories": (NONE, {"categories"}),
    "recommendation/user_to_attributes": ({"field": "brand"}, {"attributes"}),
    "recommendation/feed": (NONE, {"products", "pagination_id", "next_start"}),
}  # fmt: skip
BULK = {"requests": [{"api_name": "search/search", "body": {"q": "mug"}}]}
SECRET_ONLY = {"recommendation/audience"}
ALL: dict[str, dict[str, Any]] = {path: body for path, (body, _) in ENGINE.items()}
ALL |= {"bulk": BULK}
MAY_HAVE = {"interests", "fallback"}
# As fetch and sendBeacon name it, as servers do, as a form does, and not at all.
CONTENT_TYPES = ["text/plain;charset=UTF-8", "application/json",
                 "application/x-www-form-urlencoded", None]  # fmt: skip

PRODUCTS = [
    {"product_id": f"p{number}", "title": f"mug {number}", "brand": "b", "categories": [["c"]]}
    for number in range(3)
]


class Caller:
    """Calls as a page of another origin does."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def ask(self, path: str, body: Any, **more: Any) -> TestResponse:
        """A POST with the publishable key in the query, unless said otherwise."""
        more.setdefault("query_string", {"api_key": self.shop.publishable_key})
        more.setdefault("content_type", CONTENT_TYPES[0])
        headers = {"Origin": ORIGIN, **more.pop("headers", {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        method = more.pop("method", "POST")
        return self.client.open(f"/v1/{path}", method=method, data=data, headers=headers, **more)


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """A shop of three products, one of which was looked at."""
    made = Caller(client, shop)
    key = {"query_string": {"api_key": shop.secret_key}}
    assert made.ask("products", {"data": PRODUCTS}, **key).status_code == 200
    view = {"type": "like", "anonymous_id": "a1", "product_ids": ["p1"]}
    assert made.ask("interactions", {"data": [view]}).status_code == 200
    return made


def readable(answer: TestResponse, status: int) -> dict[str, Any]:
    """The body of an answer that a page of another origin can read."""
    assert answer.status_code == status, f"{answer.request.path}: {answer.text}"
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    assert answer.content_type == "application/json"
    told: Any = answer.json
    assert type(told) is dict
    return told


def refused(answer: TestResponse, status: int) -> dict[str, Any]:
    """The body of an error that Miso's clients can show."""
    told = readable(answer, status)
    assert type(told["message"]) is str and told["message"]
    assert "playground" not in told["message"]
    return told


def test_every_engine_route_is_here(app: Flask) -> None:
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    of_engine = {rule for rule in rules if rule.startswith(("/v1/search", "/v1/recommendation"))}
    assert of_engine == {f"/v1/{path}" for path in {*ENGINE, *SECRET_ONLY}}


# success ----------------------------------------------------------------------------------------


def test_success_comes_in_misos_envelope(caller: Caller) -> None:
    for path, (body, parts) in ENGINE.items():
        told = readable(caller.ask(path, body | {"anonymous_id": "a1"}), 200)
        assert set(told) == {"message", "data"}, path  # a truthy `errors` throws in a browser
        assert told["message"] == "success"
        data = told["data"]
        assert set(data) - MAY_HAVE == parts | {"took", "miso_id"}
        assert type(data["took"]) is int and data["took"] >= 0
        assert str(UUID(data["miso_id"])) == data["miso_id"]
        assert all(type(one["product_id"]) is str for one in data.get("products", []))


def test_a_bulk_has_no_envelope_but_those_of_its_answers(caller: Caller) -> None:
    told = readable(caller.ask("bulk", BULK), 200)
    assert told["errors"] is False
    [item] = told["data"]
    assert (item["error"], item["status_code"]) == (False, 200)
    assert item["body"]["message"] == "success"


@pytest.mark.parametrize("content_type", CONTENT_TYPES, ids=str)
def test_a_body_is_json_whatever_its_content_type_says(
    caller: Caller, content_type: str | None
) -> None:
    sent = {"data": [{"type": "like", "anonymous_id": "a1", "product_ids": ["p2"]}]}
    for path, body in [*ALL.items(), ("interactions", sent)]:
        told = readable(caller.ask(path, body, content_type=content_type), 200)
        assert not told.get("errors"), path


def test_success_of_a_data_route_names_its_task(caller: Caller) -> None:
    key = {"query_string": {"api_key": caller.shop.secret_key}}
    told = readable(caller.ask("products", {"data": PRODUCTS[:1]}, **key), 200)
    assert (told["message"], told["errors"]) == ("success", False)
    assert UUID(told["data"]["task_id"])
    deleted = readable(caller.ask("products/p0", {}, method="DELETE", **key), 200)
    assert deleted["message"] == "deleted" and UUID(deleted["data"]["task_id"])
    ids = readable(caller.ask("products/_ids", {}, method="GET", **key), 200)
    assert sorted(ids["data"]["ids"]) == ["p1", "p2"]


# keys -------------------------------------------------------------------------------------------


def test_the_key_may_stand_in_either_place_or_in_both(caller: Caller) -> None:
    key = caller.shop.publishable_key
    places: list[dict[str, Any]] = [
        {"query_string": {"api_key": key}},
        {"query_string": {}, "headers": {"X-API-KEY": key}},
        {"query_string": {"api_key": key}, "headers": {"X-API-KEY": key}},
    ]
    for path, place in product(ALL, places):
        readable(caller.ask(path, ALL[path], **place), 200)


def test_no_key_a_wrong_one_and_two_that_differ_are_told_alike(caller: Caller) -> None:
    shop = caller.shop
    places: list[dict[str, Any]] = [
        {"query_string": {}},
        {"query_string": {"api_key": "pk_wrong"}},
        {"query_string": {}, "headers": {"X-API-KEY": "pk_wrong"}},
        {
            "query_string": {"api_key": shop.publishable_key},
            "headers": {"X-API-KEY": shop.secret_key},
        },
    ]
    for path, place in product([*ALL, "interactions"], places):
        told = refused(caller.ask(path, ALL.get(path, {}), **place), 401)
        assert told["message"] == "invalid api key."


def test_a_user_without_proof_is_told_so(caller: Caller) -> None:
    for path, (body, _) in ENGINE.items():
        told = refused(caller.ask(path, body | {"user_id": "ann"}), 403)
        assert "user_hash" in told["message"]


# errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", [b"", b"{", b"[]", b"null", b"\xff", b'{"nonsense": 1}'],
    ids=["empty", "broken", "list", "null", "no-text", "unknown-field"],
)  # fmt: skip
def test_a_request_that_breaks_the_schema_is_told_in_the_engines_form(
    caller: Caller, sent: bytes
) -> None:
    for path in ALL:
        told = refused(caller.ask(path, sent), 422)
        assert told["detail"], path
        for one in told["detail"]:
            assert set(one) == {"loc", "msg", "type"}
            assert one["loc"][0] == "body" and one["msg"] and one["type"]
        if sent.startswith(b'{"non'):
            assert ["body", "nonsense"] in [one["loc"] for one in told["detail"]]


@pytest.mark.parametrize("sent", [b"", b"{", b'{"data": [{"type": "no such"}]}'])
def test_a_beacon_that_breaks_the_schema_is_told_in_the_uploads_form(
    caller: Caller, sent: bytes
) -> None:
    told = refused(caller.ask("interactions", sent), 422)
    assert told["errors"] is True
    assert told["data"] and all(type(line) is str for line in told["data"])


@pytest.mark.parametrize(
    "path",
    ["experiments/one/events", "qa/question_answering", "ask/questions", "search/nothing", "x"],
)
def test_what_is_not_there_is_not_found(caller: Caller, path: str) -> None:
    message = refused(caller.ask(path, {"anonymous_id": "a1"}), 404)["message"]
    assert message.startswith("not found: there is no such route")


def test_products_like_an_unknown_one_are_not_found(caller: Caller) -> None:
    answer = caller.ask("recommendation/product_to_products", {"product_id": "none"})
    assert refused(answer, 404)["message"].startswith("not found")


def test_another_method_is_told_which_there_are(caller: Caller) -> None:
    for path in ALL:
        answer = caller.ask(path, {}, method="GET")
        assert "POST" in refused(answer, 405)["message"]
        assert "POST" in answer.headers["Allow"]


def test_too_much_is_told(caller: Caller) -> None:
    for path in (*ALL, "interactions"):
        refused(caller.ask(path, b" " * (4 * 1024 * 1024 + 1)), 413)


def test_a_preflight_needs_no_key(caller: Caller) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key,content-type",
    }
    for path in (*ALL, "interactions", "experiments/one/events"):
        answer = caller.client.options(f"/v1/{path}", headers=asked)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
        assert {"x-api-key", "content-type", "authorization"} <= set(allowed)
        assert "POST" in answer.headers["Access-Control-Allow-Methods"].split(", ")


# products by id ---------------------------------------------------------------------------------


def test_mget_tells_all_fields_unless_some_are_asked_for(caller: Caller) -> None:
    def got(**asked: Any) -> list[dict[str, Any]]:
        answer = caller.ask("search/mget", {"product_ids": ["p1", "none"], **asked})
        found: list[dict[str, Any]] = readable(answer, 200)["data"]["products"]
        return found

    missing = {"product_id": "none", "_found": False}
    known, unknown = got()
    assert known.items() >= (PRODUCTS[1] | {"_found": True}).items() and unknown == missing
    assert got(fl=["title"]) == [
        {"product_id": "p1", "title": "mug 1", "_found": True}, missing
    ]  # fmt: skip
    assert got(fl=[]) == [{"product_id": "p1", "_found": True}, missing]


def test_mget_knows_a_deletion_at_once(caller: Caller) -> None:
    key = {"query_string": {"api_key": caller.shop.secret_key}}
    caller.ask("products/p1", {}, method="DELETE", **key)
    [found] = readable(caller.ask("search/mget", {"product_ids": ["p1"]}), 200)["data"]["products"]
    assert found == {"product_id": "p1", "_found": False}
