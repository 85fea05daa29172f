"""Where products must be, or had better be (`geo`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marshmallow import RAISE, Schema
from marshmallow.validate import Length, OneOf, Range

from gateway.http.v1 import names, rules
from ranking.catalog.places import FIELD
from ranking.merchandising import filters
from ranking.merchandising.filters import CUSTOM, Expression, Near
from ranking.merchandising.filters.places import MILE_KM
from ranking.merchandising.rules import Boost
from schemas.errors import Problem
from schemas.fields import Items, Number, Part, Text
from schemas.product import LocationSchema

MOST = 10
FARTHEST = 100_000  # of any unit: more than around the earth
UNITS_KM = {"mile": MILE_KM, "km": 1.0}


class Circle(LocationSchema):
    """All places that are no farther from one."""

    class Meta:
        unknown = RAISE  # a record's place may hold more

    distance = Number(
        required=True,
        validate=Range(0, FARTHEST, error=f"A distance is from 0 to {FARTHEST:,}."),
    )
    distance_unit = Text(validate=OneOf(list(UNITS_KM), error="Say mile or km."))
    field = Text()


class CircleBoost(Circle):
    """Products to lift: above all others, or to these positions."""

    boost_positions = rules.positions()


class Geo(Schema):
    """Circles in which products must be, and such in which they had better be."""

    filter = Items(Part(Circle), validate=Length(max=MOST, error=f"At most {MOST} circles."))
    boost = Items(Part(CircleBoost), validate=Length(max=MOST, error=f"At most {MOST} circles."))


class GeoRequest(Schema):
    """Where the products of a list are."""

    geo = Part(Geo)


def problems(asked: dict[str, Any]) -> Iterator[Problem]:
    """Fields that hold no places."""
    for kind in ("filter", "boost"):
        for number, one in enumerate(_circles(asked, kind)):
            field = one.get("field", FIELD)
            pointer = f"/geo/{kind}/{number}/field"
            if unknown := list(names.problems(pointer, field)):
                yield from unknown
            elif field != FIELD and filters.spelled(field).partition(".")[0] != CUSTOM:
                yield Problem(pointer, f"Places are in {FIELD} or in {CUSTOM}.name.", field)


def conditions(asked: dict[str, Any]) -> list[Expression]:
    """What all products must fulfil."""
    return [_near(one) for one in _circles(asked, "filter")]


def boosts(asked: dict[str, Any]) -> tuple[Boost, ...]:
    """What lifts products, as boosts by a filter do."""
    return tuple(
        Boost(_near(one), tuple(one.get("boost_positions", ()))) for one in _circles(asked, "boost")
    )


def shown(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The boosts as the answer repeats them."""
    return list(_circles(asked, "boost"))


def _circles(asked: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    circles: list[dict[str, Any]] = asked.get("geo", {}).get(kind, [])
    return circles


def _near(one: dict[str, Any]) -> Near:
    km = one["distance"] * UNITS_KM[one.get("distance_unit", "mile")]
    field = filters.spelled(one.get("field", FIELD))
    return Near(field, float(one["lat"]), float(one["lon"]), float(km))
