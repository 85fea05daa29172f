"""Texts that complete what somebody types: the values of products' fields, each once, and queries
that others searched for. catalog/suggestions and catalog/searched write, autocomplete asks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ranking.catalog import words
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

HISTORICAL = "historical_queries"
TITLE = "title"
CUSTOM = "custom_attributes"
# Fields of a product that hold names; what is in custom_attributes is one if it is short.
FIELDS = (
    TITLE, "subtitle", "brand", "categories", "tags", "authors", "publishers", "collections",
    "color", "size", "material", "type",
)  # fmt: skip
LONGEST = 200  # characters
LONGEST_ATTRIBUTE = 80
MOST_WORDS = 30
MOST_VALUES = 40  # of one field of a product
MOST_ATTRIBUTES = 24
MOST_TEXTS = 50_000  # of a field other than the title
STEPS = 4  # of a weight in one of its natural logarithm, so that few change from hour to hour
BATCH = 2000


class Completion(NamedTuple):
    """A text, how much it is asked for, by how many, and a product behind it."""

    text: str
    weight: float
    uses: int
    product_no: int | None


Key = tuple[str, str]  # field and folded text


class Collected:
    """Collects what completes the fields of products."""

    def __init__(self) -> None:
        self._found: dict[Key, list[Any]] = {}
        self._keys: dict[str, str] = {}

    def add(self, product_no: int, record: dict[str, Any], popular: float) -> None:
        """One product that can be bought."""
        for key, text in {self._key(field, text): text for field, text in values(record)}.items():
            known = self._found.setdefault(key, [0, 0.0, -1.0, 0, ""])
            known[0] += 1
            known[1] += popular
            if (popular, -product_no) > (known[2], -known[3]):
                known[2:] = popular, product_no, text

    def _key(self, field: str, text: str) -> Key:
        folded = self._keys.get(text)
        if folded is None:
            folded = self._keys[text] = " ".join(words.folded(text))
        return field, folded

    def completions(self) -> dict[Key, Completion]:
        """Of each field those asked for most."""
        made = {
            key: Completion(text, weight(popular + 0.1 * uses), uses, product_no)
            for key, (uses, popular, _, product_no, text) in self._found.items()
            if key[1]
        }
        return dict(_most(made))


def _most(made: dict[Key, Completion]) -> Iterator[tuple[Key, Completion]]:
    fields: dict[str, list[Key]] = {}
    for key in made:
        fields.setdefault(key[0], []).append(key)
    for field, keys in fields.items():
        if field != TITLE and len(keys) > MOST_TEXTS:
            keys = sorted(keys, key=lambda key: (-made[key].weight, key[1]))[:MOST_TEXTS]
        yield from ((key, made[key]) for key in keys)


def weight(uses: float) -> float:
    """What a text weighs that is asked for so much."""
    return round(math.log1p(max(0.0, uses)) * STEPS) / STEPS


def values(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, text) of all that a product can be completed by."""
    for field in FIELDS:
        yield from _texts(field, record.get(field), LONGEST)
    custom = record.get(CUSTOM)
    if isinstance(custom, dict):
        for name in sorted(custom)[:MOST_ATTRIBUTES]:
            yield from _texts(f"{CUSTOM}.{name}", custom[name], LONGEST_ATTRIBUTE)


def _texts(field: str, value: Any, longest: int) -> Iterator[tuple[str, str]]:
    """A category is each name of its paths. What has no letter is no name, nor is an address."""
    for text in list(_strings(value))[:MOST_VALUES]:
        stripped = text.strip()
        if len(stripped) <= longest and "://" not in stripped and any(map(str.isalpha, stripped)):
            yield field, stripped


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value[:MOST_VALUES]:
            yield from _strings(one)


# keeping ----------------------------------------------------------------------------------------


