"""What senders choose, in headers, log lines, pages and statements: it stays a value everywhere."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ranking.catalog import embeddings
from tests.builders import one, rows
from tests.conftest import Shop
from tests.hostile.calls import compact, every_call, stocked
from tests.hostile.test_bodies import full_body, places, replaced, with_body
from tests.hostile.test_server import Server, server
from tests.ranking.market import Words

__all__ = ["server"]

# headers ----------------------------------------------------------------------------------------

BREAKS = ["\r\n", "\n", "\r", "\r\n\t", "\0", "\x0b", "\x85", "\u2028".encode().decode("latin-1")]
REFLECTED = ("Origin", "X-Request-Id", "X-API-KEY", "Content-Type", "User-Agent", "Host",
             "Access-Control-Request-Headers", "X-Forwarded-For", "Idempotency-Key",
             "traceparent")  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS, ids=ascii)
@pytest.mark.parametrize("name", REFLECTED)
def test_no_header_value_makes_another_header(server: Server, name: str, broken: str) -> None:
    for method, path in (("OPTIONS", "/v1/interactions"), ("GET", "/v1/products/_ids")):
        raw = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n{name}: a{broken}Injected: yes\r\n"
        check_head(server, raw + ("" if name == "Host" else "Host: x\r\n"))


@pytest.mark.parametrize("broken", ["%0d%0a", "%0a", "%0d", "%E5%98%8A%E5%98%8D", "%00", "%85"])
@pytest.mark.parametrize(
    "path",
    ["/{}", "/demo?site={}", "/demo/{}", "/v1/products/{}", "/admin/v1/visitors/{}?api_key={}",
     "/webhooks/segment/{}", "/webhooks/{}/x", "/v1/products/_ids?api_key={}", "/docs?{}"],
)  # fmt: skip
def test_no_address_makes_a_header(server: Server, path: str, broken: str) -> None:
    injected = f"a{broken}Injected:%20yes{broken}{broken}<script>"
    check_head(server, f"GET {path.replace('{}', injected)} HTTP/1.1\r\nHost: x\r\n")


def check_head(server: Server, raw: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw.encode("latin-1") + b"\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head = answer.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0].strip().lower() for line in head.splitlines()[1:]]
    assert b"injected" not in names and b"set-cookie" not in names
    assert not answer or int(answer.split(b" ")[1]) < 500


# log lines --------------------------------------------------------------------------------------


def test_each_log_line_is_one_object_whatever_is_sent(
    app: Flask, client: FlaskClient, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = '\n{"event": "forged", "level": "error"}\r\n\x1b[31m\u2028\x85forged'
    calls = every_call(app, shop, stocked(client, shop))
    for call in with_body(calls):
        body = full_body(call)
        for at in places(body):
            call.saying(compact(replaced(body, at, forged))).send(client)
        client.open(call.path, method=call.method, query_string={"api_key": forged})
    for path in ("/v1/products/%0A%7B%22event%22", "/nope%0D%0A", "/webhooks/a%0Ab/c%0Ad"):
        client.get(path)
    lines = capsys.readouterr().err.split("\n")
    found = [json.loads(line) for line in lines if line]
    assert len(found) > 50
    assert all(line["event"] != "forged" for line in found)
    assert not any("\x1b" in line or "\u2028" in line for line in lines)


def test_no_log_line_holds_a_key_or_a_secret(
    app: Flask, client: FlaskClient, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    for call in every_call(app, shop, stocked(client, shop)):
        call.send(client)
        client.open(call.path, method=call.method, query_string={"api_key": shop.secret_key})
        client.open(call.path, method=call.method, query_string={"api_key": "sk_" + "f" * 40})
    told = capsys.readouterr().err
    assert told
    keys = (shop.secret_key, shop.publishable_key, shop.write_key)
    for secret in (*keys, shop.segment.secrets[0], "f" * 40):
        assert secret not in told


# what browsers are told ------------------------------------------------------------------------

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_every_answer_says_what_it_is_and_is_not_to_be_guessed(
    app: Flask, client: FlaskClient, shop: Shop
) -> None:
    calls = every_call(app, shop, stocked(client, shop))
    pages = {
        "/docs": "text/html",
        "/demo": "text/html",
        "/metrics": "text/plain",
        "/snippet.js": "text/javascript",
    }
    for call in calls:
        for key in (call.key, "wrong"):
            answer = client.open(
                call.path, method=call.method, data=call.body, headers={"X-API-KEY": key}
            )
            assert answer.headers["X-Content-Type-Options"] == "nosniff", str(call)
            if call.rule != "/demo/<file>":
                assert answer.mimetype == pages.get(call.rule, "application/json"), str(call)
    missing = client.get(f"/{SCRIPT}")
    assert missing.mimetype == "application/json" and missing.headers["X-Content-Type-Options"]


@pytest.mark.parametrize("path", ["/docs", "/demo", "/demo?site=shop", f"/demo?site={SCRIPT}"])
def test_pages_run_nothing_that_was_not_there(client: FlaskClient, shop: Shop, path: str) -> None:
    answer = client.get(path)
    assert answer.mimetype == "text/html"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert SCRIPT not in answer.text


# statements -------------------------------------------------------------------------------------

QUOTING = [
    "'", "''", '"', "\\", "\\'", "%", "_", "%%", "%s", "%(site_id)s", "{vectors}", "{{", "$1", "$$",
    "';drop table events;--", "1' or '1'='1", "x') or (true", "/* */", "--", ";", "E'\\\\'",
    "a & b", "a | b", "!a", "a <-> b", "(a", "a:*", "*", "'a' & 'b'", "a\\", "[1 TO *]", "NOT a",
    "~", "^", "a^2", "a~2", "+a -b", "&&", "||", "\t", "a\nb", "N''", "U&'\\0041'", "^(a+)+$",
]  # fmt: skip


@pytest.fixture
def quoting(client: FlaskClient, shop: Shop) -> Shop:
    """A product for each of them, with the text in every field that takes any."""
    records: list[dict[str, Any]] = [
        {
            "product_id": f"p{number}", "title": f"title {text} {number}", "brand": text,
            "categories": [[text, "x"]], "tags": [text], "description": text, "type": text,
            "product_group_id": f"g{text}", "custom_attributes": {"text": text}, "color": text,
            "size": text, "material": text, "authors": [text], "collections": [text],
        }
        for number, text in enumerate(QUOTING)
    ]  # fmt: skip
    answer = client.post(
        "/v1/products", data=compact({"data": records}), headers={"X-API-KEY": shop.secret_key}
    )
    assert answer.status_code == 200, answer.text
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return shop


def listed(client: FlaskClient, shop: Shop, **asked: Any) -> set[str]:
    answer: Any = client.post(
        "/v1/recommendation/user_to_products",
        data=compact({"anonymous_id": "a1", "rows": 100, "dedupe_product_group_id": False} | asked),
        headers={"X-API-KEY": shop.publishable_key},
    )
    assert answer.status_code == 200, f"{asked}: {answer.text}"
    return {product["product_id"] for product in answer.json["data"]["products"]}


def test_metacharacters_are_kept_as_they_were_sent(client: FlaskClient, quoting: Shop) -> None:
    found = dict(rows(quoting.pool, "select product_id, record from products"))
    for number, text in enumerate(QUOTING):
        record = found[f"p{number}"]
        assert (record["brand"], record["tags"], record["custom_attributes"]) == (
            text, [text], {"text": text},
        )  # fmt: skip


@pytest.mark.parametrize("field", ["brand", "tags", "color", "custom_attributes.text"])
def test_a_quoted_text_finds_the_products_that_have_it_alone(
    client: FlaskClient, quoting: Shop, field: str
) -> None:
    for number, text in enumerate(QUOTING):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        assert listed(client, quoting, fq=f'{field}:"{quoted}"') == {f"p{number}"}, text


def test_metacharacters_in_any_field_of_a_request_find_nothing_else(
    client: FlaskClient, quoting: Shop
) -> None:
    for number, text in enumerate(QUOTING):
        assert listed(client, quoting, type=text) == {f"p{number}"}
        assert len(listed(client, quoting, exclude=[f"x{text}"])) == len(QUOTING)
        assert listed(client, quoting, anonymous_id=text, fl=[f"x{text}"]) <= {
            f"p{n}" for n in range(len(QUOTING))
        }


def test_metacharacters_in_ids_name_their_own_thing(client: FlaskClient, quoting: Shop) -> None:
    headers = {"X-API-KEY": quoting.secret_key}
    ids = {f"u{text}u": quote(f"u{text}u", safe="") for text in QUOTING}
    for sent_id in ids:
        body = compact({"data": [{"user_id": sent_id, "name": f"N {sent_id}"}]})
        assert client.post("/v1/users", data=body, headers=headers).status_code == 200, sent_id
    for sent_id, path in ids.items():
        answer: Any = client.get(f"/v1/users/{path}", headers=headers)
        assert answer.status_code == 200, sent_id
        assert answer.json["data"]["name"] == f"N {sent_id}"
        assert client.get(f"/admin/v1/visitors/{path}", headers=headers).status_code in (200, 404)
    kept = one(quoting.pool, "select count(*) from users where not deleted")
    for path in ids.values():
        client.delete(f"/v1/users/x{path}", headers=headers)
    assert one(quoting.pool, "select count(*) from users where not deleted") == kept == len(ids)


def test_a_search_of_metacharacters_is_answered(
    app: Flask, client: FlaskClient, quoting: Shop
) -> None:
    before = one(quoting.pool, "select count(*) from products")
    for path in ("/v1/search/search", "/v1/search/autocomplete"):
        if path not in {rule.rule for rule in app.url_map.iter_rules()}:
            continue
        for text in [*QUOTING, " ".join(QUOTING), "a " * 5000]:
            for name in ("q", "fq"):
                answer = client.post(
                    path,
                    data=compact({"anonymous_id": "a1", "q": "x"} | {name: text}),
                    headers={"X-API-KEY": quoting.publishable_key},
                )
                assert answer.status_code in (200, 422), f"{name}={text}: {answer.text}"
    assert one(quoting.pool, "select count(*) from products") == before
