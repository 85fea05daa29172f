"""`/collect/<connector>/<source>`: what a shop's pages send in their platform's own shape, with a
publishable key. Anybody can write such a request, so it claims and does not know: it changes no
catalog record, and of an order everybody else is believed first.
"""

from __future__ import annotations

from typing import Any

from flask import Response, g, jsonify, request
from flask_smorest import Blueprint

from connectors import CONNECTORS
from gateway import ingest
from gateway.apply import COUNTS
from gateway.http import auth, shapes, state
from gateway.http.door import read_body
from gateway.http.errors import NotFound, Refused, TooLarge
from gateway.reading import CLAIMED
from schemas import payload
from schemas.errors import Problem

blueprint = Blueprint("collect", __name__, description="What a shop's pages send")

LIMIT_BYTES = 1024 * 1024
EVENTS_AT_MOST = 1_000
TOPIC = "browser"
KEPT_HEADERS = ("Content-Type", "User-Agent", "Origin")

COLLECTED = shapes.record({"message": shapes.TEXT, "delivery": shapes.UUID})


@blueprint.post("/collect/<connector>/<source>")
@blueprint.doc(
    parameters=[{"in": "query", "name": "api_key", "schema": {"type": "string"}}],
    responses=shapes.ok(COLLECTED, "Kept and applied") | {404: {"description": "No such source"}},
)
def collect(connector: str, source: str) -> Response:
    """Apply what is good in the body; what is not is refused with its place, and kept."""
    key = auth.authenticate("interactions:write")
    if connector not in CONNECTORS or not CONNECTORS[connector].browser:
        raise NotFound(f"pages of {connector!r} send nothing here")
    found = auth.source(source, connector)
    if found.site_id != key.site_id:
        raise NotFound(f"there is no {connector} source of this address: check its URL")
    body = read_body(LIMIT_BYTES, few_large=False)
    sent = payload.parse_or_none(body)
    _check_count(sent)
    headers: dict[str, Any] = {CLAIMED: "1"}
    headers |= {name: request.headers[name] for name in KEPT_HEADERS if name in request.headers}
    receipt = ingest.deliver(
        state.ingest(),
        found,
        topic=TOPIC,
        headers=headers,
        body=body,
        parsed=sent,
    )
    g.delivery_id = str(receipt.delivery_id)
    refused = [problem for problem in receipt.problems if problem.outcome == "refused"]
    if refused:
        rest = receipt.received - receipt.refused
        raise Refused(
            f"{len(refused)} of {receipt.received} events were refused, {rest} applied or known",
            problems=[Problem(problem.pointer, problem.reason) for problem in refused[:20]],
        )
    counted = (f"{getattr(receipt, name)} {name}" for name in COUNTS[1:] if getattr(receipt, name))
    message = ", ".join(counted) or "nothing in it"
    return jsonify(message=message, delivery=str(receipt.delivery_id))


def _check_count(sent: Any) -> None:
    """Raise TooLarge for more events than a page sends, before any is translated."""
    events = sent.get("events") if isinstance(sent, dict) else sent
    if isinstance(events, list) and len(events) > EVENTS_AT_MOST:
        raise TooLarge(f"the body holds more than {EVENTS_AT_MOST:,} events: send fewer at once")
