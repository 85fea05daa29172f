"""`/v1/recommendation/user_to_categories` and `user_to_attributes`: values of a field that suit a
visitor, each with its own products."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask_smorest import Blueprint
from marshmallow.fields import Field
from marshmallow.validate import Length, Range

from gateway import access
from gateway.http import auth, door, shapes, state
from gateway.http.v1 import engine, rules
from gateway.http.v1.engine import Few, Name
from ranking.grouped import Group, grouped
from ranking.groups import CATEGORIES, LONGEST, Grouping
from ranking.merchandising import filters
from ranking.merchandising.filters.terms import CUSTOM, TERM_FIELDS
from schemas.errors import Problem
from schemas.fields import Id, Reader, Text, Whole

blueprint = Blueprint("groups", __name__, url_prefix="/v1/recommendation")

MOST_VALUES = 50
MOST_PRODUCTS = 50
MOST_NAMED = 200
DEEPEST = 20  # levels of categories


def _up_to(most: int, what: str) -> Field:
    return Whole(validate=Range(0, most, error=f"Ask for 0 to {most} {what}."))


class CategoriesRequest(engine.ListRequest, rules.UnvariedRequest):
    """For whom, below which category, how many, and how many products of each."""

    rows = _up_to(MOST_VALUES, "categories")  # type: ignore[assignment]
    products_per_category = _up_to(MOST_PRODUCTS, "products of each category")
    root_category = Few(Name(), DEEPEST, "levels")


class AttributesRequest(engine.ListRequest, rules.UnvariedRequest):
    """For whom, values of which field, how many, and how many products of each."""

    field = Text(required=True, validate=Length(max=LONGEST, error=f"At most {LONGEST} letters."))
    rows = _up_to(MOST_VALUES, "values")  # type: ignore[assignment]
    products_per_attribute = _up_to(MOST_PRODUCTS, "products of each value")
    boost_attributes = Few(Id(), MOST_NAMED, "values")
    exclude_attributes = Few(Id(), MOST_NAMED, "values")


CATEGORIES_READER, ATTRIBUTES_READER = Reader(CategoriesRequest()), Reader(AttributesRequest())


def _shape(name: str, value: shapes.Shape) -> shapes.Shape:
    products = shapes.many(engine.PRODUCT)
    return shapes.record({name: value, "total": shapes.COUNT, "recommended_products": products})


CATEGORY = _shape("category", shapes.many(shapes.TEXT))
ATTRIBUTE = _shape("value", shapes.TEXT)


@blueprint.route("/user_to_categories", methods=["POST"])
@blueprint.doc(
    **engine.documented(
        CategoriesRequest,
        "Categories that may interest a visitor",
        {"categories": shapes.many(CATEGORY)},
        common=engine.ANSWER,
    )
)
def user_to_categories() -> dict[str, Any]:
    """Those of the top level, or below `root_category`, each with products for the visitor."""
    asked, key = _asked(CATEGORIES_READER)
    grouping = Grouping(
        field=CATEGORIES,
        rows=asked.get("rows", 5),
        products=asked.get("products_per_category", 5),
        root=tuple(asked.get("root_category", ())),
    )
    return _answered(asked, key, grouping, "categories", "category")


@blueprint.route("/user_to_attributes", methods=["POST"])
@blueprint.doc(
    **engine.documented(
        AttributesRequest,
        "Values of a field that may interest a visitor",
        {"attributes": shapes.many(ATTRIBUTE)},
        common=engine.ANSWER,
    )
)
def user_to_attributes() -> dict[str, Any]:
    """Brands, designers, sizes …, each with products for the visitor."""
    asked, key = _asked(ATTRIBUTES_READER)
    grouping = Grouping(
        field=filters.spelled(asked["field"]),
        rows=asked.get("rows", 5),
        products=asked.get("products_per_attribute", 2),
        boosted=tuple(asked.get("boost_attributes", ())),
        without=frozenset(asked.get("exclude_attributes", ())),
    )
    return _answered(asked, key, grouping, "attributes", "value")


def _asked(reader: Reader) -> tuple[dict[str, Any], access.Key]:
    key = auth.authenticate("engine:read")
    body = door.read_body(engine.LARGEST_BYTES)
    asked, found = engine.read(body, reader, engine.NOT_BUILT)
    if "field" in asked and not _has_values(asked["field"]):
        found.append(Problem("/field", _unlisted(asked["field"]), asked["field"]))
    if found:
        raise engine.refused(found)
    auth.check_user_hash(key, asked.get("user_id"), asked.get("user_hash"))
    return asked, key


def _has_values(field: str) -> bool:
    field = filters.spelled(field)
    return filters.known(field) and field.partition(".")[0] in TERM_FIELDS | {CUSTOM}


def _unlisted(field: str) -> str:
    """The same as of a filter, where there is no such field."""
    if filters.spelled(field) == CUSTOM:
        return f"name the attribute, as in {CUSTOM}.material"
    if not filters.known(filters.spelled(field)):
        return f'products have no field "{field}"'
    return f'"{field}" is no field of products whose values can be listed'


def _answered(
    asked: dict[str, Any], key: access.Key, grouping: Grouping, many: str, one: str
) -> dict[str, Any]:
    with state.serving().connection() as connection:
        site = access.site_by_id(connection, key.site_id)
        question = engine.question("recommend", asked, site, key)
        question = replace(question, endpoint=f"recommendation/user_to_{many}")
        found = grouped(connection, question, grouping)
    data = {
        "took": engine.took(),
        "miso_id": str(found.miso_id),
        many: [_shown(one, each) for each in found.groups],
    }
    if found.interests is not None:
        data["interests"] = found.interests
    if found.fallback is not None:
        data["fallback"] = found.fallback
    return {"message": "success", "data": data}


def _shown(name: str, group: Group) -> dict[str, Any]:
    value = list(group.value) if isinstance(group.value, tuple) else group.value
    products = [engine.product(one) for one in group.products]
    return {name: value, "total": group.total, "recommended_products": products}
