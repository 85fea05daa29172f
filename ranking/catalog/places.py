"""Where products are: their `location`, and custom attributes of its form. catalog/products writes,
filters by distance and orders by it read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ranking.catalog.records import int_array
from ranking.merchandising import filters
from ranking.merchandising.filters import CUSTOM
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

FIELD = "location"
MOST = 100  # of one field of a product

Described = tuple[int, dict[str, Any]]  # a product's number and record
Place = tuple[str, int, float, float]  # field, number in it, degrees north, degrees east


def of_record(record: dict[str, Any]) -> list[Place]:
    """The places of a record: of `location` and of each custom attribute that is {lat, lon} or a
    list of them; pure. East is from -180 up to 180, which is -180."""
    custom = record.get(CUSTOM)
    held = {FIELD: record.get(FIELD)}
    if isinstance(custom, dict):
        held |= {f"{CUSTOM}.{name}": value for name, value in custom.items()}
    return [(field, *place) for field, value in held.items() for place in _places(value)]


def _places(value: Any) -> Iterator[tuple[int, float, float]]:
    for number, one in enumerate((value if isinstance(value, list) else [value])[:MOST]):
        if not isinstance(one, dict):
            continue
        lat, lon = filters.number(one.get("lat")), filters.number(one.get("lon"))
        if lat is not None and lon is not None and abs(lat) <= 90 and abs(lon) <= 180:
            east = filters.degrees(lon)
            yield number, filters.degrees(lat), -180.0 if east == 180 else east


def write(connection: Connection, site_id: int, products: Sequence[Described]) -> None:
    """Keep these products' present places, inside the transaction that changed them."""
    wanted = {(no, place[0], place[1]): place for no, rec in products for place in of_record(rec)}
    numbers = [product_no for product_no, _ in products]
    if not numbers:
        return
    asked = {"site_id": site_id, "product_nos": int_array(numbers)}
    kept = {(row[0], row[1], row[2]): row[1:] for row in connection.execute(SQL.read, asked)}
    if kept == wanted:
        return
    gone = sorted({key[0] for key in kept.keys() - wanted.keys()})
    forget(connection, site_id, gone)
    rows = [
        {"product_no": product_no, "field": field, "number": number, "lat": lat, "lon": lon}
        for (product_no, _, _), (field, number, lat, lon) in wanted.items()
    ]
    connection.execute(SQL.write, {"site_id": site_id, "rows": database.jsonb(rows)})


def forget(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Remove the places of these products."""
    if product_nos:
        parameters = {"site_id": site_id, "product_nos": int_array(product_nos)}
        connection.execute(SQL.forget, parameters)
