"""`/admin/v1`: what became of a site's lists, and what the site decides for itself, with a secret
key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Response, jsonify
from flask_smorest import Blueprint

from gateway import access, inspection, instant, site_settings
from gateway.http import door, parameters, shapes, state
from gateway.http.auth import authenticate
from gateway.http.errors import Refused
from ranking import impressions
from ranking.catalog import newcomers
from schemas import payload
from schemas.errors import Invalid

LIMIT_BYTES = 1024 * 1024
SINCE = timedelta(days=28)

blueprint = Blueprint("exploration", __name__, url_prefix="/admin/v1")

_COUNTS = dict.fromkeys(("shown", "seen", "clicked"), shapes.COUNT)
PLACE = shapes.record(
    {
        "endpoint": shapes.TEXT,
        "place": shapes.COUNT,
        **_COUNTS,
        "ctr": shapes.NUMBER,
        "looks": shapes.NUMBER,
    }
)
PRODUCT = shapes.record(
    {
        "product_id": shapes.TEXT,
        "title": shapes.TEXT,
        **_COUNTS,
        "ctr": shapes.NUMBER,
        "corrected_rate": shapes.NUMBER,
        "chances": shapes.optional(shapes.NUMBER),
        "state": shapes.optional(shapes.TEXT),
    }
)
REPORT = shapes.record(
    {
        "since": shapes.TEXT,
        "counted_until": shapes.optional(shapes.TEXT),
        "looks_estimated": shapes.FLAG,
        "newcomers": shapes.map_of(shapes.COUNT),
        "places": shapes.many(PLACE),
        "products": shapes.many(PRODUCT),
    }
)
_VALUES = {
    one.name: shapes.optional(shapes.NUMBER) | {"description": one.doc}
    for one in site_settings.TABLE
}
SETTINGS = shapes.record({"settings": shapes.record(_VALUES), "set": shapes.many(shapes.TEXT)})


@blueprint.get("/impressions")
@blueprint.doc(
    parameters=[
        {"in": "query", "name": name, "schema": {"type": "string"}}
        for name in ("product", "since", "limit")
    ],
    responses=shapes.ok(REPORT),
)
def report() -> Response:
    """How often each place of the lists, and each product, was shown, seen and clicked, and how
    often a product would be clicked on the first place."""
    key = authenticate("admin:read")
    parameters.only("product", "since", "limit")
    since = parameters.instant("since") or instant.now() - SINCE
    product_id = parameters.text("product")
    limit = parameters.count("limit", inspection.ROWS)
    with state.serving().connection() as connection:
        found = impressions.report(
            connection, key.site_id, since=since, product_id=product_id, limit=limit
        )
        found["newcomers"] = newcomers.tally(connection, key.site_id)
    return jsonify(found)


@blueprint.get("/settings")
@blueprint.doc(responses=shapes.ok(SETTINGS))
def show() -> Response:
    """The settings of the site."""
    key = authenticate("admin:read")
    parameters.only()
    with state.serving().connection() as connection:
        return jsonify(site_settings.shown(access.site_by_id(connection, key.site_id)))


@blueprint.patch("/settings")
@blueprint.doc(
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": shapes.record({}, _VALUES)}},
    },
    responses=shapes.ok(SETTINGS),
)
def change() -> Response:
    """Change settings of the site; null takes one back to its default."""
    key = authenticate("admin:write")
    parameters.only()
    changes: Any = payload.parse(door.read_body(LIMIT_BYTES))
    with state.ingest().connection() as connection:
        site = access.site_by_id(connection, key.site_id)
        try:
            return jsonify(site_settings.shown(site_settings.change(connection, site, changes)))
        except Invalid as error:
            raise Refused(str(error), problems=error.problems) from None
