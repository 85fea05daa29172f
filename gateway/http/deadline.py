"""Deadlines for what is read from a sender's socket: the door's bodies, the worker's headers.

A socket's own timeout cannot do that: each dripped byte would start it again.
"""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Entry:
    """One socket that is read; `passed` says that it was for too long."""

    connection: socket.socket | None
    passed: bool = False


@dataclass(slots=True)
class Watch:
    """One thread a process that ends reading from late sockets, started at the first use."""

    _waiting: list[tuple[float, int, Entry]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _thread: threading.Thread | None = None

    def add(self, connection: socket.socket, seconds: float) -> Entry:
        """From now the socket may be read for so long."""
        at = time.monotonic() + seconds
        entry = Entry(connection)
        with self._changed:
            heapq.heappush(self._waiting, (at, next(self._numbers), entry))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bodies", daemon=True)
                self._thread.start()
            elif self._waiting[0][2] is entry:
                self._changed.notify()
        return entry

    def remove(self, entry: Entry) -> None:
        """What was to be read has come."""
        with self._changed:
            entry.connection = None

    def _run(self) -> None:
        with self._changed:
            while True:
                self._end_late(time.monotonic())
                next_at = self._waiting[0][0] - time.monotonic() if self._waiting else None
                self._changed.wait(next_at)

    def _end_late(self, now: float) -> None:
        """What came in time stays until its deadline too: an emptied heap would have the next
        socket, and so each one, wake the thread."""
        while self._waiting and self._waiting[0][0] <= now:
            entry = heapq.heappop(self._waiting)[2]
            if entry.connection is not None:
                entry.passed = True
                _end_reading(entry.connection)


def _end_reading(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        return  # it is gone already, which ends the reading too


watch = Watch()
