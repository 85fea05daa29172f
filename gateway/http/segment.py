"""Segment's own paths, at the root and under `/segment`: what its client libraries send when their
host is this gateway. Protocol: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/

A client drops for good what is answered 400, 401, 403 or 413, and sends again after 429 and 5xx.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Response, g, jsonify, request
from flask_smorest import Blueprint
from werkzeug.routing import BaseConverter

from connectors.segment.receive import is_batch
from gateway import access, ingest
from gateway.access import Key, Source
from gateway.http import auth, shapes, state
from gateway.http.door import read_body
from gateway.http.errors import LacksScope, NotAllowed, NotAuthentic, TooLarge, Unreadable
from gateway.reading import CLAIMED
from schemas import payload
from schemas.errors import Problem

blueprint = Blueprint("segment", __name__, description="What Segment's client libraries send")

SCOPE = "collect"
CONNECTOR = "segment"
PREFIX = "/segment"

# Segment's long names and the browser's short ones; the long one is the delivery's topic.
CALLS: dict[str, str] = {
    name: long
    for long, short in {
        "track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "alias": "a",
        "batch": "b",
    }.items()
    for name in (long, short)
} | {"import": "import"}  # fmt: skip

# After decompression: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#max-request-size
EVENT_BYTES = 32 * 1024
BATCH_BYTES = 500 * 1024
LIMIT_BYTES = {"batch": BATCH_BYTES, "import": BATCH_BYTES}
BATCH_EVENTS = 2_500

PROBLEMS_SHOWN = 20
# No address and no credential among them: whoever may read deliveries learns neither.
KEPT_HEADERS = ("Content-Type", "Content-Encoding", "Origin", "User-Agent", "X-Retry-Count")
_BODY_KEY = re.compile(rb'"writeKey"(\s*:\s*)"(?:[^"\\]|\\.)*"')

NO_KEY = (
    "no write key was sent: as user of `Authorization: Basic`, or as `writeKey` in the body of a "
    "batch or event"
)


USE_ANOTHER = "use the write key of a Segment source (`keys list SITE` shows it)"


class CallConverter(BaseConverter):
    """The name of a call in a path, long or short; the view gets the long one."""

    regex = "(?:" + "|".join(CALLS) + ")"

    def to_python(self, value: str) -> str:
        return CALLS[value]


blueprint.record_once(lambda setup: setup.app.url_map.converters.setdefault("call", CallConverter))

SUCCESS = shapes.record({"success": shapes.FLAG})
SETTINGS = shapes.record(
    {
        "integrations": shapes.map_of(
            shapes.record({"apiKey": shapes.TEXT, "apiHost": shapes.TEXT, "protocol": shapes.TEXT})
        ),
        "metrics": shapes.record({"sampleRate": shapes.NUMBER}),
    }
)
CALL = {"in": "path", "name": "call", "required": True, "schema": {"enum": sorted(CALLS)}}
REFUSALS = {
    400: {"description": "Not JSON, or a single event that is not valid: kept, not applied"},
    401: {"description": "No write key, or an unknown one; nothing is kept"},
    403: {"description": "A key of another kind"},
    413: {"description": "A body over 500 KB, a single event over 32 KB, or over 2,500 events"},
    429: {"description": "Too fast: send it again after Retry-After"},
    503: {"description": "Not kept: send it again after Retry-After"},
}
BODY = {
    "required": True,
    "content": {
        kind: {"schema": shapes.OPEN | {"description": "An event, or {batch, sentAt, context}"}}
        for kind in ("application/json", "text/plain")
    },
}


@blueprint.route("/v1/<call:call>", methods=["POST"], parameters=[CALL])
@blueprint.route(f"{PREFIX}/v1/<call:call>", methods=["POST"], parameters=[CALL])
@blueprint.doc(requestBody=BODY, responses=shapes.ok(SUCCESS, "Kept and applied") | REFUSALS)
def collect(call: str) -> Response:
    """Take one event or a batch of a client library; of a batch the bad events are left out."""
    text = auth.basic_user(request.headers.get("Authorization", ""))
    key = _admitted(text) if text else None
    body = _body(call)
    if key is None:
        key = _admitted(_key_in(payload.parse_or_none(body)))
    source = _source(key)
    body = without_keys(body)
    sent = payload.parse_or_none(body)
    if b"\\u" in body and (spelled := _key_pointers(sent)):
        body = payload.overwritten(body, spelled, b'""')
        sent = payload.parse_or_none(body)
    _check_count(sent)
    receipt = ingest.deliver(
        state.ingest(), source, topic=call, headers=_headers(), body=body, parsed=sent
    )
    g.source_id, g.delivery_id = source.source_id, str(receipt.delivery_id)
    if receipt.refused and not _is_many(sent):
        raise _invalid(receipt)
    return jsonify(success=True)


@blueprint.route("/v1/m", methods=["POST"])
@blueprint.route(f"{PREFIX}/v1/m", methods=["POST"])
@blueprint.doc(responses=shapes.ok(SUCCESS, "Taken and thrown away"))
def metrics() -> Response:
    """The browser library's figures about itself; nobody needs them here."""
    read_body(BATCH_BYTES)
    return jsonify(success=True)


