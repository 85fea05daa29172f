"""How fast are lists, searches never made before, completions and categories on 100,000 products
and 1,000,000 events, and how much of that is their SQL?

The bare SQL of a request is what it sends to Postgres, recorded while the application answers it,
and sent again with the same parameters by a loop that does nothing else.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import psycopg
from flask.testing import FlaskClient

from bench import catalog, load, search
from bench.report import Line, against, at_most, known, note, percentile
from bench.stage import Stage, stage, web
from gateway import instant
from gateway.http import create_app, state
from gateway.settings import load as settings
from ranking.catalog import encoder, neighbours, popularity, suggestions
from ranking.visitors.identity import actor_id
from schemas import database

SQL = database.queries(__file__)

PRODUCTS = 100_000
EVENTS = 1_000_000
VISITORS = 20_000
ASKING = 1_000  # of them, those who ask: before it is measured nearly all of them once
CONNECTIONS = 8
RATE = 100
SECONDS = 15.0
WARM_S = 15.0  # then every process has answered and most visitors have a profile, as on most days
ALONE_S = 4.0
RECORDED = 300  # requests of each kind, after half as many that fill the application's memory
MOST = 2.0  # times the bare SQL

Body = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What is asked, and how fast it is to be answered."""

    name: str
    path: str
    body: Callable[[random.Random], Body]
    p95_ms: float


def run() -> Iterator[Line]:
    with stage() as on:
        encoder.Encoder(threads=2).export()
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        _history(on)
        with web(on) as port:
            for kind in KINDS:
                yield from _measured(on, port, kind)
        catalog.learned(on.pool, on.site.site_id)
        recommend = KINDS[0]
        with web(on) as port:
            kind = replace(recommend, name=f"{recommend.name} with a learned model")
            yield from _measured(on, port, kind)


def _history(on: Stage) -> None:
    """A million events of many visitors, and what the roles make of them."""
    note(f"engine: {EVENTS} events of {VISITORS} visitors")
    site_id, at = on.site.site_id, instant.now()
    actors = [actor_id(on.site.pepper, "anonymous", f"v{n}") for n in range(VISITORS)]
    told = {"site_id": site_id, "actors": actors, "at": at, "events": EVENTS, "visitors": VISITORS}
    with database.connect(on.database_url, options="-c jit=off") as connection:
        connection.execute(SQL.actors, told)
        connection.execute(SQL.events, told)
        connection.execute("vacuum analyze")
        popularity.refresh(connection, site_id, at)
        neighbours.refresh(connection, site_id, at)
        suggestions.refresh(connection, site_id, at)
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")  # else the first kind is measured beside its writing


def _measured(on: Stage, port: int, kind: Kind) -> Iterator[Line]:
    note(f"engine: {kind.name}")
    chooser = random.Random(catalog.SEED)
    asked = _requests(on, kind, chooser)
    load.closed(port, asked, connections=CONNECTIONS, seconds=WARM_S).check()
    steady = load.open_loop(
        port, asked, connections=CONNECTIONS, seconds=SECONDS, rate=RATE
    ).check()
    p95 = percentile(steady.latencies, 95)
    about = f"{kind.name} p95, 100,000 products, 1,000,000 events, 100 requests/s open loop"
    yield at_most(about, p95, "ms", kind.p95_ms)
    yield known(f"{kind.name} p50, the same", percentile(steady.latencies, 50), "ms")
    alone = load.closed(port, asked, connections=1, seconds=ALONE_S).check()
    bare = _bare(on, _recorded(on, kind, chooser))
    yield against(
        f"{kind.name} p50, one connection, to its bare SQL", percentile(alone.latencies, 50), "ms",
        percentile(bare, 50), most=MOST,
    )  # fmt: skip


def _requests(on: Stage, kind: Kind, chooser: random.Random) -> Callable[[], bytes]:
    path = f"/v1/{kind.path}?api_key={on.keys['publishable_key']}"

    def request() -> bytes:
        body = json.dumps(_body(kind, chooser)).encode()
        return load.post(path, body, {"Content-Type": "application/json"})

    return request


