"""`/admin/v1`: people and their orders, with a secret key: merge, unmerge, export, erase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, jsonify
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from marshmallow.validate import Length

from gateway import access, instant, people
from gateway.access import Site
from gateway.http import door, parameters, shapes, state
from gateway.http.auth import authenticate
from gateway.http.errors import HttpError, NotFound, Refused
from gateway.ingest import Pool
from gateway.inspection import Unknown
from ranking.visitors import orders
from schemas import payload
from schemas.errors import Malformed, Problem
from schemas.event import at_most
from schemas.fields import Id, Items, Reader, present, problems

LONGEST_ID = 512  # of a user
LIMIT_BYTES = 1024 * 1024
ROWS = 100

blueprint = Blueprint(
    "people", __name__, url_prefix="/admin/v1", description="People and orders, with a secret key"
)


def _is_somebody(sent_id: str) -> None:
    """Null-like ids name nobody."""
    if present(sent_id) is None:
        raise ValidationError("It names nobody.")
    at_most(LONGEST_ID)(sent_id)


class Two(Schema):
    """Two ids of one person."""

    ids = Items(
        Id(validate=_is_somebody),
        required=True,
        validate=Length(equal=2, error="Name two ids."),
    )


class One(Schema):
    """An id of a person."""

    id = Id(required=True, validate=_is_somebody)


ORDER = shapes.record(
    {"order_id": shapes.TEXT, "count": shapes.COUNT, "revenue": shapes.optional(shapes.NUMBER)}
    | dict.fromkeys(("currency", "status"), shapes.optional(shapes.TEXT)),
    more=True,
)
ERASURE = shapes.record(
    {
        "delivery": shapes.UUID,
        "erased_at": shapes.TEXT,
        "rows": shapes.map_of(shapes.COUNT),
        "records_in_bodies": shapes.COUNT,
        "bodies": shapes.TEXT,
        "finished_at": shapes.optional(shapes.TEXT),
    }
)
MERGED = shapes.record(
    {
        "delivery": shapes.UUID,
        "changed": shapes.FLAG,
        "visitor_id": shapes.UUID,
        "ids": shapes.many(shapes.OPEN),
    }
)
REQUEST = shapes.record(
    {"delivery": shapes.UUID, "kind": shapes.TEXT, "asked_at": shapes.TEXT}, more=True
)
UNMERGED = shapes.record({"undone": shapes.many(shapes.OPEN)})


def _body(shape: type[Schema]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": shape}}}


# orders -----------------------------------------------------------------------------------------


@blueprint.get("/orders")
@blueprint.doc(
    parameters=[{"in": "query", "name": "limit", "schema": {"type": "string"}}],
    responses=shapes.ok(shapes.record({"orders": shapes.many(ORDER)})),
)
def list_orders() -> Response:
    """The orders placed last, newest first."""
    key = authenticate("admin:read")
    parameters.only("limit")
    limit = parameters.count("limit", ROWS)
    with state.serving().connection() as connection:
        return jsonify(orders=orders.newest(connection, key.site_id, limit))


@blueprint.get("/orders/<path:order_id>")
@blueprint.doc(responses=shapes.ok(ORDER))
def order(order_id: str) -> Response:
    """One order: whether it counts, what is left of its revenue, and what each source told."""
    key = authenticate("admin:read")
    parameters.only()
    with state.serving().connection() as connection:
        found = None if "\0" in order_id else orders.get(connection, key.site_id, order_id)
    if found is None:
        raise NotFound(f"nobody told of an order {order_id!r}")
    return jsonify(found)


# merge and unmerge ------------------------------------------------------------------------------


@blueprint.post("/merge")
@blueprint.doc(requestBody=_body(Two), responses=shapes.ok(MERGED))
def merge() -> Response:
    """Say that two ids are one person's."""
    return _of_two(people.merge)


@blueprint.post("/unmerge")
@blueprint.doc(requestBody=_body(Two), responses=shapes.ok(UNMERGED))
def unmerge() -> Response:
    """Undo the facts that join two ids directly."""
    return _of_two(people.unmerge)


def _of_two(work: Callable[[Pool, Site, str, str], dict[str, Any]]) -> Response:
    site = _site("admin:write")
    one, other = _asked(Reader(Two()))["ids"]
    with _found():
        return jsonify(work(state.ingest(), site, one, other))


# export and erase -------------------------------------------------------------------------------


@blueprint.get("/export/<path:sent_id>")
@blueprint.doc(responses=shapes.ok(shapes.record({"exported_at": shapes.TEXT}, more=True)))
def export(sent_id: str) -> Response:
    """All that is known of a person, by user or anonymous id."""
    site = _site("admin:read")
    if "\0" in sent_id:
        raise NotFound(f"nobody was ever seen as {sent_id!r}")
    with _found(), state.ingest().connection() as connection:
        return jsonify(people.export(connection, site, sent_id, at=instant.now()))


@blueprint.post("/erase")
@blueprint.doc(requestBody=_body(One), responses=shapes.ok(ERASURE))
def erase() -> Response:
    """Erase a person, by user or anonymous id; answers with the receipt."""
    site = _site("admin:write")
    return jsonify(people.erase(state.ingest(), site, _asked(Reader(One()))["id"]))


@blueprint.get("/erasures")
@blueprint.doc(
    parameters=[{"in": "query", "name": "limit", "schema": {"type": "string"}}],
    responses=shapes.ok(shapes.record({"erasures": shapes.many(ERASURE)})),
)
def erasures() -> Response:
    """The receipts of all that were erased, newest first."""
    site = _site("admin:read", "limit")
    limit = parameters.count("limit", ROWS)
    with state.serving().connection() as connection:
        return jsonify(erasures=people.erasures(connection, site, limit=limit))


@blueprint.get("/requests")
@blueprint.doc(
    parameters=[{"in": "query", "name": "limit", "schema": {"type": "string"}}],
    responses=shapes.ok(shapes.record({"requests": shapes.many(REQUEST)})),
)
def requests() -> Response:
    """What platforms asked you to do: exports of people, the end of a connection; open first."""
    site = _site("admin:read", "limit")
    limit = parameters.count("limit", ROWS)
    with state.serving().connection() as connection:
        return jsonify(requests=people.requests(connection, site, limit=limit))


# what they share --------------------------------------------------------------------------------


def _site(scope: str, *names: str) -> Site:
    """Whose key it is; raises for another key, and for other query parameters than these."""
    key = authenticate(scope)
    parameters.only(*names)
    with state.serving().connection() as connection:
        return access.site_by_id(connection, key.site_id)


def _asked(reader: Reader) -> dict[str, Any]:
    """The fields of the body; raises Refused with pointers into it."""
    body = door.read_body(LIMIT_BYTES)
    try:
        sent = payload.parse(body)
    except Malformed as error:
        raise Refused(str(error)) from None
    if type(sent) is not dict:
        raise Refused("the body must be a JSON object", problems=[Problem("", "not an object")])
    try:
        return reader.read(sent)
    except ValidationError as error:
        found = problems(error, sent)
        raise Refused(found[0].message, problems=found) from None


@contextmanager
def _found() -> Iterator[None]:
    """404 for an id that nobody has, 409 for two that no fact joins, 422 for one id twice."""
    try:
        yield
    except Unknown as error:
        raise NotFound(str(error)) from None
    except people.NotJoined as error:
        raise HttpError(str(error), status=409) from None
    except people.OneId as error:
        raise Refused(str(error), problems=[Problem("/ids/1", str(error))]) from None
