"""`verify`: passes on this gateway, names what another host answers wrongly, leaves nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from gateway import verify as wire
from gateway.__main__ import cli
from gateway.commands.verify import PREFIX
from gateway.verify import Made
from tests.conftest import Shop
from tests.journeys.gateway_process import free_port

Application = Callable[..., Any]
Change = Callable[[Response], None]


class Quiet(WSGIRequestHandler):
    """Writes no line a request."""

    def log(self, *_: Any) -> None:
        pass


@contextmanager
def served(application: Application) -> Iterator[str]:
    """A host of this application; yields its address."""
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def verify(url: str, key: str, *words: str) -> Result:
    return CliRunner().invoke(cli, ["verify", url, "--key", key, *words])


def told(application: Application, key: str) -> dict[str, Any]:
    """What `--json` says of a host, with the exit code it ends with."""
    with served(application) as url:
        result = verify(url, key, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    return found | {"exit_code": result.exit_code}


def failed(answer: dict[str, Any]) -> set[str]:
    return {one["check"] for one in answer["checks"] if not one["passed"]}


def nothing_is_left(client: FlaskClient, shop: Shop) -> None:
    headers = {"X-API-KEY": shop.secret_key}
    assert client.get("/v1/products/_ids", headers=headers).status_code == 404
    assert client.get("/v1/users/_ids", headers=headers).status_code == 404
    events = client.get("/admin/v1/events", headers=headers).json
    assert events and events["events"] == []


# this gateway ------------------------------------------------------------------------------------


def test_this_gateway_passes_and_keeps_nothing(app: Flask, client: FlaskClient, shop: Shop) -> None:
    answer = told(app, shop.secret_key)
    assert failed(answer) == set()
    assert (answer["exit_code"], answer["key"], answer["left"]) == (0, "secret", [])
    assert answer["passed"] == len(wire.for_secret_key(Made("x"))) > 60
    nothing_is_left(client, shop)


def test_with_a_publishable_key_nothing_is_stored_at_all(
    app: Flask, client: FlaskClient, shop: Shop
) -> None:
    answer = told(app, shop.publishable_key)
    assert (failed(answer), answer["exit_code"], answer["key"]) == (set(), 0, "publishable")
    assert "scopes" in {one["group"] for one in answer["checks"]}
    headers = {"X-API-KEY": shop.secret_key}
    ledger = client.get("/admin/v1/ledger", headers=headers).json
    assert ledger and ledger["total"]["received"] == 0


def test_in_words_each_check_is_a_line_and_no_key_is_shown(app: Flask, shop: Shop) -> None:
    with served(app) as url:
        said = verify(f"{url}/v1/", shop.secret_key)
    lines = [line for line in said.stdout.splitlines() if line.startswith(("pass", "FAIL"))]
    assert len(lines) == len(wire.for_secret_key(Made("x")))
    assert f"{len(lines)} of {len(lines)} checks pass with this secret key." in said.stdout
    assert f"Cleaned up: products, users and interactions of {PREFIX}" in said.stdout
    assert shop.secret_key not in said.output


@pytest.mark.parametrize("kind", ["secret", "publishable"])
def test_a_check_is_known_by_its_group_and_name(kind: str) -> None:
    checks = (wire.for_secret_key if kind == "secret" else wire.for_publishable_key)(Made("x"))
    names = [(one.group, one.name) for one in checks]
    assert len(names) == len(set(names))


# hosts that answer wrongly -----------------------------------------------------------------------


def spoiled(application: Application, applies: Callable[[Request], bool], change: Change) -> Any:
    """A host like this gateway but for some of its answers."""

    def host(environ: Any, start_response: Any) -> Any:
        asked = Request(environ)
        answer = Response.from_app(application, environ, buffered=True)
        if applies(asked):
            change(answer)
        return answer(environ, start_response)

    return host


def saying(change: Callable[[dict[str, Any]], object], only: int | None = None) -> Change:
    """Changes the JSON of answers, of one status."""

    def changed(answer: Response) -> None:
        if only in (None, answer.status_code):
            body = json.loads(answer.get_data())
            change(body)
            answer.set_data(json.dumps(body))

    return changed


def without_header(name: str) -> Change:
    return lambda answer: answer.headers.remove(name)


def a_page(answer: Response) -> None:
    answer.status_code = 500
    answer.set_data("<h1>Internal Server Error</h1>")


def at(path: str, method: str = "POST", query: str = "") -> Callable[[Request], bool]:
    return lambda asked: (
        (asked.method, asked.path) == (method, path) and query in asked.query_string.decode()
    )


TO_VISITOR, SEARCH = wire.TO_VISITOR, wire.SEARCH
TRENDING = "/v1/recommendation/user_to_trending"

WRONG: dict[str, tuple[Callable[[Request], bool], Change, set[str]]] = {
    "another message": (
        at(TO_VISITOR), saying(lambda body: body.update(message="who are you?"), 401),
        {"no key", "wrong key in the header", "wrong key in the query"},
    ),
    "no key in the query": (
        at(TO_VISITOR, query="api_key="), a_page, {"key in the query", "wrong key in the query"}
    ),
    "no age of preflights": (
        at(SEARCH, "OPTIONS"), without_header("Access-Control-Max-Age"), {f"preflight of {SEARCH}"}
    ),
    "errors that no page reads": (
        at(SEARCH), lambda answer: answer.headers.set("Access-Control-Allow-Origin", "null"),
        {"a refusal"},
    ),
    "errors of a success": (
        at("/v1/interactions"), saying(lambda body: body.update(errors=["none"]), 200),
        {"upload", "beacon", "every type with its fields", "of nobody"},
    ),
    "lines of another form": (
        at("/v1/products"), saying(lambda body: body.update(data=["[1] rating: too high"]), 422),
        {"a bad record", "an unknown field", "broken JSON", "no body"},
    ),
    "no task": (
        at("/v1/users"), saying(lambda body: body.update(data={}), 200), {"upload", "task"}
    ),
    "ids of others": (
        at("/v1/users/_ids", "GET"), saying(lambda body: body["data"].update(ids=["u1"])), {"ids"}
    ),
    "a detail without places": (
        at(TO_VISITOR), saying(lambda body: body.update(detail=["rows is wrong"]), 422),
        {"an unknown field", "rows that are no number"},
    ),
    "no id of the answer": (
        at(TRENDING), saying(lambda body: body["data"].pop("miso_id")), {"user_to_trending"}
    ),
    "no spelling": (
        at(SEARCH), saying(lambda body: body["data"].update(spellcheck=None), 200),
        {"everything", "nothing found"},
    ),
    "another order": (
        at("/v1/search/mget"), saying(lambda body: body["data"]["products"].reverse()), {"by id"}
    ),
    "a page of an error": (at("/v1/interactions", "DELETE"), a_page, {"erase a user"}),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_host_answers_wrongly_is_named(app: Flask, shop: Shop, wrong: str) -> None:
    applies, change, expected = WRONG[wrong]
    answer = told(spoiled(app, applies, change), shop.secret_key)
    assert failed(answer) == expected
    assert answer["exit_code"] == 1
    assert all(one["wrong"] for one in answer["checks"] if not one["passed"])


def test_a_publishable_key_that_may_delete_is_named(app: Flask, shop: Shop) -> None:
    def allowed(answer: Response) -> None:
        answer.status_code = 200

    host = spoiled(app, at("/v1/products/_delete"), allowed)
    assert failed(told(host, shop.publishable_key)) == {"POST /v1/products/_delete"}


@pytest.mark.parametrize(
    "body",
    [
        "", "<h1>Welcome</h1>", "[]", "5", "[" * 100_000,
        '{"message": 5, "errors": "no", "data": [{"products": 1}], "detail": [1]}',
        '{"message": "success", "data": {"ids": 5, "took": true, "products": [5], "miso_id": 5}}',
        '{"message": "success", "data": {"took": 1, "products": [], "spellcheck": [], "total": 0, '
        '"start": 0, "miso_id": "00000000-0000-0000-0000-000000000001", "facet_counts": 1}}',
    ],
    ids=lambda body: ascii(body[:24]),
)  # fmt: skip
def test_a_host_of_another_kind_is_judged_and_never_a_traceback(body: str) -> None:
    answer = told(Response(body, mimetype="application/json"), "any")
    assert answer["exit_code"] == 1
    assert {"upload", "a bad record", "everything", "by id"} <= failed(answer)


# hosts that do not answer ------------------------------------------------------------------------


def test_a_host_that_does_not_answer_is_one_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    said = verify(url, "any")
    assert said.exit_code == 1
    assert said.output.startswith(f"Error: {url} does not answer GET /v1/products/_ids: ")
    assert len(said.output.splitlines()) == 1


def test_a_host_that_goes_away_is_left_clean(app: Flask, client: FlaskClient, shop: Shop) -> None:
    def hangs_up(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == TRENDING:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return app(environ, start_response)

    with served(hangs_up) as url:
        said = verify(url, shop.secret_key)
    assert said.exit_code == 1
    assert f"{url} does not answer POST {TRENDING}" in said.output
    nothing_is_left(client, shop)


def test_what_cannot_be_taken_away_is_said(app: Flask, shop: Shop) -> None:
    host = spoiled(app, at("/v1/products/_delete"), a_page)
    with served(host) as url:
        said = verify(url, shop.secret_key)
    assert said.exit_code == 1
    assert f"Delete by hand what begins with {PREFIX}" in said.stdout
    assert "products of attune-verify-" in said.stderr and "may be left" in said.stderr


def test_a_wrong_key_is_one_sentence(app: Flask, shop: Shop) -> None:
    with served(app) as url:
        said = verify(url, "sk_wrong")
    assert said.exit_code == 1
    assert said.stderr.endswith(f"Error: {url} does not know this key: 401 invalid api key.\n")
    assert said.stdout == ""


@pytest.mark.parametrize(
    ("url", "key"),
    [("ftp://host", "k"), ("host", "k"), ("http://", "k"), ("http://a:b", "k"),
     ("http://host", ""), ("http://host", "ключ"), ("http://host", "a\nb")],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_address_or_no_key_is_refused(url: str, key: str) -> None:
    assert verify(url, key).exit_code == 2


def test_a_write_key_is_told_what_it_is_for(shop: Shop) -> None:
    refused = verify("http://127.0.0.1:9", shop.write_key)
    assert refused.exit_code == 1
    assert "collector" in refused.stderr and "pk_" in refused.stderr
