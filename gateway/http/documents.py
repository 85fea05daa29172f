"""`/openapi.json` and `/docs`: what can be called, made from the routes themselves."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, current_app, jsonify, send_file

PAGE = Path(__file__).parent / "documents.html"

blueprint = Blueprint("documents", __name__)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI document of all routes."""
    api = current_app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
    return jsonify(api.spec.to_dict())


@blueprint.get("/docs")
def docs() -> Response:
    """A page that shows the document; it loads nothing from elsewhere."""
    return send_file(PAGE, mimetype="text/html")
