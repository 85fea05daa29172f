"""How well products fit a search: the parts of their score, made in one statement.

The score says which: the title is the text from .7 up, all words occur from .3 up, near in meaning
below. Within each, meaning, the visitor's interest and popularity decide. What is sold out counts
by its words alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from psycopg import sql

from ranking.catalog.records import int_array
from ranking.merchandising.filters import Filter
from ranking.question import Candidate, Proposed, Question
from ranking.strategies.searching.asked import ALIAS, Asked
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# Of a score from 0 to 1. No sum of the other parts lifts a product over one with better words.
EXACT, LEAST, SPREAD = 0.7, 0.3, 0.1
WITH_WORDS = {"meaning": 0.08, "interest": 0.12, "popularity": 0.10}
BY_MEANING = {"meaning": 0.24, "interest": 0.04, "popularity": 0.02}

ALL = 1_000_000_000
UNCOUNTED = -1


class Found(NamedTuple):
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


class Compared(NamedTuple):
    """The best of those found, and how many were: products and their groups, -1 where counting took
    too long. The first `settled` of the best stand before the others, whatever those score."""

    best: list[Found]
    matches: int
    groups: int
    settled: int = 0

    def and_also(self, others: list[Found]) -> Compared:
        """With others behind them, where all that were found are among the best."""
        both = self.best + others
        return Compared(both, len(both), len({one.group_key for one in both}))


# candidates -------------------------------------------------------------------------------------


def proposed(asked: Asked, found: Compared) -> Proposed:
    """What was found as candidates, best first, as many as the question's limit."""
    made = [
        Candidate(one.product_no, one.product_id, one.group_key, _parts(asked, one))
        for one in found.best
    ]
    made = _sorted(made[: found.settled]) + _sorted(made[found.settled :])
    return with_total(asked.question, made[: asked.question.limit], found.matches, found.groups)


def _sorted(made: list[Candidate]) -> list[Candidate]:
    return sorted(made, key=lambda one: (-one.score, one.product_no))


def with_total(question: Question, found: list[Candidate], matches: int, groups: int) -> Proposed:
    """With how many there are in all: groups, where one stands for all of its."""
    total = groups if question.one_per_group else matches
    return Proposed(found, None if total == UNCOUNTED else total)


def _parts(asked: Asked, one: Found) -> dict[str, float]:
    """The named parts, as `summed` of compared.sql adds them up."""
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


# the statement ----------------------------------------------------------------------------------


def compared(
    connection: Connection,
    asked: Asked,
    limit: int,
    *,
    most: int = ALL,
    product_nos: Iterable[int] | None = None,
) -> Compared:
    """The best of those with all words, or of these; more than `most` are not compared."""
    filter = asked.question.where(ALIAS)
    statement = _statement(asked, filter, named=product_nos is not None)
    parameters = asked.parameters | filter.params | _WEIGHTS
    parameters |= {"limit": limit, "most": most, "product_nos": int_array(product_nos or ())}
    personal = asked.question.search.personal
    for name in ("with_interest", "near_interest"):
        parameters[name] *= personal
    rows = connection.execute(statement, parameters, prepare=False).fetchall()
    best = [Found(*row[2:]) for row in rows if row[2] is not None]
    return Compared(best, rows[0][0], rows[0][1])


_WEIGHTS: dict[str, Any] = {
    "exact": EXACT,
    "least": LEAST,
    "spread": SPREAD,
    **{f"with_{name}": weight for name, weight in WITH_WORDS.items()},
    **{f"near_{name}": weight for name, weight in BY_MEANING.items()},
}
_NOTHING = sql.SQL("null::float8")


def _statement(asked: Asked, filter: Filter, *, named: bool) -> sql.Composed:
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
