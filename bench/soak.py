"""Does anything grow that should not? All roles under mixed traffic at every door, for 2 minutes,
or for as many as `SOAK_MINUTES` says (15 to judge by).

Each role's memory, files and threads are sampled every few seconds; what counts is their slope
after a warm-up, in which caches fill and pools open.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil

from bench import load
from bench.installation import Installation, installation
from bench.report import Line, at_most, known, note
from bench.tenants import LISTS, Tenant
from bench.webhook import event
from schemas import database

MINUTES = float(os.environ.get("SOAK_MINUTES", "2"))
JUDGED_MINUTES = 10.0  # a shorter run shows figures, it cannot tell growth from filling
WARM_UP = 0.3  # of the whole time
RATE, CONNECTIONS = 50, 16
EVERY_S = 5.0
NOTED_EACH = 12  # samples: a line a minute
PRODUCTS, VISITORS = 2_000, 500
# MiB an hour of one role, all its processes together.
MOST_GROWTH = 60.0
OF_ROLES = ("web", "worker", "encoder", "trainer", "clock", "postgres", "redis")


def run() -> Iterator[Line]:
    with installation() as on:
        tenant, secret_key = _site(on)
        note(f"soak: {MINUTES:g} minutes")
        samples: list[Sample] = []
        done = threading.Event()
        watching = threading.Thread(target=_watch, args=(on, samples, done))
        watching.start()
        answered = load.open_loop(
            on.port,
            _mixed(tenant, secret_key),
            connections=CONNECTIONS,
            seconds=MINUTES * 60,
            rate=RATE,
            forgiving=True,
        )
        done.set()
        watching.join()
    yield from _told(samples, answered)


# traffic -----------------------------------------------------------------------------------------


def _site(on: Installation) -> tuple[Tenant, str]:
    keys, source = on.shop(PRODUCTS, VISITORS)
    webhook = f"/webhooks/segment/{source.public_id}"
    return Tenant(keys["publishable_key"], source.secrets[0], webhook), keys["secret_key"]


def _mixed(tenant: Tenant, secret_key: str) -> Callable[[], bytes]:
    """Each door in turn, what is wrong among what is right."""
    numbers = itertools.count()
    chance = random.Random(1)
    keyed = {"X-API-KEY": secret_key, "Content-Type": "application/json"}

    def upload(path: str, *records: dict[str, Any]) -> bytes:
        return load.post(f"/v1/{path}", json.dumps({"data": records}).encode(), keyed)

    def view(n: int) -> dict[str, Any]:
        return {"type": "product_detail_page_view", "product_ids": [f"p{n % 999}"],
                "anonymous_id": f"v{n % VISITORS}"}  # fmt: skip

    def batch(n: int) -> bytes:
        return upload("interactions", *(view(n + k) for k in range(200)))

    doors: list[Callable[[int], bytes]] = [
        lambda n: tenant.asks(f"v{chance.randrange(VISITORS)}", explain=n % 2 == 0),
        lambda n: tenant.asks(f"v{chance.randrange(VISITORS)}", fq=f'brand:"Brand {n % 50}"'),
        lambda n: tenant.signed(event()),
        lambda n: tenant.signed(event()),
        lambda n: tenant.asks(f"new{n}", additional_interactions=[
            {"type": "search", "search": {"keywords": f"mug {n % 300}"}, "anonymous_id": "x"}]),
        lambda n: upload("interactions", view(n)),
        lambda n: batch(n) if n % 5 == 0 else upload("interactions", view(n)),
        lambda n: upload("products", {"product_id": f"x{n % 2000}", "title": f"Thing {n % 4000}"}),
        lambda n: upload("users", {"user_id": f"u{n % 2000}", "name": f"N {n}"}),
        lambda n: load.get(f"/admin/v1/events?limit=20&visitor=v{n % VISITORS}", keyed),
        lambda n: load.get("/admin/v1/deliveries?limit=20", keyed),
        lambda n: load.get("/admin/v1/ledger?minutes=5", keyed),
        lambda n: load.get(("/demo?site=bench", "/readyz", "/metrics", "/docs")[n % 4], {}),
        lambda n: tenant.signed(event(), secret="forged"),
        lambda n: load.post(f"{LISTS}?api_key=pk_{n:040x}", b"{}", {}),
        lambda n: load.post(f"{LISTS}?api_key={tenant.key}", b'{"rows": [', {}),
    ]  # fmt: skip

    def request() -> bytes:
        number = next(numbers)
        return doors[number % len(doors)](number // len(doors))

    return request


# what grows --------------------------------------------------------------------------------------

Sample = tuple[float, dict[str, dict[str, float]]]


def _watch(on: Installation, samples: list[Sample], done: threading.Event) -> None:
    began = time.monotonic()
    with database.connect(on.settings.database_url) as connection:
        while not done.wait(EVERY_S):
            figures = _figures(on.pid)
            row = connection.execute("select count(*) from pg_stat_activity").fetchone()
            figures["postgres"]["connections"] = float(row[0]) if row else 0.0
            samples.append((time.monotonic() - began, figures))
            if len(samples) % NOTED_EACH == 0:
                rss = ", ".join(f"{role} {figures[role]['RSS']:.0f}" for role in OF_ROLES)
                note(f"soak: {samples[-1][0] / 60:.0f} of {MINUTES:g} minutes; MiB: {rss}")


def _figures(root: int) -> dict[str, dict[str, float]]:
    """By role the sums over its processes."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for process in psutil.Process(root).children(recursive=True):
        try:
            role = _role(process.cmdline())
            with process.oneshot():
                of_one = {
                    "RSS": process.memory_info().rss / 2**20,
                    "files": process.num_fds(),
                    "threads": process.num_threads(),
                }
        except psutil.Error:
            continue
        for name, value in of_one.items():
            sums[role][name] += value
    return sums


