"""What a text is looked for: products that have all its words, the visitor's kind first, and where
asked for, behind them those that are near to what it means.

The score says which: the title is the text from .7 up, all words occur from .3 up, near in meaning
below. Within each, meaning, the visitor's interest and popularity decide. What is sold out counts
by its words alone.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import psycopg
from psycopg import sql

from ranking.catalog import nearest, queries, records, words
from ranking.catalog.nearest import Vector
from ranking.catalog.records import int_array
from ranking.merchandising.filters import Filter
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import near, popular, recommend
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

ALIAS = "w"  # what filters call product_words
EVERYTHING = "*"

# Of a score from 0 to 1. No sum of the other parts lifts a product over one with better words.
EXACT, LEAST, SPREAD = 0.7, 0.3, 0.1
WITH_WORDS = {"meaning": 0.08, "interest": 0.12, "popularity": 0.10}
BY_MEANING = {"meaning": 0.24, "interest": 0.04, "popularity": 0.02}

MOST_COMPARED = 2500  # matches, which cost as much as a pool; of more, a pool is compared
POOL = 200  # of each kind
INTERESTING = 200  # of the products nearest to the visitor, to find those with all words
ALL = 1_000_000_000
WALKED = 1500  # products looked at to find those
DEEPEST_POOLED = 100  # the pool is good for the first so many
NEIGHBOURS = 100  # in meaning, at most
# The raw cosine of a query and a product that is just that: a nearness of 1. At half of it the demo
# shop has a hand warmer for "keep warm at night" and nothing for "qwerty".
SAME = 0.7
COMPLETED = 200  # fewer products with all words than that are completed by neighbours

# What is common is known for a while, as whole shops search for it over and over.
KNOWN_S = 60.0
MOST_KNOWN = 2000  # of a process, 4 KB each
UNCOUNTED = -1


class _Found(NamedTuple):
    """A product with what its parts are made of."""

    product_no: int
    product_id: str
    group_key: int
    available: bool
    level: float | None
    meaning: float | None
    interest: float | None
    share: float | None
    new_share: float | None


class _Compared(NamedTuple):
    """The best of those found, and how many were: products and their groups, -1 where counting took
    too long. The first `settled` of the best stand before the others, whatever those score."""

    best: list[_Found]
    matches: int
    groups: int
    settled: int = 0

    def and_also(self, others: list[_Found]) -> _Compared:
        """With others behind them, where all that were found are among the best."""
        both = self.best + others
        return _Compared(both, len(both), len({one.group_key for one in both}))


class _Asked(NamedTuple):
    """The question's text as words and as a vector, raw and as the live model serves it, and the
    visitor's vector; each None where there is none."""

    question: Question
    words: words.Query | None
    raw: Vector | None = None
    vector: Vector | None = None
    visitor: Vector | None = None


def candidates(connection: Connection, question: Question) -> Proposed:
    """Products for `question.search.text`; all of them for "*", by interest and popularity."""
    if question.search.text.strip() == EVERYTHING:
        return _all(connection, question, _recommended(connection, question))
    asked = _asked(connection, question)
    found = _with_all_words(connection, asked)
    if question.search.semantic is None or found.matches >= COMPLETED:
        return _proposed(asked, found)
    neighbours = _neighbours(connection, asked, found)
    return _proposed(asked, found.and_also(neighbours))


def lexical(connection: Connection, question: Question) -> Proposed:
    """The same by words and popularity alone: asks no vectors, for when they take too long."""
    if question.search.text.strip() == EVERYTHING:
        return _all(connection, question, popular.candidates(connection, question))
    asked = _Asked(question, _words(connection, question))
    return _proposed(asked, _with_all_words(connection, asked, deepest=ALL))


def named(
    connection: Connection, question: Question, product_ids: Sequence[str]
) -> list[Candidate]:
    """These products as a search scores them, whether or not they have its words; those that the
    filters let through."""
    found = records.numbers(connection, question.site_id, product_ids)
    if not found:
        return []
    numbers = [one.product_no for one in found]
    asked = _asked(connection, replace(question, limit=len(numbers)))
    return _proposed(asked, _compared(connection, asked, len(numbers), product_nos=numbers))


