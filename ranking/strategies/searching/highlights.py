"""A record's texts with the words of a search marked, safe to put into a page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ranking.catalog import encoder, words
from ranking.catalog.wanted import Row, Wanted
from ranking.merchandising import filters

DEFAULT = ("title", "subtitle", "brand", "categories", "tags", "description")
WITH_TAGS = ("description", "short_description", "html")
LONGEST = 200  # characters of a text that are shown
BEFORE = 60  # of them before the first word that is marked
MOST_READ = 20_000  # characters
ELLIPSIS = "\u2026"

# A word with the apostrophes and marks inside it.
_TOKEN = re.compile(rf"[\w{words.MARKS}]+(?:[{words.APOSTROPHES}][\w{words.MARKS}]+)*")

Span = tuple[int, int]


class _Word(NamedTuple):
    """What stands at a place of a text: from where to where, and its forms."""

    span: Span
    forms: frozenset[str]


def of_record(
    record: dict[str, Any], asked: Sequence[Wanted], fields: Sequence[str]
) -> dict[str, str]:
    """By field its text, escaped, with `<mark>` around each word that was asked for, a phrase as
    one; a long text as a piece of at most LONGEST characters. Fields without any are left out."""
    language = words.language_of(record)
    found = {}
    for field in fields:
        text = _text(record, field)[:MOST_READ]
        if spans := _spans(text, asked, language):
            found[field] = _marked(text, spans)
    return found


def _text(record: dict[str, Any], field: str) -> str:
    top, _, name = filters.spelled(field).partition(".")
    value = record.get(top)
    if name:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, list):
        return ", ".join(" > ".join(one) if isinstance(one, list) else str(one) for one in value)
    if not isinstance(value, str):
        return ""
    return encoder.plain(value) if top in WITH_TAGS else value


def _spans(text: str, asked: Sequence[Wanted], language: str) -> list[Span]:
    """Where it has what was asked for, from left to right."""
    places = list(_words(text, language))
    rows = [row for one in asked for row in (one.words, *one.instead)]
    alone = frozenset(form for row in rows if len(row) == 1 for form in row[0][1])
    found = {one.span for one in places if one.forms & alone}
    for row in rows:
        if len(row) > 1:
            found.update(_in_a_row(places, row))
    return sorted(found)


def _in_a_row(places: Sequence[_Word], row: Row) -> Iterator[Span]:
    """Where these words stand, so far behind each other."""
    steps = [(sum(far for far, _ in row[: at + 1]), forms) for at, (_, forms) in enumerate(row)]
    for at in range(len(places) - steps[-1][0]):
        if all(places[at + far].forms & forms for far, forms in steps):
            yield places[at].span[0], places[at + steps[-1][0]].span[1]


def _words(text: str, language: str) -> Iterator[_Word]:
    """What stands at each place, as `words.placed` counts them."""
    for token in _TOKEN.finditer(text):
        for start, end in _pieces(token.group()):
            span = (token.start() + start, token.start() + end)
            for slot in words.slots(token[0][start:end]):
                forms = (words.forms(word, (language,)) for word in slot)
                yield _Word(span, frozenset[str]().union(*forms))


def _pieces(token: str) -> Iterator[Span]:
    """The token whole; of a script without blanks each pair of characters."""
    if len(token) > 1 and words.is_unbroken(token):
        yield from ((at, at + 2) for at in range(len(token) - 1))
        yield len(token) - 1, len(token)
    else:
        yield 0, len(token)


def _marked(text: str, spans: list[Span]) -> str:
    first, last = _window(text, spans)
    kept = _joined([(max(a, first), min(b, last)) for a, b in spans if a < last and first < b])
    told, end = [], first
    for start, stop in kept:
        told += [html.escape(text[end:start]), "<mark>", html.escape(text[start:stop]), "</mark>"]
        end = stop
    told.append(html.escape(text[end:last]))
    before, after = (ELLIPSIS if first else ""), (ELLIPSIS if last < len(text) else "")
    return f"{before}{''.join(told).strip()}{after}"


def _window(text: str, spans: list[Span]) -> Span:
    """What of a text is shown: the piece with the most words that are marked, the first of such."""
    if len(text) <= LONGEST:
        return 0, len(text)
    room = LONGEST - 2 * len(ELLIPSIS)
    before = [max(0, min(BEFORE, room - (stop - start))) for start, stop in spans]
    starts = [
        max(0, min(start - least, len(text) - room))
        for (start, _), least in zip(spans, before, strict=True)
    ]

    def held(first: int) -> int:
        return len({text[a:b].casefold() for a, b in spans if first <= a and b <= first + room})

    first = max(starts, key=held)
    return _whole_words(text, first, min(len(text), first + room), spans)


def _whole_words(text: str, first: int, last: int, spans: list[Span]) -> Span:
    """Cut between words, unless the next blank is beyond a word that is marked."""
    marked = [span for span in spans if first <= span[0] and span[1] <= last]
    left = text.find(" ", first, marked[0][0]) if marked and first else -1
    right = text.rfind(" ", marked[-1][1], last) if marked and last < len(text) else -1
    return (left + 1 if left >= 0 else first), (right if right >= 0 else last)


def _joined(spans: list[Span]) -> list[Span]:
    """Those that lie in each other as one."""
    found: list[Span] = []
    for start, end in spans:
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
