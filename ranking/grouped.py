"""Lists of values: which categories, brands … suit a visitor, each with its own list, in the words
of `answer`, which makes the lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg

from ranking import answer, groups, proposals
from ranking.answer import List, Ranked
from ranking.groups import Grouping, Value
from ranking.merchandising import filters, rules
from ranking.merchandising.rules import NO_RULES
from ranking.proposals import MORE_EACH_TRY
from ranking.question import Candidate, Proposed, Question
from ranking.visitors import profile
from schemas.database import Connection

# The best of a value are few, and alike because they have it.
BY_SCORE = replace(NO_RULES, diversity=0.0)


@dataclass(frozen=True, slots=True)
class Group:
    """One value of a field: how many products that may be in a list have it, and the best."""

    value: Value
    total: int
    products: list[Ranked]


@dataclass(frozen=True, slots=True)
class Grouped:
    """As an Answer, of values."""

    miso_id: UUID | None
    groups: list[Group]
    interests: dict[str, Any] | None = None
    fallback: str | None = None


def grouped(connection: Connection, question: Question, grouping: Grouping) -> Grouped:
    """The values of a field that suit the visitor, each with its own list; the question's rules
    hold inside each."""
    within = replace(question, filter=filters.all_of([question.filter, grouping.condition]))
    asked = replace(within, rows=groups.POOL, rules=BY_SCORE)
    prepared, pool, fallback = answer.choose(connection, asked)
    of_each = replace(question.rules, diversity=BY_SCORE.diversity)
    prepared = replace(prepared, rows=grouping.products, rules=of_each)
    chosen = list(_groups(connection, prepared, grouping, pool))
    answer.ANSWERS.labels(question.strategy, fallback or "none").inc()
    every = rules.unique((one for _, _, of_it in chosen for one in of_it.page), proposals.number)
    return Grouped(
        miso_id=answer.remember_list(connection, question, every, is_list=False),
        groups=[
            Group(value, total, answer.show(connection, prepared, of_it, of_it.page))
            for value, total, of_it in chosen
        ],
        interests=profile.interests(prepared.visitor) if question.explain else None,
        fallback=fallback,
    )


def _groups(
    connection: Connection, question: Question, grouping: Grouping, pool: List
) -> Iterator[tuple[Value, int, List]]:
    """Each value with how many products have it, and its list."""
    having = groups.members(connection, question, grouping, pool.page)
    is_all = len(pool.page) < groups.POOL
    values = _values(connection, question, grouping, pool, having)
    given = 0
    while some := list(islice(values, grouping.rows - given)):
        question.check_time()
        if question.rules == BY_SCORE and not is_all:
            having |= _with_others(connection, question, grouping, some, having)
        for value in some:
            found = _group(connection, question, grouping, value, having.get(value, []), is_all)
            if found is not None:
                given += 1
                yield value, *found


def _group(
    connection: Connection,
    question: Question,
    grouping: Grouping,
    value: Value,
    members: list[Candidate],
    is_all: bool,
) -> tuple[int, List] | None:
    """How many products have the value, and its list; None where it is nothing to show."""
    question.check_time()
    total = groups.total(connection, question, grouping, value)
    if not (total or members):
        return None
    enough = is_all or len(members) >= grouping.products
    if enough and question.rules == BY_SCORE:
        of_it = List(members[: grouping.products], Proposed(members, None), [])
    else:
        of_it = _of_value(connection, question, grouping, value, members)
    if not of_it.page and grouping.products:
        return None
    return max(total, len(of_it.page)), of_it


def _values(
    connection: Connection,
    question: Question,
    grouping: Grouping,
    pool: List,
    having: dict[Value, list[Candidate]],
) -> Iterator[Value]:
    """Those that suit the visitor, then those of many products."""
    least = pool.page[-1].score if pool.page else 0.0
    best = groups.ordered(grouping, having, least)
    yield from best
    if len(pool.page) == groups.POOL:
        others = groups.frequent(connection, question, grouping)
        known = grouping.without.union(best)
        yield from (value for value in others if value not in known)


def _with_others(
    connection: Connection,
    question: Question,
    grouping: Grouping,
    values: Sequence[Value],
    having: Mapping[Value, list[Candidate]],
) -> dict[Value, list[Candidate]]:
    """Where too few of a value are among those that suit the visitor best: the best of its most
    popular and newest, too. To compare all of them takes a search for each value."""
    lacking = [value for value in values if len(having.get(value, ())) < grouping.products]
    if not lacking:
        return {}
    common = groups.frequent(connection, question, grouping)
    others = {number for value in lacking for number in common.get(value, ())}
    among = tuple(others - question.excluded)
    if not among:
        return {}
    asked = replace(question, among=among, rows=len(among), one_per_group=False)
    ranked = answer.rank(connection, asked).page
    key = proposals.group if question.one_per_group else proposals.number
    found = {}
    for value in lacking:
        of_it = set(common.get(value, ()))
        best = (one for one in ranked if one.product_no in of_it)
        found[value] = rules.unique([*having.get(value, ()), *best], key)
    return found


def _of_value(
    connection: Connection,
    question: Question,
    grouping: Grouping,
    value: Value,
    members: list[Candidate],
) -> List:
    """The list of one value; of the members that are known where asking for it takes too long."""
    having_it = filters.all_of([question.filter, grouping.of(value)])
    asked = replace(question, filter=having_it)
    while asked.rows:
        try:
            found = answer.rank(connection, asked)
        except psycopg.errors.QueryCanceled:
            break
        page = groups.members(connection, asked, grouping, found.page).get(value, [])
        if len(page) >= question.rows or len(found.page) < asked.rows:
            return found._replace(page=page[: question.rows])
        asked = replace(asked, rows=asked.rows * MORE_EACH_TRY)
    return List(members[: question.rows], Proposed(members, None), [])
