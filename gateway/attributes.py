"""The types of custom attributes: one name has one type in all products of a site, one in all its
users. Whatever tells of an attribute first decides it; admission asks here inside the one
transaction, `attributes SITE` shows them and frees one that no record has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import dict_row

from gateway.idempotency import digest
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

Kind = Literal["product", "user"]
Name = tuple[Kind, str]

AT_MOST = 10_000  # names of a kind in a site; those beyond have any type

_USED = {"product": SQL.products_with, "user": SQL.users_with}
_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object"}
_LISTS = {"number": "numbers", "string": "strings", "object": "object"}
_EMPTY = "empty list"


class Unknown(AttuneError):
    """The site has no attribute of that name."""


class InUse(AttuneError):
    """Records have that attribute: its type cannot be forgotten."""


def type_of(value: Any) -> str | None:
    """What an attribute's value is; one object and many are one type, null is none."""
    if type(value) is not list:
        return _TYPES.get(type(value))
    return _LISTS.get(_TYPES.get(type(value[0]), "")) if value else _EMPTY


@dataclass(slots=True)
class Types:
    """Those of the names that a delivery tells of: as they are known, and new ones."""

    known: dict[Name, str] = field(default_factory=dict)
    new: dict[Name, str] = field(default_factory=dict)

    def odd(self, kind: Kind, attributes: Mapping[str, Any]) -> list[str]:
        """The names whose values are of another type than in other records."""
        return [name for name, value in attributes.items() if not self._fits((kind, name), value)]

    def _fits(self, name: Name, value: Any) -> bool:
        told = type_of(value)
        known = self.known.get(name) or self.new.get(name)
        if known is None or told is None or told == known:
            return True
        return told == _EMPTY and known in _LISTS.values()

    def add(self, kind: Kind, attributes: Mapping[str, Any]) -> None:
        """A record with these counts: they decide the types of new names."""
        for name, value in attributes.items():
            told = type_of(value)
            if told and told != _EMPTY and (kind, name) not in self.known:
                self.new[kind, name] = told


def types(connection: Connection, site_id: int, names: Collection[Name]) -> Types:
    """What is known of these names; none of it is forgotten until the transaction ends."""
    if not names:
        return Types()
    rows = [{"kind": kind, "name_hash": _hash(name)} for kind, name in names]
    found = connection.execute(SQL.known, {"site": site_id, "names": database.jsonb(rows)})
    return Types({(kind, name): type for kind, name, type in found})


def remember(connection: Connection, site_id: int, new: Mapping[Name, str], at: datetime) -> bool:
    """Decide the types of new names; False where another delivery has decided one meanwhile."""
    left = dict(connection.execute(SQL.left, {"site": site_id, "most": AT_MOST}).fetchall())
    rows = []
    for (kind, name), type in sorted(new.items()):
        left[kind] = left.get(kind, AT_MOST) - 1
        if left[kind] >= 0:
            rows.append({"kind": kind, "name_hash": _hash(name), "name": name, "type": type})
    parameters = {"site": site_id, "rows": database.jsonb(rows), "at": at}
    return connection.execute(SQL.remember, parameters).rowcount == len(rows)


def of_site(connection: Connection, site_id: int) -> list[dict[str, Any]]:
    """Each attribute with its type and how many records have it, by kind and name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SQL.of_site, {"site": site_id}).fetchall()


def forget(connection: Connection, site_id: int, kind: Kind, name: str) -> None:
    """Free the type of an attribute that no record has; waits for deliveries that tell of any.

    Raises Unknown, InUse.
    """
    parameters = {"site": site_id, "kind": kind, "name": name, "name_hash": _hash(name)}
    with connection.transaction():
        connection.execute(SQL.hold, parameters)
        used = connection.execute(_USED[kind], parameters).fetchone()
        if used and used[0]:
            have = f"{used[0]:,} {kind}s have" if used[0] > 1 else f"one {kind} has"
            raise InUse(f"{have} the attribute {name!r}: upload or delete what has it first")
        if not connection.execute(SQL.forget, parameters).rowcount:
            raise Unknown(f"no {kind} ever had an attribute {name!r}")


def _hash(name: str) -> UUID:
    return digest(name.encode("utf-8", "surrogatepass"))
