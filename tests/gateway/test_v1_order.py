"""A search in the order that it asks for, through the real application, against the same list put
in order by hand."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking import ordering
from ranking.catalog import embeddings
from tests.conftest import Shop
from tests.gateway import test_v1_facets as facets
from tests.ranking.market import Words

Record = dict[str, Any]

RECORDS: list[Record] = [
    {
        "product_id": f"p{n}",
        "product_group_id": f"g{n // 2}",
        "title": f"shoe {'red' if n % 2 else 'blue'} {n}",
        "brand": "Nike" if n % 3 else "Puma",
        "sale_price": float(n % 7) + 1,
        "published_at": f"2024-0{1 + n % 4}-15T12:00:00Z",
        "custom_attributes": {"promoted": n % 4 == 0, "points": [n % 5, 99], "a-b": n},
    }
    | ({"margin": n % 3} if n % 4 else {})
    for n in range(30)
] + [{"product_id": "bare", "title": "shoe"}]


class Caller(facets.Caller):
    def data(self, **body: Any) -> Any:
        return super().data(**({"rows": 100, "fl": ["*"]} | body))

    def products(self, *order_by: Any, **body: Any) -> list[dict[str, Any]]:
        keys = [{"field": one} if isinstance(one, str) else one for one in order_by]
        found: list[dict[str, Any]] = self.data(order_by=keys, **body)["products"]
        return found

    def ids(self, *order_by: Any, **body: Any) -> list[str]:
        return [one["product_id"] for one in self.products(*order_by, **body)]


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """Shoes, some of them popular, and a visitor who likes one."""
    made = Caller(client, shop)
    likes = [
        {"type": "like", "anonymous_id": f"v{n}", "product_ids": [f"p{n * n % 30}"]}
        for n in range(6)
    ]
    for path, sent in (("products", RECORDS), ("interactions", likes)):
        status, answered = made.answer(path, key=shop.secret_key, data=sent)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


VALUES = {
    "sale_price": lambda one: one.get("sale_price"),
    "margin": lambda one: one.get("margin"),
    "custom_attributes.promoted": lambda one: one.get("custom_attributes", {}).get("promoted"),
    "attributes.points": lambda one: one.get("custom_attributes", {}).get("points", [None])[0],
    "custom_attributes.a-b": lambda one: one.get("custom_attributes", {}).get("a-b"),
    "published_at": lambda one: (
        datetime.fromisoformat(one["published_at"]).timestamp() if "published_at" in one else None
    ),
    "_search_score": lambda one: one["_search_score"],
    "sale_price * 2 - margin": lambda one: (
        one["sale_price"] * 2 - one["margin"] if "margin" in one else None
    ),
}
keys = st.fixed_dictionaries(
    {"field": st.sampled_from(sorted(VALUES))},
    optional={
        "order": st.sampled_from(["asc", "desc"]),
        "default_value": st.sampled_from([-1, 0, 2.5, "3"]),
        "tie_breaker": st.sampled_from(
            [{"type": "relative_difference", "threshold": "0.2"}, {"threshold": 0.5}, {}]
        ),
    },
)


def by_hand(ranked: list[Record], order_by: list[dict[str, Any]]) -> list[Record]:
    if not order_by:
        return ranked
    key, *others = order_by
    threshold = float(key.get("tie_breaker", {}).get("threshold", 0))
    sign = 1 if key.get("order") == "asc" else -1

    def value(one: Record) -> float:
        found = VALUES[key["field"]](one)
        return float(key.get("default_value", 0) if found is None else found)

    ties: list[list[Record]] = []
    for one in sorted(ranked, key=lambda one: sign * value(one)):
        last = value(ties[-1][-1]) if ties else 0.0
        here = value(one)
        if ties and abs(here - last) <= threshold * max(abs(here), abs(last)):
            ties[-1].append(one)
        else:
            ties.append([one])
    places = {one["product_id"]: place for place, one in enumerate(ranked)}
    return [
        one
        for tie in ties
        for one in by_hand(sorted(tie, key=lambda one: places[one["product_id"]]), others)
    ]


def first_of_each_group(ranked: list[Record]) -> list[Record]:
    first: dict[str, Record] = {}
    for one in ranked:
        first.setdefault(one.get("product_group_id", one["product_id"]), one)
    return list(first.values())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order_by=st.lists(keys, min_size=1, max_size=3),
    q=st.sampled_from(["shoe", "*", "shoe red"]),
    every=st.booleans(),
    visitor=st.sampled_from(["v1", "nobody"]),
    size=st.integers(1, 9),
)
def test_a_list_is_sorted_as_by_hand_and_its_pages_fit_together(
    caller: Caller, order_by: list[dict[str, Any]], q: str, every: bool, visitor: str, size: int
) -> None:
    asked = {"q": q, "anonymous_id": visitor}
    ranked = caller.data(dedupe_product_group_id=False, **asked)["products"]
    expected = by_hand(ranked, order_by)
    if not every:
        expected = first_of_each_group(expected)
    asked |= {"dedupe_product_group_id": every is False}
    whole = caller.data(order_by=order_by, **asked)
    assert [one["product_id"] for one in whole["products"]] == [
        one["product_id"] for one in expected
    ]
    assert whole["total"] == len(expected)
    scores = {one["product_id"]: one["_search_score"] for one in ranked}
    for one in whole["products"]:
        assert one["_search_score"] == pytest.approx(scores[one["product_id"]])
    pages = [
        one["product_id"]
        for start in range(0, len(expected), size)
        for one in caller.products(*order_by, rows=size, start=start, **asked)
    ]
    assert pages == [one["product_id"] for one in expected]


def test_sorting_keeps_to_filters_and_facets(caller: Caller) -> None:
    products = caller.products(
        {"field": "sale_price", "order": "asc"},
        fq="sale_price:[3 TO *]",
        facet_filters={"brand": {"terms": ["Puma"]}},
        exclude=["p3"],
    )
    prices = [one["sale_price"] for one in products]
    assert prices == sorted(prices)
    assert min(prices) >= 3
    assert {one["brand"] for one in products} == {"Puma"}
    assert "p3" not in {one["product_id"] for one in products}


def test_a_boost_is_a_key_of_its_own_and_positions_still_hold(caller: Caller) -> None:
    plain = caller.ids({"field": "sale_price"})
    assert caller.ids("sale_price", boost_fq='brand:"Puma"') == plain
    products = caller.products("_boosting_score", "sale_price", boost_fq='brand:"Puma"')
    is_puma = [one.get("brand") == "Puma" for one in products]
    assert is_puma == sorted(is_puma, reverse=True)
    assert any(is_puma)
    pinned = caller.products("sale_price", boost_fq='brand:"Puma"', boost_positions=[2, 4])
    assert [at for at, one in enumerate(pinned) if one["_boosted"]] == [2, 4]
    rest = [one["product_id"] for one in pinned if not one["_boosted"]]
    assert rest == [one for one in plain if one in rest]


def test_an_anchored_and_a_spread_list_is_sorted_before(caller: Caller) -> None:
    asked = {"dedupe_product_group_id": False}
    plain = caller.ids({"field": "custom_attributes.a-b", "order": "asc"}, **asked)
    assert plain[:4] == ["p0", "bare", "p1", "p2"] or plain[:4] == ["bare", "p0", "p1", "p2"]
    setting = {"product_id": "p20", "anchor_ids": ["p2"], "relative_position": 1}
    moved = caller.ids(
        {"field": "custom_attributes.a-b", "order": "asc"}, anchoring_settings=[setting], **asked
    )
    assert moved[:5] == [*plain[:4], "p20"]
    spread = caller.products(
        {"field": "custom_attributes.a-b", "order": "asc"},
        diversification={"brand": {"always_together": True}},
        **asked,
    )
    brands = [one.get("brand") for one in spread if "brand" in one]
    assert sum(one != other for one, other in pairwise(brands)) == 1


def test_more_than_are_compared_are_sorted_whole_and_pages_fit(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paths of very large shops, on a small one."""
    asked = {"dedupe_product_group_id": False, "q": "*"}
    whole = caller.ids("custom_attributes.promoted", **asked)
    for module in ("ranking.ordering", "ranking.strategies.searching.common"):
        monkeypatch.setattr(f"{module}.MOST_COMPARED", 5)
    ordering._lists.clear()
    for rows in (7, 7, 31):
        pages = [
            one
            for start in range(0, 31, rows)
            for one in caller.ids("custom_attributes.promoted", rows=rows, start=start, **asked)
        ]
        assert pages == whole


