"""What somebody has typed so far, found again in a text that completes it; pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple

from ranking.catalog import words
from ranking.catalog.vocabulary import distance_of

MOST_EDITS = 4
CLOSE, SCATTERED = 0, 1  # beside each other in the order typed, or not

Span = tuple[int, int]


class Match(NamedTuple):
    """Where what was typed stands in a text; `group` orders: CLOSE, SCATTERED, and with typos more
    the more there are. `starts`: at the text's beginning."""

    spans: tuple[Span, ...]
    group: int
    starts: bool


@dataclass(frozen=True)
class Typed:
    """A text as it was typed; a space, or whatever is no letter, finishes its last word."""

    text: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words in lower case and without accents."""
        return words.folded(self.text)

    @cached_property
    def is_finished(self) -> bool:
        return bool(self._folded) and self._folded[-1] == " "

    @cached_property
    def _folded(self) -> str:
        return _fold(self.text)[0]

    @cached_property
    def _close(self) -> re.Pattern[str]:
        return _pattern(self._folded.split(), self.is_finished)

    @cached_property
    def _apart(self) -> list[re.Pattern[str]]:
        parts = self._folded.split()
        last = len(parts) - 1
        return [_pattern([part], at < last or self.is_finished) for at, part in enumerate(parts)]

    def match(self, text: str) -> Match:
        """Where it stands in a text that has all its words."""
        folded, places = _fold(text)
        close = self._close.search(folded) if self.words else None
        if close:
            return Match((_span(text, places, *close.span()),), CLOSE, close.start() == 0)
        found = [one.search(folded) for one in self._apart]
        spans = sorted({_span(text, places, *one.span()) for one in found if one})
        return Match(tuple(_apart(spans)), SCATTERED, starts=False)

    def forgiving(self, text: str, first: Iterable[str]) -> Match | None:
        """The same with up to MOST_EDITS typos, where spaces do not count; the first word may be
        any of these. What was typed is then as much as the text has of it from its beginning."""
        folded, places = _fold(text)
        start = _first_of(folded, first)
        edits = self._edits(folded[start:])
        if edits is None:
            return None
        common = _common(self._folded.lstrip(), folded[start:])
        spans = (_span(text, places, start, start + common),) if common else ()
        return Match(spans, SCATTERED + 1 + edits, start == 0)

    def _edits(self, folded: str) -> int | None:
        """How many typos lie between it and the beginning of a text, or its first words."""
        typed = self._folded.replace(" ", "")
        if not self.is_finished:
            return distance_of(typed, folded.replace(" ", ""), MOST_EDITS, begins=True)
        whole = accumulate(folded.split())
        each = (distance_of(typed, one, MOST_EDITS) for one in whole)
        return min((one for one in each if one is not None), default=None)


def marked(text: str, spans: Sequence[Span]) -> tuple[str, str]:
    """The text with `<mark>` around all that is in no span, and with it around the spans."""
    rest, inverted = [], []
    for part, is_typed in _parts(text, spans):
        rest.append(part if is_typed else f"<mark>{part}</mark>")
        inverted.append(f"<mark>{part}</mark>" if is_typed else part)
    return "".join(rest), "".join(inverted)


def _parts(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, bool]]:
    at = 0
    for start, end in spans:
        if start > at:
            yield text[at:start], False
        yield text[start:end], True
        at = end
    if at < len(text):
        yield text[at:], False


# letters ----------------------------------------------------------------------------------------


@lru_cache(4096)
def _fold(text: str) -> tuple[str, tuple[int, ...]]:
    """In lower case, without accents and apostrophes, a space for all that is no letter; and for
    each of its characters where that stood."""
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for one in _letter(character):
            folded.append(one)
            places.append(place)
    return "".join(folded), tuple(places)


@lru_cache(16_384)
def _letter(character: str) -> str:
    if character in "'\u2019":
        return ""
    plain = unicodedata.normalize("NFKC", character).casefold()
    bare = words.fold(plain)
    return "".join(one if one.isalnum() or unicodedata.combining(one) else " " for one in bare)


def _pattern(parts: Sequence[str], finished: bool) -> re.Pattern[str]:
    """These words one after the other, the last one whole if it is finished."""
    begin = "" if not parts or words.is_unbroken(parts[0][0]) else r"(?<!\S)"
    end = r"(?!\S)" if finished and parts and not words.is_unbroken(parts[-1][-1]) else ""
    return re.compile(begin + r" +".join(map(re.escape, parts)) + end)


def _span(text: str, places: Sequence[int], start: int, end: int) -> Span:
    """From places in the folded text to those in the text, with the marks of the last letter."""
    last = places[end - 1] + 1
    while last < len(text) and not _letter(text[last]) and unicodedata.combining(text[last]):
        last += 1
    return places[start], last


def _apart(spans: Iterable[Span]) -> Iterator[Span]:
    """Without those that overlap one before them."""
    at = 0
    for start, end in spans:
        if start >= at:
            yield start, end
            at = end


def _first_of(folded: str, asked: Iterable[str]) -> int:
    """Where the first of these words stands, alone or as a beginning; else at the start."""
    wanted = tuple(asked)
    for found in re.finditer(r"\S+", folded):
        if found[0].startswith(wanted):
            return found.start()
    return len(folded) - len(folded.lstrip())


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    count = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return len(one[:count].rstrip())
