"""A site's archive as training reads it: products with their texts, sessions of its visitors.

Events come through a cursor of the server's, visitor by visitor, so that Python never holds more
than one of them as rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from ranking import impressions, positions
from ranking.catalog import models
from ranking.catalog.encoder import DIMENSION, Vectors
from ranking.catalog.learned import KIND_NUMBERS
from ranking.training.cleaning import Cleaning, Happened, LeftOut
from ranking.training.corpus import Corpus, Ints, gathered
from ranking.visitors.interests import BAD_RATING, MAX_PRODUCTS
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

WINDOW = timedelta(days=400)
READ_AT_ONCE = 5_000
TEXTS_AT_ONCE = 2_000
TELL_EVERY = 50_000
# crc32(product_id) % 20 == 3: hidden from a test's training. Others than a backtest hides.
HIDDEN = (20, 3)

Told = Callable[[str, int, int], None]  # (stage, done, of; 0: nobody knows)


@dataclass(frozen=True)
class Archive:
    """A site's catalog by row, and what happened to it. `texts` are raw, zeros where there is no
    text yet; `hidden` are those whose events a test may hide, to see how new products fare."""

    product_nos: Ints
    available: np.ndarray[Any, np.dtype[np.bool_]]
    hidden: np.ndarray[Any, np.dtype[np.bool_]]
    texts: Vectors
    corpus: Corpus
    left_out: LeftOut


class _Row(NamedTuple):
    """A product in the corpus, and as answers call it."""

    row: int
    product_no: int


def archive(connection: Connection, site_id: int, at: datetime, told: Told) -> Archive:
    """All of the site's last WINDOW before `at`. The connection is in autocommit."""
    products = connection.execute(SQL.products, {"site_id": site_id}).fetchall()
    rows = {product_id: _Row(row, number) for row, (product_id, number, _) in enumerate(products)}
    numbers = np.array([product_no for _, product_no, _ in products], np.int64)
    texts = _texts(connection, site_id, numbers)
    corpus, left_out = _corpus(connection, site_id, rows, at, told)
    modulus, remainder = HIDDEN
    chance = np.array([crc32(product_id.encode()) % modulus == remainder for product_id in rows])
    return Archive(
        product_nos=numbers,
        available=np.array([available for _, _, available in products], bool),
        hidden=chance.astype(bool) & np.any(texts != 0, axis=1),
        texts=texts,
        corpus=corpus,
        left_out=left_out,
    )


def _texts(connection: Connection, site_id: int, numbers: Ints) -> Vectors:
    made = np.zeros((len(numbers), DIMENSION), np.float32)
    row_of = {int(number): row for row, number in enumerate(numbers)}
    query = SQL.fill("texts", texts=models.live(connection, site_id).texts)
    after = 0
    while True:
        parameters = {"site_id": site_id, "after": after, "limit": TEXTS_AT_ONCE}
        with connection.cursor(binary=True) as cursor:
            found = cursor.execute(query, parameters).fetchall()
        if not found:
            return made
        for number, vector in found:
            if number in row_of:
                made[row_of[number]] = vector.to_numpy()
        after = found[-1][0]


def _corpus(
    connection: Connection, site_id: int, rows: dict[str, _Row], at: datetime, told: Told
) -> tuple[Corpus, LeftOut]:
    cleaning = Cleaning()
    looks = impressions.known(connection, site_id).curve
    events = _events(connection, site_id, at, told)
    for _, of_visitor in groupby(events, key=itemgetter(0)):
        cleaning.visitor(_happened(of_visitor, rows, looks, cleaning.made.left_out))
    cleaned = cleaning.done()
    return gathered(len(rows), cleaned.sessions), cleaned.left_out


def _events(
    connection: Connection, site_id: int, at: datetime, told: Told
) -> Iterator[tuple[Any, ...]]:
    parameters = {
        "site_id": site_id,
        "since": at - WINDOW,
        "at": at,
        "types": list(KIND_NUMBERS),
        "good": BAD_RATING + 1,
        "bad": BAD_RATING,
    }
    with connection.transaction():
        connection.execute(SQL.memory)
        with connection.cursor(name="training", binary=True) as cursor:
            cursor.itersize = READ_AT_ONCE
            cursor.execute(SQL.events, parameters)
            for number, row in enumerate(cursor, 1):
                yield row
                if number % TELL_EVERY == 0:
                    told("reading", number, 0)


def _happened(
    of_visitor: Iterator[tuple[Any, ...]],
    rows: dict[str, _Row],
    looks: Sequence[float],
    left_out: LeftOut,
) -> Iterator[Happened]:
    """An event of several products as one after the other. One that came of a list of ours stands
    for those, too, that nobody could do because they did not look at that place."""
    for _, at, kind, product_ids, session, first, shown in of_visitor:
        for product_id in product_ids[:MAX_PRODUCTS]:
            known = rows.get(product_id)
            if known is None:
                left_out.unknown_products += 1
                continue
            weight = 1.0
            if shown and known.product_no in shown:
                weight = positions.weight(looks, first + shown.index(known.product_no) + 1)
            yield Happened(at, known.row, KIND_NUMBERS[kind], session, weight)
