"""Visitors as they may be shown to somebody: under an id they were sent under, with what is kept of
them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from ranking.catalog.models import Model
from ranking.visitors.interests import Contents, Vector
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# Joins to each row of `v` the id that its visitor was sent under.
NAMED = sql.SQL(SQL.named)

_CONTENTS = msgspec.json.Decoder(Contents)


class Person(NamedTuple):
    """`vector` is their profile's; `kind` ("user" or "anonymous") and `sent_id` name them."""

    contents: Contents
    vector: Vector
    kind: str
    sent_id: str


def people(connection: Connection, model: Model, visitors: Collection[UUID]) -> dict[UUID, Person]:
    """Those of the visitors that have a profile of this model with a vector."""
    where = {"site_id": model.site_id, "model_id": model.model_id, "visitors": list(visitors)}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(SQL.fill("people", named=NAMED), where).fetchall()
    return {
        visitor: Person(_CONTENTS.decode(data), vector.to_numpy(), kind, sent_id)
        for visitor, data, vector, kind, sent_id in rows
    }
