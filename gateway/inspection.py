"""Looking inside a site: its events, its deliveries raw beside mapped, its visitors.

`/admin/v1` and the command line show what these functions return: plain dicts, newest first.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from gateway import access, admission, reading
from gateway.access import Site, Source
from gateway.effects import Collector, Incoming
from gateway.reading import Translated
from ranking.visitors import identity, profile
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

ROWS = 100
ROWS_AT_MOST = 1000
# Above this a list does not translate a body again only to say what it came to.
SUMMARISED_BYTES = 256 * 1024
# Of a longer body HTTP shows the beginning; the command line, a process of its own, shows it all.
SHOWN_BYTES = 1024 * 1024
# Reading a longer one would hold up all that its web process answers.
READ_BYTES = 8 * 1024 * 1024


class Unknown(AttuneError):
    """The site has no delivery or visitor of that id."""


class BadFilter(AttuneError):
    """A filter names something that cannot be."""


# events ------------------------------------------------------------------------------------------


def events(
    connection: Connection,
    site: Site,
    *,
    visitor: str | None = None,
    type: str | None = None,
    since: datetime | None = None,
    limit: int = ROWS,
) -> list[dict[str, Any]]:
    """Events, newest first; `visitor` is any user or anonymous id of the person. BadFilter where
    `type` is none of ours."""
    params: dict[str, Any] = {"site_id": site.site_id, "since": since, "type": type}
    params["limit"] = min(limit, ROWS_AT_MOST)
    if type is not None:
        _check_type(connection, type)
    if visitor is not None:
        params["actors"] = actors(connection, site, visitor)
    statement = SQL.fill(
        "events",
        visitor=sql.SQL(SQL.of_actors if visitor is not None else ""),  # type: ignore[arg-type]
        type=sql.SQL(SQL.of_type if type is not None else ""),  # type: ignore[arg-type]
    )
    return _rows(connection, statement, params)


def _check_type(connection: Connection, name: str) -> None:
    known = [row[0] for row in connection.execute(SQL.event_types)]
    if name not in known:
        raise BadFilter(f"there is no event type {name!r}; there are: {', '.join(known)}")


# visitors ----------------------------------------------------------------------------------------


def actors(connection: Connection, site: Site, sent_id: str) -> list[UUID]:
    """All actors of the person whom an id names as user or as anonymous id; none if unknown."""
    named = actors_of_id(connection, site, sent_id)
    return identity.members_of(connection, site.site_id, named)


def visitor(connection: Connection, site: Site, sent_id: str, *, at: datetime) -> dict[str, Any]:
    """A person's ids, the facts that join them, profile and interests at a time; raises Unknown.

    An id that is both a user's and an anonymous one shows the user's profile.
    """
    named = actors_of_id(connection, site, sent_id)
    if not named:
        raise Unknown(f"nobody was ever seen as {sent_id!r}")
    members = actors(connection, site, sent_id)
    where = {"site_id": site.site_id, "actors": members}
    known = profile.current(connection, site.site_id, named[0], at=at)
    interests = profile.interests(known)
    return {
        "visitor_id": known.visitor_id or named[0],
        "ids": _rows(connection, SQL.ids, where),
        "edges": identity.edges_of(connection, site.site_id, members),
        "profile": {
            "personal": known.vector is not None,
            "events": interests["events"],
            "price": interests["price"],
            **_products_of(connection, site, known),
        },
        "interests": interests["tags"],
    }


def actors_of_id(connection: Connection, site: Site, sent_id: str) -> list[UUID]:
    """The actors that carry this very id, the user before the anonymous one."""
    both = [identity.actor_id(site.pepper, kind, sent_id) for kind in ("user", "anonymous")]
    where = {"site_id": site.site_id, "actors": both}
    known = {row[0] for row in connection.execute(SQL.known_actors, where)}
    return [actor for actor in both if actor in known]


def _products_of(connection: Connection, site: Site, known: profile.Profile) -> dict[str, Any]:
    """What was touched and bought lately, newest first, by product id."""
    touched, bought = known.contents.touched, known.contents.bought
    numbers = [*touched, *(number for number, _ in bought)]
    where = {"site_id": site.site_id, "numbers": numbers}
    ids = dict(connection.execute(SQL.product_ids, where).fetchall()) if numbers else {}
    return {
        "touched": [ids[number] for number in touched if number in ids],
        "bought": [
            {"product_id": ids[number], "at": when} for number, when in bought if number in ids
        ],
    }


# deliveries --------------------------------------------------------------------------------------


def deliveries(
    connection: Connection,
    site: Site,
    *,
    outcome: str | None = None,
    since: datetime | None = None,
    before: UUID | None = None,
    limit: int = ROWS,
) -> list[dict[str, Any]]:
    """Deliveries, newest first, with their counts and first open reason; `before` pages on."""
    params = {
        "site_id": site.site_id,
        "outcome": outcome,
        "since": since,
        "before": before,
        "before_time": received_at(before) if before else None,
        "limit": min(limit, ROWS_AT_MOST),
    }
    return _rows(connection, SQL.deliveries, params)


def delivery(
    connection: Connection,
    site: Site,
    delivery_id: UUID,
    *,
    offset: int = 0,
    limit: int = ROWS,
    whole: bool = False,
) -> dict[str, Any]:
    """One delivery: headers and body as they came, and each record raw beside mapped with what
    became of it. Of its records `limit` from `offset` on; of a body beyond READ_BYTES none, of one
    beyond SHOWN_BYTES only the beginning, unless `whole`. Records are read as they would be today,
    by the mapping of version `mapping_version`; one whose events or orders another one made says
    by which they were (`read_by`, null for none). Raises Unknown."""
    row = _delivery(connection, site, delivery_id)
    body = bytes(row.pop("body") or b"")
    row |= _shown_body(body, len(body) if whole else SHOWN_BYTES)
    source = access.source_by_id(connection, site.site_id, row["source_id"])
    row["problems"] = _problems(connection, site, row)
    row["mapping_version"] = _mapping_version(source)
    row["records"] = []
    if body and source is not None and limit and (whole or len(body) <= READ_BYTES):
        row["records"] = _records(connection, row, source, body, slice(offset, offset + limit))
    del row["source_id"], row["body_hash"]
    return row


def source_of(connection: Connection, site: Site, delivery_id: UUID) -> Source:
    """The source that a delivery came from; raises Unknown."""
    row = _delivery(connection, site, delivery_id)
    found = access.source_by_id(connection, site.site_id, row["source_id"])
    if found is None:
        raise Unknown(f"the source of delivery {delivery_id} is gone")
    return found


def replayable(
    connection: Connection, site: Site, since: datetime | None = None, *, remap: bool = False
) -> list[tuple[int, UUID]]:
    """(source id, delivery id) of kept deliveries that were not applied whole, oldest first; with
    `remap` of all from sources that have a mapping, or had one."""
    statement = SQL.fill("replayable", which=sql.SQL(SQL.mapped if remap else SQL.not_whole))  # type: ignore[arg-type]
    return connection.execute(statement, {"site_id": site.site_id, "since": since}).fetchall()


def mapped_to(connection: Connection, site: Site, delivery_id: UUID) -> str:
    """What a delivery says, in a few words: `add_to_cart, purchase ×2, sighting`."""
    row = _delivery(connection, site, delivery_id)
    source = access.source_by_id(connection, site.site_id, row["source_id"])
    if source is None or not row["bytes"] or row["bytes"] > SUMMARISED_BYTES:
        return ""
    try:
        translated = reading.read(
            source.connector,
            row["topic"],
            bytes(row["body"]),
            source.settings,
            row["headers"],
            row["received_at"],
        )
    except reading.Unreadable:
        return ""
    return named(fact for one in translated for fact in one.facts)


def named(facts: Iterable[Any]) -> str:
    """What facts there are, in a few words."""
    names = Counter(map(fact_name, facts))
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in names.items())


def fact_name(fact: Any) -> str:
    """An event's type, with its own name where it is a custom one; any other fact's kind."""
    name = str(getattr(fact, "type", None) or _kind(fact))
    custom = getattr(fact, "custom_action_name", None)
    return f"{name} ({custom})" if custom else name


def _kind(fact: Any) -> str:
    """As translators write it: `product_patch`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(fact).__name__).lower()


