"""Values of a field as a list: which categories, which brands suit a visitor, and how many products
each has. `answer` proposes the products; these functions find their values and put them in order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from ranking.catalog.records import int_array
from ranking.merchandising import filters
from ranking.merchandising.filters import Expression
from ranking.question import Candidate, Question
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# Products that suit the visitor best, whose values are compared: a quarter more for variants, and
# some that they had, are still no more than the index keeps.
POOL = 100
SAMPLE = 2000  # popular ones, and as many of the newest, for values beside them
OF_EACH = 30  # of the sample, from which the best of a value are chosen
BEST = 5  # products that stand for a value
LONGEST = 512  # characters of a value
CATEGORIES = "categories"
ANY = ("*",)
KNOWN_S = 60.0
MOST_KNOWN = 500  # of a process; each holds up to some hundred kilobytes

ALIAS = "p"

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """By which field, how many values and of each how many products. Of categories, whose values
    are paths: the children of `root` (none: the top level; ANY: below whatever). `boosted` values
    come first, in their order, those of `without` not at all."""

    field: str
    rows: int = 5
    products: int = 5
    root: tuple[str, ...] | None = None
    boosted: tuple[Value, ...] = ()
    without: frozenset[Value] = frozenset()

    @property
    def condition(self) -> Expression:
        """True of every product that has a value, if maybe of some others."""
        inside = [] if self.root in (None, ANY) else list(self.root or ())
        return filters.all_of([filters.has(self.field), *_inside(inside)])

    def of(self, value: Value) -> Expression:
        """True of every product with that value; of categories, whose names may stand on another
        level too, also of some others."""
        if isinstance(value, tuple):
            return filters.all_of(list(_inside(value)))
        return filters.equals(self.field, *_spellings(value))

    def exactly(self, value: Value) -> str | None:
        """What is true of a record with that value alone; None where `of` is exact."""
        if not isinstance(value, tuple):
            return None
        levels = " && ".join(f"@[{n}] == {json.dumps(name)}" for n, name in enumerate(value))
        alone = f" || @ == {json.dumps(value[0])}" if len(value) == 1 else ""
        return f"strict $.{CATEGORIES}[*] ? ({levels}{alone})"

    def values(self, told: Iterable[Any]) -> set[Value]:
        """The values that a record has, from what `path` finds of it."""
        if self.root is not None:
            return {found for path in told for found in self._levels(path)}
        return {one for each in told for one in _shown(each)}

    def _levels(self, path: Any) -> Iterator[Value]:
        names = path if isinstance(path, list) else [path]
        if not all(isinstance(name, str) for name in names):
            return
        whole = tuple(names)
        if self.root == ANY:
            yield from (whole[:depth] for depth in range(2, len(whole) + 1))
        elif len(whole) > len(self.root or ()) and whole[: len(self.root or ())] == self.root:
            yield whole[: len(self.root or ()) + 1]

    @property
    def path(self) -> str:
        """Where in a record the values are."""
        top, _, inner = self.field.partition(".")
        names = [top, *(inner.split(".") if inner else ())]
        return "lax $" + "".join(f".{json.dumps(name)}" for name in names) + "[*]"


def _inside(names: Iterable[str]) -> Iterator[Expression]:
    return (filters.equals(CATEGORIES, name) for name in names)


def _shown(value: Any) -> Iterator[str]:
    """A value as it is shown, and asked for: text, or true and 10 as JSON spells them."""
    if isinstance(value, list):
        for each in value:
            yield from _shown(each)
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, int | float):
        yield str(int(value)) if float(value).is_integer() else repr(value)
    elif isinstance(value, str) and 0 < len(value) <= LONGEST:
        yield value


def _spellings(value: str) -> Iterator[str | bool | float]:
    """Everything that is shown like this."""
    yield value
    if value in ("true", "false"):
        yield value == "true"
    try:
        number = float(value)
        if list(_shown(number)) == [value]:
            yield number
    except (ValueError, OverflowError):
        return


# the values -------------------------------------------------------------------------------------


def members(
    connection: Connection, question: Question, grouping: Grouping, found: Sequence[Candidate]
) -> dict[Value, list[Candidate]]:
    """These products by value, each value's in their order."""
    parameters = {
        "site_id": question.site_id,
        "product_nos": int_array(one.product_no for one in found),
        "path": grouping.path,
    }
    row = connection.execute(SQL.told, parameters).fetchone()
    told = row[0] if row and row[0] else {}
    having: dict[Value, list[Candidate]] = {}
    for one in found:
        for value in grouping.values(told.get(str(one.product_no), ())):
            having.setdefault(value, []).append(one)
    return having


