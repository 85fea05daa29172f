"""Two sites of thousands of products, events and people in the same tables, for which it pays to
use the indexes: by SQL and in bulk, since no door is what is tested.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import sql

from gateway import access
from ranking.catalog import (
    clusters,
    models,
    neighbours,
    popularity,
    products,
    queries,
    suggestions,
    together,
)
from ranking.visitors.identity import actor_id
from schemas.database import Connection
from schemas.facts import Product
from tests.ranking.market import NOW, Words

CHUNK = 2_000
VISITORS = 400
USERS = 1_000
EVENTS = 20_000
WIDTHS = {"half": 2, "tenth": 10, "hundredth": 100}
# At which the index is cheaper than to compare all, and dearer than to compare a tenth.
EXACT_COST = 8.0
EF_SEARCH = 100

EVENTS_OF_VISITORS = """
insert into events (site_id, occurred_at, event_id, actor_id, type, product_ids, data, source_id,
  delivery_id, position, received_at)
select %(site_id)s, at, gen_random_uuid(), (%(actors)s::uuid[])[1 + n %% %(visitors)s],
  case when n %% 5 = 0 then 'purchase' when n %% 7 = 0 then 'search'
    else 'product_detail_page_view' end::event_type,
  case when n %% 5 <> 0 and n %% 7 = 0 then '{}' else array['p' || (n * 7919) %% %(products)s,
    'p' || (n * 7919 + 1) %% %(products)s] end,
  case when n %% 5 <> 0 and n %% 7 = 0 then '{"search": {"keywords": "seen before"}}' else '{}' end
    ::jsonb,
  0, gen_random_uuid(), 0, at
from (select n, %(at)s - n * interval '3 minutes' as at from generate_series(1, %(events)s) n) e
"""
ACTORS = """
insert into actors (site_id, actor_id, kind, sent_id)
select %(site_id)s, actor, %(kind)s, name
from unnest(%(actors)s::uuid[], %(names)s::text[]) as a(actor, name)
"""
PEOPLE = """
insert into users (site_id, user_id, as_of, record_hash, record)
select %(site_id)s, name, %(at)s, gen_random_uuid(),
  jsonb_build_object('user_id', name, 'country', case when n %% 50 = 0 then 'CH' else 'DE' end)
