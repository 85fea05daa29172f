"""Products that have some words of a search, not all: the more and the rarer, the better.

What a word tells is its inverse document frequency, ln(1 + N/n) (Robertson & Spärck Jones 1976, as
BM25 has it), N products of which n have the word. Of a common word n is counted as far as COMMON
only, and it finds nothing by itself that a product with a rarer word, or with more of the words,
should stand behind: at most MOST_LOOKED_AT products are compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import combinations

from ranking.catalog.wanted import FIELDS, places
from ranking.strategies.searching.asked import ALIAS, Asked
from ranking.strategies.searching.compared import Found, compared
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

MOST_FOUND = 200  # products with some words that a search has at most
MOST_LOOKED_AT = 1500  # of those with the rarest words
OF_COMMON = 300  # of those with nothing but common words, popular ones and others
COMMON = 1000  # products that have a word which is common
MOST_WORDS = 12  # of a longer text the rarest
WALKED = 1500  # of the most popular products
KNOWN_S = 60.0
MOST_KNOWN = 20_000


def telling(connection: Connection, asked: Asked) -> Asked:
    """With what each of its words tells."""
    if asked.words is None:
        return asked
    letters = places(FIELDS, asked.question.search.without)
    if not letters:
        return asked
    site_id = asked.question.site_id
    queries = [one.query(site_id, letters) for one in asked.words.wanted]
    size, counted = _counted(connection, site_id, queries)
    tells = [math.log(1.0 + max(size, found) / max(found, 0.5)) for found in counted]
    whole = sum(tells)
    shares = [
        (query, share / whole)
        for query, share, found in zip(queries, tells, counted, strict=True)
        if found
    ]
    shares.sort(key=lambda one: -one[1])
    return asked._replace(telling=tuple(shares[:MOST_WORDS]))


def with_some_words(connection: Connection, asked: Asked) -> list[Found]:
    """The best products that have some of the words and not all."""
    numbers = set(_looked_at(connection, asked)) if asked.telling else ()
    if not numbers:
        return []
    best = compared(connection, asked, MOST_FOUND, product_nos=numbers).best
    return [one for one in best if one.level is None and one.telling]


def _looked_at(connection: Connection, asked: Asked) -> Iterator[int]:
    """Products with a rare word; with all words but one or two; with common ones."""
    site_id = asked.question.site_id
    queries = [query for query, _ in asked.telling]
    _, counted = _counted(connection, site_id, queries)
    rare: list[str] = []
    left = MOST_LOOKED_AT
    for query, found in zip(queries, counted, strict=True):
        if found > COMMON or found > left:
            break
        rare.append(query)
        left -= found
    common = queries[len(rare) :]
    if rare:
        yield from _listed(connection, asked, "with_some", rare, MOST_LOOKED_AT)
    for size in (len(common) - 1, len(common) - 2):
        if size > 1:
            together = [" & ".join(some) for some in combinations(common[:6], min(size, 5))]
            yield from _listed(connection, asked, "with_some", together, OF_COMMON)
    if len(common) > 1:
        yield from _listed(connection, asked, "with_some", [" & ".join(common[:2])], OF_COMMON)
    if common:
        yield from _listed(connection, asked, "popular_with_some", common, OF_COMMON)
        yield from _listed(connection, asked, "with_some", common, OF_COMMON)


def _listed(
    connection: Connection, asked: Asked, statement: str, queries: Sequence[str], most: int
) -> list[int]:
    filter = asked.question.where(ALIAS)
    parameters = {
        **asked.parameters,
        "some": " | ".join(f"({query})" for query in queries),
        "most": most,
        "walked": WALKED,
        **filter.params,
    }
    filled = SQL.fill(statement, matches=asked.matches, filter=filter.where)
    rows = connection.execute(filled, parameters, prepare=False)
    return [row[0] for row in rows]


# how many have a word ---------------------------------------------------------------------------

_common: dict[tuple[str, int, bytes], tuple[float, int]] = {}
_ALL = ""


def _counted(connection: Connection, site_id: int, queries: Sequence[str]) -> tuple[int, list[int]]:
    """How many products the site has, and of each word how many have it.
    What is common is a minute old at most."""
    keys = {query: _key(connection, site_id, query) for query in (_ALL, *queries)}
    now = time.monotonic()
    known = {query: _common.get(key, (0.0, 0)) for query, key in keys.items()}
    found = {query: count for query, (until, count) in known.items() if until > now}
    learned = [query for query in keys if query not in found]
    unknown = [query for query in queries if query not in found]
    if unknown:
        asked = {"site_id": site_id, "queries": unknown, "most": COMMON + 1}
        rows = connection.execute(SQL.frequencies, asked, prepare=False)
        found |= {query: row[0] for query, row in zip(unknown, rows, strict=True)}
    if _ALL not in found:
        row = connection.execute(SQL.size, {"site_id": site_id}).fetchone()
        found[_ALL] = row[0] if row else 0
    if len(_common) >= MOST_KNOWN:
        _common.clear()
    for query in learned:
        if found[query] > COMMON:
            _common[keys[query]] = (now + KNOWN_S, found[query])
    return found[_ALL], [found[query] for query in queries]


def _key(connection: Connection, site_id: int, query: str) -> tuple[str, int, bytes]:
    digest = blake2b(query.encode("utf-8", "surrogatepass"), digest_size=12).digest()
    return connection.info.dbname, site_id, digest
