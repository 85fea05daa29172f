"""What others took in the same sessions as a visitor's last products, by the kept neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import sql

from ranking.catalog.records import int_array
from ranking.question import Question
from ranking.strategies import popular
from ranking.visitors.interests import Told
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

PART = "neighbours"
MOST_ANCHORS = 60  # products whose neighbours count
POOL = 50  # products, the most shared, whatever a filter leaves of them: 150 were no better


class Beside(NamedTuple):
    """A product, its share of what others took (from 0 to 1), its cosine to the visitor's vector
    (None: one of them has none), its share of popularity and that of new products."""

    product_no: int
    product_id: str
    group_key: int
    share: float
    similarity: float | None
    popular: float | None
    new_share: float | None


def beside(connection: Connection, question: Question) -> list[Beside]:
    """Products that others took beside the visitor's, most shared first."""
    if not _anchors(question.visitor.contents.events):
        return []
    vector = question.visitor.vector
    filter = question.where(popular.ALIAS)
    asked = parameters(question) | {"vector": vector, **filter.params}
    name = "beside" if vector is not None else "beside_alone"
    statement = _statement(name, question, filter.where)
    # One plan does for every filter: it goes from the few in `told` to their rows.
    rows = connection.execute(statement, asked)
    return [Beside(*row) for row in rows]


def parameters(question: Question) -> dict[str, Any]:
    """What the statement `told` asks with."""
    anchors = _anchors(question.visitor.contents.events)
    return {
        "site_id": question.site_id,
        "ids": list(anchors),
        "weights": list(anchors.values()),
        "excluded": int_array(question.excluded),
        "pool": max(POOL, question.limit),
    }


def reasons(
    connection: Connection, question: Question, product_nos: Sequence[int]
) -> dict[int, list[float]]:
    """Per product what each of the visitor's events adds to its share, in their order; only of
    products that have one."""
    events = question.visitor.contents.events
    anchors = _anchors(events)
    if not anchors or not product_nos:
        return {}
    parameters = {
        "site_id": question.site_id,
        "ids": list(anchors),
        "product_nos": int_array(product_nos),
    }
    found: dict[int, list[float]] = {}
    for product_no, anchor, share in connection.execute(SQL.reasons, parameters):
        adds = found.setdefault(product_no, [0.0] * len(events))
        says = {at: _says(one) for at, one in enumerate(events) if anchor in one.product_ids}
        whole = sum(says.values())
        for at, one in says.items():
            adds[at] += anchors[anchor] * share * one / whole
    return found


def _says(event: Told) -> float:
    """How much an event says of each of its products."""
    return max(0.0, event.weight) / len(event.product_ids)


def _anchors(events: Sequence[Told]) -> dict[str, float]:
    """How much each of the visitor's last products says, all together one: by type and recency, as
    in the vector. What an event turns away from says nothing."""
    weights: dict[str, float] = {}
    for one in events:
        for product_id in one.product_ids if one.weight > 0 else ():
            weights[product_id] = weights.get(product_id, 0.0) + _says(one)
    most = sorted(weights, key=lambda one: -weights[one])[:MOST_ANCHORS]
    whole = sum(weights[one] for one in most)
    return {one: weights[one] / whole for one in most}


def _statement(name: str, question: Question, where: sql.Composable) -> bytes:
    model = question.live_model

    def slots() -> dict[str, sql.Composable]:
        made: dict[str, sql.Composable] = {"told": sql.SQL(SQL.told), "filter": where}
        return made | ({"vectors": model.vectors} if name == "beside" else {})

    return SQL.filled(name, (model.vectors_table, where.as_bytes()), slots)
