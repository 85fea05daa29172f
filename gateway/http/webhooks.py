"""`/webhooks/<connector>/<source>`: what platforms push to us, signed.

A 2xx leaves only when the delivery is kept and applied. A 4xx other than 408 makes a platform
discard it for ever, so a bad record is never a reason for one: it is refused, kept and shown.
"""

from __future__ import annotations

from typing import Any

from flask import Response, g, jsonify, request
from flask_smorest import Blueprint

import connectors
from connectors import CONNECTORS
from gateway import ingest
from gateway.access import Source
from gateway.apply import COUNTS, Receipt
from gateway.http import auth, shapes, state
from gateway.http.door import read_body
from gateway.http.errors import NotAuthentic

blueprint = Blueprint("webhooks", __name__, description="What platforms push to us")

# 4,000 events of 32 KB: a batch of Segment's that we answered 413 would be lost.
LIMIT_BYTES = 128 * 1024 * 1024
PROBLEMS_SHOWN = 20
# Whoever may read deliveries shall not learn from them how to send some.
CREDENTIALS = frozenset(("authorization", "cookie", "proxy-authorization", "x-api-key"))


# Of a platform's ping there is only the message.
TAKEN = shapes.record(
    {"message": shapes.TEXT},
    {"delivery": shapes.UUID, "problems": shapes.many(shapes.PROBLEM)}
    | dict.fromkeys(COUNTS, shapes.COUNT),
)


@blueprint.route("/webhooks/<connector>/<source>", methods=["POST", "PUT", "PATCH"])
@blueprint.doc(
    responses=shapes.ok(TAKEN, "Kept and applied; bad records are counted and reported")
    | {
        401: {"description": "Not signed with the source's secret; nothing is kept"},
        404: {"description": "No such source"},
        503: {"description": "Not kept: send it again"},
    }
)
def webhook(connector: str, source: str) -> Response:
    """Take one delivery of a platform: authentic, then applied in one transaction."""
    found = auth.source(source, connector)
    reader = CONNECTORS[connector]
    body = read_body(LIMIT_BYTES)
    if reader.ping(_lowered(dict(request.headers)), body):
        return jsonify({"message": "pong: this address is ready"})
    verdict = reader.authenticate(dict(request.headers), body, found.secrets, found.settings)
    if isinstance(verdict, connectors.NotAuthentic):
        raise NotAuthentic(verdict.reason)
    headers = _headers(found)
    topic = reader.topic(_lowered(headers))
    receipt = ingest.deliver(state.ingest(), found, topic=topic, headers=headers, body=body)
    g.delivery_id = str(receipt.delivery_id)
    return jsonify(_answer(receipt))


def _lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _headers(source: Source) -> dict[str, str]:
    """The headers worth keeping with the body."""
    left_out = CREDENTIALS | {str(source.settings.get("header", "")).lower()}
    return {name: value for name, value in request.headers.items() if name.lower() not in left_out}


def _answer(receipt: Receipt) -> dict[str, Any]:
    """Counts, and of what was left out the first reasons with pointers into the sender's body."""
    shown = receipt.problems[:PROBLEMS_SHOWN]
    return {
        "message": _sentence(receipt),
        "delivery": str(receipt.delivery_id),
        **{name: getattr(receipt, name) for name in COUNTS},
        "problems": [{"pointer": p.pointer, "message": p.reason} for p in shown],
    }


def _sentence(receipt: Receipt) -> str:
    if receipt.failed:
        return "kept; applying it failed on our side and will be tried again"
    parts = [f"{getattr(receipt, name)} {name}" for name in COUNTS[1:] if getattr(receipt, name)]
    return ", ".join(parts) or "nothing in it"
