"""What a text is looked for: products that have all its words, the visitor's kind first, and where
asked for, behind them those that are near to what it means.

The score says which: the title is the text from .7 up, all words occur from .3 up, near in meaning
below. Within each, meaning, the visitor's interest and popularity decide. What is sold out counts
by its words alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from ranking.catalog import nearest, queries, words
from ranking.catalog.nearest import Vector
from ranking.catalog.records import int_array
from ranking.merchandising.filters import Filter
from ranking.question import Candidate, Question
from ranking.strategies import near, popular, recommend
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

ALIAS = "w"  # what filters call product_words
EVERYTHING = "*"

# Of a score from 0 to 1. No sum of the other parts lifts a product over one with better words.
EXACT, LEAST, SPREAD = 0.7, 0.3, 0.1
WITH_WORDS = {"meaning": 0.08, "interest": 0.12, "popularity": 0.10}
BY_MEANING = {"meaning": 0.20, "interest": 0.06, "popularity": 0.04}

MOST_COMPARED = 1500  # matches; of more, a pool is compared
POOL = 200  # of the most popular matches, and half of it of those nearest to each vector
ALL = 1_000_000_000
WALKED = 3000  # of the most popular products, to find those
DEEPEST_POOLED = 100  # the pool is good for the first so many
NEIGHBOURS = 100  # in meaning, at most
# The raw cosine of a query and a product that is just that: a nearness of 1. At half of it the demo
# shop has hot water bottles for "keep warm at night" and nothing for "qwerty".
SAME = 0.7
COMPLETED = 200  # fewer products with all words than that are completed by neighbours

TOTAL_CACHE_S = 10.0
CACHED_FROM = 1000  # what takes long to count
CACHED = 10_000


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


class _Asked(NamedTuple):
    """The question's text as words and as a vector, raw and as the live model serves it, and the
    visitor's vector; each None where there is none."""

    question: Question
    words: words.Query | None
    raw: Vector | None = None
    vector: Vector | None = None
    visitor: Vector | None = None


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """Products for `question.query`; all of them for "*", by interest and popularity."""
    if question.query.strip() == EVERYTHING:
        return _everything(connection, question)
    asked = _asked(connection, question)
    if question.semantic is None or asked.vector is None:
        return _candidates(asked, _with_all_words(connection, asked, question.limit))
    # All of few, whatever the page, so that every page has the same neighbours behind them.
    found = _with_all_words(connection, asked, max(question.limit, COMPLETED))
    if len(found) < COMPLETED:
        found += _neighbours(connection, asked, found)
    return _candidates(asked, found)


def lexical(connection: Connection, question: Question) -> list[Candidate]:
    """The same by words and popularity alone: asks no vectors, for when they take too long."""
    if question.query.strip() == EVERYTHING:
        return _and_sold_out(connection, question, popular.candidates(connection, question))
    asked = _Asked(question, _words(connection, question))
    return _candidates(asked, _with_all_words(connection, asked, question.limit))


def total(connection: Connection, question: Question) -> int:
    """How many products (or groups, where one stands for all) the whole list has."""
    if question.query.strip() == EVERYTHING:
        return _count(connection, question, sql.SQL("true"), {})
    asked = _asked(connection, question)
    matching = 0
    if asked.words:
        where = sql.SQL("w.words @@ %(anywhere)s::tsquery")
        matching = _count(connection, question, where, {"anywhere": asked.words.anywhere})
    if matching >= COMPLETED or question.semantic is None:
        return matching
    proposed = candidates(connection, replace(question, limit=COMPLETED + NEIGHBOURS))
    return len({one.group_key for one in proposed}) if question.one_per_group else len(proposed)


def _candidates(asked: _Asked, found: list[_Found]) -> list[Candidate]:
    proposed = [
        Candidate(one.product_no, one.product_id, one.group_key, _parts(asked, one))
        for one in found
    ]
    proposed.sort(key=lambda one: (-one.score, one.product_no))
    return proposed[: asked.question.limit]


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
        parts["interest"] = weights["interest"] * asked.question.personal * max(0.0, one.interest)
    if one.share is not None:
        parts["popularity"] = weights["popularity"] * min(1.0, one.share)
    elif one.new_share:
        parts["new"] = weights["popularity"] * min(1.0, one.new_share)
    return parts


# what is asked ----------------------------------------------------------------------------------


def _asked(connection: Connection, question: Question) -> _Asked:
    raw = queries.vectors(connection, question.site_id, [question.query]).get(question.query)
    return _Asked(
        question,
        _words(connection, question),
        raw,
        None if raw is None else question.live_model.transform(raw[np.newaxis])[0],
        question.visitor.vector if question.personal else None,
    )


def _words(connection: Connection, question: Question) -> words.Query | None:
    languages = (
        (question.language,) if question.language else words.languages(connection, question.site_id)
    )
    return words.query(question.site_id, question.query, languages)


# with all words ---------------------------------------------------------------------------------


def _with_all_words(connection: Connection, asked: _Asked, limit: int) -> list[_Found]:
    """The best of the products that have every word."""
    if asked.words is None:
        return []
    found, matches = _compared(connection, asked, limit, most=MOST_COMPARED)
    if matches <= MOST_COMPARED:
        return found
    pool = _pool(connection, asked) if limit <= DEEPEST_POOLED else set()
    if len(pool) < limit:  # a deep page, or a shop of which nothing is known
        return _compared(connection, asked, limit, most=ALL)[0]
    return _compared(connection, asked, limit, product_nos=pool)[0]


