"""`/v1/interactions`: events as Miso's clients and browser SDKs send them."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from gateway.http.v1 import uploads
from gateway.http.v1.uploads import Answer
from schemas import v1

blueprint = Blueprint("interactions", __name__, url_prefix="/v1")


@blueprint.route("/interactions", methods=["POST"])
@blueprint.doc(
    **uploads.documented(
        v1.upload_shape("interactions"),
        summary="Send interactions",
        query=uploads.UPLOAD_QUERY,
    )
)
def post() -> Answer | Response:
    """The very next list takes them into account."""
    return uploads.upload("interactions", "interactions:write")


@blueprint.route("/interactions", methods=["DELETE"])
@blueprint.doc(
    **uploads.documented(
        v1.deletion_shape("interactions/_delete"), summary="Erase people, for good"
    )
)
def delete() -> Answer | Response:
    """Everything known of these users is removed, their record and their events."""
    return uploads.upload("interactions/_delete", "users:write")