def keep(
    connection: Connection, site_id: int, now: Mapping[Key, Completion], *, historical: bool
) -> int:
    """Make these the site's completions by queries, or by all other fields, inside the caller's
    transaction; returns how many rows it wrote. Those that stay as they are are not touched."""
    asked = {"site_id": site_id, "historical": historical, "field": HISTORICAL}
    kept = {(row[0], row[1]): Completion(*row[2:]) for row in connection.execute(SQL.all, asked)}
    gone = [{"field": field, "folded": text} for field, text in kept if (field, text) not in now]
    connection.execute(SQL.forget, {"site_id": site_id, "rows": database.jsonb(gone)})
    changed = sorted(key for key, value in now.items() if kept.get(key) != value)
    for at in range(0, len(changed), BATCH):
        rows = [_row(site_id, key, now[key], key in kept) for key in changed[at : at + BATCH]]
        parameters = {"site_id": site_id, "rows": database.jsonb(rows)}
        connection.execute(SQL.change, parameters)
        connection.execute(SQL.add, parameters)
    return len(gone) + len(changed)


def _row(site_id: int, key: Key, value: Completion, known: bool) -> dict[str, Any]:
    field, folded = key
    prefix = prefix_of(site_id, field)
    lexemes = {f"'{prefix}{word}'" for word in folded.split()[:MOST_WORDS]}
    parted = {f"'{prefix}{word}'" for word in words.all_folded(value.text)[: 2 * MOST_WORDS]}
    made = {"field": field, "folded": folded, **value._asdict()}
    # Of equal texts one may part what another writes as one word.
    stays = known and parted <= lexemes
    return made | {"words": None if stays else " ".join(sorted(lexemes | parted))}


def prefix_of(site_id: int, field: str) -> str:
    """What stands before each word of a field, so that the one index holds all apart."""
    return f"{zlib.crc32(f'{site_id}/{field}'.encode('utf-8', 'surrogatepass')):x}/"


# asking -----------------------------------------------------------------------------------------

WALKED = 1500  # completions, the greatest weight first, to find some with a short beginning
SCANNED = 1000  # with the words, of which the greatest weights are taken
LONG = 4  # letters of a beginning that so few have that the index finds all
TAKEN = 200


class Found(NamedTuple):
    """A completion by its folded text."""

    folded: str
    completion: Completion


def with_words(
    connection: Connection,
    site_id: int,
    field: str,
    typed: Sequence[Iterable[str]],
    *,
    finished: bool,
    least_uses: int = 0,
) -> list[Found]:
    """Completions with one of each of these words, the greatest weight first; the last ones may be
    just begun. Of very many the greatest weights, and some of the others."""
    prefix = prefix_of(site_id, field)
    parameters = {
        "site_id": site_id,
        "field": field,
        "query": _query(prefix, typed, finished),
        "least_uses": least_uses,
        "walked": WALKED,
        "scanned": SCANNED,
        "limit": TAKEN,
    }

    def asked(statement: str) -> list[Found]:
        rows = connection.execute(statement, parameters, prepare=False)
        return [Found(row[0], Completion(*row[1:])) for row in rows]

    if not typed:
        return asked(SQL.greatest)
    is_long = finished or len(typed) > 1 or min(map(len, typed[0])) >= LONG
    found = asked(SQL.scanned if is_long else SQL.walked)
    if len(found) >= TAKEN or is_long:
        return found
    return _once([*found, *asked(SQL.scanned)])


def _once(found: Iterable[Found]) -> list[Found]:
    return list({one.folded: one for one in found}.values())


def _query(prefix: str, typed: Sequence[Iterable[str]], finished: bool) -> str | None:
    if not typed:
        return None
    ends = [""] * len(typed) if finished else [""] * (len(typed) - 1) + [":*"]
    return " & ".join(
        "({})".format(" | ".join(f"'{prefix}{word}'{end}" for word in sorted(one)))
        for one, end in zip(typed, ends, strict=True)
    )