def ordered(
    grouping: Grouping, having: Mapping[Value, Sequence[Candidate]], least: float
) -> list[Value]:
    """The values, boosted ones first, then by the mean score of their BEST products. Where there
    are fewer, the `least` score stands for those that lack: one good product is not a good brand.
    """

    def fits(value: Value) -> float:
        scores = [one.score for one in having[value][:BEST]]
        return (sum(scores) + least * (BEST - len(scores))) / BEST

    best = sorted(having, key=lambda value: (-fits(value), -len(having[value]), value))
    first = [*grouping.boosted, *best]
    return [one for one in dict.fromkeys(first) if one not in grouping.without]


def frequent(
    connection: Connection, question: Question, grouping: Grouping
) -> Mapping[Value, tuple[int, ...]]:
    """Values of many products first, whoever asks, and of each the numbers of its most popular and
    newest products; a minute old at most."""
    key = _key(connection, question, "frequent", grouping.path, grouping.root)
    known = _known(key)
    if known is not None:
        return known  # type: ignore[no-any-return]
    filter = question.where(ALIAS)
    parameters = {"site_id": question.site_id, "path": grouping.path, "limit": SAMPLE}
    statement = SQL.fill("some", filter=filter.where)
    rows = connection.execute(statement, parameters | filter.params, prepare=False)
    having: dict[Value, list[int]] = {}
    for product_no, told in dict(rows.fetchall()).items():
        for value in grouping.values(told):
            having.setdefault(value, []).append(product_no)
    common = sorted(having, key=lambda value: (-len(having[value]), value))
    found = {value: tuple(having[value][:OF_EACH]) for value in common}
    return _learned(key, found)  # type: ignore[no-any-return]


def total(connection: Connection, question: Question, grouping: Grouping, value: Value) -> int:
    """How many products with that value may be in a list; a minute old at most, 0 where counting
    takes too long."""
    key = _key(connection, question, "count", grouping.field, value)
    known = _known(key)
    if known is not None:
        return known  # type: ignore[no-any-return]
    filter = filters.compile(filters.all_of([question.filter, grouping.of(value)]), ALIAS)
    parameters = {"site_id": question.site_id, "exactly": grouping.exactly(value)}
    statement = SQL.fill("count", filter=filter.where)
    try:
        row = connection.execute(statement, parameters | filter.params, prepare=False).fetchone()
    except psycopg.errors.QueryCanceled:
        return 0
    return _learned(key, row[0] if row else 0)  # type: ignore[no-any-return]


# what is common ---------------------------------------------------------------------------------

_remembered: dict[Hashable, tuple[float, Any]] = {}


def _key(connection: Connection, question: Question, *about: Hashable) -> Hashable:
    return (connection.info.dbname, question.site_id, question.filter, *about)


def _known(key: Hashable) -> Any:
    found = _remembered.get(key)
    return found[1] if found and found[0] > time.monotonic() else None


def _learned(key: Hashable, found: Any) -> Any:
    if len(_remembered) >= MOST_KNOWN:
        _remembered.clear()
    _remembered[key] = (time.monotonic() + KNOWN_S, found)
    return found