def received_at(delivery_id: UUID) -> datetime:
    """The millisecond in which a delivery was received, which its version 7 id begins with."""
    return datetime.fromtimestamp((delivery_id.int >> 80) / 1000, UTC)


def _delivery(connection: Connection, site: Site, delivery_id: UUID) -> dict[str, Any]:
    try:
        at = received_at(delivery_id)
    except (OverflowError, ValueError):
        raise _no_delivery(delivery_id) from None
    rows = _rows(
        connection,
        SQL.delivery,
        {
            "site_id": site.site_id,
            "delivery_id": delivery_id,
            "since": at,
            "until": at + timedelta(milliseconds=1),
        },
    )
    if not rows:
        raise _no_delivery(delivery_id)
    return rows[0]


def _no_delivery(delivery_id: UUID) -> Unknown:
    return Unknown(f"there is no delivery {delivery_id}, or it is no longer kept")


def _shown_body(body: bytes, most: int) -> dict[str, Any]:
    """As text where it is UTF-8, else base64; of a longer one the first bytes."""
    part = body if len(body) <= most else body[:most]
    cut = {"body_cut": True} if len(body) > most else {}
    try:
        # Not final: the last character of a part may be cut in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(part, final=not cut)
    except UnicodeDecodeError:
        return {"body": base64.b64encode(part).decode(), "encoding": "base64", **cut}
    return {"body": text, "encoding": "utf-8", **cut}


def _problems(connection: Connection, site: Site, row: dict[str, Any]) -> list[dict[str, Any]]:
    where = {name: row[name] for name in ("delivery_id", "received_at")}
    return _rows(connection, SQL.problems, where | {"site_id": site.site_id})


