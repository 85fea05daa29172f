"""The words that a site's products are described by, and which of them a misspelt one may mean.

Each word is kept with what is left of it without one or two letters, and found by what is left of
the misspelt one (as SymSpell does): the index answers with few words, however many there are.
catalog/suggestions writes, catalog/spelling and autocompletion ask.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

from ranking.catalog import words
from ranking.catalog.records import int_array
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

SHORTEST, LONGEST = 3, 40  # letters of a word that is kept, so that nothing shorter is corrected
HEAD = 7  # letters of it that keys are made of
TWO_EDITS = 5  # letters from which on two edits are forgiven
BEGINNINGS = (4, 5)  # letters typed so far that one edit is forgiven in
BATCH = 2000


class Word(NamedTuple):
    """A word of the catalog, as it is written most often, and how many products have it."""

    word: str
    surface: str
    products: int


class Near(NamedTuple):
    """A word, and how many edits it is away from another."""

    word: Word
    distance: int


def is_kept(word: str) -> bool:
    """Whether it is a word that may be misspelt: numbers and article codes are not."""
    return SHORTEST <= len(word) <= LONGEST and not any(map(str.isdigit, word))


def edits(word: str) -> int:
    """How many are forgiven in a word of this length."""
    return 2 if len(word) >= TWO_EDITS else 1 if len(word) >= SHORTEST else 0


# asking -----------------------------------------------------------------------------------------


def known(connection: Connection, site_id: int, asked: Iterable[str]) -> dict[str, Word]:
    """Those of these words that the catalog has."""
    rows = connection.execute(SQL.known, {"site_id": site_id, "words": list(asked)})
    return {row[0]: Word(*row) for row in rows}


def near(connection: Connection, site_id: int, asked: Mapping[str, int]) -> dict[str, list[Near]]:
    """For each word those of the catalog within so many edits of it, the nearest first, of equally
    near ones that which more products have."""
    keys = {key for word, most in asked.items() for key in _keys(f"{site_id}/", word[:HEAD], most)}
    found = _with_keys(connection, site_id, keys)
    return {
        word: _nearest(
            Near(one, distance)
            for one in found
            if (distance := distance_of(word, one.word, most)) is not None
        )
        for word, most in asked.items()
    }


def beginning(connection: Connection, site_id: int, typed: str) -> list[Near]:
    """Words that begin with what is typed so far, give or take an edit, two of HEAD letters."""
    if len(typed) < min(BEGINNINGS):
        return []
    most = 2 if len(typed) >= HEAD else 1
    keys = set(_keys(f"{site_id}/", typed[:HEAD], most))
    if len(typed) in BEGINNINGS:
        keys.update(_keys(f"{site_id}~", typed, 1))
    return _nearest(
        Near(one, distance)
        for one in _with_keys(connection, site_id, keys)
        if (distance := distance_of(typed, one.word, most, begins=True)) is not None
    )


def _with_keys(connection: Connection, site_id: int, keys: Iterable[int]) -> list[Word]:
    parameters = {"site_id": site_id, "keys": int_array(keys)}
    return [Word(*row) for row in connection.execute(SQL.with_keys, parameters, prepare=False)]


def _nearest(found: Iterable[Near]) -> list[Near]:
    return sorted(found, key=lambda one: (one.distance, -one.word.products, one.word.word))


# edits ------------------------------------------------------------------------------------------


def distance_of(typed: str, word: str, most: int, *, begins: bool = False) -> int | None:
    """How many letters to insert, leave out, replace, or neighbours to swap, make one word of the
    other (optimal string alignment); None for more than `most`. With `begins` the word may go on.
    """
    if len(typed) - len(word) > most or (not begins and len(word) - len(typed) > most):
        return None
    word = word[: len(typed) + most]
    before: list[int] = []
    above: list[int] = []
    row = list(range(len(word) + 1))
    for i, letter in enumerate(typed, 1):
        before, above, row = above, row, [i]
        for j, other in enumerate(word, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == word[j - 2] and typed[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return None
    found = min(row) if begins else row[-1]
    return found if found <= most else None


def keys_of(site_id: int, word: str) -> list[int]:
    """The hashes by which a word is found: with a site before them, whole words' apart from those
    of what may have been typed of it so far. Two things of one hash cost a comparison."""
    most = 2 if len(word) >= TWO_EDITS else 1
    keys = set(_keys(f"{site_id}/", word[:HEAD], most))
    for length in BEGINNINGS:
        keys.update(_keys(f"{site_id}~", word[:length], 1))
    keys.add(_hash(f"{site_id}~{word[: min(BEGINNINGS) - 1]}"))
    return sorted(keys)


def _keys(prefix: str, word: str, most: int) -> Iterator[int]:
    return (_hash(prefix + left) for left in _left(word, most))


def _left(word: str, most: int) -> set[str]:
    """What is left of a word without up to so many letters."""
    return {
        "".join(kept)
        for gone in range(min(most, len(word) - 1) + 1)
        for kept in combinations(word, len(word) - gone)
    }


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) - 2**31


# keeping ----------------------------------------------------------------------------------------


class Counted:
    """Collects the words of products."""

    def __init__(self) -> None:
        self.products: Counter[str] = Counter()
        self.surfaces: Counter[tuple[str, str]] = Counter()

    def add(self, texts: Iterable[str]) -> None:
        """One product's texts."""
        written = [pair for text in texts for pair in _kept(text)]
        self.surfaces.update(written)
        self.products.update({word for word, _ in written})

    def words(self) -> dict[str, tuple[str, int]]:
        """By word: how it is written most often, and how many products have it."""
        best: dict[str, tuple[int, str]] = {}
        for (word, surface), count in self.surfaces.items():
            if word not in best or (-count, surface) < best[word]:
                best[word] = (-count, surface)
        return {word: (best[word][1], count) for word, count in self.products.items()}


@lru_cache(20_000)
def _kept(text: str) -> tuple[tuple[str, str], ...]:
    """The words of a text, each with how it is written there; what an apostrophe parts whole and in
    its pieces. Brands and categories come again and again."""
    return tuple(
        (word, surface)
        for token in words.tokens(text)
        for word, surface in _with_pieces(token.word, text[token.start : token.end])
        if is_kept(word)
    )


def _with_pieces(word: str, surface: str) -> Iterator[tuple[str, str]]:
    yield word, surface
    parted = words.pieces(surface)
    if word and len(parted) > 1:
        yield from ((" ".join(words.folded(one)), one) for one in parted)


def keep(connection: Connection, site_id: int, now: Mapping[str, tuple[str, int]]) -> int:
    """Make these the site's words, inside the caller's transaction; returns how many rows it wrote.
    Those that stay as they are are not touched."""
    kept = {row[0]: (row[1], row[2]) for row in connection.execute(SQL.all, {"site_id": site_id})}
    gone = [word for word in kept if word not in now]
    connection.execute(SQL.forget, {"site_id": site_id, "words": database.jsonb(gone)})
    changed = sorted(word for word, value in now.items() if kept.get(word) != value)
    for at in range(0, len(changed), BATCH):
        rows = [
            {
                "word": word,
                "surface": now[word][0],
                "products": now[word][1],
                "keys": None if word in kept else keys_of(site_id, word),
            }
            for word in changed[at : at + BATCH]
        ]
        parameters = {"site_id": site_id, "rows": database.jsonb(rows)}
        connection.execute(SQL.change, parameters)
        connection.execute(SQL.add, parameters)
    return len(gone) + len(changed)
