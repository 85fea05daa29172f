"""`/admin/v1`: the mapping of a source, with a secret key: read, changed, tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, jsonify
from flask_smorest import Blueprint

from gateway import access, mappings
from gateway.access import Source
from gateway.http import door, parameters, shapes, state
from gateway.http.auth import authenticate
from gateway.http.errors import NotFound, Refused
from schemas.database import Connection
from schemas.errors import Invalid, Problem

LIMIT_BYTES = 1024 * 1024
# Of bodies that one request reads twice while its visitors wait; the command line reads more.
TRIED_BYTES = 4 * 1024 * 1024

blueprint = Blueprint(
    "mappings", __name__, url_prefix="/admin/v1", description="Mappings, with a secret key"
)

RULE = shapes.record(
    {}, {"when": shapes.OPEN, "set": shapes.OPEN, "move": shapes.map_of(shapes.TEXT)}
)
MAPPING = shapes.record({"rules": shapes.many(RULE)})
VERSION = shapes.optional(shapes.COUNT)
SHOWN = shapes.record(
    {
        "source": shapes.TEXT,
        "version": VERSION,
        "mapping": MAPPING,
        "created_at": shapes.optional(shapes.TEXT),
        "versions": shapes.many(shapes.OPEN),
    }
)
CHANGED = shapes.record({"source": shapes.TEXT, "version": VERSION, "changed": shapes.FLAG})
OUTCOMES = shapes.record(dict.fromkeys(("ready", "ignored", "refused"), shapes.COUNT))
TRIED = shapes.record(
    {
        "source": shapes.TEXT,
        **dict.fromkeys(("deliveries", "records", "changed", "rows_left_out"), shapes.COUNT),
        "now": OUTCOMES,
        "then": OUTCOMES,
        "rows": shapes.many(shapes.OPEN),
    }
)
LAST = {"type": "integer", "minimum": 1, "maximum": mappings.DELIVERIES_AT_MOST}


def _body(shape: shapes.Shape) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": shape}}}


@blueprint.get("/sources/<source>/mapping")
@blueprint.doc(
    parameters=[{"in": "query", "name": "version", "schema": {"type": "string"}}],
    responses=shapes.ok(SHOWN),
)
def show_mapping(source: str) -> Response:
    """The mapping of a source and the list of its versions; `version` shows an older one."""
    key = authenticate("admin:read")
    parameters.only("version")
    version = parameters.count("version", 0, most=10**8) or None
    with state.serving().connection() as connection, _found():
        found = _source(connection, key.site_id, source)
        return jsonify(mappings.show(connection, found, version))


@blueprint.put("/sources/<source>/mapping")
@blueprint.doc(requestBody=_body(MAPPING), responses=shapes.ok(CHANGED))
def put_mapping(source: str) -> Response:
    """Read what a source sends by this mapping from now on; an equal one changes nothing."""
    key = authenticate("admin:write")
    parameters.only()
    with state.ingest().connection() as connection, _found():
        found = _source(connection, key.site_id, source)
        return jsonify(mappings.put(connection, found, _sent()))


@blueprint.post("/sources/<source>/mapping/try")
@blueprint.doc(
    requestBody=_body(shapes.record({"mapping": MAPPING}, {"last": LAST})),
    responses=shapes.ok(TRIED),
)
def try_mapping(source: str) -> Response:
    """What a source's last deliveries become now and would become by this mapping; nothing is
    written."""
    key = authenticate("admin:read")
    parameters.only()
    with state.ingest().connection() as connection, _found():
        found = _source(connection, key.site_id, source)
    with _found():
        document, last = _trial(_sent())
    with state.ingest().connection() as connection:
        deliveries = mappings.kept(connection, found, last=last, most_bytes=TRIED_BYTES)
    with _found("/mapping"):
        return jsonify(mappings.tried(found, document, deliveries))


def _source(connection: Connection, site_id: int, public_id: str) -> Source:
    site = access.site_by_id(connection, site_id)
    return access.source_of_site(connection, site, public_id)


def _sent() -> Any:
    return mappings.parsed(door.read_body(LIMIT_BYTES))


def _trial(sent: Any) -> tuple[Any, int]:
    """The mapping to try and on how many deliveries; raises Invalid."""
    if not isinstance(sent, dict):
        raise Invalid([Problem("", "The body must be an object with `mapping`.")])
    if unknown := sorted(sent.keys() - {"mapping", "last"}):
        raise Invalid([Problem(f"/{name}", "There is no such key.") for name in unknown])
    last = sent.get("last", mappings.DELIVERIES)
    if type(last) is not int or not 1 <= last <= mappings.DELIVERIES_AT_MOST:
        sentence = f"`last` is a whole number from 1 to {mappings.DELIVERIES_AT_MOST}."
        raise Invalid([Problem("/last", sentence)])
    return sent.get("mapping"), last


@contextmanager
def _found(at: str = "") -> Iterator[None]:
    """404 for what the site does not have, 422 for a document that breaks its schema; `at` is where
    it lies in the body."""
    try:
        yield
    except (access.UnknownSource, mappings.UnknownVersion) as error:
        raise NotFound(str(error)) from None
    except Invalid as error:
        problems = [Problem(at + one.pointer, one.message) for one in error.problems]
        raise Refused(str(error), problems=problems) from None
