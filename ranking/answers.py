"""What we answered: one row each, so that what happens next can be put down to it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from ranking.catalog.records import int_array
from ranking.question import Candidate, Question
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)


# Why a product stands where it does, a letter each in the row.
LETTERS = {"": "r", "boosted": "b", "pinned": "p", "anchored": "a", "explored": "e"}


def record(
    connection: Connection,
    question: Question,
    candidates: Sequence[Candidate],
    *,
    is_list: bool = True,
) -> UUID:
    """Write the row and return its id. Serving connections do not wait for the disk here.
    `is_list`: its order is that in which they are shown."""
    put = "".join(LETTERS[one.put] for one in candidates)
    explored = "e" in put
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
            "scores": _reals(one.score for one in candidates),
            "first_place": question.start if is_list else None,
            "put": put if put.strip("r") else None,
            "propensities": _reals(one.chance for one in candidates) if explored else None,
        },
    )
    return miso_id


def _reals(numbers: Iterable[float]) -> str:
    return f"{{{','.join(repr(one) for one in numbers)}}}"


def new_id(at: datetime) -> UUID:
    """A version 7 id (RFC 9562) of that instant, so that an answer's id finds its partition."""
    milliseconds = int(at.timestamp() * 1000)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62
    return UUID(int=value | secrets.randbits(62))
