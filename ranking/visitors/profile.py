"""What we know of a visitor now. Every answer reads it; the admin API shows it.

A profile is a pure function of the visitor's events, the live models and the product vectors. It
is kept with a fingerprint of its members' versions and made anew wherever that differs, so late
events, merges, erasure and replays need no code of their own here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import psycopg
from prometheus_client import Counter
from psycopg import sql

from ranking.catalog import clusters, learned_models, models, queries, records
from ranking.catalog.learned_models import Learned
from ranking.catalog.models import Model
from ranking.visitors import names, taste
from ranking.visitors.interests import (
    MAX_PRODUCTS,
    MAX_TOUCHED,
    Contents,
    Happened,
    Interest,
    Known,
    Told,
    Vector,
    contents,
    event_vector,
    interest_vector,
    query_of,
    telling,
)
from schemas import database
from schemas.database import Connection
from schemas.facts import Event

SQL = database.queries(__file__)
PARTS = {name: sql.SQL(SQL.statements[name]) for name in ("whose", "happened", "bought", "counts")}
# Filled once: the first runs for every list.
KEPT, READ, OWN = (SQL.fill(name, **PARTS).as_bytes() for name in ("kept", "read", "own"))

# Part of every fingerprint: raise it with any change in what a profile is made of.
RECIPE = 6
# Enough for 50 touched products; more only where the same few are looked at again and again.
MOST_EVENTS = 200
MOST_PURCHASES = 200
MOST_BOUGHT = 500  # products
MOST_RECENT = 4 * MAX_TOUCHED

PROFILES = Counter(
    "attune_profiles", "Profiles asked for: kept ones still true, and those made anew", ["was"]
)
# A child costs 0.9 us to raise, finding it by its label as much again.
STORED, MADE = PROFILES.labels("kept"), PROFILES.labels("made")

IMPRESSIONS = ("impression", "viewable_impression")

FORGOTTEN_AT_ONCE = 5000
_FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Profile:
    """`vector` None: nothing is known that a list could lean to. `taste` is the same in the space
    of `learned`, the model that was live as it was read; None too where none was."""

    visitor_id: UUID | None = None
    vector: Vector | None = None
    taste: Vector | None = None
    learned: Learned | None = None
    contents: Contents = field(default_factory=Contents)


NOBODY = Profile()


class _Read(NamedTuple):
    visitor_id: UUID
    apart: bool
    known: bool
    fingerprint: UUID
    happened: str | None
    bought: str | None


def current(
    connection: Connection,
    site_id: int,
    actor: UUID | None,
    *,
    at: datetime,
    additional: Sequence[Event] = (),
    alone: bool = False,
) -> Profile:
    """The profile of the visitor that this actor belongs to, true of every committed event.

    `additional` counts as if it had happened after everything else, oldest first, and is written
    nowhere. An unknown actor, or None, is somebody of whom nothing else is known. `alone`: only
    what this anonymous actor's own device sent counts, whoever it is joined to; that is not kept.
    """
    model, learned = models.live(connection, site_id), learned_models.live(connection, site_id)
    parameters = _parameters(model, learned, actor, at) | {"alone": alone}
    if actor and not additional:
        kept = _kept(connection, parameters, learned)
        if kept is not None:
            STORED.inc()
            return kept
    MADE.inc()
    found = _read(connection, parameters) if actor else None
    happened = [*_imagined(additional), *_decoded(found)]
    made, complete = _make(connection, model, happened, _bought(found), at)
    profile = replace(
        made,
        visitor_id=found.visitor_id if found else None,
        taste=_taste(connection, learned, made) if learned else None,
        learned=learned,
    )
    if found and found.known and not found.apart and not additional:
        _store(connection, model, profile, found.fingerprint if complete else None, at)
    return profile


def forget(connection: Connection, site_id: int, *, made_before: datetime) -> None:
    """Drop the kept profiles made before then; who asks for one has it made anew."""
    after: UUID | None = _FIRST
    while after is not None:
        parameters = {"site_id": site_id, "after": after, "made_before": made_before}
        row = connection.execute(SQL.forget, parameters | {"limit": FORGOTTEN_AT_ONCE}).fetchone()
        after = row[0] if row else None


def event_vectors(
    connection: Connection, model: Model, events: Sequence[Told]
) -> list[Vector | None]:
    """What each of a profile's events stands for in the model's space; explanations ask."""
    ids = {product_id for one in events for product_id in one.product_ids}
    products, _ = _products(connection, model, ids, ids)
    texts = {one.query for one in events if one.query is not None}
    searched = _queries(connection, model, texts)
    return [event_vector(one, products, searched) for one in events]


def looked_at(
    connection: Connection, learned: Learned, events: Sequence[Told]
) -> tuple[taste.Looked, list[int]]:
    """What the learned model looks at of a profile's events, newest first, and the number of each
    among `events`; explanations ask."""
    ids = {product_id for one in events for product_id in one.product_ids}
    listed = records.numbers(connection, learned.model.site_id, ids)
    numbers = {one.product_id: one.product_no for one in listed}
    known = learned_models.vectors(connection, learned, numbers.values())
    products = {p: known[number] for p, number in numbers.items() if number in known}
    raw = queries.vectors(
        connection, learned.model.site_id, {one.query for one in events if one.query is not None}
    )
    made = learned.network.of_texts(np.stack(list(raw.values()))) if raw else ()
    return taste.looked(events, products, dict(zip(raw, made, strict=True)))


def interests(profile: Profile) -> dict[str, Any]:
    """Interest tags, price affinity and the events behind them, as the API shows them."""
    contents = profile.contents
    shown: dict[str, Any] = msgspec.to_builtins(
        {
            "tags": [_tag(one, contents.events) for one in contents.interests],
            "price": contents.price,
            "events": contents.events,
        }
    )
    return shown


def _tag(interest: Interest, events: Sequence[Told]) -> dict[str, Any]:
    shown = msgspec.structs.asdict(interest)
    return shown | {"event_ids": [events[place].event_id for place in shown.pop("behind")]}


# reading ----------------------------------------------------------------------------------------

_CONTENTS = msgspec.json.Decoder(Contents)
_HAPPENED = msgspec.json.Decoder(list[Happened])
_BOUGHT = msgspec.json.Decoder(list[tuple[str, datetime]])


def _parameters(
    model: Model, learned: Learned | None, actor: UUID | None, at: datetime
) -> dict[str, Any]:
    return {
        "site_id": model.site_id,
        "actor": actor,
        "at": at,
        "model_id": model.model_id,
        "learned_id": learned.model_id if learned else 0,
        "recipe": RECIPE,
        "most_events": MOST_EVENTS,
        "most_purchases": MOST_PURCHASES,
        "most_bought": MOST_BOUGHT,
    }


def _kept(
    connection: Connection, parameters: dict[str, Any], learned: Learned | None
) -> Profile | None:
    # Binary, because a vector of 384 numbers as text takes longer to read than to search with.
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(KEPT, parameters).fetchone()
    if row is None:
        return None
    visitor_id, data, *vectors = row
    vector, known_taste = (None if one is None else one.to_numpy() for one in vectors)
    return Profile(visitor_id, vector, known_taste, learned, _CONTENTS.decode(data))


def _read(connection: Connection, parameters: dict[str, Any]) -> _Read:
    row = connection.execute(READ, parameters).fetchone()
    assert row is not None, "the statement always gives one row"
    found = _Read(*row)
    return _own(connection, parameters, found) if found.apart else found


def _own(connection: Connection, parameters: dict[str, Any], found: _Read) -> _Read:
    row = connection.execute(OWN, parameters).fetchone()
    assert row is not None, "the statement always gives one row"
    return found._replace(visitor_id=parameters["actor"], happened=row[0], bought=row[1])


def _decoded(found: _Read | None) -> list[Happened]:
    return _HAPPENED.decode(found.happened) if found and found.happened else []


def _bought(found: _Read | None) -> list[tuple[str, datetime]]:
    return _BOUGHT.decode(found.bought) if found and found.bought else []


def _imagined(additional: Sequence[Event]) -> Iterable[Happened]:
    """Newest first, as everything here; impressions would not count either."""
    for number, event in reversed(list(enumerate(additional))):
        if event.type not in IMPRESSIONS:
            yield Happened(
                event_id=f"additional/{number}",
                occurred_at=event.occurred_at,
                type=event.type,
                product_ids=event.product_ids,
                group_ids=event.product_group_ids,
                query=(event.search or {}).get("keywords"),
                category=event.category,
                duration=event.duration,
                rating=event.rating,
            )


# making -----------------------------------------------------------------------------------------


def _make(
    connection: Connection,
    model: Model,
    happened: Sequence[Happened],
    bought: Sequence[tuple[str, datetime]],
    at: datetime,
) -> tuple[Profile, bool]:
    """The profile, and whether all it is made of had a vector."""
    happened = _with_variants(connection, model.site_id, happened)
    counted = telling(happened, at)
    telling_ids = {p for event, _ in counted for p in event.product_ids[:MAX_PRODUCTS]}
    ids = telling_ids | _recent(happened) | {product_id for product_id, _ in bought}
    products, all_encoded = _products(connection, model, ids, telling_ids, _priced(happened))
    texts = {text for event, _ in counted if (text := query_of(event))}
    searched = _queries(connection, model, texts)
    made = contents(happened, counted, bought, products, _market(connection, model, products))
    vector = interest_vector(made.events, products, searched)
    complete = all_encoded and len(products) == len(ids) and len(searched) == len(texts)
    return Profile(vector=vector, contents=made), complete


def _taste(connection: Connection, learned: Learned, made: Profile) -> Vector | None:
    looked, _ = looked_at(connection, learned, made.contents.events)
    return learned.network.visitor(looked.vectors, looked.kinds) if len(looked.kinds) else None


def _recent(happened: Iterable[Happened]) -> set[str]:
    """The last products of all events, more than are kept as touched: some may be unknown."""
    recent: dict[str, None] = {}
    for event in happened:
        recent.update(dict.fromkeys(event.product_ids))
        if len(recent) >= MOST_RECENT:
            break
    return set(recent)


def _with_variants(
    connection: Connection, site_id: int, happened: Sequence[Happened]
) -> Sequence[Happened]:
    """Events of whole groups, told as events of all their products."""
    groups = {group_id for event in happened for group_id in event.group_ids or ()}
    if not groups:
        return happened
    variants = records.variants(connection, site_id, groups)
    return [
        event._replace(
            product_ids=[
                *event.product_ids,
                *(v.product_id for group_id in event.group_ids or () for v in variants[group_id]),
            ]
        )
        for event in happened
    ]


def _priced(happened: Iterable[Happened]) -> set[str]:
    """The last products of all events that prices are compared of."""
    priced: dict[str, None] = {}
    for event in happened:
        priced.update(dict.fromkeys(event.product_ids[:MAX_PRODUCTS]))
        if len(priced) >= MAX_TOUCHED:
            break
    return set(list(priced)[:MAX_TOUCHED])


def _market(connection: Connection, model: Model, products: dict[str, Known]) -> clusters.Prices:
    some = {one.cluster for one in products.values() if one.cluster is not None}
    priced = any(one.price for one in products.values())
    return clusters.prices(connection, model.site_id, some) if priced else {}


def _products(
    connection: Connection,
    model: Model,
    ids: Iterable[str],
    telling_ids: set[str],
    priced: Collection[str] = (),
) -> tuple[dict[str, Known], bool]:
    """The products by id, and whether each of those that shape the vector has its own."""
    wanted = [
        {"product_id": p, "telling": p in telling_ids, "priced": p in priced} for p in sorted(ids)
    ]
    if not wanted:
        return {}, True
    statement = SQL.fill("products", vectors=model.vectors)
    parameters = {"site_id": model.site_id, "wanted": database.jsonb(wanted)}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(statement, parameters).fetchall()
    products = {row[0]: _known(*row) for row in rows}
    return products, not any(row[2] for row in rows)


def _known(
    product_id: str,
    product_no: int,
    pending: bool,
    vector: Any,
    price: float | None,
    currency: str | None,
    cluster: int | None,
    about: str | None,
) -> Known:
    offered = Known(product_id, product_no, price=price, currency=currency or "", cluster=cluster)
    if about is None:
        return offered
    title, brand, tags, categories, style, fields, custom = msgspec.json.decode(about)
    return replace(
        offered,
        vector=None if vector is None else vector.to_numpy(),
        title=title,
        brand=brand,
        tags=tags or [],
        categories=[path if isinstance(path, list) else [path] for path in categories or []],
        style=style,
        attributes=names.attributes(fields, custom),
    )


def _queries(connection: Connection, model: Model, texts: Iterable[str]) -> dict[str, Vector]:
    raw = queries.vectors(connection, model.site_id, texts)
    if not raw:
        return {}
    return dict(zip(raw, model.transform(np.stack(list(raw.values()))), strict=True))


def _store(
    connection: Connection,
    model: Model,
    profile: Profile,
    fingerprint: UUID | None,
    at: datetime,
) -> None:
    parameters = {
        "site_id": model.site_id,
        "visitor_id": profile.visitor_id,
        "fingerprint": fingerprint,
        "model_id": model.model_id,
        "at": at,
        "data": msgspec.json.encode(profile.contents).decode(),
        "vector": profile.vector,
        "taste": profile.taste,
    }
    # On a full disk it is made again for each list.
    with contextlib.suppress(psycopg.errors.DiskFull):
        connection.execute(SQL.store, parameters)
