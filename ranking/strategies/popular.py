"""Products by what everybody did: for visitors nobody knows yet, and to fill short lists."""

from __future__ import annotations

from typing import Literal

from psycopg import sql

from ranking.catalog.records import int_array
from ranking.question import Candidate, Question
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

ALIAS = "p"

Measure = Literal["popular", "trending"]
PARTS: dict[Measure, str] = {"popular": "popularity", "trending": "trending"}


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """The most popular products of the last seven days, then others."""
    return filled(connection, question, [])


def filled(connection: Connection, question: Question, found: list[Candidate]) -> list[Candidate]:
    """`found`, and behind it the most popular of the rest, up to the question's limit.

    What is filled in scores below everything found: its share of popularity times the lowest.
    """
    found = _continued(connection, question, found, "popular")
    if len(found) >= question.limit:
        return found
    rows = _rows(connection, question, found, "others", "popular")
    return found + [
        Candidate(no, id_, group, {"popularity": share}) for no, id_, group, share in rows
    ]


def most(connection: Connection, question: Question, measure: Measure) -> list[Candidate]:
    """Products by one measure, best first, each with its share of the highest."""
    return _continued(connection, question, [], measure)


def newest(connection: Connection, question: Question) -> list[Candidate]:
    """What came last into the catalog, newest first; each step back is worth less."""
    rows = _rows(connection, question, [], "others", "popular")
    return [
        Candidate(no, id_, group, {"new": 1 / place})
        for place, (no, id_, group, _) in enumerate(rows, start=1)
    ]


def _continued(
    connection: Connection, question: Question, found: list[Candidate], measure: Measure
) -> list[Candidate]:
    if len(found) >= question.limit:
        return found
    lowest = found[-1].score if found else 1.0
    rows = _rows(connection, question, found, "ranked", measure)
    return found + [
        Candidate(no, id_, group, {PARTS[measure]: lowest * share})
        for no, id_, group, share in rows
    ]


def _rows(
    connection: Connection,
    question: Question,
    found: list[Candidate],
    statement: str,
    measure: Measure,
) -> list[tuple[int, str, int, float]]:
    filter = question.where(ALIAS)
    parameters = {
        "site_id": question.site_id,
        "excluded": int_array(question.excluded.union(one.product_no for one in found)),
        "limit": question.limit - len(found),
        **filter.params,
    }
    filled = SQL.fill(statement, measure=sql.Identifier(measure), filter=filter.where)
    # A plan made once for all would not know how few a filter's values let through.
    prepare = False if filter.params else None
    return connection.execute(filled, parameters, prepare=prepare).fetchall()
