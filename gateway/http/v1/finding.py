"""What a search finds, in Miso's words: its texts, conditions, and what stands in for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.fields import Field
from marshmallow.validate import Length, OneOf, Range

from gateway.http.v1 import names
from gateway.http.v1.engine import Few
from ranking.answer import Answer, Ranked
from ranking.catalog.wanted import EXCLUDABLE
from ranking.merchandising import filters
from ranking.merchandising.filters import Expression, FilterError
from ranking.question import Search
from ranking.strategies.searching.highlights import DEFAULT
from schemas.errors import Problem
from schemas.fields import Flag, Id, Items, Language, Number, Part, Text, Whole

LONGEST_QUERY = 1000
LONGEST_LIKE = 2000
DEEPEST_CATEGORY = 20
MOST_INCLUDED = 500
MOST_ASKED_ABOUT = 1000
MOST_HIGHLIGHTED = 20
WEIGHT = 5
THRESHOLD = 0.5
MODES = ("blended", "separated")
# Which of Miso's three a field of ours is.
MATCHED = {"title": "title", "description": "description", "short_description": "description"}
MATCHED_FIELDS = ("title", "description", "metadata")


class Query(Text):
    """What somebody typed."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not text.strip():
            raise ValidationError("Say what to search for, or `*` for all products.")
        return text


class Marked(Items):
    """Whether to mark words in the usual fields, or in which."""

    def __init__(self) -> None:
        check = Length(max=MOST_HIGHLIGHTED, error=f"At most {MOST_HIGHLIGHTED} fields.")
        super().__init__(Text(), validate=check)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if type(value) is bool:
            return list(DEFAULT) if value else []
        return super()._deserialize(value, attr, data, **kwargs)


class Existence(Schema):
    """Which products may be among those that are found."""

    product_ids = Few(Id(), MOST_ASKED_ABOUT, "products")


def _named(inner: Field, most: int, what: str) -> Items:
    return Items(inner, validate=Length(max=most, error=f"At most {most} {what}."))


class FindingRequest(Schema):
    """What for, and what may stand in for it."""

    q = Query(validate=Length(max=LONGEST_QUERY, error=f"At most {LONGEST_QUERY:,} characters."))
    advanced_q = Query()
    like = Text(validate=Length(max=LONGEST_LIKE, error=f"At most {LONGEST_LIKE:,} characters."))
    language = Language()
    category = _named(Id(), DEEPEST_CATEGORY, "levels")
    include = Few(Id(), MOST_INCLUDED, "products")
    exclude_fields_from_search = Items(
        Text(validate=OneOf(sorted(EXCLUDABLE), error="It must be one of: {choices}."))
    )
    enable_semantic_search = Flag()
    semantic_search_threshold = Number(
        validate=Range(0, 1, error="The threshold is a number from 0 to 1.")
    )
    enable_partial_match = Flag()
    partial_match_mode = Text(validate=OneOf(MODES, error="It must be one of: {choices}."))
    enable_partial_match_threshold = Whole(
        validate=Range(0, error="Say for how many exact matches at most: 0 or more.")
    )
    personalization_weight = Whole(
        validate=Range(0, WEIGHT, error=f"The weight is a whole number from 0 to {WEIGHT}.")
    )
    query_product_existence = Part(Existence)
    enable_matched_fields = Flag()
    highlight = Marked()


def problems(asked: dict[str, Any]) -> Iterator[Problem]:
    """What the schema cannot see."""
    if not asked.get("q") and not asked.get("advanced_q"):
        yield Problem("/q", "Say what to search for: `q` (`*` for all products) or `advanced_q`.")
    try:
        filters.parse_advanced(asked.get("advanced_q", ""))
    except FilterError as error:
        yield Problem("/advanced_q", str(error), asked["advanced_q"])
    for at, name in enumerate(asked.get("highlight", ())):
        yield from names.problems(f"/highlight/{at}", name)


def search(asked: dict[str, Any]) -> Search:
    """What a request without problems looks for."""
    near = asked.get("semantic_search_threshold", THRESHOLD)
    advanced = asked.get("advanced_q")
    return Search(
        text=asked.get("q", ""),
        language=asked.get("language", ""),
        semantic=near if asked.get("enable_semantic_search", False) else None,
        personal=asked.get("personalization_weight", WEIGHT) / WEIGHT,
        like=asked.get("like", "").strip(),
        without=frozenset(asked.get("exclude_fields_from_search", ())),
        include=tuple(asked.get("include", ())),
        partial=asked.get("enable_partial_match", False),
        most_exact=asked.get("enable_partial_match_threshold"),
        separated=asked.get("partial_match_mode") == "separated",
        advanced=filters.parse_advanced(advanced) if advanced else None,
        whether=tuple(asked.get("query_product_existence", {}).get("product_ids", ())),
        matched=asked.get("enable_matched_fields", False),
        highlight=tuple(asked.get("highlight", ())),
    )


def conditions(asked: dict[str, Any]) -> list[Expression]:
    """What a product must be beside what the filters say."""
    path = asked.get("category")
    return [filters.in_category(path)] if path else []


# the answer -------------------------------------------------------------------------------------


def product(asked: Search, one: Ranked) -> dict[str, Any]:
    """What the text is to a product."""
    shown: dict[str, Any] = {}
    if one.found.missing:
        shown["_missing_keywords"] = list(one.found.missing)
    if asked.matched:
        fields = {MATCHED.get(field, "metadata") for field in one.found.matched}
        shown["_matched_fields"] = [name for name in MATCHED_FIELDS if name in fields]
    if asked.highlight:
        shown["_highlights"] = dict(one.found.highlights)
    return shown


def existence(asked: Search, answered: Answer) -> dict[str, bool]:
    """Of each product asked about whether it is found."""
    return {product_id: product_id in answered.existing for product_id in asked.whether}
