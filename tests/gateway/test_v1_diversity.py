"""How much a list varies, through the real application."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.arrangement import DIVERSITY
from ranking.catalog import embeddings
from tests.conftest import Shop
from tests.gateway.test_v1_rules import Caller
from tests.ranking.market import Words

KINDS = ("mug", "hat", "bag")
PRODUCTS = [
    {"product_id": f"{kind}-{number}", "title": f"green {kind}", "brand": kind}
    for kind in KINDS
    for number in range(6)
]
VISITOR = {"additional_interactions": [{"type": "like", "product_ids": ["liked"]}]}
PATHS: dict[str, dict[str, Any]] = {
    "recommendation/user_to_products": VISITOR,
    "recommendation/user_to_trending": {},
    "recommendation/product_to_products": {"product_id": "liked"},
    "search/search": {"q": "green"},
}
LIST = "recommendation/user_to_products"


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """Three kinds of things, six copies of each, and one that is most like the mugs."""
    made = Caller(client, shop)
    liked = {"product_id": "liked", "title": "green mug hat mug mug", "brand": "mug"}
    events = [
        {"type": "product_detail_page_view", "anonymous_id": f"v{number}",
         "product_ids": [f"{kind}-{number % 6}"]}
        for number, kind in enumerate(["mug"] * 12 + ["hat"] * 6)
    ]  # fmt: skip
    for path, records in (("products", [*PRODUCTS, liked]), ("interactions", events)):
        status, answered = made.answer(path, key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


def ids(caller: Caller, path: str, **body: Any) -> list[str]:
    return caller.ids(path, **PATHS[path] | body)


def kinds(listed: list[str]) -> list[str]:
    return [one.partition("-")[0] for one in listed]


@pytest.mark.parametrize("path", PATHS)
def test_the_more_is_asked_for_the_more_a_list_varies(caller: Caller, path: str) -> None:
    plain = ids(caller, path, diversity=0)
    varied = ids(caller, path, diversity=0.9)
    assert sorted(varied) == sorted(plain)
    assert varied[0] == plain[0]
    assert len(set(kinds(varied[:4]))) >= 3
    assert len(set(kinds(plain[1:4]))) < 3


@pytest.mark.parametrize("path", [path for path in PATHS if path != LIST])
def test_lists_do_not_vary_unless_asked(caller: Caller, path: str) -> None:
    assert ids(caller, path) == ids(caller, path, diversity=0) == ids(caller, path, diversity="0")


def test_a_recommendation_varies_by_itself_while_little_is_known_of_the_visitor(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ids(caller, LIST) == ids(caller, LIST, diversity=DIVERSITY["recommend"])
    plain, varied = ids(caller, LIST, diversity=0), ids(caller, LIST, diversity=0.5)
    monkeypatch.setitem(DIVERSITY, "recommend", 0.5)
    assert ids(caller, LIST) == varied != plain
    known = [{"type": "like", "product_ids": [one]} for one in ("liked", "mug-0", "mug-1")]
    three = {"additional_interactions": known}
    assert ids(caller, LIST, **three) == ids(caller, LIST, **three, diversity=0)
    assert ids(caller, LIST, **three) != ids(caller, LIST, **three, diversity=0.5)


def test_scores_stay_those_of_relevance_and_the_explanation_says_what_moved(
    caller: Caller,
) -> None:
    asked = PATHS[LIST] | {"explain": True}
    plain = {one["product_id"]: one for one in caller.products(LIST, **asked, diversity=0)}
    by_score = list(plain)
    moved = 0
    for position, one in enumerate(caller.products(LIST, **asked, diversity=0.5), start=1):
        told = one["_explanation"]
        before = by_score.index(one["product_id"]) + 1
        assert one["_personalization_score"] == plain[one["product_id"]]["_personalization_score"]
        assert sum(told["parts"].values()) == told["score"] == one["_personalization_score"]
        assert told["position"] == told["position_without_rules"] == position
        assert told["position_by_score"] == before
        moved += before != position
    assert moved


def test_rules_are_applied_to_the_varied_list(caller: Caller) -> None:
    varied = ids(caller, LIST, diversity=0.5)
    lifted = ids(caller, LIST, diversity=0.5, boost_fq="brand:bag")
    assert kinds(lifted[:6]) == ["bag"] * 6
    assert lifted[6:] == [one for one in varied if not one.startswith("bag")]
    pinned = ids(caller, LIST, diversity=0.5, boost_fq="brand:bag", boost_positions=[2])
    assert pinned[2].startswith("bag")
    assert [one for one in pinned if one != pinned[2]] == [
        one for one in varied if one != pinned[2]
    ]
    apart = ids(caller, LIST, diversity=0.5, diversification={"brand": {"minimum_distance": 2}})
    assert all(first != second for first, second in pairwise(kinds(apart)[:15]))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(list(PATHS)),
    rows=st.integers(1, 9),
    diversity=st.sampled_from([None, 0, 0.05, 0.4, 1]),
    one_a_group=st.booleans(),
)
def test_pages_fit_together(
    caller: Caller, path: str, rows: int, diversity: float | None, one_a_group: bool
) -> None:
    asked = PATHS[path] | {"diversity": diversity, "dedupe_product_group_id": one_a_group}
    whole = caller.ids(path, **asked)
    if path != "search/search":
        asked["pagination_id"] = f"{rows} {diversity} {one_a_group}"
    pages = [
        one
        for start in range(0, len(whole), rows)
        for one in caller.ids(path, **asked, start=start, rows=rows)
    ]
    assert pages == whole


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (LIST, {"diversity": -0.1}),
        (LIST, {"diversity": 1.01}),
        (LIST, {"diversity": "much"}),
        (LIST, {"diversity": True}),
        ("search/search", {"diversity": 2}),
        ("search/search", {"diversity": 0.5, "order_by": [{"field": "sale_price"}]}),
        ("recommendation/feed", {"diversity": 0.5}),
        ("recommendation/user_to_history", {"diversity": 0.5}),
        ("recommendation/user_to_categories", {"diversity": 0.5}),
        ("recommendation/user_to_attributes", {"diversity": 0.5, "field": "brand"}),
        ("search/autocomplete", {"diversity": 0.5, "q": "m"}),
    ],
    ids=lambda one: one if isinstance(one, str) else "-".join(map(str, one.values())),
)
def test_what_cannot_be_is_refused_where_it_stands(
    caller: Caller, path: str, body: dict[str, Any]
) -> None:
    status, answered = caller.answer(path, **PATHS.get(path, {}) | body)
    assert status == 422
    assert [one["pointer"] for one in answered["problems"]] == ["/diversity"]


@pytest.mark.parametrize(
    "path",
    ["feed", "user_to_history", "user_to_categories"],
)
def test_a_list_of_its_own_order_takes_what_asks_for_nothing(caller: Caller, path: str) -> None:
    for nothing in (0, None):
        status, answered = caller.answer(f"recommendation/{path}", diversity=nothing)
        assert status == 200, answered
