"""How fast is a search of 100,000 products, for words few or many of them have, and how fast are
completions of what is typed?"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from bench import catalog, load
from bench.report import Line, against, at_most, known, note, percentile
from bench.stage import Stage, stage, web
from gateway import instant
from ranking.catalog import encoder, suggestions

PRODUCTS = 100_000
VISITORS = 2_000
VIEWS = 4
ROWS = 24
CONNECTIONS = 8
RATE = 100
SECONDS = 15.0
ROUNDS = 3

# Titles and categories of the demo hold these; `half` is a tag that every second product has.
COMMON = ("half", "home", "kitchen", "set", "dining", "bag", "red", "vintage")

Body = dict[str, Any]
Choice = Callable[[random.Random], Body]


def run() -> Iterator[Line]:
    with stage() as on:
        encoder.Encoder(threads=2).export()
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        catalog.visits(on.pool, on.site.site_id, on.api, VISITORS, VIEWS)
        with on.pool.connection() as connection:
            suggestions.refresh(connection, on.site.site_id, instant.now())
        with web(on) as port:
            yield from _measured(on, port)


def _measured(on: Stage, port: int) -> Iterator[Line]:
    kinds = _kinds()
    mixed: Choice = lambda chooser: chooser.choice(list(kinds.values()))(chooser)  # noqa: E731
    load.closed(port, _requests(on, mixed), connections=CONNECTIONS, seconds=8.0).check()  # warm
    for name, choice in kinds.items():
        note(f"search: {name}")
        found = _steady(port, _requests(on, choice), SECONDS / 3)
        yield known(f"search p95, {name}, 100 requests/s", percentile(found.latencies, 95), "ms")
    steady = _steady(port, _requests(on, mixed), SECONDS)
    p95 = percentile(steady.latencies, 95)
    yield at_most("search p95, 100,000 products, mixed, 100 requests/s open loop", p95, "ms", 75)
    note("search: completions")
    typed = _requests(on, _typed, "search/autocomplete")
    load.closed(port, typed, connections=CONNECTIONS, seconds=4.0).check()  # warm
    p95 = percentile(_steady(port, typed, SECONDS).latencies, 95)
    yield at_most("autocomplete p95, 100,000 products, 100 requests/s open loop", p95, "ms", 30)
    rates, lists = [], []
    for number in range(ROUNDS):
        note(f"search: round {number + 1} of {ROUNDS}")
        rates.append(_rate(port, _requests(on, mixed)))
        lists.append(_rate(port, _requests(on, _list, "recommendation/user_to_products")))
    rate, recommended = percentile(rates, 50), percentile(lists, 50)
    yield against(
        "search closed loop, 8 connections, to recommend", rate, "requests/s", recommended,
        least=0.25,
    )  # fmt: skip


def _steady(port: int, requests: Callable[[], bytes], seconds: float) -> load.Result:
    return load.open_loop(
        port, requests, connections=CONNECTIONS, seconds=seconds, rate=RATE
    ).check()


def _rate(port: int, requests: Callable[[], bytes]) -> float:
    return load.closed(port, requests, connections=CONNECTIONS, seconds=6.0).check().rate


def _requests(on: Stage, choice: Choice, path: str = "search/search") -> Callable[[], bytes]:
    chooser = random.Random(catalog.SEED)
    key = on.keys["publishable_key"]

    def request() -> bytes:
        body = {"anonymous_id": f"v{chooser.randrange(VISITORS)}", "rows": ROWS} | choice(chooser)
        return load.post(
            f"/v1/{path}?api_key={key}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )

    return request


def _list(chooser: random.Random) -> Body:
    return {}


def _typed(chooser: random.Random) -> Body:
    """A title up to any letter, at every third time with a letter left out."""
    title = chooser.choice(_titles())[: chooser.randint(0, 12)].lower()
    if len(title) > 4 and not chooser.randrange(3):
        title = _with_a_typo(chooser, title)
    return {"q": title, "rows": 8}


@cache
def _titles() -> list[str]:
    return [record["title"] for record in catalog.real_products()]


def _with_a_typo(chooser: random.Random, text: str) -> str:
    at = chooser.randrange(1, len(text) - 1)
    return text[:at] + text[at + 1 :]


def _kinds() -> dict[str, Choice]:
    """What is searched for, by name. Two words of a title were mostly never searched for before."""
    titles = [record["title"].split() for record in catalog.real_products()]
    pairs = [title[at : at + 2] for title in titles for at in range(len(title) - 1)]
    filters = [f"tags:{name}" for name in catalog.WIDTHS]

    def common(chooser: random.Random) -> Body:
        return {"q": chooser.choice(COMMON)}

    def two(chooser: random.Random) -> Body:
        return {"q": " ".join(chooser.choice(pairs))}

    return {
        "a word that 3 to 50 % have": common,
        "two words of a title": two,
        "the same with a typo": lambda chooser: (
            {"q": _with_a_typo(chooser, two(chooser)["q"] + "  ").strip()}
        ),
        "the same with meaning": lambda chooser: two(chooser) | {"enable_semantic_search": True},
        "a common word and a filter": lambda chooser: (
            common(chooser) | {"fq": chooser.choice(filters)}
        ),
        "everything": lambda chooser: {"q": "*"},
    }
