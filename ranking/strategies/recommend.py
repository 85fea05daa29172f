"""What may interest this visitor: the products nearest to what their events stand for, and those
that others took in the same sessions."""

from __future__ import annotations

from heapq import nlargest

import numpy as np

from ranking.question import Candidate, Question
from ranking.strategies import beside, learned, mixing, near, popular
from ranking.strategies.beside import Beside
from ranking.strategies.mixing import Floats
from schemas.database import Connection

PART = learned.PART
# In points of cosine, for the most popular product. .25 was better where nothing else is known,
# .1 where neighbours are (docs/decisions.md).
POPULARITY = 0.15
# How neighbours and cosines are added, see `mixing.added`. All three were chosen on three weeks of
# Online Retail before its test cut (`python -m bench neighbours`).
NEIGHBOURS, TEMPERATURE = 4.0, 0.15
MORE = mixing.most(NEIGHBOURS, TEMPERATURE)


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """By the learned model where one is live, else by interest, by what others took beside the
    same products, and a little by popularity; for somebody unknown by popularity alone."""
    if learned.serves(question):
        return learned.candidates(connection, question)
    proposed = {one.product_no: one for one in _near(connection, question)}
    others = beside.beside(connection, question)
    likeness = np.array([_likeness(one) for one in others])
    more = added(likeness - 1.0, np.array([one.share for one in others]))
    lift, most = question.new_lift, whole(question.new_lift)
    points = [_points(one, adds, lift) for one, adds in zip(others, more.tolist(), strict=True)]
    # Only those that may be listed are worth the names of their parts.
    for one, of_one in nlargest(question.limit, zip(others, points, strict=True), key=_whole):
        parts = mixing.scaled(of_one, most)
        proposed[one.product_no] = Candidate(one.product_no, one.product_id, one.group_key, parts)
    return popular.filled(connection, question, mixing.best(proposed, question.limit))


def alone(connection: Connection, question: Question) -> list[Candidate]:
    """By interest alone, for products that nobody took beside others yet."""
    if learned.serves(question):
        return learned.candidates(connection, question)
    return popular.filled(connection, question, _near(connection, question))


def _near(connection: Connection, question: Question) -> list[Candidate]:
    vector = question.visitor.vector
    if vector is None:
        return []
    return near.found(
        connection,
        question,
        vector,
        PART,
        popularity=POPULARITY,
        fresh=fresh(question.new_lift),
        more=MORE,
    )


def whole(lift: float) -> float:
    """What the parts of one product can come to, in points of cosine."""
    return near.COSINES + POPULARITY + fresh(lift) + MORE


def fresh(lift: float) -> float:
    """What lifting new products by so many logits is in points of cosine."""
    return TEMPERATURE * lift


def added(cosines: Floats, shares: Floats) -> Floats:
    """What shares of what others took add to cosines."""
    return mixing.added(cosines, shares, weight=NEIGHBOURS, temperature=TEMPERATURE)


def _points(one: Beside, adds: float, lift: float) -> dict[str, float]:
    """What each reason comes to, in points of cosine."""
    told = {} if one.similarity is None else {PART: _likeness(one)}
    told[beside.PART] = adds
    return told | near.asked_for(one.popular, one.new_share, POPULARITY, fresh(lift))


def _whole(told: tuple[Beside, dict[str, float]]) -> float:
    return sum(told[1].values())


def _likeness(one: Beside) -> float:
    """From 0 to near.COSINES. What has no vector counts as unlike as can be."""
    return 0.0 if one.similarity is None else near.COSINES * near.share(one.similarity)
