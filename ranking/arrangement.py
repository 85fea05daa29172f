"""What is proposed in the order that the question's rules give it, each rule's products asked of
the strategy. The rules themselves are `merchandising.rules`; `answer` asks.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ranking import proposals
from ranking.catalog import nearest, records
from ranking.catalog.encoder import DIMENSION
from ranking.catalog.records import Listed
from ranking.merchandising import diversity, filters, rules
from ranking.merchandising.rules import Lifted
from ranking.question import Candidate, Proposed, Question
from ranking.strategies import learned, search
from schemas import tracing
from schemas.database import Connection

Key = rules.Key[Candidate | Listed]

# How much a list varies unless its request says so, where texts make it; the learned model's lists
# vary by themselves. The strongest that costs no hit while little
# is known of the visitor. After three events it did (`python -m bench diversity`,
# docs/decisions.md): then what suits them counts alone.
DIVERSITY = {"recommend": 0.03}
LITTLE = 3  # events


def depth(question: Question, end: int) -> int:
    """How many must be proposed for a page that ends at `end`."""
    # A product that stands at a position leaves its own place to the next.
    pinned = sum(len(boost.positions) for boost in question.rules.boosts)
    looked_at = [end + pinned]
    if question.rules.looks_deep:
        looked_at.append(rules.DEEPEST)
    if question.rules.diversity:
        looked_at.append(varying(question))
    return max(looked_at)


def varying(question: Question) -> int:
    """Of how many of the proposed the order is made to vary."""
    left = diversity.DEEPEST - question.before.count
    return max(0, left) if strength(question) else 0


def strength(question: Question) -> float:
    """How much the list is to vary, from 0; an order that was asked for is kept."""
    if question.order:
        return 0.0
    asked = question.rules.diversity
    if asked is not None:
        return asked
    if learned.serves(question):
        return 0.0
    knows_little = len(question.visitor.contents.events) < LITTLE
    return DIVERSITY.get(question.strategy, 0.0) if knows_little else 0.0


def varied(connection: Connection, question: Question, proposed: Proposed) -> Proposed:
    """The proposed with variety in the first places of the whole list, those that were given
    before counted among them."""
    count = min(varying(question), len(proposed))
    if count + question.before.count < 2 or not count:
        return proposed
    first, others = proposed[:count], proposed[count:]
    with tracing.span("diversity"):
        numbers = [one.product_no for one in first]
        vectors = _vectors(connection, question, [*numbers, *question.before.given])
        scores = [one.score for one in first]
        if learned.serves(question):
            scores = learned.comparable(scores)
        found = diversity.order(scores, vectors[:count], strength(question), vectors[count:])
    return proposed.reordered([*(first[at] for at in found), *others])


def _vectors(
    connection: Connection, question: Question, product_nos: Sequence[int]
) -> diversity.Vectors:
    """One row a product; of one that is not encoded yet zeros."""
    known = nearest.vectors(connection, question.live_model, product_nos)
    made = np.zeros((len(product_nos), DIMENSION), np.float32)
    for row, number in enumerate(product_nos):
        if number in known:
            made[row] = known[number]
    return made


def arranged(
    connection: Connection, question: Question, proposed: list[Candidate], end: int
) -> list[Candidate]:
    """The proposed products as the question's rules want them on a page that ends at `end`."""
    asked, key = question.rules, proposals.group if question.one_per_group else proposals.number
    ranked = _dithered(question, proposed)
    if asked.spreads:
        ranked = _spread(connection, question, ranked)
    lifted = list(_lifted(connection, question, end))
    if question.order:
        # An order that was asked for is kept but where a rule names a position.
        lifted = [one for one in lifted if one.boost.positions]
    ranked = rules.topped(ranked, lifted, key)
    if asked.anchorings:
        ranked = _anchored(connection, question, ranked, key)
    return rules.pinned(ranked, lifted, key)


def brought(
    connection: Connection,
    question: Question,
    proposed: Sequence[Candidate],
    arranged: Sequence[Candidate],
) -> int:
    """How many there are that the search finds on no page: a product comes with its anchor whether
    or not it does."""
    key: Key = proposals.group if question.one_per_group else proposals.number
    ids, known = {one.product_id for one in question.rules.anchorings}, set(map(key, proposed))
    new = [one for one in arranged if one.product_id in ids and key(one) not in known]
    if not new:
        return 0
    numbers = frozenset(one.product_no for one in new)
    if question.one_per_group:
        numbers = records.with_variants(connection, question.site_id, numbers)
    among = replace(question, among=tuple(sorted(numbers)))
    found = set(map(key, proposals.proposed(connection, among, len(numbers))))
    return sum(key(one) not in found for one in new)


def _dithered(question: Question, proposed: list[Candidate]) -> list[Candidate]:
    asked = question.rules.dithering
    if asked is None:
        return proposed
    return rules.dithered(proposed, asked, _id, question.before.count)


def _id(one: Candidate) -> str:
    return one.product_id


def _spread(
    connection: Connection, question: Question, proposed: list[Candidate]
) -> list[Candidate]:
    first, others = proposed[: rules.DEEPEST], proposed[rules.DEEPEST :]
    numbers = [one.product_no for one in first]
    kept = records.fields(connection, question.site_id, numbers)

    def values(one: Candidate, field: str) -> frozenset[Hashable]:
        return records.values(kept.get(one.product_no, {}), field)

    return rules.spread(first, question.rules.spreads, values) + others


def _lifted(connection: Connection, question: Question, end: int) -> Iterator[Lifted[Candidate]]:
    """For each boost what it can lift on a page that ends there: two boosts may want the same."""
    positions = 0
    for boost in question.rules.boosts:
        question.check_time()
        positions += len(boost.positions)
        matching = filters.all_of([question.filter, boost.condition])
        depth = positions if boost.positions else end
        if question.rules.dithering:
            depth = max(depth, rules.DEEPEST)
        found = proposals.proposed(connection, replace(question, filter=matching), depth)
        names, put = (boost.name,), "pinned" if boost.positions else "boosted"
        yield Lifted(
            boost,
            [
                one._replace(boosts=names, put=put)
                for one in _dithered(question, found)
                if one.relevant
            ],
        )


def _anchored(
    connection: Connection, question: Question, ranked: list[Candidate], key: Key
) -> list[Candidate]:
    """An anchored product comes with its anchor, or a variant of that, whether or not the search
    finds it, if the filters let it through."""
    asked = question.rules.anchorings
    first, others = ranked[: rules.DEEPEST], ranked[rules.DEEPEST :]
    named = search.named(connection, question, [one.product_id for one in asked])
    products = {one.product_id: one for one in [*named, *first]}
    anchors = records.numbers(
        connection, question.site_id, {anchor for one in asked for anchor in one.anchor_ids}
    )
    keys = {one.product_id: key(one) for one in anchors}
    placed = [
        (products[one.product_id], [keys[id] for id in one.anchor_ids if id in keys], one.offset)
        for one in asked
        if one.product_id in products
    ]
    moved = rules.unique([*rules.anchored(first, placed, key), *others], key)
    held = {key(product) for product, _, _ in placed}.union(*(found for _, found, _ in placed))
    return [one._replace(put="anchored") if key(one) in held else one for one in moved]
