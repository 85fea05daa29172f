"""Ways to propose products, each `candidates(connection, question) -> [Candidate]`, best first.

A strategy gives `question.limit` candidates unless fewer match, leaves out `question.excluded`
and what the filter does, and no product twice; `answer` does everything else for all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from ranking.question import Candidate, Question
from ranking.strategies import (
    feed,
    history,
    popular,
    recommend,
    search,
    similar,
    together,
    trending,
)
from schemas.database import Connection

Strategy = Callable[[Connection, Question], list[Candidate]]

STRATEGIES: dict[str, Strategy] = {
    "recommend": recommend.candidates,
    "similar": similar.candidates,
    "together": together.candidates,
    "trending": trending.candidates,
    "history": history.candidates,
    "feed": feed.candidates,
    "popular": popular.candidates,
    "search": search.candidates,
    "lexical": search.lexical,
}
