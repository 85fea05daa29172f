"""What a search asks for: its words, its meaning as a vector, and who asks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranking.catalog import queries, words
from ranking.catalog.nearest import Vector
from ranking.catalog.records import int_array
from ranking.question import Question
from schemas.database import Connection

ALIAS = "w"  # what filters call product_words
EVERYTHING = "*"


class Asked(NamedTuple):
    """The question's text as words and as a vector, raw and as the live model serves it, and the
    visitor's vector; each None where there is none."""

    question: Question
    words: words.Query | None
    raw: Vector | None = None
    vector: Vector | None = None
    visitor: Vector | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What statements over product_words may name."""
        words = self.words
        return {
            "site_id": self.question.site_id,
            "excluded": int_array(self.question.excluded),
            "vector": self.vector,
            "visitor": self.visitor,
            "anywhere": words.anywhere if words else None,
            "in_title": words.in_title if words else None,
            "title": words.title if words else None,
            "metadata": words.metadata if words else None,
            "subtitle": words.subtitle if words else None,
            "count": words.count if words else None,
            "title_key": words.title_key if words else None,
        }


def everything(question: Question) -> bool:
    """Whether it is for all products."""
    return question.search.text.strip() == EVERYTHING


def asked(connection: Connection, question: Question) -> Asked:
    """With its vectors, where the text's is known or can be made now."""
    text = question.search.text
    raw = queries.vectors(connection, question.site_id, [text]).get(text)
    return in_words(connection, question)._replace(
        raw=raw,
        vector=None if raw is None else question.live_model.transform(raw[np.newaxis])[0],
        visitor=question.visitor.vector if question.search.personal else None,
    )


def in_words(connection: Connection, question: Question) -> Asked:
    """Without any vector, for when those take too long."""
    languages = (
        (question.search.language,)
        if question.search.language
        else words.languages(connection, question.site_id)
    )
    return Asked(question, words.query(question.site_id, question.search.text, languages))
