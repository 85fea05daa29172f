"""`/v1/bulk`: several engine requests in one, answered in their order, each as if it came alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Response, current_app, g, request
from flask_smorest import Blueprint
from marshmallow import Schema

from gateway import http
from gateway.http import auth, door, errors, shapes
from gateway.http.errors import NotFound, Unavailable
from gateway.http.v1 import engine
from gateway.http.v1.engine import Few
from schemas.errors import Problem
from schemas.fields import Anything, Part, Reader, Text

blueprint = Blueprint("bulk", __name__, url_prefix="/v1")

LARGEST_BYTES = 4 * 1024 * 1024
MOST_REQUESTS = 100
LONGEST_NAME = 100  # of what is repeated
ENGINE = ("/v1/search/", "/v1/recommendation/")
# A hundred slow searches would hold one of few threads; what has not begun by then is sent back.
DEADLINE_S = 10.0
MOST_ANSWERED_BYTES = 16 * 1024 * 1024
ENOUGH = (
    f"the requests before this one took {DEADLINE_S:g} s or have "
    f"{MOST_ANSWERED_BYTES // 2**20} MB of answers: send it again, or fewer at once"
)


class OneRequest(Schema):
    """The route without its `/v1/`, and what would be sent to it."""

    api_name = Text(required=True)
    body = Anything(required=True)


class BulkRequest(Schema):
    """The requests."""

    requests = Few(Part(OneRequest), MOST_REQUESTS, "requests", required=True)


READER = Reader(BulkRequest())
ANSWERED = shapes.record({"error": shapes.FLAG, "status_code": shapes.COUNT, "body": shapes.OPEN})
DOCUMENTED = {
    "summary": "Several searches and lists in one request",
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": BulkRequest} for kind in ("application/json", "text/plain")},
    },
    "responses": shapes.ok(shapes.record({"data": shapes.many(ANSWERED), "errors": shapes.FLAG})),
}


@blueprint.route("/bulk", methods=["POST"])
@blueprint.doc(**DOCUMENTED)
def bulk() -> dict[str, Any]:
    """One that fails stops no other, and `errors` is false whatever they say: Miso's browser
    client settles no promise of a batch whose `errors` is true."""
    auth.authenticate("engine:read")
    asked, found = engine.read(door.read_body(LARGEST_BYTES), READER, {})
    if asked and not asked["requests"]:
        found.append(Problem("/requests", f"Send 1 to {MOST_REQUESTS} requests."))
    if found:
        raise engine.refused(found)
    return {"data": list(_items(asked["requests"])), "errors": False}


def _items(requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    size = 0
    for one in requests:
        if size > MOST_ANSWERED_BYTES or time.perf_counter() - g.started_at > DEADLINE_S:
            answered = errors.answer(Unavailable(ENOUGH))
        else:
            answered = _answered(one)
        body = answered.get_data()
        size += len(body)
        yield {
            "error": answered.status_code >= 400,
            "status_code": answered.status_code,
            "body": msgspec.Raw(body),
        }


def _answered(one: dict[str, Any]) -> Response:
    """What the route of that name answers, with the key of this request; its limit counts too."""
    path = f"/v1/{one['api_name']}"
    if path not in _paths():
        name = one["api_name"][:LONGEST_NAME]
        return errors.answer(NotFound(f"there is no {name!r} to ask: {_known()}"))
    app, body = current_app, current_app.json.dumps(one["body"])
    headers = {
        "X-API-KEY": request.headers.get("X-API-KEY") or request.args.get("api_key", ""),
        "X-Request-Id": http.request_id(),
    }
    # A context of its own: what `g` holds is of one request.
    with (
        app.app_context(),
        app.test_request_context(path, method="POST", data=body, headers=headers),
    ):
        return app.full_dispatch_request()


def _paths() -> set[str]:
    rules = current_app.url_map.iter_rules()
    return {rule.rule for rule in rules if rule.rule.startswith(ENGINE)}


def _known() -> str:
    return ", ".join(sorted(path.removeprefix("/v1/") for path in _paths()))