def _proposed(asked: _Asked, found: _Compared) -> Proposed:
    made = [
        Candidate(one.product_no, one.product_id, one.group_key, _parts(asked, one))
        for one in found.best
    ]
    made = _sorted(made[: found.settled]) + _sorted(made[found.settled :])
    return _with_total(asked.question, made[: asked.question.limit], found.matches, found.groups)


def _sorted(made: list[Candidate]) -> list[Candidate]:
    return sorted(made, key=lambda one: (-one.score, one.product_no))


def _with_total(question: Question, found: list[Candidate], matches: int, groups: int) -> Proposed:
    total = groups if question.one_per_group else matches
    return Proposed(found, None if total == UNCOUNTED else total)


def _parts(asked: _Asked, one: _Found) -> dict[str, float]:
    """The named parts, as `summed` of search.sql adds them up."""
    weights = BY_MEANING if one.level is None else WITH_WORDS
    parts = {}
    if one.level is not None:
        parts["words"] = EXACT if one.level > 1 else LEAST + SPREAD * one.level
    if not one.available:
        return parts
    if one.meaning is not None:
        parts["meaning"] = weights["meaning"] * max(0.0, one.meaning)
    if one.interest is not None:
        parts["interest"] = (
            weights["interest"] * asked.question.search.personal * max(0.0, one.interest)
        )
    if one.share is not None:
        parts["popularity"] = weights["popularity"] * min(1.0, one.share)
    elif one.new_share:
        parts["new"] = weights["popularity"] * min(1.0, one.new_share)
    return parts


# what is asked ----------------------------------------------------------------------------------


def _asked(connection: Connection, question: Question) -> _Asked:
    raw = queries.vectors(connection, question.site_id, [question.search.text]).get(
        question.search.text
    )
    return _Asked(
        question,
        _words(connection, question),
        raw,
        None if raw is None else question.live_model.transform(raw[np.newaxis])[0],
        question.visitor.vector if question.search.personal else None,
    )


def _words(connection: Connection, question: Question) -> words.Query | None:
    languages = words.asked_for(connection, question.site_id, question.search.language)
    return words.query(question.site_id, question.search.text, languages)


# with all words ---------------------------------------------------------------------------------


def _with_all_words(
    connection: Connection, asked: _Asked, deepest: int = DEEPEST_POOLED
) -> _Compared:
    """The best of the products that have every word: as many as asked for, and all of few that are
    to be completed, so that every page has the same neighbours behind them. Of very many the first
    are the best of a pool, on every page, and deeper pages have the others behind them."""
    if asked.words is None:
        return _Compared([], 0, 0)
    question, limit = asked.question, asked.question.limit
    key = _key(connection, question, asked.words)
    known = common = _known(key)
    if common is None:
        kept = limit if question.search.semantic is None else max(limit, COMPLETED)
        found = _compared(connection, asked, kept, most=MOST_COMPARED)
        if found.matches <= MOST_COMPARED:
            return found
    first = min(limit, deepest)
    if common is None or first > POOL:
        pool = _shared_pool(connection, asked, max(POOL, first))
        common = _learned(connection, question, asked.words, key, pool)
    pool = _own_pool(connection, asked).union(common.pool)
    compared = _compared(connection, asked, first, product_nos=pool)
    best = [one for one in compared.best if one.level is not None]
    if known and len(best) < min(first, known.matches):
        # What was remembered is no longer so: many have been deleted or changed.
        _common.pop(key, None)
        return _with_all_words(connection, asked, deepest)
    if limit > first:
        return _and_all_others(connection, asked, best)
    return _Compared(best, common.matches, common.groups)


def _and_all_others(connection: Connection, asked: _Asked, first: list[_Found]) -> _Compared:
    named = {one.product_no for one in first}
    found = _compared(connection, asked, asked.question.limit, most=ALL)
    others = [one for one in found.best if one.product_no not in named]
    return _Compared(first + others, found.matches, found.groups, settled=len(first))


