"""What a search asks for: its words, its meaning as a vector, and who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from ranking.catalog import queries, wanted, words
from ranking.catalog.nearest import Vector
from ranking.catalog.records import int_array
from ranking.merchandising import filters
from ranking.question import Question
from ranking.strategies.searching import advanced
from schemas.database import Connection

ALIAS = "w"  # what filters call product_words
EVERYTHING = "*"
LEXICAL = "lexical"  # the strategy that asks no vectors

_BY_WORDS = sql.SQL("w.words @@ %(anywhere)s::tsquery")
_BY_CONDITION = sql.SQL("true")


def says_nothing(text: str) -> bool:
    """Whether a text leaves it to the conditions which products are found."""
    return text.strip() in ("", EVERYTHING)


class Asked(NamedTuple):
    """The question's text as words and as a vector, raw and as the live model serves it, the vector
    of the text that products should be like, and the visitor's; each None where there is none.

    `telling`: of each word what a product that has it has of all words' meaning, from 0 to 1, where
    some words may do.
    """

    question: Question
    words: wanted.Query | None
    raw: Vector | None = None
    vector: Vector | None = None
    like: Vector | None = None
    visitor: Vector | None = None
    telling: Sequence[tuple[str, float]] = ()

    @property
    def by_condition(self) -> bool:
        """Whether the question's filter alone says which products are found."""
        return self.words is None or says_nothing(self.question.search.text)

    @property
    def matches(self) -> sql.Composable:
        """The condition on product_words that all words occur."""
        return _BY_CONDITION if self.by_condition else _BY_WORDS

    @property
    def parameters(self) -> dict[str, Any]:
        """What statements over product_words may name."""
        words = self.words
        return {
            "site_id": self.question.site_id,
            "excluded": int_array(self.question.excluded),
            "language": self.question.search.language or None,
            "vector": self.vector,
            "like": self.like,
            "visitor": self.visitor,
            "anywhere": words.anywhere if words else None,
            "in_title": words.in_title if words else None,
            "title": words.title if words else None,
            "metadata": words.metadata if words else None,
            "subtitle": words.subtitle if words else None,
            "count": words.count if words else None,
            "title_key": words.title_key if words else None,
            **{f"word_{at}": query for at, (query, _) in enumerate(self.telling)},
            **{f"tells_{at}": share for at, (_, share) in enumerate(self.telling)},
        }


def asked(connection: Connection, question: Question) -> Asked:
    """With its vectors, where a text's is known or can be made now; without any where the question
    is for words alone."""
    made = in_words(connection, question)
    return made if question.strategy == LEXICAL else _with_vectors(connection, made)


def in_words(connection: Connection, question: Question) -> Asked:
    """Without vectors. Its condition becomes part of the question's filter, and says which words
    rank products where there is no other text."""
    search = question.search
    languages = words.asked_for(connection, question.site_id, search.language)
    if search.advanced is not None:
        condition = advanced.condition(question, languages)
        question = replace(question, filter=filters.all_of([question.filter, condition]))
        if says_nothing(search.text):
            return Asked(question, advanced.query(question, languages))
    made = wanted.query(question.site_id, search.text, languages, search.without)
    return Asked(question, made)


def _with_vectors(connection: Connection, asked: Asked) -> Asked:
    question = asked.question
    text, like = question.search.text, question.search.like
    if says_nothing(text):
        text = advanced.text(question)
    raw = queries.vectors(connection, question.site_id, [text, like])
    return asked._replace(
        raw=raw.get(text),
        vector=_served(question, raw.get(text)),
        like=_served(question, raw.get(like)),
        visitor=question.visitor.vector if question.search.personal else None,
    )


def _served(question: Question, raw: Vector | None) -> Vector | None:
    return None if raw is None else question.live_model.transform(raw[np.newaxis])[0]
