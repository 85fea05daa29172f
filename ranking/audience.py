"""Whom a product may interest: lists the other way round, for a letter or a campaign.

From the profiles that are kept, each as of the last list its visitor was given. Who only sent
events has none: of those who did something with the products or their like, some are made first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import psycopg

from ranking.catalog import models, nearest, records
from ranking.catalog.models import Model
from ranking.catalog.nearest import Vector
from ranking.merchandising import filters
from ranking.question import UnknownProducts
from ranking.strategies import near
from ranking.visitors import profile
from ranking.visitors.interests import NEGLIGIBLE
from ranking.visitors.people import Person, people
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

NEIGHBOURS = 200  # products, whose visitors may like what these are about
LOOKED_AT = 50_000  # newest events of the site
# A profile takes some 3 ms; the next request makes others.
MOST_MADE, MAKING_S = 200, 1.0

MOST_REASONS = 3
MORE_EACH_TRY = 4
LEAST_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class Asked:
    """Which products, how many people at most, seen since when (by a list or an event); `buyers`:
    also who has bought one of the products already."""

    site_id: int
    product_ids: Sequence[str]
    at: datetime
    rows: int
    days: int
    buyers: bool = False


@dataclass(frozen=True, slots=True)
class Fan:
    """Somebody by the id they were sent under ("user" or "anonymous"); score from 0 to 1, and the
    events that speak for the products, each with what it adds to the cosine."""

    kind: str
    sent_id: str
    score: float
    because: list[dict[str, Any]]


def audience(connection: Connection, asked: Asked) -> list[Fan]:
    """Those who lean to the products most, best first. Raises UnknownProducts."""
    model = models.live(connection, asked.site_id)
    found = records.numbers(connection, asked.site_id, asked.product_ids)
    if not found:
        raise UnknownProducts("none of these products is in the catalog")
    numbers = frozenset(one.product_no for one in found)
    vector = _mean(nearest.vectors(connection, model, numbers))
    if vector is None or not asked.rows:
        return []
    with suppress(psycopg.errors.QueryCanceled):  # then of those who are known
        _make_profiles(connection, model, asked, vector)
    limit = asked.rows
    while True:
        near_it = _nearest(connection, model, asked, vector, limit)
        fans = _fans(connection, model, asked, near_it, numbers)
        if len(fans) >= asked.rows or len(near_it) < limit:
            return _told(connection, model, vector, fans[: asked.rows])
        limit *= MORE_EACH_TRY


def _mean(vectors: dict[int, Vector]) -> Vector | None:
    if not vectors:
        return None
    mean: Vector = np.mean(np.stack(list(vectors.values())), axis=0, dtype=np.float32)
    return mean / max(float(np.linalg.norm(mean)), NEGLIGIBLE)


def _make_profiles(connection: Connection, model: Model, asked: Asked, vector: Vector) -> None:
    """Of those who did something with such products since their profile was made, if it ever was:
    those who did most first, as of when they were seen last."""
    everything = filters.compile(filters.everything(), nearest.ALIAS)
    near_it = nearest.nearest(connection, model, vector, everything, NEIGHBOURS)
    parameters = {
        "site_id": asked.site_id,
        "model_id": model.model_id,
        "near": list({*asked.product_ids, *(one.product_id for one in near_it)}),
        "bought": [] if asked.buyers else list(asked.product_ids),
        "since": asked.at - timedelta(days=asked.days),
        "at": asked.at,
        "looked_at": LOOKED_AT,
        "limit": MOST_MADE,
    }
    seen = connection.execute(SQL.seen, parameters).fetchall()
    until = time.monotonic() + MAKING_S
    for actor, seen_at in seen:
        if time.monotonic() > until:
            return
        profile.current(connection, asked.site_id, actor, at=seen_at)


def _nearest(
    connection: Connection, model: Model, asked: Asked, vector: Vector, limit: int
) -> list[tuple[UUID, float]]:
    parameters = {
        "site_id": asked.site_id,
        "model_id": model.model_id,
        "vector": vector,
        "since": asked.at - timedelta(days=asked.days),
        "limit": limit,
    }
    return connection.execute(SQL.nearest, parameters).fetchall()


_Fan = tuple[float, Person]


def _fans(
    connection: Connection,
    model: Model,
    asked: Asked,
    near_it: Sequence[tuple[UUID, float]],
    numbers: frozenset[int],
) -> list[_Fan]:
    known = people(connection, model, [visitor for visitor, _ in near_it])
    return [
        (similarity, known[visitor])
        for visitor, similarity in near_it
        if visitor in known
        if asked.buyers
        or numbers.isdisjoint(number for number, _ in known[visitor].contents.bought)
    ]


def _told(connection: Connection, model: Model, vector: Vector, fans: Sequence[_Fan]) -> list[Fan]:
    """With reasons; what all their events stand for is read at once."""
    events = [event for _, person in fans for event in person.contents.events]
    vectors = iter(profile.event_vectors(connection, model, events))
    told = []
    for similarity, person in fans:
        # As many of the vectors as there are events; the rest are the next ones'.
        weighted = [
            np.zeros_like(vector) if each is None else event.weight * each
            for event, each in zip(person.contents.events, vectors, strict=False)
        ]
        length = float(np.linalg.norm(np.sum(weighted, axis=0))) or 1.0
        shares = [float(each @ vector) / length for each in weighted]
        because = [
            msgspec.to_builtins(person.contents.events[at]) | {"share": shares[at]}
            for at in np.argsort([-share for share in shares])[:MOST_REASONS]
            if shares[at] > LEAST_SHARE
        ]
        told.append(Fan(person.kind, person.sent_id, near.share(similarity), because))
    return told
