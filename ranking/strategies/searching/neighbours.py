"""Products near enough to what a search means, whatever their words."""

from __future__ import annotations

from ranking.catalog import nearest
from ranking.catalog.records import int_array
from ranking.strategies.searching.asked import Asked
from ranking.strategies.searching.compared import Found, compared
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

NEIGHBOURS = 100  # in meaning, at most
# The raw cosine of a query and a product that is just that: a nearness of 1. At half of it the demo
# shop has a hand warmer for "keep warm at night" and nothing for "qwerty".
SAME = 0.7


def neighbours(connection: Connection, asked: Asked, known: set[int]) -> list[Found]:
    """Products near enough to what the text means that are not known yet."""
    question = asked.question
    if question.search.semantic is None or asked.vector is None:
        return []
    near = nearest.nearest(
        connection,
        question.live_model,
        asked.vector,
        question.where(nearest.ALIAS),
        NEIGHBOURS,
        question.excluded | known,
    )
    rows = connection.execute(
        SQL.fill("near_enough", texts=question.live_model.texts),
        {
            "site_id": question.site_id,
            "product_nos": int_array(one.product_no for one in near),
            "raw": asked.raw,
            "least_cosine": question.search.semantic * SAME,
        },
    )
    numbers = [row[0] for row in rows]
    if not numbers:
        return []
    best = compared(connection, asked, NEIGHBOURS, product_nos=numbers).best
    return [one for one in best if one.level is None]
