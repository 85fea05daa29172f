"""A person by any of their ids: merged and unmerged by hand, exported, erased.

Merging and erasing are deliveries of the site's own source, so each fact has a body that can be
looked up, and whatever holds for a sender's words holds for these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import product
from typing import Any
from uuid import UUID

from gateway import access, ingest, inspection, learning
from gateway.access import Site
from gateway.ingest import Pool
from gateway.inspection import Unknown
from ranking.visitors import identity, orders, users
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

# What a platform may ask for, by its kind, and what its reader does then.
WHAT_TO_DO = {
    "export": "`export SITE ID` writes what is known of the person, to be handed over",
    "erase_all": "`erase SITE --all` erases everybody, unless the shop is connected again",
    "uninstalled": "the shop sends nothing more; connect it again, or leave it",
    "scopes_changed": "the app may do other things now; look whether it still sends what you need",
}

KINDS = ("user", "anonymous")
ERASED_AT_ONCE = 500
MERGES = ("same", "alias", "device")  # what a merge tells; that a device is owned, events tell


class NotJoined(AttuneError):
    """No fact says directly that two ids are one person's."""


class OneId(AttuneError):
    """Two ids were to be named, and are the same."""


# merge and unmerge --------------------------------------------------------------------------------


def merge(pool: Pool, site: Site, one: str, other: str) -> dict[str, Any]:
    """Say that two ids are one person's; a user and an anonymous id, two users, or two anonymous
    ids of one browser. What was undone between them holds again. Raises Unknown and OneId.

    Returns {"delivery", "changed", "visitor_id", "ids"}; where they were merged before, nothing is
    written: it is that delivery, and not `changed`.
    """
    if one == other:
        raise OneId(f"that is one id: name another one that is the same person as {one!r}")
    with pool.connection() as connection:
        kinds = _kind(connection, site, one), _kind(connection, site, other)
        source = access.api_source(connection, site.site_id)
        if before := _merged_before(connection, site, one, other):
            return {"delivery": before, "changed": False} | _ids(connection, site, other)
    body = json.dumps({"data": [_told(one, other, kinds)]}).encode()
    receipt = ingest.deliver(pool, source, topic="people/_merge", headers={}, body=body)
    with pool.connection() as connection, connection.transaction():
        identity.redo(connection, site.site_id, _pairs(site, one, other))
    with pool.connection() as connection:
        return {"delivery": receipt.delivery_id, "changed": True} | _ids(connection, site, other)


def _merged_before(connection: Connection, site: Site, one: str, other: str) -> UUID | None:
    """The delivery of a fact that says of these very ids what a merge would, and holds."""
    members = inspection.actors(connection, site, one)
    if set(members).isdisjoint(inspection.actors(connection, site, other)):
        return None
    facts = identity.edges_of(connection, site.site_id, members)
    found = (
        fact["delivery_id"]
        for fact in facts
        if {fact["from_id"], fact["to_id"]} == {one, other}
        and fact["kind"] in MERGES
        and fact["undone_at"] is None
    )
    return next(found, None)


def _told(one: str, other: str, kinds: tuple[str, str]) -> dict[str, str]:
    if kinds == ("anonymous", "anonymous"):
        return {"anonymous_id": one, "other_id": other}
    if kinds == ("user", "anonymous"):
        one, other = other, one
    return {"previous_id": one, "user_id": other}


def unmerge(pool: Pool, site: Site, one: str, other: str) -> dict[str, Any]:
    """Undo every fact that joins two ids directly; told again it stays undone, until `merge`.

    Raises Unknown, and NotJoined with the facts by which they hang together through others.
    Returns {"undone": [facts]}.
    """
    with pool.connection() as connection, connection.transaction():
        for sent_id in (one, other):
            _kind(connection, site, sent_id)
        undone = identity.undo_all(connection, site.site_id, _pairs(site, one, other))
        if not undone:
            raise NotJoined(_how_joined(connection, site, one, other))
    return {"undone": undone}


def _how_joined(connection: Connection, site: Site, one: str, other: str) -> str:
    members = inspection.actors(connection, site, one)
    if set(members).isdisjoint(inspection.actors(connection, site, other)):
        return f"{one!r} and {other!r} are two persons already"
    facts = identity.edges_of(connection, site.site_id, members)
    told = ", ".join(f"{fact['from_id']} – {fact['to_id']} ({fact['kind']})" for fact in facts[:20])
    return f"no fact joins {one!r} and {other!r} directly; undo one of these: {told}"


def _pairs(site: Site, one: str, other: str) -> list[tuple[UUID, UUID]]:
    """The actors that two ids may be, both ways round."""
    first, second = (
        [identity.actor_id(site.pepper, kind, sent_id) for kind in KINDS]
        for sent_id in (one, other)
    )
    return [*product(first, second), *product(second, first)]


def _kind(connection: Connection, site: Site, sent_id: str) -> str:
    """What an id was sent as, a user before an anonymous id; raises Unknown."""
    named = inspection.actors_of_id(connection, site, sent_id)
    if not named:
        raise Unknown(f"nobody was ever seen as {sent_id!r}")
    return "user" if named[0] == identity.actor_id(site.pepper, "user", sent_id) else "anonymous"


