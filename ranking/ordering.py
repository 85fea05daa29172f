"""A search in the order that it asks for, for `answer`: all that it finds, sorted by the keys, what
they leave equal by the ranking.

By fields all matches are sorted, however many. By scores, of which only the ranking knows, its best
MOST_SCORED are, and the others follow as it has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from ranking.catalog.records import int_array
from ranking.merchandising import filters, order
from ranking.merchandising.filters import COLUMN_FIELDS, Filter
from ranking.merchandising.order import BOOSTING, DISTANCE, PERSONAL, SEARCH, Floats, Ints, Key
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import search
from ranking.strategies.searching.common import KNOWN_S, MOST_COMPARED
from ranking.strategies.searching.worded import DEEPEST_POOLED
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MOST_SCORED = 2_500
DEEPEST = 10_000  # of the ranking, for those that many keys leave equal
MOST_KNOWN = 4_000_000  # products in sorted lists of a process, 20 bytes each
MORE_EACH_TRY = 4

_Ranks = dict[int, tuple[int, Candidate]]
Propose = Callable[[Connection, Question], Sequence[Candidate]]


class _Sorted(NamedTuple):
    """Products in their order, each with its group and the number of its tie."""

    product_nos: Ints
    groups: Ints
    tie: Ints


def candidates(
    connection: Connection, question: Question, propose: Propose, depth: int
) -> Proposed:
    """The first `depth` products of the search, one a group or all; of what it lists apart the
    best, in the same order.

    Those that need no ranking have only their numbers: `completed` makes candidates of them.
    """
    by_scores = any(key.names & order.SCORES for key in question.order)
    first = _first_by_scores if by_scores else _first_by_fields
    found, total = first(connection, question, propose, depth)
    made = Proposed(found, total)
    if question.search.completes:
        whole = propose(connection, replace(question, limit=max(question.rows, DEEPEST_POOLED)))
        if isinstance(whole, Proposed):
            made.search, made.others = whole.search, _scored(connection, question, whole.others)
    return made


def _first_by_fields(
    connection: Connection, question: Question, propose: Propose, depth: int
) -> tuple[list[Candidate], int]:
    found = _by_fields(connection, question)
    key = found.groups if question.one_per_group else found.product_nos
    firsts = np.sort(np.unique(key, return_index=True)[1])
    if not len(firsts):
        return [], 0
    end = int(firsts[min(depth, len(firsts)) - 1]) + 1 if depth else 0
    ranked = _ranked(connection, question, propose, found, end, depth)
    made: dict[int, Candidate] = {}
    for one in ranked:
        made.setdefault(one.group_key if question.one_per_group else one.product_no, one)
    return list(made.values())[:depth], len(firsts)


def completed(
    connection: Connection, question: Question, propose: Propose, some: Sequence[Candidate]
) -> list[Candidate]:
    """The same, each as the ranking proposes it; without what is no longer there."""
    bare = [one.product_no for one in some if not one.product_id]
    if not bare:
        return list(some)
    found = {one.product_no: one for one in _proposed(connection, question, propose, bare)}
    return [
        found.get(one.product_no, one) for one in some if one.product_id or one.product_no in found
    ]


def _proposed(
    connection: Connection, question: Question, propose: Propose, product_nos: Iterable[int],
) -> Sequence[Candidate]:  # fmt: skip
    """These products as the ranking orders them."""
    among = tuple(product_nos)
    return propose(connection, replace(question, among=among, limit=len(among))) if among else []


# by fields --------------------------------------------------------------------------------------


def _ranked(
    connection: Connection, question: Question, propose: Propose, found: _Sorted, end: int,
    depth: int,
) -> list[Candidate]:  # fmt: skip
    """The products up to there and all equal to the last one, equal ones by the ranking."""
    if not end:
        return []
    last = found.tie[end - 1]
    begin, stop = (int(one) for one in np.searchsorted(found.tie, [last, last + 1]))
    ranks = _ranks(_proposed(connection, question, propose, _tied(found, begin)))
    before = sorted(range(begin), key=lambda at: (found.tie[at], *_rank(ranks, found, at)))
    best, enough = _last_ranks(connection, question, propose, found, begin, stop, depth)
    ranks |= best
    behind: Iterable[int] = range(begin, stop)
    if enough:
        behind = (
            begin + np.flatnonzero(np.isin(found.product_nos[begin:stop], list(best)))
        ).tolist()
    arranged = [*before, *sorted(behind, key=lambda at: _rank(ranks, found, at))]
    return [_candidate(ranks, found, at) for at in arranged]


def _candidate(ranks: _Ranks, found: _Sorted, at: int) -> Candidate:
    """The one that the ranking proposed, or one that only says which product it is."""
    number = int(found.product_nos[at])
    return ranks[number][1] if number in ranks else Candidate(number, "", int(found.groups[at]), {})


def _tied(found: _Sorted, end: int) -> list[int]:
    """The products up to there that have others equal to them."""
    _, first, count = np.unique(found.tie[:end], return_index=True, return_counts=True)
    shared = np.repeat(count > 1, count) if len(first) else np.zeros(0, bool)
    product_nos: list[int] = found.product_nos[:end][shared].tolist()
    return product_nos


def _last_ranks(
    connection: Connection, question: Question, propose: Propose, found: _Sorted, begin: int,
    stop: int, depth: int,
) -> tuple[_Ranks, bool]:  # fmt: skip
    """Of the last equal ones, which may be very many, as many as are needed, and whether that went.

    Many are looked for in the whole ranking: to compare just these would cost more. How that is
    decided, and how deep is looked at most, is the same for every page.
    """
    if stop - begin < 2:
        return {}, False
    key = found.groups if question.one_per_group else found.product_nos
    before = set(key[:begin].tolist())
    numbers = found.product_nos[begin:stop].tolist()
    needed = depth - len(before)
    many = len(numbers) > MOST_COMPARED
    among, most = (None, DEEPEST) if many else (tuple(numbers), len(numbers))
    last = set(numbers)
    limit = needed + needed // 4 + 1
    if many:
        limit = limit * len(key) // len(numbers)
    while True:
        asked = replace(question, among=among, limit=min(limit, most))
        proposed = propose(connection, asked)
        ranked = [one for one in proposed if one.product_no in last]
        known = {one.group_key if question.one_per_group else one.product_no for one in ranked}
        enough = len(known - before) >= needed
        if enough or len(proposed) < limit:
            return _ranks(ranked), enough
        limit *= MORE_EACH_TRY


def _ranks(ranked: Iterable[Candidate]) -> _Ranks:
    return {one.product_no: (rank, one) for rank, one in enumerate(ranked)}


def _rank(ranks: _Ranks, found: _Sorted, at: int) -> tuple[int, int]:
    """Those that the ranking has not been asked for are behind, the newest first."""
    number = int(found.product_nos[at])
    return (ranks[number][0], 0) if number in ranks else (len(ranks), -number)


def _by_fields(connection: Connection, question: Question) -> _Sorted:
    """All that the search finds; of very many the order is known for a minute."""
    matching = search.matching(connection, question)
    about = _key(connection, question, matching)
    known = _lists.get(about)
    if known is not None and known[0] > time.monotonic():
        return known[1]
    numbers, groups, values = _valued(connection, question, matching)
    keys = [
        (key, order.evaluated(key, of_key, len(numbers)))
        for key, of_key in zip(question.order, values, strict=True)
    ]
    at, tie = order.sorted_by(keys)
    made = _Sorted(numbers[at], groups[at], tie.astype(np.int32))
    if len(numbers) > MOST_COMPARED:
        _remember(about, made)
    return made


_lists: dict[bytes, tuple[float, _Sorted]] = {}


def _remember(about: bytes, made: _Sorted) -> None:
    kept = sum(len(one.tie) for _, one in tuple(_lists.values()))
    if kept + len(made.tie) > MOST_KNOWN:
        _lists.clear()
    _lists[about] = (time.monotonic() + KNOWN_S, made)


def _key(connection: Connection, question: Question, matching: Filter) -> bytes:
    boosts = tuple(one.condition for one in question.rules.boosts)
    about = (
        connection.info.dbname, matching.where.as_bytes(), matching.params, question.site_id,
        sorted(question.excluded), question.order, boosts,
    )  # fmt: skip
    return blake2b(repr(about).encode("utf-8", "replace"), digest_size=16).digest()


# by scores --------------------------------------------------------------------------------------


def _first_by_scores(
    connection: Connection, question: Question, propose: Propose, depth: int
) -> tuple[list[Candidate], int]:
    limit = max(MOST_SCORED, depth + depth // 4 + 1)
    while True:
        proposed = propose(connection, replace(question, limit=limit))
        first = _scored(connection, question, list(proposed[:MOST_SCORED]))
        made: dict[int, Candidate] = {}
        for one in [*first, *proposed[MOST_SCORED:]]:
            made.setdefault(one.group_key if question.one_per_group else one.product_no, one)
        if len(made) >= depth or len(proposed) < limit:
            break
        limit *= MORE_EACH_TRY
    total = proposed.total if isinstance(proposed, Proposed) else None
    return list(made.values())[:depth], len(made) if total is None else total


def _scored(connection: Connection, question: Question, found: list[Candidate]) -> list[Candidate]:
    """These candidates in the order that was asked for."""
    among = Filter(
        sql.SQL(SQL.among),  # type: ignore[arg-type]
        {"product_nos": int_array(one.product_no for one in found)},
        joins_products=False,
    )
    numbers, _, values = _valued(connection, question, among)
    place = {int(number): at for at, number in enumerate(numbers)}
    found = [one for one in found if one.product_no in place]
    at = np.array([place[one.product_no] for one in found], np.int64)
    scores = {
        SEARCH: np.array([one.score for one in found]),
        PERSONAL: np.array([search.fit(question, one.score, one.parts) for one in found]),
    }
    keys = [
        (key, order.evaluated(key, {n: v[at] for n, v in of_key.items()} | scores, len(found)))
        for key, of_key in zip(question.order, values, strict=True)
    ]
    return [found[index] for index in order.sorted_by(keys)[0]]


# values -----------------------------------------------------------------------------------------


def _valued(
    connection: Connection, question: Question, matching: Filter
) -> tuple[Ints, Ints, list[dict[str, Floats]]]:
    """The numbers and groups of all matches, and for each key its values by name."""
    columns = _Columns(question)
    wanted = [
        {name: columns.place(name, key) for name in key.names - order.SCORES}
        for key in question.order
    ]
    statement = SQL.fill(
        "valued",
        columns=sql.SQL("").join(SQL.fill("column", value=one) for one in columns.values),
        products=sql.SQL(SQL.products if columns.beyond else ""),  # type: ignore[arg-type]
        matching=matching.where,
    )
    parameters = {
        "site_id": question.site_id,
        "excluded": int_array(question.excluded),
        **matching.params,
        **columns.params,
    }
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(statement, parameters, prepare=False).fetchone()
    assert row is not None, "an aggregate always gives one row"
    read = [np.frombuffer(one, ">f8").astype(np.float64) for one in row[2:]]
    return (
        np.frombuffer(row[0], ">i4").astype(np.int64),
        np.frombuffer(row[1], ">i8").astype(np.int64),
        [{name: read[place] for name, place in places.items()} for places in wanted],
    )


class _Columns:
    """What is read of each match, each thing once."""

    def __init__(self, question: Question) -> None:
        self.boosts = [one.condition for one in question.rules.boosts]
        self.values: list[sql.Composable] = []
        self.params: dict[str, Any] = {}
        self.beyond = False
        self._places: dict[tuple[str, Any], int] = {}

    def place(self, name: str, key: Key) -> int:
        about = (name, key.geo if name == DISTANCE else None)
        if about not in self._places:
            self._places[about] = len(self.values)
            self.values.append(self._value(name, key))
        return self._places[about]

    def _value(self, name: str, key: Key) -> sql.Composable:
        if name in COLUMN_FIELDS:
            return sql.SQL("w.{}").format(sql.Identifier(name))
        if name == DISTANCE:
            assert key.geo is not None, "the door refuses a distance from nowhere"
            lat, lon = (self._bind(filters.degrees(one)) for one in key.geo)
            return SQL.fill("distance", lat=lat, lon=lon)
        self.beyond = True
        if name == BOOSTING:
            compiled = filters.compile(filters.any_of(self.boosts), filters.PRODUCTS)
            self.params |= compiled.params
            return SQL.fill("boosted", condition=compiled.where)
        true, false = (self._bind(filters.term(name, one)) for one in (True, False))
        return SQL.fill("ranged", field=self._bind(name), true=true, false=false)

    def _bind(self, value: float | str) -> sql.Composable:
        name = f"order_{len(self.params)}"
        self.params[name] = value
        kind = {float: "float8", int: "bigint", str: "text"}[type(value)]
        return sql.SQL("{}::{}").format(sql.Placeholder(name), sql.SQL(kind))  # type: ignore[arg-type]
