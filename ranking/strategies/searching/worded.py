"""Products that have every word of a search. Few are all compared; of very many, a pool is."""

from __future__ import annotations

from collections.abc import Iterator

from ranking.catalog import nearest
from ranking.strategies.searching import common
from ranking.strategies.searching.asked import ALIAS, Asked
from ranking.strategies.searching.common import MOST_COMPARED
from ranking.strategies.searching.compared import ALL, Compared, Found, compared
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

POOL = 200  # of each kind
INTERESTING = 200  # of the products nearest to the visitor, to find those with all words
WALKED = 1500  # products looked at to find those
DEEPEST_POOLED = 100  # the pool is good for the first so many
COMPLETED = 200  # fewer products with all words than that are completed by others


def with_all_words(connection: Connection, asked: Asked, deepest: int = DEEPEST_POOLED) -> Compared:
    """The best of the products that have every word: as many as asked for, and all of few that are
    to be completed, so that every page has the same neighbours behind them. Of very many the first
    are the best of a pool, on every page, and deeper pages have the others behind them."""
    if asked.words is None:
        return Compared([], 0, 0)
    question, limit = asked.question, asked.question.limit
    key = common.key(connection, asked)
    known = remembered = common.known(key)
    if remembered is None:
        kept = max(limit, COMPLETED) if question.search.completes else limit
        found = compared(connection, asked, kept, most=MOST_COMPARED)
        if found.matches <= MOST_COMPARED:
            return found
    first = min(limit, deepest)
    if remembered is None or first > POOL:
        pool = _shared_pool(connection, asked, max(POOL, first))
        remembered = common.learned(connection, asked, key, pool)
    pool = _own_pool(connection, asked).union(remembered.pool)
    best = [
        one
        for one in compared(connection, asked, first, product_nos=pool).best
        if one.level is not None
    ]
    if known and len(best) < min(first, known.matches):
        # What was remembered is no longer so: many have been deleted or changed.
        common.forget(key)
        return with_all_words(connection, asked, deepest)
    if limit > first:
        return _and_all_others(connection, asked, best)
    return Compared(best, remembered.matches, remembered.groups)


def _and_all_others(connection: Connection, asked: Asked, first: list[Found]) -> Compared:
    named = {one.product_no for one in first}
    found = compared(connection, asked, asked.question.limit, most=ALL)
    others = [one for one in found.best if one.product_no not in named]
    return Compared(first + others, found.matches, found.groups, settled=len(first))


def _shared_pool(connection: Connection, asked: Asked, size: int) -> set[int]:
    """What can be first of very many matches for anybody: what is popular, short titles with the
    words, and whatever comes. To be near to so common a text tells little."""
    names = ("popular", "in_title", "some")
    return {number for name in names for number in _listed(connection, asked, name, size)}


def _own_pool(connection: Connection, asked: Asked) -> set[int]:
    """What can be first for this visitor, or is like the text given, whose words are looked at
    later; and titles that are the text, a new one too."""
    question = asked.question
    pool = set(_listed(connection, asked, "titled", POOL))
    for vector in (asked.visitor, asked.like):
        if vector is None:
            continue
        # Most of these have other words; to search by words as well took ten times as long.
        found = nearest.nearest(
            connection,
            question.live_model,
            vector,
            question.where(nearest.ALIAS),
            INTERESTING,
            question.excluded,
        )
        pool.update(one.product_no for one in found)
    return pool


def _listed(connection: Connection, asked: Asked, statement: str, size: int) -> Iterator[int]:
    filter = asked.question.where(ALIAS)
    slots = {"filter": filter.where}
    if statement in ("popular", "some"):
        slots["matches"] = asked.matches
    parameters = asked.parameters | filter.params | {"pool": size, "walked": WALKED}
    rows = connection.execute(SQL.fill(statement, **slots), parameters, prepare=False)
    return (row[0] for row in rows)
