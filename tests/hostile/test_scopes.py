"""Every kind of key with every single scope at every route: opened by the route's own scope, and
by nothing else. A route that is not in this table fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway import access
from tests.conftest import Shop
from tests.hostile.calls import VALID, Call, every_call, stocked

# The scope each route asks for; None: it asks for no key, and takes no notice of one.
SCOPES: dict[tuple[str, str], str | None] = {
    ("GET", "/"): None,
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): None,
    ("GET", "/openapi.json"): None,
    ("GET", "/docs"): None,
    ("GET", "/demo"): None,
    ("GET", "/demo/<file>"): None,
    ("POST", "/webhooks/<connector>"): None,
    ("GET", "/snippet.js"): None,
    ("POST", "/webhooks/<connector>/<source>"): None,
    ("POST", "/collect/<connector>/<source>"): "interactions:write",
    ("PUT", "/webhooks/<connector>/<source>"): None,
    ("PATCH", "/webhooks/<connector>/<source>"): None,
    **{
        (method, prefix + path): scope
        for prefix in ("", "/segment")
        for method, path, scope in (
            ("POST", "/v1/<call:call>", "collect"),
            ("POST", "/v1/m", None),
            ("GET", "/v1/projects/<write_key>/settings", "collect"),
        )
    },
    ("POST", "/v1/interactions"): "interactions:write",
    ("DELETE", "/v1/interactions"): "users:write",
    ("POST", "/v1/products"): "products:write",
    ("PATCH", "/v1/products"): "products:write",
    ("POST", "/v1/products/_delete"): "products:write",
    ("GET", "/v1/products/_ids"): "products:read",
    ("GET", "/v1/products/_status/<task_id>"): "products:read",
    ("GET", "/v1/products/<id:product_id>"): "products:read",
    ("PATCH", "/v1/products/<id:product_id>"): "products:write",
    ("DELETE", "/v1/products/<id:product_id>"): "products:write",
    ("POST", "/v1/users"): "users:write",
    ("POST", "/v1/users/_delete"): "users:write",
    ("GET", "/v1/users/_ids"): "users:read",
    ("GET", "/v1/users/_status/<task_id>"): "users:read",
    ("GET", "/v1/users/<id:user_id>"): "users:read",
    ("DELETE", "/v1/users/<id:user_id>"): "users:write",
    ("POST", "/v1/recommendation/user_to_products"): "engine:read",
    ("POST", "/v1/recommendation/user_to_trending"): "engine:read",
    ("POST", "/v1/recommendation/user_to_history"): "engine:read",
    ("POST", "/v1/recommendation/product_to_products"): "engine:read",
    ("POST", "/v1/recommendation/feed"): "engine:read",
    ("POST", "/v1/recommendation/audience"): "users:read",
    ("POST", "/v1/recommendation/user_to_categories"): "engine:read",
    ("POST", "/v1/recommendation/user_to_attributes"): "engine:read",
    ("POST", "/v1/search/search"): "engine:read",
    ("POST", "/v1/search/autocomplete"): "engine:read",
    ("POST", "/v1/search/mget"): "engine:read",
    ("POST", "/v1/bulk"): "engine:read",
    ("GET", "/admin/v1/events"): "admin:read",
    ("GET", "/admin/v1/models"): "admin:read",
    ("GET", "/admin/v1/impressions"): "admin:read",
    ("GET", "/admin/v1/settings"): "admin:read",
    ("PATCH", "/admin/v1/settings"): "admin:write",
    ("POST", "/admin/v1/models/<version>/promote"): "admin:write",
    ("POST", "/admin/v1/models/rollback"): "admin:write",
    ("GET", "/admin/v1/visitors/<path:sent_id>"): "admin:read",
    ("GET", "/admin/v1/visitors/<path:sent_id>/similar_users"): "admin:read",
    ("GET", "/admin/v1/clusters"): "admin:read",
    ("GET", "/admin/v1/clusters/<cluster_id>"): "admin:read",
    ("GET", "/admin/v1/deliveries"): "admin:read",
    ("GET", "/admin/v1/deliveries/<delivery_id>"): "admin:read",
    ("POST", "/admin/v1/deliveries/<delivery_id>/replay"): "admin:write",
    ("GET", "/admin/v1/feeds"): "admin:read",
    ("POST", "/admin/v1/feeds/<source>/pull"): "admin:write",
    ("GET", "/admin/v1/queries"): "admin:read",
    ("GET", "/admin/v1/attributes"): "admin:read",
    ("GET", "/admin/v1/ledger"): "admin:read",
    ("GET", "/admin/v1/orders"): "admin:read",
    ("GET", "/admin/v1/orders/<path:order_id>"): "admin:read",
    ("POST", "/admin/v1/merge"): "admin:write",
    ("POST", "/admin/v1/unmerge"): "admin:write",
    ("GET", "/admin/v1/export/<path:sent_id>"): "admin:read",
    ("POST", "/admin/v1/erase"): "admin:write",
    ("GET", "/admin/v1/erasures"): "admin:read",
    ("GET", "/admin/v1/sources/<source>/mapping"): "admin:read",
    ("PUT", "/admin/v1/sources/<source>/mapping"): "admin:write",
    ("POST", "/admin/v1/sources/<source>/mapping/try"): "admin:read",
    ("GET", "/admin/v1/requests"): "admin:read",
}

EACH = [(kind, scope) for kind, scopes in access.SCOPES.items() for scope in scopes]


def test_the_table_holds_every_route() -> None:
    assert set(SCOPES) == set(VALID)


def test_no_scope_is_asked_for_that_no_key_can_have() -> None:
    known = {scope for scopes in access.SCOPES.values() for scope in scopes}
    assert {scope for scope in SCOPES.values() if scope} <= known


@pytest.fixture
def calls(app: Flask, client: FlaskClient, shop: Shop) -> list[Call]:
    return every_call(app, shop, stocked(client, shop))


def asked(
    client: FlaskClient, shop: Shop, calls: list[Call], kind: str, scopes: list[str]
) -> Iterator[tuple[Call, int, str | None]]:
    """Every route asked with such a key: the call, its status, the scope it needs."""
    key = a_key(shop, kind, scopes)
    for call in calls:
        needed = SCOPES[call.method, call.rule]
        answer = call.with_key(key).send(client, headers={"X-API-KEY": key})
        yield call, answer.status_code, needed


def a_key(shop: Shop, kind: str, scopes: list[str] | None = None) -> str:
    source_id = shop.segment.source_id if kind == "write" else None
    with shop.pool.connection() as connection:
        return access.create_key(connection, shop.site, kind, scopes, source_id=source_id)


@pytest.mark.parametrize(("kind", "scope"), EACH, ids=[" ".join(each) for each in EACH])
def test_a_key_of_one_scope_opens_the_routes_of_that_scope_alone(
    client: FlaskClient, shop: Shop, calls: list[Call], kind: str, scope: str
) -> None:
    for call, status, needed in asked(client, shop, calls, kind, [scope]):
        if needed is None:
            assert status not in (401, 403), f"{call} with a {kind} key of {scope}: {status}"
        elif needed == scope:
            assert 200 <= status < 300, f"{call} with a {kind} key of {scope}: {status}"
        else:
            assert status == 403, f"{call} with a {kind} key of {scope}: {status}"


@pytest.mark.parametrize("kind", list(access.SCOPES))
def test_a_key_of_all_its_kinds_scopes_opens_their_routes_alone(
    client: FlaskClient, shop: Shop, calls: list[Call], kind: str
) -> None:
    for call, status, needed in asked(client, shop, calls, kind, []):
        if needed is None:
            assert status not in (401, 403), f"{call} with a {kind} key: {status}"
        elif needed in access.SCOPES[kind]:
            assert 200 <= status < 300, f"{call} with a {kind} key: {status}"
        else:
            assert status == 403, f"{call} with a {kind} key: {status}"


@pytest.mark.parametrize("kind", list(access.SCOPES))
def test_a_revoked_key_opens_no_guarded_route(
    client: FlaskClient, shop: Shop, calls: list[Call], kind: str
) -> None:
    key = a_key(shop, kind)
    with shop.pool.connection() as connection:
        number = access.keys(connection, shop.site)[-1]["key_id"]
        access.revoke_key(connection, shop.site, number)
    for call in calls:
        if SCOPES[call.method, call.rule] is not None:
            answer = call.with_key(key).send(client)
            assert answer.status_code == 401, f"{call} with a revoked {kind} key"


@pytest.mark.parametrize(
    ("kind", "scope"), [("publishable", "products:write"), ("write", "engine:read")]
)
def test_no_kind_of_key_gets_a_scope_beyond_its_kind(shop: Shop, kind: str, scope: str) -> None:
    with shop.pool.connection() as connection, pytest.raises(access.BadRequest):
        access.create_key(connection, shop.site, kind, [scope])