def _shared_pool(connection: Connection, asked: _Asked, size: int) -> set[int]:
    """What can be first of very many matches for anybody: what is popular, short titles with the
    words, and whatever comes. To be near to so common a text tells little."""
    names = ("popular", "in_title", "some")
    return {number for name in names for number in _listed(connection, asked, name, size)}


def _own_pool(connection: Connection, asked: _Asked) -> set[int]:
    """What can be first for this visitor, whose words are looked at later; and titles that are the
    text, a new one too."""
    question = asked.question
    pool = set(_listed(connection, asked, "titled", POOL))
    if asked.visitor is not None:
        # Most of these have other words; to search by words as well took ten times as long.
        found = nearest.nearest(
            connection,
            question.live_model,
            asked.visitor,
            question.where(nearest.ALIAS),
            INTERESTING,
            question.excluded,
        )
        pool.update(one.product_no for one in found)
    return pool


def _listed(connection: Connection, asked: _Asked, statement: str, size: int) -> Iterator[int]:
    filter = asked.question.where(ALIAS)
    parameters = _parameters(asked) | filter.params
    parameters |= {"pool": size, "walked": WALKED}
    rows = connection.execute(SQL.fill(statement, filter=filter.where), parameters, prepare=False)
    return (row[0] for row in rows)


# near in meaning --------------------------------------------------------------------------------


def _neighbours(connection: Connection, asked: _Asked, found: _Compared) -> list[_Found]:
    """Products near enough to what the text means that have not all its words."""
    question = asked.question
    if question.search.semantic is None or asked.vector is None:
        return []
    known = {one.product_no for one in found.best}
    neighbours = nearest.nearest(
        connection,
        question.live_model,
        asked.vector,
        question.where(nearest.ALIAS),
        NEIGHBOURS,
        question.excluded | known,
    )
    rows = connection.execute(
        SQL.fill("near_enough", texts=question.live_model.texts),
        {
            "site_id": question.site_id,
            "product_nos": int_array(one.product_no for one in neighbours),
            "raw": asked.raw,
            "least_cosine": question.search.semantic * SAME,
        },
    )
    numbers = [row[0] for row in rows]
    if not numbers:
        return []
    return _compared(connection, asked, NEIGHBOURS, product_nos=numbers).best


# everything -------------------------------------------------------------------------------------


def _recommended(connection: Connection, question: Question) -> list[Candidate]:
    """By interest and popularity, nothing left out for being touched."""
    vector = question.visitor.vector
    if vector is None or not question.search.personal:
        return popular.candidates(connection, question)
    dial = recommend.POPULARITY / question.search.personal
    return near.candidates(connection, question, vector, recommend.PART, popularity=dial)


def _all(connection: Connection, question: Question, found: list[Candidate]) -> Proposed:
    """And behind them what is sold out."""
    key = _key(connection, question, None)
    counted = _known(key) or _learned(connection, question, None, key)
    if len(found) == question.limit:
        return _with_total(question, found, counted.matches, counted.groups)
    filter = question.where(ALIAS)
    parameters = {
        "site_id": question.site_id,
        "excluded": int_array(question.excluded),
        "limit": question.limit - len(found),
        **filter.params,
    }
    rows = connection.execute(SQL.fill("sold_out", filter=filter.where), parameters)
    found += [Candidate(no, id_, group, {"popularity": 0.0}) for no, id_, group in rows]
    return _with_total(question, found, counted.matches, counted.groups)


# statements -------------------------------------------------------------------------------------


def _compared(
    connection: Connection,
    asked: _Asked,
    limit: int,
    *,
    most: int = ALL,
    product_nos: Iterable[int] | None = None,
) -> _Compared:
    """The best of those with all words, or of these; more than `most` are not compared."""
    filter = asked.question.where(ALIAS)
    statement = _statement(asked, filter, named=product_nos is not None)
    parameters = _parameters(asked) | filter.params | _WEIGHTS
    parameters |= {"limit": limit, "most": most, "product_nos": int_array(product_nos or ())}
    personal = asked.question.search.personal
    for name in ("with_interest", "near_interest"):
        parameters[name] *= personal
    rows = connection.execute(statement, parameters, prepare=False).fetchall()
    best = [_Found(*row[2:]) for row in rows if row[2] is not None]
    return _Compared(best, rows[0][0], rows[0][1])


