"""Every shared Segment payload against the table of outcomes; prints the counts (-s)."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest

from connectors.segment.events import EVENTS, normalized
from tests.connectors import segment_outcomes as expected
from tests.connectors.reading import SHARED, outcome, outcomes, words

FOLDER = SHARED / "segment"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the shared fixtures are not here")


def messages(name: str) -> list[dict[str, Any]]:
    entries = json.loads((FOLDER / "events" / f"{name}.json").read_text(encoding="utf-8"))["events"]
    return [copy.deepcopy(entry.get("payload") or called(entry)) for entry in entries]


def called(entry: dict[str, Any]) -> dict[str, Any]:
    """A whole message of an example that shows only event and properties."""
    return {"type": "track", "userId": "u1", "event": entry["event"]} | {
        "properties": entry["properties"]
    }


def completed(message: dict[str, Any]) -> dict[str, Any]:
    """Examples of calls whose path names their type lack it."""
    if "type" in message or "batch" in message:
        return message
    if "event" in message:
        return message | {"type": "track"}
    return message | {"type": "group" if "groupId" in message else "identify"}


@pytest.mark.parametrize("name", expected.EVENTS)
def test_each_event_becomes_what_the_reference_says(name: str) -> None:
    read = completed if name == "segment-docs" else dict
    found = [words(outcome("segment", read(message))) for message in messages(name)]
    wrong = [
        (position, got, wanted)
        for position, (got, wanted) in enumerate(zip(found, expected.EVENTS[name], strict=True))
        if got != wanted
    ]
    print(f"\n{name}: {dict(Counter(found).most_common())}")
    assert wrong == []


@pytest.mark.parametrize("name", expected.EVENTS)
def test_no_event_of_the_table_is_ignored(name: str) -> None:
    for message in messages(name):
        named = normalized(str(message.get("event"))) in EVENTS
        if named and message.get("type") == "track":
            assert words(outcome("segment", message)) != "ignored"


def test_the_webhooks_page_and_the_recorded_deliveries() -> None:
    assert bodies("docs-examples") == expected.DOCS_WEBHOOKS
    assert bodies("recorded-deliveries") == expected.RECORDED_DELIVERIES


def bodies(name: str) -> tuple[str, ...]:
    requests = json.loads((FOLDER / "webhook" / f"{name}.json").read_text(encoding="utf-8"))
    found = [outcomes("segment", request["body"].encode()) for request in requests["requests"]]
    return tuple(words(result) for results in found for result in results)


def recorded_events() -> list[dict[str, Any]]:
    """What unmodified clients sent, as Segment would pass it on."""
    found = []
    for path in sorted((FOLDER / "clients").glob("*.json")):
        for request in json.loads(path.read_text(encoding="utf-8"))["requests"]:
            body = request.get("body_decoded", request.get("body"))
            payload = json.loads(body) if isinstance(body, str) and body[:1] == "{" else body or {}
            found += payload.get("batch") or ([payload] if "type" in payload else [])
    return found


def test_what_unmodified_clients_send_is_never_refused() -> None:
    found = Counter()
    for event in recorded_events():
        key = (event["type"], event.get("event") or event.get("name"))
        result = words(outcome("segment", event))
        found[result] += 1
        assert result in expected.CLIENT_EVENTS[key]
    print(f"\nclients: {dict(found.most_common())}")
    assert sum(found.values()) > 90


def test_both_ids_on_one_call_are_a_sighting() -> None:
    for event in recorded_events():
        result = outcome("segment", event)
        seen = isinstance(result, list) and any(fact["fact"] == "sighting" for fact in result)
        assert seen == bool(event.get("userId") and event.get("anonymousId"))
