"""What a strategy proposes for a question: one of each group where one stands for all, ranked or in
the order that was asked for. `answer` puts it together with the question's rules.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from ranking import ordering
from ranking.catalog.records import Listed
from ranking.merchandising import rules
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import STRATEGIES
from schemas import tracing
from schemas.database import Connection

MORE_EACH_TRY = 4


def proposed(connection: Connection, question: Question, depth: int, welcome: int = 0) -> Proposed:
    """The first `depth`, if so many match: where variants fill the list, more are proposed. Up to
    `welcome` come too where that takes no further search."""
    propose = STRATEGIES[question.strategy]
    most = max(depth, welcome)
    limit = most + most // 4 if question.one_per_group else most
    while True:
        with tracing.span("candidates", strategy=question.strategy, limit=limit):
            found = propose(connection, replace(question, limit=limit))
        chosen = _one_each(question, found) if question.one_per_group else found
        if len(chosen) >= depth or len(found) < limit:
            return _first(question, found, chosen[:most])
        limit *= MORE_EACH_TRY


def ordered(connection: Connection, question: Question, depth: int) -> Proposed:
    """The first `depth` in the order that was asked for; of those that rules look at all is known,
    of the others what `completed` adds."""
    propose = STRATEGIES[question.strategy]
    with tracing.span("order"):
        found = ordering.candidates(connection, question, propose, depth)
    if not question.rules.looks_deep:
        return _first(question, found, found)
    first, others = found[: rules.DEEPEST], found[rules.DEEPEST :]
    return _first(question, found, completed(connection, question, first) + others)


def completed(connection: Connection, question: Question, some: list[Candidate]) -> list[Candidate]:
    """These of an order that was asked for, each as it is ranked."""
    with tracing.span("order"):
        return ordering.completed(connection, question, STRATEGIES[question.strategy], some)


def _first(question: Question, proposed: list[Candidate], chosen: list[Candidate]) -> Proposed:
    if not isinstance(proposed, Proposed):
        return Proposed(chosen, None)
    first = Proposed(chosen, proposed.total)
    first.search, first.others = proposed.search, proposed.others
    if question.one_per_group:
        first.others = _one_each(question, proposed.others)
    return first


def _one_each(question: Question, proposed: list[Candidate]) -> list[Candidate]:
    """The best of each group that was not given before."""
    first = rules.unique(proposed, group)
    given = question.before.groups
    return [one for one in first if one.group_key not in given] if given else first


def group(one: Candidate | Listed) -> Hashable:
    """What only the first is shown of: the one of its group that suits best."""
    return one.group_key


def number(one: Candidate | Listed) -> Hashable:
    """Which product it is, where all variants are shown."""
    return one.product_no
