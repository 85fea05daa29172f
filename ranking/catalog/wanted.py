"""What a text wants of products' words, as Postgres's tsqueries. strategies/searching asks.

Every word must occur, and what stands in quotes must occur as it stands. A word counts wherever
`words.of_record` puts it, but in the fields that are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from ranking.catalog import words
from ranking.catalog.words import DESCRIPTION, METADATA, MORE, SUBTITLE, TITLE

Letters = dict[str, str]  # of Postgres's four, by what stands between site and word
# How far each word stands behind the one before, and its forms.
Row = tuple[tuple[int, frozenset[str]], ...]

# Where each field of a record stands; `metadata` is all others.
FIELDS: dict[str, tuple[str, str]] = {
    "title": ("/", TITLE),
    "metadata": ("/", METADATA),
    "subtitle": ("/", SUBTITLE),
    "description": ("/", DESCRIPTION),
    **{field: ("+", letter) for field, letter in MORE.items()},
}
EXCLUDABLE = frozenset(FIELDS) - {"metadata"}
NOWHERE = "'-'"  # a lexeme that no product has
MOST_ROWS = 8  # ways to write a phrase, with or without its apostrophes

QUOTED = re.compile(r'(?<!\S)["\u201c\u201d\u201e]([^"\u201c\u201d\u201e]*)["\u201c\u201d](?!\S)')
_EDGES = re.compile(rf"^[^\w{words.MARKS}]+|[^\w{words.MARKS}]+$|_")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A word, or several in a row: what was typed, and of each word its forms and how far it
    stands behind the one before. `instead`: the same with blanks for apostrophes."""

    typed: str
    words: Row
    instead: tuple[Row, ...] = ()

    def query(self, site_id: int, letters: Letters, *, ordered: bool = True) -> str:
        """A tsquery that is true of a product that has it in one of these places."""
        found = [
            _in_a_row(f"{site_id}{separator}", marks, row, ordered=ordered)
            for separator, marks in letters.items()
            for row in (self.words, *self.instead)
        ]
        return f"({' | '.join(found)})" if len(found) != 1 else found[0]


@dataclass(frozen=True, slots=True)
class Query:
    """A text as tsqueries: `anywhere` is what must hold; `in_title` finds by titles alone what
    `title` then is true of; `metadata` also counts brand, categories and the like, `subtitle` the
    subtitle too. `wanted` are its words one by one."""

    anywhere: str
    in_title: str
    title: str
    metadata: str
    subtitle: str
    count: int
    title_key: int | None
    wanted: tuple[Wanted, ...]


def query(
    site_id: int, text: str, languages: Collection[str], without: Collection[str] = ()
) -> Query | None:
    """What products must have to be found by a text in one of these languages, not counting the
    fields `without`; None where the text has no word in it."""
    asked = wanted(text, languages)
    if not asked:
        return None

    def every(letters: Letters, ordered: bool) -> str:
        return " & ".join(one.query(site_id, letters, ordered=ordered) for one in asked)

    key = None if "title" in without else words.title_key(list(words.split(text)))
    return made(asked, key, without, every)


def made(
    asked: Sequence[Wanted],
    title_key: int | None,
    without: Collection[str],
    render: Callable[[Letters, bool], str],
) -> Query:
    """A query whose tsqueries `render` writes for the places given to it; in order or not, as the
    words by which titles are found have no places."""

    def counted(fields: Iterable[str]) -> str:
        letters = places(fields, without)
        return render(letters, True) if letters else NOWHERE

    title = counted(("title",))
    return Query(
        anywhere=counted(FIELDS),
        in_title=NOWHERE if title == NOWHERE else render({"=": ""}, False),
        title=title,
        metadata=counted(("title", "metadata")),
        subtitle=counted(("title", "metadata", "subtitle")),
        count=sum(len(one.words) for one in asked),
        title_key=title_key,
        wanted=tuple(asked),
    )


def places(fields: Iterable[str], without: Collection[str] = ()) -> Letters:
    """Where these fields stand, as far as they are not left out."""
    letters: Letters = {}
    for field in fields:
        if field not in without:
            separator, letter = FIELDS[field]
            letters[separator] = letters.get(separator, "") + letter
    return {key: "" if len(value) == len("ABCD") else value for key, value in letters.items()}


def _in_a_row(prefix: str, letters: str, row: Row, *, ordered: bool) -> str:
    first, *others = [(far, _any(prefix, forms, letters)) for far, forms in row]
    text = first[1]
    for far, word in others:
        text += f" <{far}> {word}" if ordered else f" & {word}"
    return f"({text})" if others else text


def _any(prefix: str, forms: Iterable[str], letters: str) -> str:
    lexemes = " | ".join(_lexeme(prefix, form, letters) for form in sorted(forms))
    return f"({lexemes})"


def _lexeme(prefix: str, form: str, letters: str) -> str:
    """A single character of an unbroken script begins one of its pairs."""
    mark = "*" + letters if len(form) == 1 and words.is_unbroken(form) else letters
    return f"'{prefix}{form}':{mark}" if mark else f"'{prefix}{form}'"


# a text -----------------------------------------------------------------------------------------


def wanted(text: str, languages: Collection[str]) -> list[Wanted]:
    """What a text asks for: its telling words, each once, and its phrases in quotes."""
    found: list[tuple[Wanted, bool]] = []
    end = 0
    for quoted in QUOTED.finditer(text):
        found += _loose(text[end : quoted.start()], languages)
        if asked := phrase(quoted[1], languages):
            found.append((asked, True))
        end = quoted.end()
    found += _loose(text[end:], languages)
    telling = [one for one, tells in found if tells] or [one for one, _ in found]
    return list({one.words: one for one in reversed(telling)}.values())[::-1]


def phrase(text: str, languages: Collection[str]) -> Wanted | None:
    """All words of a text in a row; None where it has none."""
    placed = list(words.placed(text))
    if not placed:
        return None
    before = [placed[0][0], *(at for at, _ in placed)]
    steps = [(at - last, _ways(slot)) for last, (at, slot) in zip(before, placed, strict=False)]
    rows = islice(_rows(steps, languages), MOST_ROWS)
    return Wanted(" ".join(text.split()), *_first_and_others(rows))


def _ways(slot: tuple[str, ...]) -> list[tuple[str, ...]]:
    """As one word, and where an apostrophe parts it as several."""
    return [slot[:1], slot[1:]] if len(slot) > 1 else [slot]


def _rows(
    steps: Sequence[tuple[int, list[tuple[str, ...]]]], languages: Collection[str]
) -> Iterator[Row]:
    for way in product(*(ways for _, ways in steps)):
        yield tuple(
            (1 if behind else far, words.forms(word, languages))
            for (far, _), some in zip(steps, way, strict=True)
            for behind, word in enumerate(some)
        )


def _first_and_others(rows: Iterator[Row]) -> tuple[Row, tuple[Row, ...]]:
    return next(rows), tuple(rows)


def _loose(text: str, languages: Collection[str]) -> Iterator[tuple[Wanted, bool]]:
    """Word by word, and whether it tells anything."""
    for typed, slot in _typed(text):
        rows = _first_and_others(_rows([(0, _ways(slot))], languages))
        yield Wanted(typed, *rows), words.fold(slot[0]) not in words.FUNCTION_WORDS


def _typed(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each word as it was typed and as products have it."""
    for token in text.split():
        found = list(words.slots(token))
        typed = _EDGES.sub("", unicodedata.normalize("NFC", token))
        for slot in found:
            yield (typed if typed and len(found) == 1 else slot[0]), slot
