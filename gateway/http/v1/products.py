"""`/v1/products`: the catalog; an upload replaces the whole record of the same id."""

from __future__ import annotations

from flask import Response, request
from flask_smorest import Blueprint

from gateway.http import auth, state
from gateway.http.v1 import uploads
from gateway.http.v1.uploads import Answer, IdConverter
from ranking.catalog import products
from schemas import v1

blueprint = Blueprint("products", __name__, url_prefix="/v1")
blueprint.record_once(lambda setup: setup.app.url_map.converters.setdefault("id", IdConverter))


@blueprint.route("/products", methods=["POST"])
@blueprint.doc(
    **uploads.documented(
        v1.upload_shape("products"), summary="Upload products", query=uploads.UPLOAD_QUERY
    )
)
def post() -> Answer | Response:
    """Applied before the answer; vectors follow within seconds."""
    return uploads.upload("products", "products:write")


@blueprint.route("/products", methods=["PATCH"])
@blueprint.doc(
    **uploads.documented(
        v1.upload_shape("products/_patch"),
        summary="Change fields of products",
        query=uploads.UPLOAD_QUERY,
    )
)
def patch_many() -> Answer | Response:
    """A field given replaces, null clears, what is absent stays; an unknown product is an error of
    its record."""
    return uploads.upload("products/_patch", "products:write")


@blueprint.route("/products/_delete", methods=["POST"])
@blueprint.doc(
    **uploads.documented(v1.deletion_shape("products/_delete"), summary="Delete products")
)
def delete_many() -> Answer | Response:
    """Deleting an unknown product is a success."""
    return uploads.upload("products/_delete", "products:write")


@blueprint.route("/products/_ids", methods=["GET"])
@blueprint.doc(
    **uploads.documented(
        None, summary="List the ids of all products", query=("type",), answer=uploads.FOUND_IDS
    )
)
def get_ids() -> Answer:
    """404 while there is none."""
    key = auth.authenticate("products:read")
    kind = uploads.storable(request.args.get("type", "")) or None
    with state.serving().connection() as connection:
        return uploads.found_ids(products.ids(connection, key.site_id, kind))


@blueprint.route("/products/_status/<task_id>", methods=["GET"])
@blueprint.doc(
    **uploads.documented(None, summary="What became of an upload", answer=uploads.STATUS)
)
def get_status(task_id: str) -> Answer:
    """By the task id that the upload was answered with, while the delivery is kept."""
    return uploads.status("products", task_id)


@blueprint.route("/products/<id:product_id>", methods=["GET"])
@blueprint.doc(**uploads.documented(None, summary="Read a product", answer=uploads.FOUND))
def get(product_id: str) -> Answer:
    """The record as it was uploaded."""
    key = auth.authenticate("products:read")
    with state.serving().connection() as connection:
        return uploads.found(products.get(connection, key.site_id, uploads.storable(product_id)))


@blueprint.route("/products/<id:product_id>", methods=["PATCH"])
@blueprint.doc(
    **uploads.documented(
        v1.PRODUCT_FIELDS, summary="Change fields of a product", query=("dry_run", "async")
    )
)
def patch(product_id: str) -> Answer | Response:
    """The body holds the fields to change: one given replaces, null clears, what is absent stays.
    404 for an unknown product."""
    return uploads.change("products/_patch", "products:write", product_id)


@blueprint.route("/products/<id:product_id>", methods=["DELETE"])
@blueprint.doc(**uploads.documented(None, summary="Delete a product", changes=True))
def delete(product_id: str) -> Answer | Response:
    """Deleting an unknown product is a success."""
    ids = {"product_ids": [product_id]}
    return uploads.remove("products/_delete", "products:write", ids)
