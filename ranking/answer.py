"""Lists out: one question, one ranked list with its reasons. Every door and the backtest ask here.

question → spelling → profile (fresh) → candidates (hard filters inside) → one per group → variety →
rules → page → exploration → fields → explanation → the row that remembers the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from prometheus_client import Counter

from ranking import answers, arrangement, counts, explain, exploring, pages, preparation, proposals
from ranking.catalog import records, searched
from ranking.catalog.spelling import Spelling
from ranking.counts import Counts
from ranking.merchandising import filters
from ranking.merchandising.exploration import NOT_EXPLORING
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import recommend, search
from ranking.strategies.search import NOWHERE, Occurrences
from ranking.visitors import cohort, profile
from schemas import tracing
from schemas.database import Connection

# What answers in place of a strategy that took too long.
FALLBACK = "popular"
FALLBACKS = {"search": "lexical"}
WITHOUT_FALLBACK = frozenset((FALLBACK, "history", "lexical"))

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
    which list a mixed one has it from, its explanation where one was asked for, what of a search's
    text is where, and whether chance put it there, to see what becomes of it."""

    product_id: str
    score: float
    parts: dict[str, float]
    fields: dict[str, Any]
    boosts: tuple[str, ...] = ()
    source: str = ""
    explanation: dict[str, Any] | None = None
    found: Occurrences = NOWHERE
    explored: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`fallback` names the strategy that answered in place of one that took too long; `total` is
    how many products a search has found, None where counting them took too long; `others` are what
    it lists apart, `existing` those of the products it was asked about that it finds, `facets` its
    counts by name, and `spelling` what was found wrong with its text."""

    miso_id: UUID | None
    products: list[Ranked]
    interests: dict[str, Any] | None = None
    fallback: str | None = None
    total: int | None = None
    others: Sequence[Ranked] = ()
    existing: frozenset[str] = frozenset()
    facets: dict[str, Counts] = field(default_factory=dict)
    spelling: Spelling | None = None


class List(NamedTuple):
    """The candidates of a page, what they were chosen from, and those that are listed apart."""

    page: list[Candidate]
    proposed: Proposed
    others: list[Candidate]


def answer(connection: Connection, question: Question, *, remember: bool = True) -> Answer:
    """The list that a question asks for; `remember=False` writes no row (backtest, preview).

    Raises UnknownProducts, and psycopg's errors where Postgres is away.
    """
    typed = question.search.text
    question, spelled = preparation.spelled(connection, question)
    choosing = _page if question.pagination_id else choose
    question, chosen, fallback = choosing(connection, question)
    ANSWERS.labels(question.strategy, fallback or "none").inc()
    shown = [*chosen.page, *chosen.others]
    miso_id = remember_list(connection, question, shown) if remember else None
    asked = replace(question, strategy=fallback or question.strategy)
    if remember:
        with suppress(psycopg.errors.DiskFull):
            _remember_search(connection, question, typed, found=bool(shown))
    return Answer(
        miso_id=miso_id,
        products=show(connection, asked, chosen, chosen.page),
        interests=profile.interests(question.visitor) if question.explain else None,
        fallback=fallback,
        total=chosen.proposed.total,
        others=_show_apart(connection, asked, chosen) if chosen.others else [],
        existing=_existing(connection, asked),
        facets=_counted(connection, asked),
        spelling=spelled,
    )


def _remember_search(
    connection: Connection, question: Question, typed: str, *, found: bool
) -> None:
    """Whether a whole search found nothing, or something once its text was corrected."""
    if not _is_whole(question):
        return
    text = question.search.text
    if not found:
        searched.in_vain(connection, question.site_id, typed, question.at)
    elif text != typed:
        searched.after_correction(connection, question.site_id, typed, text, question.at)


def _is_whole(question: Question) -> bool:
    """Whether it is a search from its first product on; what one within a filter does not find may
    be found without it."""
    if question.strategy != "search" or question.start or not question.rows:
        return False
    narrowed = question.filter != filters.everything() or question.search.advanced is not None
    return not (narrowed or question.exclude or question.search.without)


def _existing(connection: Connection, question: Question) -> frozenset[str]:
    if not question.search.whether:
        return frozenset()
    return frozenset(search.existing(connection, question, question.search.whether))


def _counted(connection: Connection, question: Question) -> dict[str, Counts]:
    if not question.facets.asked:
        return {}
    with tracing.span("facets"):
        return counts.counted(connection, question)


def remember_list(
    connection: Connection,
    question: Question,
    chosen: Sequence[Candidate],
    *,
    is_list: bool = True,
) -> UUID:
    """The answer's id. A full disk stops what is learned from the list, not the list."""
    try:
        return answers.record(connection, question, chosen, is_list=is_list)
    except psycopg.errors.DiskFull:
        NOT_KEPT.inc()
        return answers.new_id(question.at)


