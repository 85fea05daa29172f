"""Whose taste is like a visitor's, for a person who looks; never for a page.

No index lies on profiles, so candidates are who did something with the same products lately; those
are compared exactly. From the profiles that are kept, each as of the last list its visitor was
given; of those without one some are made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ranking.catalog import models, records
from ranking.catalog.models import Model
from ranking.strategies import near
from ranking.visitors import profile
from ranking.visitors.interests import Interest
from ranking.visitors.people import Person, people
from ranking.visitors.profile import Profile
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

LOOKED_AT = 50_000  # newest events of the site
CANDIDATES = 200  # those with most in common
# A profile takes some 3 ms; the next request makes others.
MAKING_S = 1.0
SHOWN_PRODUCTS = 10
SHOWN_INTERESTS = 8
# What is in common if it is in common: a word of a title says less than these.
TOLD = ("brand", "category", "style", "tag", "attribute")


@dataclass(frozen=True, slots=True)
class Similar:
    """Somebody by the id they were sent under ("user" or "anonymous"); `score` from 0 to 1 is half
    of one and the cosine of both profiles; what both touched lately, and the interests of both,
    each as strong as in whom it is weaker."""

    kind: str
    id: str
    score: float
    product_ids: list[str]
    interests: list[dict[str, Any]]


def similar_users(
    connection: Connection, site_id: int, actor: UUID, *, at: datetime, limit: int
) -> list[Similar]:
    """Those whose profiles are nearest to this visitor's, best first; none for somebody of whom no
    interest is known. Nobody is like them whose cosine is not above 0."""
    model = models.live(connection, site_id)
    visitor = profile.current(connection, site_id, actor, at=at)
    if visitor.vector is None:
        return []
    shared = _candidates(connection, model, visitor, actor, at)
    _make_profiles(connection, model, list(shared), at)
    return list(_told(visitor, people(connection, model, shared), shared, limit))


def _candidates(
    connection: Connection, model: Model, visitor: Profile, actor: UUID, at: datetime
) -> dict[UUID, list[str]]:
    """By visitor the products that both did something with."""
    ids = records.ids(connection, model.site_id, visitor.contents.touched)
    parameters = {
        "site_id": model.site_id,
        "visitor_id": visitor.visitor_id or actor,
        "product_ids": list(ids.values()),
        "at": at,
        "looked_at": LOOKED_AT,
        "limit": CANDIDATES,
    }
    return dict(connection.execute(SQL.candidates, parameters).fetchall()) if ids else {}


def _make_profiles(
    connection: Connection, model: Model, visitors: Sequence[UUID], at: datetime
) -> None:
    """Of those who have none of this model, who have most in common first."""
    where = {"site_id": model.site_id, "visitors": list(visitors), "model_id": model.model_id}
    kept = {row[0] for row in connection.execute(SQL.kept, where)}
    until = time.monotonic() + MAKING_S
    for visitor in visitors:
        if time.monotonic() > until:
            return
        if visitor not in kept:
            profile.current(connection, model.site_id, visitor, at=at)


def _told(
    visitor: Profile, others: Mapping[UUID, Person], shared: Mapping[UUID, list[str]], limit: int
) -> Iterator[Similar]:
    assert visitor.vector is not None, "who has none is like nobody"
    cosines = {other: float(visitor.vector @ one.vector) for other, one in others.items()}
    for other in sorted(others, key=lambda other: (-cosines[other], str(other)))[:limit]:
        if cosines[other] <= 0:
            return
        one = others[other]
        yield Similar(
            kind=one.kind,
            id=one.sent_id,
            score=near.share(cosines[other]),
            product_ids=shared[other][:SHOWN_PRODUCTS],
            interests=in_common(visitor.contents.interests, one.contents.interests),
        )


def in_common(ours: Sequence[Interest], theirs: Sequence[Interest]) -> list[dict[str, Any]]:
    """The interests of both, each with the lower of both weights (the intersection of histograms:
    Swain and Ballard, "Color Indexing", 1991), strongest first; of categories the deepest."""
    weights = {(one.kind, one.name): one.weight for one in theirs if one.kind in TOLD}
    both = sorted(
        (-min(one.weight, weights[one.kind, one.name]), one.kind, one.name)
        for one in ours
        if (one.kind, one.name) in weights
    )
    shown = [one for one in both if not any(other.startswith(f"{one[2]} > ") for *_, other in both)]
    return [
        {"kind": kind, "name": name, "weight": -weight}
        for weight, kind, name in shown[:SHOWN_INTERESTS]
    ]
