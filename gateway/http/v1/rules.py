"""The rules a request brings for its list: what to lift, to put beside others, to keep apart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.validate import Length, Range

from gateway.http.v1 import names
from ranking.merchandising import filters
from ranking.merchandising.filters import FilterError
from ranking.merchandising.rules import DEEPEST, Anchoring, Boost, Rules, Spread
from schemas.errors import Problem
from schemas.event import at_most
from schemas.fields import Flag, Id, Instant, Items, Named, Number, Part, Text, Whole

MOST_BOOSTS = 20
MOST_POSITIONS = 100
MOST_ANCHORINGS = 100
MOST_ANCHORS = 100
MOST_SPREADS = 5
FARTHEST = 50


def positions() -> Items:
    """The field of a boost that says where it lifts to."""
    return Items(
        Whole(validate=Range(0, DEEPEST - 1, error=f"A position is from 0 to {DEEPEST - 1}.")),
        validate=Length(max=MOST_POSITIONS, error=f"At most {MOST_POSITIONS} positions."),
    )


LONGEST_NAME = 100  # characters; each product that the rule lifted is shown with it


class BoostRule(Schema):
    """Products to lift, by a filter: above all others, or to these positions (from 0)."""

    boost_fq = Text()
    boost_positions = positions()
    boost_rule_name = Text(validate=at_most(LONGEST_NAME))


class SpreadRule(Schema):
    """How far apart products with the same value are kept: with so many others in between."""

    minimum_distance = Whole(
        validate=Range(0, FARTHEST, error=f"A distance is from 0 to {FARTHEST} products.")
    )
    always_together = Flag()


def _offset(value: int) -> None:
    if not 1 <= abs(value) <= FARTHEST:
        raise ValidationError(
            f"Say -1 to -{FARTHEST} for places before the anchor, 1 to {FARTHEST} for behind it."
        )


class AnchorRule(Schema):
    """A product, and those it stands before (-1) or behind (1), for a while or for good."""

    product_id = Id(required=True)
    anchor_ids = Items(
        Id(),
        required=True,
        validate=Length(1, MOST_ANCHORS, error=f"Name 1 to {MOST_ANCHORS} anchors."),
    )
    relative_position = Whole(validate=_offset)
    start_time = Instant()
    end_time = Instant()


class RulesRequest(BoostRule):
    """One boost of the request's own, others, and what to keep apart."""

    boost_rules = Items(
        Part(BoostRule), validate=Length(max=MOST_BOOSTS, error=f"At most {MOST_BOOSTS} rules.")
    )
    diversification = Named(
        Part(SpreadRule), validate=Length(max=MOST_SPREADS, error=f"At most {MOST_SPREADS} fields.")
    )


class DiversityRequest(Schema):
    """How much the list is to vary (ours): 0 not at all."""

    diversity = Number(validate=Range(0, 1, error="Say how much: a number from 0 (none) to 1."))


class UnvariedRequest(Schema):
    """A list whose order is its own."""

    diversity = Number(
        validate=Range(0, 0, error="The order of this list is its own: leave it out, or say 0.")
    )


def anchor_rules() -> Items:
    """The field of a request that takes AnchorRules."""
    return Items(
        Part(AnchorRule),
        validate=Length(max=MOST_ANCHORINGS, error=f"At most {MOST_ANCHORINGS} settings."),
    )


def problems(asked: dict[str, Any]) -> Iterator[Problem]:
    """What the schema cannot see: filters that cannot be read, fields that products lack."""
    for pointer, rule in _boosts(asked):
        if fq := _condition(rule):
            try:
                filters.parse(fq)
            except FilterError as error:
                yield Problem(f"{pointer}/boost_fq", str(error), fq)
        elif rule.get("boost_positions"):
            yield Problem(f"{pointer}/boost_fq", "Say by boost_fq what stands at these positions.")
    for number, one in enumerate(asked.get("anchoring_settings", [])):
        if "start_time" in one and "end_time" in one and one["start_time"] >= one["end_time"]:
            yield Problem(f"/anchoring_settings/{number}/end_time", "It ends before it begins.")
    for name in asked.get("diversification", {}):
        yield from names.problems("/diversification", name)


def rules(asked: dict[str, Any], at: datetime) -> Rules:
    """The rules that hold at that time, of a request without problems."""
    diversity = asked.get("diversity")
    return Rules(
        diversity=None if diversity is None else float(diversity),
        spreads=tuple(
            Spread(
                filters.spelled(name),
                one.get("minimum_distance", 1),
                one.get("always_together", False),
            )
            for name, one in asked.get("diversification", {}).items()
        ),
        boosts=tuple(
            Boost(
                filters.parse(fq),
                tuple(rule.get("boost_positions", ())),
                rule.get("boost_rule_name", ""),
            )
            for _, rule in _boosts(asked)
            if (fq := _condition(rule))
        ),
        anchorings=tuple(
            Anchoring(one["product_id"], tuple(one["anchor_ids"]), one.get("relative_position", -1))
            for one in asked.get("anchoring_settings", [])
            if _holds(one, at)
        ),
    )


def _boosts(asked: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each boost with the pointer to it; the request's own first."""
    yield "", asked
    for number, rule in enumerate(asked.get("boost_rules", [])):
        yield f"/boost_rules/{number}", rule


def _condition(rule: dict[str, Any]) -> str:
    """Its filter; empty where it lifts nothing."""
    fq: str = rule.get("boost_fq", "")
    return fq if fq.strip() else ""


def _holds(one: dict[str, Any], at: datetime) -> bool:
    start, end = one.get("start_time", at), one.get("end_time")
    return start <= at and (end is None or at < end)


def shown(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The boosts as the answer repeats them."""
    names = ("boost_fq", "boost_positions", "boost_rule_name")
    return [
        {name: rule[name] for name in names if name in rule}
        for _, rule in _boosts(asked)
        if _condition(rule)
    ]
