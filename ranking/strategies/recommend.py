"""What may interest this visitor: the products nearest to what their events stand for."""

from __future__ import annotations

from ranking.question import Candidate, Question
from ranking.strategies import learned, near, popular
from schemas.database import Connection

PART = learned.PART
# In points of cosine, for the most popular product. Chosen on three weeks of Online Retail before
# its test cut, where .2 to .3 were as good; more costs new products and coverage.
POPULARITY = 0.25


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """By the learned model where one is live, else by interest and a little by popularity; for
    somebody unknown by popularity alone."""
    if learned.serves(question):
        return learned.candidates(connection, question)
    vector = question.visitor.vector
    if vector is None:
        return popular.candidates(connection, question)
    return near.candidates(connection, question, vector, PART, popularity=POPULARITY)
