"""A trained version's table: filled, indexed where exact search is too dear, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from psycopg import sql

from ranking.catalog import fitting, learned_models, models, nearest
from ranking.catalog.encoder import DIMENSION, Vectors
from ranking.catalog.learned import Array
from ranking.catalog.learned_models import Learned
from ranking.catalog.models import SQL, Model
from ranking.merchandising import filters
from schemas import database
from schemas.database import Connection

AT_ONCE = 2_000
TIMED = 100  # queries
LIST = 24

Told = Callable[[int, int], None]
Chunk = tuple[list[int], list[Any], Vectors]


def fill(
    connection: Connection, learned: Learned, histories: dict[int, Array], told: Told
) -> Learned:
    """Write every product that has a text or a history (by number); what the table then holds."""
    done = 0
    for numbers, hashes, raw in _products(connection, learned):
        known = [n for n, one in enumerate(numbers) if hashes[n] is not None or one in histories]
        if known:
            learned_models.write(
                connection,
                learned,
                [numbers[n] for n in known],
                [hashes[n] for n in known],
                raw[known],
                histories,
            )
        done += len(known)
        told(done, 0)
    models.analyze(connection, learned.model)
    return replace(learned, model=replace(learned.model, rows=done))


def indexed(connection: Connection, learned: Learned, queries: Array) -> Learned:
    """With an index where there are so many products that exact search is too dear, and where one
    finds for these queries what exact search finds."""
    model = learned.model
    if model.rows < fitting.INDEX_FROM or not len(queries):
        return learned
    return replace(learned, model=fitting.indexed(connection, model, queries))


def recall(connection: Connection, learned: Learned, queries: Array) -> float:
    """Which part of the exact nearest is found as it serves; 1 where it is asked exactly."""
    model = learned.model
    if not model.has_index:
        return 1.0
    return fitting.recall(connection, model, queries, model.ef_search)


def latency_ms(connection: Connection, model: Model, queries: Array) -> float:
    """What half of the searches take no longer than: the slowest say more of what else runs."""
    took = []
    everything = filters.compile(filters.everything(), nearest.ALIAS)
    for query in queries[:TIMED]:
        began = time.perf_counter()
        nearest.nearest(connection, model, query, everything, LIST)
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took)) if took else 0.0


def ready(connection: Connection, learned: Learned, record: Mapping[str, Any]) -> None:
    """Keep how its table is to be asked, and its record: from now on it can be promoted."""
    model = learned.model
    parameters = {
        "site_id": model.site_id,
        "model_id": model.model_id,
        "ef_search": model.ef_search,
        "has_index": model.has_index,
        "record": database.jsonb(record),
    }
    connection.execute(SQL.ready, parameters)


def catch_up(connection: Connection, learned: Learned) -> None:
    """What was encoded, deleted or changed since the table was filled."""
    model = learned.model
    site = {"site_id": model.site_id}
    stale = fitting.texts(connection, model, "read_stale")
    for numbers, hashes, raw in stale:
        kept = learned_models.histories(connection, model, numbers)
        learned_models.write(connection, learned, numbers, hashes, raw, kept)
    connection.execute(SQL.fill("forget_deleted", vectors=model.vectors), site)
    connection.execute(SQL.fill("copy_all_columns", vectors=model.vectors), site)


def _products(connection: Connection, learned: Learned) -> Iterator[Chunk]:
    """Every product in chunks: numbers, hashes of texts (None: no text), raw texts."""
    model = learned.model
    query: sql.Composed = SQL.fill("read_learned", texts=model.texts)
    after = 0
    while True:
        parameters = {"site_id": model.site_id, "after": after, "limit": AT_ONCE}
        with connection.cursor(binary=True) as cursor:
            found = cursor.execute(query, parameters).fetchall()
        if not found:
            return
        raw = np.zeros((len(found), DIMENSION), np.float32)
        for row, (_, _, vector) in enumerate(found):
            if vector is not None:
                raw[row] = vector.to_numpy()
        yield [number for number, _, _ in found], [one for _, one, _ in found], raw
        after = found[-1][0]
