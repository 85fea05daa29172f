"""What the visitor touched lately, newest first; never filled up with anything else."""

from __future__ import annotations

from ranking.catalog.records import int_array
from ranking.question import Candidate, Question
from ranking.strategies import popular
from ranking.visitors.interests import STEP
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """The touched products that can still be bought; each step back is worth less."""
    touched = question.visitor.contents.touched
    if not touched:
        return []
    filter = question.where(popular.ALIAS)
    parameters = {
        "site_id": question.site_id,
        "touched": int_array(touched),
        "excluded": int_array(question.excluded),
        "limit": question.limit,
        **filter.params,
    }
    rows = connection.execute(SQL.fill("touched", filter=filter.where), parameters)
    return [
        Candidate(no, product_id, group_key, {"recency": STEP**position})
        for position, (no, product_id, group_key) in enumerate(rows)
    ]
