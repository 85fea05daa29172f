"""What products and searches are called, as interest tags name it: words and attributes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 60  # characters of an attribute's name, and of its value: a longer one is a text
MOST = 24  # of a kind that one product is called by; the first ones
FIELDS = ("color", "size", "material")
NOT_TASTE = frozenset(("currency",))

_WORD = re.compile(r"[^\W\d_]{3,}")
_LETTER = re.compile(r"[^\W\d_]")
STOP_WORDS = frozenset((
    "the", "and", "for", "with", "from", "this", "that", "your", "our", "are", "was", "you",
    "all", "new", "set", "pack", "size", "und", "der", "die", "das", "mit", "für", "von",
    "aus", "ein", "eine", "les", "des", "pour", "avec", "sur", "une", "los", "las", "con",
    "para", "por", "del", "una", "het", "een", "van", "voor", "met",
))  # fmt: skip


def words(text: str) -> Iterator[str]:
    """The words of a text that may be an interest, in lower case."""
    return (word for word in _WORD.findall(text.casefold()) if word not in STOP_WORDS)


def attributes(fields: Mapping[str, Any], custom: Any) -> list[str]:
    """`color: red` of each field and custom attribute that says something in words: numbers, long
    texts and addresses are no taste."""
    told = {name: fields.get(name) for name in FIELDS}
    if isinstance(custom, dict):
        told |= {name: value for name, value in custom.items() if name not in NOT_TASTE}
    found = dict.fromkeys(
        f"{name}: {value.strip()}"
        for name, many in told.items()
        if len(name) <= LONGEST
        for value in _telling(many)
    )
    return list(found)[:MOST]


def _telling(many: Any) -> Iterator[str]:
    values = many if isinstance(many, list) else [many]
    return (one for one in values if isinstance(one, str) and _says_something(one))


def _says_something(text: str) -> bool:
    return len(text) <= LONGEST and "://" not in text and _LETTER.search(text) is not None
