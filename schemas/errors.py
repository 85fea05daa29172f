"""The errors that carry a sentence for a person, and what every connector may raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class AttuneError(Exception):
    """What is wrong, where, and what to do: `str(error)` is shown as it stands."""


class Ignored(AttuneError):
    """A record we know and have no use for: acknowledged and counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Withheld(Ignored):
    """The record concerns us, and its person does not want it kept."""


class Unsupported(AttuneError):
    """A record of a kind we do not know: kept and shown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Malformed(AttuneError):
    """A body or record that cannot be read: kept, shown, replayable.

    `pointer` is a JSON pointer into what was being read, "" for all of it.
    """

    def __init__(self, reason: str, pointer: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Problem:
    """One violation: where (JSON pointer into the record), a sentence, and what stood there."""

    pointer: str
    message: str
    value: Any = None


class Invalid(AttuneError):
    """A record that breaks its schema, with every violation; there is always at least one."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


def counted(number: int, noun: str) -> str:
    """How many there are of something, for a sentence: `1 line`, `2,000 lines`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
