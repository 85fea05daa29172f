"""A load generator that costs little beside what it measures: raw sockets, one thread.

Closed loop: each connection sends its next request when the last one is answered. Open loop:
requests start on a fixed schedule and latency counts from the scheduled start, so that a server
that stalls cannot hide it (no coordinated omission).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat

AT_ONCE = 0.0  # scheduled for whenever a connection is free


@dataclass
class Result:
    """Latencies in ms of the answered requests, and how they were answered."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def check(self) -> Result:
        """Itself, if every answer was a 2xx."""
        bad = {status: n for status, n in self.statuses.items() if not 200 <= status < 300}
        if bad:
            raise RuntimeError(f"not every answer was a 2xx: {bad}")
        return self


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a POST request on a connection that stays open."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, headers: dict[str, str]) -> bytes:
    """The bytes of a GET request on a connection that stays open."""
    lines = [f"GET {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def closed(port: int, requests: Callable[[], bytes], *, connections: int, seconds: float) -> Result:
    """As many requests as `connections` senders can have answered, one at a time each."""
    end = time.perf_counter() + seconds

    def due() -> Iterator[float]:
        while time.perf_counter() < end:
            yield AT_ONCE

    return _run(port, requests, due(), connections)


def each(port: int, requests: Sequence[bytes], *, connections: int) -> Result:
    """Every request once, as soon as a sender is free."""
    waiting = iter(requests)
    return _run(port, lambda: next(waiting), repeat(AT_ONCE, len(requests)), connections)


def open_loop(
    port: int,
    requests: Callable[[], bytes],
    *,
    connections: int,
    seconds: float,
    rate: float,
    forgiving: bool = False,
) -> Result:
    """`rate` requests a second, whatever the answers take. `forgiving`: a connection that the
    server closes is an answer of status 0, and another one takes its place."""
    start = time.perf_counter() + 0.1
    due = (start + n / rate for n in range(int(rate * seconds)))
    return _run(port, requests, due, connections, forgiving)


class _Connection:
    """One socket with at most one request under way."""

    def __init__(self, port: int, forgiving: bool = False) -> None:
        self.port, self.forgiving = port, forgiving
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.scheduled = 0.0

    def send(self, request: bytes, scheduled: float) -> None:
        self.scheduled = scheduled
        self.buffer = b""
        try:
            self.socket.sendall(request)
        except OSError:
            if not self.forgiving:
                raise

    def receive(self) -> int | None:
        """The status once the whole answer is here."""
        try:
            chunk = self.socket.recv(262_144)
        except OSError:
            if not self.forgiving:
                raise
            return 0
        if not chunk and self.forgiving:
            return 0
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.buffer += chunk
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        return int(head[9:12]) if _is_whole(head.lower(), body) else None


def _is_whole(head: bytes, body: bytes) -> bool:
    """An answer in chunks may not have line ends in its data; JSON on one line has none."""
    if b"\r\ntransfer-encoding: chunked" in head:
        return body.endswith(b"\r\n0\r\n\r\n")
    return len(body) >= int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])


def _run(
    port: int,
    requests: Callable[[], bytes],
    due: Iterator[float],
    connections: int,
    forgiving: bool = False,
) -> Result:
    result = Result()
    selector = selectors.DefaultSelector()
    idle = deque(_Connection(port, forgiving) for _ in range(connections))
    for connection in idle:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    began = time.perf_counter()
    upcoming = next(due, None)
    while upcoming is not None or len(idle) < connections:
        now = time.perf_counter()
        while upcoming is not None and idle and upcoming <= now:
            idle.popleft().send(requests(), upcoming or time.perf_counter())
            upcoming = next(due, None)
        waits = max(0.0, upcoming - now) if upcoming is not None and idle else 1.0
        for key, _ in selector.select(waits):
            _finish(key.data, result, idle, selector)
    result.seconds = time.perf_counter() - began
    selector.close()
    for connection in idle:
        connection.socket.close()
    return result


def _finish(
    connection: _Connection,
    result: Result,
    idle: deque[_Connection],
    selector: selectors.BaseSelector,
) -> None:
    status = connection.receive()
    if status is None:
        return
    if connection in idle:  # closed while nothing was asked
        idle.remove(connection)
    else:
        result.latencies.append((time.perf_counter() - connection.scheduled) * 1000)
        result.statuses[status] = result.statuses.get(status, 0) + 1
    if status == 0:
        selector.unregister(connection.socket)
        connection.socket.close()
        connection = _Connection(connection.port, forgiving=True)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    idle.append(connection)
