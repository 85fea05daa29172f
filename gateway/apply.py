"""The one transaction behind `ingest`: what it writes and what it learns from doing so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from gateway import admission, memory
from gateway.access import Source
from gateway.effects import Collector, Effects, Incoming, as_told
from gateway.reading import (
    ALL_OR_NOTHING,
    ERASED,
    OF_ANOTHER,
    RecordProblem,
    Translated,
    Unreadable,
)
from gateway.settings import load
from ranking.catalog import products, stock
from ranking.visitors import erase, identity, orders, users
from ranking.visitors.orders import Earlier
from schemas import database
from schemas.database import Connection
from schemas.facts import Event, Export, Lifecycle, Product

SQL = database.queries(__file__)


def _statement(delivery: str, too_old: str) -> database.Prepared:
    slots = {"delivery": sql.SQL(delivery), "too_old": sql.SQL(too_old)}
    return database.prepared(SQL.fill("apply", **slots), "apply.apply")


# By whether the delivery is written too, and whether a record may be too old.
APPLY = {
    (new, old): _statement(SQL.delivery if new else "", SQL.too_old if old else "")
    for new in (True, False)
    for old in (True, False)
}

COUNTS = ("received", "applied", "duplicate", "ignored", "refused", "failed")
REASONS = {
    "too_old": "older than events are kept, and never seen before",
    "erased": "the person asked to be erased, and this was before that",
}


@dataclass(slots=True)
class Receipt:
    """What became of one delivery: counts by record, and a reason for each that was left out."""

    delivery_id: UUID
    outcome: str
    received: int
    applied: int = 0
    duplicate: int = 0
    ignored: int = 0
    refused: int = 0
    failed: int = 0
    problems: list[RecordProblem] = field(default_factory=list)
    notes: Sequence[RecordProblem] = ()  # what was left out of records that were applied
    error: str | None = None
    is_unchanged: bool = False
    mended: int = 0  # by a replay: records applied now that had not been
    changed: int = 0  # by one that reads anew: records that came to something else than before
    to_encode: int = 0
    told: list[memory.Key] = field(default_factory=list)  # provisional products now stored
    outcomes: dict[int, str] = field(default_factory=dict)  # by position, where not applied

    @classmethod
    def unchanged(cls, kept: Kept, error: str | None = None) -> Receipt:
        """Of a replay that moved nothing: the delivery's counts as they were."""
        receipt = cls(kept.incoming.delivery_id, kept.outcome, error=error, **kept.counts)  # type: ignore[arg-type]
        receipt.is_unchanged = True
        return receipt

    @classmethod
    def repeated(cls, kept: Kept) -> Receipt:
        """Of a failed delivery whose sender has sent the same body again since."""
        received = kept.counts["received"]
        delivery_id = kept.incoming.delivery_id
        return cls(delivery_id, "duplicate", received, duplicate=received)


def apply(
    connection: Connection,
    incoming: Incoming,
    records: Sequence[Translated],
    *,
    again: bool = False,
    anew: bool = False,
) -> Receipt:
    """Apply the ready records inside the caller's transaction; with `again` the delivery exists
    (a replay) and only its effects are written, `anew` after the events and orders that it brought
    are gone."""
    site_id = incoming.source.site_id
    admitted = admission.admit(
        connection,
        incoming.source,
        records,
        incoming.received_at,
        all_or_nothing=ALL_OR_NOTHING in incoming.headers,
        again=again,
    )
    records = admitted.records
    collector = Collector(incoming)
    effects = collector.collect(records)
    may_erase = _lock(connection, incoming, records, effects)
    told = _leave_out_known(incoming, effects)
    to_encode = products.patch(connection, site_id, admitted.patched)
    to_encode += _catalog(connection, incoming, effects)
    horizon = _horizon(incoming, again)
    earlier = _earlier(incoming, records) if anew else None
    _orders(connection, collector, horizon, earlier)
    if earlier:
        _take_back(connection, collector, earlier)
    old = any(record["occurred_at"] < horizon for record in effects.records)
    parameters = _parameters(incoming, effects, records) | {"horizon": horizon}
    row = APPLY[not again, old].execute(connection, parameters).fetchone()
    applied, duplicate, ignored, left_out, rejoin, late_edges = row  # type: ignore[misc]
    if admitted.notes:
        _note(connection, incoming, admitted.notes)
    _people(connection, incoming, effects)
    if late_edges and not may_erase:
        raise psycopg.errors.SerializationFailure("an erasure overtook this transaction")
    changed = [*rejoin, *_erase(connection, incoming, effects, late_edges or [])]
    identity.rebuild(connection, site_id, changed)
    _requests(connection, incoming, effects)
    receipt = _receipt(incoming, effects, records, left_out or [], (applied, duplicate, ignored))
    receipt.to_encode, receipt.told, receipt.notes = to_encode, told, admitted.notes
    return receipt


