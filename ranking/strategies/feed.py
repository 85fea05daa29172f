"""A bit of everything, for a page without an end: what may interest the visitor, what is rising,
what is like the product they touched last, what is new; in fixed shares, each product once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from itertools import count

from ranking.catalog import nearest
from ranking.question import Candidate, Question
from ranking.strategies import near, popular, recommend, similar
from schemas.database import Connection

RECOMMEND, TRENDING, SIMILAR, NEW = "recommend", "trending", "similar", "new"
# Whose turn it is, over and over: one half, and a fifth, a fifth, a tenth. Hand-set; the first
# screen shows a bit of each.
TURNS = (
    RECOMMEND, TRENDING, RECOMMEND, SIMILAR, RECOMMEND,
    NEW, RECOMMEND, TRENDING, RECOMMEND, SIMILAR,
)  # fmt: skip


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """In turns; a source that has nothing left gives its turn to what may interest the visitor.
    Scores are each source's own."""
    sources = {
        RECOMMEND: recommend.candidates(connection, question),
        TRENDING: popular.most(connection, question, "trending"),
        SIMILAR: _like_the_last(connection, question),
        NEW: popular.newest(connection, question),
    }
    mixed = list(_mixed(question, sources))
    # Other variants behind all others: the caller drops them, and asks for more.
    named = {one.product_no for one in mixed}
    others = (one for one in sources[RECOMMEND] if one.product_no not in named)
    return [*mixed, *others][: question.limit]


def _mixed(question: Question, sources: Mapping[str, list[Candidate]]) -> Iterator[Candidate]:
    """In turns, one of each group where a group shows one."""
    waiting = {name: iter(found) for name, found in sources.items()}
    taken: set[Hashable] = set()
    for place in count(question.before.count):
        turn = TURNS[place % len(TURNS)]
        for name in dict.fromkeys((turn, *waiting)):
            chosen = _next(waiting[name], question, taken)
            if chosen is not None:
                break
        else:
            return
        yield chosen._replace(source=name)


def _next(
    waiting: Iterator[Candidate], question: Question, taken: set[Hashable]
) -> Candidate | None:
    for one in waiting:
        key = one.group_key if question.one_per_group else one.product_no
        if key not in taken:
            taken.add(key)
            return one
    return None


def _like_the_last(connection: Connection, question: Question) -> list[Candidate]:
    touched = question.visitor.contents.touched[:1]
    found = nearest.vectors(connection, question.live_model, touched) if touched else {}
    if not found:
        return []
    vector = next(iter(found.values()))
    return near.candidates(connection, question, vector, similar.PART)
