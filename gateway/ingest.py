"""Data in: the one way a delivery becomes facts. Every door, importer and replay calls it.

door → deliver ─ read (parse, translate, load) ─ ONE transaction: delivery, keys, facts, versions ─
2xx ─ hint. A 2xx leaves only after that transaction has committed, or, where our own code failed,
after a second one has kept the delivery as `failed`; a sweep applies it later.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Counter
from psycopg_pool import ConnectionPool, PoolTimeout

from gateway import access, admission, apply, idempotency, instant, jobs, memory
from gateway.access import Source
from gateway.apply import Receipt
from gateway.effects import Incoming
from gateway.reading import (
    ALL_OR_NOTHING,
    ONCE,
    RecordProblem,
    Translated,
    Unreadable,
    of_nobody,
    read,
    refuse_all_for_one,
    without_withheld,
)
from schemas import tracing
from schemas.database import Connection
from schemas.errors import AttuneError

__all__ = ["Pool", "Receipt", "RecordProblem", "Translated", "UnknownDelivery", "Unreadable",
           "deliver", "read", "replay", "retry_failed", "tried"]  # fmt: skip

log = structlog.get_logger(__name__)

Pool = ConnectionPool[Connection]

DELIVERIES = Counter(
    "attune_deliveries", "Deliveries received, by what became of them", ["connector", "outcome"]
)
REPEATED = Counter(
    "attune_transactions_repeated", "Transactions of deliveries that were done again", ["why"]
)
WHY_REPEATED = {"40P01": "deadlock", "40001": "serialization"}

INTERACTIONS = "interactions"  # the topic of the API's events
TRIES = 3
AWAY = ("55P03", "25006")  # locked for too long, read-only


class UnknownDelivery(AttuneError):
    """No delivery of this site has that id, or its body is no longer kept."""


def deliver(
    pool: Pool,
    source: Source,
    *,
    topic: str | None,
    headers: Mapping[str, str],
    body: bytes,
    all_or_nothing: bool = False,
    received_at: datetime | None = None,
    once: idempotency.Request | None = None,
    parsed: Any = None,
) -> Receipt:
    """Apply one request body in one transaction and say what became of each record.

    Bad input never raises: it is refused and kept. `all_or_nothing` refuses every record when one
    is bad. `once` is the key that the sender named the request by: raises idempotency.NotApplied
    where it tells not to. `parsed` is the body's value, where the caller made the body of it.
    Raises psycopg.OperationalError (PoolTimeout among them) only where
    nothing could be kept: the door answers 503, the sender retries.
    """
    at = received_at or instant.now()
    headers = dict(headers)
    if all_or_nothing:
        headers[ALL_OR_NOTHING] = "1"
    if once is not None:
        headers[ONCE] = str(once.key_hash)
    incoming = Incoming(source, topic, headers, body, at, _uuid7(at))
    records: Sequence[Translated] = ()
    try:
        with tracing.span("read", connector=source.connector, bytes=len(body)):
            records = read(source.connector, topic, body, source.settings, headers, at, parsed)
        incoming = replace(incoming, body=without_withheld(body, records))
        if records and all(one.is_withheld for one in records):
            incoming = replace(incoming, headers=of_nobody(headers))
        if all_or_nothing:
            refuse_all_for_one(records)
        with tracing.span("apply", records=len(records)):
            receipt = _apply(pool, incoming, records, once)
    except Unreadable as error:
        reason = error
        receipt = _commit(
            pool, incoming, once, lambda c: apply.keep_unreadable(c, incoming, reason)
        )
    except idempotency.NotApplied:
        raise
    except Exception as error:
        if _nothing_can_be_kept(error):
            raise
        receipt = _keep_failed(pool, incoming, len(records), error)
    DELIVERIES.labels(source.connector, receipt.outcome).inc()
    return _told(receipt, source)


def tried(
    pool: Pool, source: Source, *, topic: str | None, headers: Mapping[str, str], body: bytes
) -> list[Translated]:
    """The records of a body, each with its facts or what would be wrong with it now; nothing is
    kept. Raises Unreadable."""
    at = instant.now()
    records = read(source.connector, topic, body, source.settings, headers, at)
    with pool.connection() as connection, connection.transaction(force_rollback=True):
        admitted = admission.admit(connection, source, records, at)
    return list(admitted.records)


def replay(pool: Pool, source: Source, delivery_id: UUID, *, remap: bool = False) -> Receipt:
    """Translate and apply a kept delivery again, moving its counts. What had been applied is a
    duplicate and changes nothing; with `remap` the events and orders that the delivery brought are
    made anew, as the source's mapping and settings read them now. Raises UnknownDelivery."""
    receipt = _repeat(pool, lambda connection: _replay(connection, source, delivery_id, remap))
    return _told(receipt, source)


def retry_failed(pool: Pool, site_id: int, *, at: datetime | None = None) -> int:
    """Replay the failed deliveries of a site whose next try is due; returns how many of them are
    failed no longer. Never raises for one delivery."""
    with pool.connection() as connection:
        due = apply.failed_deliveries(connection, site_id, at or instant.now())
        sources = {number: access.source_by_id(connection, site_id, number) for number, _ in due}
    mended = 0
    for source_id, delivery_id in due:
        source = sources[source_id]
        if source is not None:
            mended += _mended(pool, source, delivery_id)
    return mended


def _mended(pool: Pool, source: Source, delivery_id: UUID) -> bool:
    """Whether a failed delivery is failed no longer; one that cannot even be replayed waits longer
    and stands in nobody's way."""
    try:
        return replay(pool, source, delivery_id).outcome != "failed"
    except psycopg.Error as error:
        if _nothing_can_be_kept(error):
            raise
        log.exception("replay failed", delivery=str(delivery_id), site=source.site_id)
        with pool.connection() as connection:
            apply.note_attempt(connection, source, delivery_id)
        return False


