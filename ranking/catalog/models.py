"""The models that serve a site's vectors, and their tables. embeddings and fitting write them,
strategies ask for the live one.

Raw text vectors lie in one table a site, those a model serves in a table of that model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from ranking.catalog.encoder import DIMENSION, Vectors
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

MODEL_NAME = "text-1"
# What one visit of the index costs in exact comparisons of 384 dimensions: 12-15 us against .42.
EXACT_COST = 30.0
LIVE_CACHE_S = 1.0


class NoModel(AttuneError):
    """A site has no tables for its vectors."""

    def __init__(self, site_id: int) -> None:
        super().__init__(f"site {site_id} has no vector tables: create it with `sites create`")
        self.site_id = site_id


@dataclass(frozen=True)
class Model:
    """A model as it is served. `rows` is an estimate; `params` None means the identity."""

    site_id: int
    model_id: int
    vectors_table: str
    texts_table: str
    ef_search: int
    exact_cost: float
    has_index: bool
    fitted_on: int
    rows: int
    params: bytes | None

    def transform(self, raw: Vectors) -> Vectors:
        """Raw text vectors [n, 384] as this model serves them: unit length, float32."""
        if self._fitted is None:
            return unit(raw)
        mean, rotation = self._fitted
        return unit((raw - mean) @ rotation)

    @cached_property
    def _fitted(self) -> tuple[Vectors, Vectors] | None:
        if self.params is None:
            return None
        numbers = np.frombuffer(self.params, dtype="<f4").astype(np.float32, copy=False)
        return numbers[:DIMENSION], numbers[DIMENSION:].reshape(DIMENSION, DIMENSION)

    @property
    def vectors(self) -> sql.Identifier:
        return sql.Identifier(self.vectors_table)

    @property
    def texts(self) -> sql.Identifier:
        return sql.Identifier(self.texts_table)


def unit(vectors: np.ndarray[Any, Any]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return unit


# tables -----------------------------------------------------------------------------------------


def create_tables(connection: Connection, site_id: int) -> None:
    """A site's tables and its first model, the identity; does nothing where they exist."""
    texts, vectors = _texts_table(site_id), _vectors_table(site_id, 1)
    connection.execute(SQL.fill("create_texts", texts=sql.Identifier(texts)))
    create_vectors_table(connection, vectors)
    connection.execute(
        SQL.insert_first_model,
        {
            "site_id": site_id,
            "name": MODEL_NAME,
            "dimension": DIMENSION,
            "vectors_table": vectors,
            "texts_table": texts,
            "exact_cost": EXACT_COST,
        },
    )


def create_vectors_table(connection: Connection, name: str) -> None:
    connection.execute(SQL.fill("create_vectors", vectors=sql.Identifier(name)))
    create_terms_index(connection, name)


def create_terms_index(connection: Connection, name: str) -> None:
    connection.execute(
        SQL.fill(
            "create_terms_index",
            vectors=sql.Identifier(name),
            index=sql.Identifier(f"{name}_terms"),
        )
    )


def _texts_table(site_id: int) -> str:
    return f"texts_{site_id}"


def _vectors_table(site_id: int, model_id: int) -> str:
    return f"vectors_{site_id}_{model_id}"


def sites(connection: Connection) -> list[int]:
    """Every site that has tables for its vectors."""
    return [row[0] for row in connection.execute(SQL.sites, {"name": MODEL_NAME})]


# the live model ---------------------------------------------------------------------------------

_cache: dict[tuple[str, int], tuple[float, Model]] = {}
_cache_lock = threading.Lock()


def live(connection: Connection, site_id: int) -> Model:
    """The model that serves this site, at most a second old; raises NoModel."""
    key = (connection.info.dbname, site_id)
    known = _cache.get(key)
    if known and time.monotonic() - known[0] < LIVE_CACHE_S:
        return known[1]
    model = _live(connection, site_id, known[1] if known else None)
    with _cache_lock:
        _cache[key] = (time.monotonic(), model)
    return model


def uncache(connection: Connection, site_id: int) -> None:
    """Forget the model known here: the next `live` reads it afresh."""
    with _cache_lock:
        _cache.pop((connection.info.dbname, site_id), None)


