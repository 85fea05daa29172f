"""A catalog of any size: the vectors of the demo's real products plus seeded noise.

Each product has tags that half, a tenth, a hundredth and a thousandth of the catalog share, so that
filters of any width can be asked for.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from psycopg_pool import ConnectionPool

from bench.report import note
from gateway import ingest
from gateway.access import Source
from ranking.catalog import (
    encoder,
    fitting,
    learned_models,
    models,
    neighbours,
    popularity,
    products,
)
from ranking.catalog.learned import KINDS, WIDTH, whitened, written
from ranking.catalog.neighbours import Neighbours
from ranking.training import build, promote
from ranking.training.corpus import Corpus
from ranking.training.network import Settings, Training
from schemas.database import Connection
from schemas.facts import Product

DEMO = Path(__file__).parent.parent / "demo" / "products.jsonl.gz"
NOISE = 0.6  # length of the noise beside a vector of length 1: variants lie near, not on, theirs
SEED = 11
CHUNK = 2000
QUERIES = 200  # by which a learned version's index is built
NUMBERS = "select product_no from products where site_id = %s order by product_no"
VIEW = KINDS.index("view")
WIDTHS = {"half": 2, "tenth": 10, "hundredth": 100, "thousandth": 1000}


def real_products() -> list[dict[str, Any]]:
    """The demo's catalog records."""
    with gzip.open(DEMO, "rt") as lines:
        return [json.loads(line) for line in lines]


def fill(pool: ConnectionPool[Connection], site_id: int, size: int) -> None:
    """Make `size` products with text vectors, fit `text-1` and build its index."""
    real, raw = real_products(), _encoded()
    noise = np.random.default_rng(SEED)
    for start in range(0, size, CHUNK):
        numbers = range(start, min(start + CHUNK, size))
        with pool.connection() as connection, connection.transaction():
            _add(connection, site_id, real, raw, numbers, noise)
    with pool.connection() as connection:
        connection.execute("vacuum analyze products")
        note(f"catalog: fitting on {size} products")
        fitting.fit(connection, site_id)


@cache
def _encoded() -> np.ndarray[Any, Any]:
    """The vectors of the real products, which every site of a run shares."""
    real = real_products()
    note(f"catalog: encoding {len(real)} real products")
    return encoder.Encoder(threads=2).encode([encoder.text_of(record) for record in real])


def _add(
    connection: Connection,
    site_id: int,
    real: list[dict[str, Any]],
    raw: np.ndarray[Any, Any],
    numbers: range,
    noise: np.random.Generator,
) -> None:
    records = [_variant(real[n % len(real)], n, n // len(real)) for n in numbers]
    products.upsert(connection, site_id, [Product(record) for record in records], datetime.now(UTC))
    ids = [record["product_id"] for record in records]
    rows = connection.execute(
        "select product_id, product_no, text_hash from products "
        "where site_id = %s and product_id = any(%s)",
        [site_id, ids],
    ).fetchall()
    at = {product_id: n for n, product_id in enumerate(ids, numbers.start)}
    vectors = np.stack([raw[at[row[0]] % len(raw)] for row in rows])
    vectors = vectors + NOISE * models.unit(noise.standard_normal(vectors.shape))
    model = models.live(connection, site_id)
    models.write_texts(
        connection, site_id, model.texts, [row[1] for row in rows], [row[2] for row in rows],
        models.unit(vectors),
    )  # fmt: skip
    connection.execute("delete from products_to_encode where site_id = %s", [site_id])


def _variant(record: dict[str, Any], number: int, generation: int) -> dict[str, Any]:
    tags = [name for name, every in WIDTHS.items() if number % every == 0]
    return record | {
        "product_id": f"{record['product_id']}-{generation}",
        "title": f"{record['title']} {generation}",
        "brand": f"Brand {number % 50}",
        "tags": tags,
    }


def visits(
    pool: ConnectionPool[Connection],
    site_id: int,
    api: Source,
    visitors: int,
    views: int,
    *,
    counted: bool = True,
) -> None:
    """Give visitors `v0`, `v1`, … a few product views each and, if `counted`, popularity and as
    many neighbours a product as are kept."""
    note(f"catalog: {visitors} visitors with {views} views each")
    with pool.connection() as connection:
        ids = [row[0] for row in connection.execute(
            "select product_id from products where site_id = %s", [site_id])]  # fmt: skip
    chooser = np.random.default_rng(SEED)
    for batch in _batches(visitors * views):
        interactions = [
            _view(f"v{n % visitors}", ids[int(len(ids) * chooser.beta(1, 6))], n) for n in batch
        ]
        body = json.dumps({"data": interactions}).encode()
        ingest.deliver(pool, api, topic="interactions", headers={}, body=body)
    with pool.connection() as connection:
        if counted:
            popularity.refresh(connection, site_id, datetime.now(UTC))
            neighbours.keep(connection, site_id, _beside(connection, site_id))
        connection.execute("vacuum analyze")


def _beside(connection: Connection, site_id: int) -> Iterator[Neighbours]:
    """Neighbours by chance: too few visits are made to have any."""
    rows = connection.execute("select product_no from products where site_id = %s", [site_id])
    numbers = np.array([row[0] for row in rows])
    chooser = np.random.default_rng(SEED)
    shares = 1 / np.arange(2, neighbours.KEPT + 2)
    shares = (shares / shares.sum()).round(5).tolist()
    for number in numbers.tolist():
        others = np.unique(chooser.choice(numbers, neighbours.KEPT))
        chooser.shuffle(others)
        yield Neighbours(number, others.tolist(), shares[: len(others)])


def learned(pool: ConnectionPool[Connection], site_id: int) -> None:
    """A learned version goes live that has learned nothing yet: it serves as any other does. Half
    of the products have a history, which says that they are taken often."""
    raw = _encoded()
    fitted = fitting.whitening(raw)
    one_visit = Corpus(
        len(raw), np.arange(len(raw)), np.zeros(len(raw), np.int64),
        np.arange(len(raw), dtype=np.float64), np.array([0, len(raw)]),
    )  # fmt: skip
    network = Training(one_visit, whitened(raw, fitted), Settings()).network(fitted)
    looked_at = network.of_texts(raw[:QUERIES])
    queries = [network.visitor(one[np.newaxis], np.array([VIEW])) for one in looked_at]
    history = np.append(np.zeros(WIDTH), 1.0).astype(np.float32)
    with pool.connection() as connection:
        connection.execute("set statement_timeout = 0")
        note("catalog: building a learned version")
        made = learned_models.begin(connection, site_id, network, written(network))
        numbers = connection.execute(NUMBERS, [site_id]).fetchall()
        histories = dict.fromkeys((number for (number,) in numbers[::2]), history)
        made = build.fill(connection, made, histories, lambda done, of: None)
        made = build.indexed(connection, made, np.stack([np.append(one, 1.0) for one in queries]))
        build.ready(connection, made, {})
        promote.promote(connection, made)


def _batches(total: int) -> Iterator[range]:
    return (range(start, min(start + 1000, total)) for start in range(0, total, 1000))


def _view(visitor: str, product_id: str, number: int) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=60 + number % 86400)
    return {
        "type": "product_detail_page_view",
        "anonymous_id": visitor,
        "product_ids": [product_id],
        "timestamp": at.isoformat(),
    }