def _lock(
    connection: Connection, incoming: Incoming, records: Sequence[Translated], effects: Effects
) -> bool:
    """Keep apart from erasures; returns whether this may be one."""
    site_id = incoming.source.site_id
    if effects.erasures or effects.erased_orders:
        erase.lock_alone(connection, site_id)
        return True
    if not needs_transaction(incoming, records):
        return False
    return erase.lock(connection, site_id, {end for _, *ends in effects.edges for end in ends})


def _note(connection: Connection, incoming: Incoming, notes: Sequence[RecordProblem]) -> None:
    """Keep what was left out of records that were applied; nothing is open about them."""
    rows = database.jsonb([_problem_row(problem) for problem in notes])
    connection.execute(SQL.note, _delivery(incoming) | {"notes": rows})


def _horizon(incoming: Incoming, again: bool = False) -> datetime:
    """Events from before are too old, unless they are known; at a replay also those of the months
    that retention has dropped since."""
    horizon = incoming.received_at - events_kept()
    if not again:
        return horizon
    first_day = (datetime.now(UTC) - events_kept()).replace(day=1, hour=0, minute=0, second=0)
    return max(horizon, first_day.replace(microsecond=0))


@cache
def events_kept() -> timedelta:
    """RETENTION_EVENTS_DAYS as it was when this process first asked."""
    return timedelta(days=load(find_services=False).retention_events_days)


def needs_transaction(incoming: Incoming, records: Sequence[Translated]) -> bool:
    """Whether more than the one statement may be written: not for events of anonymous ids, nor for
    provisional products that are known."""
    for one in records:
        for fact in one.facts:
            if isinstance(fact, Event) and fact.user_id is None:
                continue
            if isinstance(fact, Product) and fact.provisional and _is_known(incoming, fact):
                continue
            return True
    return False


def _is_known(incoming: Incoming, product: Product) -> bool:
    told = as_told(incoming, product)
    return memory.is_known(memory.key(incoming.source, told, incoming.received_at))


def _leave_out_known(incoming: Incoming, effects: Effects) -> list[memory.Key]:
    """Drop the provisional products that are stored; the keys of those that now will be."""
    told, products = [], []
    for product in effects.products:
        one = memory.key(incoming.source, product, incoming.received_at)
        if product.provisional and memory.is_known(one):
            continue
        products.append(product)
        if product.provisional:
            told.append(one)
    effects.products = products
    return told


def _erase(
    connection: Connection, incoming: Incoming, effects: Effects, late_edges: list[list[str]]
) -> list[UUID]:
    """Erase whom the facts name, keep one receipt of all; returns whose visitors to derive anew."""
    site_id = incoming.source.site_id
    wanted = effects.erasures + _reached_by_erasure(late_edges)
    for order_ids, at in effects.erased_orders:
        wanted.append((erase.of_orders(connection, site_id, order_ids), at))
    actors: list[UUID] = []
    placed: set[str] = set()
    counts: Counter[str] = Counter()
    for ids, at in wanted:
        erased = erase.erase(connection, site_id, ids, at)
        actors += erased.actors
        placed.update(erased.orders)
        counts.update(erased.counts)
    if wanted:
        told = {
            "actors": sorted(set(actors)),
            "orders": sorted(placed),
            "counts": database.jsonb(counts),
        }
        connection.execute(SQL.keep_erasure, _delivery(incoming) | told)
    return actors


def _requests(connection: Connection, incoming: Incoming, effects: Effects) -> None:
    """Keep what a platform asks a person to do."""
    rows = [
        {"position": position, "kind": kind, "request_id": request_id, "person": person, "at": at}
        for position, (kind, request_id, person, at) in enumerate(map(_request, effects.people))
    ]
    if rows:
        source = {"source": incoming.source.source_id, "rows": database.jsonb(rows)}
        connection.execute(SQL.keep_requests, _delivery(incoming) | source)


def _request(fact: Export | Lifecycle) -> tuple[str, str | None, Any, datetime | None]:
    if isinstance(fact, Lifecycle):
        return fact.name, None, None, fact.at
    person = {name: getattr(fact, name) for name in ("user_id", "anonymous_id", "order_ids")}
    return "export", fact.request_id, person, fact.at


