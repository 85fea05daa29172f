"""Availability that follows stock: how many of an item lie at which place, and whose item it is.

A product says whether it is available as of its own instant; once stock newer than that was told,
the sum over all places decides. Either may come first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ranking.catalog import products
from schemas import database
from schemas.database import Connection
from schemas.facts import Product, Stock

SQL = database.queries(__file__)

IN_STOCK, OUT_OF_STOCK = "IN_STOCK", "OUT_OF_STOCK"


def tell(
    connection: Connection,
    site_id: int,
    source_id: int,
    told: Iterable[Stock],
    stocked: Iterable[Product],
    received_at: datetime,
) -> None:
    """Note levels, and the items of products just stored; then give every product concerned the
    availability that follows. Inside the caller's transaction."""
    levels = [_level(one, received_at) for one in told]
    items = [_item(one, received_at) for one in stocked if one.stock_item]
    ids = sorted({row["item_id"] for row in levels + items})
    if not ids:
        return
    where = {"site_id": site_id, "source_id": source_id, "ids": ids}
    connection.execute(SQL.lock, where)
    connection.execute(SQL.levels, where | {"rows": database.jsonb(levels)})
    connection.execute(SQL.items, where | {"rows": database.jsonb(items)})
    found = connection.execute(SQL.available, where).fetchall()
    products.restock(
        connection,
        site_id,
        {product_id: IN_STOCK if available else OUT_OF_STOCK for product_id, available in found},
    )


def _level(one: Stock, received_at: datetime) -> dict[str, Any]:
    return {
        "item_id": one.item_id,
        "location_id": one.location_id,
        "as_of": min(one.as_of or received_at, received_at),
        "quantity": one.quantity,
    }


def _item(one: Product, received_at: datetime) -> dict[str, Any]:
    return {
        "item_id": one.stock_item,
        "product_id": one.product_id,
        "product_as_of": min(one.as_of or received_at, received_at),
        "available": one.record.get("availability") != OUT_OF_STOCK,
    }
