"""Partial products through `/v1`: merged, refused, found missing, replayed."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from gateway import ingest
from tests.builders import ago, deliver, one, rows, track
from tests.gateway.test_v1_data import Api, api
from tests.schemas.test_product import oracle
from tests.schemas.test_v1 import LINE

__all__ = ["api"]

LAMP = {"product_id": "p1", "title": "Lamp", "brand": "Acme"}


@pytest.fixture
def lamp(api: Api) -> Api:
    """A site with one product, p1."""
    api.post("/v1/products", LAMP)
    return api


def patch(api: Api, fields: Any, product_id: str = "p1", **more: Any) -> TestResponse:
    return api.call("PATCH", f"/v1/products/{product_id}", fields, **more)


def patch_many(api: Api, *records: Any, query: str = "") -> TestResponse:
    return api.call("PATCH", f"/v1/products{query}", {"data": list(records)})


def read(api: Api, product_id: str = "p1") -> Any:
    """The record, None where there is none."""
    return (api.get(f"/v1/products/{product_id}").json or {}).get("data")


def told(answer: TestResponse) -> dict[str, Any]:
    assert answer.json is not None
    return dict(answer.json)


def test_a_patch_changes_what_it_names(lamp: Api) -> None:
    answer = patch(lamp, {"sale_price": 5, "brand": None})
    assert answer.status_code == 200
    assert told(answer)["message"] == "success"
    assert read(lamp) == {"product_id": "p1", "title": "Lamp", "sale_price": 5}
    task = told(answer)["data"]["task_id"]
    status = told(lamp.get(f"/v1/products/_status/{task}"))
    assert (status["errors"], status["data"], status["code"]) == (False, [], 200)


def test_many_are_changed_at_once_and_one_product_twice_in_order(lamp: Api) -> None:
    lamp.post("/v1/products", {"product_id": "a/b", "title": "Mug"})
    changes = [{"product_id": "p1", "size": "L"}, {"product_id": "a/b", "size": "S"}]
    assert patch_many(lamp, *changes, {"product_id": "p1", "size": "M"}).status_code == 200
    assert (read(lamp)["size"], read(lamp, "a%2Fb")["size"]) == ("M", "S")


def test_an_id_in_the_path_may_hold_anything(lamp: Api) -> None:
    lamp.post("/v1/products", {"product_id": "a/b c", "title": "Mug"})
    assert patch(lamp, {"size": "S"}, "a%2Fb%20c").status_code == 200
    assert read(lamp, "a%2Fb%20c")["size"] == "S"


@pytest.mark.parametrize("product_id", ["p9", "gone", "_ids", "a,b", "p%00", "x" * 600])
def test_a_product_that_is_not_there_is_not_found(lamp: Api, product_id: str) -> None:
    lamp.post("/v1/products", {"product_id": "gone"})
    lamp.call("DELETE", "/v1/products/gone")
    answer = patch(lamp, {"size": "L"}, product_id)
    assert (answer.status_code, told(answer)["message"]) == (404, "not found")
    assert told(answer)["problems"] == [{"pointer": "", "message": "There is no such product."}]
    assert one(lamp.shop.pool, "select sum(failed) from deliveries") == 0
    assert rows(lamp.shop.pool, "select product_id from products where not deleted") == [("p1",)]


def test_of_many_it_is_an_error_of_its_record(lamp: Api) -> None:
    answer = patch_many(lamp, {"product_id": "p1", "size": "L"}, {"product_id": "p9"})
    assert answer.status_code == 422
    assert told(answer)["message"].startswith("None of the records were changed because")
    assert told(answer)["data"] == ["data.1.product_id (p9) is invalid. There is no such product."]
    assert "size" not in read(lamp)
    task = one(lamp.shop.pool, "select delivery_id from deliveries where refused > 0")
    status = told(lamp.get(f"/v1/products/_status/{task}"))
    assert (status["errors"], status["code"]) == (True, 422)
    assert status["data"] == ["data.1.product_id is invalid. There is no such product."]


def test_in_part_the_others_are_changed(lamp: Api) -> None:
    changes = [{"product_id": "p9"}, {"product_id": "p1", "size": "L"}]
    answer = patch_many(lamp, *changes, query="?partial=1")
    assert answer.status_code == 200
    assert [problem["pointer"] for problem in told(answer)["problems"]] == ["/data/0/product_id"]
    assert read(lamp)["size"] == "L"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"rating": 9}, "/rating"),
        ({"titel": "Lamp"}, "/titel"),
        ({"custom_attributes": [1]}, "/custom_attributes"),
        ({"custom_attributes": {"a": [1, "b"]}}, "/custom_attributes/a"),
        ({"product_id": "p2"}, "/product_id"),
        ({"i18n_de": "Lampe"}, "/i18n_de"),
    ],
)
def test_what_makes_no_valid_record_is_refused(lamp: Api, fields: Any, pointer: str) -> None:
    answer = patch(lamp, {"size": "L"} | fields)
    assert answer.status_code == 422
    assert [problem["pointer"] for problem in told(answer)["problems"]] == [pointer]
    assert all(LINE.fullmatch(line) for line in told(answer)["data"])
    assert told(answer)["message"].startswith(f"nothing was changed: {pointer[1:]}: ")
    assert read(lamp) == LAMP


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'"x"', b"null"])
def test_a_body_that_is_no_object_is_refused(lamp: Api, body: bytes) -> None:
    answer = patch(lamp, body)
    assert answer.status_code == 422
    assert told(answer)["errors"] is True
    assert read(lamp) == LAMP


@pytest.mark.parametrize("query", ["", "?dry_run=1"])
@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_it_is_told_what_its_body_must_be(lamp: Api, body: bytes, query: str) -> None:
    answer = lamp.call("PATCH", f"/v1/products/p1{query}", body)
    expected = "The body must be an object of fields."
    assert told(answer)["message"] == expected
    assert told(answer)["problems"] == [{"pointer": "", "message": expected}]
    assert told(answer)["data"] == [f"data is invalid. {expected}"]


def test_the_id_may_stand_in_the_body_too(lamp: Api) -> None:
    lamp.post("/v1/products", {"product_id": "12", "title": "Mug"})
    for product_id in ("12", 12, None):
        assert patch(lamp, {"product_id": product_id, "size": "L"}, "12").status_code == 200


def test_a_dry_run_changes_nothing_and_tells_the_same(lamp: Api) -> None:
    for fields, product_id, status in [
        ({"size": "L"}, "p1", 200),
        ({"rating": 9}, "p1", 422),
        ({"size": "L"}, "p9", 404),
    ]:
        assert patch(lamp, fields, f"{product_id}?dry_run=1").status_code == status
    assert read(lamp) == LAMP
    assert one(lamp.shop.pool, "select count(*) from deliveries") == 1


def test_a_publishable_key_may_not(lamp: Api) -> None:
    assert patch(lamp, {"size": "L"}, key=lamp.shop.publishable_key).status_code == 403


def test_one_that_is_older_than_the_record_is_ignored(lamp: Api) -> None:
    answer = patch(lamp, {"size": "L", "updated_at": ago(hours=1)})
    assert answer.status_code == 200
    assert read(lamp) == LAMP
    [(ignored, reason)] = rows(
        lamp.shop.pool,
        "select ignored, reason from deliveries join delivery_problems using (delivery_id)",
    )
    assert (ignored, reason) == (1, "older than the record that is there")


def test_a_product_made_from_an_event_can_be_patched(api: Api) -> None:
    viewed = track(properties={"product_id": "p1", "name": "Lamp"})
    deliver(api.shop.pool, api.shop.segment, viewed)
    assert patch(api, {"availability": "OUT_OF_STOCK"}).status_code == 200
    assert read(api) == {"product_id": "p1", "title": "Lamp", "availability": "OUT_OF_STOCK"}


def test_a_new_price_is_in_the_next_list(lamp: Api) -> None:
    asked = {"anonymous_id": "a1", "fq": "sale_price:[4 TO 6]", "fl": ["sale_price"]}
    path = "/v1/recommendation/user_to_products"
    assert told(lamp.call("POST", path, asked))["data"]["products"] == []
    patch(lamp, {"sale_price": 5})
    [found] = told(lamp.call("POST", path, asked))["data"]["products"]
    assert (found["product_id"], found["sale_price"]) == ("p1", 5)


# any sequence -----------------------------------------------------------------------------------

fields = st.fixed_dictionaries(
    {},
    optional={
        "title": st.none() | st.sampled_from(["Lamp", "Mug"]),
        "sale_price": st.none() | st.integers(0, 9),
        "tags": st.none() | st.lists(st.sampled_from("ab"), max_size=2),
        "custom_attributes": st.none()
        | st.dictionaries(
            st.sampled_from(["n", "m"]), st.none() | st.integers(0, 3), max_size=2
        ),
    },
)  # fmt: skip


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.lists(st.tuples(st.sampled_from(["p1", "p2"]), fields), max_size=4)))
def test_patches_one_after_the_other_are_merge_patches(api: Api, batches: Any) -> None:
    expected: dict[str, Any] = {one: {"product_id": one} for one in ("p1", "p2")}
    api.post("/v1/products", *expected.values())
    for batch in batches:
        patch_many(api, *({"product_id": product_id} | told for product_id, told in batch))
        for product_id, told in batch:
            expected[product_id] = oracle(expected[product_id], told, 2)
    assert {one: read(api, one) for one in expected} == expected


# again, and at once -----------------------------------------------------------------------------


def replay_all(api: Api) -> None:
    for (delivery_id,) in rows(api.shop.pool, "select delivery_id from deliveries"):
        ingest.replay(api.shop.pool, api.shop.api, UUID(str(delivery_id)))


def state(api: Api) -> list[tuple[Any, ...]]:
    return rows(api.shop.pool, "select * from products order by product_id")


def test_replaying_what_was_applied_changes_nothing(lamp: Api) -> None:
    patch(lamp, {"sale_price": 5})
    patch(lamp, {"sale_price": 6, "updated_at": ago(seconds=0)})
    patch_many(lamp, {"product_id": "p9"}, {"product_id": "p1", "sale_price": 7})
    patch(lamp, {"sale_price": 8})
    before = state(lamp)
    replay_all(lamp)
    replay_all(lamp)
    assert state(lamp) == before


def test_one_that_failed_on_our_side_is_applied_later_unless_it_was_overtaken(lamp: Api) -> None:
    lamp.post("/v1/products", {"product_id": "p2", "title": "Mug"})
    with broken_products(lamp):
        assert patch(lamp, {"sale_price": 5}).status_code == 500
        assert patch(lamp, {"sale_price": 5}, "p2").status_code == 500
    patch(lamp, {"sale_price": 6})
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert ingest.retry_failed(lamp.shop.pool, lamp.shop.site.site_id, at=later) == 2
    assert (read(lamp)["sale_price"], read(lamp, "p2")["sale_price"]) == (6, 5)
    replay_all(lamp)
    assert (read(lamp)["sale_price"], read(lamp, "p2")["sale_price"]) == (6, 5)


@contextmanager
def broken_products(api: Api) -> Any:
    """Every write of a product fails, as by a bug of ours."""
    with api.shop.pool.connection() as connection:
        connection.execute("alter table products add constraint broken check (false) not valid")
        yield
        connection.execute("alter table products drop constraint broken")


def test_one_of_an_unknown_product_counts_when_it_is_replayed_after_the_upload(api: Api) -> None:
    patch_many(api, {"product_id": "p1", "size": "L", "updated_at": ago(minutes=1)})
    api.post("/v1/products", LAMP | {"updated_at": ago(hours=1)})
    replay_all(api)
    assert read(api)["size"] == "L"


def test_patches_of_one_product_that_meet_all_count(lamp: Api) -> None:
    def send(n: int) -> None:
        start.wait()
        found.append(patch(lamp, {"custom_attributes": {f"n{n}": n}}).status_code)

    start, found = threading.Barrier(8), []  # type: ignore[var-annotated]
    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 8
    assert read(lamp)["custom_attributes"] == {f"n{n}": n for n in range(8)}


def test_it_is_a_topic_of_ingest_too(lamp: Api) -> None:
    body = json.dumps({"data": [{"product_id": "p1", "availability": "OUT_OF_STOCK"}]}).encode()
    receipt = ingest.deliver(
        lamp.shop.pool, lamp.shop.api, topic="products/_patch", headers={}, body=body
    )
    assert (receipt.applied, receipt.to_encode) == (1, 0)
    assert read(lamp)["availability"] == "OUT_OF_STOCK"
