"""Completions of what a visitor types: values of products' fields, and queries of others.

typed → profile (fresh) → texts with its words, exact before with typos → of each field the first
ones that some product in stock stands behind that passes the filters → by how much they are asked
for and the visitor's interest → rules → the row that remembers the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from ranking import answers, preparation
from ranking.catalog import completions, models, records, vocabulary
from ranking.catalog.completions import HISTORICAL, TITLE, Completion, Found
from ranking.catalog.records import int_array
from ranking.catalog.typed import Match, Typed, marked
from ranking.merchandising import rules
from ranking.merchandising.filters import compile as compile_filter
from ranking.merchandising.filters import spelled, term
from ranking.merchandising.rules import Lifted
from ranking.question import Candidate, Question
from ranking.visitors.profile import NOBODY
from schemas import database, tracing
from schemas.database import Connection

SQL = database.queries(__file__)

ALIAS = "w"  # what filters call product_words
# Of a score from 0 to 1, chosen by order, not tuned.
INTEREST, POPULARITY, BEGINNING = 0.45, 0.35, 0.2
CHECKED = 24  # texts whose products are looked at together
MOST_CHECKED = 200
ALTERNATIVES = 6  # words that one with a typo may be
MOST_WORDS = 8  # typed, that typos are looked for in
MOST_SPLITS = 4  # places where a space may be missing
MOST_COMPARED = 60  # texts with the words of one of these ways
FORGIVEN_FROM = 4  # letters typed in all


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be completed, in which fields; queries of so many visitors at least; texts of
    products in this language only (empty: in any)."""

    text: str
    fields: Sequence[str] = (TITLE,)
    least_visitors: int = 5
    language: str = ""


@dataclass(frozen=True, slots=True)
class Completed:
    """A completion, its text also with `<mark>` around what is not typed yet, and around what is;
    for a title a product, its fields that were asked for, and the rules that lifted it."""

    text: str
    text_marked: str
    text_inverted: str
    product_id: str | None = None
    fields: dict[str, Any] | None = None
    boosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completions:
    """The answer: completions by field, best first."""

    miso_id: UUID
    fields: dict[str, list[Completed]]


class _Product(NamedTuple):
    """What stands behind a text."""

    product_no: int
    product_id: str
    group_key: int


@dataclass(frozen=True, slots=True)
class _One:
    """A completion that may be shown."""

    folded: str
    completion: Completion
    match: Match
    score: float
    product: _Product | None = None
    boosts: tuple[str, ...] = ()


def complete(connection: Connection, question: Question, asked: Asked) -> Completions:
    """The question's `rows` completions of each field; raises psycopg's errors where Postgres is
    away. A visitor whose interests take too long is answered as a stranger."""
    typed = Typed(asked.text)
    prepared = _prepared(connection, question)
    try:
        found = _fields(connection, prepared, asked, typed)
    except psycopg.errors.QueryCanceled:
        prepared = replace(prepared, visitor=NOBODY)
        found = _fields(connection, prepared, asked, typed)
    shown = [one for one in found.get(TITLE, ()) if one.product]
    try:
        miso_id = answers.record(connection, prepared, [_candidate(one) for one in shown])
    except psycopg.errors.DiskFull:
        miso_id = answers.new_id(question.at)
    kept = _records(connection, question, shown)
    return Completions(
        miso_id,
        {
            name: [
                _completed(question, typed, one, kept if name == TITLE else None) for one in ones
            ]
            for name, ones in found.items()
        },
    )


def _prepared(connection: Connection, question: Question) -> Question:
    """With the model, the visitor, and the numbers of what must not stand behind a text."""
    model = models.live(connection, question.site_id)
    with tracing.span("profile"):
        visitor = preparation.visitor(connection, question)
    excluded = preparation.excluded(connection, question)
    return replace(question, model=model, visitor=visitor, excluded=excluded)


# one field --------------------------------------------------------------------------------------


def _fields(
    connection: Connection, question: Question, asked: Asked, typed: Typed
) -> dict[str, list[_One]]:
    """Each under the name that it was asked by."""
    return {
        name: _field(connection, question, asked, typed, spelled(name)) for name in asked.fields
    }


