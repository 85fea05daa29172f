"""Products by the learned model, what others took in the same sessions and likeness of texts: how
likely each is to be the visitor's next. `recommend` asks where such a model is live for the site
and knows something of the visitor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from ranking.catalog import nearest
from ranking.catalog.learned import DIMENSION, WIDTH
from ranking.catalog.learned_models import Learned
from ranking.catalog.nearest import Vector
from ranking.catalog.records import int_array
from ranking.question import Candidate, Question
from ranking.strategies import beside, mixing, popular
from ranking.strategies.mixing import Reasons
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

STRATEGIES = frozenset(("recommend", "feed"))
PART, TEXT = "interest", "text"

POOL = 100  # of the nearest; deeper ones changed no list, see `near.POOL`
BIAS_AXIS = np.eye(DIMENSION, dtype=np.float32)[WIDTH]
# Scores a thousand times apart are as far apart as variety counts.
FURTHEST = float(np.log(1000))


class Named(NamedTuple):
    """A product that something speaks for: its share of what others took, its logit, its bias,
    its cosine to the visitor's texts; None where there is none."""

    product_no: int
    product_id: str
    group_key: int
    share: float | None
    logit: float | None
    bias: float | None
    cosine: float | None


def serves(question: Question) -> bool:
    """Whether it is the learned model that answers."""
    return question.learned is not None and question.visitor.taste is not None


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """The likeliest products, filled up by popularity where nothing speaks for enough of them.

    A score is a share from 0 to 1 of what is likely, the sum of "interest" (what the model says of
    visitor and product), "popularity" (what it says of the product alone) or, where it has no
    history, "new", "neighbours" (what others took) and "text" (likeness), see `mixing.shared`.
    """
    model, taste = question.learned, question.visitor.taste
    assert model is not None and taste is not None, "serves() has seen both"
    vector = np.append(taste, np.float32(1)).astype(np.float32)
    near = nearest.nearest(
        connection,
        model.model,
        vector,
        question.where(nearest.ALIAS),
        max(POOL, question.limit),
        question.excluded,
    )
    # What earlier pages were given still counts, so that shares are of the same whole on all pages.
    given = set(question.before.given)
    numbers = [*(one.product_no for one in near), *given]
    named = _named(connection, question, model, vector, numbers)
    near_ones = set(numbers)
    likeliest = sorted(
        (one for one in named if one.product_no in near_ones and one.logit is not None),
        key=lambda one: (-(one.logit or 0.0), one.product_no),
    )
    counted = {one.product_no for one in likeliest[:POOL]}
    scored = _scored(named, counted, model, question, question.limit + len(given))
    new = {one.product_no: one for one in scored if one.product_no not in given}
    best = mixing.best(new, question.limit)
    return popular.filled(connection, question, best)


def _named(
    connection: Connection, question: Question, model: Learned, vector: Vector, near: Sequence[int]
) -> list[Named]:
    filter = question.where(popular.ALIAS)
    parameters = {
        **beside.parameters(question),
        "near": int_array(near),
        "visitor": vector,
        "axis": BIAS_AXIS,
        "vector": question.visitor.vector,
        **filter.params,
    }
    texts = question.live_model
    statement = SQL.filled(
        "named",
        (model.model.vectors_table, texts.vectors_table, filter.where.as_bytes()),
        lambda: {
            "told": sql.SQL(beside.SQL.told),
            "learned": model.model.vectors,
            "vectors": texts.vectors,
            "filter": filter.where,
        },
    )
    # One plan does for every filter: it goes from the few in `named` to their rows.
    rows = connection.execute(statement, parameters)
    return [Named(*row) for row in rows]


def _scored(
    named: Sequence[Named], counted: set[int], model: Learned, question: Question, most: int
) -> list[Candidate]:
    """The `most` likeliest, in no order."""
    told = Reasons(
        logits=_column([one.logit for one in named], -np.inf),
        biases=_column([one.bias for one in named], 0.0),
        shares=_column([one.share for one in named], 0.0),
        cosines=_column([one.cosine for one in named], -np.inf),
        counted=np.array([one.product_no in counted for one in named], bool),
    )
    parts = mixing.shared(told, model.network.mix, question.new_lift)
    whole = np.sum(list(parts.values()), axis=0)
    numbers = [one.product_no for one in named]
    return [
        Candidate(
            one.product_no,
            one.product_id,
            one.group_key,
            _told(one, {name: float(values[at]) for name, values in parts.items()}),
            relevant=bool(one.share) or (one.logit or 0.0) > (one.bias or 0.0),
        )
        for at in np.lexsort((numbers, -whole))[:most].tolist()
        for one in [named[at]]
    ]


def _column(values: Sequence[float | None], missing: float) -> Any:
    return np.array([missing if one is None else one for one in values], np.float32)


def _told(one: Named, parts: dict[str, float]) -> dict[str, float]:
    """Under the names that people read; what says nothing of this product is left out."""
    told = {
        PART: parts["interest"],
        "popularity" if one.bias else "new": parts["history"],
    }
    if one.share:
        told[beside.PART] = parts["neighbours"]
    if one.cosine is not None and parts["text"]:
        told[TEXT] = parts["text"]
    return told


def comparable(scores: Sequence[float]) -> list[float]:
    """Scores as variety weighs them against likeness, from 0 to 1: shares lie a hundred times
    apart, and what matters between two is how many times."""
    most = max(scores, default=0.0)
    if most <= 0:
        return list(scores)
    apart = np.log(np.maximum(np.asarray(scores) / most, np.exp(-FURTHEST)))
    return [float(one) for one in 1.0 + apart / FURTHEST]