def _reached_by_erasure(late_edges: list[list[str]]) -> list[tuple[list[UUID], datetime]]:
    """A fact that joins an id to somebody already erased came late: the id is erased with them."""
    return [([UUID(start), UUID(end)], datetime.fromisoformat(at)) for start, end, at in late_edges]


def _catalog(connection: Connection, incoming: Incoming, effects: Effects) -> int:
    """Products first: the lock order is products, users, keys, edges, actors, identity."""
    site_id, received_at = incoming.source.site_id, incoming.received_at
    removed = [gone for gone in effects.removed if gone.kind == "product"]
    if dated := [(gone.id, gone.at) for gone in removed if gone.at]:
        products.remove(connection, site_id, dated)
    if undated := [gone.id for gone in removed if gone.at is None]:
        products.delete(connection, site_id, undated, received_at)
    if effects.groups:
        products.regroup(connection, site_id, effects.groups, received_at)
    to_encode = 0
    if effects.products:
        stored = products.upsert(connection, site_id, effects.products, received_at)
        to_encode = stored.to_encode
    if effects.groups:
        products.keep_to_groups(connection, site_id, effects.groups)
    stock.tell(
        connection,
        site_id,
        incoming.source.source_id,
        effects.stock,
        effects.products,
        received_at,
    )
    return to_encode


def _earlier(incoming: Incoming, records: Sequence[Translated]) -> Earlier:
    """What the delivery brought before, but of records whose person was erased since: they can be
    read no more, and an order stays without its name."""
    erased = [one.position for one in records if one.record == ERASED]
    return Earlier(incoming.delivery_id, erased)


def _orders(
    connection: Connection, collector: Collector, horizon: datetime, earlier: Earlier | None
) -> None:
    """Tell of orders, instead of what this delivery told of any earlier."""
    effects, site_id = collector.effects, collector.incoming.source.site_id
    if earlier:
        for order_id in orders.told_by(connection, site_id, earlier):
            collector.purchase(order_id)
    if not effects.purchases:
        return
    told = orders.tell(
        connection, site_id, effects.orders, effects.purchases, horizon, instead_of=earlier
    )
    collector.sightings(told.sightings)
    _changed(collector, told.actors)


def _changed(collector: Collector, actors: Iterable[tuple[UUID, str, str | None]]) -> None:
    """Let the one statement raise the versions of all whose events changed (actor, kind, id as
    sent), so that it alone locks actors."""
    for actor_id, kind, sent_id in actors:
        row = {"actor_id": actor_id, "kind": kind, "sent_id": sent_id}
        collector.effects.actors.setdefault(actor_id, row)["changed"] = True


def _take_back(connection: Connection, collector: Collector, earlier: Earlier) -> None:
    """Delete the events that the delivery brought, and free their keys and those of its records
    that lead to no event; what came first with another delivery stays that one's."""
    where = {"site": collector.incoming.source.site_id}
    brought = connection.execute(SQL.take_back, where | earlier._asdict()).fetchall()
    freed = {event_id for event_id, *_ in brought}
    rest = {row["event_id"] for row in collector.effects.records} - freed
    others = connection.execute(SQL.of_other_deliveries, where | {"ids": list(rest)})
    freed |= rest - {event_id for (event_id,) in others}
    connection.execute(SQL.free_keys, where | {"ids": sorted(freed)})
    actors = {actor for _, *both in brought for actor in both if actor is not None}
    _changed(collector, identity.named(connection, where["site"], actors))


def _people(connection: Connection, incoming: Incoming, effects: Effects) -> None:
    """After their actors are locked: an erasure that committed before is seen, one that comes now
    waits and takes these records too."""
    site_id, pepper = incoming.source.site_id, incoming.source.pepper
    if effects.users and incoming.source.connector == "api":
        users.upsert(connection, site_id, pepper, effects.users, incoming.received_at)
    elif effects.users:
        users.note_traits(connection, site_id, pepper, effects.users)
    for gone in effects.removed:
        if gone.kind == "user":
            users.remove(connection, site_id, gone.id, gone.at, incoming.received_at)


def _parameters(
    incoming: Incoming, effects: Effects, records: Sequence[Translated]
) -> dict[str, Any]:
    problems = [problem for one in records for problem in one.problems[:1]]
    return {
        "site": incoming.source.site_id,
        "source": incoming.source.source_id,
        "delivery": incoming.delivery_id,
        "received_at": incoming.received_at,
        "horizon": _horizon(incoming),
        "topic": incoming.topic,
        "records": database.jsonb(effects.records),
        "edges": database.jsonb(list(effects.edges.values())),
        "actors": database.jsonb(list(effects.actors.values())),
        "problems": database.jsonb([_problem_row(problem) for problem in problems]),
        "received": len(records),
        "ready": effects.ready,
        "duplicate": len(effects.repeated),
        "ignored": sum(one.outcome == "ignored" for one in records),
        "refused": sum(one.outcome == "refused" for one in records),
        "headers": database.jsonb(dict(incoming.headers)),
        "body": incoming.body,
        "body_hash": incoming.body_hash,
        "error": None,
    }


