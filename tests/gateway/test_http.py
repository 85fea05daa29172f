"""What every route has in common: keys, scopes, errors, CORS, limits, health, documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from gateway import VERSION, access, sealing
from gateway.http import create_app, limits, state
from gateway.settings import Settings
from tests.conftest import Shop

# Routes that ask for no key, each with its reason.
OPEN = {
    "/": "what this is, the same for everybody",
    "/healthz": "a load balancer has no key",
    "/readyz": "a load balancer has no key",
    "/metrics": "private networks, or a token of its own",
    "/openapi.json": "the same for everybody",
    "/docs": "the same for everybody",
    "/webhooks/<connector>/<source>": "signed with the source's secret",
    "/demo": "a page that brings its own publishable key",
    "/snippet.js": "a script that is the same for everybody",
    "/v1/<call:call>": "a write key, where Segment's clients put it: test_collector.py",
    "/v1/projects/<write_key>/settings": "the write key in its path",
    "/v1/m": "takes nothing, tells nothing",
}
OPEN_PREFIXES = ("/demo/", "/webhooks/", "/segment/")


def routes(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every route with each of its methods."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method


def guarded(app: Flask) -> list[tuple[str, str]]:
    """(method, URL) of each route that asks for a key."""
    urls = app.url_map.bind("localhost")
    return [
        (method, urls.build(rule.endpoint, dict.fromkeys(rule.arguments, "x"), method=method))
        for rule, method in routes(app)
        if rule.rule not in OPEN and not rule.rule.startswith(OPEN_PREFIXES)
    ]


# keys and scopes ---------------------------------------------------------------------------------


def test_each_route_asks_for_a_key_or_has_a_reason(app: Flask, client: FlaskClient) -> None:
    asked = guarded(app)
    assert len(asked) > 8
    for method, url in asked:
        answer = client.open(url, method=method)
        assert answer.status_code == 401, f"{method} {url}"
        assert answer.json and answer.json["message"] == "invalid api key."
        assert "X-API-KEY" in answer.json["problems"][0]["message"]


@pytest.mark.parametrize("key", ["nonsense", "", "sk_" + "0" * 40, "ключ", "a" * 5000, "\0"])
def test_each_route_refuses_a_wrong_key(app: Flask, client: FlaskClient, key: str) -> None:
    for method, url in guarded(app):
        answer = client.open(url, method=method, query_string={"api_key": key})
        assert answer.status_code == 401, f"{method} {url}"


def test_each_route_of_another_kind_refuses_a_publishable_key(
    app: Flask, client: FlaskClient, shop: Shop
) -> None:
    """All but sending interactions and asking for lists."""
    for method, url in guarded(app):
        if url.startswith(("/v1/recommendation/", "/v1/search/", "/v1/bulk", "/collect/")) or (
            (method, url) == ("POST", "/v1/interactions")
        ):
            continue
        answer = client.open(url, method=method, query_string={"api_key": shop.publishable_key})
        assert answer.status_code == 403, f"{method} {url}"
        assert answer.json and "scope" in answer.json["message"]


def test_a_write_key_may_do_nothing_here(app: Flask, client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        key = access.create_source(connection, shop.site, "segment").write_key
    for method, url in guarded(app):
        answer = client.open(url, method=method, query_string={"api_key": key})
        assert answer.status_code == 403, f"{method} {url}"


def test_each_scope_opens_only_its_routes(app: Flask, client: FlaskClient, shop: Shop) -> None:
    """A key of no scope that a route asks for is refused by all of them."""
    with shop.pool.connection() as connection:
        key = access.create_key(connection, shop.site, "secret", ["experiments:write"])
    for method, url in guarded(app):
        answer = client.open(url, method=method, query_string={"api_key": key})
        assert answer.status_code == 403, f"{method} {url}"


def test_a_key_works_in_the_query_and_in_the_header(client: FlaskClient, shop: Shop) -> None:
    in_query = client.get("/admin/v1/events", query_string={"api_key": shop.secret_key})
    in_header = client.get("/admin/v1/events", headers={"X-API-KEY": shop.secret_key})
    assert in_query.status_code == in_header.status_code == 200


def test_two_keys_that_differ_are_refused(client: FlaskClient, shop: Shop) -> None:
    answer = client.get(
        "/admin/v1/events",
        query_string={"api_key": shop.secret_key},
        headers={"X-API-KEY": shop.publishable_key},
    )
    assert answer.status_code == 401


def test_a_revoked_key_is_refused(client: FlaskClient, shop: Shop) -> None:
    headers = {"X-API-KEY": shop.secret_key}
    assert client.get("/admin/v1/events", headers=headers).status_code == 200
    with shop.pool.connection() as connection:
        for row in access.keys(connection, shop.site):
            access.revoke_key(connection, shop.site, row["key_id"])
    assert client.get("/admin/v1/events", headers=headers).status_code == 401


# errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nope", "/v1/nope", "/admin/v1/nope", "//v1/events", "/v1"])
def test_an_unknown_path_is_a_404_in_json(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json and answer.json["message"].startswith("not found")
    assert answer.json["problems"] == []


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/v1/search/serch", "POST /v1/search/search"),
        ("/v1/recommendation/user_to_product", "POST /v1/recommendation/user_to_products"),
        ("/v1/recommendations/feed", "POST /v1/recommendation/feed"),
        ("/v1/interaction", "DELETE/POST /v1/interactions"),
        ("/v1/product/_status/x", "GET /v1/products/_status/{task_id}"),
        ("/admin/v1/event", "GET /admin/v1/events"),
        ("/v1/ledger", "GET /admin/v1/ledger"),
        ("/admin/v1/visitor/a1", "GET /admin/v1/visitors/{sent_id}"),
    ],
)
def test_an_unknown_path_is_told_those_like_it(client: FlaskClient, path: str, near: str) -> None:
    answer = client.post(path)
    assert answer.status_code == 404 and answer.json
    assert near in answer.json["message"]


@pytest.mark.parametrize("path", ["/v1/" + "x" * 3000, "/admin/v1/zzz", "/v1"])
def test_an_unknown_path_like_none_is_told_where_all_are(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.json == {
        "message": "not found: there is no such route. All are at /docs", "problems": [],
    }  # fmt: skip


def test_elsewhere_nothing_is_told_of_routes(client: FlaskClient) -> None:
    assert client.get("/nope").json == {"message": "not found", "problems": []}


def test_the_bare_address_leads_on(app: Flask, client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200 and answer.json
    assert (answer.json["name"], answer.json["version"]) == ("Attune", VERSION)
    assert set(answer.json["links"].values()) <= {rule.rule for rule, _ in routes(app)}


def test_a_wrong_method_says_which_are_allowed(client: FlaskClient) -> None:
    answer = client.delete("/admin/v1/events")
    assert answer.status_code == 405
    assert answer.json and "allowed: GET" in answer.json["message"]
    assert "GET" in answer.headers["Allow"]


def test_no_post_is_redirected(client: FlaskClient) -> None:
    assert client.post("/v1/interactions/").status_code == 401


def test_our_own_fault_is_a_sentence_without_a_traceback(
    app: Flask, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("internals")

    answer = client.get("/broken?api_key=sk_secret")
    assert answer.status_code == 500
    assert "internals" not in answer.text and "Traceback" not in answer.text
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    failed = next(line for line in lines if line["event"] == "request failed")
    assert "RuntimeError: internals" in failed["exception"]
    assert failed["route"] == "/broken" and failed["request"] == answer.headers["X-Request-Id"]
    assert "sk_secret" not in json.dumps(lines)


@pytest.mark.parametrize(
    "error",
    [psycopg.OperationalError("gone"), psycopg.errors.LockNotAvailable("locked"),
     psycopg.errors.UndefinedTable("no such table"), psycopg.InterfaceError("closed")],
)  # fmt: skip
def test_trouble_with_postgres_asks_to_send_again(
    app: Flask, client: FlaskClient, error: psycopg.Error
) -> None:
    @app.get("/busy")
    def busy() -> str:
        raise error

    answer = client.get("/busy")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_without_postgres_each_guarded_route_answers_503(
    app_settings: Settings, shop: Shop
) -> None:
    away = replace(app_settings, database_url="postgresql://nobody@/none?host=/nonexistent")
    app = create_app(away)
    access.forget()
    answer = app.test_client().get("/admin/v1/events", headers={"X-API-KEY": shop.secret_key})
    state.of(app).close()
    assert answer.status_code == 503
    assert answer.json and answer.json["message"]
    assert answer.headers["Retry-After"]


def test_a_restarted_postgres_costs_one_answer(app: Flask, client: FlaskClient, shop: Shop) -> None:
    headers = {"X-API-KEY": shop.secret_key}
    assert client.get("/admin/v1/ledger", headers=headers).status_code == 200
    with shop.pool.connection() as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 2000) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid() "
            "and application_name = '' and backend_type = 'client backend'"
        )
    asked = [client.get("/admin/v1/ledger", headers=headers).status_code for _ in range(6)]
    assert asked.count(503) <= 1 and asked[-1] == 200


# CORS --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/interactions", "/v1/nope", "/v1/b", "/collect/x/y"])
def test_a_preflight_needs_no_key_on_any_path(client: FlaskClient, path: str) -> None:
    answer = client.options(path, headers={"Origin": "https://shop.example"})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer.headers["Access-Control-Max-Age"] == "7200"
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert method in answer.headers["Access-Control-Allow-Methods"]
    for header in ("authorization", "content-type", "x-api-key", "x-retry-count"):
        assert header in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/interactions", 401), ("/v1/nope", 404), ("/collect/x/y", 401), ("/segment/v1/b", 401)],
)
def test_an_error_can_be_read_by_the_page_that_caused_it(
    client: FlaskClient, path: str, status: int
) -> None:
    answer = client.post(path, headers={"Origin": "https://shop.example"})
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "Origin" in answer.headers["Vary"]
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/admin/v1/events", "/metrics", "/webhooks/segment/x"])
def test_no_page_may_read_what_is_not_for_browsers(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


# limits ------------------------------------------------------------------------------------------


@pytest.fixture
def slow_shop(shop: Shop) -> Shop:
    """Three requests a second."""
    with shop.pool.connection() as connection:
        connection.execute("""update sites set settings = '{"requests_per_second": 3}'""")
    access.forget()
    return shop


def statuses(client: FlaskClient, key: str, requests: int) -> list[int]:
    headers = {"X-API-KEY": key}
    return [client.get("/admin/v1/ledger", headers=headers).status_code for _ in range(requests)]


def test_a_key_that_is_too_fast_is_told_when_to_come_back(
    client: FlaskClient, slow_shop: Shop
) -> None:
    assert 429 in statuses(client, slow_shop.secret_key, 40)
    headers = {"X-API-KEY": slow_shop.secret_key}
    while (answer := client.get("/admin/v1/ledger", headers=headers)).status_code != 429:
        pass
    assert answer.headers["Retry-After"] == answer.headers["X-RateLimit-Reset"] == "1"
    assert answer.headers["RateLimit-Limit"] == "3"


def test_another_keys_limit_is_its_own(client: FlaskClient, slow_shop: Shop) -> None:
    statuses(client, slow_shop.secret_key, 40)
    with slow_shop.pool.connection() as connection:
        other = access.create_key(connection, slow_shop.site, "secret")
    assert statuses(client, other, 1) == [200]


def test_without_redis_nobody_is_limited(app_settings: Settings, slow_shop: Shop) -> None:
    app = create_app(replace(app_settings, redis_url="unix:///nonexistent.sock"))
    limits.forget()
    assert set(statuses(app.test_client(), slow_shop.secret_key, 40)) == {200}
    state.of(app).close()
    limits.forget()


# health, metrics, documents ----------------------------------------------------------------------


def test_readyz_names_what_is_missing_and_stays_200(client: FlaskClient, shop: Shop) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200 and answer.json
    assert {each["what"] for each in answer.json["degraded"]} == {
        "worker",
        "encoder",
        "trainer",
        "clock",
    }


def test_readyz_is_content_with_roles_that_beat(client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        connection.execute(
            "insert into heartbeats select role, 'here', 1, now(), now() "
            "from unnest('{worker,encoder,trainer,clock}'::text[]) role"
        )
    answer = client.get("/readyz")
    assert answer.json == {"status": "ready", "degraded": []}


def test_readyz_without_redis_is_200_and_says_so(app_settings: Settings) -> None:
    app = create_app(replace(app_settings, redis_url="unix:///nonexistent.sock"))
    answer = app.test_client().get("/readyz")
    state.of(app).close()
    assert answer.status_code == 200 and answer.json
    assert "redis" in {each["what"] for each in answer.json["degraded"]}


def test_readyz_is_503_without_postgres(app_settings: Settings) -> None:
    app = create_app(replace(app_settings, database_url="postgresql://x@/x?host=/nonexistent"))
    answer = app.test_client().get("/readyz")
    state.of(app).close()
    assert answer.status_code == 503


def test_readyz_is_503_while_migrations_are_pending(client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        names = connection.execute("delete from migrations returning name").fetchall()
        answer = client.get("/readyz")
        connection.cursor().executemany("insert into migrations (name) values (%s)", names)
    assert answer.status_code == 503 and answer.json
    assert "migrate" in answer.json["message"]


def test_healthz_asks_nobody(app_settings: Settings) -> None:
    app = create_app(replace(app_settings, database_url="postgresql://x@/x?host=/nonexistent"))
    assert app.test_client().get("/healthz").status_code == 200


def test_metrics_show_routes_refusals_and_the_ledger(client: FlaskClient, shop: Shop) -> None:
    client.get("/admin/v1/events", headers={"X-API-KEY": shop.secret_key})
    client.get("/admin/v1/events")
    text = client.get("/metrics").text
    labels = 'method="GET",route="/admin/v1/events",status="200"'
    assert f"attune_request_seconds_count{{{labels}}}" in text
    assert 'attune_not_authentic_total{door="admin"}' in text
    assert "attune_postgres_up 1.0" in text
    assert shop.secret_key not in text


def test_every_route_is_documented(app: Flask, client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    assert document
    for rule, method in routes(app):
        if not rule.rule.startswith(("/v1/", "/admin/", "/webhooks/")):
            continue
        path = rule.rule
        for argument in rule.arguments:
            path = _unconverted(path, argument)
        assert method.lower() in document["paths"].get(path, {}), f"{method} {rule.rule}"


def _unconverted(path: str, argument: str) -> str:
    """`/a/<path:id>` as OpenAPI writes it: `/a/{id}`."""
    before, after = path.split(f"{argument}>", 1)
    return f"{before[: before.rindex('<')]}{{{argument}}}{after}"


def test_the_documents_load_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")


def test_another_sealing_key_lets_nobody_in_and_breaks_nothing(
    client: FlaskClient, shop: Shop
) -> None:
    access.forget()
    sealing.unlock(Fernet.generate_key().decode())
    assert client.get("/admin/v1/events", headers={"X-API-KEY": shop.secret_key}).status_code == 401
