"""Categories and attributes that suit a visitor, through the real application."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking import groups
from ranking.catalog import embeddings
from ranking.groups import Grouping
from tests.conftest import Shop
from tests.gateway.test_v1_rules import Caller
from tests.ranking.market import Words

BRANDS = ("nike", "puma", "avia")
THINGS = {"shoe": ["Clothes", "Shoes"], "hat": ["Clothes", "Hats"], "mug": ["Home", "Mugs"]}
PRODUCTS = [
    {
        "product_id": f"{brand}-{thing}-{number}",
        "title": f"{thing} {brand} {number}",
        "brand": brand,
        "categories": [[*path, f"{path[1]} {number % 2}"]],
        "tags": [thing, f"tag-{number}"],
        "sale_price": 10.0 * number + 1,
        "custom_attributes": {
            "kind": {"inner": thing}, "new": number == 0, "year": 2000 + number, "fit": 1.5,
        },
    }
    for number in range(4)
    for brand in BRANDS
    for thing, path in THINGS.items()
]  # fmt: skip
ODD = [
    # The same names on other levels of other paths.
    {"product_id": "odd-1", "title": "odd one", "categories": [["Shoes", "Clothes"]]},
    {"product_id": "odd-2", "title": "odd two", "categories": [["Clothes", "Odd"], ["Hats"]]},
]
CATEGORIES, ATTRIBUTES = "recommendation/user_to_categories", "recommendation/user_to_attributes"


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """A shop of shoes, hats and mugs of three brands; `fan` looked at puma's mugs."""
    groups._remembered.clear()
    made = Caller(client, shop)
    seen = [("fan", "puma-mug-0"), ("fan", "puma-mug-1"), ("x", "avia-hat-0"), ("y", "avia-hat-1")]
    events = [
        {"type": "product_detail_page_view", "anonymous_id": who, "product_ids": [product_id]}
        for who, product_id in seen
    ]
    for path, records in (("products", PRODUCTS + ODD), ("interactions", events)):
        status, answered = made.answer(path, key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


def categories(caller: Caller, **body: Any) -> dict[tuple[str, ...], dict[str, Any]]:
    found = caller.data(CATEGORIES, **{"rows": 50} | body)["categories"]
    return {tuple(one["category"]): one for one in found}


def attributes(caller: Caller, field: str = "brand", **body: Any) -> dict[str, dict[str, Any]]:
    found = caller.data(ATTRIBUTES, **{"rows": 50, "field": field} | body)["attributes"]
    return {one["value"]: one for one in found}


def listed(group: dict[str, Any]) -> list[str]:
    return [one["product_id"] for one in group["recommended_products"]]


def test_categories_of_the_top_level_come_with_their_products(caller: Caller) -> None:
    data = caller.data(CATEGORIES, anonymous_id="fan")
    assert len(data["miso_id"]) == 36
    found = {tuple(one["category"]): one for one in data["categories"]}
    assert set(found) == {("Clothes",), ("Home",), ("Hats",), ("Shoes",)}
    assert {path: one["total"] for path, one in found.items()} == {
        ("Clothes",): 25, ("Home",): 12, ("Hats",): 1, ("Shoes",): 1,
    }  # fmt: skip
    assert next(iter(found)) == ("Home",)
    assert all("mug" in one for one in listed(found["Home",]))
    assert [len(listed(one)) for one in found.values()] == [5, 5, 1, 1]


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (["Clothes"], {("Clothes", "Shoes"): 12, ("Clothes", "Hats"): 12, ("Clothes", "Odd"): 1}),
        (
            ["Home", "Mugs"],
            {("Home", "Mugs", "Mugs 0"): 6, ("Home", "Mugs", "Mugs 1"): 6},
        ),
        (["Shoes"], {("Shoes", "Clothes"): 1}),
        (["Nowhere"], {}),
    ],
    ids=["clothes", "mugs", "the other shoes", "nowhere"],
)
def test_below_a_category_its_children_are_given(
    caller: Caller, root: list[str], expected: dict[tuple[str, ...], int]
) -> None:
    found = categories(caller, root_category=root, products_per_category=20)
    assert {path: one["total"] for path, one in found.items()} == expected
    assert {path: len(listed(one)) for path, one in found.items()} == expected


def test_any_category_below_the_top_may_be_asked_for(caller: Caller) -> None:
    found = categories(caller, root_category=["*"])
    assert set(found) == {
        tuple(path[:depth])
        for one in PRODUCTS + ODD
        for path in one["categories"]
        for depth in range(2, len(path) + 1)
    }


