"""What a request asks for beside its order: boosts, positions, anchors, distances; through the
real application."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import embeddings
from tests.conftest import Shop
from tests.ranking.market import Words

BRANDS = ("nike", "puma", "avia")
PRODUCTS = [
    {
        "product_id": f"{brand}-{number}",
        "title": f"shoe {brand} {number}",
        "brand": brand,
        "sale_price": 10.0 * number,
        "product_group_id": f"group-{brand}-{number // 2}",
    }
    for number in range(8)
    for brand in BRANDS
]
PATHS = {
    "search/search": {"q": "shoe"},
    "recommendation/user_to_products": {},
    "recommendation/user_to_trending": {},
    "recommendation/product_to_products": {"product_id": "puma-0"},
}


class Caller:
    """Asks for lists and keeps what they need for a check."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def answer(self, path: str, key: str | None = None, **body: Any) -> Any:
        response = self.client.post(
            f"/v1/{path}",
            query_string={"api_key": key or self.shop.publishable_key},
            data=json.dumps(PATHS.get(path, {}) | body),
        )
        return response.status_code, response.json

    def data(self, path: str, **body: Any) -> Any:
        status, answered = self.answer(path, **body)
        assert status == 200, answered
        return answered["data"]

    def products(self, path: str, **body: Any) -> list[dict[str, Any]]:
        asked = {"rows": 30, "fl": ["brand", "sale_price", "product_group_id"]} | body
        products: list[dict[str, Any]] = self.data(path, **asked)["products"]
        return products

    def ids(self, path: str, **body: Any) -> list[str]:
        return [one["product_id"] for one in self.products(path, **body)]


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """A shop of shoes of three brands, all encoded, some of them popular."""
    made = Caller(client, shop)
    for path, records in (
        ("products", PRODUCTS),
        (
            "interactions",
            [
                {"type": "product_detail_page_view", "anonymous_id": f"v{number}",
                 "product_ids": [PRODUCTS[number % 5]["product_id"]]}
                for number in range(12)
            ],
        ),
    ):  # fmt: skip
        status, answered = made.answer(path, key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


@pytest.mark.parametrize("path", PATHS)
def test_a_boost_lifts_what_matches_above_all_others(caller: Caller, path: str) -> None:
    plain = caller.ids(path)
    products = caller.products(path, boost_fq='brand:"avia"')
    lifted = [one for one in products if one["_boosted"]]
    assert lifted
    assert products[: len(lifted)] == lifted
    assert {one["brand"] for one in lifted} == {"avia"}
    assert len(products) == len(plain)
    rest = [one["product_id"] for one in products[len(lifted) :]]
    assert rest == [one for one in plain if one in rest]


@pytest.mark.parametrize("path", PATHS)
def test_a_boost_to_positions_leaves_the_others_in_their_order(caller: Caller, path: str) -> None:
    plain = caller.ids(path)
    products = caller.products(path, boost_fq='brand:"nike"', boost_positions=[1, 4])
    assert [at for at, one in enumerate(products) if one["_boosted"]] == [1, 4]
    assert {products[1]["brand"], products[4]["brand"]} == {"nike"}
    rest = [one["product_id"] for one in products if not one["_boosted"]]
    assert rest == [one for one in plain if one in rest]


def test_several_rules_hold_at_once_and_say_their_names(caller: Caller) -> None:
    rules = [
        {"boost_fq": 'brand:"nike"', "boost_positions": [0, 1], "boost_rule_name": "nike first"},
        {"boost_fq": 'brand:"puma"', "boost_positions": [2, 3]},
    ]
    data = caller.data("search/search", boost_rules=rules, fl=["brand"], rows=6)
    assert [one["brand"] for one in data["products"][:4]] == ["nike", "nike", "puma", "puma"]
    assert [one.get("_boosted_rules") for one in data["products"][:3]] == [
        ["nike first"], ["nike first"], None,
    ]  # fmt: skip
    assert data["boosting_rules"] == rules


def test_a_boosted_product_keeps_to_the_filter_and_to_what_is_left_out(caller: Caller) -> None:
    for path in PATHS:
        products = caller.products(
            path, boost_fq='brand:"avia"', fq="sale_price:[20 TO *]", exclude=["avia-3", "avia-5"]
        )
        assert products
        assert all(one["sale_price"] >= 20 for one in products)
        assert not {"avia-3", "avia-5"} & {one["product_id"] for one in products}


def test_what_no_word_of_the_search_finds_is_not_lifted(caller: Caller) -> None:
    products = caller.products("search/search", q="shoe puma", boost_fq='brand:"nike"')
    assert {one["brand"] for one in products} == {"puma"}
    assert not any(one["_boosted"] for one in products)


def test_pages_of_a_boosted_search_fit_together(caller: Caller) -> None:
    rules = {"boost_fq": 'brand:"avia"', "boost_rules": [
        {"boost_fq": 'brand:"puma"', "boost_positions": [3, 5]}]}  # fmt: skip
    whole = caller.ids("search/search", **rules)
    pages = [
        one
        for start in range(0, 14, 3)
        for one in caller.ids("search/search", rows=3, start=start, **rules)
    ]
    assert pages == whole


def test_one_brand_is_kept_apart(caller: Caller) -> None:
    for path in PATHS:
        asked = {"brand": {"minimum_distance": 2}}
        products = caller.products(path, rows=6, diversification=asked)
        brands = [one["brand"] for one in products]
        assert all(len(set(brands[at : at + 3])) == 3 for at in range(4)), (path, brands)


def test_one_brand_is_put_together(caller: Caller) -> None:
    products = caller.products(
        "search/search", diversification={"brand": {"always_together": True}}
    )
    brands = [one["brand"] for one in products]
    assert sum(one != other for one, other in pairwise(brands)) == 2


@pytest.mark.parametrize("every", [True, False], ids=["every variant", "one variant a group"])
def test_an_anchored_product_comes_with_its_anchor(caller: Caller, every: bool) -> None:
    setting = {"product_id": "avia-1", "anchor_ids": ["puma-3"]}
    asked = {"q": "shoe puma", "dedupe_product_group_id": not every}

    def groups(offset: int) -> list[str]:
        settings = [setting | {"relative_position": offset}]
        found = caller.products("search/search", anchoring_settings=settings, **asked)
        assert [one["product_id"] for one in found if one["brand"] == "avia"] == ["avia-1"]
        return [one["product_group_id"] for one in found]

    before, behind = groups(-1), groups(1)
    assert before[before.index("group-avia-0") + 1] == "group-puma-1"
    assert behind[behind.index("group-avia-0") - 1] == "group-puma-1"


@pytest.mark.parametrize("every", [True, False], ids=["every variant", "one variant a group"])
@pytest.mark.parametrize("more", [{}, {"order_by": [{"field": "sale_price"}]}], ids=["", "order"])
def test_the_total_is_the_same_on_every_page(
    caller: Caller, every: bool, more: dict[str, Any]
) -> None:
    """Whether the products that come with an anchor are found without it or not."""
    brought = [{"product_id": f"avia-{n}", "anchor_ids": ["puma-3"]} for n in (0, 1, 2)]
    found = [{"product_id": "puma-7", "anchor_ids": ["puma-2"], "relative_position": 1}]
    gone = [{"product_id": "nike-1", "anchor_ids": ["nike-7"]}]
    asked = {
        "q": "shoe puma", "dedupe_product_group_id": not every,
        "anchoring_settings": brought + found + gone,
    }  # fmt: skip
    whole = caller.data("search/search", rows=30, **asked, **more)
    assert whole["total"] == len(whole["products"]) == (11 if every else 6)
    pages = [
        caller.data("search/search", rows=rows, start=at, **asked, **more)
        for rows, at in ((0, 0), (1, 0), (2, 0), (2, 2), (2, 4), (3, 9), (5, 40))
    ]
    assert {page["total"] for page in pages} == {whole["total"]}


def test_a_variant_brings_no_more_than_its_group(caller: Caller) -> None:
    """The group is found by its other variant."""
    record = {"product_id": "avia-x", "title": "slipper", "product_group_id": "group-puma-3"}
    caller.answer("products", key=caller.shop.secret_key, data=[record])
    setting = {"product_id": "avia-x", "anchor_ids": ["puma-0"]}
    asked = {"q": "shoe puma", "anchoring_settings": [setting]}
    totals = {caller.data("search/search", rows=n, **asked)["total"] for n in (0, 1, 3, 30)}
    assert totals == {4}


def test_an_anchored_product_must_pass_the_filter_and_its_time(caller: Caller) -> None:
    setting = {"product_id": "avia-1", "anchor_ids": ["puma-3"]}
    now = datetime.now(UTC)
    for more, fq in (
        ({}, 'brand:"puma"'),
        ({"start_time": (now + timedelta(hours=1)).isoformat()}, ""),
        ({"end_time": (now - timedelta(hours=1)).isoformat()}, ""),
        ({"anchor_ids": ["nike-1"]}, ""),
    ):
        ids = caller.ids("search/search", q="shoe puma", fq=fq, anchoring_settings=[setting | more])
        assert "avia-1" not in ids


def test_the_explanation_says_where_a_product_stood_without_the_rules(caller: Caller) -> None:
    plain = caller.ids("search/search")
    last = plain[-1]
    products = caller.products(
        "search/search", boost_fq=f'product_id:"{last}"', explain=True, rows=len(plain)
    )
    told = products[0]["_explanation"]
    assert (told["position"], told["position_without_rules"]) == (1, len(plain))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"boost_fq": "brand:("}, "/boost_fq"),
        ({"boost_positions": [1]}, "/boost_fq"),
        ({"boost_fq": "brand:x", "boost_positions": [-1]}, "/boost_positions/0"),
        ({"boost_rules": [{"boost_fq": "nonsense:1"}]}, "/boost_rules/0/boost_fq"),
        ({"diversification": {"nonsense": {}}}, "/diversification"),
        ({"diversification": {"brand": {"minimum_distance": "far"}}}, "/diversification/brand"),
        (
            {"anchoring_settings": [{"product_id": "p", "anchor_ids": ["a"],
                                     "relative_position": 0}]},
            "/anchoring_settings/0/relative_position",
        ),
        ({"anchoring_settings": [{"product_id": "p"}]}, "/anchoring_settings/0/anchor_ids"),
        (
            {"anchoring_settings": [{"product_id": "p", "anchor_ids": ["a"],
                                     "start_time": "2026-02-01T00:00:00Z",
                                     "end_time": "2026-01-01T00:00:00Z"}]},
            "/anchoring_settings/0/end_time",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_rule_that_cannot_be_kept_is_refused_where_it_stands(
    caller: Caller, body: dict[str, Any], pointer: str
) -> None:
    status, answered = caller.answer("search/search", **body)
    assert status == 422
    assert any(one["pointer"].startswith(pointer) for one in answered["problems"]), answered


conditions = st.sampled_from(
    ['brand:"nike"', 'brand:"puma" OR brand:"avia"', "sale_price:[0 TO 30]", "brand:none", "*:*"]
).filter(lambda fq: fq != "*:*")
boosts = st.lists(
    st.fixed_dictionaries(
        {"boost_fq": conditions},
        optional={"boost_positions": st.lists(st.integers(0, 9), max_size=4)},
    ),
    max_size=3,
)


@pytest.mark.parametrize("path", PATHS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rules=boosts, fq=conditions, exclude=st.sets(st.sampled_from(["nike-1", "puma-2"])),
       distance=st.integers(0, 3))  # fmt: skip
def test_whatever_is_asked_filters_hold_and_nothing_comes_twice(
    caller: Caller,
    path: str,
    rules: list[dict[str, Any]],
    fq: str,
    exclude: set[str],
    distance: int,
) -> None:
    body = {"fq": fq, "exclude": sorted(exclude)}
    allowed = set(caller.ids(path, dedupe_product_group_id=False, **body))
    products = caller.products(
        path, boost_rules=rules, diversification={"brand": {"minimum_distance": distance}}, **body
    )
    ids = [one["product_id"] for one in products]
    groups = [one["product_group_id"] for one in products]
    assert len(ids) == len(set(ids)) == len(set(groups))
    assert set(ids) <= allowed
    assert len(ids) == len(caller.ids(path, **body))


def test_pages_hold_each_product_once_wherever_some_are_pinned(caller: Caller) -> None:
    asked = {"fq": "", "dedupe_product_group_id": False}
    whole = caller.ids("search/search", **asked)
    assert len(whole) == len(PRODUCTS)
    pinned = " OR ".join(f'"{one}"' for one in whole[:4])
    rule = {"boost_fq": f"product_id:({pinned})", "boost_positions": [7, 11, 13, 20]}
    found = caller.ids("search/search", **asked, **rule)
    pages = [
        caller.ids("search/search", **asked | rule | {"start": start, "rows": 4})
        for start in range(0, len(PRODUCTS), 4)
    ]
    assert [one for page in pages for one in page] == found
    assert sorted(found) == sorted(whole)
    assert [found[at] for at in rule["boost_positions"]] == whole[:4]


def test_a_rules_name_is_short(caller: Caller) -> None:
    status, answered = caller.answer(
        "search/search", boost_fq="brand:puma", boost_rule_name="n" * 101
    )
    assert status == 422
    assert answered["problems"][0]["pointer"] == "/boost_rule_name"


def test_another_size_of_what_was_bought_is_not_recommended(caller: Caller) -> None:
    bought = {"additional_interactions": [{"type": "checkout", "product_ids": ["puma-0"]}]}
    listed = caller.ids("recommendation/user_to_products", **bought)
    assert listed and not {"puma-0", "puma-1"}.intersection(listed)
    every = caller.ids("recommendation/user_to_products", **bought, dedupe_product_group_id=False)
    assert "puma-1" in every and "puma-0" not in every
