"""What of a search's text occurs in a product, and where; asked of the products of a page alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ranking.catalog import wanted, words
from ranking.catalog.records import int_array
from ranking.catalog.wanted import Wanted
from ranking.question import Candidate, Question
from ranking.strategies.searching import highlights
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)


class Occurrences(NamedTuple):
    """The words as they were typed that the product lacks; by field those that it has; and by field
    its text with these words marked."""

    missing: Sequence[str] = ()
    matched: Mapping[str, Sequence[str]] = {}
    highlights: Mapping[str, str] = {}


NOWHERE = Occurrences()


def occurrences(
    connection: Connection,
    question: Question,
    asked: Sequence[Wanted],
    shown: Iterable[Candidate],
    kept: Mapping[int, dict[str, Any]],
) -> dict[int, Occurrences]:
    """By product number, of those asked about; `kept` are their records, where those are needed."""
    search = question.search
    asked = [_as_typed(one, dict(search.typed)) for one in asked]
    every = search.matched or question.explain
    looked_up = [one.product_no for one in shown if every or "words" not in one.parts]
    fields = [field for field in wanted.FIELDS if field not in search.without]
    matched = _matched(connection, question, asked, fields, looked_up)
    marked = {
        number: highlights.of_record(record, asked, search.highlight)
        for number, record in kept.items()
        if search.highlight
    }
    return {
        number: Occurrences(
            _missing(asked, matched[number]) if number in matched else (),
            _typed(asked, matched.get(number, {})),
            marked.get(number, {}),
        )
        for number in {*matched, *marked}
    }


def _matched(
    connection: Connection,
    question: Question,
    asked: Sequence[Wanted],
    fields: Sequence[str],
    product_nos: Sequence[int],
) -> dict[int, dict[str, list[int]]]:
    """By product and field the places of the words that it has."""
    if not product_nos or not asked or not fields:
        return {}
    site_id = question.site_id
    pairs = [(field, at) for field in fields for at in range(len(asked))]
    queries = [asked[at].query(site_id, wanted.places([field])) for field, at in pairs]
    parameters = {
        "site_id": site_id, "product_nos": int_array(product_nos), "queries": queries,
    }  # fmt: skip
    found: dict[int, dict[str, list[int]]] = {}
    for product_no, numbers in connection.execute(SQL.occurring, parameters):
        places = found[product_no] = {}
        for number in numbers:
            field, at = pairs[number - 1]
            places.setdefault(field, []).append(at)
    return found


def _as_typed(one: Wanted, typed: Mapping[str, str]) -> Wanted:
    """A word that was corrected goes by what its visitor wrote."""
    return replace(one, typed=typed.get(" ".join(words.folded(one.typed)), one.typed))


def _missing(asked: Sequence[Wanted], matched: Mapping[str, Collection[int]]) -> tuple[str, ...]:
    there = {at for places in matched.values() for at in places}
    return tuple(dict.fromkeys(one.typed for at, one in enumerate(asked) if at not in there))


def _typed(
    asked: Sequence[Wanted], matched: Mapping[str, Collection[int]]
) -> dict[str, tuple[str, ...]]:
    return {
        field: tuple(dict.fromkeys(asked[at].typed for at in sorted(places)))
        for field, places in matched.items()
    }
