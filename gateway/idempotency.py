"""Requests that their senders named by a key of their own: the same one again is answered as it
was, and applied once. The claim, what the request does and its answer are one transaction, so a
crash leaves either all of it or nothing, and a key without an answer may be used again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

KEPT = timedelta(hours=24)

Reply = tuple[int, bytes]  # status, body


@dataclass(frozen=True, slots=True)
class Request:
    """One request under a key; `reply` makes its answer of the receipt, before the commit."""

    key_hash: UUID
    request_hash: UUID
    reply: Callable[[Any], Reply]


class NotApplied(AttuneError):
    """The key tells that the request must not be applied."""


class Answered(NotApplied):
    """The same request was answered before."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__("this request was answered before")
        self.status = status
        self.body = body


class OfAnother(NotApplied):
    """The key came with another request within a day: use a new key for each request."""


class InFlight(NotApplied):
    """A request with this key is in work: send it again in a moment."""


def digest(*parts: bytes) -> UUID:
    """The hash of parts, none of which runs into the next."""
    state = blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return UUID(bytes=state.digest())


def claim(connection: Connection, site_id: int, request: Request, at: datetime) -> None:
    """Hold the key until the transaction ends; raises NotApplied where the request was answered,
    the key was another's or is held."""
    lock = (digest(b"%d" % site_id, request.key_hash.bytes).int >> 64) - (1 << 63)
    parameters = _key(site_id, request) | {"lock": lock, "since": at - KEPT}
    known = connection.execute(SQL.claim, parameters).fetchone()
    if known is None:
        raise InFlight("A request with this Idempotency-Key is in work: send it again in a moment.")
    request_hash, status, answer = known
    if request_hash is None:
        return
    if request_hash != request.request_hash:
        raise OfAnother(
            "This Idempotency-Key came with another request in the last 24 hours: use a new key."
        )
    raise Answered(status, bytes(answer))


def keep(
    connection: Connection, site_id: int, request: Request, receipt: Any, at: datetime
) -> None:
    """Keep the answer of a claimed request in its transaction."""
    status, body = request.reply(receipt)
    connection.execute(
        SQL.keep,
        _key(site_id, request)
        | {
            "request": request.request_hash,
            "at": at,
            "delivery": receipt.delivery_id,
            "status": status,
            "answer": body,
        },
    )


def purge(connection: Connection, before: datetime) -> int:
    """Forget answers from before; returns how many went."""
    return connection.execute(SQL.purge, {"before": before}).rowcount


def _key(site_id: int, request: Request) -> dict[str, Any]:
    return {"site": site_id, "key": request.key_hash}
