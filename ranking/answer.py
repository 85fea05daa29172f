"""Lists out: one question, one ranked list with its reasons. Every door and the backtest ask here.

question → profile (fresh) → candidates (hard filters inside) → one per group → page → fields →
explanation → the row that remembers the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from prometheus_client import Counter

from ranking import answers, explain
from ranking.catalog import models, records
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import STRATEGIES
from ranking.visitors import profile
from ranking.visitors.profile import NOBODY, Profile
from schemas import tracing
from schemas.database import Connection

# Recommending these again would be pointless; similar and history have reasons to show them.
WITHOUT_TOUCHED = frozenset(("recommend", "trending", "popular"))
WITHOUT_PROFILE = frozenset(("similar",))
# What answers in place of a strategy that took too long.
FALLBACK = "popular"
FALLBACKS = {"search": "lexical"}
WITHOUT_FALLBACK = frozenset((FALLBACK, "history", "lexical"))
MORE_EACH_TRY = 4

ANSWERS = Counter(
    "attune_answers",
    "Lists answered, by strategy and by what answered in place of one that took too long",
    ["strategy", "fallback"],
)
NOT_KEPT = Counter(
    "attune_answers_not_kept", "Lists answered but not remembered: the disk of Postgres is full"
)


@dataclass(frozen=True, slots=True)
class Ranked:
    """One product of a list: its id, its score in [0, 1], the parts that sum to it, the record's
    fields that were asked for, and its explanation where one was."""

    product_id: str
    score: float
    parts: dict[str, float]
    fields: dict[str, Any]
    explanation: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`fallback` names the strategy that answered in place of one that took too long; `total` is
    how many products a search has found, None where counting them took too long."""

    miso_id: UUID | None
    products: list[Ranked]
    interests: dict[str, Any] | None = None
    fallback: str | None = None
    total: int | None = None


# The candidates of a page, and how many there are in all, where the strategy knows.
_List = tuple[list[Candidate], int | None]


def answer(connection: Connection, question: Question, *, remember: bool = True) -> Answer:
    """The list that a question asks for; `remember=False` writes no row (backtest, preview).

    Raises UnknownProducts, and psycopg's errors where Postgres is away.
    """
    question, (chosen, total), fallback = _chosen(connection, question)
    ANSWERS.labels(question.strategy, fallback or "none").inc()
    miso_id = _remembered(connection, question, chosen) if remember else None
    return Answer(
        miso_id=miso_id,
        products=_products(connection, question, chosen),
        interests=profile.interests(question.visitor) if question.explain else None,
        fallback=fallback,
        total=total,
    )


def _remembered(connection: Connection, question: Question, chosen: Sequence[Candidate]) -> UUID:
    """The answer's id. A full disk stops what is learned from the list, not the list."""
    try:
        return answers.record(connection, question, chosen)
    except psycopg.errors.DiskFull:
        NOT_KEPT.inc()
        return answers.new_id(question.at)


def _chosen(connection: Connection, question: Question) -> tuple[Question, _List, str | None]:
    """The question as it was asked of the strategy, the list, and the fallback's name where the
    strategy, or the profile before it, took too long."""
    prepared = None
    try:
        prepared = _prepared(connection, question)
        return prepared, _ranked(connection, prepared), None
    except psycopg.errors.QueryCanceled:
        if question.strategy in WITHOUT_FALLBACK:
            raise
    spare = prepared or replace(question, excluded=_named(connection, question))
    fallback = FALLBACKS.get(question.strategy, FALLBACK)
    return spare, _ranked(connection, replace(spare, strategy=fallback)), fallback


def _prepared(connection: Connection, question: Question) -> Question:
    """With the model, the visitor, and the numbers of all that must not be in the list."""
    model = models.live(connection, question.site_id)
    with tracing.span("profile"):
        visitor = _visitor(connection, question)
    excluded = _named(connection, question)
    if question.strategy in WITHOUT_TOUCHED:
        excluded = excluded.union(visitor.contents.touched, _bought(question, visitor))
    return replace(question, model=model, visitor=visitor, excluded=excluded)


def _named(connection: Connection, question: Question) -> frozenset[int]:
    """The numbers of the products that the question itself leaves out."""
    found = records.numbers(connection, question.site_id, question.exclude)
    return frozenset(one.product_no for one in found)


def _visitor(connection: Connection, question: Question) -> Profile:
    nobody = question.actor is None and not question.additional
    if nobody or (question.strategy in WITHOUT_PROFILE and not question.explain):
        return NOBODY
    return profile.current(
        connection,
        question.site_id,
        question.actor,
        at=question.at,
        additional=question.additional,
        alone=question.alone,
    )


def _bought(question: Question, visitor: Profile) -> list[int]:
    since = question.at - timedelta(days=question.bought_days)
    return [product_no for product_no, at in visitor.contents.bought if at > since]


def _ranked(connection: Connection, question: Question) -> _List:
    """As many as asked for, if so many match: where variants fill the list, more are proposed."""
    propose = STRATEGIES[question.strategy]
    end = question.start + question.rows
    limit = end + end // 4 if question.one_per_group else end
    while True:
        with tracing.span("candidates", strategy=question.strategy, limit=limit):
            proposed = propose(connection, replace(question, limit=limit))
        chosen = _one_per_group(proposed) if question.one_per_group else proposed
        if len(chosen) >= end or len(proposed) < limit:
            total = proposed.total if isinstance(proposed, Proposed) else None
            return chosen[question.start : end], total
        limit *= MORE_EACH_TRY


def _one_per_group(proposed: Sequence[Candidate]) -> list[Candidate]:
    """The first of each group, which is the one that suits best."""
    first: dict[int, Candidate] = {}
    for one in proposed:
        first.setdefault(one.group_key, one)
    return list(first.values())


def _products(
    connection: Connection, question: Question, chosen: Sequence[Candidate]
) -> list[Ranked]:
    numbers = [one.product_no for one in chosen]
    kept = records.fields(connection, question.site_id, numbers) if question.fields else {}
    with tracing.span("explain"):
        explained = explain.explanations(connection, question, chosen) if question.explain else []
    return [
        Ranked(
            product_id=one.product_id,
            score=one.score,
            parts=one.parts,
            fields=records.picked(kept.get(one.product_no, {}), question.fields),
            explanation=explained[position] if explained else None,
        )
        for position, one in enumerate(chosen)
    ]
