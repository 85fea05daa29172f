"""What may interest this visitor: the products nearest to what their events stand for."""

from __future__ import annotations

from ranking.question import Candidate, Question
from ranking.strategies import near, popular
from schemas.database import Connection

PART = "interest"


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """By interest; for somebody unknown by popularity."""
    if question.visitor.vector is None:
        return popular.candidates(connection, question)
    return near.candidates(connection, question, question.visitor.vector, PART)
