"""`/admin/v1/models`: the versions of a site's models, and which one is live, with a secret key."""

from __future__ import annotations

import re

from flask import Response, jsonify
from flask_smorest import Blueprint

from gateway import learning
from gateway.http import parameters, shapes, state
from gateway.http.auth import authenticate
from gateway.http.errors import NotFound

blueprint = Blueprint("models", __name__, url_prefix="/admin/v1")

VERSION = shapes.record(
    {
        "model_id": shapes.COUNT,
        "name": shapes.TEXT,
        "state": shapes.TEXT,
        "created_at": shapes.TEXT,
        "promoted_at": shapes.optional(shapes.TEXT),
        "has_index": shapes.FLAG,
        "can_serve": shapes.FLAG,
        "record": shapes.OPEN,
    }
)
LIVE = shapes.record({"live": shapes.optional(shapes.COUNT), "message": shapes.TEXT})
_VERSION = re.compile(r"[0-9]{1,9}")


@blueprint.get("/models")
@blueprint.doc(responses=shapes.ok(shapes.record({"models": shapes.many(VERSION)})))
def models() -> Response:
    """The versions of the site's models, the newest first, each with its record."""
    key = authenticate("admin:read")
    parameters.only()
    with state.serving().connection() as connection:
        return jsonify(models=learning.versions(connection, key.site_id))


@blueprint.post("/models/<version>/promote")
@blueprint.doc(responses=shapes.ok(LIVE))
def promote(version: str) -> Response:
    """Make that learned version live, if it can serve."""
    key = authenticate("admin:write")
    parameters.only()
    if not _VERSION.fullmatch(version):
        raise NotFound("a version is a number: `GET /admin/v1/models` lists them")
    return _changed(key.site_id, int(version))


@blueprint.post("/models/rollback")
@blueprint.doc(responses=shapes.ok(LIVE))
def rollback() -> Response:
    """Back to the learned version before the live one, or to none."""
    key = authenticate("admin:write")
    parameters.only()
    return _changed(key.site_id, None)


def _changed(site_id: int, version: int | None) -> Response:
    with state.ingest().connection() as connection:
        try:
            live = learning.changed(connection, site_id, version)
        except learning.NoSuchVersion as error:
            raise NotFound(str(error)) from None
    return jsonify(live=live, message=learning.now_live(live))