def _problem_row(problem: RecordProblem) -> dict[str, Any]:
    return {
        "position": problem.position,
        "outcome": problem.outcome,
        "pointer": problem.pointer,
        "reason": problem.reason,
    }


def _receipt(
    incoming: Incoming,
    effects: Effects,
    records: Sequence[Translated],
    left_out: list[list[Any]],
    counted: tuple[int, int, int],
) -> Receipt:
    """`counted`: applied, duplicate, ignored, as the statement counted them."""
    outcomes: dict[int, str] = {
        one.position: one.outcome for one in records if one.outcome != "ready"
    }
    outcomes |= dict.fromkeys(effects.repeated, "duplicate")
    problems = [problem for one in records for problem in one.problems]
    pointers = {one.position: one.pointer for one in records} if left_out else {}
    for position, why in left_out:
        outcomes[position] = "ignored" if why else "duplicate"
        if why:
            problems.append(
                RecordProblem(position, pointers[position], "ignored", REASONS.get(why, why))
            )
    receipt = Receipt(incoming.delivery_id, "applied", len(records))
    receipt.refused = sum(outcome == "refused" for outcome in outcomes.values())
    receipt.problems, receipt.outcomes = problems, outcomes
    receipt.applied, receipt.duplicate, receipt.ignored = counted
    receipt.outcome = overall({name: getattr(receipt, name) for name in COUNTS})
    return receipt


# other ways a delivery row is written -----------------------------------------------------------


def keep_unreadable(connection: Connection, incoming: Incoming, error: Unreadable) -> Receipt:
    """Keep a body that could not be read at all: one refused record at the body itself."""
    problem = RecordProblem(0, error.pointer, "refused", str(error))
    parameters = _parameters(incoming, Effects(), ())
    parameters |= {
        "received": 1,
        "refused": 1,
        "problems": database.jsonb([_problem_row(problem)]),
        "error": str(error),
    }
    APPLY[True, False].execute(connection, parameters)
    receipt = Receipt(incoming.delivery_id, "refused", 1, refused=1, problems=[problem])
    receipt.error = str(error)
    return receipt


def keep_failed(connection: Connection, incoming: Incoming, records: int, why: str) -> Receipt:
    """Keep a delivery that our own code failed on; a sweep or a person replays it."""
    parameters = _parameters(incoming, Effects(), ())
    parameters |= {"received": max(records, 1), "error": why}
    connection.execute(SQL.keep_failed, parameters)
    receipt = Receipt(incoming.delivery_id, "failed", max(records, 1), failed=max(records, 1))
    receipt.error = why
    return receipt


def stored(connection: Connection, incoming: Incoming) -> Receipt | None:
    """The receipt of a delivery whose commit went through although its answer was lost."""
    row = connection.execute(
        SQL.delivery_counts, _key(incoming.source.site_id, incoming.delivery_id)
    ).fetchone()
    if row is None:
        return None
    *counted, error = row
    receipt = Receipt(incoming.delivery_id, *counted)
    receipt.error = error
    receipt.problems = [
        RecordProblem(position, pointer, outcome, reason, of_another=reason == OF_ANOTHER)
        for position, pointer, outcome, reason in connection.execute(
            SQL.problems, _delivery(incoming)
        )
    ]
    return receipt


def failed_deliveries(connection: Connection, site_id: int, at: datetime) -> list[tuple[int, UUID]]:
    """(source id, delivery id) of failed deliveries whose next try is due, oldest first."""
    return connection.execute(SQL.failed_deliveries, {"site": site_id, "at": at}).fetchall()


def note_attempt(connection: Connection, source: Source, delivery_id: UUID) -> None:
    """Count a replay that could not even be tried, so that its next try is later."""
    connection.execute(SQL.note_attempt, _key(source.site_id, delivery_id))


# replay ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A delivery as it lies in the table, locked for a replay."""

    incoming: Incoming
    counts: dict[str, int]
    outcome: str
    open_problems: dict[int, str]

    @property
    def nothing_was_read(self) -> bool:
        """Failed or unreadable as a whole: its counts say nothing about records."""
        return self.outcome == "failed" or self.counts["refused"] == self.counts["received"] == 1


