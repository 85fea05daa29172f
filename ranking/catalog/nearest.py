"""The products nearest to a vector, hard filters kept and never fewer than there are.

Strategies call it. Exact search or HNSW is our choice per query, never the planner's: exact while
the filter's matches are few, else the index, and exact again where the index came back short.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from prometheus_client import Counter
from psycopg import sql

from ranking.catalog import recall
from ranking.catalog.models import Model
from ranking.catalog.records import int_array
from ranking.merchandising.filters import Filter
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

Vector = np.ndarray[Any, np.dtype[np.float32]]

ALIAS = "v"  # what filters call the vector table
SESSION_EF_SEARCH = 200  # what serving connections set
# A condition that looks into products costs four times as much a match.
JOIN_COST = 4
# One that measures a distance: 13 us a match at 384 dimensions, of which the vector takes 1.
MEASURING_COST = 12
ESTIMATE_CACHE_S = 60.0
CACHED = 2_000

SEARCHES = Counter(
    "attune_vector_searches",
    "Searches for the nearest products: exact, by the index, exact after the index came back short",
    ["how"],
)
EXACT, INDEX, SHORT = (SEARCHES.labels(how) for how in ("exact", "index", "exact_after_index"))


class Neighbour(NamedTuple):
    """One product and its inner product with the vector (cosine, where both have unit length)."""

    product_no: int
    product_id: str
    group_key: int
    similarity: float
    share: float | None = None  # of the most popular product; None: it has no history
    new_share: float | None = None  # what the site gives such products instead


def nearest(
    connection: Connection,
    model: Model,
    vector: Vector,
    filter: Filter,
    limit: int,
    excluded_nos: Iterable[int] = (),
    *,
    prior: float = 0.0,
    fresh: float = 0.0,
    pool: int = 0,
) -> list[Neighbour]:
    """The `limit` nearest available products that pass the filter, nearest first, ties by number.

    With a `prior` the best of the `pool` nearest, popularity added to the inner product: `prior`
    times its share, and `fresh` more where there is no history. `filter` is compiled for the alias
    "v". Fewer come back only where fewer match.
    """
    wanted = max(pool, limit) if prior else limit
    parameters = {
        "site_id": model.site_id,
        "vector": vector,
        "excluded": int_array(excluded_nos),
        "limit": limit,
        "pool": wanted,
        "prior": prior,
        "fresh": fresh,
        **filter.params,
    }
    found = _found(connection, model, filter, parameters)
    if recall.is_next():
        recall.offer(recall.Served(model, filter, parameters, found))
    return found


def _found(
    connection: Connection, model: Model, filter: Filter, parameters: dict[str, Any]
) -> list[Neighbour]:
    if not use_index(connection, model, filter, parameters["pool"]):
        EXACT.inc()
        return _run(connection, "exact", model, filter, parameters)
    found = _indexed(connection, model, filter, parameters)
    INDEX.inc()
    if len(found) < parameters["limit"]:
        SHORT.inc()
        return _run(connection, "exact", model, filter, parameters)
    return found


def asked_again(connection: Connection, served: recall.Served) -> list[Neighbour]:
    """What that search would have found by comparing every product."""
    return _run(connection, "exact", served.model, served.filter, served.parameters)


def exact(
    connection: Connection, model: Model, vector: Vector, filter: Filter, limit: int
) -> list[Neighbour]:
    """What `nearest` approximates, by comparing every product; for measuring."""
    parameters = {
        "site_id": model.site_id, "vector": vector, "excluded": int_array(()), "limit": limit,
        "pool": limit, "prior": 0.0, "fresh": 0.0, **filter.params,
    }  # fmt: skip
    return _run(connection, "exact", model, filter, parameters)


def use_index(connection: Connection, model: Model, filter: Filter, limit: int) -> bool:
    """Whether HNSW is cheaper. Exact search compares every match; the index visits as many vectors
    as it keeps candidates, or more where matches are rare, and each visit costs `exact_cost`
    comparisons."""
    if not model.has_index:
        return False
    found = max(1, matches(connection, model, filter))
    cost = JOIN_COST if filter.joins_products else 1
    if filter.measures:
        cost = MEASURING_COST
    visited = max(model.ef_search, limit * model.rows / found)
    return cost * found >= model.exact_cost * visited


def _indexed(
    connection: Connection, model: Model, filter: Filter, parameters: dict[str, Any]
) -> list[Neighbour]:
    if _ef_search.get(connection, SESSION_EF_SEARCH) != model.ef_search:
        connection.execute(SQL.ef_search, {"ef_search": model.ef_search})
        _ef_search[connection] = model.ef_search
    return _run(connection, "indexed", model, filter, parameters)


def _run(
    connection: Connection, name: str, model: Model, filter: Filter, parameters: dict[str, Any]
) -> list[Neighbour]:
    """Prepared where the index is asked without a filter: planning takes a fifth of the search.
    Else not: a generic plan knows neither the filter's values nor how much of all it compares."""
    told = "ranked" if parameters["prior"] else "plain"
    statement = _statement(name, model, filter, told, parameters["pool"])
    prepare = name == "indexed" and not filter.params
    rows = connection.execute(statement, parameters, prepare=prepare)
    return [Neighbour(*row) for row in rows]


# What each connection searches with: asked for again only where the model wants another value.
_ef_search: WeakKeyDictionary[Connection, int] = WeakKeyDictionary()


def _statement(name: str, model: Model, filter: Filter, told: str = "", pool: int = 0) -> bytes:
    key = (model.vectors_table, filter.where.as_bytes(), told, pool)
    return SQL.filled(name, key, lambda: _slots(name, model, filter, told, pool))


def _slots(
    name: str, model: Model, filter: Filter, told: str, pool: int
) -> dict[str, sql.Composable]:
    slots: dict[str, sql.Composable] = {"vectors": model.vectors, "filter": filter.where}
    if name == "matches":
        return slots
    return slots | {"told": sql.SQL(SQL.statements[told]), "pool": sql.Literal(pool)}


# estimates --------------------------------------------------------------------------------------

_estimates: dict[Any, tuple[float, int]] = {}


def matches(connection: Connection, model: Model, filter: Filter) -> int:
    """The planner's guess of how many products pass the filter alone; a minute old at most."""
    statement = _statement("matches", model, filter)
    # A filter may name very many products.
    asked = blake2b(repr(filter.params).encode("utf-8", "replace"), digest_size=16).digest()
    key = (connection.info.dbname, statement, asked)
    known = _estimates.get(key)
    if known and known[0] > time.monotonic():
        return known[1]
    parameters = {"site_id": model.site_id, **filter.params}
    row = connection.execute(statement, parameters, prepare=False).fetchone()
    estimate = int(row[0][0]["Plan"]["Plan Rows"]) if row else 0
    if len(_estimates) >= CACHED:
        _estimates.clear()
    _estimates[key] = (time.monotonic() + ESTIMATE_CACHE_S, estimate)
    return estimate


def vectors(connection: Connection, model: Model, product_nos: Iterable[int]) -> dict[int, Vector]:
    """The model's vectors of these products by number; explanations compare them with events."""
    parameters = {"site_id": model.site_id, "product_nos": int_array(product_nos)}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(SQL.fill("vectors", vectors=model.vectors), parameters)
        return {product_no: vector.to_numpy() for product_no, vector in rows}
