"""What the facts of one delivery come to: the rows that `ingest` hands to the one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from gateway.access import API, Source
from gateway.reading import CLAIMED, ONCE, Translated
from ranking.visitors.identity import actor_id
from ranking.visitors.orders import BACKEND, BROWSER, PLATFORM
from schemas.facts import (
    Erase,
    Event,
    Export,
    Fact,
    Lifecycle,
    Merge,
    Order,
    Product,
    ProductPatch,
    Removed,
    SameDevice,
    Sighting,
    Stock,
    User,
    Variants,
)

# Whose word about an order is believed first; whoever is not named sends from a backend.
TRUST = {"shopify": PLATFORM, "wordpress": PLATFORM}

BEHIND = timedelta(days=100 * 365)  # of a claim, behind what a source said
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)  # before it there is no time to be behind


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request body as it was received."""

    source: Source
    topic: str | None
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    delivery_id: UUID

    @property
    def body_hash(self) -> UUID:
        return UUID(bytes=blake2b(self.body, digest_size=16).digest())


@dataclass
class Effects:
    """Rows by table; `records` are event rows and the bare keys of records without an event."""

    records: list[dict[str, Any]] = field(default_factory=list)
    actors: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    edges: dict[tuple[str, UUID, UUID], dict[str, Any]] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    users: list[tuple[str, datetime, dict[str, Any]]] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    groups: list[Variants] = field(default_factory=list)
    stock: list[Stock] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    purchases: dict[str, UUID] = field(default_factory=dict)  # the event that an order comes to
    erasures: list[tuple[list[UUID], datetime]] = field(default_factory=list)
    erased_orders: list[tuple[list[str], datetime]] = field(default_factory=list)
    people: list[Export | Lifecycle] = field(default_factory=list)
    repeated: set[int] = field(default_factory=set)  # positions of repeats inside the body
    ready: int = 0


