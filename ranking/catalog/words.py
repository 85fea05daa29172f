"""The words of products and of what people search for, as Postgres's text search keeps them.

Split and stemmed here, not by Postgres's parser: its words depend on the database's locale, and
`Black/White` is a file name to it. An apostrophe is no letter: `L'Oréal` is `loreal`, and what it
parts, `l` and `oreal`, stands at the same place. Each word carries its site (`12/mug`), so that the
one index holds every site's words apart; those of a title are there twice (`12=mug`), because the
index does not know the letters. catalog/products writes, strategies/searching asks.
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import snowballstemmer

from ranking.catalog.encoder import more_parts, parts
from ranking.catalog.records import int_array
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# Raise it with any change in which words a record has: every product is split anew.
RECIPE = 3
DEFAULT_LANGUAGE = "en"
STEMMERS = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali",
    "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish",
}  # fmt: skip

# Which letter of Postgres's four a part has, and how many of its words count.
TITLE, METADATA, SUBTITLE, DESCRIPTION = "A", "B", "C", "D"
LETTERS = {"title": TITLE, "subtitle": SUBTITLE, "description": DESCRIPTION}  # else METADATA
# Longer texts stand apart (`12+mug`), so that each can be told from the description.
MORE = {"short_description": "A", "headers": "B", "paragraphs": "C", "anchors": "D"}
MOST_WORDS = {TITLE: 100, METADATA: 400, SUBTITLE: 100, DESCRIPTION: 400}
MOST_WORDS_MORE = {"A": 100, "B": 400, "C": 400, "D": 400}
FIRST = {TITLE: 1, METADATA: 1001, SUBTITLE: 3001, DESCRIPTION: 4001}  # no phrase spans two
GAP = 10  # between two parts of one letter
LONGEST = 64  # characters of a word
MOST_CHARACTERS = 4000  # of a part that are read

# Words of a query that need not occur, unless there are no others: what stands between nouns.
FUNCTION_WORDS = frozenset((
    "a", "an", "and", "at", "by", "for", "from", "in", "into", "is", "of", "on", "or", "the", "to",
    "with", "am", "auf", "aus", "das", "dem", "den", "der", "des", "die", "ein", "eine", "einen",
    "einer", "fur", "im", "mit", "oder", "und", "vom", "von", "zu", "zum", "zur", "au", "aux",
    "avec", "dans", "de", "du", "en", "et", "la", "le", "les", "ou", "par", "pour", "sur", "un",
    "une", "con", "del", "el", "las", "los", "para", "por", "una", "y", "da", "di", "e", "gli", "i",
    "il", "lo", "per", "com", "do", "dos", "o", "os", "para", "um", "uma", "een", "het", "met",
    "op", "van", "voor",
))  # fmt: skip

# Scripts written without blanks: cut into pairs of characters.
_UNBROKEN = "\u0e00-\u0edf\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff" \
    "\uf900-\ufaff\U00020000-\U0003ffff"  # fmt: skip
# Marks that belong to the letter before them, in scripts whose letters keep them.
MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
# What is typed and printed for an apostrophe.
APOSTROPHES = "'\u2019\u2018\u201b\u02bb\u02bc\u02b9\u2032\u00b4`\uff07"
_PLAIN = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))
_LETTERS = rf"(?:(?![{_UNBROKEN}])[^\W_]|[{MARKS}])+"
_WORD = re.compile(rf"[{_UNBROKEN}]+|{_LETTERS}(?:'{_LETTERS})*")
_IS_UNBROKEN = re.compile(rf"[{_UNBROKEN}]")
_FOLDED_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
# Longer than a letter and yet a word of their own before an apostrophe.
_ELIDED = frozenset(
    ("qu", "jusqu", "lorsqu", "puisqu", "all", "dall", "dell", "nell", "sull", "un")
)
_TOKEN = re.compile(rf"(?:[^\W_]|[{MARKS}])+(?:[{APOSTROPHES}](?:[^\W_]|[{MARKS}])+)*")

_stemmers: dict[str, Any] = {}
_stemmers_lock = threading.Lock()  # a stemmer holds the word it works on


# one text ---------------------------------------------------------------------------------------


def fold(word: str) -> str:
    """Without accents: what somebody types who is in a hurry."""
    bare = _FOLDED_MARKS.sub("", unicodedata.normalize("NFD", word))
    return unicodedata.normalize("NFC", bare)


def split(text: str) -> Iterator[str]:
    """The words of a text in lower case."""
    return (slot[0] for slot in slots(text))


def slots(text: str, *, ends: bool = False) -> Iterator[tuple[str, ...]]:
    """What stands at each place of a text: a word, and where an apostrophe parts it what it is made
    of. With `ends` an unbroken run's last character too, so that one character finds it wherever
    it stands."""
    for run in _runs(text):
        yield from _of_run(run, ends=ends)


def _runs(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS].translate(_PLAIN)).casefold()
    return _WORD.findall(plain)


def _of_run(run: str, *, ends: bool) -> Iterator[tuple[str, ...]]:
    if len(run) > 1 and is_unbroken(run):
        yield from ((run[at : at + 2],) for at in range(len(run) - 1))
        if ends:
            yield (run[-1],)
    elif "'" in run:
        yield from _with_pieces(run)
    elif fold(run):
        yield (run[:LONGEST],)


def _with_pieces(run: str) -> Iterator[tuple[str, ...]]:
    whole = run.replace("'", "")
    parted = [one for one in pieces(run) if fold(one)]
    if fold(whole):
        made = (whole, *parted) if len(parted) > 1 else (whole,)
        yield tuple(one[:LONGEST] for one in made)


def pieces(word: str) -> list[str]:
    """The words that the apostrophes of one part, without any: L'Oréal is L and Oréal, rock'n'roll
    three, men's one."""
    parts = word.translate(_PLAIN).split("'")
    found = parts[:1]
    for before, part in pairwise(parts):
        if _parts(before.casefold(), part):
            found.append(part)
        else:
            found[-1] += part
    return found


