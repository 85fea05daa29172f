"""Proposals by nearness to a vector, for the strategies that have one."""

from __future__ import annotations

from ranking.catalog import nearest
from ranking.catalog.nearest import Neighbour, Vector
from ranking.question import Candidate, Question
from ranking.strategies import popular
from schemas.database import Connection

# How many of the nearest popularity chooses from; 100 to 400 gave the same lists' quality. As many
# as the index keeps (200) would make it search again whenever one of them may not be shown.
POOL = 100


def candidates(
    connection: Connection,
    question: Question,
    vector: Vector,
    part: str,
    *,
    popularity: float = 0.0,
) -> list[Candidate]:
    """The nearest products, filled up by popularity where too few have a vector.

    The named part is their nearness. With `popularity` they have a second one, "popularity" or,
    without any history, "new": at most so much for each point of cosine. A score is from 0 to 1.
    """
    neighbours = nearest.nearest(
        connection,
        question.live_model,
        vector,
        question.where(nearest.ALIAS),
        question.limit,
        question.excluded,
        prior=popularity,
        pool=POOL,
    )
    found = [
        Candidate(
            one.product_no,
            one.product_id,
            one.group_key,
            _parts(one, part, popularity),
            relevant=one.similarity > 0,
        )
        for one in neighbours
    ]
    return popular.filled(connection, question, found)


def _parts(one: Neighbour, part: str, popularity: float) -> dict[str, float]:
    """cosine + popularity · share, moved and scaled into 0 to 1."""
    scale = 2.0 + popularity
    parts = {part: share(one.similarity) * 2.0 / scale}
    if popularity and one.share is not None:
        parts["popularity"] = popularity * min(1.0, one.share) / scale
    elif popularity and one.new_share:
        parts["new"] = popularity * one.new_share / scale
    return parts


def share(similarity: float) -> float:
    """A cosine from 0 (opposite) to 1 (the same); rounding in the index may exceed it."""
    return min(1.0, max(0.0, (1.0 + similarity) / 2.0))
