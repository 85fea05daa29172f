"""Segment's requests: is a webhook authentic, and which records does a body carry?

https://segment.com/docs/connections/destinations/catalog/webhooks/ (classic), …/actions-webhook/
and …/extensible-webhook/.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any

from connectors import values
from connectors.authenticity import Authenticity, NotAuthentic, Verified, equals_any
from connectors.segment.message import an_object

SIGNATURE = "x-signature"
BLANK = " \t\r\n"

# Finds where a value ends. Numbers stay text: the bytes are judged, not what they mean.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)


def authenticate(
    headers: Mapping[str, str],
    body: bytes,
    secrets: list[str],
    settings: Mapping[str, Any] | None = None,
) -> Authenticity:
    """Whether the sender knows one of the source's secrets (several: while one is replaced).

    By `X-Signature`; or, where the setting `header` names one, by that header alone, whose value
    must be a secret. Without any secret nothing is authentic.
    """
    known = [secret.encode() for secret in secrets if secret.strip()]
    if not known:
        return NotAuthentic("this source has no secret: give it one, then tell Segment")
    given = {name.lower(): value for name, value in headers.items()}
    if name := (settings or {}).get("header"):
        return _by_header(given.get(str(name).lower(), ""), str(name), known)
    return _by_signature(given.get(SIGNATURE, ""), body, known)


def _by_header(value: str, name: str, secrets: list[bytes]) -> Authenticity:
    if equals_any(value, secrets):
        return Verified(f"header {name}")
    return NotAuthentic(f"the header {name} is missing or is not the source's secret")


def _by_signature(signature: str, body: bytes, secrets: list[bytes]) -> Authenticity:
    if not signature:
        return NotAuthentic("X-Signature is missing: enter the source's secret in Segment")
    expected = [
        hmac.new(secret, text, hashlib.sha1).hexdigest().encode()
        for text in _signed_texts(body)
        for secret in secrets
    ]
    if equals_any(signature, expected):
        return Verified("signature")
    return NotAuthentic("X-Signature does not fit the body: is Segment's secret this source's?")


def _signed_texts(body: bytes) -> Iterator[bytes]:
    """The body; of an array only the first element, as it stands there (Segment signs no more).

    Extensible batches wrap each event as {"json": event}, and the event inside is what is signed.
    """
    if not body.lstrip(BLANK.encode()).startswith(b"["):
        yield body
        return
    text = body.decode("utf-8", "surrogateescape")
    start = _skip(text, text.index("[") + 1)
    yield from _value(text, start)
    if (inner := _inside_json(text, start)) is not None:
        yield from _value(text, inner)


def _value(text: str, start: int) -> Iterator[bytes]:
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return
    yield text[start:end].encode("utf-8", "surrogateescape")


def _inside_json(text: str, start: int) -> int | None:
    """Where the value of `{"json": …` begins, None where no such wrapper opens at `start`."""
    at = start
    for token in ("{", '"json"', ":"):
        if not text.startswith(token, at):
            return None
        at = _skip(text, at + len(token))
    return at


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in BLANK:
        at += 1
    return at


def records(payload: Any) -> Iterator[tuple[str, Any]]:
    """(JSON pointer, record) of a body: one event, an array of them, or of {"json": event}; or
    what client libraries send, {"batch": [event], …}, whose events inherit what stands beside."""
    if is_batch(payload):
        for position, event in enumerate(payload["batch"]):
            yield f"/batch/{position}", _inheriting(event, payload)
        return
    if not isinstance(payload, list):
        yield _unwrapped("", payload)
        return
    for position, record in enumerate(payload):
        yield _unwrapped(f"/{position}", record)


def is_batch(payload: Any) -> bool:
    """Whether a body is a client library's batch; a sender's own key `batch` in an event is not."""
    return (
        isinstance(payload, dict) and isinstance(payload.get("batch"), list)
    ) and "type" not in payload


def _inheriting(event: Any, batch: dict[str, Any]) -> Any:
    """An event with the batch's context and integrations under its own, and when it was sent."""
    if not isinstance(event, dict):
        return event
    shared = {
        name: an_object(batch.get(name)) | an_object(event.get(name))
        for name in ("context", "integrations")
        if an_object(batch.get(name))
    }
    return event | shared | ({"sentAt": batch["sentAt"]} if "sentAt" in batch else {})


def record_id(record: Any) -> str | None:
    """The call's `messageId`: sent again under it, a call changes nothing, whatever is new in it
    (a client's retry has a new `sentAt`)."""
    return values.text(record.get("messageId")) if isinstance(record, dict) else None


def _unwrapped(pointer: str, record: Any) -> tuple[str, Any]:
    if isinstance(record, dict) and "json" in record and "type" not in record:
        return f"{pointer}/json", record["json"]
    return pointer, record