# one delivery's records --------------------------------------------------------------------------


def _records(
    connection: Connection, row: dict[str, Any], source: Source, body: bytes, part: slice
) -> list[dict[str, Any]]:
    """Translated again as they would be today, with what became of each then."""
    try:
        translated = reading.read(
            source.connector,
            row["topic"],
            body,
            source.settings,
            row["headers"],
            row["received_at"],
        )
    except reading.Unreadable:
        return []
    incoming = Incoming(
        source, row["topic"], row["headers"], body, row["received_at"], row["delivery_id"]
    )
    collected = Collector(incoming).collect(translated)
    keys = [key for key in collected.records if "type" in key]
    stored = _stored(connection, source, keys)
    came_with = {event_id: delivery for event_id, (delivery, _) in stored.items()}
    read_by = {key["position"]: stored[key["event_id"]][1] for key in keys
               if key["event_id"] in stored}  # fmt: skip
    read_by |= _tellings_read_by(connection, source, row["delivery_id"])
    now = _mapping_version(source)
    ids: dict[int, list[UUID]] = {}
    for key in keys:
        ids.setdefault(key["position"], []).append(key["event_id"])
    problems = {p["position"]: p for p in row["problems"] if _is_shown(p)}
    purchases = {
        order["position"]: collected.purchases[order["order_id"]] for order in collected.orders
    }
    return [
        _shown(one, ids.get(one.position, []), purchases.get(one.position))
        | _fate(row, one, ids.get(one.position, []), came_with, problems, collected.repeated)
        | _otherwise(read_by, one.position, now)
        for one in translated[part]
    ]


def _stored(
    connection: Connection, source: Source, keys: Iterable[dict[str, Any]]
) -> dict[UUID, tuple[UUID, int | None]]:
    """The delivery that each event was first applied with, and the mapping that it was read by."""
    wanted = [{name: key[name] for name in ("event_id", "occurred_at")} for key in keys]
    rows = connection.execute(
        SQL.stored_events, {"site_id": source.site_id, "events": database.jsonb(wanted)}
    )
    return {event_id: (delivery, version) for event_id, delivery, version in rows}


def _tellings_read_by(
    connection: Connection, source: Source, delivery_id: UUID
) -> dict[int, int | None]:
    where = {"site_id": source.site_id, "delivery_id": delivery_id}
    return dict(connection.execute(SQL.tellings_read_by, where).fetchall())


def _mapping_version(source: Source | None) -> int | None:
    """Of the mapping in use; None without one."""
    return (source.settings.get("mapping") or {}).get("version") if source else None


def _otherwise(
    read_by: dict[int, int | None], position: int, now: int | None
) -> dict[str, int | None]:
    """By which mapping a record was read, where that is not the one in use."""
    then = read_by.get(position, now)
    return {"read_by": then} if then != now else {}


def _shown(one: Translated, event_ids: list[UUID], purchase: UUID | None) -> dict[str, Any]:
    """`purchase` is the event that the order comes to of which the record tells."""
    facts = [{"fact": _kind(fact), **_present(fact)} for fact in one.facts]
    return {
        "position": one.position,
        "pointer": one.pointer,
        "record": one.record,
        "mapped": facts,
        "event_ids": [purchase, *event_ids] if purchase else event_ids,
    }


def _present(fact: Any) -> dict[str, Any]:
    values = {name: getattr(fact, name) for name in fact.__slots__}
    return {name: value for name, value in values.items() if value not in (None, [], {}, "")}


def _is_shown(problem: dict[str, Any]) -> bool:
    """Open, or about what was left out of a record that was applied."""
    return problem["resolved_at"] is None or problem["reason"].startswith(admission.LEFT_OUT)


def _fate(
    row: dict[str, Any],
    one: Translated,
    event_ids: list[UUID],
    came_with: dict[UUID, UUID],
    problems: dict[int, dict[str, Any]],
    repeated: set[int],
) -> dict[str, Any]:
    """What became of a record: its open problem, else where its events came from."""
    problem = problems.get(one.position)
    if problem is not None and problem["resolved_at"] is None:
        return {"outcome": problem["outcome"], "reason": problem["reason"]}
    if row["outcome"] == "failed":
        return {"outcome": "failed", "reason": row["error"]}
    if one.position in repeated:
        return {"outcome": "duplicate", "reason": "another record of this delivery is the same"}
    first = next((came_with[key] for key in event_ids if key in came_with), None)
    if first is not None and first != row["delivery_id"]:
        return {"outcome": "duplicate", "reason": f"first came with delivery {first}"}
    if first is None and row["duplicate"] and not row["applied"]:
        return {"outcome": "duplicate", "reason": None}
    return {"outcome": "applied", "reason": problem["reason"] if problem else None}


def _rows(
    connection: Connection, statement: str | sql.Composed, params: dict[str, Any]
) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, params).fetchall()
