"""Facets: how many of all that a search finds have which value, for `answer`.

Every match is counted, products or, where one variant stands for all, their groups: as many as the
search finds when it is narrowed to the value. Counts of very many matches are known for a minute.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import psycopg
from psycopg import sql

from ranking.catalog import facets as values
from ranking.catalog.facets import Ints
from ranking.catalog.records import int_array
from ranking.merchandising import filters
from ranking.merchandising.facets import Facet
from ranking.merchandising.filters import Expression, Filter, Scalar
from ranking.question import Question
from ranking.strategies import search
from ranking.strategies.searching.asked import ALIAS
from ranking.strategies.searching.common import KNOWN_S, MOST_COMPARED
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MOST = 500_000  # matches that are counted
MANY = MOST_COMPARED  # matches; the counts of more are remembered
MOST_KNOWN = 500  # of a process; each holds up to some hundred kilobytes

Counts = list[list[Any]]  # of [value, count]


def counted(connection: Connection, question: Question) -> dict[str, Counts]:
    """The counts of each facet by its name, most frequent first, equal ones by value; buckets as
    they were asked for. A facet whose counting took too long is left out."""
    found: dict[str, Counts] = {}
    try:
        for condition, asked in _together(question):
            question.check_time()
            found |= _of_one_search(connection, replace(question, filter=condition), asked)
    except psycopg.errors.QueryCanceled:
        pass  # the list itself is there, so it is shown with what is counted
    return {one.name: found[one.name] for one in question.facets.asked if one.name in found}


def _together(question: Question) -> Iterator[tuple[Expression, list[Facet]]]:
    """The facets that count the same matches, with the whole condition of these."""
    same: dict[Expression, list[Facet]] = {}
    for facet in question.facets.asked:
        same.setdefault(question.facets.others(facet), []).append(facet)
    yield from same.items()


def _of_one_search(
    connection: Connection, question: Question, asked: Sequence[Facet]
) -> dict[str, Counts]:
    matching = search.matching(connection, question)
    about = _key(connection, question, matching)
    found = {one.name: known for one in asked if (known := _known((about, one))) is not None}
    wanted = [one for one in asked if one.name not in found]
    simple = [one for one in wanted if not one.buckets]
    bucketed = [one for one in wanted if one.buckets]
    for counting, some in ((_by_value, simple), (_by_bucket, bucketed)):
        matches, counts = counting(connection, question, matching, some) if some else (0, {})
        found |= counts
        if matches > MANY:
            _remember({(about, one): counts[one.name] for one in some if one.name in counts})
    return found


# values -----------------------------------------------------------------------------------------


class _Described(NamedTuple):
    """All matches: each one's group, and every value with its field and the group it is of."""

    groups: Ints
    fields: Ints
    keys: Ints
    group_of: Ints


def _by_value(
    connection: Connection, question: Question, matching: Filter, asked: Sequence[Facet]
) -> tuple[int, dict[str, Counts]]:
    parameters = _parameters(question, matching) | {"most": MOST}
    statement = SQL.fill("described", matching=matching.where)
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(statement, parameters, prepare=False).fetchone()
    assert row is not None, "an aggregate always gives one row"
    matches, groups, lengths, pairs = row
    if matches > MOST:
        return 0, {}
    described = _described(question, groups, lengths, pairs)
    return matches, {one.name: _values(connection, question, described, one) for one in asked}


def _described(question: Question, groups: bytes, lengths: bytes, pairs: bytes) -> _Described:
    group = np.frombuffer(groups, ">i8").astype(np.int64)
    if not question.one_per_group:
        group = np.arange(len(group), dtype=np.int64)
    flat = np.frombuffer(pairs, ">i8")
    each = np.frombuffer(lengths, ">i4") // 16
    return _Described(group, flat[0::2], flat[1::2], np.repeat(group, each))


