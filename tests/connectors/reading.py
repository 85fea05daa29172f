"""A connector's fixtures as tests see them: bodies, and what their records became."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import schemas
from connectors import CONNECTORS
from connectors.feed import items
from schemas import payload

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "fixtures"
RECEIVED_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)

FEED_SETTINGS = {
    "shop__semicolons.csv": {
        "fields": {
            "Artikelnummer": "id", "Kategorien": "product_type", "Preis": "price",
            "Bild": "image_link", "Lager": "availability",
        }
    }
}  # fmt: skip


def body_of(path: Path) -> tuple[bytes, Mapping[str, Any]]:
    """The body that a fixture comes as, and its source's settings; a feed's file is read as a pull
    reads it."""
    if path.parts[-3] != "feed":
        return path.read_bytes(), {}
    settings = FEED_SETTINGS.get(path.name, {})
    with path.open("rb") as file:
        read = [item.told() for item in items.read(file, settings, 1 << 20)]
    body = {"pulled_at": "2026-11-24T12:00:00+00:00", "items": read}
    return json.dumps(body).encode(), settings


def headers_of(path: Path) -> dict[str, str]:
    """The headers that a fixture comes with, where a file beside it says so (`X.headers.json`)."""
    beside = path.with_name(f"{path.stem}.headers.json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}


def outcomes(
    connector: str,
    body: bytes,
    settings: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> list[Any]:
    """Each record's facts, or {"ignored": reason} or {"refused": reason, "pointer": …}. The header
    `Topic` is the topic where not the platform but our door says it."""
    reader = CONNECTORS[connector]
    given = {name.lower(): value for name, value in (headers or {}).items()}
    topic = given.pop("topic", None) or reader.topic(given)
    settings = {"received_at": RECEIVED_AT, **(settings or {}), **reader.told(given)}
    return [
        outcome(connector, record, settings, pointer, topic)
        for pointer, record in reader.records(payload.parse(body))
    ]


def outcome(
    connector: str,
    record: Any,
    settings: Mapping[str, Any] | None = None,
    pointer: str = "",
    topic: str | None = None,
) -> Any:
    """One record's facts without their absent parts; every fact must also load."""
    try:
        facts = CONNECTORS[connector].translate(topic, record, settings or {})
    except schemas.Malformed as error:
        return {"refused": error.reason, "pointer": pointer + error.pointer}
    except (schemas.Ignored, schemas.Unsupported) as error:
        return {"ignored": error.reason}
    for fact in facts:
        schemas.load(fact)
    return [present(fact) for fact in facts]


def words(result: Any) -> str:
    """An outcome in short: event types, orders told of, else other kinds of facts; without
    products made from events."""
    if isinstance(result, dict):
        return next(iter(result))
    events = [fact["type"] for fact in result if fact["fact"] == "event"]
    events += [fact["fact"] for fact in result if fact["fact"] == "order"]
    others = [fact["fact"] for fact in result if fact["fact"] not in ("event", "product")]
    return " ".join(events or sorted(others, key=["merge", "user", "sighting", "erase"].index))


def present(value: Any) -> Any:
    """The value as JSON without nulls; times in ISO 8601."""
    if isinstance(value, dict):
        return {key: present(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [present(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