def _page(connection: Connection, question: Question) -> tuple[Question, List, str | None]:
    """A page of a list that is given out in pages: what was given before at its places, and what
    is missing, also of the pages before it that nobody asked for."""
    page = slice(question.start, question.start + question.rows)
    for _ in range(pages.TRIES):
        paged = pages.read(connection, question)
        if not paged.lacks(page.stop):
            with suppress(psycopg.errors.DiskFull):
                pages.touch(connection, question)
            asked = preparation.prepared(connection, question) if question.explain else question
            return asked, List(_given(paged)[page], Proposed([], None), []), None
        rest, found, fallback = choose(connection, pages.rest(question, paged))
        paged = pages.filled(paged, found.page)
        chosen = found._replace(page=_given(paged)[page])
        if _kept(connection, question, paged, found.page):
            return replace(rest, start=question.start), chosen, fallback
    raise psycopg.errors.SerializationFailure("too many requests at once for pages of one list")


def _given(paged: pages.Paged) -> list[Candidate]:
    return [one for one in paged.served if one is not None]


def _kept(
    connection: Connection, question: Question, paged: pages.Paged, found: Sequence[Candidate]
) -> bool:
    """A full disk stops what is remembered of the list, not the list."""
    try:
        return pages.keep(connection, question, paged, found)
    except psycopg.errors.DiskFull:
        NOT_KEPT.inc()
        return True


def choose(connection: Connection, question: Question) -> tuple[Question, List, str | None]:
    """The question as it was asked of the strategy, the list, and the fallback's name where the
    strategy, or the profile before it, took too long."""
    prepared = None
    try:
        prepared = preparation.prepared(connection, question)
        return prepared, rank(connection, prepared), None
    except psycopg.errors.QueryCanceled:
        if question.strategy in WITHOUT_FALLBACK:
            raise
    spare = prepared or replace(question, excluded=preparation.excluded(connection, question))
    fallback = FALLBACKS.get(question.strategy, FALLBACK)
    # These compare by the vectors that may have been what took too long.
    without = replace(spare.rules, anchorings=(), diversity=0.0)
    asked = replace(spare, strategy=fallback, rules=without, exploring=NOT_EXPLORING)
    return spare, rank(connection, asked), fallback


def rank(connection: Connection, question: Question) -> List:
    """The page: what is proposed, in the order that the question's rules give it."""
    end = question.start + question.rows
    depth = arrangement.depth(question, end)
    if question.order:
        proposed = proposals.ordered(connection, question, depth)
    else:
        welcome = arrangement.varying(question)
        proposed = proposals.proposed(connection, question, depth, welcome)
        proposed = arrangement.varied(connection, question, proposed)
    with tracing.span("rules"):
        of_parts = replace(question, search=proposed.search or question.search)
        arranged = arrangement.arranged(connection, of_parts, proposed, end)
        if question.rules.anchorings and proposed.total is not None:
            proposed.total += arrangement.brought(connection, of_parts, proposed, arranged)
    page = arranged[question.start : end]
    if question.order:
        page = proposals.completed(connection, question, page)
    if explored := exploring.explored(connection, question, page):
        proposed.unexplored, page = page, explored
    others = _by_cohort(question, proposed.others[: question.rows])
    return List(_by_cohort(question, page), proposed, others)


def _by_cohort(question: Question, chosen: list[Candidate]) -> list[Candidate]:
    """What is not the visitor's own interest is not called so."""
    if not question.by_cohort:
        return chosen
    names = {recommend.PART: cohort.PART}
    return [
        one._replace(parts={names.get(name, name): part for name, part in one.parts.items()})
        for one in chosen
    ]


# the answer -------------------------------------------------------------------------------------


def show(
    connection: Connection, question: Question, chosen: List, shown: Sequence[Candidate]
) -> list[Ranked]:
    """These of a list, with all that the question wants to know of them."""
    numbers = [one.product_no for one in shown]
    wanted = question.fields or question.search.highlight
    kept = records.fields(connection, question.site_id, numbers) if wanted else {}
    explained = _explained(connection, question, chosen, shown) if question.explain else []
    found = search.occurrences(connection, question, shown, kept)
    for one, told in zip(shown, explained, strict=False):
        if one.product_no in found:
            told["matched"] = dict(found[one.product_no].matched)
    return [
        Ranked(
            product_id=one.product_id,
            score=one.score,
            parts=one.parts,
            fields=records.picked(kept.get(one.product_no, {}), question.fields),
            boosts=one.boosts,
            source=one.source,
            explanation=explained[position] if explained else None,
            found=found.get(one.product_no, NOWHERE),
            explored=one.put == exploring.PUT,
        )
        for position, one in enumerate(shown)
    ]


def _show_apart(connection: Connection, question: Question, chosen: List) -> list[Ranked]:
    return show(connection, replace(question, start=0), chosen, chosen.others)


def _explained(
    connection: Connection, question: Question, chosen: List, shown: Sequence[Candidate]
) -> list[dict[str, Any]]:
    with tracing.span("explain"):
        return explain.explanations(connection, question, shown, chosen.proposed)
