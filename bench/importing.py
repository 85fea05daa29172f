"""How fast is an archive in beside COPY of the same rows, with how much memory, and what do lists
notice of a bulk load?"""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from bench import catalog, interactions, load, recommend
from bench.report import Line, against, at_most, known, note, percentile
from bench.stage import Stage, stage, web

EVENTS = 100_000
ROUNDS = 3
LARGE = 1_000_000
EVERY_S = 0.1
PRODUCTS = 20_000
BULK = 10_000
RATE = 50
SECONDS = 15.0
UPLOADS = 3 * 30


def run() -> Iterator[Line]:
    with stage() as on:
        yield from _rate(on)
        yield from _memory(on)
    with stage() as on:
        yield from _beside_serving(on)


# rate -------------------------------------------------------------------------------------------


def _rate(on: Stage) -> Iterator[Line]:
    ours, copies = [], []
    for number in range(ROUNDS):
        note(f"importing: round {number + 1} of {ROUNDS}")
        interactions.empty(on)
        path = _archive(on.home / f"events-{number}.jsonl", EVENTS)
        ours.append(_import(on, path)["rate"])
        copies.append(EVENTS / interactions.copy_s(on))
    rate, bare = percentile(ours, 50), percentile(copies, 50)
    yield against(f"import of {EVENTS:,} events", rate, "events/s", bare, least=0.4)
    yield known("import, goal 15000 events/s", rate, "events/s")


def _archive(path: Path, count: int) -> Path:
    """Events of `/v1` as the browser SDK writes them, about 650 bytes each."""
    with path.open("w") as file:
        file.writelines(json.dumps(interactions.interaction(n)) + "\n" for n in range(count))
    return path


def _import(on: Stage, path: Path, kind: str = "events") -> dict[str, Any]:
    process = _importing(on, path, kind)
    answer: dict[str, Any] = json.loads(process.communicate()[0])
    assert answer["accepted"] == answer["records"], answer["sentence"]
    return answer


def _importing(on: Stage, path: Path, kind: str = "events") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway", "import", "bench", kind, str(path)]
    return subprocess.Popen(
        [*command, "--json", "--no-forecast"], env=on.environment, stdout=subprocess.PIPE
    )


# memory -----------------------------------------------------------------------------------------


def _memory(on: Stage) -> Iterator[Line]:
    note(f"importing: {LARGE:,} events")
    interactions.empty(on)
    path = on.home / "large.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.writelines(json.dumps(_click(n)) + "\n" for n in range(LARGE))
    process = _importing(on, path)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _rss_mib(process.pid))
        time.sleep(EVERY_S)
    yield at_most(f"peak memory of an import of {LARGE:,} events", peak, "MiB (RSS)", 500)


def _click(number: int) -> dict[str, Any]:
    """The common format."""
    return {
        "user_id": "",
        "session_id": f"s{number // 5}",
        "ts": round(time.time()) - number,
        "type": "view",
        "product_id": f"p{number * 7919 % 20_000}",
    }


def _rss_mib(pid: int) -> float:
    """Of the process and those it has made."""
    total = 0
    try:
        main = psutil.Process(pid)
        for one in (main, *main.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total / 2**20


# beside serving ---------------------------------------------------------------------------------


def _beside_serving(on: Stage) -> Iterator[Line]:
    """Each load lasts as long as the lists are asked for: it begins anew whenever it ends."""
    note("importing: uploads are made")
    catalog.fill(on.pool, on.site.site_id, PRODUCTS)
    catalog.visits(on.pool, on.site.site_id, on.api, recommend.VISITORS, recommend.VIEWS)
    requests = recommend.requests(on)
    archives = (_archive(on.home / f"bulk-{n}.jsonl", BULK) for n in itertools.count())
    # Made before anything is timed: encoding one would stop the thread that counts the time.
    uploads = iter([_upload() for _ in range(UPLOADS)])
    with web(on) as port:
        load.closed(port, requests, connections=8, seconds=5.0).check()  # warm
        loads: dict[str, Callable[[], object]] = {
            "an import": lambda: _import(on, next(archives)),
            "an upload": lambda: _post(on, port, next(uploads)),
        }
        for name, work in loads.items():
            note(f"importing: lists beside {name}")
            quiet, busy = [], []
            for _ in range(ROUNDS):
                quiet.append(_p95(port, requests))
                with _again_and_again(work):
                    busy.append(_p95(port, requests))
            yield against(
                f"user_to_products p95 while {name} of {BULK:,} records runs",
                percentile(busy, 50), "ms", percentile(quiet, 50), most=2.0,
            )  # fmt: skip


def _p95(port: int, requests: Callable[[], bytes]) -> float:
    steady = load.open_loop(port, requests, connections=8, seconds=SECONDS, rate=RATE).check()
    return percentile(steady.latencies, 95)


class _again_and_again:
    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.ended.is_set():
            self.work()

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()


def _upload() -> bytes:
    return json.dumps({"data": [interactions.interaction(n) for n in range(BULK)]}).encode()


def _post(on: Stage, port: int, body: bytes) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/interactions",
        data=body,
        headers={"X-API-KEY": on.keys["secret_key"], "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()
