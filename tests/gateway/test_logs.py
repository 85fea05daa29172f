"""What the log lines say, and what they must never say."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient
from supervisor import loggers

from gateway.running import supervisord
from gateway.telemetry import logs
from tests.builders import track
from tests.conftest import Shop
from tests.connectors.signing import segment

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Other tests log as if this one had not been."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], logs._role = handlers, logs.COMMAND
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """The lines written since the last look."""

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def requests(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in found if line["event"] == "request"]


# requests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "01J-abc.DEF_9", "trace:1=2/3+4", "x" * 64])
def test_a_request_keeps_the_id_it_came_with(client: FlaskClient, given: str) -> None:
    assert client.get("/nowhere", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "a b", "<i>", 'a"', "\u00e9", "-a", "a\tb", "${j}"]
)
def test_an_id_that_could_break_a_line_is_replaced(client: FlaskClient, given: str) -> None:
    made = client.get("/nowhere", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert made != given
    assert re.fullmatch("[0-9a-f]{16}", made)


def test_a_line_a_request_says_what_became_of_it(
    client: FlaskClient, shop: Shop, lines: Lines
) -> None:
    client.get("/admin/v1/ledger", headers={"X-API-KEY": shop.secret_key, "X-Request-Id": "r-1"})
    [line] = requests(lines())
    took, pid, at, size = (line.pop(name) for name in ("ms", "pid", "time", "bytes"))
    assert took > 0 and pid > 0 and at.endswith("Z") and size > 100
    assert line == {
        "event": "request",
        "level": "info",
        "role": "web",
        "request": "r-1",
        "method": "GET",
        "route": "/admin/v1/ledger",
        "status": 200,
        "key": "secret",
        "site": shop.site.site_id,
    }


def test_probes_are_silent_while_all_is_well(client: FlaskClient, lines: Lines) -> None:
    client.get("/healthz")
    client.get("/metrics")
    assert not requests(lines())


def test_the_line_of_a_delivery_names_it(client: FlaskClient, shop: Shop, lines: Lines) -> None:
    body = json.dumps(track()).encode()
    answer = client.post(
        f"/webhooks/segment/{shop.segment.public_id}",
        data=body,
        headers=segment(body, shop.segment.secrets[0]),
    )
    upload = client.post(
        "/v1/products",
        json={"data": [{"product_id": "p1", "title": "One"}]},
        headers={"X-API-KEY": shop.secret_key},
    )
    webhook, uploaded = requests(lines())
    assert webhook["delivery"] == answer.json["delivery"]  # type: ignore[index]
    assert webhook["source"] == shop.segment.source_id
    assert uploaded["delivery"] == upload.json["data"]["task_id"]  # type: ignore[index]
    assert uploaded["source"] == shop.api.source_id
    assert uploaded["received"] > 0


def test_nothing_secret_or_personal_is_written(
    client: FlaskClient, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    key, public = shop.secret_key, shop.publishable_key
    client.get(f"/v1/users/someone@example.com?api_key={key}")
    client.get("/v1/users/someone@example.com", headers={"Authorization": "Bearer s3cret-token"})
    client.get("/v1/wrong/someone@example.com?api_key=" + key)
    person = {"user_id": "someone@example.com", "custom_attributes": {"phone": "0170-555"}}
    client.post(f"/v1/users?api_key={key}", json={"data": [person]})
    client.post(f"/v1/interactions?api_key={public}", json={"data": [person | {"type": "nope"}]})
    client.post("/v1/interactions?api_key=wr0ng-key", json={"data": [person]})
    written = capsys.readouterr().err
    assert written.count('"event":"request"') == 6
    for text in (key, public, "s3cret-token", "someone", "0170", "wr0ng", "api_key"):
        assert text not in written


def test_a_failed_delivery_is_logged_without_the_row_that_postgres_quotes(
    app: Flask, client: FlaskClient, shop: Shop, lines: Lines
) -> None:
    with shop.pool.connection() as connection:
        connection.execute(
            "alter table users add constraint none_of_these check (user_id not like 'someone%')"
        )
        try:
            client.post(
                "/v1/users",
                json={"data": [{"user_id": "someone@example.com"}]},
                headers={"X-API-KEY": shop.publishable_key},
            )
            client.post(
                "/v1/users",
                json={"data": [{"user_id": "someone@example.com"}]},
                headers={"X-API-KEY": shop.secret_key},
            )
        finally:
            connection.execute("alter table users drop constraint none_of_these")
    failed = [line for line in lines() if line["event"] == "delivery failed"]
    assert failed and all("none_of_these" in line["exception"] for line in failed)
    assert all(line["delivery"] and line["site"] == shop.site.site_id for line in failed)
    assert "someone" not in json.dumps(failed)


# every writer, every form ------------------------------------------------------------------------


def test_gunicorn_and_supervisor_write_the_same_lines(lines: Lines) -> None:
    logs.configure("INFO", role="web", form="json")
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 7)
    handler = supervisord.Lines()
    handler.emit(loggers.LogRecord(loggers.LevelsByName.WARN, "stopped: web (%(how)s)", how="TERM"))
    logging.getLogger("psycopg.pool").warning("error connecting in 'serving': %s", "refused")
    logging.getLogger("httpx").info("HTTP Request: GET https://x/?key=1")
    booting, stopped, pool = lines()
    assert (booting["event"], booting["level"]) == ("Booting worker with pid: 7", "info")
    assert (stopped["event"], stopped["level"]) == ("stopped: web (TERM)", "warning")
    assert pool["logger"] == "psycopg.pool"
    assert all({"time", "role", "pid"} <= set(line) for line in (booting, stopped, pool))


def test_what_gunicorn_quotes_of_a_request_is_left_out(lines: Lines) -> None:
    logs.configure("INFO", role="web", form="json")
    log = logging.getLogger("gunicorn.error")
    log.error("Error handling request %s %s", "GET", "/v1/x?api_key=sk_1")
    log.warning("Invalid request from ip=1.2.3.4: Invalid Header: 'Authorization: Bearer x y'")
    failed, unreadable = lines()
    assert failed["event"] == "Error handling request GET /v1/x?…"
    assert unreadable["event"] == "an unreadable request was refused"


def test_details_of_postgres_errors_are_cut_from_whole_chains(
    connection: psycopg.Connection[Any], lines: Lines
) -> None:
    logs.configure("INFO", form="json")
    try:
        try:
            connection.execute("select 'someone@example.com'::int")
        except psycopg.Error as error:
            raise RuntimeError("applying failed") from error
    except RuntimeError:
        logs.log.exception("odd")
    [line] = lines()
    assert "RuntimeError: applying failed" in line["exception"]
    assert "InvalidTextRepresentation" in line["exception"]
    assert "LINE 1" not in line["exception"]


def test_text_keeps_to_its_line_and_leaves_the_terminal_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("INFO", role="worker", form="text")
    logs.log.info("hint lost", error="a\nlevel=critical \x1b[2J")
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "\x1b[2J" not in written
    assert "role=worker" in written


def test_half_a_character_is_no_reason_to_write_nothing(lines: Lines) -> None:
    logs.configure("INFO", form="json")
    logs.log.info("odd", pointer="/\ud800")
    assert lines()[0]["pointer"] == "/\ud800"


def test_levels_are_obeyed(lines: Lines) -> None:
    logs.configure("WARNING", form="json")
    logs.log.info("quiet")
    logging.getLogger("gunicorn.error").info("quiet")
    logs.log.warning("loud")
    assert [line["event"] for line in lines()] == ["loud"]
