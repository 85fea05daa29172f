"""All products of a site, for `*`: by interest and popularity, or those first that are like a text;
what is sold out behind."""

from __future__ import annotations

from ranking.catalog import nearest
from ranking.catalog.records import int_array
from ranking.question import Candidate, Proposed
from ranking.strategies import near, popular, recommend
from ranking.strategies.searching import common
from ranking.strategies.searching.asked import ALIAS, Asked
from ranking.strategies.searching.compared import as_candidates, compared, with_total
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

# In points of cosine, for the most popular product.
POPULARITY = 0.25
ALIKE = 200  # products nearest to the text; of these interest and popularity choose the first


def everything(connection: Connection, asked: Asked) -> Proposed:
    """Nothing is left out for being touched."""
    return _completed(connection, asked, _first(connection, asked))


def _first(connection: Connection, asked: Asked) -> list[Candidate]:
    question = asked.question
    if asked.like is not None:
        return popular.filled(connection, question, _alike(connection, asked, asked.like))
    if asked.visitor is None:
        return popular.candidates(connection, question)
    dial = POPULARITY / question.search.personal
    return near.candidates(connection, question, asked.visitor, recommend.PART, popularity=dial)


def _alike(connection: Connection, asked: Asked, like: nearest.Vector) -> list[Candidate]:
    """Those nearest to the text, the nearest ALIKE of them in the order of all their parts."""
    question = asked.question
    found = nearest.nearest(
        connection,
        question.live_model,
        like,
        question.where(nearest.ALIAS),
        max(ALIKE, question.limit),
        question.excluded,
    )
    places = {one.product_no: at for at, one in enumerate(found)}
    best = compared(connection, asked, len(places), product_nos=places).best
    made = {one.product_no: one for one in as_candidates(asked, best)}
    first = [number for number in made if places[number] < ALIKE]
    others = sorted((number for number in made if places[number] >= ALIKE), key=places.__getitem__)
    return [made[number] for number in (*first, *others)][: question.limit]


def _completed(connection: Connection, asked: Asked, found: list[Candidate]) -> Proposed:
    """And behind them what is sold out."""
    question = asked.question
    key = common.key(connection, asked)
    counted = common.known(key) or common.learned(connection, asked, key)
    if len(found) == question.limit:
        return with_total(question, found, counted.matches, counted.groups)
    filter = question.where(ALIAS)
    parameters = {
        "site_id": question.site_id,
        "excluded": int_array(question.excluded),
        "limit": question.limit - len(found),
        **filter.params,
    }
    rows = connection.execute(SQL.fill("sold_out", filter=filter.where), parameters)
    found += [Candidate(no, id_, group, {"popularity": 0.0}) for no, id_, group in rows]
    return with_total(question, found, counted.matches, counted.groups)
