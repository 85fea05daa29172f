"""Query parameters of `/admin/v1` that a route does not have: a typo asks for something else."""

from __future__ import annotations

from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import Shop
from tests.hostile.calls import Call, every_call, stocked


def admin_calls(app: Flask, client: FlaskClient, shop: Shop) -> list[Call]:
    calls = every_call(app, shop, stocked(client, shop))
    found = [call for call in calls if call.rule.startswith("/admin/v1/")]
    assert len(found) > 15
    return found


def test_each_route_refuses_an_unknown_parameter_and_names_its_own(
    app: Flask, client: FlaskClient, shop: Shop
) -> None:
    for call in admin_calls(app, client, shop):
        answer = call.send(client, query_string={"limti": "3"})
        assert answer.status_code == 422, call
        assert answer.json and "'limti'" in answer.json["message"]
        assert answer.json["problems"][0]["pointer"] == "/limti"


def test_each_documented_parameter_is_known(app: Flask, client: FlaskClient, shop: Shop) -> None:
    document = client.get("/openapi.json").json
    assert document
    seen = set()
    for call in admin_calls(app, client, shop):
        path = call.rule.replace("<path:", "<").replace("<", "{").replace(">", "}")
        described = document["paths"][path][call.method.lower()]
        own = [one["name"] for one in described.get("parameters", []) if one["in"] == "query"]
        answer = call.send(client, query_string={"limti": "3"} | dict.fromkeys(own, ""))
        assert [one["pointer"] for one in answer.json["problems"]] == ["/limti"]  # type: ignore[index]
        assert all(name in answer.json["message"] for name in own)  # type: ignore[index]
        seen.update(own)
    assert {"visitor", "since", "limit", "kind", "version", "remap"} <= seen


def test_a_key_may_stand_in_the_query_and_is_never_repeated(
    client: FlaskClient, shop: Shop
) -> None:
    query = {"api_key": shop.secret_key, "limit": "1"}
    assert client.get("/admin/v1/events", query_string=query).status_code == 200
    answer = client.get("/admin/v1/events", query_string=query | {"x" * 500: "1"})
    assert answer.status_code == 422
    assert shop.secret_key not in answer.text and len(answer.text) < 400


def test_who_has_no_key_is_told_that_first(client: FlaskClient) -> None:
    assert client.get("/admin/v1/events?limti=3").status_code == 401
