"""What does a whole installation with 100,000 products need: memory at work, CPU at rest?"""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.installation import Installation, installation
from bench.report import Line, at_most, known, note

PRODUCTS = 100_000
VISITORS = 500
REQUESTS = 300
IDLE_S = 60
TICKS = os.sysconf("SC_CLK_TCK")


def run() -> Iterator[Line]:
    with installation() as on:
        _work(on)
        processes = _family(on.pid)
        memory = sum(_pss_kb(pid) for pid in processes) / 1024
        yield at_most("memory of all processes, 100,000 products", memory, "MiB (PSS)", 3072)
        note(f"footprint: idle for {IDLE_S} s")
        time.sleep(20)  # what the work above has started may end
        before, began = _cpu_s(on.pid), time.monotonic()
        time.sleep(IDLE_S)
        share = (_cpu_s(on.pid) - before) / (time.monotonic() - began)
        yield at_most("idle CPU, services included", share * 100, "% of one core", 2)
        yield known("processes", len(processes), "processes")


def _work(on: Installation) -> None:
    """Products, a fitted model, and lists and a search query through every web process."""
    keys, _ = on.shop(PRODUCTS, VISITORS)
    for number in range(REQUESTS):
        body: dict[str, object] = {"anonymous_id": f"v{number % VISITORS}", "rows": 24}
        if number % 3 == 0:
            search = {"type": "search", "search": {"keywords": f"red mug {number}"}}
            body["additional_interactions"] = [search | {"anonymous_id": "x"}]
        request = urllib.request.Request(
            f"http://127.0.0.1:{on.port}/v1/recommendation/user_to_products"
            f"?api_key={keys['publishable_key']}",
            data=json.dumps(body).encode(),
        )
        urllib.request.urlopen(request).close()


# processes ---------------------------------------------------------------------------------------


def _family(root: int) -> list[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(_stat(int(entry.name))[1], []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _stat(pid: int) -> list[int]:
    """Fields 3 … of /proc/PID/stat as numbers: state (0), parent, …"""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *(int(field) for field in fields[1:])]


def _cpu_s(root: int) -> float:
    """User and system seconds of the family, children that ended included."""
    seconds = 0.0
    for pid in _family(root):
        with contextlib.suppress(OSError):
            seconds += sum(_stat(pid)[11:15]) / TICKS
    return seconds


def _pss_kb(pid: int) -> int:
    """Proportional set size: shared pages are shared out among those who map them."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