def _live(connection: Connection, site_id: int, known: Model | None = None) -> Model:
    """Read afresh, but for the parameters, which never change once a model is live."""
    parameters = {"site_id": site_id, "name": MODEL_NAME, "known": known.model_id if known else 0}
    row = connection.execute(SQL.live, parameters).fetchone()
    if row is None:
        raise NoModel(site_id)
    fields = dict(zip(LIVE_COLUMNS, row, strict=True))
    if known and known.model_id == fields["model_id"]:
        fields["params"] = known.params
    return made(connection, site_id, fields)


def made(connection: Connection, site_id: int, fields: dict[str, Any]) -> Model:
    """A model of its row's LIVE_COLUMNS."""
    rows = _rows(connection, fields["vectors_table"], fields.pop("estimate"))
    return Model(site_id=site_id, rows=rows, **fields)


LIVE_COLUMNS = (
    "model_id", "vectors_table", "texts_table", "ef_search", "exact_cost", "has_index",
    "fitted_on", "params", "estimate",
)  # fmt: skip

ESTIMATE_FROM = 20_000


def _rows(connection: Connection, table: str, estimate: int) -> int:
    """Postgres's estimate, but small tables are counted: a new one has none."""
    if estimate >= ESTIMATE_FROM:
        return estimate
    row = connection.execute(SQL.fill("count", table=sql.Identifier(table))).fetchone()
    return int(row[0]) if row else 0


# writing vectors ----------------------------------------------------------------------------------


def copy_columns(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Bring the filter columns beside served vectors up to date with products."""
    if not product_nos:
        return
    for table in _served_tables(connection, site_id):
        connection.execute(
            SQL.fill("copy_columns", vectors=sql.Identifier(table)),
            {"site_id": site_id, "product_nos": database.jsonb(product_nos)},
        )


def forget(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Remove every vector of these products."""
    if not product_nos:
        return
    parameters = {"site_id": site_id, "product_nos": database.jsonb(product_nos)}
    for table in (_texts_table(site_id), *_served_tables(connection, site_id)):
        connection.execute(SQL.fill("forget", table=sql.Identifier(table)), parameters)


def _served_tables(connection: Connection, site_id: int) -> list[str]:
    """The vectors tables of live models, which stay the live ones until the transaction ends.

    A promotion takes the same lock alone. Locked in a statement of its own, because a statement
    sees the rows of before it waited. Order of locks: products, then this one, then vectors.
    """
    connection.execute(SQL.lock_models_shared, {"site_id": site_id})
    rows = connection.execute(SQL.served_tables, {"site_id": site_id})
    return [row[0] for row in rows]


def locked_live(connection: Connection, site_id: int) -> Model:
    """The live model, which stays live until the transaction ends."""
    known = _cache.get((connection.info.dbname, site_id))
    connection.execute(SQL.lock_models_shared, {"site_id": site_id})
    return _live(connection, site_id, known[1] if known else None)


def write_texts(
    connection: Connection,
    site_id: int,
    table: sql.Identifier,
    product_nos: Sequence[int],
    hashes: Sequence[UUID],
    raw: Vectors,
) -> None:
    """Upsert raw text vectors."""
    connection.execute(
        SQL.fill("write_texts", texts=table),
        {
            "site_id": site_id,
            "product_nos": list(product_nos),
            "hashes": list(hashes),
            "vectors": list(raw),
        },
    )


def write_vectors(
    connection: Connection,
    site_id: int,
    table: sql.Identifier,
    product_nos: Sequence[int],
    hashes: Sequence[UUID],
    served: Vectors,
) -> None:
    """Upsert served vectors with their products' filter columns."""
    connection.execute(
        SQL.fill("write_vectors", vectors=table),
        {
            "site_id": site_id,
            "product_nos": list(product_nos),
            "hashes": list(hashes),
            "served": [HalfVector(vector) for vector in served],
        },
    )


def analyze(connection: Connection, model: Model) -> None:
    """Tell the planner what a bulk changed: the choice of exact or HNSW rests on its estimates."""
    connection.execute(SQL.fill("analyze", vectors=model.vectors))
