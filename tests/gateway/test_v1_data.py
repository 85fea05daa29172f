"""The data routes of `/v1` through the real application: applied, refused, read back, deleted."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.http import create_app, state
from gateway.settings import load
from tests.builders import ago, delivery_row, one, rows
from tests.conftest import SECRET_KEY, Shop
from tests.schemas.test_v1 import LINE, UUID

ROUTES = [
    ("POST", "/v1/interactions"),
    ("DELETE", "/v1/interactions"),
    ("POST", "/v1/products"),
    ("PATCH", "/v1/products"),
    ("POST", "/v1/products/_delete"),
    ("GET", "/v1/products/_ids"),
    ("GET", f"/v1/products/_status/{UUID}"),
    ("GET", "/v1/products/p1"),
    ("PATCH", "/v1/products/p1"),
    ("DELETE", "/v1/products/p1"),
    ("POST", "/v1/users"),
    ("POST", "/v1/users/_delete"),
    ("GET", "/v1/users/_ids"),
    ("GET", f"/v1/users/_status/{UUID}"),
    ("GET", "/v1/users/u1"),
    ("DELETE", "/v1/users/u1"),
]
UPLOADS = ["/v1/interactions", "/v1/products", "/v1/users"]


@dataclass
class Api:
    """Calls with a key; a body that is no bytes is sent as JSON text."""

    client: FlaskClient
    shop: Shop

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: Any
    ) -> TestResponse:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        headers = {"X-API-KEY": key or self.shop.secret_key} | more.pop("headers", {})
        return self.client.open(path, method=method, data=data, headers=headers, **more)

    def post(self, path: str, *records: Any, **more: Any) -> TestResponse:
        return self.call("POST", path, {"data": list(records)}, **more)

    def get(self, path: str) -> TestResponse:
        return self.call("GET", path)


@pytest.fixture
def api(
    shop: Shop,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Api]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("ATTUNE_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    app = create_app(load())
    yield Api(app.test_client(), shop)
    state.of(app).close()


def a_like(**fields: Any) -> dict[str, Any]:
    return {"type": "like", "product_ids": ["p1"], "anonymous_id": "a1"} | fields


def event_count(api: Api) -> int:
    return int(one(api.shop.pool, "select count(*) from events"))


# success ----------------------------------------------------------------------------------------


def test_interactions_are_applied_before_the_answer(api: Api) -> None:
    answer = api.post("/v1/interactions", a_like(), a_like(type="checkout", revenue=9.5))
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["message"], answer.json["errors"]) == ("success", False)
    assert answer.json["data"] == []
    [(like,), (purchase,)] = rows(api.shop.pool, "select type::text from events order by type")
    assert {like, purchase} == {"like", "purchase"}


@pytest.mark.parametrize(
    "kind", ["text/plain;charset=UTF-8", "", "application/x-www-form-urlencoded"]
)
def test_a_body_is_json_whatever_its_content_type_says(api: Api, kind: str) -> None:
    assert api.post("/v1/interactions", a_like(), content_type=kind).status_code == 200
    assert event_count(api) == 1


def test_the_key_may_stand_in_the_query(api: Api) -> None:
    body = json.dumps({"data": [a_like()]})
    for key in (api.shop.secret_key, api.shop.publishable_key):
        assert api.client.post(f"/v1/interactions?api_key={key}", data=body).status_code == 200


def test_a_beacon_sent_twice_counts_once(api: Api) -> None:
    like = a_like(context={"custom_context": {"uuid": UUID}}, timestamp=ago(minutes=1))
    for sent in (like, like | {"timestamp": ago(minutes=2)}):
        answer = api.post("/v1/interactions", sent, key=api.shop.publishable_key)
        assert answer.status_code == 200
    assert event_count(api) == 1


def test_a_gzip_body_is_inflated(api: Api) -> None:
    body = gzip.compress(json.dumps({"data": [a_like()]}).encode())
    headers = {"Content-Encoding": "gzip"}
    assert api.call("POST", "/v1/interactions", body, headers=headers).status_code == 200
    assert event_count(api) == 1


def test_lists_may_come_as_objects_and_nulls_are_absent(api: Api) -> None:
    product = {"product_id": "p1", "title": "Lamp", "cover_image": None}
    answer = api.call("POST", "/v1/products", {"data": {"3": product}})
    assert answer.status_code == 200
    record = api.get("/v1/products/p1").json["data"]  # type: ignore[index]
    assert record["title"] == "Lamp"
    assert "cover_image" not in record


def test_who_names_nobody_is_one_visitor_by_address_and_agent(api: Api) -> None:
    like = {"type": "like", "product_ids": ["p1"]}
    for agent in ("Firefox", "Firefox", "Safari"):
        fresh = like | {"timestamp": ago(minutes=1)}
        answer = api.post("/v1/interactions", fresh, headers={"User-Agent": agent})
        assert answer.status_code == 200
    assert one(api.shop.pool, "select count(distinct actor_id) from events") == 2


def test_the_delivery_keeps_the_body_but_no_key(api: Api) -> None:
    answer = api.post("/v1/interactions", a_like())
    kept = delivery_row(api.shop.pool, answer.json["task_id"])  # type: ignore[index]
    assert json.loads(kept["body"])["data"][0]["anonymous_id"] == "a1"
    assert api.shop.secret_key not in json.dumps(kept["headers"])
    assert "127.0.0.1" not in json.dumps(kept["headers"])


@pytest.mark.parametrize("query", ["async=1", "async=true", "partial=1", "dry_run=0", "dry_run="])
def test_the_switches_of_an_upload_are_accepted(api: Api, query: str) -> None:
    assert api.post(f"/v1/products?{query}", {"product_id": "p1"}).status_code == 200
    assert api.get("/v1/products/p1").status_code == 200


# the catalog and people -------------------------------------------------------------------------

IDS = ["p1", "a/b", "/a", "a/", "a//b", "ein Stück", "50%", "a?b#c", "ü\u00a0", "._ids", "a%2Fb"]


@pytest.mark.parametrize("kind", ["product", "user"])
def test_a_record_is_uploaded_read_and_deleted_by_any_id(api: Api, kind: str) -> None:
    for sent_id in IDS:
        path = f"/v1/{kind}s/{quoted(sent_id)}"
        stored = api.post(f"/v1/{kind}s", {f"{kind}_id": sent_id})
        assert stored.status_code == 200
        assert re.fullmatch(r"[0-9a-f-]{36}", stored.json["data"]["task_id"])  # type: ignore[index]
        assert api.get(path).json["data"][f"{kind}_id"] == sent_id  # type: ignore[index]
        assert api.get(f"/v1/{kind}s/_ids").json["data"] == {"ids": [sent_id]}  # type: ignore[index]
        deleted = api.call("DELETE", path, b"{}", content_type="application/json")
        assert (deleted.status_code, deleted.json["message"]) == (200, "deleted")  # type: ignore[index]
        assert api.get(path).status_code == 404


def quoted(sent_id: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sent_id.encode())


def test_ids_may_be_listed_by_type(api: Api) -> None:
    api.post(
        "/v1/products", {"product_id": "p1", "type": "book"}, {"product_id": "p2", "type": "lamp"}
    )
    assert api.get("/v1/products/_ids?type=lamp").json["data"] == {"ids": ["p2"]}  # type: ignore[index]


@pytest.mark.parametrize("path", ["p1", "_ids", "%00", "_status/nothing", "x" * 2000])
@pytest.mark.parametrize("kind", ["products", "users"])
def test_what_is_not_there_is_not_found(api: Api, kind: str, path: str) -> None:
    answer = api.get(f"/v1/{kind}/{path}")
    assert answer.status_code == 404
    assert answer.json["message"] == "not found"  # type: ignore[index]


def test_the_task_of_an_upload_can_be_asked_for(api: Api) -> None:
    stored = api.post("/v1/products?partial=1", {"product_id": "p1"}, {"product_id": "_p2"})
    status = api.get(f"/v1/products/_status/{stored.json['data']['task_id']}").json  # type: ignore[index]
    assert status is not None
    assert (status["code"], status["errors"]) == (200, True)
    assert [line.split()[0] for line in status["data"]] == ["data.1.product_id"]
    assert api.get(f"/v1/users/_status/{UUID}").status_code == 404


def test_a_task_is_shown_among_its_own_kind_only(api: Api) -> None:
    tasks = {
        "products": api.post("/v1/products", {"product_id": "p1"}).json["data"]["task_id"],  # type: ignore[index]
        "users": api.post("/v1/users", {"user_id": "u1"}).json["data"]["task_id"],  # type: ignore[index]
        "interactions": api.post("/v1/interactions", a_like()).json["task_id"],  # type: ignore[index]
    }
    for kind in ("products", "users"):
        for sent_to, task_id in tasks.items():
            answer = api.get(f"/v1/{kind}/_status/{task_id}")
            assert answer.status_code == (200 if sent_to == kind else 404)


def test_the_task_of_a_deletion_can_be_asked_for(api: Api) -> None:
    deleted = api.call("DELETE", "/v1/users/u1").json["data"]["task_id"]  # type: ignore[index]
    assert api.get(f"/v1/users/_status/{deleted}").status_code == 200
    assert api.get(f"/v1/products/_status/{deleted}").status_code == 404


@pytest.mark.parametrize("ids", [["p1", "gone"], {"3": "p1"}])
def test_many_are_deleted_at_once_and_unknown_ones_are_no_error(api: Api, ids: Any) -> None:
    api.post("/v1/products", {"product_id": "p1"}, {"product_id": "p2"})
    answer = api.call("POST", "/v1/products/_delete", {"data": {"product_ids": ids}})
    assert (answer.status_code, answer.json["message"]) == (200, "deleted")  # type: ignore[index]
    assert api.get("/v1/products/_ids").json["data"] == {"ids": ["p2"]}  # type: ignore[index]


def test_an_upload_replaces_the_whole_record(api: Api) -> None:
    api.post("/v1/products", {"product_id": "p1", "title": "Lamp", "brand": "Acme"})
    api.post("/v1/products", {"product_id": "p1", "title": "Lamp 2"})
    record = api.get("/v1/products/p1").json["data"]  # type: ignore[index]
    assert record["title"] == "Lamp 2"
    assert "brand" not in record


def test_deleting_interactions_erases_the_person(api: Api) -> None:
    api.post("/v1/interactions", a_like(user_id="u1"), a_like(user_id="u2", anonymous_id="a2"))
    answer = api.call("DELETE", "/v1/interactions", {"user_ids": ["u1"]})
    assert (answer.status_code, answer.json["message"]) == (200, "success")  # type: ignore[index]
    assert event_count(api) == 1


# refused ----------------------------------------------------------------------------------------


def test_one_bad_record_refuses_all_of_a_secret_key(api: Api) -> None:
    answer = api.post("/v1/interactions", a_like(), a_like(product_ids="p1", rating=5), a_like())
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["errors"] is True
    assert answer.json["message"].startswith("None of the records were inserted")
    assert [line.split()[0] for line in answer.json["data"]] == ["data.1.rating"]
    assert [problem["pointer"] for problem in answer.json["problems"]] == ["/data/1/rating"]
    assert event_count(api) == 0
    assert one(api.shop.pool, "select refused from deliveries") == 3


def test_each_violation_has_a_line_that_clients_can_read(api: Api) -> None:
    bad = {"product_id": 5, "title": 5, "rating": 9, "custom_attributes": {"a b": [1, "x"]}}
    answer = api.post("/v1/products", {"product_id": "p1"}, bad)
    lines = answer.json["data"]  # type: ignore[index]
    assert len(lines) == 3
    assert all(LINE.fullmatch(line) for line in lines)


def test_the_good_ones_count_where_the_sender_asked_for_it(api: Api) -> None:
    answer = api.post("/v1/interactions?partial=1", a_like(), a_like(type="x"))
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["errors"] is False
    assert answer.json["message"] == "1 of 2 records were applied"
    assert [problem["pointer"] for problem in answer.json["problems"]] == ["/data/1/type"]
    assert event_count(api) == 1


@pytest.mark.parametrize("query", ["", "?partial=1"])
def test_the_good_ones_of_a_publishable_key_always_count(api: Api, query: str) -> None:
    key = api.shop.publishable_key
    answer = api.post(f"/v1/interactions{query}", a_like(), a_like(type="x"), key=key)
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["message"].startswith("1 of 2 records were applied")
    assert [line.split()[0] for line in answer.json["data"]] == ["data.1.type"]
    assert event_count(api) == 1


def test_a_dry_run_answers_alike_and_stores_nothing(api: Api) -> None:
    good = api.post("/v1/interactions?dry_run=1", a_like())
    bad = api.post("/v1/interactions?dry_run=true", a_like(), a_like(type="x"))
    assert (good.status_code, bad.status_code) == (200, 422)
    assert api.post("/v1/interactions", a_like(), a_like(type="x")).json == bad.json
    assert event_count(api) == 0
    assert one(api.shop.pool, "select count(*) from deliveries") == 1


HOSTILE = {
    "empty": b"",
    "broken": b'{"data": [',
    "html": b"<html>",
    "deep": b'{"data":' + b"[" * 100_000,
    "nan": b'{"data": [{"type": "like", "rating": NaN}]}',
    "too large a number": b'{"data": [{"type": "rate", "rating": 1e400}]}',
    "digits": b'{"data": [{"type": "rate", "rating": ' + b"9" * 4000 + b"}]}",
    "utf-16": '{"data": []}'.encode("utf-16"),
    "latin-1": '{"data": ["é"]}'.encode("latin-1"),
    "no object": b"[]",
    "no data": b"{}",
    "no list": b'{"data": 5}',
    "no records": b'{"data": [5, "x", null, []]}',
    "long": b'{"data": ["' + b"x" * 100_000 + b'"]}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_read_is_refused_and_kept(api: Api, body: bytes) -> None:
    for path in [*UPLOADS, "/v1/products/_delete", "/v1/users/_delete"]:
        answer = api.call("POST", path, body)
        assert answer.status_code == 422
        assert answer.json is not None
        assert answer.json["errors"] is True
        assert answer.json["message"]
        assert answer.json["data"]
    kept = rows(api.shop.pool, "select coalesce(body, %s) from deliveries", body)
    assert [bytes(sent) for (sent,) in kept] == [body] * 5


def test_nul_and_lone_surrogates_are_cleaned(api: Api) -> None:
    body = b'{"data": [{"product_id": "p\\u0000", "title": "\\ud800 \\ud83d\\ude00"}]}'
    assert api.call("POST", "/v1/products", body).status_code == 200
    assert api.get("/v1/products/p%EF%BF%BD").json["data"]["title"] == "\ufffd 😀"  # type: ignore[index]


@pytest.fixture
def unlucky(api: Api) -> Iterator[None]:
    """Applying an event of the product `boom` fails, as a bug of ours would."""
    with api.shop.pool.connection() as connection:
        connection.execute(
            "alter table events add constraint unlucky check (not 'boom' = any(product_ids))"
        )
    yield
    with api.shop.pool.connection() as connection:
        connection.execute("alter table events drop constraint unlucky")


@pytest.mark.usefixtures("unlucky")
def test_our_failure_is_kept_and_told_to_who_can_send_again(api: Api) -> None:
    unlucky = a_like(product_ids=["boom"])
    answer = api.post("/v1/interactions", unlucky)
    assert answer.status_code == 500
    assert "kept as" in answer.json["message"]  # type: ignore[index]
    beacon = api.post("/v1/interactions", unlucky, key=api.shop.publishable_key)
    assert beacon.status_code == 200
    assert one(api.shop.pool, "select sum(failed) from deliveries") == 2


# who may ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_needs_a_key(api: Api, method: str, path: str) -> None:
    answer = api.call(method, path, b"{}", key="sk_wrong", headers={"Origin": "https://x.test"})
    assert answer.status_code == 401
    assert answer.json["message"] == "invalid api key."  # type: ignore[index]
    assert answer.headers["Access-Control-Allow-Origin"] == "https://x.test"


@pytest.mark.parametrize(("method", "path"), ROUTES[1:])
def test_a_publishable_key_only_sends_interactions(api: Api, method: str, path: str) -> None:
    assert api.call(method, path, b"{}", key=api.shop.publishable_key).status_code == 403


def test_limits_depend_on_the_key(api: Api) -> None:
    body = json.dumps({"data": [a_like()], "padding": "x" * 1024 * 1024})
    for key, status in ((api.shop.publishable_key, 413), (api.shop.secret_key, 200)):
        assert api.call("POST", "/v1/interactions", body.encode(), key=key).status_code == status
    bomb = gzip.compress(bytes(21 * 1024 * 1024))
    headers = {"Content-Encoding": "gzip"}
    assert api.call("POST", "/v1/products", bomb, headers=headers).status_code == 413


@pytest.mark.parametrize(("kind", "limit"), [("publishable", 1_000), ("secret", 50_000)])
def test_more_records_than_a_key_may_send_at_once_are_not_taken(
    api: Api, kind: str, limit: int
) -> None:
    key = getattr(api.shop, f"{kind}_key")
    bodies: list[Any] = [[{}] * (limit + 1), dict.fromkeys(map(str, range(limit + 1)), 0)]
    for many in bodies:
        answer = api.call("POST", "/v1/interactions", {"data": many}, key=key)
        assert answer.status_code == 413
        assert "send fewer at once" in answer.json["message"]  # type: ignore[index]
    assert one(api.shop.pool, "select count(*) from deliveries") == 0


def test_commas_are_no_records(api: Api) -> None:
    like = a_like(product_ids=["p,,"] * 1_001)
    key = api.shop.publishable_key
    assert api.post("/v1/interactions", *[like] * 2, key=key).status_code == 200


def test_a_publishable_key_may_send_a_thousand_records(api: Api) -> None:
    key = api.shop.publishable_key
    answer = api.post("/v1/interactions", *[{}] * 999, a_like(), key=key)
    assert answer.status_code == 422
    assert answer.json["message"].startswith("1 of 1000 records were applied")  # type: ignore[index]
    assert len(answer.json["data"]) == len(answer.json["problems"]) == 999  # type: ignore[index]


@pytest.mark.parametrize(("kind", "lines"), [("publishable", 1_000), ("secret", 10_000)])
def test_an_answer_lists_the_first_errors_and_counts_the_others(
    api: Api, kind: str, lines: int
) -> None:
    bad = a_like() | {f"x{number}": 1 for number in range(lines + 7)}
    key = getattr(api.shop, f"{kind}_key")
    answer = api.post("/v1/interactions", bad, key=key)
    assert answer.status_code == 422
    assert len(answer.json["data"]) == lines  # type: ignore[index]
    assert len(answer.json["problems"]) == 1_000  # type: ignore[index]
    assert "and 7 more" in answer.json["message"]  # type: ignore[index]


def test_what_is_left_out_of_a_partial_upload_is_listed_and_counted_too(api: Api) -> None:
    answer = api.post("/v1/interactions?partial=1", *[{}] * 1_002, a_like())
    assert answer.status_code == 200
    assert len(answer.json["problems"]) == 1_000  # type: ignore[index]
    assert "and 2 more" in answer.json["message"]  # type: ignore[index]


def test_a_body_cut_short_is_not_kept(api: Api) -> None:
    answer = api.call(
        "POST", "/v1/interactions", b'{"data": []}', environ_overrides={"CONTENT_LENGTH": "99"}
    )
    assert answer.status_code == 408
    assert one(api.shop.pool, "select count(*) from deliveries") == 0


def test_ten_thousand_interactions_fit_one_call(api: Api) -> None:
    likes = [a_like(product_ids=[f"p{number}"]) for number in range(10_000)]
    assert api.post("/v1/interactions", *likes).status_code == 200
    assert event_count(api) == 10_000


def test_the_document_names_what_is_checked(api: Api) -> None:
    document = api.client.get("/openapi.json").json
    assert document is not None
    shapes = document["components"]["schemas"]
    assert set(shapes["Checkout"]["properties"]) >= {"quantities", "revenue", "product_ids"}
    assert shapes["ProductRecord"]["properties"]["rating"]["maximum"] == 5
    body = document["paths"]["/v1/products"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "text/plain"}


def test_a_checkout_that_names_its_order_is_one_purchase_with_other_sources(api: Api) -> None:
    order = {"custom_context": {"order_id": "o1"}}
    bought = {"type": "checkout", "product_ids": ["p1"], "revenue": 5, "context": order}
    public = api.shop.publishable_key
    page = bought | {"anonymous_id": "a1", "revenue": 999}
    assert api.post("/v1/interactions", bought | {"user_id": "u1"}).status_code == 200
    assert api.call("POST", "/v1/interactions", {"data": [page]}, key=public).status_code == 200
    found = api.call("GET", "/admin/v1/orders/o1").json
    assert found and (found["count"], found["revenue"], found["user_id"]) == (1, 5, "u1")
    assert rows(api.shop.pool, "select count(*) from events") == [(1,)]
