"""The values of products that facets count: each field's and value's keys packed beside each other,
and what a key stands for. catalog/products writes, ranking/counts asks.

A text is named by the same term by which filters ask for it, a number by its own eight bytes.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ranking.catalog.records import int_array
from ranking.merchandising import filters
from ranking.merchandising.filters import Scalar
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# Raise it with any change in which values a record has: every product is read anew.
RECIPE = 1
BATCH = 500
LONGEST = 300  # characters of a value: what is longer is a text, not one of some values
MOST_VALUES = 500  # of one product
LARGEST_EXACT = 2**53  # of whole numbers as floats; what is larger is no value that somebody picks

Ints = np.ndarray[Any, np.dtype[np.int64]]
Described = tuple[int, dict[str, Any]]  # a product's number and record


@lru_cache(4096)
def text_key(field: str) -> int:
    """What stands before the terms of a field's texts and booleans."""
    return filters.term(field, "texts of a facet")


@lru_cache(4096)
def number_key(field: str) -> int:
    """What stands before a field's numbers."""
    return filters.term(field, "numbers of a facet")


def number_of(key: int) -> int | float:
    """The number whose key this is."""
    number: float = struct.unpack(">d", struct.pack(">q", key))[0]
    return int(number) if number.is_integer() else number


def write(connection: Connection, site_id: int, products: Sequence[Described]) -> int:
    """Keep these products' present values, inside the transaction that changed them; returns how
    many were other ones before."""
    if not products:
        return 0
    rows, names = [], {}
    for product_no, record in products:
        packed = bytearray()
        for field_key, key, value in _pairs(record):
            packed += struct.pack(">qq", field_key, key)
            if value is not None:
                names[key] = value
        rows.append({"product_no": product_no, "pairs": b64encode(packed).decode()})
    if names:
        named = [{"term": term, "value": value} for term, value in names.items()]
        connection.execute(SQL.name_values, {"site_id": site_id, "rows": database.jsonb(named)})
    written = {"site_id": site_id, "recipe": RECIPE, "rows": database.jsonb(rows)}
    return connection.execute(SQL.write, written).rowcount


def _pairs(record: dict[str, Any]) -> list[tuple[int, int, Scalar | None]]:
    """(key of the field, key of the value, what that stands for unless it says so itself)."""
    found: dict[tuple[int, int], Scalar | None] = {}
    for field, value in filters.facets(record):
        if len(found) >= MOST_VALUES:
            break
        if isinstance(value, str) and len(value) > LONGEST:
            continue
        if isinstance(value, (bool, str)):
            found[text_key(field), filters.term(field, value)] = value
        elif abs(value) <= LARGEST_EXACT:
            # 0.0 is -0.0, as it is to a filter
            bits = struct.pack(">d", float(value) or 0.0)
            found[number_key(field), struct.unpack(">q", bits)[0]] = None
    return [(*keys, value) for keys, value in found.items()]


def forget(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Remove the values of these products."""
    if product_nos:
        parameters = {"site_id": site_id, "product_nos": int_array(product_nos)}
        connection.execute(SQL.forget, parameters)


def outdated(connection: Connection, site_id: int, stop: Callable[[], bool]) -> Iterator[list[int]]:
    """The products whose values are not those of their present record, as after an upgrade, batch
    by batch; those that are gone are forgotten first."""
    gone = connection.execute(SQL.gone, {"site_id": site_id})
    forget(connection, site_id, [row[0] for row in gone])
    after = 0
    while not stop():
        asked = {"site_id": site_id, "after": after, "recipe": RECIPE, "limit": BATCH}
        found = [row[0] for row in connection.execute(SQL.missing, asked)]
        if not found:
            return
        yield found
        after = found[-1]


def locked(connection: Connection, site_id: int, product_nos: Iterable[int]) -> list[Described]:
    """The present records of these products, held against other writers."""
    asked = {"site_id": site_id, "product_nos": int_array(product_nos)}
    return connection.execute(SQL.read_locked, asked).fetchall()


def values(connection: Connection, site_id: int, terms: Iterable[int]) -> dict[int, Scalar]:
    """What these keys of texts and booleans stand for."""
    asked = {"site_id": site_id, "terms": int_array(terms)}
    return dict(connection.execute(SQL.values, asked).fetchall())