def _pool(connection: Connection, asked: _Asked) -> set[int]:
    """Of very many matches those that can be first: titles that are the text, what is popular, and
    what is near to the text and to the visitor."""
    assert asked.words is not None
    question = asked.question
    filter = question.where(ALIAS)
    parameters = _parameters(asked) | filter.params | {"pool": POOL, "walked": WALKED}
    pool: set[int] = set()
    for name in ("titled", "popular"):
        rows = connection.execute(SQL.fill(name, filter=filter.where), parameters, prepare=False)
        pool.update(row[0] for row in rows)
    for vector in (asked.visitor, asked.vector):
        if vector is not None:
            found = nearest.nearest(
                connection,
                question.live_model,
                vector,
                _filter_with_words(asked),
                POOL // 2,
                question.excluded,
            )
            pool.update(one.product_no for one in found)
    return pool


def _filter_with_words(asked: _Asked) -> Filter:
    assert asked.words is not None
    filter = asked.question.where(nearest.ALIAS)
    where = sql.SQL("({} and {})").format(filter.where, sql.SQL(SQL.with_words))  # type: ignore[arg-type]
    return Filter(where, filter.params | {"anywhere": asked.words.anywhere}, joins_products=True)


# near in meaning --------------------------------------------------------------------------------


def _neighbours(connection: Connection, asked: _Asked, found: Iterable[_Found]) -> list[_Found]:
    """Products near enough to what the text means that have not all its words."""
    question = asked.question
    if question.semantic is None or asked.vector is None:
        return []
    known = {one.product_no for one in found}
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
            "least_cosine": question.semantic * SAME,
        },
    )
    numbers = [row[0] for row in rows]
    if not numbers:
        return []
    return _compared(connection, asked, NEIGHBOURS, product_nos=numbers)[0]


# everything -------------------------------------------------------------------------------------


def _everything(connection: Connection, question: Question) -> list[Candidate]:
    """By interest and popularity as recommended, and behind them what is sold out."""
    vector = question.visitor.vector
    if vector is None or not question.personal:
        found = popular.candidates(connection, question)
    else:
        dial = recommend.POPULARITY / question.personal
        found = near.candidates(connection, question, vector, recommend.PART, popularity=dial)
    return _and_sold_out(connection, question, found)


def _and_sold_out(
    connection: Connection, question: Question, found: list[Candidate]
) -> list[Candidate]:
    if len(found) == question.limit:
        return found
    filter = question.where(ALIAS)
    parameters = {
        "site_id": question.site_id,
        "excluded": int_array(question.excluded),
        "limit": question.limit - len(found),
        **filter.params,
    }
    rows = connection.execute(SQL.fill("sold_out", filter=filter.where), parameters)
    return found + [Candidate(no, id_, group, {"popularity": 0.0}) for no, id_, group in rows]


# statements -------------------------------------------------------------------------------------


def _compared(
    connection: Connection,
    asked: _Asked,
    limit: int,
    *,
    most: int = ALL,
    product_nos: Iterable[int] | None = None,
) -> tuple[list[_Found], int]:
    """The best of those with all words, or of these, and how many they are; more than `most` are
    not compared."""
    filter = asked.question.where(ALIAS)
    statement = _statement(asked, filter, named=product_nos is not None)
    parameters = _parameters(asked) | filter.params | _WEIGHTS
    parameters |= {"limit": limit, "most": most, "product_nos": int_array(product_nos or ())}
    personal = asked.question.personal
    for name in ("with_interest", "near_interest"):
        parameters[name] *= personal
    rows = connection.execute(statement, parameters, prepare=False).fetchall()
    return [_Found(*row[1:]) for row in rows if row[1] is not None], rows[0][0]


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
        "title": words.title if words else None,
        "metadata": words.metadata if words else None,
        "subtitle": words.subtitle if words else None,
        "count": words.count if words else None,
        "title_key": words.title_key if words else None,
    }


# counting ---------------------------------------------------------------------------------------

_counts: dict[Any, tuple[float, int]] = {}


def _count(
    connection: Connection, question: Question, matching: sql.Composable, values: dict[str, Any]
) -> int:
    """Products or groups that match; many of them a few seconds old at most."""
    filter = question.where(ALIAS)
    excluded = int_array(question.excluded)
    key = (
        connection.info.dbname, question.site_id, question.one_per_group, excluded,
        repr(values), filter.where.as_bytes(), repr(filter.params),
    )  # fmt: skip
    known = _counts.get(key)
    if known and known[0] > time.monotonic():
        return known[1]
    row = connection.execute(
        SQL.fill("total", matching=matching, filter=filter.where),
        {"site_id": question.site_id, "excluded": excluded, **values, **filter.params},
        prepare=False,
    ).fetchone()
    assert row is not None, "an aggregate always gives one row"
    counted = int(row[0] if question.one_per_group else row[1])
    if counted >= CACHED_FROM:
        if len(_counts) >= CACHED:
            _counts.clear()
        _counts[key] = (time.monotonic() + TOTAL_CACHE_S, counted)
    return counted
