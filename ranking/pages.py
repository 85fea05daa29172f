"""Lists given out page by page: what a visitor was given under a `pagination_id`, so that no page
repeats another. `answer` reads it before a page, and keeps what that page added.

Who sends no id of a visitor shares a list only with whoever asks the very same under the same
`pagination_id`: so nobody sees what another was given for a taste or a filter of theirs, or changes
another's pages.

One row a list, in Postgres. Requests at once for pages of one list do not wait for each other: who
comes second with a change finds another version and starts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from ranking.catalog.records import int_array
from ranking.merchandising import rules
from ranking.merchandising.exploration import NOT_EXPLORING
from ranking.question import Before, Candidate, Question
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

IDLE = timedelta(minutes=30)
TRIES = 50  # of requests at once one gets through each time
MOST_VARIANTS = 2000  # of one page's groups

ALIAS = "p"


@dataclass(frozen=True, slots=True)
class Paged:
    """What was given so far, in order; None in place of what may not be in the list any more.
    `version` 0: nothing is kept yet."""

    version: int = 0
    served: Sequence[Candidate | None] = ()
    variants: frozenset[int] = frozenset()

    def lacks(self, end: int) -> int:
        """How many products are missing of the first `end`."""
        return self.holes + max(0, end - len(self.served))

    @property
    def holes(self) -> int:
        return sum(one is None for one in self.served)


def read(connection: Connection, question: Question) -> Paged:
    """The list as far as it was given, from the asked page on with what may still be shown.

    Asked for otherwise than before (another filter, other rules) it begins anew where the page
    does; what stands before stays as it was.
    """
    row = connection.execute(SQL.read, _named(question)).fetchone()
    if row is None:
        return Paged()
    asked, version, served, variants = row
    known: list[Candidate | None] = [
        Candidate(no, "", group, parts, boosts=tuple(boosts), source=source, put=put, chance=chance)
        for no, group, parts, boosts, source, put, chance in served
    ]
    if asked != _asked(question):
        del known[question.start :]
    # Behind the page too: where nothing is left for a hole, what follows moves up.
    known[question.start :] = _still(connection, question, known[question.start :])
    return Paged(version, known, frozenset(variants))


def rest(question: Question, paged: Paged) -> Question:
    """The question for what the page lacks, as if the list began there."""
    given = [one for one in paged.served if one is not None]
    before = Before(
        count=len(given),
        given=tuple(one.product_no for one in given),
        product_nos=paged.variants.union(one.product_no for one in given),
        groups=frozenset(one.group_key for one in given if question.one_per_group),
    )
    return replace(
        question,
        start=0,
        rows=paged.lacks(question.start + question.rows),
        rules=rules.behind(question.rules, before.count),
        # What fills a hole may come to stand at a place that is never left to chance.
        exploring=NOT_EXPLORING if paged.holes else question.exploring,
        before=before,
    )


def filled(paged: Paged, found: Iterable[Candidate]) -> Paged:
    """With these in the holes and at the end; a hole that nothing is left for closes."""
    left = iter(found)
    served = [next(left, None) if one is None else one for one in paged.served]
    return replace(paged, served=[*(one for one in served if one is not None), *left])


def keep(
    connection: Connection, question: Question, paged: Paged, found: Sequence[Candidate]
) -> bool:
    """Write what was given, with what `found` added to it; False where another request has
    changed it since."""
    variants = paged.variants.union(_variants(connection, question, found))
    served = [
        [one.product_no, one.group_key, one.parts, one.boosts, one.source, one.put, one.chance]
        for one in paged.served
        if one
    ]
    parameters = _named(question) | {
        "actor_id": question.actor,
        "asked": _asked(question),
        "version": paged.version,
        "served": database.jsonb(served),
        "variants": int_array(sorted(variants)),
    }
    statement = SQL.go_on if paged.version else SQL.begin
    return connection.execute(statement, parameters).rowcount > 0


def touch(connection: Connection, question: Question) -> None:
    """Somebody still goes through the list. One that is nobody's lapses nevertheless, or it would
    stay as it is for as long as anybody comes."""
    if question.actor is not None:
        connection.execute(SQL.touch, _named(question))


def purge(connection: Connection, before: datetime) -> int:
    """Forget lists that nobody has asked for since before then."""
    return connection.execute(SQL.purge, {"before": before}).rowcount


def _still(
    connection: Connection, question: Question, given: Sequence[Candidate | None]
) -> list[Candidate | None]:
    if not given:
        return []
    filter = question.where(ALIAS)
    numbers = [one.product_no for one in given if one]
    parameters = {"site_id": question.site_id, "product_nos": int_array(numbers), **filter.params}
    ids = dict(connection.execute(SQL.fill("still", filter=filter.where), parameters).fetchall())
    return [
        one._replace(product_id=ids[one.product_no]) if one and one.product_no in ids else None
        for one in given
    ]


def _variants(
    connection: Connection, question: Question, found: Sequence[Candidate]
) -> Iterable[int]:
    """The products that these stand for beside themselves."""
    if not (found and question.one_per_group):
        return ()
    parameters = {
        "site_id": question.site_id,
        "groups": int_array(one.group_key for one in found),
        "product_nos": int_array(one.product_no for one in found),
        "limit": MOST_VARIANTS,
    }
    return (row[0] for row in connection.execute(SQL.variants, parameters))


def _named(question: Question) -> dict[str, Any]:
    """Which row: another visitor, another kind of list or other anchors are another list; of
    nobody, anything else that the list depends on, too."""
    whose: tuple[Any, ...] = (question.pagination_id, question.actor, question.alone)
    if question.actor is None:
        whose += (_asked(question), question.additional, question.cohort)
    which = (question.strategy, tuple(question.anchors), tuple(question.anchor_groups))
    return {
        "site_id": question.site_id,
        "list_hash": _hash(whose, which),
        "at": question.at,
        "idle": IDLE,
    }


def _asked(question: Question) -> UUID:
    may_be = (question.filter, tuple(question.exclude), question.one_per_group)
    return _hash(may_be, question.rules)


def _hash(*parts: Any) -> UUID:
    text = repr(parts).encode("utf-8", "surrogatepass")
    return UUID(bytes=blake2b(text, digest_size=16).digest())
