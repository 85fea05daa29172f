"""`Idempotency-Key`: the same request again is answered as it was, and applied once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import ConnectionPool
from werkzeug.test import TestResponse

from gateway import idempotency, ingest
from tests.builders import one, rows
from tests.conftest import Shop
from tests.gateway.test_v1_data import Api, a_like, api, event_count
from tests.journeys.gateway_process import until

__all__ = ["api"]


def under(name: str, method: str, path: str, body: Any, api: Api, **more: Any) -> TestResponse:
    return api.call(method, path, body, headers={"Idempotency-Key": name}, **more)


def product(**fields: Any) -> dict[str, Any]:
    return {"data": [{"product_id": "p1", "title": "Lamp"} | fields]}


def test_the_same_request_again_is_answered_as_it_was(api: Api) -> None:
    first = under("k1", "POST", "/v1/products", product(), api)
    api.call("DELETE", "/v1/products/p1")
    again = under("k1", "POST", "/v1/products", product(), api)
    assert (again.status_code, again.data) == (200, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert api.get("/v1/products/p1").status_code == 404


def test_a_refusal_is_answered_again_too(api: Api) -> None:
    bad = product(rating=9)
    first = under("k1", "POST", "/v1/products", bad, api)
    again = under("k1", "POST", "/v1/products", bad, api)
    assert (first.status_code, again.status_code) == (422, 422)
    assert again.data == first.data
    assert one(api.shop.pool, "select count(*) from deliveries") == 1


@pytest.mark.parametrize("body", [b"", b"{", b'{"data": 1}'])
def test_so_is_that_of_an_unreadable_body(api: Api, body: bytes) -> None:
    first, again = (under("k1", "POST", "/v1/users", body, api) for _ in range(2))
    assert (first.status_code, again.status_code) == (422, 422)
    assert again.data == first.data
    assert one(api.shop.pool, "select count(*) from deliveries") == 1


def test_the_key_of_another_request_is_refused(api: Api) -> None:
    under("k1", "POST", "/v1/products", product(), api)
    other = under("k1", "POST", "/v1/products", product(title="Mug"), api)
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json["message"]  # type: ignore[index]
    assert other.json["errors"] is True  # type: ignore[index]
    assert one(api.shop.pool, "select record->>'title' from products") == "Lamp"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/users"), ("PATCH", "/v1/products"), ("POST", "/v1/products?partial=1")],
)
def test_another_route_is_another_request(api: Api, method: str, path: str) -> None:
    under("k1", "POST", "/v1/products", product(), api)
    assert under("k1", method, path, product(), api).status_code == 422


def test_a_secret_and_a_publishable_key_have_keys_of_their_own(api: Api) -> None:
    body = {"data": [a_like()]}
    for key in (api.shop.secret_key, api.shop.publishable_key):
        assert under("k1", "POST", "/v1/interactions", body, api, key=key).status_code == 200
    assert event_count(api) == 2


def test_one_key_is_one_key_quoted_or_not(api: Api) -> None:
    under('"k1"', "POST", "/v1/products", product(), api)
    assert "Idempotent-Replayed" in under("k1", "POST", "/v1/products", product(), api).headers


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "é"])
def test_a_key_that_is_none_is_an_error(api: Api, key: str) -> None:
    answer = under(key, "POST", "/v1/products", product(), api)
    assert answer.status_code == 400
    assert one(api.shop.pool, "select count(*) from deliveries") == 0


def test_two_keys_are_an_error_and_a_comma_in_quotes_is_none(api: Api) -> None:
    both = {"Idempotency-Key": ["k1", "k2"]}
    answer = api.call("POST", "/v1/products", product(), headers=both)
    assert answer.status_code == 400
    assert "two of the header Idempotency-Key" in answer.json["message"]  # type: ignore[index]
    assert under('"k1","k2"', "POST", "/v1/products", product(), api).status_code == 400
    assert one(api.shop.pool, "select count(*) from deliveries") == 0
    assert under('"k1,k2"', "POST", "/v1/products", product(), api).status_code == 200


def test_a_dry_run_uses_no_key_up(api: Api) -> None:
    assert under("k1", "POST", "/v1/products?dry_run=1", product(), api).status_code == 200
    assert under("k1", "POST", "/v1/products", product(title="Mug"), api).status_code == 200


def test_deletions_and_patches_have_keys_too(api: Api) -> None:
    api.post("/v1/products", {"product_id": "p1", "title": "Lamp"})
    under("k1", "PATCH", "/v1/products/p1", {"sale_price": 1}, api)
    api.call("PATCH", "/v1/products/p1", {"sale_price": 2})
    again = under("k1", "PATCH", "/v1/products/p1", {"sale_price": 1}, api)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert one(api.shop.pool, "select record->>'sale_price' from products") == "2"
    under("k2", "DELETE", "/v1/products/p1", None, api)
    api.post("/v1/products", {"product_id": "p1", "title": "Lamp"})
    assert "Idempotent-Replayed" in under("k2", "DELETE", "/v1/products/p1", None, api).headers
    assert api.get("/v1/products/p1").status_code == 200


def test_records_without_id_and_time_are_told_apart_by_the_key(api: Api) -> None:
    body = {"data": [a_like()]}
    for key in ("k1", "k2", "k1"):
        assert under(key, "POST", "/v1/interactions", body, api).status_code == 200
    assert event_count(api) == 2


def test_a_key_of_long_ago_is_free_and_its_records_are_known_for_ever(api: Api) -> None:
    body = {"data": [a_like()]}
    under("k1", "POST", "/v1/interactions", body, api)
    age_keys(api)
    again = under("k1", "POST", "/v1/interactions", body, api)
    assert "Idempotent-Replayed" not in again.headers
    assert event_count(api) == 1
    other = {"data": [a_like(type="share")]}
    age_keys(api)
    assert under("k1", "POST", "/v1/interactions", other, api).status_code == 200
    assert event_count(api) == 2


def age_keys(api: Api) -> None:
    with api.shop.pool.connection() as connection:
        connection.execute(
            "update idempotent_requests set answered_at = answered_at - interval '25 hours'"
        )


def test_many_at_once_are_applied_once(api: Api) -> None:
    body = {"data": [a_like(product_ids=[f"p{n}"]) for n in range(50)]}
    found: list[TestResponse] = []
    start = threading.Barrier(8)

    def send() -> None:
        start.wait()
        found.append(under("k1", "POST", "/v1/interactions", body, api))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in found} <= {200, 409}
    assert all(a.headers["Retry-After"] for a in found if a.status_code == 409)
    assert len({answer.data for answer in found if answer.status_code == 200}) == 1
    assert rows(api.shop.pool, "select outcome, applied from deliveries") == [("applied", 50)]


def test_one_that_is_in_work_is_told_so(api: Api) -> None:
    api.post("/v1/products", {"product_id": "p1", "title": "Lamp"})
    with api.shop.pool.connection() as connection, connection.transaction():
        connection.execute("select from products for update")
        waiting = threading.Thread(
            target=under, args=("k1", "PATCH", "/v1/products/p1", {"size": "L"}, api)
        )
        waiting.start()
        until(
            lambda: bool(rows(api.shop.pool, "select from pg_locks where not granted")),
            20,
            what="the first to wait",
        )
        answer = under("k1", "PATCH", "/v1/products/p1", {"size": "L"}, api)
    waiting.join()
    assert answer.status_code == 409
    assert answer.headers["Retry-After"] == "1"
    assert (
        "Idempotent-Replayed" in under("k1", "PATCH", "/v1/products/p1", {"size": "L"}, api).headers
    )


def test_a_key_whose_request_failed_on_our_side_may_be_used_again(api: Api) -> None:
    body = {"data": [a_like()]}
    with broken_events(api):
        assert under("k1", "POST", "/v1/interactions", body, api).status_code == 500
    assert under("k1", "POST", "/v1/interactions", body, api).status_code == 200
    later = datetime.now(UTC) + timedelta(minutes=5)
    ingest.retry_failed(api.shop.pool, api.shop.site.site_id, at=later)
    outcomes = rows(api.shop.pool, "select outcome from deliveries order by received_at")
    assert outcomes == [("duplicate",), ("applied",)]
    assert event_count(api) == 1


def test_the_same_body_under_another_key_does_not_stand_for_one_that_failed(api: Api) -> None:
    body = {"data": [a_like()]}
    with broken_events(api):
        under("k1", "POST", "/v1/interactions", body, api)
    under("k2", "POST", "/v1/interactions", body, api)
    later = datetime.now(UTC) + timedelta(minutes=5)
    ingest.retry_failed(api.shop.pool, api.shop.site.site_id, at=later)
    assert event_count(api) == 2


@contextmanager
def broken_events(api: Api) -> Iterator[None]:
    """Every write of an event fails, as by a bug of ours."""
    with api.shop.pool.connection() as connection:
        connection.execute("alter table events add constraint broken check (false) not valid")
        yield
        connection.execute("alter table events drop constraint broken")


def test_a_commit_whose_answer_was_lost_is_known_by_its_key(
    shop: Shop, clean_database: str
) -> None:
    body = json.dumps({"data": [a_like()]}).encode()
    request = idempotency.Request(uuid4(), uuid4(), lambda receipt: (200, b"{}"))
    options = {"autocommit": True}
    with ConnectionPool(
        clean_database, connection_class=LosesAnswers, kwargs=options, min_size=1, open=True
    ) as pool:
        losing: Any = pool
        with pytest.raises(idempotency.Answered) as told:
            ingest.deliver(
                losing, shop.api, topic="interactions", headers={}, body=body, once=request
            )
    assert (told.value.status, told.value.body) == (200, b"{}")
    assert rows(shop.pool, "select outcome, applied from deliveries") == [("applied", 1)]


class LosesAnswers(psycopg.Connection[Any]):
    """The first one dies between a commit and its answer."""

    first = True

    def commit_and_die(self) -> None:
        self.pgconn.exec_(b"commit")
        self.pgconn.finish()

    def _exec_command(self, command: Any, *args: Any, **more: Any) -> Any:
        if command == b"COMMIT" and LosesAnswers.first:
            LosesAnswers.first = False
            self.commit_and_die()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return (yield from super()._exec_command(command, *args, **more))


def test_answers_are_forgotten_after_a_day(api: Api) -> None:
    under("k1", "POST", "/v1/products", product(), api)
    with api.shop.pool.connection() as connection:
        now = datetime.now(UTC)
        assert idempotency.purge(connection, now - idempotency.KEPT) == 0
        assert idempotency.purge(connection, now + timedelta(seconds=1)) == 1


def test_a_browser_may_send_the_header_and_read_the_answers(api: Api) -> None:
    preflight = api.client.options("/v1/products", headers={"Origin": "https://shop.example"})
    assert "idempotency-key" in preflight.headers["Access-Control-Allow-Headers"]
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    answer = under("k1", "POST", "/v1/products", product(), api)
    assert "Idempotent-Replayed" in answer.headers["Access-Control-Expose-Headers"]