def lock(connection: Connection, source: Source, delivery_id: UUID) -> Kept | None:
    """Read a kept delivery for replay; None where there is none, or its body is not kept."""
    cursor = connection.execute(SQL.delivery_for_update, _key(source.site_id, delivery_id))
    row = cursor.fetchone()
    if row is None:
        return None
    names = [column.name for column in cursor.description or []]
    kept = dict(zip(names, row, strict=True))
    incoming = Incoming(
        source,
        kept["topic"],
        kept["headers"],
        bytes(kept["body"] or b""),
        kept["received_at"],
        delivery_id,
    )
    problems = connection.execute(SQL.open_problems, _delivery(incoming)).fetchall()
    counts = {name: kept[name] for name in COUNTS}
    return Kept(incoming, counts, kept["outcome"], dict(problems))


def was_sent_again(connection: Connection, kept: Kept) -> bool:
    """Whether the same body came again from the same source and was applied: where its records
    name no time and no id, they would count twice."""
    parameters = _delivery(kept.incoming) | {
        "source": kept.incoming.source.source_id,
        "body_hash": kept.incoming.body_hash,
    }
    return connection.execute(SQL.was_sent_again, parameters).fetchone() is not None


def brought(connection: Connection, kept: Kept) -> set[tuple[int, str]]:
    """What the records of a delivery have come to, for `differing`."""
    site_id, delivery_id = kept.incoming.source.site_id, kept.incoming.delivery_id
    where = {"site": site_id, "delivery": delivery_id}
    events = connection.execute(SQL.brought, where).fetchall()
    return {*events, *orders.tellings_of(connection, site_id, delivery_id)}


def differing(before: set[tuple[int, str]], after: set[tuple[int, str]]) -> int:
    """How many records came to something else, or to nothing, or to something only now."""
    return len({position for position, _ in before ^ after})


def settle(connection: Connection, kept: Kept, receipt: Receipt, *, anew: bool = False) -> None:
    """Move the counts of a replayed delivery: what was open and is applied now counts as applied.

    Where nothing had been read before, or all was applied `anew`, the fresh counts are the counts.
    A replay that failed moves nothing.
    """
    anew = anew or kept.nothing_was_read
    if receipt.is_unchanged:
        connection.execute(
            SQL.settle_delivery,
            _delivery(kept.incoming)
            | kept.counts
            | {"outcome": kept.outcome, "error": receipt.error},
        )
        return
    if anew:
        counts = {name: getattr(receipt, name) for name in COUNTS}
        mended = list(kept.open_problems)
    else:
        counts, mended = _moved(kept, receipt)
    still_open = [
        _problem_row(problem)
        for problem in receipt.problems
        if anew or problem.position in kept.open_problems
    ]
    mended = [p for p in mended if p not in {row["position"] for row in still_open}]
    receipt.mended = max(counts["applied"] - kept.counts["applied"], 0)
    parameters = _delivery(kept.incoming) | counts
    parameters |= {
        "outcome": overall(counts),
        "error": receipt.error,
        "problems": database.jsonb(list({row["position"]: row for row in still_open}.values())),
        "mended": mended,
    }
    connection.execute(SQL.settle_problems, parameters)
    connection.execute(SQL.settle_delivery, parameters)
    for name, value in counts.items():
        setattr(receipt, name, value)
    receipt.outcome = overall(counts)


def overall(counts: Mapping[str, int]) -> str:
    """One word for a delivery: the first that any record came to, best first."""
    for outcome in ("applied", "failed", "duplicate", "refused", "ignored"):
        if counts[outcome]:
            return outcome
    return "applied"


def _moved(kept: Kept, receipt: Receipt) -> tuple[dict[str, int], list[int]]:
    counts, mended = dict(kept.counts), []
    for position, before in kept.open_problems.items():
        now = receipt.outcomes.get(position, "applied")
        counts[before] -= 1
        counts[now] += 1
        if now in ("applied", "duplicate"):
            mended.append(position)
    return counts, mended


def _delivery(incoming: Incoming) -> dict[str, Any]:
    return {
        "site": incoming.source.site_id,
        "delivery": incoming.delivery_id,
        "received_at": incoming.received_at,
    }


def _key(site_id: int, delivery_id: UUID) -> dict[str, Any]:
    """A version 7 id holds its milliseconds: they find the one partition."""
    at = datetime.fromtimestamp((delivery_id.int >> 80) / 1000, UTC)
    return {
        "site": site_id,
        "delivery": delivery_id,
        "since": at - timedelta(milliseconds=1),
        "until": at + timedelta(milliseconds=2),
    }