class Collector:
    """Turns the ready records of one delivery into Effects."""

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.source = incoming.source
        self.received_at = incoming.received_at
        self.mapping_version = (self.source.settings.get("mapping") or {}).get("version")
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
            if _is_order(event):
                self.effects.records.append(self._bare_key(one, ordinal, key, event))
                self._order(one, _order_of(event), event)
            else:
                self.effects.records.append(self._event_row(one.position, ordinal, key, event))
        orders = [fact for fact in one.facts if isinstance(fact, Order)]
        if keys and not events:
            self.effects.records.append(
                self._bare_key(one, 0, keys[0], orders[0] if orders else None)
            )
        for order in orders:
            self._order(one, order)
        for fact in one.facts:
            self._fact(fact)

    # identity of a record ---------------------------------------------------------------------

    def _keys(self, one: Translated) -> list[UUID]:
        """One key an event; a record without events has one too, unless it is an upload, whose
        repeats are told apart by the record's own instant."""
        events = [fact for fact in one.facts if isinstance(fact, Event)]
        if events:
            base = self._base(one, events[0])
            return [self._hash(b"event", base, str(n).encode()) for n in range(len(events))]
        if self.source.connector == API:
            return []
        if one.message_id:
            return [self._hash(b"delivery", _delivery_key(one))]
        if one.record_id:
            return [self._hash(b"named", one.record_id.encode())]
        if any(_is_undated(fact) for fact in one.facts):
            return []  # removed, made anew, removed again: the same words mean another time
        topic = f"{one.topic}\0".encode() if one.topic else b""
        return [self._hash(b"record", topic + self._as_sent(one.record))]

    def _base(self, one: Translated, event: Event) -> bytes:
        if event.message_id:
            return b"message\0" + event.message_id.encode()
        if one.message_id:
            return b"delivery\0" + _delivery_key(one)
        if event.occurred_at is not None:
            return b"content\0" + self._as_sent(one.record)
        # The same body again is a retry within the hour, or for ever under the sender's own key.
        named = self.incoming.headers.get(ONCE) or self.received_at.astimezone(UTC).strftime(
            "%Y-%m-%dT%H"
        )
        return b"position\0" + self.incoming.body_hash.bytes + f"{one.position} {named}".encode()

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
            case Product():
                self.effects.products.append(as_told(self.incoming, fact))
            case Variants():
                self.effects.groups.append(fact)
            case Stock():
                self.effects.stock.append(fact)
            case User():
                told = fact.record | dict.fromkeys(fact.cleared)
                at = self._time(fact.as_of)
                self._tell(self._actor("user", fact.user_id), at)
                self.effects.users.append((fact.user_id, at, told))
            case Sighting():
                self._sighting(fact)
            case SameDevice():
                self._same_device(fact)
            case Merge():
                self._merge(fact)
            case Removed():
                self.effects.removed.append(self._removed(fact))
            case Erase():
                self._erase(fact)
            case Export() | Lifecycle():
                self.effects.people.append(fact)
            case Event() | Order() | ProductPatch():
                pass  # events and orders are rows by now; patches were applied when admitted

    def _sighting(self, fact: Sighting) -> None:
        anonymous = self._actor("anonymous", fact.anonymous_id)
        user = self._actor("user", fact.user_id)
        self._edge("owned", anonymous, user, self._time(fact.occurred_at))

    def _same_device(self, fact: SameDevice) -> None:
        if fact.anonymous_id != fact.other_id:
            ids = (fact.anonymous_id, fact.other_id)
            first, second = sorted(self._actor("anonymous", one) for one in ids)
            self._edge("device", first, second, self._time(fact.occurred_at))

    def _merge(self, fact: Merge) -> None:
        """An alias: its previous id joins as a user where it was ever sent as one; else it is
        owned like an anonymous id. Both are recorded, the facts decide which one counts. A claim
        joins no two users: either could read by it what the other did."""
        if fact.previous_id == fact.user_id:
            return
        at = self._time(fact.occurred_at)
        user = self._actor("user", fact.user_id)
        previous = actor_id(self.source.pepper, "user", fact.previous_id)
        if CLAIMED not in self.incoming.headers:
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

    def sightings(self, pairs: Iterable[tuple[UUID, UUID, datetime]]) -> None:
        """Anonymous ids that were seen with a user, found out from stored facts."""
        for anonymous, user, at in pairs:
            self._edge("owned", anonymous, user, at)

    def _removed(self, fact: Removed) -> Removed:
        """At `/v1` a deletion without a time is one of what is there then, a platform's is dated by
        its receipt."""
        if fact.at is None and self.source.connector != API:
            return replace(fact, at=self.received_at)
        return fact

    def _erase(self, fact: Erase) -> None:
        at = self._time(fact.at)
        if fact.user_id or fact.anonymous_id:
            self.effects.erasures.append((list(self._erased(fact)), at))
        if fact.order_ids:
            self.effects.erased_orders.append((fact.order_ids, at))

    def _erased(self, fact: Erase) -> Iterator[UUID]:
        if fact.user_id:
            yield actor_id(self.source.pepper, "user", fact.user_id)
        if fact.anonymous_id:
            yield actor_id(self.source.pepper, "anonymous", fact.anonymous_id)

    def _actor(self, kind: str, sent_id: str) -> UUID:
        actor = actor_id(self.source.pepper, kind, sent_id)
        self.effects.actors.setdefault(actor, {"actor_id": actor, "kind": kind, "sent_id": sent_id})
        return actor

    def _tell(self, actor: UUID, at: datetime) -> None:
        """Something beside events is told of this actor then."""
        row = self.effects.actors[actor]
        row["told_at"] = max(row.get("told_at", at), at)

    # rows -------------------------------------------------------------------------------------

    def _event_row(self, position: int, ordinal: int, key: UUID, event: Event) -> dict[str, Any]:
        user, anonymous = self._people(event)
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
            "data": self._read_by(event.data()),
            "message_id": event.message_id,
        }

    def _read_by(self, data: dict[str, Any]) -> dict[str, Any]:
        """With the version of the mapping that the record was read by, where there is one."""
        return data if self.mapping_version is None else data | {"mapping": self.mapping_version}

    def _bare_key(
        self, one: Translated, ordinal: int, key: UUID, about: Event | Order | None = None
    ) -> dict[str, Any]:
        """The row of a record that makes no event by itself; one of somebody who was erased since,
        or from before events are kept, is left out like their events."""
        user, anonymous = self._people(about) if about else (None, None)
        return {
            "position": one.position,
            "ordinal": ordinal,
            "event_id": key,
            "occurred_at": self._happened_at(about) if about else self.received_at,
            "actor_id": user or anonymous,
            "anonymous_actor_id": anonymous if user else None,
        }

    def _people(self, fact: Event | Order) -> tuple[UUID | None, UUID | None]:
        """The user and the anonymous actor of a fact."""
        anonymous_id = fact.anonymous_id
        if isinstance(fact, Order) and not (anonymous_id or fact.user_id):
            anonymous_id = self._guest(fact)
        anonymous = self._actor("anonymous", anonymous_id) if anonymous_id else None
        user = self._actor("user", fact.user_id) if fact.user_id else None
        return user, anonymous

    def _guest(self, order: Order) -> str | None:
        """A visitor of its own for an order that a platform knows no buyer of. Nobody may guess
        it: whoever knows an anonymous id can ask for its lists."""
        if order.told != "placed" or self._trust() != PLATFORM:
            return None
        return f"guest:{_keyed(self.source.pepper, b'guest', order.order_id.encode()).hex}"

    # orders -------------------------------------------------------------------------------------

    def _order(self, one: Translated, order: Order, event: Event | None = None) -> None:
        user, anonymous = self._people(order)
        occurred_at = self._happened_at(order)
        for actor in filter(None, (user, anonymous)):
            self._tell(actor, occurred_at)
        content = _content(order, event)
        row = {
            "order_id": order.order_id,
            "source_id": self.source.source_id,
            "told": order.told,
            "reference": order.refund_id or "",
            "trust": self._trust(),
            "as_of": self._time(order.as_of or order.occurred_at),
            # Without the mapping's version: the same words are the same telling.
            "told_hash": _keyed(b"", msgspec.json.encode(content, order="sorted")),
            "occurred_at": occurred_at,
            "user_actor_id": user,
            "anonymous_actor_id": anonymous,
            "content": content | {"data": self._read_by(content["data"])},
            "delivery_id": self.incoming.delivery_id,
            "position": one.position,
            "received_at": self.received_at,
        }
        self.effects.orders.append(row)
        self.purchase(order.order_id)

    def purchase(self, order_id: str) -> None:
        """Name the event that an order comes to."""
        key = _keyed(self.source.pepper, b"order", order_id.encode())
        self.effects.purchases[order_id] = key

    def _happened_at(self, fact: Event | Order) -> datetime:
        told_at = fact.as_of if isinstance(fact, Order) else None
        return self._time(fact.occurred_at or told_at)

    def _trust(self) -> int:
        if CLAIMED in self.incoming.headers:
            return BROWSER
        return TRUST.get(self.source.connector, BACKEND)

    def _time(self, sent: datetime | None) -> datetime:
        """The sender's time, clamped to now: a future time would outrank everything to come."""
        return min(sent, self.received_at) if sent else self.received_at


