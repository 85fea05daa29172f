"""How does the time of a personalised list grow with the catalog and with the clickstream?

Not part of a plain `make bench`: building the catalogs takes a quarter of an hour.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from psycopg import sql

from bench import catalog, load
from bench.report import Line, at_most, known, note, percentile
from bench.stage import Stage, stage, web
from gateway import access
from gateway.access import Site
from ranking.catalog import models, popularity
from ranking.visitors.identity import actor_id
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

PRODUCTS = (1_000, 10_000, 100_000, 300_000)
EVENTS = (100_000, 1_000_000, 5_000_000)
PRODUCTS_OF_EVENTS = 100_000  # the catalog that the clickstream grows on
EVENTS_OF_PRODUCTS = 100_000  # the clickstream that each catalog has
EVENTS_A_VISITOR = 20
DAYS = 300
CHUNK = 250_000
ROWS = 24
CONNECTIONS = 8
RATE = 100
SECONDS = 20.0
BAR_MS = 75


def run() -> Iterator[Line]:
    with stage() as on:
        for products in PRODUCTS:
            with on.pool.connection() as connection:
                keys = access.create_site(connection, f"curve-{products}")
                site = access.site(connection, f"curve-{products}")
            catalog.fill(on.pool, site.site_id, products)
            for events in EVENTS if products == PRODUCTS_OF_EVENTS else (EVENTS_OF_PRODUCTS,):
                visitors = _grow(on, site, events)
                yield from _timed(on, site, keys["publishable_key"], visitors)


def _grow(on: Stage, site: Site, events: int) -> int:
    """Views until the site has so many; returns how many visitors they are of."""
    visitors = events // EVENTS_A_VISITOR
    with on.pool.connection() as connection:
        connection.execute("set statement_timeout = 0")
        have = _count(connection, "events", site)
        known_visitors = _count(connection, "actors", site)
        names = [f"c{number}" for number in range(visitors)]
        actors = [actor_id(site.pepper, "anonymous", name) for name in names]
        connection.execute(
            SQL.actors,
            {
                "site_id": site.site_id,
                "actor_ids": actors[known_visitors:],
                "sent_ids": names[known_visitors:],
            },
        )
        product_ids = [
            row[0]
            for row in connection.execute(
                "select product_id from products where site_id = %s order by product_no",
                [site.site_id],
            )
        ]
        for start in range(have, events, CHUNK):
            note(f"curve: {start:,} of {events:,} events")
            connection.execute(
                SQL.events,
                {
                    "site_id": site.site_id,
                    "source_id": on.api.source_id,
                    "delivery_id": UUID(int=0),
                    "actor_ids": actors,
                    "visitors": visitors,
                    "product_ids": product_ids,
                    "products": len(product_ids),
                    "at": datetime.now(UTC),
                    "days": DAYS,
                    "events": min(CHUNK, events - start),
                },
            )
        note("curve: counting what is popular")
        popularity.refresh(connection, site.site_id, datetime.now(UTC))
        connection.execute("vacuum analyze")
        connection.execute("reset statement_timeout")
    return visitors


def _count(connection: Connection, table: str, site: Site) -> int:
    statement = sql.SQL("select count(*) from {} where site_id = %s").format(sql.Identifier(table))
    row = connection.execute(statement, [site.site_id]).fetchone()
    assert row is not None
    return int(row[0])


def _timed(on: Stage, site: Site, key: str, visitors: int) -> Iterator[Line]:
    with on.pool.connection() as connection:
        products = _count(connection, "products", site)
        events = _count(connection, "events", site)
        by = "HNSW" if models.live(connection, site.site_id).has_index else "exact"
    requests = _requests(key, visitors)
    with web(on) as port:
        load.closed(port, requests, connections=CONNECTIONS, seconds=10.0).check()  # warm
        steady = load.open_loop(
            port, requests, connections=CONNECTIONS, seconds=SECONDS, rate=RATE
        ).check()
    what = f"{products:,} products ({by}), {events:,} events, {RATE} requests/s"
    yield at_most(f"user_to_products p95, {what}", percentile(steady.latencies, 95), "ms", BAR_MS)
    yield known(f"user_to_products p50, {what}", percentile(steady.latencies, 50), "ms")


def _requests(key: str, visitors: int) -> Callable[[], bytes]:
    """Lists for visitors taken at random, most of whom have no fresh profile."""
    chooser = random.Random(catalog.SEED)

    def request() -> bytes:
        body = {"anonymous_id": f"c{chooser.randrange(visitors)}", "rows": ROWS}
        return load.post(
            f"/v1/recommendation/user_to_products?api_key={key}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )

    return request
