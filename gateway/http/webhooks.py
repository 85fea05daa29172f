"""`/webhooks/<connector>/<source>`: what platforms push to us, signed.

A 2xx leaves only when the delivery is kept and applied. A 4xx other than 408 makes a platform
discard it for ever, so a bad record is never a reason for one: it is refused, kept and shown.
"""

from __future__ import annotations

from typing import Any

from flask import Response, g, jsonify, request
from flask_smorest import Blueprint

from connectors import CONNECTORS, lowered
from gateway import access, ingest
from gateway.access import Source
from gateway.apply import COUNTS, Receipt
from gateway.http import auth, shapes, state
from gateway.http.door import read_body
from gateway.http.errors import NotAuthentic, NotFound

blueprint = Blueprint("webhooks", __name__, description="What platforms push to us")

# 4,000 events of 32 KB: a batch of Segment's that we answered 413 would be lost.
LIMIT_BYTES = 128 * 1024 * 1024
PROBLEMS_SHOWN = 20
# Whoever may read deliveries shall not learn from them how to send some: a signature too would do
# for the same body under another topic.
CREDENTIALS = frozenset(("authorization", "cookie", "proxy-authorization", "x-api-key"))


# Of a platform's ping there is only the message.
TAKEN = shapes.record(
    {"message": shapes.TEXT},
    {"delivery": shapes.UUID, "problems": shapes.many(shapes.PROBLEM)}
    | dict.fromkeys(COUNTS, shapes.COUNT),
)


RESPONSES = shapes.ok(TAKEN, "Kept and applied; bad records are counted and reported") | {
    401: {"description": "Not signed with the source's secret; nothing is kept"},
    404: {"description": "No such source"},
    503: {"description": "Not kept: send it again"},
}


@blueprint.route("/webhooks/<connector>/<source>", methods=["POST", "PUT", "PATCH"])
@blueprint.doc(responses=RESPONSES)
def webhook(connector: str, source: str) -> Response:
    """Take one delivery of a platform: authentic, then applied in one transaction."""
    found = auth.source(source, connector)
    body = read_body(LIMIT_BYTES)
    if CONNECTORS[connector].ping(lowered(dict(request.headers)), body):
        return jsonify({"message": "pong: this address is ready"})
    return _taken(_of_authentic([found], body), body)


@blueprint.post("/webhooks/<connector>")
@blueprint.doc(responses=RESPONSES)
def webhook_of_shop(connector: str) -> Response:
    """The same for platforms that send all their shops' deliveries to one address: the source is
    found by the shop that the headers name."""
    shop_of = CONNECTORS[connector].shop_of if connector in CONNECTORS else None
    shop = shop_of(lowered(dict(request.headers))) if shop_of else None
    if shop is None:
        raise NotFound(f"say whose {connector} delivery it is: send it to its source's address")
    with state.ingest().connection() as connection:
        found = access.sources_of(connection, connector, shop)
    if not found:
        raise NotFound(f"no source of {connector} has the setting shop = {shop}")
    body = read_body(LIMIT_BYTES)
    return _taken(_of_authentic(found, body), body)


def _of_authentic(sources: list[Source], body: bytes) -> Source:
    """The first source whose secret the request shows; raises NotAuthentic."""
    reason = ""
    for source in sources:
        judge = CONNECTORS[source.connector].authenticate
        verdict = judge(dict(request.headers), body, source.secrets, source.settings)
        if verdict:
            return source
        reason = reason or getattr(verdict, "reason", "")
    raise NotAuthentic(reason)


def _taken(source: Source, body: bytes) -> Response:
    g.site_id, g.source_id = source.site_id, source.source_id
    headers = _headers(source)
    topic = CONNECTORS[source.connector].topic(lowered(headers))
    receipt = ingest.deliver(state.ingest(), source, topic=topic, headers=headers, body=body)
    g.delivery_id = str(receipt.delivery_id)
    return jsonify(_answer(receipt))


def _headers(source: Source) -> dict[str, str]:
    """The headers worth keeping with the body."""
    of_source = source.settings.get("header", ""), CONNECTORS[source.connector].signature
    left_out = CREDENTIALS | {str(name).lower() for name in of_source}
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
