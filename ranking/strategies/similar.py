"""Products like the ones a page is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ranking.catalog import queries
from ranking.catalog.nearest import Vector
from ranking.catalog.records import MAX_VARIANTS, group_key, int_array
from ranking.question import Candidate, Question, UnknownProducts
from ranking.strategies import near, popular
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

PART = "likeness"
NEGLIGIBLE = 1e-6


class Anchor(NamedTuple):
    """A product that a list is about, with the other products of its group."""

    product_no: int
    vector: Any
    title: str | None
    variants: list[int]


def candidates(connection: Connection, question: Question) -> list[Candidate]:
    """By likeness to the anchors, which are not among them, nor are their variants where a group
    shows one. An anchor without a vector counts by its title; without any, popularity decides.

    Raises UnknownProducts where no anchor is in the catalog.
    """
    known = anchors(connection, question)
    question = replace(question, excluded=question.excluded | left_out(known, question))
    return like(connection, question, known)


def like(connection: Connection, question: Question, known: Sequence[Anchor]) -> list[Candidate]:
    """By likeness to these anchors."""
    vector = _vector(connection, question, known)
    if vector is None:
        return popular.candidates(connection, question)
    return near.candidates(connection, question, vector, PART)


def anchors(connection: Connection, question: Question) -> Sequence[Anchor]:
    """What the list is about; raises UnknownProducts where none of it is in the catalog."""
    groups = [group_key(group_id) for group_id in question.anchor_groups]
    parameters = {
        "site_id": question.site_id,
        "ids": list(question.anchors),
        "groups": int_array(groups),
        "limit": MAX_VARIANTS,
    }
    statement = SQL.fill("anchors", vectors=question.live_model.vectors)
    with connection.cursor(binary=True) as cursor:
        found = [Anchor(*row) for row in cursor.execute(statement, parameters)]
    if not found:
        raise UnknownProducts("none of these products is in the catalog")
    return found


def left_out(anchors: Sequence[Anchor], question: Question) -> set[int]:
    """The anchors, and their variants where a group shows one."""
    if question.one_per_group:
        return {number for anchor in anchors for number in (anchor.product_no, *anchor.variants)}
    return {anchor.product_no for anchor in anchors}


def _vector(connection: Connection, question: Question, anchors: Sequence[Anchor]) -> Vector | None:
    """The mean direction of the anchors; None where nothing is known of any."""
    known = [anchor.vector.to_numpy() for anchor in anchors if anchor.vector is not None]
    if not known:
        titles = [anchor.title for anchor in anchors if anchor.title]
        raw = queries.vectors(connection, question.site_id, titles)
        known = list(question.live_model.transform(np.stack(list(raw.values())))) if raw else []
    if not known:
        return None
    mean: Vector = np.mean(known, axis=0)
    return mean / max(float(np.linalg.norm(mean)), NEGLIGIBLE)
