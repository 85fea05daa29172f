"""Why a product stands where it does: its score's parts, and the visitor's events behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ranking.catalog import learned_models, nearest
from ranking.catalog.learned import WIDTH
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import beside, learned, recommend
from ranking.visitors import profile
from schemas.database import Connection

Reasons = dict[int, list[dict[str, Any]]]

MAX_REASONS = 3
LEAST_SHARE = 0.005


def explanations(
    connection: Connection,
    question: Question,
    candidates: Sequence[Candidate],
    proposed: Proposed,
) -> list[dict[str, Any]]:
    """Per candidate: `score`, the `parts` that sum to it, its `position` (from 1, counted over
    all pages), that without the rules, and that by its score alone, before the list was made to
    vary (both as far as `proposed` goes; else None), and `because` and `beside`: the events that
    speak for it by likeness and by what others took beside their products, strongest first. Where
    places of the page were left to chance also the position without that.

    Each event's `share` is what it adds to the cosine between visitor and product; over all
    events, those against the product included, the shares sum to that cosine. Where the learned
    model answers it is what the event adds to their inner product, the logarithm of how many times
    likelier it makes the product. In `beside` it is what the event adds to the product's share of
    what others took.
    """
    reasons = _reasons(connection, question, candidates)
    others = _beside(connection, question, candidates)
    first = question.before.count + 1
    without_rules = _positions(proposed, first)
    by_score = without_rules if proposed.by_score is None else _positions(proposed.by_score, first)
    unexplored = proposed.unexplored
    kept = None if unexplored is None else _positions(unexplored, first)
    return [
        {
            "score": one.score,
            "parts": one.parts,
            "position": position,
            "position_without_rules": without_rules.get(one.product_no),
            "position_by_score": by_score.get(one.product_no),
            "because": reasons.get(one.product_no, []),
            "beside": others.get(one.product_no, []),
            **({} if kept is None else {"position_without_exploration": kept.get(one.product_no)}),
        }
        for position, one in enumerate(candidates, start=question.start + 1)
    ]


def _positions(some: Sequence[Candidate], first: int) -> dict[int, int]:
    return {one.product_no: at for at, one in enumerate(some, start=first)}


def _reasons(
    connection: Connection, question: Question, candidates: Sequence[Candidate]
) -> Reasons:
    interesting = [one.product_no for one in candidates if recommend.PART in one.parts]
    if not interesting:
        return {}
    of_them = _learned_shares if learned.serves(question) else _shares
    return _strongest(question, of_them(connection, question, interesting))


def _beside(connection: Connection, question: Question, candidates: Sequence[Candidate]) -> Reasons:
    taken = [one.product_no for one in candidates if beside.PART in one.parts]
    found = beside.reasons(connection, question, taken)
    return _strongest(question, {number: np.array(adds) for number, adds in found.items()})


def _strongest(question: Question, shares: Mapping[int, np.ndarray[Any, Any]]) -> Reasons:
    events = [msgspec.to_builtins(one) for one in question.visitor.contents.events]
    return {
        product_no: [
            events[number] | {"share": float(of_product[number])}
            for number in np.argsort(-of_product, kind="stable")[:MAX_REASONS]
            if of_product[number] > LEAST_SHARE
        ]
        for product_no, of_product in shares.items()
    }


def _shares(
    connection: Connection, question: Question, product_nos: Sequence[int]
) -> dict[int, np.ndarray[Any, Any]]:
    """Per product what each event adds to the cosine."""
    model, events = question.live_model, question.visitor.contents.events
    stands_for = profile.event_vectors(connection, model, events)
    nothing = np.zeros_like(question.visitor.vector)
    weighted = np.stack(
        [
            nothing if vector is None else one.weight * vector
            for one, vector in zip(events, stands_for, strict=True)
        ]
    )
    length = float(np.linalg.norm(weighted.sum(axis=0))) or 1.0
    vectors = nearest.vectors(connection, model, product_nos)
    return {number: weighted @ vector / length for number, vector in vectors.items()}


def _learned_shares(
    connection: Connection, question: Question, product_nos: Sequence[int]
) -> dict[int, np.ndarray[Any, Any]]:
    """Per product what each event adds to its inner product with the visitor."""
    model, events = question.learned, question.visitor.contents.events
    assert model is not None, "learned.serves() has seen one"
    looked, numbers = profile.looked_at(connection, model, events)
    if not numbers:
        return {}
    vectors = learned_models.vectors(connection, model, product_nos)
    products = np.stack([vector[:WIDTH] for vector in vectors.values()])
    shares = np.zeros((len(vectors), len(events)), np.float32)
    shares[:, numbers] = model.network.shares(looked.vectors, looked.kinds, products)
    return dict(zip(vectors, shares, strict=True))
