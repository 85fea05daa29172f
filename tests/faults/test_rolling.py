"""The web role replaced under load: not one request fails, on new connections or kept ones."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.faults.installation import Installation, Keys, installation
from tests.faults.senders import Sender
from tests.faults.test_killed_web import judge_effects, until_acknowledged
from tests.faults.traffic import senders
from tests.journeys.gateway_process import until

pytestmark = pytest.mark.heavy

RELOADS = 3


@dataclass
class Reader:
    """Asks for lists on one connection for as long as the server keeps it, as browsers do."""

    port: int
    headers: dict[str, str]
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    connections: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.connections += 1
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                while not self._stop.is_set() and self._asked(connection):
                    pass
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
            finally:
                connection.close()

    def _asked(self, connection: http.client.HTTPConnection) -> bool:
        """Whether the server keeps the connection for another request."""
        body = json.dumps({"anonymous_id": "a1"})
        connection.request("POST", "/v1/recommendation/user_to_products", body, self.headers)
        answer = connection.getresponse()
        answer.read()
        self.statuses[answer.status] += 1
        return not answer.will_close


@dataclass
class Load:
    sending: list[Sender]
    reading: list[Reader]

    def go_on(self, more: int) -> None:
        until_acknowledged(self.sending, more)

    def finish(self) -> None:
        for one in (*self.reading, *self.sending):
            one.finish()
        told = [dict(one.statuses) for one in (*self.sending, *self.reading)]
        print(f"\nstatuses {told}; connections {[one.connections for one in self.reading]}")
        assert [one.broken for one in self.sending] == [0] * len(self.sending)
        assert [one.broken for one in self.reading] == [[]] * len(self.reading)
        assert {status for statuses in told for status in statuses} == {200}


@pytest.fixture
def load(running: Installation, keys: Keys) -> Load:
    sending = senders(running, keys, seed=11)
    for sender in sending:
        sender.start()
    headers = {"X-API-KEY": keys.secret_key, "Content-Type": "application/json"}
    return Load(sending, [Reader(running.port, headers) for _ in range(3)])


def test_replacing_web_fails_no_request(running: Installation, keys: Keys, load: Load) -> None:
    for _ in range(RELOADS):
        before = gunicorns(running)
        load.go_on(20)
        running.processes["web"].send_signal(signal.SIGHUP)
        until(lambda: len(gunicorns(running) - before) == 1, 60, what="another gunicorn")  # noqa: B023
        until(lambda: not gunicorns(running) & before, 60, what="the end of the one before")  # noqa: B023
    load.go_on(20)
    load.finish()
    assert all(one.connections > 1 for one in load.reading)
    judge_effects(running, keys, load.sending)


def test_ending_worker_after_worker_fails_no_request(
    running: Installation, keys: Keys, load: Load
) -> None:
    for _ in range(RELOADS):
        worker = running.web_workers()[0]
        load.go_on(10)
        worker.terminate()
        until(lambda: not worker.is_running(), 30, what="its end")  # noqa: B023
        until(
            lambda: len(running.web_workers()) == running.web_workers_when_well, 30, what="another"
        )
    load.finish()
    judge_effects(running, keys, load.sending)


def test_where_the_new_code_does_not_start_the_old_serves_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = folder / "broken"
    (folder / "sitecustomize.py").write_text(
        f"import os\nif os.path.exists({str(broken)!r}):\n    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    with installation(folder, "web") as running:
        before = gunicorns(running)
        broken.touch()
        running.processes["web"].send_signal(signal.SIGHUP)
        log = running.log("web")
        until(lambda: "the new web did not start" in log.read_text(), 30, what="a word of it")
        assert gunicorns(running) == before
        assert running.status() == 200
        broken.unlink()
        running.processes["web"].send_signal(signal.SIGHUP)
        until(lambda: not gunicorns(running) & before, 60, what="the next try")
        assert running.status() == 200


def gunicorns(running: Installation) -> set[int]:
    return {one.pid for one in psutil.Process(running.processes["web"].pid).children()}
