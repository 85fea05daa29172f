"""Which words of a query no product has, and what was probably meant.

A word that occurs in any product, in any form, is right, and so is what stands in quotes. One that
everybody knows was meant as it is (the shop does not sell it), unless it is one word with its
neighbour. Of the words of the catalog that another one may be, the nearest counts, then what goes
with the other words of the query, then what more products have. `answer` asks before a search.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice, product
from typing import NamedTuple

from ranking.catalog import english, vocabulary, wanted, words
from ranking.catalog.vocabulary import Near, Word
from ranking.catalog.words import Token
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MOST_WRONG = 5  # words of a query that are corrected; of others it is no query
MOST_WORDS = 20  # of a query that is looked at
OPTIONS = 6  # for each wrong word
TRIED = 24  # ways to correct the whole query
RIGHT_S = 60.0
MOST_RIGHT = 50_000


@dataclass(frozen=True, slots=True)
class Spelling:
    """A query and its correction, both also as HTML with `<mark>` around the words that differ;
    `typed`: for each word that was put in, folded, what stood there."""

    original: str
    original_marked: str
    corrected: str
    corrected_marked: str
    typed: tuple[tuple[str, str], ...] = ()

    @property
    def is_wrong(self) -> bool:
        return self.original != self.corrected


def unchanged(query: str) -> Spelling:
    """What is said of a query without errors."""
    return Spelling(query, escape(query, quote=False), query, escape(query, quote=False))


class _Option(NamedTuple):
    """The tokens from `first` to `last` may mean these words; `apart`: the one word means two."""

    first: int
    last: int
    words: tuple[Word, ...]
    distance: int
    apart: bool = False

    @property
    def products(self) -> int:
        return min(word.products for word in self.words)


def corrected(
    connection: Connection, site_id: int, query: str, languages: Sequence[str]
) -> Spelling:
    """The query with its misspelt words replaced; everything else in it stays as it is."""
    tokens = list(islice(words.tokens(query), MOST_WORDS))
    wrong = _wrong(connection, site_id, tokens, languages)
    quoted = [found.span() for found in wanted.QUOTED.finditer(query)]
    wrong = [place for place in wrong if not _is_inside(tokens[place], quoted)]
    if not wrong or len(wrong) > MOST_WRONG:
        return unchanged(query)
    options = _options(connection, site_id, tokens, wrong)
    chosen = _chosen(connection, site_id, tokens, wrong, options, languages)
    return _replaced(query, tokens, chosen) if chosen else unchanged(query)


def _is_inside(token: Token, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start <= token.start and token.end <= end for start, end in spans)


# what is wrong ----------------------------------------------------------------------------------


def _wrong(
    connection: Connection, site_id: int, tokens: Sequence[Token], languages: Sequence[str]
) -> list[int]:
    """The places of words that no product has. Numbers and short words are never wrong."""
    about = (connection.info.dbname, site_id, *languages)
    places = [
        place
        for place, token in enumerate(tokens)
        if vocabulary.is_kept(token.word) and token.word not in words.FUNCTION_WORDS
    ]
    unseen = [place for place in places if not _is_right((*about, tokens[place].word))]
    if not unseen:
        return []
    known = vocabulary.known(connection, site_id, {tokens[place].word for place in unseen})
    unknown = [place for place in unseen if tokens[place].word not in known][: 2 * MOST_WRONG]
    wrong = [
        place
        for place in unknown
        if not _occurs(connection, site_id, tokens[place].word, languages)
    ]
    right = {tokens[place].word for place in unknown if place not in wrong}.union(known)
    _learn((*about, word) for word in right)
    return wrong


def _occurs(connection: Connection, site_id: int, word: str, languages: Sequence[str]) -> bool:
    """As a search looks for it: in another form, in a description, in a product that is new."""
    asked = wanted.query(site_id, word, languages)
    if asked is None:
        return True
    parameters = {"site_id": site_id, "query": asked.anywhere}
    row = connection.execute(SQL.occurs, parameters, prepare=False).fetchone()
    return bool(row and row[0])


# Words that products had within the last minute: most searches are made of the same few thousand.
_right: dict[Hashable, float] = {}


def _is_right(word: Hashable) -> bool:
    return _right.get(word, 0.0) > time.monotonic()


def _learn(some: Iterable[Hashable]) -> None:
    if len(_right) >= MOST_RIGHT:
        _right.clear()
    _right.update(dict.fromkeys(some, time.monotonic() + RIGHT_S))


# what may be meant ------------------------------------------------------------------------------


def _options(
    connection: Connection, site_id: int, tokens: Sequence[Token], wrong: Sequence[int]
) -> dict[int, list[_Option]]:
    """For each wrong word its nearest corrections, which more products have first."""
    strange = {tokens[place].word for place in wrong if not english.knows(tokens[place].word)}
    asked = {word: vocabulary.edits(word) for word in strange}
    near = vocabulary.near(connection, site_id, asked) if asked else {}
    spaces = {
        place: [*_joined(tokens, place)]
        + ([*_split(place, tokens[place].word)] if tokens[place].word in strange else [])
        for place in wrong
    }
    named = {word for found in spaces.values() for _, parts in found for word in parts}
    known = vocabulary.known(connection, site_id, named)
    made = {}
    for place in wrong:
        found = [_near(place, one) for one in near.get(tokens[place].word, ())]
        for (first, last), parts in spaces[place]:
            if all(part in known for part in parts):
                meant = tuple(known[part] for part in parts)
                found.append(_Option(first, last, meant, 1, apart=len(parts) > 1))
        made[place] = _best(found)
    return made


def _near(place: int, one: Near) -> _Option:
    return _Option(place, place, (one.word,), one.distance)


def _split(place: int, word: str) -> Iterator[tuple[tuple[int, int], tuple[str, ...]]]:
    """What it is with a space more in it."""
    for at in range(vocabulary.SHORTEST, len(word) - vocabulary.SHORTEST + 1):
        yield (place, place), (word[:at], word[at:])


def _joined(
    tokens: Sequence[Token], place: int
) -> Iterator[tuple[tuple[int, int], tuple[str, ...]]]:
    """What it is without the space before or behind it."""
    for first in (place - 1, place):
        if first >= 0 and first + 1 < len(tokens):
            left, right = tokens[first].word, tokens[first + 1].word
            if left and right:
                yield (first, first + 1), (left + right,)


def _best(found: list[_Option]) -> list[_Option]:
    least = min((one.distance for one in found), default=0)
    nearest = [one for one in found if one.distance == least]
    nearest.sort(key=lambda one: (-one.products, [word.word for word in one.words]))
    return nearest[:OPTIONS]


def _chosen(
    connection: Connection,
    site_id: int,
    tokens: Sequence[Token],
    wrong: Sequence[int],
    options: dict[int, list[_Option]],
    languages: Sequence[str],
) -> list[_Option]:
    """Of all ways to correct the query the first that some product goes with; else the first."""
    ways = list(islice(_ways([options[place] for place in wrong if options[place]]), TRIED))
    right = set(range(len(tokens))) - set(wrong)
    plain = [way for way in ways if not any(one.apart for one in way)]
    if not ways or (len(ways) == 1 and plain):
        return ways[0] if ways else []
    texts = [_whole(tokens, right, way) for way in ways]
    asked = [wanted.query(site_id, text, languages) for text in texts]
    parameters = {"site_id": site_id, "queries": [one.anywhere if one else "" for one in asked]}
    row = connection.execute(SQL.first_that_goes, parameters, prepare=False).fetchone()
    if row:
        return ways[row[0] - 1]
    return plain[0] if plain else []


def _ways(options: Sequence[Sequence[_Option]]) -> Iterator[list[_Option]]:
    """Combinations of one option for each, the best first; one that takes in two wrong words
    stands for both."""
    ranked = sorted(product(*(range(len(one)) for one in options)), key=lambda way: (sum(way), way))
    seen = set()
    for way in ranked:
        chosen: list[_Option] = []
        for one in (options[at][rank] for at, rank in enumerate(way)):
            if not chosen or one.first > chosen[-1].last:
                chosen.append(one)
        if chosen and tuple(chosen) not in seen:
            seen.add(tuple(chosen))
            yield chosen


def _whole(tokens: Sequence[Token], right: Iterable[int], way: Sequence[_Option]) -> str:
    """The words that some product should have: those that are right, and the corrections."""
    replaced = {place for one in way for place in range(one.first, one.last + 1)}
    kept = [" ".join(tokens[place].words) for place in sorted(set(right) - replaced)]
    return " ".join([*kept, *(word.word for one in way for word in one.words)])


# the strings ------------------------------------------------------------------------------------


def _replaced(query: str, tokens: Sequence[Token], chosen: Sequence[_Option]) -> Spelling:
    marked, plain, corrected = [], [], []
    instead: list[tuple[str, str]] = []
    at = 0
    for one in chosen:
        start, end = tokens[one.first].start, tokens[one.last].end
        between = query[at:start]
        shown = escape(between, quote=False)
        typed = [query[token.start : token.end] for token in tokens[one.first : one.last + 1]]
        meant = [_as_typed(word.surface, typed[0]) for word in one.words]
        marked += [shown, _marked(query, tokens[one.first : one.last + 1])]
        plain += [between, " ".join(meant)]
        corrected += [shown, " ".join(map(_mark, meant))]
        instead += [(word.word, query[start:end]) for word in one.words]
        at = end
    rest = query[at:]
    shown = escape(rest, quote=False)
    return Spelling(
        query,
        "".join([*marked, shown]),
        "".join([*plain, rest]),
        "".join([*corrected, shown]),
        tuple(instead),
    )


def _marked(query: str, tokens: Sequence[Token]) -> str:
    """These words of the query, each marked, with what stands between them."""
    made, at = [], tokens[0].start
    for token in tokens:
        made += [
            escape(query[at : token.start], quote=False),
            _mark(query[token.start : token.end]),
        ]
        at = token.end
    return "".join(made)


def _mark(text: str) -> str:
    return f"<mark>{escape(text, quote=False)}</mark>"


def _as_typed(surface: str, typed: str) -> str:
    """In capitals or small letters, as the word in whose place it comes."""
    if len(typed) > 1 and typed.isupper():
        return surface.upper()
    if typed[:1].isupper():
        return surface[:1].upper() + surface[1:]
    return surface.lower()
