"""The learned model that is live for a site, and its table: products by their text and their
events, to be compared with visitors by inner product. `training` makes and promotes versions,
strategies and profiles ask for the live one, and `embeddings` writes products here as it encodes.

Its statements are with those of all models.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from ranking.catalog import models, nearest
from ranking.catalog.encoder import Vectors
from ranking.catalog.learned import DIMENSION, WIDTH, Array, Network, read
from ranking.catalog.models import LIVE_CACHE_S, LIVE_COLUMNS, SQL, Model
from schemas.database import Connection

NAME = "learned-1"
# What one visit of the index costs in exact comparisons of 65 dimensions.
EXACT_COST = 48.0


@dataclass(frozen=True)
class Learned:
    """A version as it serves."""

    model: Model
    network: Network

    @property
    def model_id(self) -> int:
        return self.model.model_id


_cache: dict[tuple[str, int], tuple[float, Learned | None]] = {}
_cache_lock = threading.Lock()


def live(connection: Connection, site_id: int) -> Learned | None:
    """The version that serves this site, at most a second old; None where there is none."""
    key = (connection.info.dbname, site_id)
    known = _cache.get(key)
    if known and time.monotonic() - known[0] < LIVE_CACHE_S:
        return known[1]
    found = _live(connection, site_id, known[1] if known else None)
    with _cache_lock:
        _cache[key] = (time.monotonic(), found)
    return found


def uncache(connection: Connection, site_id: int) -> None:
    """Forget the version known here: the next `live` reads it afresh."""
    with _cache_lock:
        _cache.pop((connection.info.dbname, site_id), None)


def _live(connection: Connection, site_id: int, known: Learned | None) -> Learned | None:
    """Read afresh, but for the weights, which never change."""
    parameters = {
        "site_id": site_id,
        "name": NAME,
        "known": known.model_id if known else 0,
    }
    row = connection.execute(SQL.live, parameters).fetchone()
    return _of_row(connection, site_id, row, known) if row else None


def version(connection: Connection, site_id: int, model_id: int) -> Learned | None:
    """Any version whose table is still there; None where it is not."""
    parameters = {"site_id": site_id, "name": NAME, "model_id": model_id}
    row = connection.execute(SQL.version, parameters).fetchone()
    return _of_row(connection, site_id, row, None) if row else None


def _of_row(
    connection: Connection, site_id: int, row: Sequence[Any], known: Learned | None
) -> Learned:
    fields = dict(zip(LIVE_COLUMNS, row, strict=True))
    same = known is not None and known.model_id == fields["model_id"]
    network = known.network if known and same else read(fields["params"])
    return Learned(models.made(connection, site_id, fields | {"params": None}), network)


# products -----------------------------------------------------------------------------------------


def vectors(connection: Connection, learned: Learned, product_nos: Iterable[int]) -> dict[int, Any]:
    """Vectors [64] and bias [1] of these products together, by number; unknown ones are missing."""
    return nearest.vectors(connection, learned.model, product_nos)


def write_encoded(
    connection: Connection,
    site_id: int,
    product_nos: Sequence[int],
    hashes: Sequence[UUID],
    raw: Vectors,
) -> None:
    """Serve products whose texts were just encoded, what their events said of them kept. The
    caller's transaction holds the models' lock, so that the live version stays live."""
    known = _cache.get((connection.info.dbname, site_id))
    learned = _live(connection, site_id, known[1] if known else None)
    if learned is not None:
        kept = histories(connection, learned.model, product_nos)
        write(connection, learned, product_nos, hashes, raw, kept)


def histories(
    connection: Connection, model: Model, product_nos: Sequence[int] | None = None
) -> dict[int, Array]:
    """What events add to products' texts [65], by number, of those that have any; of all products
    where none are named."""
    name = "all_histories" if product_nos is None else "histories"
    parameters = {"site_id": model.site_id, "product_nos": list(product_nos or ())}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(SQL.fill(name, learned=model.vectors), parameters)
        return {number: history.to_numpy() for number, history in rows}


def write(
    connection: Connection,
    learned: Learned,
    product_nos: Sequence[int],
    hashes: Sequence[UUID | None],
    raw: Vectors,
    kept: dict[int, Array],
) -> None:
    """Upsert products of raw texts [n, 384] (zeros: none) and their histories by number."""
    served = np.zeros((len(product_nos), DIMENSION), np.float32)
    served[:, :WIDTH] = learned.network.of_texts(raw)
    past = [kept.get(number) for number in product_nos]
    for row, history in enumerate(past):
        if history is not None:
            served[row] += history
    connection.execute(
        SQL.fill("write_learned", learned=learned.model.vectors),
        {
            "site_id": learned.model.site_id,
            "product_nos": list(product_nos),
            "hashes": list(hashes),
            "histories": [None if one is None else HalfVector(one) for one in past],
            "served": [HalfVector(vector) for vector in served],
        },
    )


# versions -----------------------------------------------------------------------------------------


def begin(connection: Connection, site_id: int, network: Network, content: bytes) -> Learned:
    """A new version in the state of building, with an empty table; those that a killed training
    left behind are given up."""
    site = {"site_id": site_id, "name": NAME}
    for (table,) in connection.execute(SQL.give_up, site).fetchall():
        _drop(connection, table)
    source = models.live(connection, site_id)
    row = connection.execute(
        SQL.begin,
        site
        | {
            "dimension": DIMENSION,
            "texts_table": source.texts_table,
            "exact_cost": EXACT_COST,
            "params": content,
            "fitted_on": 0,
        },
    ).fetchone()
    model_id, table = row  # type: ignore[misc]
    connection.execute(SQL.fill("create_learned", vectors=sql.Identifier(table)))
    models.create_terms_index(connection, table)
    model = replace(
        source,
        model_id=model_id,
        vectors_table=table,
        exact_cost=EXACT_COST,
        has_index=False,
        params=None,
        rows=0,
    )
    return Learned(model, network)


def forget(connection: Connection, site_id: int) -> None:
    """Keep of no version what it has learned, nor serve any."""
    site = {"site_id": site_id, "name": NAME}
    with connection.transaction():
        connection.execute(SQL.lock_models, site)
        connection.execute(SQL.forget_learned, site)
    drop_left_over(connection, site_id)
    uncache(connection, site_id)


def drop_left_over(connection: Connection, site_id: int) -> None:
    """Tables that nothing goes back to. No version goes live meanwhile: it might be one of them."""
    site = {"site_id": site_id, "name": NAME}
    with connection.transaction():
        connection.execute(SQL.lock_models, site)
        for (table,) in connection.execute(SQL.left_over_learned, site).fetchall():
            _drop(connection, table)


def _drop(connection: Connection, table: str) -> None:
    connection.execute(SQL.fill("drop", vectors=sql.Identifier(table)))
