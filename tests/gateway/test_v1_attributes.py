"""Custom attributes: a name has one type in all products of a site, one in all its users."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import attributes, ingest
from gateway.__main__ import cli
from gateway.attributes import InUse, Unknown
from tests.builders import deliver, identify, one, rows
from tests.gateway.test_v1_data import Api, api
from tests.journeys.gateway_process import until

__all__ = ["api"]

ODD = "is invalid. Its data type is not consistent with other records"
VALUES: dict[str, list[Any]] = {
    "boolean": [True, False],
    "number": [1, 1.5],
    "string": ["a", ""],
    "numbers": [[1], [1.5, 2], []],
    "strings": [["a"], []],
    "object": [{"a": 1}, {}, [{"a": 1}], []],
}


def product(product_id: str, **attributes: Any) -> dict[str, Any]:
    return {"product_id": product_id, "custom_attributes": attributes}


def user(user_id: str, **attributes: Any) -> dict[str, Any]:
    return {"user_id": user_id, "custom_attributes": attributes}


def types(api: Api) -> dict[str, str]:
    return dict(rows(api.shop.pool, "select name, type from attribute_types"))  # type: ignore[arg-type]


@pytest.mark.parametrize("known", VALUES)
def test_a_value_of_another_type_is_refused_in_misos_words(api: Api, known: str) -> None:
    api.post("/v1/products", product("p1", size=VALUES[known][0]))
    for sent, values in VALUES.items():
        for value in values:
            fits = sent == known or (value == [] and [] in VALUES[known])
            answer = api.post("/v1/products", product("p2", size=value))
            assert answer.status_code == (200 if fits else 422), (known, value)
            if not fits:
                [line] = answer.json["data"]  # type: ignore[index]
                assert line.startswith("data.0.custom_attributes.size ")
                assert line.endswith(ODD)
    assert types(api) == {"size": known}


def test_users_have_types_of_their_own(api: Api) -> None:
    api.post("/v1/products", product("p1", size=1))
    assert api.post("/v1/users", user("u1", size="L")).status_code == 200
    assert api.post("/v1/users", user("u2", size=1)).status_code == 422


def test_null_has_no_type(api: Api) -> None:
    api.post("/v1/products", product("p1", size=None))
    assert types(api) == {}
    api.post("/v1/products", product("p1", size=1))
    assert api.post("/v1/products", product("p2", size=None)).status_code == 200


def test_records_of_one_body_must_agree_and_nothing_remains_of_a_refusal(api: Api) -> None:
    answer = api.post("/v1/products", product("p1", size=1, fit="a"), product("p2", size="L"))
    assert answer.status_code == 422
    assert answer.json["data"] == [f"data.1.custom_attributes.size (L) {ODD}"]  # type: ignore[index]
    assert types(api) == {}
    assert api.post("/v1/products", product("p2", size="L")).status_code == 200


def test_in_part_the_odd_record_is_left_out_and_decides_nothing(api: Api) -> None:
    answer = api.post(
        "/v1/products?partial=1",
        product("p1", size=1),
        product("p2", size="L", fit="slim"),
        product("p3", fit=2),
    )
    assert answer.status_code == 200
    assert [p["pointer"] for p in answer.json["problems"]] == ["/data/1/custom_attributes/size"]  # type: ignore[index]
    assert types(api) == {"size": "number", "fit": "number"}


def test_a_patch_must_fit_too_and_one_of_no_product_decides_nothing(api: Api) -> None:
    api.post("/v1/products", product("p1", size=1))
    odd = api.call("PATCH", "/v1/products/p1", {"custom_attributes": {"size": "L"}})
    assert odd.status_code == 422
    assert [p["pointer"] for p in odd.json["problems"]] == ["/custom_attributes/size"]  # type: ignore[index]
    assert api.call("PATCH", "/v1/products/p9", {"custom_attributes": {"a": 1}}).status_code == 404
    answer = api.call(
        "PATCH", "/v1/products?partial=1", {"data": [product("p9", b=1), product("p1", c=1)]}
    )
    assert answer.status_code == 200
    assert types(api) == {"size": "number", "c": "number"}


def test_a_dry_run_tells_and_decides_nothing(api: Api) -> None:
    assert api.post("/v1/products?dry_run=1", product("p1", size=1)).status_code == 200
    assert types(api) == {}
    api.post("/v1/products", product("p1", size=1))
    assert api.post("/v1/products?dry_run=1", product("p1", size="L")).status_code == 422


def test_the_odd_trait_of_an_identify_is_left_out_and_shown(api: Api) -> None:
    deliver(api.shop.pool, api.shop.segment, identify("u1", "a1", traits={"plan": "pro"}))
    receipt = deliver(
        api.shop.pool,
        api.shop.segment,
        identify("u2", "a2", traits={"plan": 3, "team": "red", "name": "Ann"}),
    )
    assert (receipt.applied, receipt.outcome) == (1, "applied")
    assert api.get("/v1/users/u2").json["data"] == {  # type: ignore[index]
        "user_id": "u2",
        "name": "Ann",
        "custom_attributes": {"team": "red"},
    }
    [(outcome, pointer, reason, is_open)] = rows(
        api.shop.pool, "select outcome, pointer, reason, resolved_at is null from delivery_problems"
    )
    assert (outcome, pointer, is_open) == ("ignored", "/traits", False)
    assert reason.endswith("of another type than in other records: plan")
    assert types(api) == {"plan": "string", "team": "string"}
    shown = api.get(f"/admin/v1/deliveries/{receipt.delivery_id}").json
    assert shown and shown["records"][0]["outcome"] == "applied"
    assert shown["records"][0]["reason"] == reason
    ingest.replay(api.shop.pool, api.shop.segment, receipt.delivery_id)
    assert api.get(f"/admin/v1/deliveries/{receipt.delivery_id}").json["applied"] == 1  # type: ignore[index]


def test_of_two_uploads_at_once_one_type_wins(api: Api) -> None:
    for round in range(5):
        name = f"size{round}"
        found: list[int] = []
        start = threading.Barrier(4)

        def send(n: int, name: str = name, start: Any = start, found: Any = found) -> None:
            value = n if n % 2 else str(n)
            start.wait()
            answer = api.post("/v1/products", product(f"p{n}", **{name: value, f"{name}x": 1}))
            found.append(answer.status_code)

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [200, 200, 422, 422]
        kinds = rows(
            api.shop.pool,
            "select distinct jsonb_typeof(record->'custom_attributes'->%s) from products "
            "where record->'custom_attributes' ? %s",
            name,
            name,
        )
        assert [kind for (kind,) in kinds] == [types(api)[name]]


def test_a_type_is_freed_when_no_record_has_the_attribute(api: Api) -> None:
    api.post("/v1/products", product("p1", size=1))
    site_id = api.shop.site.site_id
    with api.shop.pool.connection() as connection:
        with pytest.raises(InUse):
            attributes.forget(connection, site_id, "product", "size")
        with pytest.raises(Unknown):
            attributes.forget(connection, site_id, "user", "size")
        api.call("DELETE", "/v1/products/p1")
        attributes.forget(connection, site_id, "product", "size")
    assert api.post("/v1/products", product("p1", size="L")).status_code == 200


def test_forgetting_waits_for_what_is_on_its_way(api: Api) -> None:
    api.post("/v1/products", product("p1", size=1), {"product_id": "p2"})
    api.call("DELETE", "/v1/products/p1")
    site_id = api.shop.site.site_id
    refused: list[Exception] = []

    def forget() -> None:
        with api.shop.pool.connection() as connection:
            try:
                attributes.forget(connection, site_id, "product", "size")
            except InUse as error:
                refused.append(error)

    with api.shop.pool.connection() as connection, connection.transaction():
        connection.execute("select from products where product_id = 'p2' for update")
        uploading = threading.Thread(target=api.post, args=("/v1/products", product("p2", size=2)))
        uploading.start()
        until_waiting(api, 1)
        forgetting = threading.Thread(target=forget)
        forgetting.start()
        until_waiting(api, 2)
    uploading.join()
    forgetting.join()
    assert refused
    assert types(api) == {"size": "number"}


def until_waiting(api: Api, count: int) -> None:
    statement = (
        "select count(distinct pid) from pg_locks where not granted and "
        "(database is null or database = (select oid from pg_database "
        "where datname = current_database()))"
    )
    until(lambda: one(api.shop.pool, statement) >= count, 20, what=f"{count} waiting")


def test_the_command_and_the_route_show_them_and_the_command_frees_one(api: Api) -> None:
    api.post("/v1/products", product("p1", size=1, fit="slim"), product("p2", size=2))
    api.post("/v1/users", user("u1", size="L"))
    deliver(api.shop.pool, api.shop.segment, identify("u2", "a2", traits={"size": "M"}))
    shown = api.get("/admin/v1/attributes").json["attributes"]  # type: ignore[index]
    assert [(row["kind"], row["name"], row["type"], row["records"]) for row in shown] == [
        ("product", "fit", "string", 1),
        ("product", "size", "number", 2),
        ("user", "size", "string", 2),
    ]
    assert json.loads(run("--json"))["attributes"][1]["records"] == 2
    assert "size" in run()
    assert "2 products have the attribute 'size'" in run("--forget", "size", status=1)
    assert "no product ever had" in run("--forget", "sice", status=1)
    api.post("/v1/products", {"product_id": "p1"})
    assert "decides its type" in run("--forget", "fit")
    assert api.post("/v1/products", product("p1", fit=3)).status_code == 200


def run(*words: str, status: int = 0) -> str:
    """What `attributes shop` prints."""
    result = CliRunner().invoke(cli, ["attributes", "shop", *words])
    assert result.exit_code == status, result.output
    return result.output


def test_names_beyond_the_most_have_any_type(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "AT_MOST", 2)
    assert api.post("/v1/products", product("p1", a=1, b=1, c=1)).status_code == 200
    assert types(api) == {"a": "number", "b": "number"}
    assert api.post("/v1/products", product("p1", c="x")).status_code == 200
    assert api.post("/v1/products", product("p1", a="x")).status_code == 422


def test_a_name_may_be_longer_than_an_index_holds(api: Api) -> None:
    name = "\N{SNOWMAN}" * 30_000
    assert api.post("/v1/products", product("p1", **{name: 1})).status_code == 200
    assert api.post("/v1/products", product("p1", **{name: "x"})).status_code == 422
