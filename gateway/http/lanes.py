"""Who is served next: each tenant's requests wait in a lane of their own, and threads take from
the lanes in turn, so that one tenant's flood makes its own requests wait, not everybody's.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any

# Waiting requests of one tenant in one process; more are sent away at once.
MOST_WAITING = 64
# A tenant seen within that time counts as one who may come back any moment.
ACTIVE_S = 2.0

Work = Callable[[Any], Any]


class Lane:
    """One tenant's requests: those that wait, and how many threads work for it."""

    __slots__ = ("running", "seen", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Any] = deque()
        self.running = 0
        self.seen = 0.0


class Lanes:
    """Threads that take turns over lanes. While several tenants are active, none has more than
    half of the threads."""

    def __init__(self, threads: int, work: Work) -> None:
        self._threads, self._work = threads, work
        self._lanes: OrderedDict[Hashable, Lane] = OrderedDict()
        self._changed = threading.Condition()
        self._stopping = False
        self._workers = [
            threading.Thread(target=self._run, name=f"web-{number}", daemon=True)
            for number in range(threads)
        ]
        for worker in self._workers:
            worker.start()

    def put(self, tenant: Hashable, job: Any) -> bool:
        """Let a job wait for its turn; False where enough of that tenant's wait already."""
        with self._changed:
            lane = self._lanes.get(tenant)
            if lane is None:
                lane = self._lanes[tenant] = Lane()
            lane.seen = time.monotonic()
            if len(lane.waiting) >= MOST_WAITING:
                return False
            lane.waiting.append(job)
            self._changed.notify()
            return True

    def has_waiting(self, tenant: Hashable) -> bool:
        """Whether requests of that tenant wait."""
        lane = self._lanes.get(tenant)
        return lane is not None and bool(lane.waiting)

    def shutdown(self, wait: bool = False) -> None:
        """Take nothing more; gunicorn's name for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, until: float) -> bool:
        """After `shutdown`: whether every thread has come to an end by then (of time.monotonic)."""
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))
        return not any(worker.is_alive() for worker in self._workers)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            lane, job = taken
            try:
                self._work(job)
            finally:
                with self._changed:  # the place that is free now is this thread's
                    lane.running -= 1
                    lane.seen = time.monotonic()

    def _take(self) -> tuple[Lane, Any] | None:
        with self._changed:
            while not self._stopping:
                lane = self._next()
                if lane is not None:
                    lane.running += 1
                    return lane, lane.waiting.popleft()
                self._changed.wait()
            return None

    def _next(self) -> Lane | None:
        """The lane whose turn it is: the one served longest ago of those that may have a thread."""
        most = self._most_each()
        for tenant, lane in self._lanes.items():
            if lane.waiting and lane.running < most:
                self._lanes.move_to_end(tenant)
                return lane
        return None

    def _most_each(self) -> int:
        if len(self._lanes) > 1:
            self._forget_quiet_ones()
        return self._threads if len(self._lanes) < 2 else max(1, self._threads // 2)

    def _forget_quiet_ones(self) -> None:
        before = time.monotonic() - ACTIVE_S
        for tenant, lane in list(self._lanes.items()):
            if lane.seen < before and not lane.waiting and not lane.running:
                del self._lanes[tenant]
