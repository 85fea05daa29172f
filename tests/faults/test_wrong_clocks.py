"""Machines whose clocks are a day ahead or behind: what they take in is as if they were right."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.connectors.signing import segment as signature
from tests.faults.installation import Installation, Keys, installation
from tests.faults.test_killed_web import judge_effects, until_acknowledged
from tests.faults.traffic import senders
from tests.hostile.calls import compact
from tests.journeys.gateway_process import until

pytestmark = pytest.mark.heavy

# The package brings the library, which is all that is used of it.
PACKAGE = importlib.metadata.distribution("libfaketime")
LIBRARY = PACKAGE.locate_file("libfaketime/vendor/libfaketime/src/libfaketime.so.1")

AHEAD, BEHIND, RIGHT = "+1d", "-1d", "+0"
TOLD = "the clock of this machine is not Postgres's"


@pytest.fixture
def running(
    folder: Path, in_its_environment: Callable[[Installation], None]
) -> Iterator[Installation]:
    with installation(folder) as made:
        in_its_environment(made)
        yield made


@pytest.fixture
def start(running: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Starts a role whose clock is wrong; what measures time spent is right."""

    def started(role: str, shift: str) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(LIBRARY))
            patch.setenv("FAKETIME", shift)
            patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            running.start(role)
        if role == "web":
            running.wait_until_ready()

    return started


def test_what_wrong_clocks_take_in_is_as_if_they_were_right(
    running: Installation, keys: Keys, start: Callable[[str, str], None]
) -> None:
    sending = senders(running, keys, seed=13)
    start("web", AHEAD)
    for sender in sending:
        sender.start()
    until_acknowledged(sending, 60)
    running.stop("web")
    start("web", BEHIND)
    until_acknowledged(sending, 60)
    for sender in sending:
        sender.finish()
    assert {status for sender in sending for status in sender.statuses} <= {0, 200}
    assert TOLD in running.log("web").read_text()
    judge_effects(running, keys, sending)

    hours = {datetime.now(UTC).hour}
    for shift in (BEHIND, AHEAD, RIGHT):
        running.stop("web")
        start("web", shift)
        touched = one_of_each(running, keys, shift)
        assert touched == [f"seen {shift}"]  # the next answer has it
    hours.add(datetime.now(UTC).hour)
    with running.database() as connection:
        statement = "select record->>'title' from products where product_id = 'undated'"
        assert connection.execute(statement).fetchall() == [(f"Mug of {RIGHT}",)]
        statement = "select count(*) from events e join actors a using (site_id, actor_id) "
        [(repeats,)] = connection.execute(statement + "where a.sent_id = 'repeats'").fetchall()
        assert 1 <= repeats <= len(hours)
        statement = "select count(*) from deliveries where received_at not between %s and %s"
        near = [datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)]
        assert connection.execute(statement, near).fetchall() == [(0,)]
    assert running.exceptions("web") == []


def one_of_each(running: Installation, keys: Keys, shift: str) -> list[str]:
    """An upload without a date, a message without id and time, a click; returns what the clicking
    visitor's history then has."""
    headers = {"X-API-KEY": keys.secret_key}
    uploads = [
        {"product_id": "undated", "title": f"Mug of {shift}"},
        {"product_id": f"seen {shift}", "title": "Hat"},
    ]
    click = {"type": "click", "product_ids": [f"seen {shift}"], "anonymous_id": f"v {shift}"}
    ask(running, "/v1/products", {"data": uploads}, headers)
    repeat = {"type": "page", "anonymousId": "repeats"}
    signed = signature(compact(repeat), keys.segment_secret)
    ask(running, keys.segment_path, repeat, signed)
    ask(running, "/v1/interactions", {"data": [click]}, headers)
    path, visitor = "/v1/recommendation/user_to_history", {"anonymous_id": f"v {shift}"}
    answer = ask(running, path, visitor, headers)
    return [product["product_id"] for product in answer["data"]["products"]]


def ask(running: Installation, path: str, body: Any, headers: dict[str, str]) -> Any:
    answer = httpx.post(
        running.url + path, content=compact(body), headers=headers, timeout=30, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_clock_ahead_takes_no_slot_of_tomorrow(
    running: Installation, keys: Keys, start: Callable[[str, str], None]
) -> None:
    """The right one would find it taken, a day later."""
    start("clock", AHEAD)
    with running.database() as connection:
        claimed = "select count(*) from task_runs"
        until(lambda: connection.execute(claimed).fetchone() != (0,), 60, what="a claimed slot")
        later = claimed + " where slot > now()"
        assert connection.execute(later).fetchall() == [(0,)]
