"""The records of known people. ingest writes them, /v1 reads them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from ranking.visitors.identity import actor_id
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

Record = tuple[str, datetime, dict[str, Any]]  # user id, as of, fields


def upsert(
    connection: Connection,
    site_id: int,
    pepper: bytes,
    records: Iterable[Record],
    received_at: datetime,
) -> None:
    """Replace whole records (an upload). One that is older than the stored record, or than the
    person's erasure, changes nothing."""
    rows = [
        {
            "user_id": user_id,
            "as_of": as_of.isoformat(),
            "record": record,
            "record_hash": str(_hash(record)),
            "actor_id": str(actor_id(pepper, "user", user_id)),
        }
        for user_id, as_of, record in records
    ]
    if rows:
        parameters = {"site": site_id, "rows": database.jsonb(rows), "received_at": received_at}
        connection.execute(SQL.upsert, parameters)


def note_traits(
    connection: Connection, site_id: int, pepper: bytes, records: Iterable[Record]
) -> None:
    """Merge fields into people's records (a platform's traits): of each field, of each custom
    attribute too, the newest value counts, and None clears it."""
    rows = [
        {
            "user_id": user_id,
            "as_of": as_of.isoformat(),
            "name": name,
            "value": value,
            "actor_id": str(actor_id(pepper, "user", user_id)),
        }
        for user_id, as_of, record in records
        for name, value in _flat(record)
    ]
    if rows:
        connection.execute(SQL.note_traits, {"site": site_id, "rows": database.jsonb(rows)})


def remove(
    connection: Connection, site_id: int, user_id: str, at: datetime | None, received_at: datetime
) -> None:
    """Remove the record as of an instant, leaving a tombstone; the person's events stay.

    Without an instant what was there at `received_at` goes, and any upload that is not older
    brings it back.
    """
    parameters = {
        "site": site_id,
        "user": user_id,
        "at": at,
        "received_at": received_at,
        "hash": UUID(int=0),
    }
    if at is None:
        connection.execute(SQL.delete, parameters)
        connection.execute(SQL.delete_traits, parameters)
    else:
        connection.execute(SQL.remove, parameters)


def get(connection: Connection, site_id: int, user_id: str) -> dict[str, Any] | None:
    """The record with the newer traits over it, or None."""
    row = connection.execute(SQL.get, {"site": site_id, "user": user_id}).fetchone()
    if row is None:
        return None
    record: dict[str, Any] = {"user_id": user_id} | (row[0] or {})
    for name, value in (row[1] or {}).items():
        _set(record, name, value)
    return record


def ids(connection: Connection, site_id: int) -> list[str]:
    """The ids of all known people, in order."""
    return [row[0] for row in connection.execute(SQL.ids, {"site": site_id})]


def _flat(record: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in record.items():
        if name == "custom_attributes" and isinstance(value, dict):
            yield from ((f"custom_attributes.{key}", inner) for key, inner in value.items())
        elif name != "user_id":
            yield name, value


def _set(record: dict[str, Any], name: str, value: Any) -> None:
    outer, dot, inner = name.partition(".")
    target = record.setdefault(outer, {}) if dot else record
    key = inner or outer
    if value is None:
        target.pop(key, None)
    else:
        target[key] = value


def _hash(record: dict[str, Any]) -> UUID:
    canonical = msgspec.json.encode(record, order="sorted")
    return UUID(bytes=blake2b(canonical, digest_size=16).digest())
