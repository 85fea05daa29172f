"""The mapping of a source: its versions, and what another one would make of the deliveries kept.

The one in use lies in the source's settings, where reading finds it; the table keeps them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from connectors import mapping
from gateway import access, inspection, reading
from gateway.access import Source
from gateway.reading import Translated
from schemas import database, payload
from schemas.database import Connection
from schemas.errors import AttuneError, Invalid, Malformed, Problem

SQL = database.queries(__file__)

LIMIT_BYTES = 256 * 1024  # of a document
DELIVERIES = 200  # that a mapping is tried on
DELIVERIES_AT_MOST = 1000
ROWS_AT_MOST = 200
REASON_CHARACTERS = 200

Document = dict[str, Any]


class UnknownVersion(AttuneError):
    """The source has no version of its mapping of that number."""


def parsed(body: bytes) -> Any:
    """The value of a document's text; raises Invalid."""
    if len(body) > LIMIT_BYTES:
        raise Invalid([Problem("", f"A mapping has at most {LIMIT_BYTES:,} bytes.")])
    try:
        return payload.parse(body)
    except Malformed as error:
        raise Invalid([Problem("", str(error))]) from None


# versions ---------------------------------------------------------------------------------------


def show(connection: Connection, source: Source, version: int | None = None) -> dict[str, Any]:
    """{"source", "version", "mapping", "created_at", "versions"}: the mapping in use, or of a
    version; without one `version` is null and the rules are none. Raises UnknownVersion."""
    found = _stored(connection, source, version)
    versions = connection.execute(SQL.versions, _where(source)).fetchall()
    names = ("version", "created_at", "rules")
    return {
        "source": source.public_id,
        "version": found[0] if found else None,
        "mapping": _in_order(found[1]) if found else {"rules": []},
        "created_at": found[2] if found else None,
        "versions": [dict(zip(names, row, strict=True)) for row in versions],
    }


def _in_order(document: Document) -> Document:
    """The parts of each rule as they are applied and documented: Postgres orders keys by length."""
    rules = [
        {part: rule[part] for part in mapping.PARTS if part in rule} for rule in document["rules"]
    ]
    return document | {"rules": rules}


def put(connection: Connection, source: Source, document: Any) -> dict[str, Any]:
    """Use this mapping from now on: {"source", "version", "changed"}; an equal one changes nothing.
    Raises Invalid with pointers into the document."""
    mapping.check(document)
    with connection.transaction():
        access.lock_source(connection, source)
        row = connection.execute(SQL.add, _where(source) | {"document": Jsonb(document)}).fetchone()
        if row is not None:
            access.set_mapping(connection, source, row[0], document)
        found = _stored(connection, source)
    access.forget()
    return {
        "source": source.public_id,
        "version": found[0] if found else None,
        "changed": row is not None,
    }


def put_back(connection: Connection, source: Source, version: int) -> dict[str, Any]:
    """Use the mapping of an older version again, as a new version; as `put`. Raises
    UnknownVersion."""
    found = _stored(connection, source, version)
    assert found is not None
    return put(connection, source, found[1])


def settings_ever(connection: Connection, source: Source) -> list[dict[str, Any]]:
    """The settings of a source with each mapping that it has or had, and without one: whoever looks
    for a person in what was kept has to read it by all of them."""
    if "mapping" not in source.settings:
        return [source.settings]
    plain = {name: value for name, value in source.settings.items() if name != "mapping"}
    rows = connection.execute(SQL.documents, _where(source))
    return [plain, *(plain | {"mapping": document} for (document,) in rows)]


def _stored(
    connection: Connection, source: Source, version: int | None = None
) -> tuple[int, Document, datetime] | None:
    statement = SQL.current if version is None else SQL.version
    row = connection.execute(statement, _where(source) | {"version": version}).fetchone()
    if row is None and version is not None:
        raise UnknownVersion(f"source {source.public_id} has no version {version} of its mapping")
    return row  # type: ignore[return-value]


