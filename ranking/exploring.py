"""Places of a page given to products without a history, as `merchandising.exploration` draws them.
`answer` asks; nothing is looked up for a page of which no place is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import psycopg

from ranking import proposals
from ranking.catalog import newcomers
from ranking.merchandising import exploration, rules
from ranking.question import Candidate, Question
from ranking.strategies import Strategy, recommend, similar
from schemas import tracing
from schemas.database import Connection

# What is for somebody or beside something, and what finds products for it that have no history. A
# search is for what was searched for, what is rising is not new, what was bought together and what
# somebody touched are facts.
STRATEGIES: dict[str, Strategy] = {"recommend": recommend.alone, "similar": similar.candidates}
VARIANTS = 2  # of a product, that may fill what is found
PART = "explored"
PUT = "explored"


def explored(
    connection: Connection, question: Question, page: list[Candidate]
) -> list[Candidate] | None:
    """The page with new products at the places that chance gives them; None where it stays as it
    is. Lists in an order, or that keep products apart, do, and one whose time is up."""
    asked = question.exploring
    if not asked.share or question.strategy not in STRATEGIES or question.order:
        return None
    if question.rules.spreads:
        return None
    before = question.before.count
    fixed = [is_fixed(one) for one in page]
    drawn = exploration.places(fixed, asked, before)
    if not drawn:
        return None
    with tracing.span("exploration", places=len(drawn)):
        try:
            found = _newcomers(connection, question, page)
        except psycopg.errors.QueryCanceled:
            return None
    chosen = exploration.drawn(drawn, len(found), asked, before)
    if not chosen:
        return None
    at = {one.place: _put(found[one.which], page[one.place], one.chance) for one in chosen}
    # A place that was drawn for nothing had no other product to expect.
    left_to_chance = set(exploration.free(fixed, before)) - set(drawn[len(chosen) :])
    made = exploration.inserted(page, at, is_fixed)
    return list(_with_chances(made, at, left_to_chance, asked.share))


def is_fixed(one: Candidate) -> bool:
    """Whether a rule of the request put it there."""
    return one.put != ""


def _newcomers(
    connection: Connection, question: Question, page: Sequence[Candidate]
) -> list[Candidate]:
    """The new products that suit best, none of which is in the page, nor a variant of one."""
    # The same for everybody, so that how many of them a filter leaves is guessed once a minute.
    among = tuple(newcomers.open_ones(connection, question.site_id))
    if not among:
        return []
    there = {one.product_no for one in page}
    asked = replace(
        question,
        among=among,
        excluded=question.excluded | there,
        limit=VARIANTS * exploration.CHOICE,
    )
    found = [one for one in STRATEGIES[question.strategy](connection, asked) if one.relevant]
    if not question.one_per_group:
        return found
    groups = question.before.groups.union(one.group_key for one in page)
    return [one for one in rules.unique(found, proposals.group) if one.group_key not in groups]


def _put(one: Candidate, instead_of: Candidate, chance: float) -> Candidate:
    """It scores as what stood there did: what its parts lack is one more that says why. Where they
    say more, since they are shares among new products alone, they are scaled down."""
    less = min(1.0, instead_of.score / one.score) if one.score > 0 else 1.0
    parts = {name: less * value for name, value in one.parts.items()}
    lift = max(0.0, instead_of.score - sum(parts.values()))
    return one._replace(parts=parts | {PART: lift}, put=PUT, chance=chance)


def _with_chances(
    page: Sequence[Candidate], at: dict[int, Candidate], left_to_chance: set[int], share: float
) -> Iterator[Candidate]:
    for place, one in enumerate(page):
        if place in left_to_chance and place not in at:
            yield one._replace(chance=1.0 - share)
        else:
            yield one