def test_a_filter_narrows_values_totals_and_products(caller: Caller) -> None:
    fq = 'brand:"nike" AND sale_price:[* TO 12]'
    found = categories(caller, root_category=["Clothes"], fq=fq)
    assert {path[1]: one["total"] for path, one in found.items()} == {"Shoes": 2, "Hats": 2}
    for one in found.values():
        assert set(listed(one)) <= {f"nike-{t}-{n}" for t in THINGS for n in (0, 1)}
        assert len(listed(one)) == 2


def test_brands_come_first_by_interest_then_by_what_sells(caller: Caller) -> None:
    found = attributes(caller, anonymous_id="fan")
    assert next(iter(found)) == "puma"
    assert {one["total"] for one in found.values()} == {12}
    # Two are given of each, unless more are asked for, without what was looked at already.
    assert {len(listed(one)) for one in found.values()} == {2}
    assert all("mug" in one for one in listed(found["puma"]))
    assert not {"puma-mug-0", "puma-mug-1"} & set(listed(found["puma"]))
    assert next(iter(attributes(caller))) == "avia"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("tags", {*THINGS, *(f"tag-{number}" for number in range(4))}),
        ("custom_attributes.kind.inner", set(THINGS)),
        ("attributes.new", {"true", "false"}),
        ("custom_attributes.year", {"2000", "2001", "2002", "2003"}),
        ("custom_attributes.fit", {"1.5"}),
        ("custom_attributes.nothing", set()),
        ("color", set()),
    ],
)
def test_any_field_with_values_may_be_asked_for(
    caller: Caller, field: str, values: set[str]
) -> None:
    found = attributes(caller, field)
    assert set(found) == values
    if values:
        assert sum(one["total"] for one in found.values()) in (36, 72)
    assert all(len(listed(one)) == 2 for one in found.values())
    assert list(attributes(caller, field, exclude_attributes=sorted(values)[:1])) == [
        value for value in found if value != min(values)
    ]


def test_values_may_be_put_first_or_left_out(caller: Caller) -> None:
    asked = {"boost_attributes": ["avia", "nobody", "nike"], "anonymous_id": "fan"}
    assert list(attributes(caller, **asked)) == ["avia", "nike", "puma"]
    assert list(attributes(caller, exclude_attributes=["puma"], **asked)) == ["avia", "nike"]
    assert list(attributes(caller, rows=1, **asked)) == ["avia"]


def test_values_alone_may_be_asked_for(caller: Caller) -> None:
    for found in (
        categories(caller, products_per_category=0),
        attributes(caller, products_per_attribute=0),
    ):
        assert found
        assert all(listed(one) == [] and one["total"] for one in found.values())
    assert categories(caller, rows=0) == {}


def test_boosts_hold_within_each_value(caller: Caller) -> None:
    found = attributes(
        caller, products_per_attribute=4, boost_fq="custom_attributes.year:2003",
        boost_positions=[1], fl=["custom_attributes.year"],
    )  # fmt: skip
    for one in found.values():
        years = [each["custom_attributes"]["year"] for each in one["recommended_products"]]
        lifted = [each["_boosted"] for each in one["recommended_products"]]
        assert lifted == [False, True, False, False]
        assert years[1] == 2003


def test_products_left_out_are_in_no_list_of_a_value(caller: Caller) -> None:
    before = attributes(caller, products_per_attribute=50)
    left_out = [listed(one)[0] for one in before.values()]
    after = attributes(caller, products_per_attribute=50, exclude=left_out)
    for value, one in after.items():
        assert listed(one) == [each for each in listed(before[value]) if each not in left_out]


def test_each_product_of_a_value_explains_itself(caller: Caller) -> None:
    data = caller.data(ATTRIBUTES, field="brand", anonymous_id="fan", explain=True)
    first = data["attributes"][0]["recommended_products"]
    assert [one["_explanation"]["position"] for one in first] == [1, 2]
    assert first[0]["_explanation"]["because"]
    assert data["interests"]["events"]


