"""`/`, `/openapi.json` and `/docs`: what answers here and what can be called, made from the routes
themselves."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

from flask import Blueprint, Response, current_app, json, jsonify, request

from gateway import VERSION

DOCUMENT = "openapi.json"
PAGE = (Path(__file__).parent / "documents.html").read_bytes()


def _hash_of(element: bytes) -> str:
    """What the policy calls the page's one script or style."""
    content = PAGE.partition(b"<%b>" % element)[2].partition(b"</%b>" % element)[0]
    return f"'sha256-{b64encode(hashlib.sha256(content).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_hash_of(b'script')}; style-src {_hash_of(b'style')}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

LINKS = {
    "demo": "/demo",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "health": "/healthz",
    "ready": "/readyz",
}

blueprint = Blueprint("documents", __name__)


@blueprint.get("/")
def root() -> Response:
    """What this is and where to go on, for whoever opens the bare address."""
    return jsonify(name="Attune", version=VERSION, links=LINKS)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI document of all routes."""
    kept = current_app.extensions
    # Made once: it takes a hundred times longer than sending it, and anybody may ask.
    if DOCUMENT not in kept:
        api = kept["flask-smorest"]["apis"][""]["ext_obj"]
        kept[DOCUMENT] = json.dumps(api.spec.to_dict()).encode()
    response = Response(kept[DOCUMENT], mimetype="application/json")
    response.add_etag()
    response.make_conditional(request)
    return response


@blueprint.get("/docs")
def docs() -> Response:
    """A page that shows the document; it loads nothing from elsewhere."""
    response = Response(PAGE, mimetype="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    return response
