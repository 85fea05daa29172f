"""The second step of an erasure: records of the person inside kept bodies are overwritten, each by
`{"erased": true}`, every other byte stays. The worker does it within a day, in pieces; killed, it
goes on where it was.

A body can no longer be held against its signature then: what was found authentic at receipt stays
so. https://gdpr-info.eu/art-17-gdpr/
"""

from __future__ import annotations

import json
import re
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
from schemas.facts import Fact, Order

SQL = database.queries(__file__)

AT_ONCE = 50  # deliveries
OVERWRITTEN = json.dumps(ERASED, separators=(",", ":")).encode()
_GID = re.compile(r"gid://[^/]+/[^/]+/(\d+)")
# The last two names of a field decide: a line item of a customer's order has an id of its own.
_PERSON = re.compile(
    r"(?:customer|user|visitor|anonymous|client|previous)[^.]*\.?[^.]*$", re.IGNORECASE
)
_OF_ORDERS = re.compile("order|refund|checkout")
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
            actors, placed, since, until = open_ones
            person = _Person(site.pepper, set(actors), set(placed))
            erased += _piece(connection, site, person, since, until)
    return erased


def _piece(
    connection: Connection, site: access.Site, person: _Person, since: datetime, until: datetime
) -> int:
    where = {"site": site.site_id, "since": since, "until": until, "limit": AT_ONCE}
    rows = connection.execute(SQL.deliveries, where).fetchall()
    erased = sum(_delivery(connection, site, person, row) for row in rows)
    done = {"done_until": rows[-1][1] if len(rows) >= AT_ONCE else until, "records": erased}
    connection.execute(SQL.note, where | done)
    return erased


def _delivery(
    connection: Connection, site: access.Site, person: _Person, row: tuple[Any, ...]
) -> int:
    """How many records of one delivery were overwritten; one that is only theirs is emptied."""
    delivery_id, received_at, source_id, topic, headers, body = row
    source = access.source_by_id(connection, site.site_id, source_id)
    if source is None:
        return 0
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
    """Whoever has one of these actors and placed these orders; the ids are forgotten."""

    def __init__(self, pepper: bytes, actors: set[UUID], orders: set[str]) -> None:
        self._pepper = pepper
        self._actors = actors
        self._orders = orders

    def has(self, kind: str, sent_id: str) -> bool:
        return actor_id(self._pepper, kind, sent_id) in self._actors

    def is_in(self, one: Translated) -> bool:
        """Whether a record is about the person: by its facts, by an id that it holds, or by an
        order of theirs. It says more than its facts: of a cancelled order, who placed it."""
        if any(self.has(kind, sent_id) for kind, sent_id in _named(one.facts)):
            return True
        ids = _ids(one.record, one.topic or "", anything=not one.facts)
        if isinstance(one.record, str):
            ids = iter([one.record])  # a deletion's record is the id alone
        if any(self.has(kind, sent_id) for sent_id in ids for kind in ("user", "anonymous")):
            return True
        return not self._orders.isdisjoint(_orders(one))


def _orders(one: Translated) -> Iterator[str]:
    """The orders that a record tells of, or is about without telling: one that nobody paid yet."""
    for fact in one.facts:
        if isinstance(fact, Order):
            yield fact.order_id
    if isinstance(one.record, dict) and _OF_ORDERS.search(one.topic or ""):
        for name in ("id", "order_id"):
            if isinstance(found := one.record.get(name), str | int):
                yield from _spellings(str(found))


def _named(facts: list[Fact]) -> Iterator[tuple[str, str]]:
    for fact in facts:
        record = getattr(fact, "record", None)
        if isinstance(record, dict) and isinstance(record.get("user_id"), str):
            yield "user", record["user_id"]
        for kind, fields in (("user", USER), ("anonymous", ANONYMOUS)):
            for field in fields:
                if isinstance(sent_id := getattr(fact, field, None), str):
                    yield kind, sent_id


def _ids(value: Any, name: str, *, anything: bool) -> Iterator[str]:
    """The ids in a record: of fields that name people, by their own name or that of what they
    stand in; with `anything` of all fields whose name ends in `id`, for a record without facts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            inside = key.lower() in ("id", "admin_graphql_api_id") or isinstance(inner, dict | list)
            yield from _ids(inner, f"{name}.{key}" if inside else key, anything=anything)
    elif isinstance(value, list):
        for inner in value:
            yield from _ids(inner, name, anything=anything)
    elif isinstance(value, str | int) and (
        name.lower().endswith("id") and (anything or _PERSON.search(name))
    ):
        yield from _spellings(str(value))


def _spellings(sent_id: str) -> Iterator[str]:
    """An id as it stands, and the number of a global one
    (https://shopify.dev/docs/api/usage/gids)."""
    yield sent_id
    if found := _GID.match(sent_id):
        yield found[1]
