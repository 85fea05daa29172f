"""The catalog: the records that filters, lists and the encoder read. ingest writes it.

Of everything said about a whole product one record counts, whatever came in first: an upload or a
deletion before a provisional record (made from an event), then the newest instant, then the
larger hash. A patch changes the record that is there, so among patches their order counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from ranking.catalog import embeddings, encoder, facets, models, places, words
from ranking.merchandising import filters
from schemas import database
from schemas.database import Connection
from schemas.facts import Product, ProductPatch, Variants
from schemas.product import merged

SQL = database.queries(__file__)

Row = dict[str, Any]

# A deletion wins over an upload of the same instant.
DELETED_HASH = UUID(int=2**128 - 1)
# What was deleted without saying when, or patched, loses to an upload of the same instant.
FORGOTTEN_HASH = UUID(int=0)
# Of a provisional record that was patched: no event changes it any more, any upload does.
SPOKEN_FOR = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Upserted:
    """How many records were stored, how many lost to what is known, how many await a vector."""

    applied: int
    older: int
    to_encode: int


def upsert(
    connection: Connection, site_id: int, products: Sequence[Product], received_at: datetime
) -> Upserted:
    """Store whole records, inside the caller's transaction; one that lost changes nothing."""
    changes = _run(connection, site_id, SQL.upsert, rows(products, received_at))
    to_encode = _settle(connection, site_id, changes)
    return Upserted(len(changes), len(products) - len(changes), to_encode)


@dataclass(frozen=True, slots=True)
class Stored:
    """A catalog record as it lies in the table; `written_at` is when that was received."""

    record: dict[str, Any]
    as_of: datetime
    written_at: datetime
    provisional: bool


def lock(connection: Connection, site_id: int, product_ids: Iterable[str]) -> dict[str, Stored]:
    """The records of these ids as they are now, locked against other writers in the order of ids;
    unknown and deleted ones are left out."""
    parameters = {"site_id": site_id, "ids": sorted(set(product_ids))}
    return {row[0]: Stored(*row[1:]) for row in connection.execute(SQL.lock, parameters)}


def patched(
    stored: Stored, patch: ProductPatch, received_at: datetime, *, again: bool = False
) -> Stored | None:
    """The record after a patch; None where the patch is older than it. Pure.

    A patch that says when replaces an older or equal record. One that does not changes whatever is
    there and leaves its instant, so that any upload that was newer stays so; told `again` (a
    replay) it counts as of its receipt.
    """
    as_of = stored.as_of
    if patch.as_of is not None and not stored.provisional:
        as_of = min(patch.as_of, received_at).astimezone(UTC)
    if as_of < stored.as_of or (
        again and as_of == stored.as_of and stored.written_at > received_at
    ):
        return None
    return Stored(
        merged(stored.record, patch.record),
        SPOKEN_FOR if stored.provisional else as_of,
        max(stored.written_at, received_at),
        stored.provisional,
    )


def patch(connection: Connection, site_id: int, records: Iterable[Stored]) -> int:
    """Store patched records whose rows the caller has locked; returns how many await a vector."""
    written = [_patched_row(stored) for stored in records]
    if not written:
        return 0
    return _settle(connection, site_id, _run(connection, site_id, SQL.patch, written))


def remove(connection: Connection, site_id: int, removals: Iterable[tuple[str, datetime]]) -> int:
    """Delete products as of an instant, leaving dated tombstones (of unknown products too).

    Returns how many were there.
    """
    tombstones = _newest(_tombstone(product_id, at) for product_id, at in removals)
    changes = _run(connection, site_id, SQL.upsert, tombstones)
    gone = [change.product_no for change in changes if change.existed]
    _forget(connection, site_id, gone)
    return len(gone)


def regroup(
    connection: Connection, site_id: int, groups: Iterable[Variants], received_at: datetime
) -> None:
    """Note which products a group has, of each group the newest list. Holds the groups to the end
    of the transaction, whose products are written next and then judged by `keep_to_groups`."""
    lists = [
        {
            "group_id": group.group_id,
            "as_of": min(group.as_of or received_at, received_at),
            "product_ids": sorted(set(group.product_ids)),
        }
        for group in groups
    ]
    connection.execute(SQL.regroup, {"site_id": site_id, "rows": database.jsonb(lists)})


def keep_to_groups(connection: Connection, site_id: int, groups: Iterable[Variants]) -> int:
    """Remove the products of these groups that are older than its newest list and not on it."""
    ids = sorted({group.group_id for group in groups})
    keys = [filters.term("product_group_id", one) for one in ids]
    parameters = {"site_id": site_id, "groups": ids, "keys": keys}
    return remove(connection, site_id, connection.execute(SQL.stray, parameters).fetchall())