_WEIGHTS: dict[str, Any] = {
    "exact": EXACT,
    "least": LEAST,
    "spread": SPREAD,
    **{f"with_{name}": weight for name, weight in WITH_WORDS.items()},
    **{f"near_{name}": weight for name, weight in BY_MEANING.items()},
}
_NOTHING = sql.SQL("null::float8")


def _statement(asked: _Asked, filter: Filter, *, named: bool) -> sql.Composed:
    found = SQL.fill(
        "by_number" if named else "by_words",
        level=_part("level") if asked.words else _NOTHING,
        filter=filter.where,
    )
    vectors: sql.Composable = sql.SQL("")
    if asked.vector is not None or asked.visitor is not None:
        vectors = SQL.fill("near", vectors=asked.question.live_model.vectors)
    return SQL.fill(
        "scored",
        found=found,
        vectors=vectors,
        meaning=_NOTHING if asked.vector is None else _part("meaning"),
        interest=_NOTHING if asked.visitor is None else _part("interest"),
    )


def _part(name: str) -> sql.SQL:
    return sql.SQL(SQL.statements[name])  # type: ignore[arg-type]


def _parameters(asked: _Asked) -> dict[str, Any]:
    words = asked.words
    return {
        "site_id": asked.question.site_id,
        "excluded": int_array(asked.question.excluded),
        "vector": asked.vector,
        "visitor": asked.visitor,
        "anywhere": words.anywhere if words else None,
        "in_title": words.in_title if words else None,
        "title": words.title if words else None,
        "metadata": words.metadata if words else None,
        "subtitle": words.subtitle if words else None,
        "count": words.count if words else None,
        "title_key": words.title_key if words else None,
    }


# what is common ---------------------------------------------------------------------------------


class _Common(NamedTuple):
    """Of words that very many products have: how many products and groups, -1 where counting took
    too long, and those to compare."""

    matches: int
    groups: int
    pool: Sequence[int]


_common: dict[bytes, tuple[float, _Common]] = {}


def _known(key: bytes) -> _Common | None:
    found = _common.get(key)
    return found[1] if found and found[0] > time.monotonic() else None


def _learned(
    connection: Connection,
    question: Question,
    asked: words.Query | None,
    key: bytes,
    pool: Iterable[int] = (),
) -> _Common:
    """Count, and remember it with the pool. A list is not held up where counting takes too long."""
    filter = question.where(ALIAS)
    statement = SQL.fill("counted" if asked else "counted_all", filter=filter.where)
    try:
        parameters = _count_parameters(question, asked)
        row = connection.execute(statement, parameters, prepare=False).fetchone()
    except psycopg.errors.QueryCanceled:
        return _Common(UNCOUNTED, UNCOUNTED, array("i", pool))
    assert row is not None, "an aggregate always gives one row"
    common = _Common(row[0], row[1], array("i", pool))
    if common.matches > MOST_COMPARED:
        if len(_common) >= MOST_KNOWN:
            _common.clear()
        _common[key] = (time.monotonic() + KNOWN_S, common)
    return common


def _key(connection: Connection, question: Question, asked: words.Query | None) -> bytes:
    where = question.where(ALIAS).where.as_bytes()
    about = repr((connection.info.dbname, where, _count_parameters(question, asked)))
    return blake2b(about.encode("utf-8", "replace"), digest_size=16).digest()


def _count_parameters(question: Question, asked: words.Query | None) -> dict[str, Any]:
    return {
        "site_id": question.site_id,
        "excluded": int_array(question.excluded),
        "anywhere": asked.anywhere if asked else None,
        **question.where(ALIAS).params,
    }
