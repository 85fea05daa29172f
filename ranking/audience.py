"""Whom a product may interest: lists the other way round, for a letter or a campaign.

From the profiles that are kept, each as of the last list its visitor was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import numpy as np

from ranking.catalog import models, nearest, records
from ranking.catalog.models import Model
from ranking.catalog.nearest import Vector
from ranking.question import UnknownProducts
from ranking.strategies import near
from ranking.visitors import profile
from ranking.visitors.interests import NEGLIGIBLE, Contents
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MOST_REASONS = 3
MORE_EACH_TRY = 4
LEAST_SHARE = 0.005

_CONTENTS = msgspec.json.Decoder(Contents)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which products, how many people at most, known since when; `buyers`: also who has bought
    one of the products already."""

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
    limit = asked.rows
    while True:
        near_it = _nearest(connection, model, asked, vector, limit)
        fans = _fans(connection, asked, near_it, numbers)
        if len(fans) >= asked.rows or len(near_it) < limit:
            return _told(connection, model, vector, fans[: asked.rows])
        limit *= MORE_EACH_TRY


def _mean(vectors: dict[int, Vector]) -> Vector | None:
    if not vectors:
        return None
    mean: Vector = np.mean(np.stack(list(vectors.values())), axis=0, dtype=np.float32)
    return mean / max(float(np.linalg.norm(mean)), NEGLIGIBLE)


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


_Fan = tuple[str, str, float, Contents]


def _fans(
    connection: Connection,
    asked: Asked,
    near_it: Sequence[tuple[UUID, float]],
    numbers: frozenset[int],
) -> list[_Fan]:
    parameters = {"site_id": asked.site_id, "visitors": [visitor for visitor, _ in near_it]}
    rows = connection.execute(SQL.known, parameters)
    known = {
        visitor: (kind, sent_id, _CONTENTS.decode(data)) for visitor, data, kind, sent_id in rows
    }
    return [
        (kind, sent_id, similarity, contents)
        for visitor, similarity in near_it
        if visitor in known
        for kind, sent_id, contents in [known[visitor]]
        if asked.buyers or numbers.isdisjoint(number for number, _ in contents.bought)
    ]


def _told(connection: Connection, model: Model, vector: Vector, fans: Sequence[_Fan]) -> list[Fan]:
    """With reasons; what all their events stand for is read at once."""
    events = [event for *_, contents in fans for event in contents.events]
    vectors = iter(profile.event_vectors(connection, model, events))
    told = []
    for kind, sent_id, similarity, contents in fans:
        # As many of the vectors as there are events; the rest are the next ones'.
        weighted = [
            np.zeros_like(vector) if each is None else event.weight * each
            for event, each in zip(contents.events, vectors, strict=False)
        ]
        length = float(np.linalg.norm(np.sum(weighted, axis=0))) or 1.0
        shares = [float(each @ vector) / length for each in weighted]
        because = [
            msgspec.to_builtins(contents.events[at]) | {"share": shares[at]}
            for at in np.argsort([-share for share in shares])[:MOST_REASONS]
            if shares[at] > LEAST_SHARE
        ]
        told.append(Fan(kind, sent_id, near.share(similarity), because))
    return told