def _told(receipt: Receipt, source: Source) -> Receipt:
    """After the commit: what this process may remember, what somebody should work on."""
    memory.remember(receipt.told)
    if receipt.to_encode:
        jobs.hint("encode", source.site_id)
    return receipt


def _apply(
    pool: Pool,
    incoming: Incoming,
    records: Sequence[Translated],
    once: idempotency.Request | None,
) -> Receipt:
    def work(connection: Connection) -> Receipt:
        if once is not None or not apply.needs_transaction(incoming, records):
            return apply.apply(connection, incoming, records)
        with connection.transaction():
            return apply.apply(connection, incoming, records)

    return _commit(pool, incoming, once, work)


def _commit(
    pool: Pool,
    incoming: Incoming,
    once: idempotency.Request | None,
    work: Callable[[Connection], Receipt],
) -> Receipt:
    """Run the work that writes a delivery, under the sender's key in one transaction with it. The
    key also knows a commit whose answer was lost."""
    if once is None:
        return _repeat(pool, work, incoming)
    site_id, at = incoming.source.site_id, incoming.received_at

    def work_once(connection: Connection) -> Receipt:
        with connection.transaction():
            idempotency.claim(connection, site_id, once, at)
            receipt = work(connection)
            idempotency.keep(connection, site_id, once, receipt, at)
        return receipt

    return _repeat(pool, work_once)


def _replay(connection: Connection, source: Source, delivery_id: UUID, remap: bool) -> Receipt:
    with connection.transaction():
        kept = apply.lock(connection, source, delivery_id)
        if kept is None:
            raise UnknownDelivery(f"there is no delivery {delivery_id}, or it is no longer kept")
        if not kept.incoming.body:
            return Receipt.unchanged(kept)
        named = ONCE in kept.incoming.headers  # then its records know their repeats
        if kept.outcome == "failed" and not named and apply.was_sent_again(connection, kept):
            receipt = Receipt.repeated(kept)
            apply.settle(connection, kept, receipt)
            return receipt
        # An upload that was applied would undo what came since, and brought no event.
        anew = remap and (source.connector != access.API or kept.incoming.topic == INTERACTIONS)
        before = apply.brought(connection, kept) if anew else set()
        receipt = _applied_again(connection, kept, anew)
        apply.settle(connection, kept, receipt, anew=anew)
        if anew:
            receipt.changed = apply.differing(before, apply.brought(connection, kept))
        return receipt


def _applied_again(connection: Connection, kept: apply.Kept, anew: bool) -> Receipt:
    """In a savepoint, so that what fails once more leaves nothing but its reason."""
    incoming = kept.incoming
    source = incoming.source
    try:
        records = read(
            source.connector,
            incoming.topic,
            incoming.body,
            source.settings,
            incoming.headers,
            incoming.received_at,
        )
        if ALL_OR_NOTHING in incoming.headers:
            refuse_all_for_one(records)
        if not anew and not kept.nothing_was_read:
            # Events know their repeats; an upload that was applied would undo what came since.
            records = [one for one in records if one.position in kept.open_problems]
        with connection.transaction():
            return apply.apply(connection, incoming, records, again=True, anew=anew)
    except Unreadable as error:
        if anew and not kept.nothing_was_read:
            return Receipt.unchanged(kept, str(error))
        problem = RecordProblem(0, error.pointer, "refused", str(error))
        receipt = Receipt(incoming.delivery_id, "refused", 1, refused=1, problems=[problem])
        receipt.error = str(error)
        return receipt
    except Exception as error:
        if _nothing_can_be_kept(error):
            raise
        log.exception("replay failed", delivery=str(incoming.delivery_id), site=source.site_id)
        return Receipt.unchanged(kept, _sentence(error))


def _keep_failed(pool: Pool, incoming: Incoming, records: int, error: Exception) -> Receipt:
    log.exception(
        "delivery failed",
        delivery=str(incoming.delivery_id),
        site=incoming.source.site_id,
        source=incoming.source.source_id,
    )
    why = _sentence(error)
    return _repeat(pool, lambda c: apply.keep_failed(c, incoming, records, why), incoming)


def _repeat(
    pool: Pool, work: Callable[[Connection], Receipt], incoming: Incoming | None = None
) -> Receipt:
    """Run a whole transaction, again where it lost against another one or its connection broke.

    A commit whose answer was lost may have gone through: then the delivery is there, and is not
    written twice.
    """
    for attempt in range(1, TRIES + 1):
        try:
            with pool.connection() as connection:
                done = apply.stored(connection, incoming) if incoming and attempt > 1 else None
                return done or work(connection)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if attempt == TRIES or not _worth_repeating(error):
                raise
            REPEATED.labels(WHY_REPEATED.get(error.sqlstate or "", "connection")).inc()
            pool.check()
    raise AssertionError("unreachable")


def _worth_repeating(error: psycopg.Error) -> bool:
    if isinstance(error, PoolTimeout):
        return False
    lost = error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    return lost or error.sqlstate in ("40P01", "40001")


def _nothing_can_be_kept(error: Exception) -> bool:
    """Postgres is away, full, locked or read-only: a second transaction would fare no better.
    Whatever else went wrong, a statement cancelled for its time too, is our failure, and kept."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return error.sqlstate.startswith(("08", "40", "53", "57P")) or error.sqlstate in AWAY


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no message'}"[:2000]


def _uuid7(at: datetime) -> UUID:
    """A version 7 id (RFC 9562): its milliseconds are the receipt's and find the partition."""
    milliseconds = int(at.timestamp() * 1000)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62
    return UUID(int=value | secrets.randbits(62))
