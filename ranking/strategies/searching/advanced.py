"""A condition that asks for texts: what it is of products' words, and which words rank them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ranking.catalog import wanted, words
from ranking.catalog.wanted import FIELDS, Letters, Query, Wanted, places
from ranking.merchandising import filters
from ranking.merchandising.filters import Expression, FullText
from ranking.question import Question


def condition(question: Question, languages: Collection[str]) -> Expression:
    """`search.advanced` with its texts told as words."""
    assert question.search.advanced is not None
    letters = places(FIELDS, question.search.without)

    def tell(text: FullText) -> Expression:
        asked = _wanted(text, languages) if letters else []
        if not asked:
            return filters.nothing()
        return filters.Words(_all(question.site_id, asked, letters))

    return filters.told(question.search.advanced, tell)


def text(question: Question) -> str:
    """The texts that products should have, together."""
    advanced = question.search.advanced
    return " ".join(one.text for one in _positive(advanced)) if advanced else ""


def query(question: Question, languages: Collection[str]) -> Query | None:
    """What ranks the products: the texts they should have; None where there is none."""
    advanced, without = question.search.advanced, question.search.without
    leaves = list(_positive(advanced)) if advanced else []
    asked = [one for leaf in leaves for one in _wanted(leaf, languages)]
    if not asked or advanced is None:
        return None

    def render(letters: Letters, ordered: bool) -> str:
        found = _rendered(advanced, question.site_id, languages, letters, ordered)
        return found or wanted.NOWHERE

    alone = len(leaves) == 1 and "title" not in without
    key = words.title_key(words.split(leaves[0].text)) if alone else None
    return wanted.made(asked, key, without, render)


def _positive(expression: Expression) -> Iterator[FullText]:
    match expression:
        case FullText():
            yield expression
        case filters.And(items) | filters.Or(items):
            for one in items:
                yield from _positive(one)


def _rendered(
    expression: Expression,
    site_id: int,
    languages: Collection[str],
    letters: Letters,
    ordered: bool,
) -> str | None:
    """The texts alone, in the same order of AND and OR; what else is asked for says nothing of how
    well the words fit."""
    match expression:
        case FullText():
            return _all(site_id, _wanted(expression, languages), letters, ordered=ordered)
        case filters.And(items) | filters.Or(items):
            word = " & " if isinstance(expression, filters.And) else " | "
            inner = (_rendered(one, site_id, languages, letters, ordered) for one in items)
            told = [one for one in inner if one]
            return f"({word.join(told)})" if told else None
    return None


def _wanted(text: FullText, languages: Collection[str]) -> list[Wanted]:
    if not text.phrase:
        return wanted.wanted(text.text, languages)
    whole = wanted.phrase(text.text, languages)
    return [whole] if whole else []


def _all(site_id: int, asked: list[Wanted], letters: Letters, *, ordered: bool = True) -> str:
    told = " & ".join(one.query(site_id, letters, ordered=ordered) for one in asked)
    return f"({told})" if told else wanted.NOWHERE
