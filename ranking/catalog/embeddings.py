"""Encoding the catalog: what has no vector of its present text is found, encoded and served.

products queues here, the encoder role drains. With `models` and `fitting`, which are named here
too, all there is to embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from prometheus_client import Counter
from psycopg.pq import TransactionStatus

from ranking.catalog import clusters, learned_models, models
from ranking.catalog.encoder import Encodes, Vectors, hashes_of_this_recipe, text_hash, text_of
from ranking.catalog.fitting import fit, is_due
from ranking.catalog.models import Model, NoModel, create_tables, live, sites
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

__all__ = [
    "Model", "NoModel", "Progress", "create_tables", "drain", "failed", "find_dirty", "fit",
    "forget", "is_due", "live", "queue", "sites", "sites_waiting", "waiting",
]  # fmt: skip


def queue(connection: Connection, site_id: int, product_nos: Sequence[int]) -> int:
    """Ask for these products to be encoded; returns how many that are."""
    if not product_nos:
        return 0
    return connection.execute(
        SQL.queue, {"site_id": site_id, "product_nos": database.jsonb(product_nos)}
    ).rowcount


def forget(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Remove every vector of these products, and the wish for one."""
    if not product_nos:
        return
    parameters = {"site_id": site_id, "product_nos": database.jsonb(product_nos)}
    connection.execute(SQL.unqueue, parameters)
    models.forget(connection, site_id, product_nos)


# encoding -----------------------------------------------------------------------------------------

# So many are taken and sorted by length at once, and so many stored in one transaction: a kill
# loses at most one slice's work, and nothing else.
TAKEN = 512
SLICE = 64
ENCODERS = 16  # so many find something to take of one site at once
ANALYZE_FROM = 1000

MAX_ATTEMPTS = 5
FIRST_RETRY = timedelta(seconds=30)  # four times as long after each further failure

# What a tokenizer or a network raises for a text it cannot take.
ENCODE_ERRORS = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, MemoryError)

USABLE = (TransactionStatus.IDLE, TransactionStatus.INTRANS)

Progress = Callable[[int, int], None]

ENCODED = Counter("attune_products_encoded", "Products encoded and stored")
NOT_ENCODED = Counter("attune_products_not_encoded", "Attempts to encode a product that failed")


@dataclass(frozen=True, slots=True)
class _Dirty:
    product_no: int
    text_hash: UUID
    tried: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Encoded:
    product_no: int
    text_hash: UUID
    vector: Vectors


def drain(
    connection: Connection,
    site_id: int,
    encoder: Encodes,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    at: datetime | None = None,
) -> int:
    """Encode what waits, the newest first, until a fresh look finds nothing; returns how many.

    The connection is in autocommit. Several may drain one site at once, on connections of their
    own. `progress` is told (done, done and waiting); `stop` is asked after each slice. A product
    that fails waits longer each time and is left after MAX_ATTEMPTS, with its error in the queue.
    """
    done = 0
    while not stop():
        with _taken(connection, site_id, at or datetime.now(UTC)) as dirty:
            if dirty is None:
                break
            done += _encode_all(connection, site_id, encoder, dirty, done, progress, stop)
    if done >= ANALYZE_FROM:
        models.analyze(connection, live(connection, site_id))
    return done


def waiting(connection: Connection, site_id: int, at: datetime | None = None) -> int:
    """How many products can be encoded now."""
    row = connection.execute(SQL.waiting, _due(site_id, at or datetime.now(UTC))).fetchone()
    return int(row[0]) if row else 0


def failed(connection: Connection, site_id: int) -> int:
    """How many products could not be encoded so far."""
    parameters = {"site_id": site_id, "max_attempts": MAX_ATTEMPTS}
    row = connection.execute(SQL.failed, parameters).fetchone()
    return int(row[0]) if row else 0


def with_text(connection: Connection, site_id: int) -> int:
    """How many products say something that has a vector, or should have one."""
    row = connection.execute(SQL.with_text, {"site_id": site_id}).fetchone()
    return int(row[0]) if row else 0


def sites_waiting(connection: Connection, at: datetime) -> list[int]:
    """The sites that have something to encode now."""
    rows = connection.execute(SQL.sites_waiting, _due(0, at))
    return [row[0] for row in rows]


def find_dirty(connection: Connection, site_id: int) -> int:
    """Queue what the queue missed, by comparing every hash; returns how many were found.

    Texts of another recipe are told anew first, so after an upgrade they are found too.
    """
    model = live(connection, site_id)
    _tell_anew(connection, site_id)
    return connection.execute(
        SQL.fill("find_dirty", texts=model.texts, vectors=model.vectors), {"site_id": site_id}
    ).rowcount


def _tell_anew(connection: Connection, site_id: int) -> None:
    """Give products whose text another recipe made, or found empty, the hash of their present one.

    Batch by batch, each with a transaction of its own: where it is interrupted the next goes on.
    """
    first, last = hashes_of_this_recipe()
    after = 0
    while True:
        batch = {"site_id": site_id, "first": first, "last": last, "after": after}
        told = connection.execute(SQL.of_another_recipe, batch | {"limit": TAKEN}).fetchall()
        if not told:
            return
        rows = [
            {"product_no": product_no, "record_hash": record_hash, "text_hash": text_hash(record)}
            for product_no, record_hash, record in told
        ]
        with connection.transaction():
            changed = connection.execute(
                SQL.tell_anew, {"site_id": site_id, "rows": database.jsonb(rows)}
            ).fetchall()
            forget(connection, site_id, [number for number, has_text in changed if not has_text])
        after = rows[-1]["product_no"]


