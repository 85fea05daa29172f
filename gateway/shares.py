"""How much of the web role's time each tenant takes, known to all of its processes, and whose
requests therefore belong into the slow lane: a process of their own, which runs when the others
leave it a processor.

A tenant that takes more than the others together with whom it shares the machine does not slow
them down, whatever it sends; where nobody else is there it has the fast lane as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket
import tempfile
import time
from collections import deque
from collections.abc import Hashable
from pathlib import Path

import numpy as np

from schemas.database import Connection

TENANTS = 512  # two of equal number share one account
NAMED = 16  # accounts of what belongs to no site; nobody gives way to those
PROCESSES = 64
WINDOW_S = 2.0
EVERY_S = 0.25
# In seconds of work a second: what anybody may take, and how much more than all others.
FREE, MORE = 0.3, 1.5
# Waiting for Postgres is work for it. On a busy machine everybody waits longer, which must not make
# anybody look like a flood: so little of it counts.
WAITED, MOST_WAITED = 0.1, 10
# So long a tenant stays in the slow lane after it was last seen to take too much: there it takes
# less, which must not bring it back.
KEPT_S = 15.0
# A body that keeps a processor busy for a tenth of a second and more.
LARGE_BYTES = 256 * 1024

# Postgres gives way less: it may hold a lock that somebody waits for.
PROCESS_NICE, BACKEND_NICE = 15, 10

_SENT_AT_ONCE = 1024 * 1024


class Accounts:
    """Seconds taken by tenant, a row a process; made before the processes are forked."""

    def __init__(self) -> None:
        size = PROCESSES * TENANTS
        self._seconds = np.frombuffer(mmap.mmap(-1, size * 8)).reshape(PROCESSES, TENANTS)
        self._asked = np.frombuffer(mmap.mmap(-1, 8))  # when somebody last sent a small request
        self._slow_until = np.frombuffer(mmap.mmap(-1, TENANTS * 8))
        self._row = 0
        self._seen: deque[tuple[float, np.ndarray]] = deque()
        self._usage = np.zeros(TENANTS)
        self._others = np.zeros(TENANTS)

    def begin(self, row: int) -> None:
        """In each process, with a number of its own."""
        self._row = row % PROCESSES
        self._seen.clear()

    def charge(self, tenant: Hashable, worked: float, waited: float, *, small: bool) -> None:
        """Say that a thread of this process has worked and waited so long for a tenant."""
        self._seconds[self._row, _number(tenant)] += worked + WAITED * min(
            waited, MOST_WAITED * worked
        )
        if small:
            self._asked[0] = time.monotonic()

    def takes_more_than_others(self, tenant: Hashable) -> bool:
        """Whether it takes more than is good for those who are there as well, or did lately."""
        self._look()
        number, now = _number(tenant), time.monotonic()
        usage, others = self._usage[number], self._others[number]
        if others <= 0:
            return False
        if usage > FREE and usage > MORE * others and not self._another_is_slow(number, now):
            self.keep_slow(tenant)
        return bool(self._slow_until[number] > now)

    def keep_slow(self, tenant: Hashable) -> None:
        """For a while more: it exceeds its share, or what it sent still waits."""
        self._slow_until[_number(tenant)] = time.monotonic() + KEPT_S

    def _another_is_slow(self, number: int, now: float) -> bool:
        """Whoever suffers from a flood works longer too, and is not to blame."""
        slow = self._slow_until > now
        slow[number] = False
        return bool(slow.any())

    def somebody_waits_for_small_answers(self) -> bool:
        return bool(time.monotonic() - self._asked[0] < WINDOW_S)

    def _look(self) -> None:
        now = time.monotonic()
        if self._seen and now < self._seen[-1][0] + EVERY_S:
            return
        total = self._seconds.sum(axis=0)
        self._seen.append((now, total))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW_S:
            self._seen.popleft()
        began, before = self._seen[0]
        if now > began:
            self._usage = (total - before) / (now - began)
            self._others = self._usage[NAMED:].sum() - self._usage
            self._others[:NAMED] += self._usage[:NAMED]


def _number(tenant: Hashable) -> int:
    """Sites have the accounts behind those of the few lanes that have names."""
    if isinstance(tenant, int):
        return NAMED + tenant % (TENANTS - NAMED)
    return hash(tenant) % NAMED


class Lane:
    """A way to hand a connection, with what it has sent so far, to another process."""

    def __init__(self) -> None:
        self.inbox, self._outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.inbox, self._outbox):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_AT_ONCE)

    def send(self, connection: socket.socket, received: bytes) -> bool:
        """Whether it was taken; if not, it stays with us."""
        try:
            socket.send_fds(self._outbox, [received], [connection.fileno()])
        except OSError:
            return False
        return True

    def receive(self) -> tuple[socket.socket, bytes] | None:
        """The next one, None where another process was faster."""
        try:
            received, files, _, _ = socket.recv_fds(self.inbox, _SENT_AT_ONCE, 1)
        except OSError:
            return None
        return (socket.socket(fileno=files[0]), received) if files else None


class SlowSeats:
    """Which of the processes are the slow ones; the kernel frees a seat when its holder ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)

    def take(self, seats: int) -> bool:
        """Whether this process got one of so many."""
        for number in range(seats):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError:
                continue
            return True
        return False


def slow_processes(fast: int) -> int:
    """How many slow ones go with so many fast ones."""
    return max(1, fast // 4)


def yield_processor() -> None:
    """Let every other process run first."""
    os.nice(PROCESS_NICE)


def yield_backend(connection: Connection) -> None:
    """The same for the process that works for us in a Postgres on this machine, where we may."""
    pid = connection.info.backend_pid
    if not connection.info.host.startswith("/"):
        return
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres:"):
            os.setpriority(os.PRIO_PROCESS, pid, BACKEND_NICE)
