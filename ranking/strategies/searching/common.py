"""What very many products have is known for a while, as whole shops search for it over and over:
how many there are, and which of them to compare."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import psycopg

from ranking.strategies.searching.asked import ALIAS, Asked
from ranking.strategies.searching.compared import UNCOUNTED
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MOST_COMPARED = 2500  # matches, which cost as much as a pool; of more, a pool is compared
KNOWN_S = 60.0
MOST_KNOWN = 2000  # of a process, 4 KB each


class Common(NamedTuple):
    """Of words that very many products have: how many products and groups, -1 where counting took
    too long, and those to compare."""

    matches: int
    groups: int
    pool: Sequence[int]


_common: dict[bytes, tuple[float, Common]] = {}


def known(key: bytes) -> Common | None:
    """What was learned of it less than a minute ago."""
    found = _common.get(key)
    return found[1] if found and found[0] > time.monotonic() else None


def forget(key: bytes) -> None:
    """It is no longer so."""
    _common.pop(key, None)


def learned(connection: Connection, asked: Asked, key: bytes, pool: Iterable[int] = ()) -> Common:
    """Count, and remember it with the pool. A list is not held up where counting takes too long."""
    filter = asked.question.where(ALIAS)
    statement = SQL.fill("counted", matches=asked.matches, filter=filter.where)
    try:
        row = connection.execute(statement, _parameters(asked), prepare=False).fetchone()
    except psycopg.errors.QueryCanceled:
        return Common(UNCOUNTED, UNCOUNTED, array("i", pool))
    assert row is not None, "an aggregate always gives one row"
    common = Common(row[0], row[1], array("i", pool))
    if common.matches > MOST_COMPARED:
        if len(_common) >= MOST_KNOWN:
            _common.clear()
        _common[key] = (time.monotonic() + KNOWN_S, common)
    return common


def key(connection: Connection, asked: Asked) -> bytes:
    """What it is remembered by: the words, the filter, what is left out."""
    where = (asked.matches + asked.question.where(ALIAS).where).as_bytes()
    about = repr((connection.info.dbname, where, _parameters(asked)))
    return blake2b(about.encode("utf-8", "replace"), digest_size=16).digest()


def _parameters(asked: Asked) -> dict[str, Any]:
    named = ("site_id", "excluded", "anywhere")
    whole = asked.parameters
    return {name: whole[name] for name in named} | asked.question.where(ALIAS).params
