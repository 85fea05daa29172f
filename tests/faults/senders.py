"""Senders that never give up: each repeats a body until a 2xx, as Segment does, and keeps a log."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

PAUSE_S = 0.05  # after a refusal, so that a server that is away is not asked a million times
TRIES = 400
GIVEN_UP = frozenset((400, 401, 403, 404, 405, 413, 415, 422))

Headers = Callable[[bytes], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A body that was answered with 2xx."""

    body: bytes
    records: int
    tries: int
    answer: dict[str, Any]


@dataclass
class Sender:
    """Posts bodies one after another, each on a connection of its own."""

    port: int
    path: str
    headers: Headers
    bodies: Iterator[list[dict[str, Any]]]
    encode: Callable[[list[dict[str, Any]]], bytes]
    log: list[Acknowledged] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0  # requests that were sent whole and never answered
    waiting: int | None = None  # the local port of a request that is sent whole and not answered
    faults: list[bytes] = field(default_factory=list)  # what 500s said
    error: str | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Ask it to end after the present body, and wait for that."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join(timeout=60)
        assert not self._thread.is_alive(), f"{self.path} was never acknowledged: {self.statuses}"
        assert self.error is None, self.error

    def _run(self) -> None:
        for records in self.bodies:
            if self._stop.is_set() or not self._delivered(records):
                return

    def _delivered(self, records: list[dict[str, Any]]) -> bool:
        body = self.encode(records)
        for tries in range(1, TRIES):
            status, answer = self._post(body)
            self.statuses[status] += 1
            if 200 <= status < 300:
                self.log.append(Acknowledged(body, len(records), tries, json.loads(answer)))
                return True
            if status == 500:
                self.faults.append(answer)
            if status in GIVEN_UP:
                self.error = f"{self.path}: {status} {answer[:500]!r}"
                return False
            threading.Event().wait(PAUSE_S)
        self.error = f"{self.path}: no 2xx in {TRIES} tries: {self.statuses}"
        return False

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """(status, body) of the answer; status 0 where none came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", self.path, body, self.headers(body))
            self.waiting = connection.sock.getsockname()[1]
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.broken += self.waiting is not None
            return 0, b""
        finally:
            self.waiting = None
            connection.close()
