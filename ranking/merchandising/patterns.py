"""Regular expressions as facets take them (Lucene's: the whole value, case-sensitive, `"..."` for
text as it stands), made into Postgres's, whose engine never backtracks where nothing is captured.

Pure; only a subset is read, so small that no expression of it costs much to compile.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

from schemas.errors import AttuneError

LONGEST = 200  # characters
MOST_NESTED = 8  # brackets
MOST_REPEATED = 100  # by {n,m}, and by such inside such together

_REPEAT = re.compile(r"\{([0-9]{1,3})(,?)([0-9]{0,3})\}")
_RESERVED = "~&<>@#"  # mean something to some of Lucene's parsers


class PatternError(AttuneError):
    """A regular expression that cannot be used: what is wrong, at which character (from 0)."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"The expression is wrong at character {position}: {message}.")
        self.position = position


@lru_cache(maxsize=256)
def translate(pattern: str) -> str:
    """The same in Postgres's syntax, for the operator `~`; PatternError says where it is wrong."""
    if len(pattern) > LONGEST:
        raise PatternError(f"it is longer than {LONGEST} characters", LONGEST)
    return f"^(?:{_Reader(pattern).whole()})$"


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0

    def whole(self) -> str:
        made, _ = self._any(0)
        if self.at < len(self.text):
            self._fail('")" without "("')
        return made

    def _any(self, depth: int) -> tuple[str, int]:
        """Alternatives, and how often the most repeated part of them may occur."""
        first = self._sequence(depth)
        branches, repeated = [first[0]], first[1]
        while self._took("|"):
            branch, often = self._sequence(depth)
            branches.append(branch)
            repeated = max(repeated, often)
        return "|".join(branches), repeated

    def _sequence(self, depth: int) -> tuple[str, int]:
        made, repeated = [], 1
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            atom, inner = self._atom(depth)
            atom, often = self._repeated(atom, inner)
            made.append(atom)
            repeated = max(repeated, often)
        if not made:
            self._fail("expected something to match here")
        return "".join(made), repeated

    def _atom(self, depth: int) -> tuple[str, int]:
        character = self._next()
        if character == "(":
            if depth == MOST_NESTED:
                self._fail(f"brackets go deeper than {MOST_NESTED}", back=1)
            made, repeated = self._any(depth + 1)
            if not self._took(")"):
                self._fail('expected ")"')
            return f"(?:{made})", repeated
        if character == "[":
            return self._class(), 1
        if character == '"':
            return self._quoted(), 1
        if character == ".":
            return ".", 1
        if character in "*+?{":
            self._fail(f'nothing stands before "{character}"', back=1)
        if character in _RESERVED:
            self._fail(f'write \\{character} if "{character}" is meant', back=1)
        return _literal(self._next() if character == "\\" else character), 1

    def _repeated(self, atom: str, inner: int) -> tuple[str, int]:
        """The atom with what says how often it occurs, once; {n,m} of {n,m} multiply."""
        if self.at >= len(self.text) or self.text[self.at] not in "*+?{":
            return atom, inner
        start, often, mark = self.at, inner, self._next()
        if mark == "{":
            found = _REPEAT.match(self.text, start)
            if found is None:
                self._fail("expected {n}, {n,} or {n,m}", back=1)
            assert found is not None
            self.at, mark = found.end(), found.group()
            least, most = int(found[1]), int(found[3] or found[1])
            if found[3] and not found[2]:
                self._fail("expected {n}, {n,} or {n,m}")
            if most < least or most == 0:
                self._fail("the second number must be the larger one, and not 0")
            often = inner * most
        if often > MOST_REPEATED:
            self._fail(f"it repeats more than {MOST_REPEATED} times")
        if self.at < len(self.text) and self.text[self.at] in "*+?{":
            self._fail("one repetition directly behind another: put brackets around the first")
        return atom + mark, often

    def _class(self) -> str:
        negated = "^" if self._took("^") else ""
        members: list[str] = []
        while not self._took("]"):
            first = self._member()
            ranged = self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 :][:1] != "]"
            if ranged and self.at + 1 < len(self.text):
                self.at += 1
                last = self._member()
                if last < first:
                    self._fail("the range runs backwards")
                members.append(f"{_escaped(first)}-{_escaped(last)}")
            else:
                members.append(_escaped(first))
        if not members:
            self._fail("a class needs something in it")
        return f"[{negated}{''.join(members)}]"

    def _member(self) -> str:
        character = self._next()
        return self._next() if character == "\\" else character

    def _quoted(self) -> str:
        start = self.at
        while (character := self._next()) != '"':
            del character
        text = self.text[start : self.at - 1]
        return f"(?:{''.join(map(_literal, text))})" if text else "(?:)"

    def _next(self) -> str:
        if self.at >= len(self.text):
            self._fail("it ends too soon")
        self.at += 1
        return self.text[self.at - 1]

    def _took(self, character: str) -> bool:
        if self.text[self.at : self.at + 1] != character:
            return False
        self.at += 1
        return True

    def _fail(self, message: str, back: int = 0) -> NoReturn:
        raise PatternError(message, self.at - back)


def _literal(character: str) -> str:
    return character if character.isascii() and character.isalnum() else _escaped(character)


def _escaped(character: str) -> str:
    """By its number, so that it never means anything; also inside a class."""
    number = ord(character)
    if number == 0 or 0xD800 <= number <= 0xDFFF:
        return "\\uFFFD"  # no value holds it
    return f"\\u{number:04X}" if number <= 0xFFFF else f"\\U{number:08X}"