def test_values_beyond_what_suits_the_visitor_are_found(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the nearest products are all of one brand, others come by how common they are."""
    everything = attributes(caller, anonymous_id="fan", products_per_attribute=5)
    monkeypatch.setattr(groups, "POOL", 3)
    few = attributes(caller, anonymous_id="fan", products_per_attribute=5)
    assert next(iter(few)) == "puma"
    assert few.keys() == everything.keys()
    for value, one in few.items():
        assert one["total"] == 12
        assert listed(one) == listed(everything[value])


@pytest.mark.parametrize("field", ["nonsense", "custom_attributes", "brand.name"])
def test_a_field_that_no_product_can_have_is_refused_as_a_filter_by_it_is(
    caller: Caller, field: str
) -> None:
    status, answered = caller.answer(ATTRIBUTES, field=field)
    filtered = caller.answer(ATTRIBUTES, field="brand", fq=f"{field}:[1 TO 2]")
    assert (status, filtered[0]) == (422, 422)
    assert answered["problems"][0]["message"] in filtered[1]["problems"][0]["message"]


@pytest.mark.parametrize("field", ["custom_attributes.nobody_has_it", "attributes.nor_this"])
def test_an_attribute_that_no_product_has_gives_nothing_as_a_filter_by_it_does(
    caller: Caller, field: str
) -> None:
    assert attributes(caller, field) == {}
    assert attributes(caller, fq=f"{field}:x") == {}


@pytest.mark.parametrize("compared", [3, 300])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    root=st.sampled_from([[], ["Clothes"], ["*"], ["Clothes", "Hats"]]),
    fq=st.sampled_from(["", 'brand:"puma"', "sale_price:[11 TO 25]", 'tags:"hat" OR brand:"nike"']),
    exclude=st.sets(st.sampled_from([one["product_id"] for one in PRODUCTS]), max_size=20),
    products=st.integers(0, 15),
    boost=st.sampled_from([{}, {"boost_fq": 'brand:"avia"'}]),
)
def test_each_list_is_sound_and_never_short(
    caller: Caller,
    compared: int,
    root: list[str],
    fq: str,
    exclude: set[str],
    products: int,
    boost: dict[str, Any],
) -> None:
    body = {"fq": fq, "exclude": sorted(exclude)}
    matching = caller.data("search/search", q="*", rows=100, fl=["categories"], **body)["products"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "POOL", compared)
        found = categories(
            caller, root_category=root, products_per_category=products, **body, **boost
        )
    kind = Grouping("categories", root=tuple(root))
    having: dict[Any, set[str]] = {}
    for one in matching:
        for value in kind.values(one.get("categories", [])):
            having.setdefault(value, set()).add(one["product_id"])
    assert set(found) == set(having) or products == 0
    for path, one in found.items():
        ids = listed(one)
        assert len(ids) == len(set(ids)) == min(products, len(having[path]))
        assert set(ids) <= having[path]
        assert one["total"] >= len(having[path])


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        (CATEGORIES, {"root_category": [""]}, "/root_category/0"),
        (ATTRIBUTES, {}, "/field"),
        (ATTRIBUTES, {"field": "nonsense"}, "/field"),
        (ATTRIBUTES, {"field": "sale_price"}, "/field"),
        (ATTRIBUTES, {"field": "description"}, "/field"),
        (ATTRIBUTES, {"field": "created_at"}, "/field"),
        (ATTRIBUTES, {"field": "custom_attributes"}, "/field"),
        (ATTRIBUTES, {"field": "brand", "boost_attributes": "nike"}, "/boost_attributes"),
        (ATTRIBUTES, {"field": "brand", "products_per_attribute": -1}, "/products_per_attribute"),
        (ATTRIBUTES, {"field": "brand", "rows": 51}, "/rows"),
        (CATEGORIES, {"root_category": "Clothes"}, "/root_category"),
        (CATEGORIES, {"root_category": [7]}, "/root_category/0"),
        (CATEGORIES, {"products_per_category": 51}, "/products_per_category"),
        (CATEGORIES, {"fq": "brand:("}, "/fq"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_listed_is_refused_where_it_stands(
    caller: Caller, path: str, body: dict[str, Any], pointer: str
) -> None:
    status, answered = caller.answer(path, **body)
    assert status == 422
    assert [one["pointer"] for one in answered["problems"]] == [pointer]


def test_hostile_names_are_names(caller: Caller) -> None:
    for name in ('"', "\\", "'); drop table products; --", "$.x", "a.b", "\u0000", "*", "\ud800"):
        assert categories(caller, root_category=[name, name]) == {}
        assert attributes(caller, f"custom_attributes.{name}x") == {}
        assert list(attributes(caller, boost_attributes=[name], rows=1)) == ["avia"]
