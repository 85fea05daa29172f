"""Lists of 24 within filters of any width, ours and Typesense's, side by side: how exact, how fast?

Both have the same 100,000 products with the same vectors, the filters are tags that all products, a
half, … a thousandth of them have, and both are asked over HTTP for the 24 nearest to the vectors of
the same visitors. Attune is asked in its own way, `/v1/recommendation/user_to_products` with `fq`:
it reads the visitor's profile, leaves out what the visitor viewed, chooses by popularity among the
100 nearest and remembers the answer. Typesense keeps no profiles: each request brings it the vector
that the profile has, with `filter_by`, and wants ids only. That is the least it can be asked, and
the parsing of 384 numbers is a part of it.

Of its two documented settings of a vector_query, `k` and `flat_search_cutoff` (exact search where
fewer products pass the filter; 0 unless set), two choices are measured, the first 24 taken of each:

- `k 24`: what one would write first, no cutoff.
- `k 200, cutoff 20,000`: as many candidates as our index keeps, and exact from a tenth down.

(`ef` came with a later version; 0.24.1 takes no notice of it.)

Exactness is measured before popularity is counted: without it our lists are by nearness alone. The
exact answer to each is numpy's, over all vectors, for ours without the products that the visitor
viewed. Speed is measured afterwards with everything: a closed loop, the same number of connections,
in rounds in which each has the machine to itself in turn (the other one is up and asked nothing).

Not part of a plain `make bench`: filling Typesense takes ten minutes and more. It is installed into
`.bench/` the first time (`bench/requirements.txt`).
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bench import catalog, load
from bench.report import Line, against, at_most, beside, known, note, percentile
from bench.stage import Stage, stage, web
from bench.typesense_server import Document, Typesense, typesense, version
from ranking.catalog import models, popularity, suggestions
from ranking.visitors import profile
from ranking.visitors.identity import actor_id
from schemas import database

SQL = database.queries(__file__)

PRODUCTS = 100_000
VISITORS = 1_000
VIEWS = 4
ROWS = 24
QUERIES = 200  # for recall, each filter
CONNECTIONS = 8
ROUNDS = 3
SECONDS = 5.0  # each round, filter and way
CHUNK = 2_000

WAYS = {"k 24": f"k:{ROWS}", "k 200, cutoff 20,000": "k:200, flat_search_cutoff:20000"}
# Tags by how many products have them; an empty one is no filter.
FILTERS = {"unfiltered": ""} | {f"a {name}": name for name in catalog.WIDTHS}
COLLECTION = "products"
FIELDS: list[Document] = [
    {"name": "title", "type": "string"},
    {"name": "tags", "type": "string[]"},
    {"name": "vector", "type": "float[]", "num_dim": 384},
]

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Products:
    """The catalog, a row each: `vectors` as they are served, rounded to half precision."""

    numbers: Numbers
    ids: list[str]
    titles: list[str]
    tags: list[list[str]]
    vectors: Numbers

    def within(self, tag: str) -> Numbers:
        """Which rows have this tag; all of them where it is empty."""
        return np.array([not tag or tag in tags for tags in self.tags])


@dataclass(frozen=True)
class Visitor:
    """Whom lists are for: the profile's vector in half precision, and the numbers of what was
    viewed."""

    name: str
    vector: Numbers
    viewed: Sequence[int]


@dataclass(frozen=True)
class Sides:
    """What is compared: both servers with what they are asked about."""

    on: Stage
    port: int
    theirs: Typesense
    products: Products
    visitors: list[Visitor]


def run() -> Iterator[Line]:
    with stage() as on:
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        catalog.visits(on.pool, on.site.site_id, on.api, VISITORS, VIEWS, counted=False)
        products, visitors = _products(on), _visitors(on)
        with typesense(on.home) as theirs:
            yield _filled(theirs, products)
            with web(on) as port:
                sides = Sides(on, port, theirs, products, visitors)
                yield from _exactness(sides)
                with on.pool.connection() as connection:
                    popularity.refresh(connection, on.site.site_id, datetime.now(UTC))
                    suggestions.refresh(connection, on.site.site_id, datetime.now(UTC))
                    connection.execute("vacuum analyze")
                yield from _speed(sides)
                yield from _text(sides)


def _products(on: Stage) -> Products:
    with database.connect(on.database_url) as connection:
        model = models.live(connection, on.site.site_id)
        statement = SQL.fill("catalog", vectors=model.vectors)
        rows = connection.execute(statement, {"site_id": on.site.site_id}).fetchall()
    numbers, ids, titles, tags, vectors = zip(*rows, strict=True)
    return Products(
        np.array(numbers), list(ids), list(titles), list(tags),
        np.stack([vector.to_numpy() for vector in vectors]).astype(np.float32),
    )  # fmt: skip


def _visitors(on: Stage) -> list[Visitor]:
    """Those of `catalog.visits`; reading their profiles keeps them, as any list would."""
    made = []
    with database.connect(on.database_url) as connection:
        for name in (f"v{number}" for number in range(VISITORS)):
            actor = actor_id(on.site.pepper, "anonymous", name)
            found = profile.current(connection, on.site.site_id, actor, at=datetime.now(UTC))
            assert found.vector is not None
            vector = found.vector.astype(np.float16).astype(np.float32)
            made.append(Visitor(name, vector, found.contents.touched))
    return made


def _filled(theirs: Typesense, products: Products) -> Line:
    theirs.create(COLLECTION, FIELDS)
    began = time.monotonic()
    for start in range(0, len(products.ids), CHUNK):
        if not start % 10_000:
            note(f"typesense: {start:,} of {len(products.ids):,} products")
        rows = range(start, min(start + CHUNK, len(products.ids)))
        theirs.add(COLLECTION, [_document(products, row) for row in rows])
    taken = time.monotonic() - began
    return known(f"Typesense {version()}: import of {PRODUCTS:,} products", taken, "s")


def _document(products: Products, row: int) -> Document:
    return {
        "id": products.ids[row],
        "title": products.titles[row],
        "tags": products.tags[row],
        "vector": products.vectors[row].tolist(),
    }


# what is asked -----------------------------------------------------------------------------------


def _search(way: str, tag: str, visitor: Visitor) -> Document:
    vector = ",".join(repr(number) for number in visitor.vector.tolist())
    asked = {"q": "*", "vector_query": f"vector:([{vector}], {WAYS[way]})"}
    return _of_ids(asked | ({"filter_by": f"tags:={tag}"} if tag else {}))


def _of_ids(asked: Document) -> Document:
    return asked | {"collection": COLLECTION, "per_page": ROWS, "include_fields": "id"}


def _body(tag: str, visitor: Visitor) -> bytes:
    asked = {"anonymous_id": visitor.name, "rows": ROWS}
    return json.dumps(asked | ({"fq": f"tags:{tag}"} if tag else {})).encode()


def _path(sides: Sides, door: str) -> str:
    return f"/v1/{door}?api_key={sides.on.keys['publishable_key']}"


def _ours(sides: Sides, tag: str) -> list[bytes]:
    path = _path(sides, "recommendation/user_to_products")
    headers = {"Content-Type": "application/json"}
    return [load.post(path, _body(tag, visitor), headers) for visitor in sides.visitors]


def _theirs(sides: Sides, way: str, tag: str) -> list[bytes]:
    return [sides.theirs.request(_search(way, tag, visitor)) for visitor in sides.visitors]


# exactness ---------------------------------------------------------------------------------------


def _exactness(sides: Sides) -> Iterator[Line]:
    for name, tag in FILTERS.items():
        note(f"typesense: recall, {name}")
        within = sides.products.within(tag)
        asked = sides.visitors[:QUERIES]
        known_best = [best(sides.products, within, one.vector) for one in asked]
        without = [best(sides.products, within, one.vector, one.viewed) for one in asked]
        ours = [_listed(sides, tag, one) for one in asked]
        share = recall(without, ours)
        yield at_most(f"short lists of {QUERIES} by HTTP, {name}", short(without, ours), "lists", 0)
        for way in WAYS:
            theirs = [sides.theirs.search(_search(way, tag, one)) for one in asked]
            baseline = recall(known_best, theirs)
            yield known(
                f"short lists of {QUERIES}, {name}, Typesense {version()}, {way}",
                short(known_best, theirs), "lists",
            )  # fmt: skip
            yield against(
                f"recall@24, {name}, to {_called(way)}", share, "share", baseline, least=1
            )


def _called(way: str) -> str:
    return f"Typesense {version()} ({way})"


def _listed(sides: Sides, tag: str, visitor: Visitor) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", sides.port, timeout=60)
    connection.request(
        "POST", _path(sides, "recommendation/user_to_products"), _body(tag, visitor),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    answered = json.loads(connection.getresponse().read())["data"]
    connection.close()
    if "fallback" in answered:
        raise RuntimeError(f"the list took too long, {answered['fallback']} answered in its place")
    return [one["product_id"] for one in answered["products"]]


def best(
    products: Products, within: Numbers, vector: Numbers, viewed: Sequence[int] = ()
) -> list[str]:
    """The ids of the ROWS nearest of these rows, without what was viewed, by comparing all."""
    rows = np.flatnonzero(within & ~np.isin(products.numbers, viewed))
    nearness = products.vectors[rows] @ vector
    order = np.argsort(-nearness, kind="stable")[:ROWS]
    return [products.ids[row] for row in rows[order]]


def recall(exact: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float:
    """The mean share of each exact list that was found."""
    pairs = zip(exact, found, strict=True)
    return float(np.mean([len(set(one) & set(other)) / len(one) for one, other in pairs]))


def short(exact: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> int:
    """How many lists are shorter than the exact ones."""
    return sum(len(other) < len(one) for one, other in zip(exact, found, strict=True))


# speed -------------------------------------------------------------------------------------------


def _speed(sides: Sides) -> Iterator[Line]:
    for name, tag in FILTERS.items():
        asked = {"": (sides.port, _ours(sides, tag))}
        asked |= {way: (sides.theirs.port, _theirs(sides, way, tag)) for way in WAYS}
        took = _in_turn(name, asked)
        how = f"{name}, {CONNECTIONS} connections"
        median, p95 = percentile(took[""], 50), percentile(took[""], 95)
        for way in WAYS:
            of, their_p95 = f"{how}, to {_called(way)}", percentile(took[way], 95)
            yield beside(f"user_to_products p50, {of}", median, "ms", percentile(took[way], 50))
            yield against(f"user_to_products p95, {of}", p95, "ms", their_p95, most=2)


def _in_turn(name: str, asked: dict[str, tuple[int, list[bytes]]]) -> dict[str, list[float]]:
    """Latencies in ms of each side by its name, asked one after the other in each round."""
    took: dict[str, list[float]] = {side: [] for side in asked}
    for number in range(ROUNDS + 1):
        note(f"typesense: speed, {name}, {f'round {number} of {ROUNDS}' if number else 'warming'}")
        for side, (port, requests) in asked.items():
            found = load.closed(
                port, _over_and_over(requests), connections=CONNECTIONS, seconds=SECONDS
            ).check()
            if number:
                took[side] += found.latencies
    return took


def _over_and_over(requests: list[bytes]) -> Callable[[], bytes]:
    shuffled = random.Random(catalog.SEED).sample(requests, len(requests))
    return itertools.cycle(shuffled).__next__


def _text(sides: Sides) -> Iterator[Line]:
    """Two words of a title: in Typesense in titles, with us in all texts and for the visitor."""
    titles = [record["title"].split() for record in catalog.real_products()]
    pairs = [" ".join(title[at : at + 2]) for title in titles for at in range(len(title) - 1)]
    words = random.Random(catalog.SEED).sample(pairs, 1_000)
    path, kind = _path(sides, "search/search"), {"Content-Type": "application/json"}
    visitors = itertools.cycle(one.name for one in sides.visitors)
    bodies = [{"q": text, "anonymous_id": next(visitors), "rows": ROWS} for text in words]
    ours = [load.post(path, json.dumps(body).encode(), kind) for body in bodies]
    theirs = [sides.theirs.request(_of_ids({"q": text, "query_by": "title"})) for text in words]
    sides.theirs.search(_of_ids({"q": words[0], "query_by": "title"}))  # refused? then say so
    took = _in_turn("text", {"": (sides.port, ours), "text": (sides.theirs.port, theirs)})
    p95, baseline = percentile(took[""], 95), percentile(took["text"], 95)
    what = f"search p95, two words of a title, {CONNECTIONS} connections"
    yield beside(f"{what}, to Typesense {version()}", p95, "ms", baseline)
