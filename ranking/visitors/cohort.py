"""What people like that have something in common, for a visitor of whom nothing else is known:
users by fields of their records, {"country": "United States", "gender": "Female"}.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import numpy as np

from ranking.catalog.models import Model
from ranking.visitors import profile
from ranking.visitors.identity import actor_id
from ranking.visitors.interests import NEGLIGIBLE, Vector
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

SAMPLE = 500  # people
# Of fewer people with a taste nothing is shown, so that nobody can ask for one person's.
LEAST = 5
ENOUGH = 20  # profiles; where fewer are kept some are made
KNOWN_S = 60.0
MOST_KNOWN = 1000

PART = "cohort"  # of a score, in place of the visitor's own interest

Cohort = tuple[tuple[str, str | bool], ...]  # (field of the user's record, value)

_remembered: dict[tuple[str, int, int, Cohort], tuple[float, Vector | None]] = {}


def vector(connection: Connection, model: Model, cohort: Cohort, at: datetime) -> Vector | None:
    """The mean direction of what they like, of unit length; a minute old at most. None where too
    few like anything."""
    key = (connection.info.dbname, model.site_id, model.model_id, cohort)
    known = _remembered.get(key)
    if known and known[0] > time.monotonic():
        return known[1]
    found = _mean(_tastes(connection, model, cohort, at))
    if len(_remembered) >= MOST_KNOWN:
        _remembered.clear()
    _remembered[key] = (time.monotonic() + KNOWN_S, found)
    return found


def _mean(tastes: Sequence[Vector]) -> Vector | None:
    if len(tastes) < LEAST:
        return None
    total = np.stack(tastes).sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    return (total / length).astype(np.float32) if length > NEGLIGIBLE else None


def _tastes(connection: Connection, model: Model, cohort: Cohort, at: datetime) -> list[Vector]:
    actors = list(_actors(connection, model.site_id, cohort))
    parameters = {"site_id": model.site_id, "actors": actors, "model_id": model.model_id}
    with connection.cursor(binary=True) as cursor:
        kept = dict(cursor.execute(SQL.tastes, parameters).fetchall())
    found = [taste.to_numpy() for taste in kept.values() if taste is not None]
    # Whoever never asked for a list has no profile yet.
    for actor in [one for one in actors if one not in kept][: max(0, ENOUGH - len(found))]:
        made = profile.current(connection, model.site_id, actor, at=at)
        if made.vector is not None:
            found.append(made.vector)
    return found


def _actors(connection: Connection, site_id: int, cohort: Cohort) -> Iterator[UUID]:
    fields = [{"name": name, "path": name.split(".", 1), "value": value} for name, value in cohort]
    parameters = {"site_id": site_id, "fields": database.jsonb(fields), "sample": SAMPLE}
    people = connection.execute(SQL.people, parameters).fetchall()
    row = connection.execute(SQL.pepper, {"site_id": site_id}).fetchone()
    assert row is not None, "there is no site without a row"
    return (actor_id(row[0], "user", user_id) for (user_id,) in people)
