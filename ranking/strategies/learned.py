"""Products by the learned model: how likely each is to be the visitor's next. `recommend` asks
where such a model is live for the site and knows something of the visitor."""

from __future__ import annotations

import numpy as np

from ranking.catalog import learned_models, nearest
from ranking.catalog.learned import WIDTH
from ranking.catalog.nearest import Neighbour
from ranking.question import Candidate, Question
from ranking.strategies import popular
from schemas.database import Connection

STRATEGIES = frozenset(("recommend", "feed"))
PART = "interest"

# Logits from a score of 0 to one of 1, and those of them that popularity takes. What lies beyond
# counts as much as the end.
REACH = 40.0
POPULAR_REACH = 12.0


def serves(question: Question) -> bool:
    """Whether it is the learned model that answers."""
    return question.learned is not None and question.visitor.taste is not None


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """The likeliest products, filled up by popularity where too few have a vector.

    The part "interest" is the inner product of visitor and product; "popularity" the product's own
    bias, or "new", where it has no history, none; both scaled so that a score is from 0 to 1.
    """
    model, visitor = question.learned, question.visitor.taste
    assert model is not None and visitor is not None, "serves() has seen both"
    found = nearest.nearest(
        connection,
        model.model,
        np.append(visitor, np.float32(1)).astype(np.float32),
        question.where(nearest.ALIAS),
        question.limit,
        question.excluded,
    )
    known = learned_models.vectors(connection, model, [one.product_no for one in found])
    chosen = [_candidate(one, float(known[one.product_no][WIDTH])) for one in found]
    return popular.filled(connection, question, chosen)


def _candidate(one: Neighbour, bias: float) -> Candidate:
    return Candidate(
        one.product_no,
        one.product_id,
        one.group_key,
        parts(one.similarity - bias, bias),
        relevant=one.similarity > bias,
    )


def parts(interest: float, bias: float) -> dict[str, float]:
    """A logit's two parts as those of a score."""
    whole = REACH + POPULAR_REACH
    return {
        PART: _within(interest + REACH / 2, REACH) / whole,
        "popularity" if bias else "new": _within(bias + POPULAR_REACH / 2, POPULAR_REACH) / whole,
    }


def _within(logits: float, reach: float) -> float:
    return min(reach, max(0.0, logits))