def _where(source: Source) -> dict[str, int]:
    return {"site": source.site_id, "source": source.source_id}


# trying one -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A delivery that lies there."""

    delivery_id: UUID
    received_at: datetime
    topic: str | None
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Change:
    """Records that become alike now, and would alike with the other mapping."""

    now: str
    then: str
    changed: bool
    records: int = 0
    fields: set[str] = field(default_factory=set)  # in which the facts differ
    delivery_id: UUID | None = None
    pointer: str = ""

    def shown(self) -> dict[str, Any]:
        names = ("now", "then", "changed", "records", "delivery_id", "pointer")
        return {name: getattr(self, name) for name in names} | {"fields": sorted(self.fields)}


def kept(connection: Connection, source: Source, *, last: int, most_bytes: int) -> list[Kept]:
    """The newest deliveries of a source whose bodies are kept: `last`, or as many as `most_bytes`
    hold."""
    parameters = _where(source) | {"last": min(last, DELIVERIES_AT_MOST), "bytes": most_bytes}
    rows = connection.execute(SQL.deliveries, parameters)
    return [
        Kept(delivery_id, received_at, topic, headers, bytes(body))
        for delivery_id, received_at, topic, headers, body in rows
    ]


def tried(source: Source, document: Any, deliveries: Sequence[Kept]) -> dict[str, Any]:
    """What the records of these deliveries become now and would become by another mapping; nothing
    is written. Raises Invalid with pointers into the document."""
    mapping.check(document)
    groups: dict[tuple[str, str, bool], Change] = {}
    counts: dict[str, Counter[str]] = {"now": Counter(), "then": Counter()}
    for delivery in deliveries:
        for now, then in _both(source, document, delivery):
            counts["now"][now.outcome] += 1
            counts["then"][then.outcome] += 1
            _count(groups, delivery, now, then)
    rows = sorted(groups.values(), key=lambda one: (not one.changed, -one.records, one.now))
    return {
        "source": source.public_id,
        "deliveries": len(deliveries),
        "records": sum(counts["now"].values()),
        "changed": sum(one.records for one in rows if one.changed),
        **{
            when: {name: sums[name] for name in ("ready", "ignored", "refused")}
            for when, sums in counts.items()
        },
        "rows": [one.shown() for one in rows[:ROWS_AT_MOST]],
        "rows_left_out": max(len(rows) - ROWS_AT_MOST, 0),
    }


def _both(
    source: Source, document: Document, delivery: Kept
) -> Iterator[tuple[Translated, Translated]]:
    """Each record read now and then; none where the body cannot be read."""
    readings = []
    for settings in (source.settings, source.settings | {"mapping": document}):
        try:
            read = reading.read(
                source.connector,
                delivery.topic,
                delivery.body,
                settings,
                delivery.headers,
                delivery.received_at,
            )
        except reading.Unreadable:
            return
        readings.append(read)
    yield from zip(*readings, strict=True)


def _count(
    groups: dict[tuple[str, str, bool], Change], delivery: Kept, now: Translated, then: Translated
) -> None:
    names = _comes_to(now), _comes_to(then)
    changed = names[0] != names[1] or now.facts != then.facts
    group = groups.setdefault((*names, changed), Change(*names, changed))
    if not group.records:
        group.delivery_id, group.pointer = delivery.delivery_id, now.pointer
    group.records += 1
    group.fields.update(_differing(now, then))


def _comes_to(one: Translated) -> str:
    """The facts of a record in a few words, or why there are none."""
    if one.outcome == "ready":
        return inspection.named(one.facts)
    reason = one.problems[0].reason if one.problems else ""
    return f"{one.outcome}: {reason}"[:REASON_CHARACTERS]


def _differing(now: Translated, then: Translated) -> Iterator[str]:
    """The names of fields in which facts of one kind differ."""
    for before, after in zip(now.facts, then.facts, strict=False):
        if type(before) is type(after) and before != after:
            for one in fields(before):
                if getattr(before, one.name) != getattr(after, one.name):
                    yield one.name
