"""What tests send: messages with good defaults, so that a test shows what it is about."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from gateway import ingest
from gateway.access import Source
from gateway.ingest import Pool, Receipt

_numbers = count(1)


def ago(**delta: float) -> str:
    """An ISO time that long before now."""
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


def track(event: str = "Product Viewed", product: str = "p1", **fields: Any) -> dict[str, Any]:
    """A Segment track message of visitor a1 about one product."""
    message = {
        "type": "track",
        "event": event,
        "messageId": f"m{next(_numbers)}",
        "anonymousId": "a1",
        "timestamp": ago(minutes=1),
        "properties": {"product_id": product},
    }
    return {name: value for name, value in (message | fields).items() if value is not None}


def basic(key: str) -> dict[str, str]:
    """The header by which Segment's clients present a write key: the user, without a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


def identify(user: str, anonymous: str, **fields: Any) -> dict[str, Any]:
    """A Segment identify message that shows an anonymous id and a user together."""
    return {
        "type": "identify",
        "messageId": f"m{next(_numbers)}",
        "userId": user,
        "anonymousId": anonymous,
        "timestamp": ago(minutes=1),
    } | fields


def deliver(pool: Pool, source: Source, body: Any, topic: str | None = None) -> Receipt:
    """Hand a body to ingest as a door would; a str or bytes is sent as it stands."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ingest.deliver(pool, source, topic=topic, headers={}, body=raw)


def rows(pool: Pool, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement."""
    with pool.connection() as connection:
        return connection.execute(statement, parameters).fetchall()  # type: ignore[call-overload,no-any-return]


def one(pool: Pool, statement: str, *parameters: Any) -> Any:
    """The first column of the only row."""
    [(value,)] = [row[:1] for row in rows(pool, statement, *parameters)]
    return value


def delivery_row(pool: Pool, delivery_id: UUID) -> dict[str, Any]:
    """A delivery as it lies in the table."""
    with pool.connection() as connection:
        cursor = connection.execute(
            "select * from deliveries where delivery_id = %s", [delivery_id]
        )
        names = [column.name for column in cursor.description or []]
        [row] = cursor.fetchall()
    return dict(zip(names, row, strict=True))
