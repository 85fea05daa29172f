"""All products of a site, for `*`: by interest and popularity, what is sold out behind."""

from __future__ import annotations

from ranking.catalog.records import int_array
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import near, popular, recommend
from ranking.strategies.searching import common
from ranking.strategies.searching.asked import ALIAS
from ranking.strategies.searching.compared import with_total
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)


def everything(connection: Connection, question: Question) -> Proposed:
    """By interest and popularity, nothing left out for being touched."""
    vector = question.visitor.vector
    if vector is None or not question.search.personal:
        return by_popularity(connection, question)
    dial = recommend.POPULARITY / question.search.personal
    found = near.candidates(connection, question, vector, recommend.PART, popularity=dial)
    return _completed(connection, question, found)


def by_popularity(connection: Connection, question: Question) -> Proposed:
    """By popularity alone."""
    return _completed(connection, question, popular.candidates(connection, question))


def _completed(connection: Connection, question: Question, found: list[Candidate]) -> Proposed:
    """And behind them what is sold out."""
    key = common.key(connection, question, None)
    counted = common.known(key) or common.learned(connection, question, None, key)
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