def restock(connection: Connection, site_id: int, availability: Mapping[str, str]) -> None:
    """Give these products another availability; they stay as new or old as they were."""
    known = lock(connection, site_id, availability)
    changed = [
        replace(stored, record=stored.record | {"availability": availability[product_id]})
        for product_id, stored in known.items()
        if stored.record.get("availability") != availability[product_id]
    ]
    patch(connection, site_id, changed)


def delete(
    connection: Connection, site_id: int, product_ids: Iterable[str], received_at: datetime
) -> int:
    """Delete what was there at `received_at`, as an API that replaces and deletes by name means it:
    any upload that is not older than what was deleted brings the product back, and what was
    uploaded since stays. Returns how many went.
    """
    gone = [
        row[0]
        for row in connection.execute(
            SQL.delete,
            {
                "site_id": site_id,
                "ids": sorted(set(product_ids)),
                "hash": FORGOTTEN_HASH,
                "received_at": received_at,
            },
        )
    ]
    _forget(connection, site_id, gone)
    return len(gone)


def get(connection: Connection, site_id: int, product_id: str) -> dict[str, Any] | None:
    """The record as it was sent or made from an event; None if unknown or deleted."""
    row = connection.execute(SQL.get, {"site_id": site_id, "product_id": product_id}).fetchone()
    return row[0] if row else None


def ids(connection: Connection, site_id: int, type: str | None = None) -> list[str]:
    """The ids of all uploaded products, of one type only where `type` is given, in order.

    Provisional products are left out: shops that synchronise delete what they do not know.
    """
    return [row[0] for row in connection.execute(SQL.ids, {"site_id": site_id, "type": type})]


# rows -------------------------------------------------------------------------------------------


def rows(products: Iterable[Product], received_at: datetime) -> list[Row]:
    """Rows of the products table, one a product, in the order of their ids; pure."""
    return _newest(_row(*one) for one in _distinct(products, received_at))


def record_of(product: Product) -> dict[str, Any]:
    """The record as it is stored: what was sent, without nulls."""
    return {name: value for name, value in product.record.items() if value is not None}


def _distinct(
    products: Iterable[Product], received_at: datetime
) -> Iterable[tuple[Product, datetime, UUID, datetime]]:
    """Each product with its instant, its record's hash and its receipt, equal ones once: a batch of
    orders names the same products again and again, and reading a record costs most."""
    seen = set()
    for product in products:
        as_of = _as_of(product, received_at)
        record_hash = _hash(msgspec.json.encode(record_of(product), order="sorted"))
        key = (product.product_id, product.provisional, as_of, record_hash)
        if key not in seen:
            seen.add(key)
            yield product, as_of, record_hash, received_at


def _row(product: Product, as_of: datetime, record_hash: UUID, received_at: datetime) -> Row:
    return _record_row(record_of(product)) | {
        "as_of": as_of,
        "record_hash": record_hash,
        "written_at": received_at,
        "provisional": product.provisional,
    }


def _patched_row(stored: Stored) -> Row:
    return _record_row(stored.record) | {
        "as_of": stored.as_of,
        "record_hash": FORGOTTEN_HASH,
        "written_at": stored.written_at,
        "provisional": stored.provisional,
    }


def _record_row(record: dict[str, Any]) -> Row:
    """The columns that follow from the record."""
    return {
        "product_id": record["product_id"],
        "deleted": False,
        "text_hash": encoder.text_hash(record),
        "record": record,
    } | asdict(filters.columns(record))


def _tombstone(product_id: str, at: datetime) -> Row:
    nothing = filters.columns({"product_id": product_id})
    return asdict(nothing) | {
        "product_id": product_id,
        "as_of": at.astimezone(UTC),
        "record_hash": DELETED_HASH,
        "written_at": at,
        "deleted": True,
        "provisional": False,
        "text_hash": None,
        "available": False,
        "terms": [],
        "record": {},
    }


def _as_of(product: Product, received_at: datetime) -> datetime:
    """The sender's instant, never in the future: that would lock out every later upload.

    A provisional record counts by the hour, or each event of a popular product would rewrite
    and lock the same row.
    """
    sent = product.as_of or _updated_at(product.record) or received_at
    as_of = min(sent, received_at).astimezone(UTC)
    if product.provisional:
        return as_of.replace(minute=0, second=0, microsecond=0)
    return as_of


