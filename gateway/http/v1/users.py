"""`/v1/users`: records of known people; an upload replaces the whole record of the same id."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from gateway.http import auth, state
from gateway.http.v1 import uploads
from gateway.http.v1.uploads import Answer, IdConverter
from ranking.visitors import users
from schemas import v1

blueprint = Blueprint("users", __name__, url_prefix="/v1")
blueprint.record_once(lambda setup: setup.app.url_map.converters.setdefault("id", IdConverter))


@blueprint.route("/users", methods=["POST"])
@blueprint.doc(
    **uploads.documented(
        v1.upload_shape("users"), summary="Upload users", query=uploads.UPLOAD_QUERY
    )
)
def post() -> Answer | Response:
    """Applied before the answer."""
    return uploads.upload("users", "users:write")


@blueprint.route("/users/_delete", methods=["POST"])
@blueprint.doc(**uploads.documented(v1.deletion_shape("users/_delete"), summary="Delete users"))
def delete_many() -> Answer | Response:
    """Only the record goes; the person's events stay. An unknown user is a success."""
    return uploads.upload("users/_delete", "users:write")


@blueprint.route("/users/_ids", methods=["GET"])
@blueprint.doc(
    **uploads.documented(None, summary="List the ids of all users", answer=uploads.FOUND_IDS)
)
def get_ids() -> Answer:
    """404 while there is none."""
    key = auth.authenticate("users:read")
    with state.serving().connection() as connection:
        return uploads.found_ids(users.ids(connection, key.site_id))


@blueprint.route("/users/_status/<task_id>", methods=["GET"])
@blueprint.doc(
    **uploads.documented(None, summary="What became of an upload", answer=uploads.STATUS)
)
def get_status(task_id: str) -> Answer:
    """By the task id that the upload was answered with, while the delivery is kept."""
    return uploads.status("users", task_id)


@blueprint.route("/users/<id:user_id>", methods=["GET"])
@blueprint.doc(**uploads.documented(None, summary="Read a user", answer=uploads.FOUND))
def get(user_id: str) -> Answer:
    """The record as it was uploaded."""
    key = auth.authenticate("users:read")
    with state.serving().connection() as connection:
        return uploads.found(users.get(connection, key.site_id, uploads.storable(user_id)))


@blueprint.route("/users/<id:user_id>", methods=["DELETE"])
@blueprint.doc(**uploads.documented(None, summary="Delete a user", changes=True))
def delete(user_id: str) -> Answer | Response:
    """Only the record goes; the person's events stay. An unknown user is a success."""
    ids = {"user_ids": [user_id]}
    return uploads.remove("users/_delete", "users:write", ids)