def _body(kind: Kind, chooser: random.Random) -> Body:
    return {"anonymous_id": f"v{chooser.randrange(ASKING)}"} | kind.body(chooser)


# what is asked -----------------------------------------------------------------------------------

_asked: set[str] = set()


def _never_searched(chooser: random.Random) -> Body:
    """Two or three words of one title, in any order, that nobody has searched for in this run."""
    while True:
        words = chooser.choice(_titles())
        text = " ".join(chooser.sample(words, chooser.randint(2, min(3, len(words)))))
        if text.lower() not in _asked:
            _asked.add(text.lower())
            return {"q": text, "rows": 24}


@cache
def _titles() -> list[list[str]]:
    titles = (record["title"].split() for record in catalog.real_products())
    return [words for words in titles if len(words) > 2]


KINDS = (
    Kind("user_to_products", "recommendation/user_to_products", lambda _: {"rows": 24}, 40),
    Kind("search never made before", "search/search", _never_searched, 60),
    Kind("autocomplete", "search/autocomplete", search._typed, 30),
    Kind("user_to_categories", "recommendation/user_to_categories", lambda _: {"rows": 5}, 100),
)


# its bare SQL ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """One statement as the application sent it."""

    cursor: type[psycopg.Cursor[Any]]
    format: Any
    query: Any
    parameters: Any
    options: dict[str, Any]

    def again(self, connection: database.Connection) -> None:
        cursor = self.cursor(connection)
        cursor.format = self.format
        cursor.execute(self.query, self._anew(), **self.options)
        if cursor.description is not None:
            cursor.fetchall()

    def _anew(self) -> Any:
        """An answer is remembered under an id of its own."""
        if isinstance(self.parameters, dict) and "miso_id" in self.parameters:
            return self.parameters | {"miso_id": uuid.uuid4()}
        return self.parameters


def _recorded(on: Stage, kind: Kind, chooser: random.Random) -> list[list[Sent]]:
    """The statements of RECORDED requests, each of which the application answers once."""
    app = create_app(settings())
    client = app.test_client()
    for _ in range(RECORDED // 2):
        _answered(on, client, kind, chooser)
    made = []
    for _ in range(RECORDED):
        with _recording() as sent:
            _answered(on, client, kind, chooser)
        made.append(sent)
    state.of(app).close()
    return made


def _answered(on: Stage, client: FlaskClient, kind: Kind, chooser: random.Random) -> None:
    key = {"api_key": on.keys["publishable_key"]}
    answer = client.post(f"/v1/{kind.path}", query_string=key, json=_body(kind, chooser))
    if answer.status_code != 200:
        raise RuntimeError(f"{kind.path}: {answer.status_code} {answer.text}")


@contextmanager
def _recording() -> Iterator[list[Sent]]:
    """All that any cursor of this process executes within the block."""
    sent: list[Sent] = []
    execute = psycopg.Cursor.execute

    def recorded(
        self: psycopg.Cursor[Any], query: Any, params: Any = None, **options: Any
    ) -> psycopg.Cursor[Any]:
        sent.append(Sent(type(self), self.format, query, params, options))
        return execute(self, query, params, **options)

    psycopg.Cursor.execute = recorded  # type: ignore[method-assign,assignment]
    try:
        yield sent
    finally:
        psycopg.Cursor.execute = execute  # type: ignore[method-assign]


def _bare(on: Stage, requests: list[list[Sent]]) -> list[float]:
    """How many ms the statements of each request take, one after the other."""
    took = []
    options = database.SERVING_OPTIONS
    with database.connect(on.database_url, options=options) as connection:
        # As new to Postgres as they were to the application.
        connection.execute("delete from queries where site_id = %s", [on.site.site_id])
        for number, sent in enumerate(requests):
            began = time.perf_counter()
            for one in sent:
                one.again(connection)
            if number >= RECORDED // 3:  # those before it prepare what is prepared
                took.append((time.perf_counter() - began) * 1000)
    return took