def _updated_at(record: dict[str, Any]) -> datetime | None:
    try:
        updated_at = datetime.fromisoformat(record["updated_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return updated_at if updated_at.tzinfo else updated_at.replace(tzinfo=UTC)


def _newest(candidates: Iterable[Row]) -> list[Row]:
    """One row an id: `on conflict do update` cannot touch a row twice."""
    winners: dict[str, Row] = {}
    for row in candidates:
        known = winners.get(row["product_id"])
        if known is None or _rank(row) > _rank(known):
            winners[row["product_id"]] = row
    return [winners[product_id] for product_id in sorted(winners)]


def _rank(row: Row) -> tuple[bool, datetime, UUID]:
    return not row["provisional"], row["as_of"], row["record_hash"]


def _hash(content: bytes) -> UUID:
    return UUID(bytes=blake2b(content, digest_size=16).digest())


# after an upgrade -------------------------------------------------------------------------------

BATCH = 500


def recategorize(
    connection: Connection, site_id: int, *, stop: Callable[[], bool] = lambda: False
) -> int:
    """Give what an older version stored the terms by which a category's path finds it; returns how
    many. Batch by batch on a connection in autocommit, so uploads wait for one batch at most."""
    done = after = 0
    while not stop():
        with connection.transaction():
            found = _without_paths(connection, site_id, after)
            told = [
                {"product_no": number, "terms": filters.columns(record).terms}
                for number, record in found
            ]
            if not told:
                return done
            rows = {"site_id": site_id, "rows": database.jsonb(told)}
            connection.execute(SQL.set_terms, rows)
            numbers = [number for number, _ in found]
            models.copy_columns(connection, site_id, numbers)
            words.copy_columns(connection, site_id, numbers)
        done += len(numbers)
        after = numbers[-1]
    return done


def _without_paths(
    connection: Connection, site_id: int, after: int
) -> list[tuple[int, dict[str, Any]]]:
    asked = {
        "site_id": site_id, "after": after, "limit": BATCH,
        "has_categories": filters.HAS_CATEGORIES, "in_categories": filters.IN_CATEGORIES,
    }  # fmt: skip
    return connection.execute(SQL.without_paths, asked).fetchall()


# writing ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    product_no: int
    existed: bool
    new_text: bool
    has_text: bool
    new_columns: bool
    deleted: bool
    product_id: str


def _run(connection: Connection, site_id: int, statement: str, written: list[Row]) -> list[_Change]:
    """Write rows of products, what filters use beside their vectors and words, and the values and
    places by which searches are narrowed."""
    if not written:
        return []
    found = connection.execute(statement, {"site_id": site_id, "rows": database.jsonb(written)})
    changes = [_Change(*row) for row in found]
    moved = [c.product_no for c in changes if c.existed and c.new_columns and not c.deleted]
    models.copy_columns(connection, site_id, moved)
    words.copy_columns(connection, site_id, moved)
    records = {row["product_id"]: row["record"] for row in written}
    described = [(c.product_no, records[c.product_id]) for c in changes if not c.deleted]
    _describe(connection, site_id, described)
    return changes


def _describe(
    connection: Connection, site_id: int, products: Sequence[tuple[int, dict[str, Any]]]
) -> None:
    facets.write(connection, site_id, products)
    places.write(connection, site_id, products)


def _settle(connection: Connection, site_id: int, changes: list[_Change]) -> int:
    """Split new texts into words and queue them for a vector, drop the vectors of what has none;
    returns how many await one."""
    retold = [change for change in changes if change.new_text]
    untold = [c.product_no for c in changes if c.new_text or not c.existed]
    words.refresh(connection, site_id, untold)
    wordless = [c.product_no for c in retold if c.existed and not c.has_text]
    embeddings.forget(connection, site_id, wordless)
    return embeddings.queue(connection, site_id, [c.product_no for c in retold if c.has_text])


def _forget(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Remove all that lists find these products by."""
    embeddings.forget(connection, site_id, product_nos)
    words.forget(connection, site_id, product_nos)
    facets.forget(connection, site_id, product_nos)
    places.forget(connection, site_id, product_nos)


def describe_outdated(
    connection: Connection, site_id: int, *, stop: Callable[[], bool] = lambda: False
) -> int:
    """Make up for values and places that are missing, as after an upgrade; returns of how many.

    Batch by batch on a connection in autocommit, each with a transaction of its own: where it is
    interrupted the next goes on, and uploads wait for one batch at most.
    """
    done = 0
    for product_nos in facets.outdated(connection, site_id, stop):
        with connection.transaction():
            _describe(connection, site_id, facets.locked(connection, site_id, product_nos))
        done += len(product_nos)
    return done
