"""What the facts of one delivery come to: the rows that `ingest` hands to the one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from gateway.access import Source
from gateway.reading import Translated
from ranking.visitors.identity import actor_id
from schemas.facts import Erase, Event, Fact, Merge, Product, ProductPatch, Removed, Sighting, User


@dataclass
class Effects:
    """Rows by table; `records` are event rows and the bare keys of records without an event."""

    records: list[dict[str, Any]] = field(default_factory=list)
    actors: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    edges: dict[tuple[str, UUID, UUID], dict[str, Any]] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    users: list[tuple[str, datetime, dict[str, Any]]] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    erasures: list[tuple[list[UUID], datetime]] = field(default_factory=list)
    repeated: set[int] = field(default_factory=set)  # positions of repeats inside the body
    ready: int = 0


class Collector:
    """Turns the ready records of one delivery into Effects."""

    def __init__(
        self, source: Source, received_at: datetime, body_hash: UUID, once: str | None = None
    ) -> None:
        self.source = source
        self.received_at = received_at
        self.body_hash = body_hash
        self.once = once
        self.effects = Effects()
        self._ids: set[UUID] = set()
        self._equal_records: dict[bytes, int] = {}

    def collect(self, translated: Iterable[Translated]) -> Effects:
        for one in translated:
            if one.outcome == "ready":
                self._record(one)
        return self.effects

    def _record(self, one: Translated) -> None:
        self.effects.ready += 1
        keys = self._keys(one)
        if keys and keys[0] in self._ids:
            self.effects.repeated.add(one.position)
            self.effects.ready -= 1
            return
        self._ids.update(keys)
        events = [fact for fact in one.facts if isinstance(fact, Event)]
        for ordinal, (key, event) in enumerate(zip(keys, events, strict=False)):
            self.effects.records.append(self._event_row(one.position, ordinal, key, event))
        if keys and not events:
            self.effects.records.append(self._bare_key(one, keys[0]))
        for fact in one.facts:
            self._fact(fact)

    # identity of a record ---------------------------------------------------------------------

    def _keys(self, one: Translated) -> list[UUID]:
        """One key an event; a record without events has one too, unless it is an upload, whose
        repeats are told apart by the record's own instant."""
        events = [fact for fact in one.facts if isinstance(fact, Event)]
        if events:
            base = self._base(one, events[0])
            return [self._event_id(base, event, n) for n, event in enumerate(events)]
        if self.source.connector == "api":
            return []
        if one.message_id:
            return [self._hash(b"delivery", f"{one.message_id} {one.position}".encode())]
        if one.record_id:
            return [self._hash(b"named", one.record_id.encode())]
        if any(isinstance(fact, Removed) and fact.at is None for fact in one.facts):
            return []  # removed, made anew, removed again: the same words mean another time
        topic = f"{one.topic}\0".encode() if one.topic else b""
        return [self._hash(b"record", topic + self._as_sent(one.record))]

    def _event_id(self, base: bytes, event: Event, ordinal: int) -> UUID:
        """Keyed hash without any time of receipt in it: a retry is the same event. An order is one
        event whichever source tells of it."""
        if event.type == "purchase" and event.order_id and ordinal == 0:
            return _keyed(self.source.pepper, b"order", event.order_id.encode())
        return self._hash(b"event", base, str(ordinal).encode())

    def _base(self, one: Translated, event: Event) -> bytes:
        if event.message_id:
            return b"message\0" + event.message_id.encode()
        if one.message_id:
            return b"delivery\0" + f"{one.message_id} {one.position}".encode()
        if event.occurred_at is not None:
            return b"content\0" + self._as_sent(one.record)
        # The same body again is a retry within the hour, or for ever under the sender's own key.
        named = self.once or self.received_at.astimezone(UTC).strftime("%Y-%m-%dT%H")
        return b"position\0" + self.body_hash.bytes + f"{one.position} {named}".encode()

    def _as_sent(self, record: Any) -> bytes:
        """Canonical content with its ordinal among equal records of this body."""
        content = msgspec.json.encode(record, order="sorted")
        ordinal = self._equal_records.get(content, 0)
        self._equal_records[content] = ordinal + 1
        return content + b"\0" + str(ordinal).encode()

    def _hash(self, *parts: bytes) -> UUID:
        scope = str(self.source.dedupe_scope).encode()
        return _keyed(self.source.pepper, scope, *parts)

    # facts ------------------------------------------------------------------------------------

    def _fact(self, fact: Fact) -> None:
        match fact:
            case ProductPatch():
                pass  # admitted, and applied with what it made of the stored record
            case Product():
                self.effects.products.append(fact)
            case User():
                self.effects.actors[self._actor("user", fact.user_id)]["told"] = True
                told = fact.record | dict.fromkeys(fact.cleared)
                self.effects.users.append((fact.user_id, self._time(fact.as_of), told))
            case Sighting():
                self._sighting(fact)
            case Merge():
                self._merge(fact)
            case Removed():
                self.effects.removed.append(fact)
            case Erase():
                self.effects.erasures.append((list(self._erased(fact)), self._time(fact.at)))

    def _sighting(self, fact: Sighting) -> None:
        anonymous = self._actor("anonymous", fact.anonymous_id)
        user = self._actor("user", fact.user_id)
        self._edge("owned", anonymous, user, self._time(fact.occurred_at))

    def _merge(self, fact: Merge) -> None:
        """An alias: its previous id joins as a user where it was ever sent as one; else it is
        owned like an anonymous id. Both are recorded, the facts decide which one counts."""
        if fact.previous_id == fact.user_id:
            return
        at = self._time(fact.occurred_at)
        user = self._actor("user", fact.user_id)
        previous = actor_id(self.source.pepper, "user", fact.previous_id)
        self._edge("same", min(previous, user), max(previous, user), at)
        anonymous = self._actor("anonymous", fact.previous_id)
        self._edge("alias", anonymous, user, at, unless=previous)

    def _edge(
        self, kind: str, start: UUID, end: UUID, at: datetime, unless: UUID | None = None
    ) -> None:
        known = self.effects.edges.get((kind, start, end))
        if known and known["occurred_at"] <= at:
            return
        self.effects.edges[kind, start, end] = {
            "kind": kind,
            "from_actor": start,
            "to_actor": end,
            "occurred_at": at,
            "unless_actor": unless,
        }

    def _erased(self, fact: Erase) -> Iterator[UUID]:
        if fact.user_id:
            yield actor_id(self.source.pepper, "user", fact.user_id)
        if fact.anonymous_id:
            yield actor_id(self.source.pepper, "anonymous", fact.anonymous_id)

    def _actor(self, kind: str, sent_id: str) -> UUID:
        actor = actor_id(self.source.pepper, kind, sent_id)
        self.effects.actors.setdefault(actor, {"actor_id": actor, "kind": kind, "sent_id": sent_id})
        return actor

    # rows -------------------------------------------------------------------------------------

    def _event_row(self, position: int, ordinal: int, key: UUID, event: Event) -> dict[str, Any]:
        anonymous = self._actor("anonymous", event.anonymous_id) if event.anonymous_id else None
        user = self._actor("user", event.user_id) if event.user_id else None
        return {
            "position": position,
            "ordinal": ordinal,
            "event_id": key,
            "occurred_at": self._time(event.occurred_at),
            "actor_id": user or anonymous,
            "anonymous_actor_id": anonymous if user else None,
            "type": event.type,
            "product_ids": event.product_ids,
            "quantities": event.quantities,
            "revenue": event.revenue,
            "data": event.data(),
            "message_id": event.message_id,
        }

    def _bare_key(self, one: Translated, key: UUID) -> dict[str, Any]:
        return {
            "position": one.position,
            "ordinal": 0,
            "event_id": key,
            "occurred_at": self.received_at,
        }

    def _time(self, sent: datetime | None) -> datetime:
        """The sender's time, clamped to now: a future time would outrank everything to come."""
        return min(sent, self.received_at) if sent else self.received_at


def _keyed(pepper: bytes, *parts: bytes) -> UUID:
    return UUID(bytes=blake2b(b"\0".join(parts), digest_size=16, key=pepper[:64]).digest())
