"""A little catalog in products and in a vector table, and which of it a filter finds in each."""

from dataclasses import asdict
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from ranking.merchandising import filters
from schemas.database import Connection

VECTORS = """
    create temp table if not exists vectors_filtered (like vectors_template including all)
    on commit drop
"""
PRODUCT = """
    insert into products (site_id, product_id, product_no, group_key, as_of, record_hash,
        available, original_price, sale_price, rating, terms, ranges, record)
    values (1, %(product_id)s, %(product_no)s, %(group_key)s, now(), gen_random_uuid(),
        %(available)s, %(original_price)s, %(sale_price)s, %(rating)s, %(terms)s, %(ranges)s, '{}')
"""
COPY = """
    insert into vectors_filtered
    select site_id, product_no, group_key, available, original_price, sale_price, rating, terms,
        record_hash, array_fill(0, array[384])::halfvec(384)
    from products where site_id = 1
"""
MATCHING = {
    "p": "select p.product_id from products p where p.site_id = 1 and {where}",
    "v": "select p.product_id from vectors_filtered v join products p using (site_id, product_no) "
    "where v.site_id = 1 and {where}",
}


def store(connection: Connection, records: list[dict[str, Any]]) -> None:
    """Replace the catalog of site 1."""
    connection.execute(VECTORS)
    connection.execute("delete from vectors_filtered")
    connection.execute("delete from products where site_id = 1")
    rows = [
        asdict(found)
        | {"product_id": record["product_id"], "product_no": no, "ranges": Jsonb(found.ranges)}
        for no, record in enumerate(records)
        for found in [filters.columns(record)]
    ]
    with connection.cursor() as cursor:
        cursor.executemany(PRODUCT, rows)
    connection.execute(COPY)


def matching(connection: Connection, expression: filters.Expression) -> tuple[set[str], set[str]]:
    """Ids found in products and in the vector table."""
    products, vectors = (_found(connection, expression, alias) for alias in MATCHING)
    return products, vectors


def _found(connection: Connection, expression: filters.Expression, alias: str) -> set[str]:
    compiled = filters.compile(expression, alias)
    statement = sql.SQL(MATCHING[alias]).format(where=compiled.where)
    return {row[0] for row in connection.execute(statement, compiled.params)}
