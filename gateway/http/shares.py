"""How much of the web role's time each tenant takes, known to all of its processes, and whose
requests therefore belong into the slow lane: a process of their own, which runs when the others
leave it a processor.

A tenant that takes more than the others together with whom it shares the machine does not slow
them down, whatever it sends; where nobody else is there it has the fast lane as well.
"""

from __future__ import annotations

import mmap
import socket
import time
from collections import deque
from collections.abc import Hashable

import numpy as np

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

# A loop that has been at work for that long is kept from it by a thread that holds the interpreter.
BUSY_S = 0.02
GONE = 1 << 30  # connections that an empty seat is said to have: nobody chooses it

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


class Inbox:
    """A way to hand a connection, with what it has sent so far, to another process."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.reader, self._writer):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_AT_ONCE)

    def send(self, connection: socket.socket, received: bytes) -> bool:
        """Whether it was taken; if not, it stays with us."""
        try:
            socket.send_fds(self._writer, [received], [connection.fileno()])
        except OSError:
            return False
        return True

    def receive(self) -> tuple[socket.socket, bytes] | None:
        """The next one, None where there is none."""
        try:
            received, files, _, _ = socket.recv_fds(self.reader, _SENT_AT_ONCE, 1)
        except OSError:
            return None
        return (socket.socket(fileno=files[0]), received) if files else None


class Seats:
    """The places of the web processes: each with an inbox that survives its process, and with how
    many connections it has. The first ones are the slow ones.

    A loop that never blocks is the first to accept nearly always: left alone, one process would get
    all connections and the others' processors stay idle.
    """

    def __init__(self, seats: int, slow: int) -> None:
        self.inboxes = [Inbox() for _ in range(seats)]
        self.slow, self.fast = range(slow), range(slow, seats)
        self._open = np.frombuffer(mmap.mmap(-1, seats * 8), np.int64)
        self._open[:] = GONE
        self._woke = np.frombuffer(mmap.mmap(-1, seats * 8))
        self._by_worker: dict[object, int] = {}

    def take(self, worker: object) -> int:
        """The lowest free seat; the arbiter gives one to each worker, before it is forked."""
        free = sorted(set(range(len(self.inboxes))) - set(self._by_worker.values()))
        # More workers than seats, where somebody asked gunicorn for more: two share an inbox.
        seat = self._by_worker[worker] = free[0] if free else self.fast[-1]
        return seat

    def leave(self, worker: object) -> None:
        """The arbiter has seen its end."""
        seat = self._by_worker.pop(worker, None)
        if seat is not None:
            self._open[seat], self._woke[seat] = GONE, 0

    def waits(self, seat: int, connections: int) -> None:
        """This seat's loop has so many connections and waits for the next thing to happen."""
        self._open[seat], self._woke[seat] = connections, 0

    def wakes(self, seat: int) -> None:
        """Something has happened: until the loop waits again, whoever comes waits for it."""
        self._woke[seat] = time.monotonic()

    def emptier(self, connections: int) -> int | None:
        """A fast seat with at least two connections less, that looks into its inbox at once."""
        fewest = self._fewest(self.fast)
        return fewest if self._open[fewest] < connections - 1 else None

    def of_lane(self, *, slow: bool) -> int:
        """The seat of the slow or the fast ones with the fewest connections."""
        return self._fewest(self.slow if slow else self.fast)

    def send(self, seat: int, connection: socket.socket, received: bytes) -> bool:
        """Put a connection into the inbox there; whether it was taken."""
        self._open[seat] += 1  # until its loop counts them itself
        return self.inboxes[seat].send(connection, received)

    def _fewest(self, seats: range) -> int:
        before = time.monotonic() - BUSY_S
        busy = [bool(0 < self._woke[seat] < before) for seat in seats]
        return min(zip(busy, self._open[seats.start : seats.stop], seats, strict=True))[-1]


def processes(fast: int) -> tuple[int, int]:
    """How many processes there are in all with so many fast ones, and how many of them are slow."""
    slow = max(1, fast // 4)
    return fast + slow, slow
