"""What we answered: one row each, so that what happens next can be put down to it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ranking.catalog.records import int_array
from ranking.question import Candidate, Question
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)


def record(connection: Connection, question: Question, candidates: Sequence[Candidate]) -> UUID:
    """Write the row and return its id. Serving connections do not wait for the disk here."""
    miso_id = new_id(question.at)
    connection.execute(
        SQL.record,
        {
            "site_id": question.site_id,
            "at": question.at,
            "miso_id": miso_id,
            "actor_id": question.actor,
            "endpoint": question.endpoint or question.strategy,
            "model_id": question.model.model_id if question.model else None,
            "product_nos": int_array(one.product_no for one in candidates),
            "scores": f"{{{','.join(repr(one.score) for one in candidates)}}}",
        },
    )
    return miso_id


def new_id(at: datetime) -> UUID:
    """A version 7 id (RFC 9562) of that instant, so that an answer's id finds its partition."""
    milliseconds = int(at.timestamp() * 1000)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62
    return UUID(int=value | secrets.randbits(62))
