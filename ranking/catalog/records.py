"""Products as lists need them: numbers by id, variants of a group, fields by number. Reads only."""

from __future__ import annotations

import glob
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from ranking.merchandising.filters import CUSTOM, spelled, term
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MAX_VARIANTS = 200  # of all groups asked for together
MAX_OF_GROUPS = 2000  # of all that a visitor has touched


@dataclass(frozen=True, slots=True)
class Listed:
    """What names a product: its id, its number here, its group."""

    product_id: str
    product_no: int
    group_key: int


def numbers(connection: Connection, site_id: int, product_ids: Iterable[str]) -> list[Listed]:
    """The products of these ids, deleted ones included; unknown ids are left out."""
    ids = sorted(set(product_ids))
    if not ids:
        return []
    rows = connection.execute(SQL.numbers, {"site_id": site_id, "ids": database.jsonb(ids)})
    return [Listed(*row) for row in rows]


def ids(connection: Connection, site_id: int, product_nos: Iterable[int]) -> dict[int, str]:
    """The ids of products by number, deleted ones included."""
    parameters = {"site_id": site_id, "product_nos": int_array(product_nos)}
    return dict(connection.execute(SQL.ids, parameters).fetchall())


def variants(
    connection: Connection, site_id: int, group_ids: Iterable[str]
) -> dict[str, list[Listed]]:
    """The products of each group, by `product_group_id`; at most MAX_VARIANTS in all."""
    keys = {group_key(group_id): group_id for group_id in group_ids}
    if not keys:
        return {}
    parameters = {"site_id": site_id, "groups": int_array(keys), "limit": MAX_VARIANTS}
    found: dict[str, list[Listed]] = {group_id: [] for group_id in keys.values()}
    for row in connection.execute(SQL.variants, parameters):
        product = Listed(*row)
        if product.group_key in keys:
            found[keys[product.group_key]].append(product)
    return found


def with_variants(
    connection: Connection, site_id: int, product_nos: Collection[int]
) -> frozenset[int]:
    """These products and those of their groups, at most MAX_OF_GROUPS of them."""
    if not product_nos:
        return frozenset()
    parameters = {
        "site_id": site_id, "product_nos": int_array(product_nos), "limit": MAX_OF_GROUPS,
    }  # fmt: skip
    rows = connection.execute(SQL.of_their_groups, parameters).fetchall()
    return frozenset(product_nos).union(row[0] for row in rows)


def fields(
    connection: Connection, site_id: int, product_nos: Iterable[int]
) -> dict[int, dict[str, Any]]:
    """The whole records by number; deleted products are left out."""
    parameters = {"site_id": site_id, "product_nos": int_array(product_nos)}
    return dict(connection.execute(SQL.fields, parameters).fetchall())


def picked(record: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The fields asked for: `*` stands for any letters (alone for all fields), `a.b` is one of the
    attributes. A name that the record does not have gives nothing."""
    if "*" in wanted:
        return record
    names = dict.fromkeys(map(spelled, wanted))
    starred = tuple(name for name in names if "*" in name)
    found = {name: record[name] for name in names if name in record}
    if starred:
        found |= {name: value for name, value in record.items() if _fits(name, starred)}
    custom = record.get(CUSTOM)
    if not isinstance(custom, dict) or CUSTOM in found:
        return found
    some = {
        name: value
        for name, value in custom.items()
        if f"{CUSTOM}.{name}" in names or _fits(f"{CUSTOM}.{name}", starred)
    }
    return found | {CUSTOM: some} if some else found


@lru_cache(4096)
def _fits(name: str, starred: tuple[str, ...]) -> bool:
    """Whether it is one of these, in which stars stand for any letters."""
    patterns = ("*".join(map(glob.escape, one.split("*"))) for one in starred)
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def values(record: dict[str, Any], field: str) -> frozenset[Hashable]:
    """What a record has in a field, or in `custom_attributes.name`: one value, or each of a list;
    a category is its whole path."""
    top, _, name = field.partition(".")
    value = record.get(top)
    if name:
        value = value.get(name) if isinstance(value, dict) else None
    many = value if isinstance(value, list) else [value]
    return frozenset(_hashable(one) for one in many if one is not None)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return repr(value) if isinstance(value, dict) else value  # type: ignore[no-any-return]


def group_key(group_id: str) -> int:
    """The number that stands for a product group, one of its products' terms too."""
    return term("product_group_id", group_id)


def int_array(values: Iterable[int]) -> str:
    """Integers as Postgres writes an array: psycopg's own list dumper costs 8 us an element."""
    return f"{{{','.join(map(str, values))}}}"
