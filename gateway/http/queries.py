"""`/admin/v1/queries`: what visitors search for, with a secret key."""

from __future__ import annotations

from flask import Response, jsonify
from flask_smorest import Blueprint

from gateway import inspection, instant
from gateway.http import parameters, shapes, state
from gateway.http.auth import authenticate
from gateway.http.errors import Refused
from ranking.catalog import searched
from schemas.errors import Problem

blueprint = Blueprint("queries", __name__, url_prefix="/admin/v1")

QUERY = shapes.record(
    {
        "text": shapes.TEXT,
        "searches": shapes.COUNT,
        "visitors": shapes.optional(shapes.COUNT),
        "last_searched_at": shapes.TEXT,
    },
    {
        "searches_7_days": shapes.COUNT,
        "searches_7_days_before": shapes.COUNT,
        "corrected_text": shapes.TEXT,
    },
)


@blueprint.get("/queries")
@blueprint.doc(
    parameters=[
        {"in": "query", "name": "kind", "schema": {"type": "string", "enum": list(searched.KINDS)}},
        {"in": "query", "name": "limit", "schema": {"type": "string"}},
    ],
    responses=shapes.ok(shapes.record({"queries": shapes.many(QUERY)})),
)
def queries() -> Response:
    """What is searched for most, more than before, in vain, or with words that were corrected."""
    key = authenticate("admin:read")
    parameters.only("kind", "limit")
    kind = parameters.text("kind") or searched.KINDS[0]
    if kind not in searched.KINDS:
        sentence = f"it must be one of: {', '.join(searched.KINDS)}"
        raise Refused(f"kind: {sentence}", problems=[Problem("/kind", sentence)])
    limit = parameters.count("limit", inspection.ROWS)
    with state.serving().connection() as connection:
        found = searched.report(connection, key.site_id, kind, at=instant.now(), limit=limit)
    return jsonify(queries=found)
