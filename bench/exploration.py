"""What does exploration cost: a list of which a place is left to chance, and counting lists?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bench import catalog
from bench.report import Line, against, beside, known, note, percentile
from bench.stage import Stage, stage
from gateway import ingest
from ranking import answer as answering
from ranking import impressions
from ranking.catalog import newcomers
from ranking.merchandising import exploration
from ranking.merchandising.exploration import NOT_EXPLORING, Exploring
from ranking.question import Question
from ranking.visitors.identity import actor_id
from schemas import database
from schemas.database import Connection

PRODUCTS = 100_000
VISITORS = 2_000
VIEWS = 4
ROWS = 10
SHARE = 0.05
LISTS = 1_500
COUNTED = 20_000


def run() -> Iterator[Line]:
    with stage() as on:
        catalog.fill(on.pool, on.site.site_id, PRODUCTS)
        catalog.visits(on.pool, on.site.site_id, on.api, VISITORS, VIEWS)
        with database.connect(on.database_url, options=database.SERVING_OPTIONS) as connection:
            yield from _served(on, connection)
        with database.connect(on.database_url) as connection:
            yield from _counted(on, connection)


def _served(on: Stage, connection: Connection) -> Iterator[Line]:
    """Each visitor's list as it is and with places left to chance, one after the other."""
    with on.pool.connection() as writing:
        now = datetime.now(UTC)
        began = time.perf_counter()
        tally = newcomers.refresh(writing, on.site.site_id, now, settled=now, looks=[1.0])
        yield known("products taken in as new ones", tally["open"], "products")
        yield known("taking them in", time.perf_counter() - began, "s")
        writing.execute("vacuum analyze newcomers")
    plain, drawn, all_of_it = [], [], []
    same = []  # as `drawn`, without
    note(f"exploration: {LISTS} lists twice")
    for number in range(LISTS):
        asked = Exploring(SHARE, f"s{number}")
        question = _question(on, f"v{number % VISITORS}")
        answering.answer(connection, question)  # what is kept of the visitor is made by the first
        ways = [NOT_EXPLORING, asked] if number % 2 else [asked, NOT_EXPLORING]
        spent = {one: _took(connection, replace(question, exploring=one)) for one in ways}
        without, took = spent[NOT_EXPLORING], spent[asked]
        plain.append(without)
        all_of_it.append(took)
        if exploration.places([False] * ROWS, asked):
            drawn.append(took)
            same.append(without)
    yield known("p50 of a list of 10, nothing left to chance", percentile(plain, 50), "ms")
    yield known("p50 of the same lists at a share of .05", percentile(all_of_it, 50), "ms")
    yield known("of these, lists with a place left to chance", len(drawn) / LISTS, "share")
    explored, kept = percentile(drawn, 50), percentile(same, 50)
    yield against("p50 of these, and as they are without it", explored, "ms", kept, most=1.35)
    late = percentile(drawn, 95)
    yield beside("p95 of these, and as they are without it", late, "ms", percentile(same, 95))


def _took(connection: Connection, question: Question) -> float:
    began = time.perf_counter()
    answering.answer(connection, question)
    return (time.perf_counter() - began) * 1000


def _question(on: Stage, visitor: str) -> Question:
    return Question(
        site_id=on.site.site_id,
        strategy="recommend",
        at=datetime.now(UTC),
        actor=actor_id(on.site.pepper, "anonymous", visitor),
        rows=ROWS,
        endpoint="user_to_products",
    )


def _counted(on: Stage, connection: Connection) -> Iterator[Line]:
    """Lists with a click each, which their clients told of, counted half an hour later."""
    note(f"exploration: counting {COUNTED} lists")
    at = datetime.now(UTC) - timedelta(minutes=20)
    connection.execute("delete from answers where site_id = %s", [on.site.site_id])
    connection.execute(
        "insert into answers (site_id, answered_at, miso_id, actor_id, endpoint, product_nos, "
        "scores, first_place) select %s, %s::timestamptz + n * interval '10 ms', "
        "gen_random_uuid(), gen_random_uuid(), 'user_to_products', "
        "array(select 1 + (random() * %s)::int from generate_series(1, 10) where n > 0), "
        "array_fill(0.5::real, array[10]), 0 from generate_series(1, %s) n",
        [on.site.site_id, at, PRODUCTS - 2, COUNTED],
    )
    rows = connection.execute(
        "select a.miso_id, p.product_id, a.answered_at from answers a "
        "cross join lateral (select a.product_nos[1 + get_byte(uuid_send(a.miso_id), 0) %% 10] "
        "as clicked) c "
        "join products p on p.site_id = a.site_id and p.product_no = c.clicked "
        "where a.site_id = %s",
        [on.site.site_id],
    ).fetchall()
    for start in range(0, len(rows), 1_000):
        clicks = [
            {"type": "click", "anonymous_id": f"c{start + n}", "product_ids": [product_id],
             "miso_id": str(miso_id), "timestamp": at.isoformat()}
            for n, (miso_id, product_id, at) in enumerate(rows[start : start + 1_000])
        ]  # fmt: skip
        body = json.dumps({"data": clicks}).encode()
        ingest.deliver(on.pool, on.api, topic="interactions", headers={}, body=body)
    began = time.perf_counter()
    counted = impressions.refresh(connection, on.site.site_id, at + timedelta(hours=2))
    yield known(f"counting {counted} lists of ten, and estimating the places",
                time.perf_counter() - began, "s")  # fmt: skip