def _role(command: list[str]) -> str:
    words = " ".join(command)
    if "gunicorn" in words or words.startswith("attune-web"):
        return "web"
    if words.startswith("postgres") or "/postgres" in words.split(" ")[0]:
        return "postgres"
    named = [role for role in OF_ROLES if command and command[-1] == role]
    return named[0] if named else ("redis" if "redis" in words else "other")


def _told(samples: list[Sample], answered: load.Result) -> Iterator[Line]:
    warm = [sample for sample in samples if sample[0] > MINUTES * 60 * WARM_UP]
    times = np.array([at for at, _ in warm]) / 3600
    for role in OF_ROLES:
        for name in ("RSS", "files", "threads", "connections"):
            values = [figures[role].get(name, 0.0) for _, figures in warm if role in figures]
            if len(values) == len(times) and any(values):
                yield from _slope(role, name, times, np.array(values))
    failed = sum(n for status, n in answered.statuses.items() if status >= 500 or status == 0)
    yield at_most("soak: answers of 5xx or none", failed, "answers", 0)
    yield known(f"soak: requests in {MINUTES:g} minutes", len(answered.latencies), "requests")


def _slope_of(hours: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> float:
    """The median of the slopes of all pairs (Theil and Sen): what goes on growing, where a line of
    least squares would take a single step, as a model's first fit is, for growth."""
    first, second = np.triu_indices(len(hours), 1)
    return float(np.median((values[second] - values[first]) / (hours[second] - hours[first])))


def _slope(
    role: str, name: str, hours: np.ndarray[Any, Any], values: np.ndarray[Any, Any]
) -> Iterator[Line]:
    growth = _slope_of(hours, values)
    unit = "MiB/hour" if name == "RSS" else f"{name}/hour"
    question = f"soak: {role}, {name} (at the end {values[-1]:.0f})"
    # Postgres maps its shared buffers as it touches them, and its backends come and go.
    if MINUTES >= JUDGED_MINUTES and name == "RSS" and role != "postgres":
        yield at_most(question, growth, unit, MOST_GROWTH)
    else:
        yield known(question, growth, unit)