def _ids(connection: Connection, site: Site, sent_id: str) -> dict[str, Any]:
    members = inspection.actors(connection, site, sent_id)
    named = identity.named(connection, site.site_id, members)
    ids = sorted((kind, told) for _, kind, told in named if told)
    return {
        "visitor_id": min(members, key=str),
        "ids": [{"kind": kind, "id": told} for kind, told in ids],
    }


# export and erase ---------------------------------------------------------------------------------


def export(connection: Connection, site: Site, sent_id: str, *, at: datetime) -> dict[str, Any]:
    """All that is known of a person: ids and the facts that join them, records, events, orders,
    profile, lists that were shown, and the deliveries that told. Raises Unknown."""
    seen = inspection.visitor(connection, site, sent_id, at=at)
    members = inspection.actors(connection, site, sent_id)
    where = {"site": site.site_id, "actors": members}
    user_ids = [one["id"] for one in seen["ids"] if one["kind"] == "user" and one["id"]]
    events = _rows(connection, SQL.events, where)
    return {
        "exported_at": at,
        **seen,
        "records": [
            record
            for user_id in user_ids
            if (record := users.get(connection, site.site_id, user_id)) is not None
        ],
        "events": events,
        "orders": [
            orders.get(connection, site.site_id, row["order_id"])
            for row in _rows(connection, SQL.orders, where)
        ],
        "answers": _rows(connection, SQL.answers, where),
        "deliveries": sorted({row["delivery_id"] for row in events}, key=str),
    }


def erase(pool: Pool, site: Site, sent_id: str) -> dict[str, Any]:
    """Erase the person whom an id names: at once all but kept bodies, which a job overwrites within
    a day. Of an id nobody knows what may still be on its way is refused.

    Returns the receipt: {"delivery", "erased_at", "rows" by table, "bodies", …}.
    """
    with pool.connection() as connection:
        source = access.api_source(connection, site.site_id)
    body = json.dumps({"user_ids": [sent_id], "anonymous_ids": [sent_id]}).encode()
    receipt = ingest.deliver(pool, source, topic="interactions/_delete", headers={}, body=body)
    with pool.connection() as connection:
        return erasure(connection, site, receipt.delivery_id)


def is_known(connection: Connection, site: Site, sent_id: str) -> bool:
    """Whether anybody has this id who was not erased."""
    named = inspection.actors_of_id(connection, site, sent_id)
    return any(told for *_, told in identity.named(connection, site.site_id, named))


def erase_all(pool: Pool, site: Site) -> Iterator[int]:
    """Erase everybody of a site, as a platform asks that was left by its shop (Shopify's
    `shop/redact`), and what was learned from them; gives how many ids went so far, after each
    piece."""
    with pool.connection() as connection:
        source = access.api_source(connection, site.site_id)
    where: dict[str, Any] = {"site": site.site_id, "after": UUID(int=0), "limit": ERASED_AT_ONCE}
    erased = 0
    while True:
        with pool.connection() as connection:
            found = connection.execute(SQL.known_ids, where).fetchall()
        if not found:
            break
        lists = {
            f"{name}_ids": [sent_id for _, kind, sent_id in found if kind == name] for name in KINDS
        }
        body = json.dumps(lists).encode()
        ingest.deliver(pool, source, topic="interactions/_delete", headers={}, body=body)
        erased += len(found)
        where["after"] = found[-1][0]
        yield erased
    with pool.connection() as connection:
        learning.forget(connection, site.site_id)


def requests(connection: Connection, site: Site, *, limit: int) -> list[dict[str, Any]]:
    """What platforms asked a person to do: exports, the end of a connection; open ones first."""
    return _rows(connection, SQL.requests, {"site": site.site_id, "limit": limit})


def done(connection: Connection, site: Site, delivery_id: UUID, *, at: datetime) -> None:
    """Note that a request was carried out; raises Unknown."""
    where = {"site": site.site_id, "delivery": delivery_id, "at": at}
    if connection.execute(SQL.done, where).fetchone() is None:
        raise Unknown(f"no open request came with delivery {delivery_id}")


def erasure(connection: Connection, site: Site, delivery_id: UUID) -> dict[str, Any]:
    """The receipt of one request to erase; raises Unknown."""
    found = _rows(connection, SQL.erasure, {"site": site.site_id, "delivery": delivery_id})
    if not found:
        raise Unknown(f"{delivery_id} was no request to erase anybody")
    receipt: dict[str, Any] = found[0]
    return receipt


def erasures(connection: Connection, site: Site, *, limit: int) -> list[dict[str, Any]]:
    """The receipts of a site, newest first."""
    return _rows(connection, SQL.erasures, {"site": site.site_id, "limit": limit})


def _rows(connection: Connection, statement: str, parameters: dict[str, Any]) -> list[Any]:
    return database.dicts(connection.execute(statement, parameters))
