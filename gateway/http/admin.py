"""`/admin/v1`: looking inside one's own site with a secret key, and replaying deliveries."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response, jsonify
from flask_smorest import Blueprint

from gateway import access, attributes, ingest, inspection, instant, jobs, ledger, sync
from gateway.access import Site
from gateway.http import parameters, shapes, state
from gateway.http.auth import authenticate
from gateway.http.errors import NotFound, Refused
from schemas.database import Connection
from schemas.errors import Problem

OUTCOMES = ("applied", "duplicate", "ignored", "refused", "failed")

blueprint = Blueprint(
    "admin", __name__, url_prefix="/admin/v1", description="Looking inside, with a secret key"
)


COUNTS = dict.fromkeys(("deliveries", *ledger.COLUMNS), shapes.COUNT)
# A delivery, an event, a feed and the like have more fields than those that name them.
NAMED = {
    "deliveries": shapes.record({"delivery_id": shapes.UUID}, more=True),
    "events": shapes.record({"event_id": shapes.UUID, "type": shapes.TEXT}, more=True),
    "feeds": shapes.record({"source": shapes.TEXT, "url": shapes.TEXT}, more=True),
    "attributes": shapes.record({"kind": shapes.TEXT, "name": shapes.TEXT}, more=True),
}
PULL = shapes.record({"message": shapes.TEXT, "source": shapes.TEXT})
VISITOR = shapes.record(
    {
        "visitor_id": shapes.UUID,
        "ids": shapes.many(shapes.OPEN),
        "edges": shapes.many(shapes.OPEN),
        "profile": shapes.OPEN,
        "interests": shapes.many(shapes.OPEN),
    }
)
RECEIPT = shapes.record(
    {
        "delivery_id": shapes.UUID,
        "outcome": shapes.TEXT,
        "mended": shapes.COUNT,
        "changed": shapes.COUNT,
        **dict.fromkeys(ledger.COLUMNS, shapes.COUNT),
        "error": shapes.optional(shapes.TEXT),
        "problems": shapes.many(shapes.OPEN),
    }
)
LEDGER = shapes.record(
    {
        "total": shapes.record(COUNTS),
        "sources": shapes.many(shapes.record(COUNTS, more=True)),
        "minutes": shapes.many(shapes.record(COUNTS, more=True)),
        "without_product": shapes.many(shapes.OPEN),
    }
)


def _listed(name: str) -> dict[int, shapes.Shape]:
    return shapes.ok(shapes.record({name: shapes.many(NAMED[name])}))


def _query(*names: str) -> list[dict[str, Any]]:
    return [{"in": "query", "name": name, "schema": {"type": "string"}} for name in names]


@blueprint.get("/events")
@blueprint.doc(parameters=_query("visitor", "type", "since", "limit"), responses=_listed("events"))
def events() -> Response:
    """Events of the site, newest first; `visitor` is any user or anonymous id of a person."""
    key = authenticate("admin:read")
    parameters.only("visitor", "type", "since", "limit")
    kind = parameters.text("type")
    with state.serving().connection() as connection:
        try:
            found = inspection.events(
                connection,
                access.site_by_id(connection, key.site_id),
                visitor=parameters.text("visitor"),
                type=kind,
                since=parameters.instant("since"),
                limit=parameters.count("limit", inspection.ROWS),
            )
        except inspection.BadFilter as error:
            raise Refused(str(error), problems=[Problem("/type", str(error))]) from None
    return jsonify(events=found)


@blueprint.get("/visitors/<path:sent_id>")
@blueprint.doc(responses=shapes.ok(VISITOR))
def visitor(sent_id: str) -> Response:
    """One person, by user or anonymous id: ids, the facts that join them, profile, interests."""
    key = authenticate("admin:read")
    parameters.only()
    with state.serving().connection() as connection:
        return jsonify(_visitor(connection, access.site_by_id(connection, key.site_id), sent_id))


def _visitor(connection: Connection, site: Site, sent_id: str) -> dict[str, Any]:
    if "\0" in sent_id:
        raise NotFound(f"nobody was ever seen as {sent_id!r}")
    try:
        return inspection.visitor(connection, site, sent_id, at=instant.now())
    except inspection.Unknown as error:
        raise NotFound(str(error)) from None


@blueprint.get("/deliveries")
@blueprint.doc(
    parameters=_query("outcome", "since", "before", "limit"), responses=_listed("deliveries")
)
def deliveries() -> Response:
    """Deliveries, newest first; `before` is the id of the last one seen."""
    key = authenticate("admin:read")
    parameters.only("outcome", "since", "before", "limit")
    with state.serving().connection() as connection:
        found = inspection.deliveries(
            connection,
            access.site_by_id(connection, key.site_id),
            outcome=_outcome(),
            since=parameters.instant("since"),
            before=parameters.identifier("before"),
            limit=parameters.count("limit", inspection.ROWS),
        )
    return jsonify(deliveries=found)


def _outcome() -> str | None:
    value = parameters.text("outcome")
    if value is None or value in OUTCOMES:
        return value
    sentence = f"it must be one of: {', '.join(OUTCOMES)}"
    raise Refused(f"outcome: {sentence}", problems=[Problem("/outcome", sentence)])


@blueprint.get("/deliveries/<delivery_id>")
@blueprint.doc(parameters=_query("offset", "limit"), responses=shapes.ok(NAMED["deliveries"]))
def delivery(delivery_id: str) -> Response:
    """One delivery: body and headers as they came, each record raw beside mapped, its outcome."""
    key = authenticate("admin:read")
    parameters.only("offset", "limit")
    with state.ingest().connection() as connection:
        try:
            found = inspection.delivery(
                connection,
                access.site_by_id(connection, key.site_id),
                parameters.identifier_in_path(delivery_id),
                offset=parameters.count("offset", 0, least=0, most=10**8),
                limit=parameters.count("limit", inspection.ROWS),
            )
        except inspection.Unknown as error:
            raise NotFound(str(error)) from None
    return jsonify(found)


@blueprint.post("/deliveries/<delivery_id>/replay")
@blueprint.doc(parameters=_query("remap"), responses=shapes.ok(RECEIPT))
def replay(delivery_id: str) -> Response:
    """Translate and apply a kept delivery again; what was applied before changes nothing, unless
    `remap=1` makes the events and orders that it brought anew."""
    key = authenticate("admin:write")
    parameters.only("remap")
    remap = parameters.count("remap", 0, least=0, most=1) == 1
    wanted = parameters.identifier_in_path(delivery_id)
    pool = state.ingest()
    try:
        with pool.connection() as connection:
            site = access.site_by_id(connection, key.site_id)
            source = inspection.source_of(connection, site, wanted)
        receipt = ingest.replay(pool, source, wanted, remap=remap)
    except (inspection.Unknown, ingest.UnknownDelivery) as error:
        raise NotFound(str(error)) from None
    return jsonify(shown(receipt))


def shown(receipt: ingest.Receipt) -> dict[str, Any]:
    """A receipt as the command line and this door show it."""
    return {
        "delivery_id": receipt.delivery_id,
        "outcome": receipt.outcome,
        "mended": receipt.mended,
        "changed": receipt.changed,
        **{name: getattr(receipt, name) for name in ledger.COLUMNS},
        "error": receipt.error,
        "problems": [asdict(problem) for problem in receipt.problems],
    }


@blueprint.get("/feeds")
@blueprint.doc(responses=_listed("feeds"))
def feeds() -> Response:
    """The feeds of the site, each with how its last pulls went."""
    key = authenticate("admin:read")
    parameters.only()
    with state.serving().connection() as connection:
        found = sync.states(connection, access.site_by_id(connection, key.site_id))
    return jsonify(feeds=found)


@blueprint.post("/feeds/<source>/pull")
@blueprint.doc(responses=shapes.ok(PULL, "It is pulled within a minute", 202))
def pull(source: str) -> tuple[Response, int]:
    """Pull a feed as soon as a worker is free, not when it is due."""
    key = authenticate("admin:write")
    parameters.only()
    with state.ingest().connection() as connection:
        found = access.source_by_public_id(connection, source) if "\0" not in source else None
        if found is None or (found.site_id, found.connector) != (key.site_id, sync.CONNECTOR):
            raise NotFound(f"there is no feed {source!r}")
        sync.ask(connection, found)
    jobs.hint("feeds", key.site_id)
    return jsonify(message="it is pulled within a minute", source=source), 202


@blueprint.get("/attributes")
@blueprint.doc(responses=_listed("attributes"))
def attributes_of_site() -> Response:
    """The custom attributes of products and of users, each with its type and how many records have
    it."""
    key = authenticate("admin:read")
    parameters.only()
    with state.ingest().connection() as connection:
        return jsonify(attributes=attributes.of_site(connection, key.site_id))


@blueprint.get("/ledger")
@blueprint.doc(parameters=_query("since", "until", "minutes"), responses=shapes.ok(LEDGER))
def ledger_of_site() -> Response:
    """What became of everything received, whole, by source and for the last minutes; and which
    events of the last days lack the product that they are about."""
    key = authenticate("admin:read")
    parameters.only("since", "until", "minutes")
    since, until = parameters.instant("since"), parameters.instant("until")
    minutes = parameters.count("minutes", 60, least=0, most=ledger.MINUTES_AT_MOST)
    with state.serving().connection() as connection:
        sums = ledger.of_site(connection, key.site_id, since=since, until=until)
        sums["minutes"] = ledger.minutes(
            connection, key.site_id, since=since, until=until, limit=minutes
        )
        sums["without_product"] = ledger.without_product(connection, key.site_id, at=instant.now())
    return jsonify(sums)
