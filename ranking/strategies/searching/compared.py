"""How well products fit a search: the parts of their score, made in one statement. What is sold
out counts by its words alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from psycopg import sql

from ranking.catalog.records import int_array
from ranking.merchandising.filters import Filter
from ranking.question import Candidate, Proposed, Question
from ranking.strategies.searching.asked import ALIAS, Asked
from ranking.strategies.searching.weights import Weights, weights
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

ALL = 1_000_000_000
UNCOUNTED = -1


class Found(NamedTuple):
    """A product with what its parts are made of."""

    product_no: int
    product_id: str
    group_key: int
    available: bool
    spoken: bool | None  # it is in the language asked for
    level: float | None
    telling: float | None  # what its words tell of all that the text's words tell
    meaning: float | None
    likeness: float | None
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

    @property
    def whole(self) -> bool:
        """Whether all that were found are among the best."""
        return len(self.best) == self.matches

    def and_also(self, others: list[Found], counted: Collection[int] = ()) -> Compared:
        """With others behind them; where not all that were found are there, as a number, of whose
        groups these are `counted`."""
        if self.whole:
            both = self.best + others
            return Compared(both, len(both), len({one.group_key for one in both}), self.settled)
        if self.matches == UNCOUNTED:
            return self
        groups = {one.group_key for one in others}.difference(counted)
        return Compared(
            self.best, self.matches + len(others), self.groups + len(groups), self.settled
        )


# candidates -------------------------------------------------------------------------------------


def proposed(asked: Asked, found: Compared) -> Proposed:
    """What was found as candidates, best first, as many as the question's limit."""
    made = as_candidates(asked, found.best)
    made = ranked(made[: found.settled]) + ranked(made[found.settled :])
    return with_total(asked.question, made[: asked.question.limit], found.matches, found.groups)


def as_candidates(asked: Asked, found: list[Found]) -> list[Candidate]:
    """These as candidates, in their order."""
    weighed = weights(asked.question.search)
    return [
        Candidate(one.product_no, one.product_id, one.group_key, dict(_parts(weighed, one)))
        for one in found
    ]


def ranked(made: list[Candidate]) -> list[Candidate]:
    """Best first."""
    return sorted(made, key=lambda one: (-one.score, one.product_no))


def with_total(question: Question, found: list[Candidate], matches: int, groups: int) -> Proposed:
    """With how many there are in all: groups, where one stands for all of its."""
    total = groups if question.one_per_group else matches
    return Proposed(found, None if total == UNCOUNTED else total)


def _parts(weights: Weights, one: Found) -> Iterator[tuple[str, float]]:
    """The named parts, as `summed` of compared.sql adds them up."""
    kind = "near" if one.level is None else "with"
    if one.level is not None:
        spread = weights["least"] + weights["spread"] * one.level
        yield "words", weights["exact"] if one.level > 1 else spread
    elif one.telling:
        yield "some_words", weights["near_words"] * one.telling
    if one.spoken:
        yield "language", weights[f"{kind}_language"]
    if not one.available:
        return
    for name in ("meaning", "likeness", "interest"):
        nearness = getattr(one, name)
        if nearness is not None:
            yield name, weights[f"{kind}_{name}"] * max(0.0, nearness)
    if one.share is not None:
        yield "popularity", weights[f"{kind}_popularity"] * min(1.0, one.share)
    elif one.new_share:
        yield "new", weights[f"{kind}_popularity"] * min(1.0, one.new_share)


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
    named = product_nos is not None
    statement = _statement(asked, filter, named=named, few=named or most < ALL)
    parameters = asked.parameters | filter.params | dict(weights(asked.question.search))
    parameters |= {"limit": limit, "most": most, "product_nos": int_array(product_nos or ())}
    rows = connection.execute(statement, parameters, prepare=False).fetchall()
    best = [Found(*row[2:]) for row in rows if row[2] is not None]
    return Compared(best, rows[0][0], rows[0][1])


_NOTHING = sql.SQL("null::float8")


def _statement(asked: Asked, filter: Filter, *, named: bool, few: bool) -> sql.Composed:
    slots = {"level": _level(asked), "telling": _telling(asked), "filter": filter.where}
    if named:
        found = SQL.fill("by_number", **slots)
    else:
        found = SQL.fill("by_words", matches=asked.matches, **slots)
    nearness = {"meaning": asked.vector, "likeness": asked.like, "interest": asked.visitor}
    vectors: sql.Composable = sql.SQL("")
    if any(vector is not None for vector in nearness.values()):
        vectors = SQL.fill("near", vectors=asked.question.live_model.vectors)
    return SQL.fill(
        "scored",
        found=found,
        vectors=vectors,
        popularity=_part("popularity_each" if few else "popularity"),
        **{name: _NOTHING if vector is None else _part(name) for name, vector in nearness.items()},
    )


def _level(asked: Asked) -> sql.Composable:
    """What the request's own condition finds may have none of the words it names."""
    if asked.words is None:
        return _NOTHING
    level = _part("level")
    return sql.SQL("coalesce({}, 0)").format(level) if asked.by_condition else level


def _telling(asked: Asked) -> sql.Composable:
    if not asked.telling:
        return _NOTHING
    terms = (
        sql.SQL("case when w.words @@ {}::tsquery then {}::float8 else 0 end").format(
            sql.Placeholder(f"word_{number}"), sql.Placeholder(f"tells_{number}")
        )
        for number in range(len(asked.telling))
    )
    return sql.SQL(" + ").join(terms)


def _part(name: str) -> sql.SQL:
    return sql.SQL(SQL.statements[name])  # type: ignore[arg-type]
