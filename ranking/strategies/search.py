"""What a text is looked for: products that have all its words, the visitor's kind first, and where
asked for, behind them those that are near to what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ranking.catalog import records
from ranking.question import Candidate, Proposed, Question
from ranking.strategies.searching import everything
from ranking.strategies.searching.asked import asked, in_words
from ranking.strategies.searching.asked import everything as asks_everything
from ranking.strategies.searching.compared import ALL, compared, proposed
from ranking.strategies.searching.neighbours import neighbours
from ranking.strategies.searching.worded import COMPLETED, with_all_words
from schemas.database import Connection


def candidates(connection: Connection, question: Question) -> Proposed:
    """Products for `question.search.text`; all of them for "*", by interest and popularity."""
    if asks_everything(question):
        return everything.everything(connection, question)
    what = asked(connection, question)
    found = with_all_words(connection, what)
    if question.search.semantic is None or found.matches >= COMPLETED:
        return proposed(what, found)
    return proposed(what, found.and_also(neighbours(connection, what, found)))


def lexical(connection: Connection, question: Question) -> Proposed:
    """The same by words and popularity alone: asks no vectors, for when they take too long."""
    if asks_everything(question):
        return everything.by_popularity(connection, question)
    what = in_words(connection, question)
    return proposed(what, with_all_words(connection, what, deepest=ALL))


def named(
    connection: Connection, question: Question, product_ids: Sequence[str]
) -> list[Candidate]:
    """These products as a search scores them, whether or not they have its words; those that the
    filters let through."""
    found = records.numbers(connection, question.site_id, product_ids)
    if not found:
        return []
    numbers = [one.product_no for one in found]
    what = asked(connection, replace(question, limit=len(numbers)))
    return proposed(what, compared(connection, what, len(numbers), product_nos=numbers))