def _field(
    connection: Connection, question: Question, asked: Asked, typed: Typed, field: str
) -> list[_One]:
    """The field's completions; only where no text has the words as they are typed, those with
    typos."""
    with tracing.span("completions"):
        found = _exact(connection, question, asked, typed, field)
        if not found and sum(map(len, typed.words)) >= FORGIVEN_FROM:
            found = _forgiven(connection, question, asked, typed, field)
        chosen = _chosen(connection, question, asked, field, found)
    ranked = _unique(question, field, chosen)
    if field == TITLE and question.rules.boosts:
        ranked = _lifted(connection, question, ranked)
    return ranked[: question.rows]


Matched = tuple[Found, Match]


def _exact(
    connection: Connection, question: Question, asked: Asked, typed: Typed, field: str
) -> list[Matched]:
    found = _with_words(connection, question, asked, typed, field, [(w,) for w in typed.words])
    return [(one, typed.match(one.folded, one.completion.text)) for one in found]


def _with_words(
    connection: Connection,
    question: Question,
    asked: Asked,
    typed: Typed,
    field: str,
    words: Sequence[Iterable[str]],
) -> list[Found]:
    return completions.with_words(
        connection,
        question.site_id,
        field,
        words,
        finished=typed.is_finished,
        least_uses=asked.least_visitors if field == HISTORICAL else 0,
    )


def _chosen(
    connection: Connection,
    question: Question,
    asked: Asked,
    field: str,
    found: Sequence[Matched],
) -> list[_One]:
    """The best of them, looked at piece by piece until as many as asked for have a product; the
    better match stands before any worse one."""
    greatest = max((one.completion.weight for one, _ in found), default=0.0) or 1.0
    ordered = sorted((_scored(one, match, greatest) for one, match in found), key=_order)
    made: list[_One] = []
    for at in range(0, min(len(ordered), MOST_CHECKED), CHECKED):
        part = ordered[at : at + CHECKED]
        if field != HISTORICAL:
            part = _with_products(connection, question, asked, field, part)
        made += part
        if len(_unique(question, field, made)) >= _depth(question):
            break
    return sorted(made, key=_order)


def _depth(question: Question) -> int:
    """How many are needed: boosts lift what would not be among the first."""
    return MOST_CHECKED if question.rules.boosts else question.rows


def _scored(one: Found, match: Match, greatest: float) -> _One:
    popular = POPULARITY * one.completion.weight / greatest
    score = popular + (BEGINNING if match.starts else 0.0)
    return _One(one.folded, one.completion, match, score)


def _order(one: _One) -> tuple[int, float, str]:
    """The better match before any worse one."""
    return one.match.group, -one.score, one.folded


def _unique(question: Question, field: str, found: Iterable[_One]) -> list[_One]:
    """Of variants of a product the best one's title alone."""
    if field != TITLE or not question.one_per_group:
        return list(found)
    return rules.unique(found, lambda one: one.product.group_key if one.product else one.folded)


# with typos -------------------------------------------------------------------------------------


def _forgiven(
    connection: Connection, question: Question, asked: Asked, typed: Typed, field: str
) -> list[Matched]:
    """Texts with words that may have been meant, in any of the ways to read what was typed."""
    made: dict[str, Matched] = {}
    for words in _ways(connection, question.site_id, typed):
        found = _with_words(connection, question, asked, typed, field, words)
        for one in found[:MOST_COMPARED]:
            match = typed.forgiving(one.folded, words[0])
            known = made.get(one.folded)
            if match is not None and (known is None or match.group < known[1].group):
                made[one.folded] = (one, match)
        if len(made) >= CHECKED:
            break
    return list(made.values())


def _ways(connection: Connection, site_id: int, typed: Typed) -> list[list[set[str]]]:
    """For each word of what was typed those it may be: with typos; with a space less or more."""
    words, last = typed.words[:MOST_WORDS], len(typed.words[:MOST_WORDS]) - 1
    splits = _splits(connection, site_id, words)
    asked = {word: vocabulary.edits(word) for word in words}
    asked |= {half: min(1, vocabulary.edits(half)) for split in splits for half in split[1:]}
    near = {
        word: {one.word.word for one in found[:ALTERNATIVES]}
        for word, found in vocabulary.near(connection, site_id, asked).items()
    }
    plain = [near[word] | {word} for word in words]
    if not typed.is_finished:
        begun = vocabulary.beginning(connection, site_id, words[last])
        plain[last] = plain[last] | {one.word.word for one in begun[:ALTERNATIVES]}
    joined = ([*plain[:at], {words[at] + words[at + 1]}, *plain[at + 2 :]] for at in range(last))
    apart = (
        [*plain[:at], near[left] | {left}, near[right] | {right}, *plain[at + 1 :]]
        for at, left, right in splits
    )
    return [plain, *joined, *apart]


