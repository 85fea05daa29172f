"""Proposals by nearness to a vector, for the strategies that have one."""

from __future__ import annotations

from ranking.catalog import nearest
from ranking.catalog.nearest import Neighbour, Vector
from ranking.question import Candidate, Question
from ranking.strategies import mixing, popular
from schemas.database import Connection

# How many of the nearest popularity chooses from; 100 to 400 gave the same lists' quality. As many
# as the index keeps (200) would make it search again whenever one of them may not be shown.
POOL = 100
COSINES = 2.0  # from opposite to the same


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
    some = found(connection, question, vector, part, popularity=popularity)
    return popular.filled(connection, question, some)


def found(
    connection: Connection,
    question: Question,
    vector: Vector,
    part: str,
    *,
    popularity: float = 0.0,
    fresh: float = 0.0,
    more: float = 0.0,
) -> list[Candidate]:
    """The same, not filled up; "new" is `fresh` more, and `more` is what parts that the caller adds
    may come to, in points of cosine too."""
    neighbours = nearest.nearest(
        connection,
        question.live_model,
        vector,
        question.where(nearest.ALIAS),
        question.limit,
        question.excluded,
        prior=popularity,
        fresh=fresh,
        pool=POOL,
    )
    return [
        Candidate(
            one.product_no,
            one.product_id,
            one.group_key,
            _parts(one, part, popularity, fresh, more),
            relevant=one.similarity > 0,
        )
        for one in neighbours
    ]


def _parts(one: Neighbour, part: str, popularity: float, fresh: float, more: float) -> mixing.Parts:
    """cosine + popularity · share, moved and scaled into 0 to 1."""
    points = {part: COSINES * share(one.similarity)}
    if popularity:
        points |= asked_for(one.share, one.new_share, popularity, fresh)
    return mixing.scaled(points, COSINES + popularity + fresh + more)


def asked_for(
    share: float | None, new_share: float | None, most: float, fresh: float = 0.0
) -> dict[str, float]:
    """What a product's share of popularity comes to, `most` for the most popular one; or without
    any history what such products are given, and `fresh` more."""
    if share is not None:
        return {"popularity": most * min(1.0, share)}
    return {"new": most * new_share + fresh} if new_share else {}


def share(similarity: float) -> float:
    """A cosine from 0 (opposite) to 1 (the same); rounding in the index may exceed it."""
    return min(1.0, max(0.0, (1.0 + similarity) / 2.0))
