"""Lists out: one question, one ranked list with its reasons. Every door and the backtest ask here.

question → profile (fresh) → candidates (hard filters inside) → one per group → rules → page →
fields → explanation → the row that remembers the answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from prometheus_client import Counter

from ranking import answers, explain
from ranking.catalog import models, records
from ranking.catalog.records import Listed
from ranking.merchandising import filters, rules
from ranking.merchandising.rules import Lifted
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import STRATEGIES, search
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
    fields that were asked for, the names of the rules that lifted it (an unnamed one's is empty),
    and its explanation where one was asked for."""

    product_id: str
    score: float
    parts: dict[str, float]
    fields: dict[str, Any]
    boosts: tuple[str, ...] = ()
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


Key = rules.Key[Candidate | Listed]


class _List(NamedTuple):
    """The candidates of a page, what they were chosen from, and how many there are in all, where
    the strategy knows."""

    page: list[Candidate]
    proposed: list[Candidate]
    total: int | None


def answer(connection: Connection, question: Question, *, remember: bool = True) -> Answer:
    """The list that a question asks for; `remember=False` writes no row (backtest, preview).

    Raises UnknownProducts, and psycopg's errors where Postgres is away.
    """
    question, chosen, fallback = _chosen(connection, question)
    ANSWERS.labels(question.strategy, fallback or "none").inc()
    miso_id = _remembered(connection, question, chosen.page) if remember else None
    return Answer(
        miso_id=miso_id,
        products=_products(connection, question, chosen),
        interests=profile.interests(question.visitor) if question.explain else None,
        fallback=fallback,
        total=chosen.total,
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
    # An anchored product is compared by the vectors that may have been what took too long.
    without = replace(spare.rules, anchorings=())
    asked = replace(spare, strategy=fallback, rules=without)
    return spare, _ranked(connection, asked), fallback


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
    """The page: what is proposed, in the order that the question's rules give it."""
    end = question.start + question.rows
    depth = max(end, rules.DEEPEST) if question.rules.looks_deep else end
    proposed, total = _proposed(connection, question, depth)
    with tracing.span("rules"):
        arranged = _arranged(connection, question, proposed, end)
    return _List(arranged[question.start : end], proposed, total)


def _proposed(
    connection: Connection, question: Question, depth: int
) -> tuple[list[Candidate], int | None]:
    """The first `depth`, if so many match: where variants fill the list, more are proposed."""
    propose = STRATEGIES[question.strategy]
    limit = depth + depth // 4 if question.one_per_group else depth
    while True:
        with tracing.span("candidates", strategy=question.strategy, limit=limit):
            proposed = propose(connection, replace(question, limit=limit))
        chosen = rules.unique(proposed, _group) if question.one_per_group else proposed
        if len(chosen) >= depth or len(proposed) < limit:
            total = proposed.total if isinstance(proposed, Proposed) else None
            return chosen[:depth], total
        limit *= MORE_EACH_TRY


def _group(one: Candidate | Listed) -> Hashable:
    """What only the first is shown of: the one of its group that suits best."""
    return one.group_key


def _number(one: Candidate | Listed) -> Hashable:
    return one.product_no


# rules ------------------------------------------------------------------------------------------


def _arranged(
    connection: Connection, question: Question, proposed: list[Candidate], end: int
) -> list[Candidate]:
    asked, key = question.rules, _group if question.one_per_group else _number
    ranked = _spread(connection, question, proposed) if asked.spreads else proposed
    lifted = list(_lifted(connection, question, end))
    ranked = rules.topped(ranked, lifted, key)
    if asked.anchorings:
        ranked = _anchored(connection, question, ranked, key)
    return rules.pinned(ranked, lifted, key)


def _spread(
    connection: Connection, question: Question, proposed: list[Candidate]
) -> list[Candidate]:
    first, others = proposed[: rules.DEEPEST], proposed[rules.DEEPEST :]
    numbers = [one.product_no for one in first]
    kept = records.fields(connection, question.site_id, numbers)

    def values(one: Candidate, field: str) -> frozenset[Hashable]:
        return records.values(kept.get(one.product_no, {}), field)

    return rules.spread(first, question.rules.spreads, values) + others


def _lifted(connection: Connection, question: Question, end: int) -> Iterator[Lifted[Candidate]]:
    """For each boost what it can lift on a page that ends there: two boosts may want the same."""
    positions = 0
    for boost in question.rules.boosts:
        positions += len(boost.positions)
        matching = filters.all_of([question.filter, boost.condition])
        depth = positions if boost.positions else end
        found, _ = _proposed(connection, replace(question, filter=matching), depth)
        names = (boost.name,)
        yield Lifted(boost, [one._replace(boosts=names) for one in found if one.relevant])


def _anchored(
    connection: Connection, question: Question, ranked: list[Candidate], key: Key
) -> list[Candidate]:
    """An anchored product comes with its anchor, or a variant of that, whether or not the search
    finds it, if the filters let it through."""
    asked = question.rules.anchorings
    first, others = ranked[: rules.DEEPEST], ranked[rules.DEEPEST :]
    named = search.named(connection, question, [one.product_id for one in asked])
    products = {one.product_id: one for one in [*named, *first]}
    anchors = records.numbers(
        connection, question.site_id, {anchor for one in asked for anchor in one.anchor_ids}
    )
    keys = {one.product_id: key(one) for one in anchors}
    placed = [
        (products[one.product_id], [keys[id] for id in one.anchor_ids if id in keys], one.offset)
        for one in asked
        if one.product_id in products
    ]
    return rules.unique([*rules.anchored(first, placed, key), *others], key)


# the answer -------------------------------------------------------------------------------------


def _products(connection: Connection, question: Question, chosen: _List) -> list[Ranked]:
    numbers = [one.product_no for one in chosen.page]
    kept = records.fields(connection, question.site_id, numbers) if question.fields else {}
    explained = _explained(connection, question, chosen) if question.explain else []
    return [
        Ranked(
            product_id=one.product_id,
            score=one.score,
            parts=one.parts,
            fields=records.picked(kept.get(one.product_no, {}), question.fields),
            boosts=one.boosts,
            explanation=explained[position] if explained else None,
        )
        for position, one in enumerate(chosen.page)
    ]


def _explained(connection: Connection, question: Question, chosen: _List) -> list[dict[str, Any]]:
    with tracing.span("explain"):
        return explain.explanations(connection, question, chosen.page, chosen.proposed)
