"""Proposals by nearness to a vector, for the strategies that have one."""

from __future__ import annotations

from ranking.catalog import nearest
from ranking.catalog.nearest import Vector
from ranking.question import Candidate, Question
from ranking.strategies import popular
from schemas.database import Connection


def candidates(
    connection: Connection, question: Question, vector: Vector, part: str
) -> list[Candidate]:
    """The nearest products, the named part being their nearness from 0 to 1, filled up by
    popularity where too few have a vector."""
    neighbours = nearest.nearest(
        connection,
        question.live_model,
        vector,
        question.where(nearest.ALIAS),
        question.limit,
        question.excluded,
    )
    found = [
        Candidate(one.product_no, one.product_id, one.group_key, {part: share(one.similarity)})
        for one in neighbours
    ]
    return popular.filled(connection, question, found)


def share(similarity: float) -> float:
    """A cosine from 0 (opposite) to 1 (the same); rounding in the index may exceed it."""
    return min(1.0, max(0.0, (1.0 + similarity) / 2.0))