@pytest.mark.parametrize(
    ("order_by", "pointer"),
    [
        (["sale_price"], "/order_by/0"),
        ([{"order": "asc"}], "/order_by/0/field"),
        ([{"field": "nonsense"}], "/order_by/0/field"),
        ([{"field": "sale_price"}, {"field": "1 +"}], "/order_by/1/field"),
        ([{"field": "title"}], "/order_by/0/field"),
        ([{"field": "margin", "order": "up"}], "/order_by/0/order"),
        ([{"field": "margin", "default_value": "x"}], "/order_by/0/default_value"),
        ([{"field": "margin", "tie_breaker": {"threshold": -1}}],
         "/order_by/0/tie_breaker/threshold"),
        ([{"field": "margin", "tie_breaker": {"type": "x"}}], "/order_by/0/tie_breaker/type"),
        ([{"field": "_geo_distance"}], "/order_by/0/geo"),
        ([{"field": "1 + _geo_distance", "geo": {"lat": 91, "lon": 0}}], "/order_by/0/geo/lat"),
        ([{"field": "margin"}] * 11, "/order_by"),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_kept_is_refused_where_it_stands(
    caller: Caller, order_by: list[Any], pointer: str
) -> None:
    status, answered = caller.answer(order_by=order_by)
    assert status == 422
    assert any(one["pointer"].startswith(pointer) for one in answered["problems"]), answered


def test_no_order_is_the_ranking(caller: Caller) -> None:
    assert caller.ids() == [one["product_id"] for one in caller.data()["products"]]