def as_told(incoming: Incoming, product: Product) -> Product:
    """What only a claim tells of a product counts until a source tells of it, and among claims the
    newest counts: each is older than whatever a source says."""
    if not (product.provisional and CLAIMED in incoming.headers):
        return product
    at = min(product.as_of or incoming.received_at, incoming.received_at)
    return replace(product, as_of=max(at, EARLIEST) - BEHIND)


def _delivery_key(one: Translated) -> bytes:
    """A platform's id of a delivery is one of its topic."""
    return f"{one.topic} {one.message_id} {one.position}".encode()


def _is_undated(fact: Fact) -> bool:
    return (isinstance(fact, Removed) and fact.at is None) or (
        isinstance(fact, Order) and fact.as_of is None and fact.occurred_at is None
    )


def _is_order(event: Event) -> bool:
    return event.type == "purchase" and event.order_id is not None


def _order_of(event: Event) -> Order:
    """A purchase with an order's id is one telling of that order."""
    assert event.order_id is not None
    return Order(
        event.order_id,
        "placed",
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        occurred_at=event.occurred_at,
        product_ids=event.product_ids,
        quantities=event.quantities,
        revenue=event.revenue,
        currency=event.currency,
        context=event.context,
        properties=event.properties,
    )


def _content(order: Order, event: Event | None) -> dict[str, Any]:
    """What is told of an order, without who and when."""
    data = event.data() if event else {"order_id": order.order_id}
    if event is None:
        more = {name: getattr(order, name) for name in ("currency", "context", "properties")}
        data |= {name: value for name, value in more.items() if value is not None}
    content = {
        "product_ids": order.product_ids,
        "quantities": order.quantities,
        "revenue": order.revenue,
        "currency": order.currency,
        "message_id": event.message_id if event else None,
        "data": data,
    }
    return {name: value for name, value in content.items() if value is not None}


def _keyed(pepper: bytes, *parts: bytes) -> UUID:
    return UUID(bytes=blake2b(b"\0".join(parts), digest_size=16, key=pepper[:64]).digest())
