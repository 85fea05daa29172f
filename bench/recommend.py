"""How fast and how exact are personalised lists on 100,000 products?"""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector.psycopg import register_vector

from bench import catalog, load
from bench.report import Line, against, at_least, at_most, known, note, percentile
from bench.stage import Stage, stage, web
from gateway.running import services
from ranking import answer as answering
from ranking.catalog import models, nearest
from ranking.merchandising import filters
from ranking.question import Question
from ranking.visitors import profile
from ranking.visitors.identity import actor_id
from schemas import database

PRODUCTS = 100_000
VISITORS = 2_000
VIEWS = 4
ROWS = 24
CONNECTIONS = 8
RATE = 200
SECONDS = 20.0
ROUNDS = 3
QUERIES = 100  # for recall, each filter


def run() -> Iterator[Line]:
    with stage() as on:
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        catalog.visits(on.pool, on.site.site_id, on.api, VISITORS, VIEWS)
        first_day = yield from _served(on)
        catalog.learned(on.pool, on.site.site_id)
        yield from _mixed(on, first_day)
        yield from _recall(on)


def _mixed(on: Stage, first_day: float) -> Iterator[Line]:
    """The same requests where a learned model is live; `first_day` as many a second as before."""
    asked = requests(on)
    with web(on) as port:
        _warm(on, port)
        rate = load.closed(port, asked, connections=CONNECTIONS, seconds=8.0).check().rate
        steady = load.open_loop(
            port, asked, connections=CONNECTIONS, seconds=SECONDS, rate=RATE
        ).check()
    p95 = percentile(steady.latencies, 95)
    yield at_most("user_to_products with a learned model, p95, the same load", p95, "ms", 75)
    yield known("the same, p50", percentile(steady.latencies, 50), "ms")
    yield against(
        "the same closed loop, to that before any training", rate, "requests/s", first_day,
        least=0.8,
    )  # fmt: skip


def _served(on: Stage) -> Generator[Line, None, float]:
    asked = requests(on)
    with web(on) as port:
        _warm(on, port)
        alone = load.closed(port, asked, connections=1, seconds=5.0).check()
        rates, baselines = [], []
        for number in range(ROUNDS):
            note(f"recommend: round {number + 1} of {ROUNDS}")
            baselines.append(_pgbench(on))
            rates.append(
                load.closed(port, asked, connections=CONNECTIONS, seconds=8.0).check().rate
            )
        steady = load.open_loop(
            port, asked, connections=CONNECTIONS, seconds=SECONDS, rate=RATE
        ).check()
    p95 = percentile(steady.latencies, 95)
    yield at_most("user_to_products p95, 100,000 products, 200 requests/s open loop", p95, "ms", 75)
    yield known("user_to_products p50, the same", percentile(steady.latencies, 50), "ms")
    rate, bare = percentile(rates, 50), percentile(baselines, 50)
    yield against(
        "user_to_products closed loop, 8 connections", rate, "requests/s", bare, least=0.35
    )
    request_ms, sql_ms = percentile(alone.latencies, 50), _sql_ms(on)
    yield known("user_to_products p50, one connection", request_ms, "ms")
    yield at_most("p50 request time beyond its own SQL", request_ms - sql_ms, "ms", 5)
    return rate


def _warm(on: Stage, port: int) -> None:
    """Every visitor's profile is made: how many are missing would depend on the machine's speed."""
    every = [_request(on, number) for number in range(VISITORS)]
    load.each(port, every, connections=CONNECTIONS).check()


def requests(on: Stage) -> Callable[[], bytes]:
    """Makes requests for lists of visitors of `catalog.visits`."""
    chooser = random.Random(catalog.SEED)
    return lambda: _request(on, chooser.randrange(VISITORS))


def _request(on: Stage, number: int) -> bytes:
    body = {"anonymous_id": f"v{number}", "rows": ROWS}
    return load.post(
        f"/v1/recommendation/user_to_products?api_key={on.keys['publishable_key']}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )


def _pgbench(on: Stage) -> float:
    """Transactions per second of baseline.sql, 8 clients, simple protocol."""
    model = _model(on)
    arguments = psycopg.conninfo.conninfo_to_dict(on.database_url)
    command = [
        str(services.postgres_binary("pgbench")), "-n", "-M", "simple", "-c", "8", "-j", "2",
        "-T", "8", "-f", str(Path(__file__).with_name("baseline.sql")),
        "-D", f"vectors={model.vectors_table}", "-D", f"site={on.site.site_id}",
        "-D", f"products={PRODUCTS}",
        "-h", str(arguments["host"]), "-U", str(arguments["user"]), str(arguments["dbname"]),
    ]  # fmt: skip
    options = f"{database.SERVING_OPTIONS} -c hnsw.ef_search={model.ef_search}"
    environment = on.environment | {"PGOPTIONS": options}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


def _model(on: Stage) -> models.Model:
    with on.pool.connection() as connection:
        return models.live(connection, on.site.site_id)


class _Timed(psycopg.Connection[Any]):
    """Counts the time spent waiting for Postgres."""

    waited = 0.0

    def wait(self, *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return super().wait(*arguments, **named)
        finally:
            _Timed.waited += time.perf_counter() - began


def _sql_ms(on: Stage) -> float:
    """Median time that one answer waits for its statements, on one connection."""
    spent = []
    with _Timed.connect(
        on.database_url, autocommit=True, options=database.SERVING_OPTIONS
    ) as connection:
        register_vector(connection)
        for number in range(600):
            _Timed.waited = 0.0
            answering.answer(connection, _question(on, f"v{number % VISITORS}"))
            spent.append(_Timed.waited * 1000)
    return percentile(spent[100:], 50)


def _question(on: Stage, visitor: str) -> Question:
    return Question(
        site_id=on.site.site_id,
        strategy="recommend",
        at=datetime.now(UTC),
        actor=actor_id(on.site.pepper, "anonymous", visitor),
        rows=ROWS,
        endpoint="user_to_products",
    )


# recall ------------------------------------------------------------------------------------------


def _recall(on: Stage) -> Iterator[Line]:
    model = _model(on)
    named = {"unfiltered": ""} | {f"a {name}": f"tags:{name}" for name in catalog.WIDTHS}
    with database.connect(on.database_url, options=database.SERVING_OPTIONS) as connection:
        connection.execute("set statement_timeout = 0")
        vectors = _query_vectors(connection, on)
        for name, fq in named.items():
            filter = filters.compile(filters.parse(fq), nearest.ALIAS)
            note(f"recommend: recall, {name}")
            shares, short = [], 0
            for vector in vectors:
                found = nearest.nearest(connection, model, vector, filter, ROWS)
                short += len(found) < ROWS
                best = nearest.exact(connection, model, vector, filter, ROWS)
                known_best = {one.product_no for one in best}
                shares.append(len(known_best & {one.product_no for one in found}) / ROWS)
            yield at_least(f"recall@24, {name}", float(np.mean(shares)), "share", 0.98)
            yield at_most(f"short lists of {QUERIES}, {name}", short, "lists", 0)


def _query_vectors(connection: database.Connection, on: Stage) -> list[np.ndarray[Any, Any]]:
    """The profiles of visitors, as lists are asked with."""
    made = []
    for number in range(QUERIES):
        actor = actor_id(on.site.pepper, "anonymous", f"v{number}")
        found = profile.current(connection, on.site.site_id, actor, at=datetime.now(UTC))
        assert found.vector is not None
        made.append(found.vector)
    return made
