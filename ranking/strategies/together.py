"""What is bought together with the products a page, or a cart, is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ranking.catalog.records import int_array
from ranking.question import Candidate, Question
from ranking.strategies import popular, similar
from ranking.strategies.similar import Anchor
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

PART = "together"


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """By how often it was bought with the anchors, or variants of them; behind that by likeness.

    Raises UnknownProducts where no anchor is in the catalog.
    """
    anchors = similar.anchors(connection, question)
    excluded = question.excluded | similar.left_out(anchors, question)
    question = replace(question, excluded=excluded)
    found = _bought(connection, question, anchors)
    if len(found) == question.limit:
        return found
    excluded = excluded.union(one.product_no for one in found)
    rest = replace(question, excluded=excluded, limit=question.limit - len(found))
    lowest = found[-1].score if found else 1.0
    return found + [_below(lowest, one) for one in similar.like(connection, rest, anchors)]


def _bought(
    connection: Connection, question: Question, anchors: Sequence[Anchor]
) -> list[Candidate]:
    filter = question.where(popular.ALIAS)
    variants = {number for anchor in anchors for number in (anchor.product_no, *anchor.variants)}
    parameters = {
        "site_id": question.site_id,
        "anchors": int_array(sorted(variants)),
        "count": len(anchors),
        "excluded": int_array(question.excluded),
        "limit": question.limit,
        **filter.params,
    }
    rows = connection.execute(SQL.fill("bought", filter=filter.where), parameters)
    return [Candidate(no, id_, group, {PART: score}) for no, id_, group, score in rows]


def _below(lowest: float, one: Candidate) -> Candidate:
    """What fills the list up scores below everything that was bought with the anchors."""
    return one._replace(parts={name: lowest * part for name, part in one.parts.items()})
