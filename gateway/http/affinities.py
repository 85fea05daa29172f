"""`/admin/v1`: style clusters, and whose taste is like a person's, with a secret key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, jsonify
from flask_smorest import Blueprint

from gateway import access, affinities, instant
from gateway.access import Site
from gateway.http import parameters, shapes, state
from gateway.http.auth import authenticate
from gateway.http.errors import NotFound
from gateway.inspection import Unknown
from schemas.database import Connection

blueprint = Blueprint(
    "affinities", __name__, url_prefix="/admin/v1", description="Tastes, with a secret key"
)

LARGEST = 2**31 - 1
LIMIT = [{"in": "query", "name": "limit", "schema": {"type": "string"}}]
PERSON = {"kind": shapes.TEXT, "id": shapes.TEXT}
SIMILAR = shapes.record(
    PERSON
    | {
        "score": shapes.NUMBER,
        "product_ids": shapes.many(shapes.TEXT),
        "interests": shapes.many(shapes.OPEN),
    }
)
CLUSTER = {
    "id": shapes.COUNT,
    "label": shapes.TEXT,
    "words": shapes.many(shapes.TEXT),
    "products": shapes.COUNT,
    "share": shapes.NUMBER,
    "price": shapes.map_of(shapes.NUMBER),
    "examples": shapes.many(
        shapes.record(
            {
                "product_id": shapes.TEXT,
                "title": shapes.optional(shapes.TEXT),
                "likeness": shapes.NUMBER,
            }
        )
    ),
}
VISITORS = {"visitors": shapes.many(shapes.record(PERSON | {"events": shapes.COUNT}))}


@blueprint.get("/visitors/<path:sent_id>/similar_users")
@blueprint.doc(
    parameters=LIMIT, responses=shapes.ok(shapes.record({"similar_users": shapes.many(SIMILAR)}))
)
def similar_users(sent_id: str) -> Response:
    """Whose taste is like this person's, by user or anonymous id, each with what they share."""
    key = authenticate("admin:read")
    parameters.only("limit")
    limit = parameters.count("limit", affinities.SIMILAR, most=affinities.AT_MOST)
    if "\0" in sent_id:
        raise NotFound(f"nobody was ever seen as {sent_id!r}")
    found = _found(
        key.site_id,
        lambda connection, site: affinities.similar_users(
            connection, site, sent_id, at=instant.now(), limit=limit
        ),
    )
    return jsonify(similar_users=found)


@blueprint.get("/clusters")
@blueprint.doc(
    responses=shapes.ok(shapes.record({"clusters": shapes.many(shapes.record(CLUSTER))}))
)
def clusters() -> Response:
    """The style clusters of the site, those that are asked for most first."""
    key = authenticate("admin:read")
    parameters.only()
    return jsonify(clusters=_found(key.site_id, affinities.clusters))


@blueprint.get("/clusters/<cluster_id>")
@blueprint.doc(parameters=LIMIT, responses=shapes.ok(shapes.record(CLUSTER | VISITORS)))
def cluster(cluster_id: str) -> Response:
    """One cluster with its most typical products and who did most with them lately."""
    key = authenticate("admin:read")
    parameters.only("limit")
    limit = parameters.count("limit", affinities.LISTED, most=affinities.AT_MOST)
    number = int(cluster_id) if cluster_id.isascii() and cluster_id.isdigit() else 0
    if not 0 < number <= LARGEST:
        raise NotFound("a cluster has a number: `GET /admin/v1/clusters` lists them")
    found = _found(
        key.site_id,
        lambda connection, site: affinities.cluster(
            connection, site, number, at=instant.now(), limit=limit
        ),
    )
    return jsonify(found)


def _found(site_id: int, work: Callable[[Connection, Site], Any]) -> Any:
    with state.ingest().connection() as connection:
        try:
            return work(connection, access.site_by_id(connection, site_id))
        except Unknown as error:
            raise NotFound(str(error)) from None
