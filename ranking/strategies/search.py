"""What a text is looked for: products that have all its words, the visitor's kind first, and where
asked for, behind them those that have some or are near to what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg import sql

from ranking.catalog.records import int_array
from ranking.merchandising.filters import Filter
from ranking.question import Candidate, Proposed, Question, Search
from ranking.strategies.searching import advanced, partial, weights
from ranking.strategies.searching import asked as asking
from ranking.strategies.searching import occurrences as finding
from ranking.strategies.searching.asked import ALIAS, LEXICAL, Asked, says_nothing
from ranking.strategies.searching.compared import (
    ALL,
    UNCOUNTED,
    Compared,
    Found,
    as_candidates,
    proposed,
    ranked,
)
from ranking.strategies.searching.everything import everything
from ranking.strategies.searching.included import groups_with_all_words, included, of_ids
from ranking.strategies.searching.neighbours import neighbours
from ranking.strategies.searching.occurrences import NOWHERE, Occurrences
from ranking.strategies.searching.worded import COMPLETED, DEEPEST_POOLED, with_all_words
from schemas.database import Connection

__all__ = [
    "NOWHERE",
    "Occurrences",
    "candidates",
    "existing",
    "fit",
    "lexical",
    "matching",
    "named",
    "occurrences",
    "says_nothing",
]

STRATEGY = "search"
NEVER = -1  # fewer products than that never have all words


def candidates(connection: Connection, question: Question) -> Proposed:
    """Products for `question.search.text`; all of them for "*", by interest and popularity."""
    asked = _asked(connection, question)
    if _is_for_all(asked):
        return everything(connection, asked)
    exact = _exact(connection, asked)
    named = included(connection, asked)
    counted = () if exact.whole else groups_with_all_words(connection, asked, named)
    found = exact.and_also(named, counted)
    others = _others(connection, asked, exact.matches, _numbers(found.best))
    apart = question.search.separated
    made = proposed(asked, found if apart else found.and_also(others))
    made.others = ranked(as_candidates(asked, others))[: question.limit] if apart else []
    made.search = _for_parts(question.search, exact.matches)
    return made


def lexical(connection: Connection, question: Question) -> Proposed:
    """The same by words and popularity alone: asks no vectors, for when they take too long."""
    return candidates(connection, replace(question, strategy=LEXICAL))


def matching(connection: Connection, question: Question) -> Filter:
    """All that the search lists as a condition on product_words; what has not all words by its
    numbers."""
    asked = _asked(connection, replace(question, limit=DEEPEST_POOLED))
    filter = asked.question.where(ALIAS)
    if _is_for_all(asked):
        return filter
    words = asked.matches if asked.words else sql.SQL("false")
    params = filter.params | {"anywhere": asked.words.anywhere if asked.words else None}
    if beside := _beside(connection, asked):
        words = sql.SQL("({} or {})").format(words, _BY_NUMBER)
        params["beside"] = int_array(sorted(beside))
    return replace(filter, where=sql.SQL("({} and {})").format(words, filter.where), params=params)


def _beside(connection: Connection, asked: Asked) -> set[int]:
    """What is listed although it has not all words."""
    search, found = asked.question.search, included(connection, asked)
    if search.completes and not search.separated:
        exact = _exact(connection, asked)
        known = _numbers([*exact.best, *found])
        found = found + _others(connection, asked, exact.matches, known)
    return _numbers(found)


_BY_NUMBER = sql.SQL("w.product_no = any(%(beside)s::int[])")


def fit(question: Question, score: float, parts: Mapping[str, float]) -> float:
    """How well a product found fits the visitor, from 0 (or nothing is known) to 1; a list of
    everything is ranked by nothing else."""
    if says_nothing(question.search.text) and not advanced.text(question):
        return score
    return weights.fits(question.search, parts)


def named(
    connection: Connection, question: Question, product_ids: Sequence[str]
) -> list[Candidate]:
    """These products as a search scores them, whether or not they have its words; those that the
    filters let through."""
    asked = _asked(connection, question)
    return as_candidates(asked, of_ids(connection, asked, product_ids))


def existing(connection: Connection, question: Question, product_ids: Sequence[str]) -> set[str]:
    """Which of these the search finds, on whichever page; a variant counts although another of its
    group is shown for it."""
    asked = _asked(connection, replace(question, limit=DEEPEST_POOLED))
    there = of_ids(connection, asked, product_ids)
    if _is_for_all(asked):
        return {one.product_id for one in there}
    named = {one.product_id for one in there} & set(question.search.include)
    found = named | {one.product_id for one in there if one.level is not None}
    missing = _numbers(one for one in there if one.product_id not in found)
    if not missing or question.search.separated or not question.search.completes:
        return found
    exact = _exact(connection, asked)
    others = _others(connection, asked, exact.matches, _numbers(exact.best))
    return found | {one.product_id for one in others if one.product_no in missing}


def occurrences(
    connection: Connection,
    question: Question,
    shown: Sequence[Candidate],
    kept: Mapping[int, dict[str, Any]],
) -> dict[int, Occurrences]:
    """By number what of the question's text occurs in these products, as far as it asks for that;
    of those that have not all words always."""
    search = question.search
    every = search.matched or search.highlight or question.explain
    if question.strategy not in (STRATEGY, LEXICAL):
        return {}
    if not every and all("words" in one.parts for one in shown):
        return {}
    words = asking.in_words(connection, question).words
    asked = words.wanted if words else ()
    return finding.occurrences(connection, question, asked, shown, kept)


def _asked(connection: Connection, question: Question) -> Asked:
    asked = asking.asked(connection, question)
    return partial.telling(connection, asked) if question.search.partial else asked


def _is_for_all(asked: Asked) -> bool:
    return asked.words is None and says_nothing(asked.question.search.text)


def _exact(connection: Connection, asked: Asked) -> Compared:
    is_lexical = asked.question.strategy == LEXICAL
    return with_all_words(connection, asked, deepest=ALL if is_lexical else DEEPEST_POOLED)


def _others(connection: Connection, asked: Asked, exact: int, known: set[int]) -> list[Found]:
    """Those with some words and those near in meaning, best first."""
    search = _settled(asked.question.search, exact)
    found: list[Found] = []
    if search.partial:
        some = partial.with_some_words(connection, asked)
        found = [one for one in some if one.product_no not in known]
    if search.semantic is not None:
        found += neighbours(connection, asked, known | _numbers(found))
    return found


def _settled(search: Search, exact: int) -> Search:
    """What may stand in for words where so many products have them all: few are completed."""
    few = exact != UNCOUNTED and exact < COMPLETED
    wanted = search.most_exact is None or (exact != UNCOUNTED and exact <= search.most_exact)
    return replace(
        search,
        semantic=search.semantic if few else None,
        partial=search.partial and wanted and (few or search.separated),
    )


def _for_parts(search: Search, exact: int) -> Search:
    """The search for a part of its products: nothing stands in for words that did not in the
    whole."""
    settled = _settled(search, exact)
    most_exact = search.most_exact if settled.partial else NEVER
    return replace(search, semantic=settled.semantic, most_exact=most_exact)


def _numbers(found: Iterable[Found]) -> set[int]:
    return {one.product_no for one in found}
