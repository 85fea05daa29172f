"""Vectors of what visitors search for: a search is an interest too. Profiles and strategies ask.

A text never seen is encoded at the first read, kept in the table, and in a small cache of this
process.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

import numpy as np

from ranking.catalog import encoder
from ranking.catalog.encoder import Encodes, NoNetwork, QueryEncoder, Vectors
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MAX_LENGTH = 256
CACHED = 4096

_SPACES = re.compile(r"\s+")


def vectors(
    connection: Connection, site_id: int, texts: Iterable[str], encodes: Encodes | None = None
) -> dict[str, Vectors]:
    """Raw unit vectors [384] by text.

    A text is missing if it is blank, or if it was never seen and the network that encodes queries
    is not exported yet, or damaged: ask again later.
    """
    hashes = {text: query_hash(text) for text in set(texts) if _canonical(text)}
    found = {key: _cache[site_id, key] for key in hashes.values() if (site_id, key) in _cache}
    missing = {key: text for text, key in hashes.items() if key not in found}
    if missing:
        found |= _remembered(connection, site_id, missing, encodes or _query_encoder)
    return {text: found[key] for text, key in hashes.items() if key in found}


def warm_up() -> bool:
    """Load the network now, so that no visitor waits for it; False where there is none to load."""
    global _problem
    try:
        _query_encoder.encode(["warm"])
    except NoNetwork as error:
        _problem = str(error)
        return False
    return True


def problem() -> str | None:
    """Why `warm_up` found no network; None where there is one by now, or nobody asked for it."""
    return None if _query_encoder.is_loaded else _problem


def purge(connection: Connection, before: datetime) -> int:
    """Forget texts kept since before then; they are encoded again when asked for."""
    return connection.execute(SQL.purge, {"before": before}).rowcount


def query_hash(text: str) -> UUID:
    """One hash for all spellings in case and spaces."""
    content = f"{encoder.MODEL}\0{_canonical(text)}".encode("utf-8", "surrogatepass")
    return UUID(bytes=blake2b(content, digest_size=16).digest())


def _canonical(text: str) -> str:
    return _SPACES.sub(" ", text).strip().lower()[:MAX_LENGTH]


def _remembered(
    connection: Connection, site_id: int, missing: dict[UUID, str], encodes: Encodes
) -> dict[UUID, Vectors]:
    """From the table, else encoded and put there; all of it into the cache."""
    found = _stored(connection, site_id, list(missing))
    unseen = {key: _canonical(text) for key, text in missing.items() if key not in found}
    if unseen:
        found |= _encoded(connection, site_id, unseen, encodes)
    _keep(site_id, found)
    return found


def _stored(connection: Connection, site_id: int, keys: Sequence[UUID]) -> dict[UUID, Vectors]:
    rows = connection.execute(SQL.find, {"site_id": site_id, "keys": list(keys)})
    return {key: vector.to_numpy() for key, vector in rows}


def _encoded(
    connection: Connection, site_id: int, unseen: dict[UUID, str], encodes: Encodes
) -> dict[UUID, Vectors]:
    try:
        made = encodes.encode(list(unseen.values()))
    except NoNetwork:
        return {}
    rows = [
        {"site_id": site_id, "key": key, "text": text, "vector": vector, "at": datetime.now(UTC)}
        for (key, text), vector in sorted(zip(unseen.items(), made, strict=True), key=_key_of)
    ]
    for row in rows:  # one, nearly always, for which executemany would begin a pipeline
        connection.execute(SQL.keep, row)
    return dict(zip(unseen, made, strict=True))


def _key_of(entry: tuple[tuple[UUID, str], Any]) -> UUID:
    return entry[0][0]


# this process -----------------------------------------------------------------------------------

_cache: dict[tuple[int, UUID], np.ndarray[Any, Any]] = {}
_cache_lock = threading.Lock()
_query_encoder = QueryEncoder()
_problem: str | None = None


def _keep(site_id: int, found: dict[UUID, Vectors]) -> None:
    with _cache_lock:
        for key, vector in found.items():
            _cache[site_id, key] = vector
        for oldest in list(_cache)[: max(0, len(_cache) - CACHED)]:
            del _cache[oldest]