from unnest(%(names)s::text[]) with ordinality as u(name, n)
"""
# Of what else is kept of visitors so much that none of it is a page or two.
KEPT = """
with joined as (
  insert into members (site_id, actor_id, visitor_id)
  select %(site_id)s, actor, actor from unnest(%(actors)s::uuid[]) as a(actor)
),
traits as (
  insert into user_traits (site_id, user_id, name, as_of, value)
  select %(site_id)s, name, 'country', %(at)s - interval '1 day', '"DE"'
  from unnest(%(names)s::text[]) as u(name)
),
paged as (
  insert into paged_lists
  select %(site_id)s, gen_random_uuid(), actor, gen_random_uuid(), 1, %(at)s, '[]', '{{}}'
  from unnest(%(actors)s::uuid[]) as a(actor)
),
vain as (
  insert into searched_in_vain
  select %(site_id)s, %(at)s::date, name, name, 1, %(at)s from unnest(%(names)s::text[]) as u(name)
),
corrected as (
  insert into searched_corrected
  select %(site_id)s, %(at)s::date, name, name, name, 1, %(at)s
  from unnest(%(names)s::text[]) as u(name)
)
insert into queries (site_id, query_hash, text, vector, made_at)
select %(site_id)s, gen_random_uuid(), 'seen ' || n, v.vector::vector, %(at)s
from (select row_number() over () as n, vector from {vectors} limit 1000) v
"""
PROFILES = """
insert into profiles (site_id, visitor_id, fingerprint, model_id, made_at, data, vector)
select %(site_id)s, u.actor, null, 1, %(at)s, p.data, v.vector::vector::real[]
from unnest(%(actors)s::uuid[]) with ordinality as u(actor, n)
cross join (select '{{}}'::jsonb as data) p
join (select row_number() over (order by product_no) as n, vector from {vectors}) v using (n)
"""


@dataclass(frozen=True)
class Crowd:
    """One of the sites and its keys."""

    site: access.Site
    secret_key: str
    publishable_key: str


def a_crowd(connection: Connection, name: str, size: int) -> Crowd:
    """A site of so many products with all of it, as the roles leave it behind, but for `settle`."""
    keys = access.create_site(connection, name)
    site = access.site(connection, name)
    for start in range(0, size, CHUNK):
        with connection.transaction():
            records = [Product(_record(n)) for n in range(start, min(size, start + CHUNK))]
            products.upsert(connection, site.site_id, records, NOW)
    _give_vectors(connection, site.site_id)
    _give_people(connection, site, size)
    popularity.refresh(connection, site.site_id, NOW)
    # As if nobody had done anything with them when they came.
    connection.execute(
        "insert into newcomers (site_id, product_no, since) "
        "select site_id, product_no, %s from products where site_id = %s",
        [NOW, site.site_id],
    )
    together.refresh(connection, site.site_id, NOW)
    neighbours.refresh(connection, site.site_id, NOW)
    clusters.refresh(connection, site.site_id)
    suggestions.refresh(connection, site.site_id, NOW, everything=True)
    queries.vectors(connection, site.site_id, ["seen before"], encodes=Words())
    return Crowd(site, keys["secret_key"], keys["publishable_key"])


def spelled(number: int) -> str:
    """A word of its own for each number, as no language has it."""
    letters, left = "", number * 7919
    for _ in range(4):
        left, at = divmod(left, 26)
        letters += string.ascii_lowercase[at]
    return letters + "en"


def _record(number: int) -> dict[str, Any]:
    widths = [name for name, every in WIDTHS.items() if number % every == 0]
    return {
        "product_id": f"p{number}",
        "product_group_id": f"g{number // 2}",
        "title": f"{spelled(number % 900)} {spelled(900 + number % 70)} common",
        "description": f"made of {spelled(1000 + number % 30)}",
        "brand": f"Brand {number % 50}",
        "categories": [["Home", f"Room {number % 40}"], ["Gifts", f"For {number % 25}"]],
        "tags": [*widths, spelled(2000 + number)],
        "original_price": 10 + number % 90,
        "availability": "OUT_OF_STOCK" if number % 40 == 7 else "IN_STOCK",
        "custom_attributes": {"material": f"material {number % 30}"},
        "location": {"lat": 46 + (number % 100) / 50, "lon": 7 + (number // 100) / 50},
    }


def _give_vectors(connection: Connection, site_id: int) -> None:
    """Random ones, and an index that the model says it has."""
    model = models.live(connection, site_id)
    rows = connection.execute(
        "select product_no, text_hash from products where site_id = %s order by product_no",
        [site_id],
    ).fetchall()
    numbers, hashes = zip(*rows, strict=True)
    made = models.unit(np.random.default_rng(site_id).normal(size=(len(rows), 384)))
    for at in range(0, len(rows), CHUNK):
        part = slice(at, at + CHUNK)
        written = numbers[part], hashes[part], made[part]
        models.write_texts(connection, site_id, model.texts, *written)
        models.write_vectors(connection, site_id, model.vectors, *written)
    connection.execute("delete from products_to_encode where site_id = %s", [site_id])
    connection.execute(
        models.SQL.fill(
            "create_index",
            index=sql.Identifier(f"{model.vectors_table}_hnsw"),
            vectors=model.vectors,
            links=sql.Literal(8),
            ef_construction=sql.Literal(20),
        )
    )
    connection.execute(
        "update models set has_index = true, ef_search = %s, exact_cost = %s, fitted_on = %s "
        "where site_id = %s",
        [EF_SEARCH, EXACT_COST, len(rows), site_id],
    )
    models.uncache(connection, site_id)


def _give_people(connection: Connection, site: access.Site, size: int) -> None:
    visitors = list(_actors(site, "anonymous", "v", VISITORS))
    users = list(_actors(site, "user", "u", USERS))
    for kind, people in (("anonymous", visitors), ("user", users)):
        names, actors = zip(*people, strict=True)
        told = {"site_id": site.site_id, "kind": kind, "names": list(names), "at": NOW,
                "actors": list(actors)}  # fmt: skip
        connection.execute(ACTORS, told)
        if kind == "user":
            connection.execute(PEOPLE, told)
            model = models.live(connection, site.site_id)
            for statement in (PROFILES, KEPT):
                connection.execute(sql.SQL(statement).format(vectors=model.vectors), told)
            continue
        told |= {"visitors": VISITORS, "products": size, "events": EVENTS,
                 "at": NOW - timedelta(minutes=5)}  # fmt: skip
        connection.execute(EVENTS_OF_VISITORS, told)


def _actors(site: access.Site, kind: str, letter: str, count: int) -> Iterator[tuple[str, UUID]]:
    for number in range(count):
        yield f"{letter}{number}", actor_id(site.pepper, kind, f"{letter}{number}")


def settle(connection: Connection) -> None:
    """What autovacuum does, in time."""
    connection.execute("vacuum analyze")