@blueprint.route("/v1/projects/<write_key>/settings", methods=["GET"])
@blueprint.route(f"{PREFIX}/v1/projects/<write_key>/settings", methods=["GET"])
@blueprint.doc(responses=shapes.ok(SETTINGS, "Where the browser library sends to"))
def settings(write_key: str) -> Response:
    """What the browser library asks for first, at its `cdnURL`.

    Without it the library sends nothing for as long as its page lives, so this is never limited.
    """
    auth.admitted(write_key[: auth.LONGEST_KEY], SCOPE, limited=False)
    own = urlsplit(state.settings().public_url)
    prefix = PREFIX if request.path.startswith(PREFIX) else ""
    return jsonify(
        integrations={
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": f"{own.netloc}{own.path}{prefix}/v1",
                "protocol": own.scheme,
            }
        },
        metrics={"sampleRate": 0},
    )


# who sends ---------------------------------------------------------------------------------------


def _admitted(text: str) -> Key:
    """The key of that text; another one than a write key is told which one to use."""
    try:
        return auth.admitted(text, SCOPE)
    except LacksScope:
        told = f"this {g.key_kind} key lacks the scope {SCOPE}: {USE_ANOTHER}"
        raise LacksScope(told) from None


def _key_in(sent: Any) -> str:
    """The `writeKey` of a body, of the batch or else of the first event that has one."""
    holders = [sent, *(sent["batch"] if is_batch(sent) else ())]
    for holder in holders:
        found = holder.get("writeKey") if isinstance(holder, dict) else None
        if isinstance(found, str) and 0 < len(found) <= auth.LONGEST_KEY:
            return found
    raise NotAuthentic(problems=[Problem("/writeKey", NO_KEY)])


def _source(key: Key) -> Source:
    """The source that a write key speaks for."""
    if key.source_id is not None:
        with state.ingest().connection() as connection:
            found = access.source_by_id(connection, key.site_id, key.source_id)
        if found is not None and found.connector == CONNECTOR:
            return found
    raise NotAllowed(f"this {key.kind} key belongs to no Segment source: {USE_ANOTHER}")


# what is sent ------------------------------------------------------------------------------------


def _body(call: str) -> bytes:
    """What was sent; raises TooLarge with what the call may have."""
    limit = LIMIT_BYTES.get(call, EVENT_BYTES)
    try:
        return read_body(limit)
    except TooLarge:
        told = f"{limit // 1024} KB, after decompression"
        if call in LIMIT_BYTES:
            raise TooLarge(f"a batch may have {told}: send fewer events at once") from None
        raise TooLarge(f"one event may have {told}: leave out what it need not say") from None


def without_keys(body: bytes) -> bytes:
    """The body as it is kept and read: every `writeKey` in it blank, nothing else changed."""
    return _BODY_KEY.sub(rb'"writeKey"\1""', body) if b'"writeKey"' in body else body


def _key_pointers(sent: Any) -> list[str]:
    """Where a key still stands, its name written with escapes."""
    events = enumerate(sent["batch"] if is_batch(sent) else sent if isinstance(sent, list) else [])
    prefix = "/batch" if is_batch(sent) else ""
    holders = [("", sent), *((f"{prefix}/{position}", event) for position, event in events)]
    return [
        f"{pointer}/writeKey"
        for pointer, holder in holders
        if isinstance(holder, dict) and holder.get("writeKey")
    ]


def _is_many(sent: Any) -> bool:
    return isinstance(sent, list) or is_batch(sent)


def _check_count(sent: Any) -> None:
    """Raise TooLarge for more events than one request may hold, before any is translated."""
    if _is_many(sent) and len(sent if isinstance(sent, list) else sent["batch"]) > BATCH_EVENTS:
        raise TooLarge(f"the batch holds more than {BATCH_EVENTS:,} events: send fewer at once")


def _headers() -> Mapping[str, str]:
    """A write key lies open in web pages: whatever comes by one is a claim, a backend's too."""
    kept = {name: request.headers[name] for name in KEPT_HEADERS if name in request.headers}
    return kept | {CLAIMED: "1"}


def _invalid(receipt: ingest.Receipt) -> Unreadable:
    """Of a single event: its client drops it, and says why."""
    shown = receipt.problems[:PROBLEMS_SHOWN]
    return Unreadable(
        shown[0].reason if shown else "the event is not valid",
        problems=[Problem(one.pointer, one.reason) for one in shown],
    )