def _parts(before: str, after: str) -> bool:
    """Whether an apostrophe between these parts two words."""
    if after in ("n", "N"):
        return True
    return (len(before) == 1 or before in _ELIDED) and after[:1].isalpha()


def placed(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """What stands at each place of a text, and at which place `of_record` would put it."""
    at = 0
    for run in _runs(text):
        yield from enumerate(_of_run(run, ends=False), at)
        at += len(list(_of_run(run, ends=True)))


class Token(NamedTuple):
    """A word of a text as it is written there, from `start` to `end`, and what it is split into."""

    start: int
    end: int
    words: tuple[str, ...]

    @property
    def word(self) -> str:
        """Its one word, without accents; empty where it is several, or of an unbroken script."""
        one = self.words[0] if len(self.words) == 1 else ""
        return "" if _IS_UNBROKEN.search(one) else one


def tokens(text: str) -> Iterator[Token]:
    """The words of a text where they stand."""
    for found in _TOKEN.finditer(text):
        yield Token(found.start(), found.end(), _folded(found[0]))


def folded(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case and without accents."""
    return tuple(map(fold, split(text)))


def all_folded(text: str) -> tuple[str, ...]:
    """The same, and beside each word what its apostrophes part."""
    return tuple(fold(word) for slot in slots(text) for word in slot)


_folded = lru_cache(65_536)(folded)  # a catalog says the same again and again


def forms(word: str, languages: Iterable[str]) -> frozenset[str]:
    """A word as it stands and its stem in each language, without accents."""
    known = (STEMMERS[one] for one in languages if one in STEMMERS)
    return frozenset((fold(word), *(_stem(word, one) for one in known)))


def is_unbroken(word: str) -> bool:
    """Whether it begins in a script that is written without blanks."""
    return _IS_UNBROKEN.match(word) is not None


@lru_cache(65_536)
def _stem(word: str, algorithm: str) -> str:
    with _stemmers_lock:
        if algorithm not in _stemmers:
            _stemmers[algorithm] = snowballstemmer.stemmer(algorithm)
        return fold(_stemmers[algorithm].stemWord(word)) or fold(word)


def title_key(words: Iterable[str]) -> int:
    """Equal for titles that differ only in case, accents and what stands between their words."""
    text = " ".join(map(fold, words)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


# a product --------------------------------------------------------------------------------------


def of_record(site_id: int, record: dict[str, Any]) -> dict[str, Any]:
    """A record's words as a tsvector, with the key and number of its title's words; pure."""
    language = language_of(record)
    positions: dict[str, list[str]] = {}
    next_at = {("/", letter): at for letter, at in FIRST.items()}
    next_at |= {("+", letter): at for letter, at in FIRST.items()}
    for separator, letter, text in _placed_parts(record):
        most = (MOST_WORDS if separator == "/" else MOST_WORDS_MORE)[letter]
        for position, slot in enumerate(slots(text, ends=True), next_at[separator, letter]):
            if position >= FIRST[letter] + most:
                break
            for form in {form for word in slot for form in forms(word, (language,))}:
                positions.setdefault(f"{site_id}{separator}{form}", []).append(
                    f"{position}{letter}"
                )
                if (separator, letter) == ("/", TITLE):
                    positions[f"{site_id}={form}"] = [f"1{TITLE}"]
            next_at[separator, letter] = position + 1
        next_at[separator, letter] += GAP
    title = list(split(record.get("title") or ""))
    return {
        "words": " ".join(f"'{lexeme}':{','.join(at)}" for lexeme, at in positions.items()),
        "language": language,
        "title_key": title_key(title),
        "title_words": min(len(title), MOST_WORDS[TITLE]),
    }


def _placed_parts(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each text of a record, with what stands between site and word, and its letter."""
    yield "/", METADATA, str(record["product_id"])
    for kind, text in parts(record):
        if kind != "description":
            yield "/", LETTERS.get(kind, METADATA), text
    for kind, text in more_parts(record):
        if kind in MORE:
            yield "+", MORE[kind], text
        else:
            yield "/", DESCRIPTION, text


def language_of(record: dict[str, Any]) -> str:
    """The two letters of a record's language; English where it names none."""
    sent = record.get("language")
    return sent[:2].lower() if isinstance(sent, str) and sent else DEFAULT_LANGUAGE


# the table --------------------------------------------------------------------------------------

BATCH = 500
LANGUAGES_CACHE_S = 60.0
SAMPLE = 5000  # products
MOST_LANGUAGES = 4
CACHED_SITES = 10_000


def refresh(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Split these products' present records, inside the transaction that changed them."""
    _write(connection, site_id, SQL.read, product_nos)


def copy_columns(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Bring the filter columns beside the words up to date with products."""
    if product_nos:
        parameters = {"site_id": site_id, "product_nos": int_array(product_nos)}
        connection.execute(SQL.copy_columns, parameters)


def forget(connection: Connection, site_id: int, product_nos: Sequence[int]) -> None:
    """Remove the words of these products."""
    if product_nos:
        parameters = {"site_id": site_id, "product_nos": int_array(product_nos)}
        connection.execute(SQL.forget, parameters)


def fill(connection: Connection, site_id: int, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Split what has no words of its present text yet, as after an upgrade; returns how many.

    Batch by batch on a connection in autocommit, each with a transaction of its own: where it is
    interrupted the next goes on, and uploads wait for one batch at most.
    """
    gone = connection.execute(SQL.gone, {"site_id": site_id})
    forget(connection, site_id, [row[0] for row in gone])
    done = after = 0
    while not stop():
        asked = {
            "site_id": site_id, "after": after, "recipe": RECIPE, "default": DEFAULT_LANGUAGE,
            "limit": BATCH,
        }  # fmt: skip
        found = [row[0] for row in connection.execute(SQL.missing, asked)]
        if not found:
            break
        with connection.transaction():
            done += _write(connection, site_id, SQL.read_locked, found)
        after = found[-1]
    return done


def _write(connection: Connection, site_id: int, statement: str, product_nos: Sequence[int]) -> int:
    if not product_nos:
        return 0
    asked = {"site_id": site_id, "product_nos": int_array(product_nos)}
    rows = [
        {"product_no": product_no, **of_record(site_id, record)}
        for product_no, record in connection.execute(statement, asked)
    ]
    written = {"site_id": site_id, "recipe": RECIPE, "rows": database.jsonb(rows)}
    return connection.execute(SQL.write, written).rowcount


_languages: dict[tuple[str, int], tuple[float, tuple[str, ...]]] = {}


def languages(connection: Connection, site_id: int) -> tuple[str, ...]:
    """What the site's products are written in, a minute old at most: a query that names no
    language may be in any of them."""
    key = (connection.info.dbname, site_id)
    known = _languages.get(key)
    if known and known[0] > time.monotonic():
        return known[1]
    asked = {"site_id": site_id, "sample": SAMPLE, "most": MOST_LANGUAGES}
    found = tuple(row[0] for row in connection.execute(SQL.languages, asked))
    if len(_languages) >= CACHED_SITES:
        _languages.clear()
    _languages[key] = (time.monotonic() + LANGUAGES_CACHE_S, found or (DEFAULT_LANGUAGE,))
    return _languages[key][1]


def asked_for(connection: Connection, site_id: int, language: str) -> tuple[str, ...]:
    """What a query may be in: the language it names, or any of the site's."""
    return (language,) if language else languages(connection, site_id)
