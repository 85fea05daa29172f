"""Fits text-1 to a site's own catalog: half-whitening, below FIT_FROM products the identity.

The trainer role calls `fit`. A new model is built beside the live one and promoted in one
transaction; `models.sql` holds the statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from ranking.catalog import models
from ranking.catalog.encoder import DIMENSION, Vectors
from ranking.catalog.models import MODEL_NAME, SQL, Model
from schemas import database
from schemas.database import Connection

FIT_FROM = 1_000  # under 384 the covariance is singular, and noisy for long after
INDEX_FROM = 20_000  # exact search of fewer is fast enough
CHUNK = 2_000

# The smallest deviation an axis is divided by, of the largest: near-copies leave axes empty.
SMALLEST_AXIS = 0.01

# (links a vector, candidates while building, candidates while searching), cheapest first. On
# 100,000 products of tight groups the first finds .979 at 200 and .981 at 400.
BUILDS = ((16, 64, (200, 400)), (24, 128, (200, 400, 800)))
RECALL_K = 24
RECALL_WANTED = 0.985  # .98 is promised; a sample of queries may flatter
RECALL_QUERIES = 200
LONGEST_VISIT = 5  # products
HALFVEC_TIE = 1e-4  # two equal texts differ by less; ten times that flattered an index by .01

INDEX_BYTES = 1_600  # a vector of 384 while the index is built: 1.2 kB and a third
INDEX_MEMORY_MB = (64, 1_024)

Progress = Callable[[int, int], None]
Chunk = tuple[list[int], list[UUID], Vectors]


def is_due(connection: Connection, site_id: int) -> bool:
    """Whether so much was encoded since the last fit that another pays."""
    model = models.live(connection, site_id)
    wanted = _wanted(model.fitted_on)
    counted = connection.execute(
        SQL.fill("count_up_to", table=model.texts), {"limit": wanted}
    ).fetchone()
    return bool(counted and counted[0] >= wanted)


def _wanted(fitted_on: int) -> int:
    """When the catalog has doubled, and when it first needs an index."""
    if fitted_on < FIT_FROM:
        return FIT_FROM
    return min(2 * fitted_on, INDEX_FROM) if fitted_on < INDEX_FROM else 2 * fitted_on


def fit(connection: Connection, site_id: int, progress: Progress | None = None) -> Model | None:
    """Fit, build and promote if that is due; the model now live, or None where nothing was done.

    The connection is in autocommit. `progress` is told (vectors written, vectors in all). Killed
    at any point it leaves the live model as it was.
    """
    with _alone(connection, site_id) as alone:
        models.uncache(connection, site_id)
        if not alone or not is_due(connection, site_id):
            return None
        _give_up_others(connection, site_id)
        params, fitted_on = _half_whitening(connection, models.live(connection, site_id))
        model = _begin(connection, site_id, params, fitted_on)
        _fill(connection, model, progress)
        if fitted_on >= INDEX_FROM:
            model = indexed(connection, model, _queries(connection, model))
        _promote(connection, model)
    return models.live(connection, site_id)


@contextmanager
def _alone(connection: Connection, site_id: int) -> Iterator[bool]:
    """Whether this is the only fit of the site; ends with the connection however it ends."""
    row = connection.execute(SQL.lock_fit, {"site_id": site_id}).fetchone()
    alone = bool(row and row[0])
    try:
        yield alone
    finally:
        if alone and not connection.broken:
            connection.execute(SQL.unlock_fit, {"site_id": site_id})


def _give_up_others(connection: Connection, site_id: int) -> None:
    site = {"site_id": site_id, "name": MODEL_NAME}
    for (table,) in connection.execute(SQL.give_up, site).fetchall():
        connection.execute(SQL.fill("drop", vectors=sql.Identifier(table)))


# the transformation -------------------------------------------------------------------------------


def _half_whitening(connection: Connection, source: Model) -> tuple[bytes, int]:
    """Centre, rotate to the principal axes, divide each by the root of its deviation.

    Half-whitening of text vectors for recommendation: "Are ID Embeddings Necessary? Whitening
    Pre-trained Text Embeddings for Effective Sequential Recommendation" (WhitenRec, ICDE 2024).
    """
    count = 0
    total = np.zeros(DIMENSION)
    products = np.zeros((DIMENSION, DIMENSION))
    for _, _, raw in texts(connection, source):
        exact = raw.astype(np.float64)
        count += len(exact)
        total += exact.sum(axis=0)
        products += exact.T @ exact
    mean = total / count
    return _parameters(mean, products / count - np.outer(mean, mean)), count


def _parameters(mean: np.ndarray, covariance: np.ndarray) -> bytes:
    mean, rotation = half_whitening(mean, covariance)
    return bytes(np.concatenate([mean, rotation.ravel()]).astype("<f4").tobytes())


def half_whitening(mean: np.ndarray, covariance: np.ndarray) -> tuple[Vectors, Vectors]:
    """The mean to take away and the matrix to multiply by: principal axes, each divided by the root
    of its deviation."""
    variances, axes = np.linalg.eigh(covariance)
    deviations = np.sqrt(np.maximum(variances, 0))
    deviations = np.maximum(deviations, SMALLEST_AXIS * deviations.max())
    rotation = axes / np.sqrt(deviations)
    return mean.astype(np.float32), rotation.astype(np.float32)


def whitening(raw: Vectors) -> dict[str, Vectors]:
    """The half-whitening of a catalog's texts (zeros: none) by the names of a learned model's
    weights; empty where they are too few for one."""
    there = raw[np.any(raw != 0, axis=1)].astype(np.float64)
    if len(there) < FIT_FROM:
        return {}
    mean = there.mean(axis=0)
    mean_, rotation = half_whitening(mean, there.T @ there / len(there) - np.outer(mean, mean))
    return {"mean": mean_, "rotation": rotation}


# building -----------------------------------------------------------------------------------------


def _begin(connection: Connection, site_id: int, params: bytes, fitted_on: int) -> Model:
    source = models.live(connection, site_id)
    row = connection.execute(
        SQL.begin,
        {
            "site_id": site_id,
            "name": MODEL_NAME,
            "dimension": DIMENSION,
            "texts_table": source.texts_table,
            "exact_cost": models.EXACT_COST,
            "params": params,
            "fitted_on": fitted_on,
        },
    ).fetchone()
    model_id, table = row  # type: ignore[misc]
    models.create_vectors_table(connection, table)
    return replace(
        source,
        model_id=model_id,
        vectors_table=table,
        params=params,
        fitted_on=fitted_on,
        rows=fitted_on,
        has_index=False,
        ef_search=BUILDS[0][2][0],
    )


def _fill(connection: Connection, model: Model, progress: Progress | None) -> None:
    done = 0
    for numbers, hashes, raw in texts(connection, model):
        served = model.transform(raw)
        models.write_vectors(connection, model.site_id, model.vectors, numbers, hashes, served)
        done += len(numbers)
        if progress:
            progress(done, max(done, model.rows))
    models.analyze(connection, model)


def texts(connection: Connection, model: Model, statement: str = "read_texts") -> Iterator[Chunk]:
    """Every raw vector in chunks, each read by a statement of its own."""
    query = SQL.fill(statement, texts=model.texts, vectors=model.vectors)
    after = 0
    while True:
        with connection.cursor(binary=True) as cursor:
            cursor.execute(query, {"site_id": model.site_id, "after": after, "limit": CHUNK})
            found = cursor.fetchall()
        if not found:
            return
        numbers, hashes, vectors = zip(*found, strict=True)
        raw = np.stack([vector.to_numpy() for vector in vectors]).astype(np.float32)
        yield list(numbers), list(hashes), raw
        after = numbers[-1]


# the index ----------------------------------------------------------------------------------------


def indexed(connection: Connection, model: Model, queries: Vectors) -> Model:
    """With an HNSW index that finds what exact search finds for these queries, the cheapest to
    build and to ask that does; without one where none does."""
    for links, ef_construction, searches in BUILDS:
        _create_index(connection, model, links, ef_construction)
        for ef_search in searches:
            if recall(connection, model, queries, ef_search) >= RECALL_WANTED:
                return replace(model, has_index=True, ef_search=ef_search)
        connection.execute(SQL.fill("drop_index", index=_index(model)))
    return model


def _create_index(connection: Connection, model: Model, links: int, ef_construction: int) -> None:
    """In two processes, or in one where shared memory is too small for that (containers)."""
    for helpers in (1, 0):
        try:
            with connection.transaction():
                connection.execute(SQL.index_memory, _index_memory(model.rows, helpers))
                connection.execute(
                    SQL.fill(
                        "create_index",
                        index=_index(model),
                        vectors=model.vectors,
                        links=sql.Literal(links),
                        ef_construction=sql.Literal(ef_construction),
                    )
                )
            return
        except psycopg.errors.DiskFull:
            if not helpers:
                raise


def _index_memory(rows: int, helpers: int) -> dict[str, str]:
    least, most = INDEX_MEMORY_MB
    megabytes = min(most, max(least, rows * INDEX_BYTES >> 20))
    return {"memory": f"{megabytes}MB", "helpers": str(helpers)}


def _index(model: Model) -> sql.Identifier:
    return sql.Identifier(f"{model.vectors_table}_hnsw")


def recall(connection: Connection, model: Model, queries: Vectors, ef_search: int) -> float:
    """Which part of the exact nearest the index finds."""
    with connection.transaction():
        connection.execute(SQL.search_settings, {"ef_search": str(ef_search)})
        shares = [_found_share(connection, model, query) for query in queries]
    return float(np.mean(shares))


def _queries(connection: Connection, model: Model) -> Vectors:
    """Vectors as visitors have them: of one to five products, each step back counting half.

    They lie between products, where an index finds less than near one.
    """
    rows = connection.execute(
        SQL.fill("sample", vectors=model.vectors),
        {"site_id": model.site_id, "limit": LONGEST_VISIT * RECALL_QUERIES},
    )
    sample = np.stack([vector.to_numpy() for (vector,) in rows]).astype(np.float32)
    visits = [
        sample[number::RECALL_QUERIES][: 1 + number % LONGEST_VISIT]
        for number in range(RECALL_QUERIES)
    ]
    return models.unit(np.stack([0.5 ** np.arange(len(one)) @ one for one in visits]))


def _found_share(connection: Connection, model: Model, query: Vectors) -> float:
    exact = _distances(connection, "nearest_exact", model, query)
    found = _distances(connection, "nearest_by_index", model, query)
    return sum(distance <= exact[-1] + HALFVEC_TIE for distance in found) / len(exact)


def _distances(connection: Connection, name: str, model: Model, query: Vectors) -> list[float]:
    rows = connection.execute(
        SQL.fill(name, vectors=model.vectors), {"query": query, "limit": RECALL_K}
    )
    return [row[0] for row in rows]


# promotion ----------------------------------------------------------------------------------------

PROMOTION_TRIES = 20


def _promote(connection: Connection, model: Model) -> None:
    """Catch up, then in one transaction, while no product changes, catch up again and flip."""
    _catch_up(connection, model)
    for attempt in range(PROMOTION_TRIES):
        try:
            with connection.transaction():
                connection.execute(SQL.wait_briefly)
                connection.execute(SQL.lock_models, {"site_id": model.site_id})
                _catch_up(connection, model)
                _flip(connection, model)
            break
        except psycopg.errors.LockNotAvailable:
            if attempt + 1 == PROMOTION_TRIES:
                raise
    models.uncache(connection, model.site_id)
    _drop_left_over(connection, model.site_id)


def _catch_up(connection: Connection, model: Model) -> None:
    """What was encoded, deleted or changed since the table was filled."""
    site = {"site_id": model.site_id}
    for numbers, hashes, raw in texts(connection, model, "read_stale"):
        served = model.transform(raw)
        models.write_vectors(connection, model.site_id, model.vectors, numbers, hashes, served)
    connection.execute(SQL.fill("forget_gone", vectors=model.vectors, texts=model.texts), site)
    connection.execute(SQL.fill("copy_all_columns", vectors=model.vectors), site)


def _flip(connection: Connection, model: Model) -> None:
    connection.execute(SQL.retire, {"site_id": model.site_id, "name": MODEL_NAME})
    connection.execute(
        SQL.promote,
        {
            "site_id": model.site_id,
            "model_id": model.model_id,
            "ef_search": model.ef_search,
            "has_index": model.has_index,
            "record": database.jsonb(_record(model)),
        },
    )


def _record(model: Model) -> dict[str, object]:
    """What a person asks of a model."""
    return {
        "method": "half-whitening of text vectors",
        "fitted_on": model.fitted_on,
        "index": "HNSW" if model.has_index else "none",
        "ef_search": model.ef_search,
    }


def _drop_left_over(connection: Connection, site_id: int) -> None:
    rows = connection.execute(SQL.left_over, {"site_id": site_id, "name": MODEL_NAME}).fetchall()
    for (table,) in rows:
        connection.execute(SQL.fill("drop", vectors=sql.Identifier(table)))
