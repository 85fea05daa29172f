"""The second step of an erasure: records of the person inside kept bodies are overwritten, each by
`{"erased": true}`, every other byte stays. The worker does it within a day, in pieces; killed, it
goes on where it was.

A body can no longer be held against its signature then: what was found authentic at receipt stays
so. https://gdpr-info.eu/art-17-gdpr/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway import access, mappings, reading
from gateway.access import Source
from gateway.reading import ANONYMOUS_ID, ERASED, Translated, Unreadable
from ranking.visitors.identity import actor_id
from schemas import database, payload
from schemas.database import Connection
from schemas.facts import Fact

SQL = database.queries(__file__)

AT_ONCE = 50  # deliveries
OVERWRITTEN = json.dumps(ERASED, separators=(",", ":")).encode()
# Fields of facts that name somebody.
USER, ANONYMOUS = ("user_id", "previous_id"), ("anonymous_id", "other_id", "previous_id")


def sites(connection: Connection, at: datetime) -> list[int]:
    """Sites with erasures whose bodies are not done."""
    return [row[0] for row in connection.execute(SQL.sites)]


def overwrite(connection: Connection, site_id: int, *, stop: Callable[[], bool]) -> int:
    """Overwrite what kept bodies of a site say of all who were erased; returns how many records."""
    site = access.site_by_id(connection, site_id)
    erased = 0
    while not stop():
        with connection.transaction():
            open_ones = connection.execute(SQL.open_erasures, {"site": site_id}).fetchone()
            if open_ones is None or open_ones[0] is None:
                return erased
            actors, since, until = set(open_ones[0]), open_ones[1], open_ones[2]
            erased += _piece(connection, site, actors, since, until)
    return erased


def _piece(
    connection: Connection, site: access.Site, actors: set[UUID], since: datetime, until: datetime
) -> int:
    where = {"site": site.site_id, "since": since, "until": until, "limit": AT_ONCE}
    rows = connection.execute(SQL.deliveries, where).fetchall()
    erased = sum(_delivery(connection, site, actors, row) for row in rows)
    done = {"done_until": rows[-1][1] if len(rows) >= AT_ONCE else until, "records": erased}
    connection.execute(SQL.note, where | done)
    return erased


def _delivery(
    connection: Connection, site: access.Site, actors: set[UUID], row: tuple[Any, ...]
) -> int:
    """How many records of one delivery were overwritten; one that is only theirs is emptied."""
    delivery_id, received_at, source_id, topic, headers, body = row
    source = access.source_by_id(connection, site.site_id, source_id)
    if source is None:
        return 0
    person = _Person(site.pepper, actors)
    anonymous_id = headers.get(ANONYMOUS_ID)
    if is_named := anonymous_id is not None and person.has("anonymous", anonymous_id):
        headers = {name: value for name, value in headers.items() if name != ANONYMOUS_ID}
    pointers = {
        pointer
        for settings in mappings.settings_ever(connection, source)
        for pointer in _records(
            person, replace(source, settings=settings), topic, bytes(body), headers, received_at
        )
    }
    if not pointers and not is_named:
        return 0
    parameters = {
        "site": site.site_id,
        "delivery": delivery_id,
        "received_at": received_at,
        "headers": database.jsonb(headers),
        "body": payload.overwritten(bytes(body), pointers, OVERWRITTEN),
        "records": len(pointers),
    }
    connection.execute(SQL.overwrite, parameters)
    return len(pointers)


def _records(
    person: _Person,
    source: Source,
    topic: str | None,
    body: bytes,
    headers: dict[str, str],
    received_at: datetime,
) -> Iterator[str]:
    """Pointers to the records that name a person."""
    try:
        translated = reading.read(
            source.connector, topic, body, source.settings, headers, received_at
        )
    except Unreadable:
        return  # there are no records to tell apart; it goes when deliveries are retired
    for one in translated:
        if one.record != ERASED and person.is_in(one):
            yield one.pointer


class _Person:
    """Whoever has one of these actors; their ids themselves are forgotten."""

    def __init__(self, pepper: bytes, actors: set[UUID]) -> None:
        self._pepper = pepper
        self._actors = actors

    def has(self, kind: str, sent_id: str) -> bool:
        return actor_id(self._pepper, kind, sent_id) in self._actors

    def is_in(self, one: Translated) -> bool:
        """Whether a record's facts name the person, or, of one that came to nothing, any field
        that holds an id."""
        if one.facts:
            return any(self.has(kind, sent_id) for kind, sent_id in _named(one.facts))
        return any(
            self.has(kind, sent_id)
            for sent_id in _ids(one.record)
            for kind in ("user", "anonymous")
        )


def _named(facts: list[Fact]) -> Iterator[tuple[str, str]]:
    for fact in facts:
        record = getattr(fact, "record", None)
        if isinstance(record, dict) and isinstance(record.get("user_id"), str):
            yield "user", record["user_id"]
        for kind, fields in (("user", USER), ("anonymous", ANONYMOUS)):
            for field in fields:
                if isinstance(sent_id := getattr(fact, field, None), str):
                    yield kind, sent_id


def _ids(value: Any, name: str = "") -> Iterator[str]:
    """The values of all fields of a record whose name ends in `id`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _ids(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _ids(inner, name)
    elif name.lower().endswith("id") and isinstance(value, str | int):
        yield str(value)
    elif not name and isinstance(value, str):
        yield value  # a deletion's record is the id alone
