"""What each process says of itself to `/metrics`: memory, processor time, files, its pools.

One thread a process refreshes it; the figures of a role are sums over its living processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import psutil
from prometheus_client import Counter, Gauge
from psycopg_pool import ConnectionPool

EVERY_S = 5.0

PROCESSES = Gauge(
    "attune_processes", "Processes of a role on this machine", ["role"], multiprocess_mode="livesum"
)
RESIDENT = Gauge(
    "attune_resident_bytes",
    "Memory of a role's processes; what forks share counts for each",
    ["role"],
    multiprocess_mode="livesum",
)
OPEN_FILES = Gauge(
    "attune_open_files", "Open file descriptors of a role", ["role"], multiprocess_mode="livesum"
)
THREADS = Gauge("attune_threads", "Threads of a role", ["role"], multiprocess_mode="livesum")
CPU = Counter("attune_cpu_seconds", "Processor time that a role has used", ["role"])

CONNECTIONS = Gauge(
    "attune_pool_connections",
    "Postgres connections in the pools of a role: in use and idle",
    ["role", "pool", "state"],
    multiprocess_mode="livesum",
)
WAITING = Gauge(
    "attune_pool_waiting",
    "Threads that wait for a connection of a pool",
    ["role", "pool"],
    multiprocess_mode="livesum",
)
POOL_COUNTS = {
    "requests_num": Counter(
        "attune_pool_requests", "Connections asked for of a pool", ["role", "pool"]
    ),
    "requests_wait_ms": Counter(
        "attune_pool_wait_seconds", "Time spent waiting for a connection", ["role", "pool"]
    ),
    "requests_errors": Counter(
        "attune_pool_timeouts", "Waits for a connection that were in vain", ["role", "pool"]
    ),
    "connections_lost": Counter(
        "attune_pool_lost", "Connections that turned out to be broken", ["role", "pool"]
    ),
}
IN_SECONDS = {"requests_wait_ms": 0.001}

Pools = Callable[[], Iterable[ConnectionPool[Any]]]


def watch(role: str, pools: Pools = tuple) -> None:
    """Keep this process's figures fresh until it ends; after the last fork."""
    watcher = Watcher(role, pools)
    threading.Thread(target=watcher.run, name="figures", daemon=True).start()


class Watcher:
    """The figures of one process."""

    def __init__(self, role: str, pools: Pools = tuple) -> None:
        self._role, self._pools = role, pools
        self._process = psutil.Process()
        self._counted: dict[tuple[str, str], float] = {}

    def run(self) -> None:
        """Look again and again."""
        pause = threading.Event()
        while not pause.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Set every figure to what it is now."""
        with self._process.oneshot():
            used = self._process.cpu_times()
            PROCESSES.labels(self._role).set(1)
            RESIDENT.labels(self._role).set(self._process.memory_info().rss)
            OPEN_FILES.labels(self._role).set(self._process.num_fds())
            THREADS.labels(self._role).set(self._process.num_threads())
        self._count(CPU.labels(self._role), "cpu", "", used.user + used.system)
        for pool in self._pools():
            self._look_at(pool)

    def _look_at(self, pool: ConnectionPool[Any]) -> None:
        found = pool.get_stats()
        name = pool.name
        idle = found.get("pool_available", 0)
        CONNECTIONS.labels(self._role, name, "idle").set(idle)
        CONNECTIONS.labels(self._role, name, "used").set(found.get("pool_size", 0) - idle)
        WAITING.labels(self._role, name).set(found.get("requests_waiting", 0))
        for key, counter in POOL_COUNTS.items():
            value = found.get(key, 0) * IN_SECONDS.get(key, 1)
            self._count(counter.labels(self._role, name), key, name, value)

    def _count(self, counter: Counter, key: str, name: str, value: float) -> None:
        """Raise a counter to a sum that something else keeps."""
        before = self._counted.get((key, name), 0.0)
        counter.inc(max(0.0, value - before))
        self._counted[key, name] = value
