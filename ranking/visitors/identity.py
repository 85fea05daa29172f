"""Who an id belongs to. ingest records the facts of identity and calls `rebuild` when they change.

An event belongs for ever to the id it was sent under (its actor). Anonymous ids joined by *device*
facts are one browser's. A visitor is a component of actors joined by *same* facts and by each
device's one owner: the user of its earliest *owned* fact. Minimum and union are commutative and
idempotent, so any order and any repetition of the facts give the same visitors, and two users are
never joined through a device.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

from psycopg import sql

from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)


def owners(ids: str, until: sql.SQL) -> sql.Composed:
    """The statement of who may own the anonymous ids in a table, by facts that `until` keeps."""
    return SQL.fill("owners", ids=sql.Identifier(ids), until=until)


NO_LIMIT = sql.SQL("")
NEIGHBOURHOOD = SQL.fill(
    "neighbourhood",
    reached_owners=owners("reached", NO_LIMIT),
    affected_owners=owners("affected", NO_LIMIT),
)
MOST_OWNERS = 5  # a device seen with more users is a kiosk or a bug: nobody owns it

Owned = tuple[UUID, UUID, datetime]  # anonymous actor, user, since when
Pair = tuple[UUID, UUID]


def actor_id(pepper: bytes, kind: str, sent_id: str) -> UUID:
    """The actor of an id: 16 bytes of keyed BLAKE2b over its kind ('anonymous' or 'user') and the
    id as sent, so that nobody without the site's pepper can tell whose row it is."""
    text = kind.encode() + b"\0" + sent_id.encode("utf-8", "surrogatepass")
    return UUID(bytes=blake2b(text, digest_size=16, key=pepper[:64]).digest())


def rebuild(connection: Connection, site_id: int, touched: Iterable[UUID]) -> None:
    """Derive `members` again for the visitors of these actors, inside the caller's transaction.

    Holds the site's identity lock to its end: whoever comes second sees the first one's facts.
    """
    actors = sorted(set(touched))
    if not actors:
        return
    connection.execute(SQL.lock, {"site": site_id})
    rows = connection.execute(
        NEIGHBOURHOOD, {"site": site_id, "actors": actors, "most_owners": MOST_OWNERS}
    ).fetchall()
    present = {actor: visitor for kind, actor, _, _, visitor in rows if kind == "is"}
    pairs = {kind: [row[1:3] for row in rows if row[0] == kind] for kind in ("same", "device")}
    owned = [(actor, user, since) for kind, actor, user, since, _ in rows if kind == "owned"]
    joins = pairs["same"] + joined(pairs["device"], owned)
    changed = _changed(present, _components(set(present), joins))
    if changed:
        parameters = {"site": site_id, "members": database.jsonb(changed)}
        connection.execute(SQL.replace_members, parameters)


def joined(devices: Sequence[Pair], owned: Iterable[Owned]) -> list[Pair]:
    """What devices join: the ids of each with one another, and with the device's one owner, the
    user of its earliest fact, unless it has too many. Pure."""
    facts = list(owned)
    device = _components({anonymous for anonymous, _, _ in facts}, devices)
    told: dict[UUID, list[tuple[datetime, UUID]]] = defaultdict(list)
    for anonymous, user, since in facts:
        told[device[anonymous]].append((since, user))
    owners = {
        root: min(users)[1]
        for root, users in told.items()
        if len({user for _, user in users}) <= MOST_OWNERS
    }
    own = ((anonymous, owners.get(root)) for anonymous, root in device.items())
    return [*devices, *((anonymous, owner) for anonymous, owner in own if owner)]


def reached(start: Iterable[UUID], joins: Sequence[Pair]) -> set[UUID]:
    """These actors and all that they are joined with. Pure."""
    wanted = set(start)
    device = _components(wanted.union(*joins), joins)
    roots = {device[one] for one in wanted}
    return {one for one, root in device.items() if root in roots}


def undo_all(connection: Connection, site_id: int, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Mark every fact from the first to the second actor of each pair as undone and derive the
    visitors again; returns the facts with kind, time and delivery."""
    undone = database.dicts(connection.execute(SQL.undo_all, _ends(site_id, pairs)))
    if undone:
        rebuild(connection, site_id, {actor for pair in pairs for actor in pair})
    return undone


def redo(connection: Connection, site_id: int, pairs: Sequence[Pair]) -> None:
    """Let undone facts from the first to the second actor of each pair hold again."""
    if connection.execute(SQL.redo, _ends(site_id, pairs)).rowcount:
        rebuild(connection, site_id, {actor for pair in pairs for actor in pair})


def _ends(site_id: int, pairs: Sequence[Pair]) -> dict[str, Any]:
    return {"site": site_id, "from": [pair[0] for pair in pairs], "to": [pair[1] for pair in pairs]}


def named(
    connection: Connection, site_id: int, actors: Iterable[UUID]
) -> list[tuple[UUID, str, str | None]]:
    """(actor, kind, id as sent) of those that are known, None of an erased one's id."""
    parameters = {"site": site_id, "actors": list(actors)}
    return connection.execute(SQL.named, parameters).fetchall()


def members_of(connection: Connection, site_id: int, actors: Sequence[UUID]) -> list[UUID]:
    """All actors of the visitors that these belong to, themselves included, in id order."""
    rows = connection.execute(SQL.members_of, {"site": site_id, "actors": list(actors)})
    return sorted({row[0] for row in rows}.union(actors))


def edges_of(connection: Connection, site_id: int, actors: list[UUID]) -> list[dict[str, Any]]:
    """The facts behind a visitor: each with its kind, both ids, its time and its delivery."""
    return database.dicts(connection.execute(SQL.edges_of, {"site": site_id, "actors": actors}))


def _components(actors: set[UUID], joins: Sequence[Pair]) -> dict[UUID, UUID]:
    """The smallest actor of each actor's component (union-find with path halving)."""
    parent = {actor: actor for actor in actors}
    parent.update({one: one for pair in joins for one in pair if one not in parent})

    def root(actor: UUID) -> UUID:
        while parent[actor] != actor:
            parent[actor] = parent[parent[actor]]
            actor = parent[actor]
        return actor

    for left, right in joins:
        first, second = sorted((root(left), root(right)))
        parent[second] = first
    return {actor: root(actor) for actor in parent}


def _changed(
    present: dict[UUID, UUID | None], visitors: dict[UUID, UUID]
) -> list[dict[str, str | None]]:
    """The rows of `members` to write: no visitor where the actor is one of its own."""
    sizes = Counter(visitors.values())
    wanted = {actor: visitor if sizes[visitor] > 1 else None for actor, visitor in visitors.items()}
    return [
        {"actor_id": str(actor), "visitor_id": str(visitor) if visitor else None}
        for actor, visitor in sorted(wanted.items())
        if visitor != present.get(actor)
    ]
