"""What is rising now: recent events count more, with the half-life popularity is kept with."""

from __future__ import annotations

from ranking.question import Candidate, Question
from ranking.strategies import popular
from schemas.database import Connection


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """By trend, then by popularity, then others."""
    found = popular.most(connection, question, "trending")
    return popular.filled(connection, question, found)