def _values(
    connection: Connection, question: Question, described: _Described, facet: Facet
) -> Counts:
    texts, of_texts = _tally(described, values.text_key(facet.field))
    numbers, of_numbers = _tally(described, values.number_key(facet.field))
    patterned = facet.include is not None or facet.exclude is not None
    if not patterned:
        # Only what can be shown needs to be read; of equally frequent ones all can.
        both = np.concatenate([of_texts, of_numbers])
        least = (
            -np.partition(-both, facet.size - 1)[facet.size - 1] if len(both) > facet.size else 0
        )
        texts, of_texts = texts[of_texts >= least], of_texts[of_texts >= least]
        numbers, of_numbers = numbers[of_numbers >= least], of_numbers[of_numbers >= least]
    known = values.values(connection, question.site_id, texts.tolist()) if len(texts) else {}
    told: list[tuple[Scalar, int]] = [
        (known[term], count)
        for term, count in zip(texts.tolist(), of_texts.tolist(), strict=True)
        if term in known
    ]
    told += zip(map(values.number_of, numbers.tolist()), of_numbers.tolist(), strict=True)
    if patterned:
        told = _spelled_so(connection, facet, told)
    told.sort(key=lambda one: (-one[1], _order(one[0])))
    return [list(one) for one in told[: facet.size]]


def _tally(described: _Described, field: int) -> tuple[Ints, Ints]:
    """The keys of a field's values, and of how many groups each is."""
    here = described.fields == field
    keys, at = np.unique(described.keys[here], return_inverse=True)
    if not len(keys):
        return keys.astype(np.int64), np.zeros(0, np.int64)
    groups, group = np.unique(described.group_of[here], return_inverse=True)
    # Of variants that share a value one counts.
    pairs = np.unique(at * np.int64(len(groups)) + group)
    return keys.astype(np.int64), np.bincount(pairs // len(groups), minlength=len(keys))


def _spelled_so(
    connection: Connection, facet: Facet, told: list[tuple[Scalar, int]]
) -> list[tuple[Scalar, int]]:
    texts = [one if isinstance(one, str) else json.dumps(one) for one, _ in told]
    asked = {"texts": texts, "include": facet.include, "exclude": facet.exclude}
    return [told[row[0]] for row in connection.execute(SQL.spelled_so, asked)]


def _order(value: Scalar) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 0, value
    return (2, value) if isinstance(value, str) else (1, value)


# buckets ----------------------------------------------------------------------------------------


def _by_bucket(
    connection: Connection, question: Question, matching: Filter, asked: Sequence[Facet]
) -> tuple[int, dict[str, Counts]]:
    buckets = list(dict.fromkeys(bucket for one in asked for bucket in one.buckets))
    beside = [filters.compile(one.condition, ALIAS) for one in buckets]
    beyond = any(one.joins_products for one in beside)
    if beyond:
        beside = [filters.compile(one.condition, filters.PRODUCTS) for one in buckets]
    counted = sql.SQL("distinct w.group_key" if question.one_per_group else "*")
    counts = [SQL.fill("in_one", counted=counted, condition=one.where) for one in beside]
    statement = SQL.fill(
        "in_buckets",
        counts=sql.SQL(", ").join(counts),
        products=sql.SQL(SQL.products if beyond else ""),  # type: ignore[arg-type]
        matching=matching.where,
    )
    parameters = _parameters(question, matching)
    for one in beside:
        parameters |= one.params
    row = connection.execute(statement, parameters, prepare=False).fetchone()
    assert row is not None, "an aggregate always gives one row"
    found = dict(zip(buckets, row[1:], strict=True))
    return row[0], {one.name: [[each.key, found[each]] for each in one.buckets] for one in asked}


def _parameters(question: Question, matching: Filter) -> dict[str, Any]:
    return {
        "site_id": question.site_id,
        "excluded": int_array(question.excluded),
        **matching.params,
    }


# what is known for a while ----------------------------------------------------------------------

_Key = tuple[bytes, Facet]
_counts: dict[_Key, tuple[float, Counts]] = {}


def _known(key: _Key) -> Counts | None:
    found = _counts.get(key)
    return found[1] if found and found[0] > time.monotonic() else None


def _remember(found: dict[_Key, Counts]) -> None:
    if len(_counts) >= MOST_KNOWN:
        _counts.clear()
    until = time.monotonic() + KNOWN_S
    _counts.update({key: (until, counts) for key, counts in found.items()})


def _key(connection: Connection, question: Question, matching: Filter) -> bytes:
    about = (
        connection.info.dbname, matching.where.as_bytes(), _parameters(question, matching),
        question.one_per_group,
    )  # fmt: skip
    return blake2b(repr(about).encode("utf-8", "replace"), digest_size=16).digest()