def _due(site_id: int, at: datetime) -> dict[str, Any]:
    return {
        "site_id": site_id,
        "at": at,
        "max_attempts": MAX_ATTEMPTS,
        "limit": TAKEN,
        "window": ENCODERS * TAKEN,
    }


@contextmanager
def _taken(connection: Connection, site_id: int, at: datetime) -> Iterator[list[_Dirty] | None]:
    """Up to TAKEN products that no other process encodes; None where there are none.

    Held by advisory locks, which end with the connection however it ends; a row lock would make
    uploads of the same products wait for the network. Read in a second statement, because another
    process may have finished them between our snapshot and our lock.
    """
    numbers = [row[0] for row in connection.execute(SQL.take, _due(site_id, at))]
    held = {"site_id": site_id, "product_nos": database.jsonb(numbers)}
    try:
        yield _read(connection, held) if numbers else None
    finally:
        if numbers and connection.info.transaction_status in USABLE:
            connection.execute(SQL.release, held)


def _read(connection: Connection, held: dict[str, Any]) -> list[_Dirty]:
    rows = connection.execute(SQL.read_taken, held)
    return [
        _Dirty(product_no, text_hash, tried, text_of(record))
        for product_no, text_hash, tried, record in rows
    ]


def _encode_all(
    connection: Connection,
    site_id: int,
    encoder: Encodes,
    dirty: list[_Dirty],
    before: int,
    progress: Progress | None,
    stop: Callable[[], bool],
) -> int:
    done = 0
    for products in _slices(dirty):
        if stop():
            break
        _begin(connection, site_id, products)
        done += _encode_slice(connection, site_id, encoder, products)
        if progress:
            progress(before + done, before + done + waiting(connection, site_id))
    return done


def _slices(dirty: list[_Dirty]) -> Iterator[list[_Dirty]]:
    """Texts of like length together; at last, each alone, those that were begun before and never
    done: one of them may be what the encoder does not come back from."""
    fresh = sorted((one for one in dirty if not one.tried), key=lambda one: len(one.text))
    for start in range(0, len(fresh), SLICE):
        yield fresh[start : start + SLICE]
    for one in dirty:
        if one.tried:
            yield [one]


def _begin(connection: Connection, site_id: int, products: list[_Dirty]) -> None:
    connection.execute(
        SQL.begin,
        {
            "site_id": site_id,
            "product_nos": database.jsonb([one.product_no for one in products]),
            "at": datetime.now(UTC),
            "first_retry": FIRST_RETRY,
        },
    )


def _encode_slice(
    connection: Connection, site_id: int, encoder: Encodes, products: list[_Dirty]
) -> int:
    """Encode and store; where the slice fails each product is tried alone."""
    try:
        encoded = _encode(encoder, products)
    except ENCODE_ERRORS as error:
        if len(products) > 1:
            return sum(_encode_slice(connection, site_id, encoder, [one]) for one in products)
        NOT_ENCODED.inc()
        _note_failure(connection, site_id, products[0].product_no, error)
        return 0
    with connection.transaction():
        return _store(connection, site_id, encoded)


def _encode(encoder: Encodes, products: list[_Dirty]) -> list[_Encoded]:
    vectors = encoder.encode([product.text for product in products])
    if not np.isfinite(vectors).all():
        raise ArithmeticError("the vector is not finite")
    return [
        _Encoded(product.product_no, product.text_hash, vector)
        for product, vector in zip(products, vectors, strict=True)
    ]


def _note_failure(
    connection: Connection, site_id: int, product_no: int, error: BaseException
) -> None:
    connection.execute(
        SQL.note_failure,
        {
            "site_id": site_id,
            "product_no": product_no,
            "error": f"{type(error).__name__}: {error}"[:500],
            "at": datetime.now(UTC),
            "first_retry": FIRST_RETRY,
        },
    )


def _store(connection: Connection, site_id: int, encoded: list[_Encoded]) -> int:
    """Write raw and served vectors of those whose text is still the encoded one.

    Their rows are locked first: an upload that changes one of them comes wholly before (then the
    hash or the columns read here are its own) or wholly after (then it finds our rows).
    """
    numbers = [one.product_no for one in encoded]
    locked = connection.execute(SQL.lock_products, {"site_id": site_id, "product_nos": numbers})
    current = dict(locked.fetchall())
    valid = [one for one in encoded if current.get(one.product_no) == one.text_hash]
    if not valid:
        return 0
    model = models.locked_live(connection, site_id)
    numbers = [one.product_no for one in valid]
    hashes = [one.text_hash for one in valid]
    raw = np.stack([one.vector for one in valid])
    models.write_texts(connection, site_id, model.texts, numbers, hashes, raw)
    served = model.transform(raw)
    models.write_vectors(connection, site_id, model.vectors, numbers, hashes, served)
    learned_models.write_encoded(connection, site_id, numbers, hashes, raw)
    clusters.place(connection, model, numbers, served)
    connection.execute(SQL.unqueue, {"site_id": site_id, "product_nos": database.jsonb(numbers)})
    ENCODED.inc(len(valid))
    return len(valid)