def _splits(
    connection: Connection, site_id: int, words: Sequence[str]
) -> list[tuple[int, str, str]]:
    """Places of words that may be two, at least one of which the catalog has."""
    least = vocabulary.SHORTEST
    found = [
        (place, word[:at], word[at:])
        for place, word in enumerate(words)
        for at in range(least, len(word) - least + 1)
    ]
    known = vocabulary.known(connection, site_id, {half for one in found for half in one[1:]})
    likely = [one for one in found if one[1] in known or one[2] in known]
    # The longer the half that is right the less it is so by accident.
    likely.sort(key=lambda one: -max(len(half) for half in one[1:] if half in known))
    return likely[:MOST_SPLITS]


# products ---------------------------------------------------------------------------------------


def _with_products(
    connection: Connection, question: Question, asked: Asked, field: str, part: Sequence[_One]
) -> list[_One]:
    """Those that a product stands behind which may be shown, each with it and its interest."""
    filter = question.where(ALIAS)
    visitor = question.visitor.vector
    vectors: sql.Composable = sql.SQL("")
    if visitor is not None:
        vectors = SQL.fill("near", vectors=question.live_model.vectors)
    interest = "null::float8" if visitor is None else SQL.statements["interest"]
    rows = [
        {
            "number": number,
            "product_no": one.completion.product_no,
            "term": term(field, one.completion.text),
        }
        for number, one in enumerate(part)
    ]
    answered = connection.execute(
        SQL.fill("products", filter=filter.where, vectors=vectors, interest=sql.SQL(interest)),  # type: ignore[arg-type]
        filter.params
        | {
            "site_id": question.site_id,
            "rows": database.jsonb(rows),
            "excluded": int_array(question.excluded),
            "language": asked.language,
            "visitor": visitor,
        },
        prepare=False,
    )
    return [_behind(part[number], _Product(*found), near) for number, *found, near in answered]


def _behind(one: _One, product: _Product, interest: float | None) -> _One:
    score = one.score + INTEREST * max(0.0, interest or 0.0)
    return replace(one, product=product, score=score)


def _lifted(connection: Connection, question: Question, ranked: list[_One]) -> list[_One]:
    """With the titles lifted whose products a boost is for."""
    lifted = list(_boosted(connection, question, ranked))
    return rules.pinned(rules.topped(ranked, lifted, _key), lifted, _key)


def _boosted(
    connection: Connection, question: Question, ranked: list[_One]
) -> Iterator[Lifted[_One]]:
    numbers = int_array(one.product.product_no for one in ranked if one.product)
    for boost in question.rules.boosts:
        filter = compile_filter(boost.condition, ALIAS)
        rows = connection.execute(
            SQL.fill("matching", filter=filter.where),
            filter.params | {"site_id": question.site_id, "product_nos": numbers},
            prepare=False,
        )
        matching = {row[0] for row in rows}
        products = [
            replace(one, boosts=(boost.name,))
            for one in ranked
            if one.product and one.product.product_no in matching
        ]
        yield Lifted(boost, products)


def _key(one: _One) -> str:
    return one.folded


# the answer -------------------------------------------------------------------------------------


def _candidate(one: _One) -> Candidate:
    assert one.product is not None, "only titles with a product are recorded"
    product = one.product
    return Candidate(
        product.product_no, product.product_id, product.group_key, {"completion": one.score}
    )


def _records(
    connection: Connection, question: Question, shown: Sequence[_One]
) -> dict[int, dict[str, Any]]:
    if not question.fields:
        return {}
    numbers = [one.product.product_no for one in shown if one.product]
    return records.fields(connection, question.site_id, numbers)


def _completed(
    question: Question, typed: Typed, one: _One, kept: dict[int, dict[str, Any]] | None
) -> Completed:
    text = one.completion.text
    rest, inverted = marked(text, typed.spans(text, one.match))
    if kept is None or one.product is None:
        return Completed(text, rest, inverted)
    fields = records.picked(kept.get(one.product.product_no, {}), question.fields)
    return Completed(text, rest, inverted, one.product.product_id, fields, one.boosts)
