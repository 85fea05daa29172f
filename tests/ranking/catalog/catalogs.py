"""A catalog to write to and look into, and an encoder that costs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import count
from typing import Any

import numpy as np
from psycopg import sql

from ranking.catalog import embeddings, products
from ranking.catalog.encoder import Vectors
from ranking.catalog.products import Upserted
from schemas.database import Connection
from schemas.facts import Product

NOW = datetime.now(UTC).replace(microsecond=0)

_numbers = count(1)


def a_product(product_id: str = "p1", *, provisional: bool = False, **fields: Any) -> Product:
    """A product titled by its id; `as_of` is minutes before NOW."""
    minutes = fields.pop("ago", None)
    as_of = None if minutes is None else NOW - timedelta(minutes=minutes)
    record = {"product_id": product_id, "title": f"The {product_id}"} | fields
    return Product(record, as_of, provisional)


@dataclass
class Hashes:
    """Encodes a text as a random vector of its own; counts, and fails on the word `poison`."""

    seen: list[str] = field(default_factory=list)

    def encode(self, texts: Sequence[str]) -> Vectors:
        if any("poison" in text for text in texts):
            raise ValueError("cannot encode poison")
        self.seen += texts
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> Vectors:
        seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        vector = np.random.default_rng(seed).normal(0.1, 1, 384).astype(np.float32)
        return vector / np.linalg.norm(vector)


@dataclass
class Catalog:
    """The catalog of one site."""

    connection: Connection
    site_id: int

    def upload(self, *uploaded: Product, at: datetime = NOW) -> Upserted:
        with self.connection.transaction():
            return products.upsert(self.connection, self.site_id, list(uploaded), at)

    def remove(self, *product_ids: str, at: datetime = NOW) -> int:
        with self.connection.transaction():
            return products.remove(self.connection, self.site_id, [(p, at) for p in product_ids])

    def get(self, product_id: str = "p1") -> dict[str, Any] | None:
        return products.get(self.connection, self.site_id, product_id)

    def encode(self, encoder: Any = None) -> int:
        return embeddings.drain(self.connection, self.site_id, encoder or Hashes())

    def waiting(self) -> int:
        return embeddings.waiting(self.connection, self.site_id)

    def rows(self, statement: str, **tables: str) -> list[tuple[Any, ...]]:
        """Rows of a statement about this site; `{vectors}` and `{texts}` are its live tables."""
        model = embeddings.live(self.connection, self.site_id)
        filled = sql.SQL(statement).format(vectors=model.vectors, texts=model.texts)  # type: ignore[arg-type]
        return self.connection.execute(filled, {"site": self.site_id}).fetchall()

    def served(self, column: str = "vector") -> dict[str, Any]:
        """A column of the served vectors by product id."""
        return dict(
            self.rows(
                f"select product_id, v.{column} from {{vectors}} v join products using "
                "(site_id, product_no) order by product_id"
            )
        )  # type: ignore[arg-type]

    def state(self) -> list[tuple[Any, ...]]:
        """What must not depend on the order of arrival."""
        return self.rows(
            "select product_id, as_of, record_hash, deleted, provisional, text_hash, available, "
            "original_price, sale_price, terms, record from products where site_id = %(site)s "
            "order by product_id"
        )


def open_catalog(connection: Connection) -> Catalog:
    """A new site's."""
    row = connection.execute(
        "insert into sites (name, pepper) values (%s, '\\x00') returning site_id",
        [f"site-{next(_numbers)}"],
    ).fetchone()
    assert row is not None
    embeddings.create_tables(connection, row[0])
    return Catalog(connection, row[0])


def many(number: int, start: int = 0) -> Iterable[Product]:
    """That many products of different titles."""
    return (a_product(f"p{n}", title=f"Thing {n}") for n in range(start, start + number))
