"""What somebody has typed so far, found again in a text that completes it; pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from itertools import accumulate
from typing import NamedTuple

from ranking.catalog import words
from ranking.catalog.vocabulary import distance_of

MOST_EDITS = 4
CLOSE, SCATTERED = 0, 1  # beside each other in the order typed, or not

Span = tuple[int, int]


class Match(NamedTuple):
    """How well a text has what was typed. `group` orders: CLOSE, SCATTERED, and with typos more the
    more there are, where `begins` says before which of its words; `starts`: at the beginning."""

    group: int
    starts: bool
    begins: int = 0


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

    def match(self, folded: str, text: str = "") -> Match:
        """Of a text that has all its words, by these, folded, and by the text as it is written."""
        close = not self.words or f" {self._ended}" in f" {folded}{self._end}"
        starts = close and f"{folded}{self._end}".startswith(self._ended)
        if not close and _has_apostrophe(text):
            return self.match(" ".join(_fold(text, " ")[0].split()))
        return Match(CLOSE if close else SCATTERED, starts)

    @cached_property
    def _end(self) -> str:
        return " " if self.is_finished else ""

    @cached_property
    def _ended(self) -> str:
        return " ".join(self.words) + self._end

    def forgiving(self, folded: str, first: Iterable[str]) -> Match | None:
        """The same with up to MOST_EDITS typos, where spaces do not count; its first word may be
        any of these. None for more."""
        parts, wanted = folded.split(), tuple(first)
        begins = next((at for at, part in enumerate(parts) if part.startswith(wanted)), 0)
        edits = self._edits(parts[begins:])
        if edits is None:
            return None
        return Match(SCATTERED + 1 + edits, begins == 0, begins)

    def _edits(self, parts: Sequence[str]) -> int | None:
        """How many typos lie between it and the beginning of a text, or its first words."""
        typed = "".join(self.words)
        if not self.is_finished:
            return distance_of(typed, "".join(parts), MOST_EDITS, begins=True)
        each = (distance_of(typed, one, MOST_EDITS) for one in accumulate(parts))
        return min((one for one in each if one is not None), default=None)

    def spans(self, text: str, match: Match) -> tuple[Span, ...]:
        """Where it stands in the text so matched. With typos that is as much as the text has of it
        from its beginning."""
        folded, places = _fold(text)
        if match.group > SCATTERED:
            start = _place(folded, match.begins)
            common = _common(self._folded.lstrip(), folded[start:])
            return (_span(text, places, start, start + common),) if common else ()
        ways = [(folded, places)] + ([_fold(text, " ")] if _has_apostrophe(text) else [])
        parts = self._folded.split()
        for folded, places in ways:
            close = _pattern(parts, self.is_finished).search(folded) if parts else None
            if close:
                return (_span(text, places, *close.span()),)
        return max((self._scattered(text, *way) for way in ways), key=len)

    def _scattered(self, text: str, folded: str, places: Sequence[int]) -> tuple[Span, ...]:
        parts = self._folded.split()
        last = len(parts) - 1
        each = (_pattern([part], at < last or self.is_finished) for at, part in enumerate(parts))
        found = [one.search(folded) for one in each]
        return tuple(_apart(sorted({_span(text, places, *one.span()) for one in found if one})))


def marked(text: str, spans: Sequence[Span]) -> tuple[str, str]:
    """As HTML: the text with `<mark>` around what is in no span, and with it around the spans."""
    rest, inverted = [], []
    for piece, is_typed in _parts(text, spans):
        part = escape(piece, quote=False)
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


def _has_apostrophe(text: str) -> bool:
    return any(one in words.APOSTROPHES for one in text)


def _fold(text: str, apostrophe: str = "") -> tuple[str, tuple[int, ...]]:
    """In lower case, without accents, with this for an apostrophe and a space for all else that is
    no letter; and for each of its characters where that stood."""
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for one in apostrophe if character in words.APOSTROPHES else _letter(character):
            folded.append(one)
            places.append(place)
    return "".join(folded), tuple(places)


@lru_cache(16_384)
def _letter(character: str) -> str:
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


def _place(folded: str, word: int) -> int:
    """Where a word stands, counted from the first."""
    places = [found.start() for found in re.finditer(r"\S+", folded)]
    return places[min(word, len(places) - 1)] if places else 0


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    count = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return len(one[:count].rstrip())
