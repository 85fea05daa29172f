"""What do others notice of clients that send or read as slowly as they can (slowhttptest)?"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

from bench import catalog, load
from bench.report import Line, against, note, percentile
from bench.stage import Stage, stage, web

PRODUCTS, VISITORS = 4_000, 200
RATE, SECONDS, ROUNDS = 50, 6.0, 3
CONNECTIONS = 16
ATTACKERS = 1000
BEFORE_S = 2.0  # until most of them are connected
PROGRAM = "slowhttptest"

MODES = {
    "headers": ["-H", "-i", "1", "-x", "24", "-u", "{url}/v1/products"],
    "bodies": ["-B", "-i", "1", "-s", "8192", "-x", "10", "-t", "POST", "-u", "{keyed}"],
    "reads": ["-X", "-w", "1", "-y", "1", "-n", "5", "-z", "32", "-k", "3",
              "-u", "{url}/openapi.json"],
    "ranges": ["-R", "-a", "10", "-b", "3000", "-t", "HEAD", "-u", "{url}/demo/page.js"],
}  # fmt: skip


def run() -> Iterator[Line]:
    if shutil.which(PROGRAM) is None:
        note(f"slow: left out, there is no {PROGRAM} (Debian has it)")
        return
    with stage() as on:
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        catalog.visits(on.pool, on.site.site_id, on.api, VISITORS, 3)
        with web(on) as port:
            load.closed(port, _requests(on), connections=8, seconds=5.0).check()  # warm
            for name in MODES:
                yield _compared(on, port, name)


def _compared(on: Stage, port: int, name: str) -> Line:
    """The p95 of others while it goes on, beside the quiet one around it."""
    quiet, attacked = [], []
    for number in range(ROUNDS):
        note(f"slow: {name}, round {number + 1} of {ROUNDS}")
        quiet += _others(on, port)
        attacker = subprocess.Popen(
            _command(on, port, name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(BEFORE_S)
        try:
            attacked += _others(on, port)
        finally:
            attacker.terminate()
            attacker.wait()
        time.sleep(1.0)
    question = f"user_to_products p95 beside {ATTACKERS} slow {name}"
    return against(question, percentile(attacked, 95), "ms", percentile(quiet, 95), most=2.0)


def _command(on: Stage, port: int, name: str) -> list[str]:
    url = f"http://127.0.0.1:{port}"
    keyed = f"{url}/v1/interactions?api_key={on.keys['publishable_key']}"
    words = [word.format(url=url, keyed=keyed) for word in MODES[name]]
    rest = ["-c", str(ATTACKERS), "-r", str(ATTACKERS), "-l", str(int(BEFORE_S + SECONDS + 5))]
    return [PROGRAM, *words, *rest, "-p", "3"]


def _others(on: Stage, port: int) -> list[float]:
    return load.open_loop(
        port, _requests(on), connections=CONNECTIONS, seconds=SECONDS, rate=RATE
    ).check().latencies  # fmt: skip


def _requests(on: Stage) -> Callable[[], bytes]:
    visitors = iter(range(10**9))
    path = f"/v1/recommendation/user_to_products?api_key={on.keys['publishable_key']}"

    def request() -> bytes:
        body = {"anonymous_id": f"v{next(visitors) % VISITORS}", "rows": 24}
        return load.post(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    return request
