"""The score of whatever a search lists is the sum of the parts that its explanation names, however
it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import embeddings, queries
from tests.conftest import Shop
from tests.gateway.test_v1_finding import PARTS
from tests.gateway.test_v1_rules import Caller
from tests.ranking.market import Words

COLORS = ("red", "blue", "green", "black")
THINGS = ("mug", "hat", "bag")
HERE = {"lat": 52.5, "lon": 13.4}
PRODUCTS = [
    {
        "product_id": f"{color}-{thing}",
        "title": f"{color} {thing}",
        "brand": color,
        "subtitle": f"a {COLORS[(number + at) % 4]} thing",
        "description": "for tea" if at else "for rain and mud",
        "sale_price": 1.5 * number + at,
        "language": "es" if number == 2 else "en",
        "product_group_id": f"group-{color}",
        "availability": "OUT_OF_STOCK" if (number + at) % 5 == 4 else "IN_STOCK",
        "location": {"lat": 52.5 + number, "lon": 13.4 + at},
    }
    for number, color in enumerate(COLORS)
    for at, thing in enumerate(THINGS)
]
QUERIES = ("*", "red mug", "mug", "red mug tea", "hat nothing", "thing", '"for tea"', "blue")
# Of each mode what it may be; None: it is not asked for.
MODES: dict[str, st.SearchStrategy[Any]] = {
    "advanced_q": st.sampled_from([None, "full_text:mug OR brand:blue", "full_text:(for tea)"]),
    "enable_partial_match": st.booleans(),
    "partial_match_mode": st.sampled_from(["blended", "separated"]),
    "enable_partial_match_threshold": st.sampled_from([None, 0, 2]),
    "enable_semantic_search": st.booleans(),
    "semantic_search_threshold": st.sampled_from([0, 0.1, 0.5]),
    "like": st.sampled_from([None, "blue thing"]),
    "language": st.sampled_from([None, "es", "de"]),
    "include": st.sampled_from([None, ["green-hat", "black-bag"]]),
    "personalization_weight": st.integers(0, 5),
    "exclude_fields_from_search": st.sampled_from([None, ["subtitle"]]),
    "boost_fq": st.sampled_from([None, "brand:blue", "sale_price:[2 TO *]"]),
    "geo": st.sampled_from(
        [
            None,
            {"filter": [HERE | {"distance": 200, "distance_unit": "km"}]},
            {"boost": [HERE | {"distance": 200}]},
        ]
    ),
    "order_by": st.lists(
        st.sampled_from(
            [
                {"field": "sale_price"},
                {"field": "_search_score"},
                {"field": "_personalization_score", "order": "asc"},
                {"field": "_search_score * 2 + sale_price"},
                {"field": "_geo_distance", "geo": HERE},
                {"field": "_boosting_score"},
            ]
        ),
        max_size=2,
    ),
    "diversification": st.sampled_from([None, {"brand": {"minimum_distance": 1}}]),
    "anchoring_settings": st.sampled_from(
        [None, [{"product_id": "black-hat", "anchor_ids": ["red-mug", "blue-mug"]}]]
    ),
    "dedupe_product_group_id": st.booleans(),
    "start": st.sampled_from([0, 0, 2]),
}
WHO = st.sampled_from(
    [{}, {"anonymous_id": "fan"}, {"anonymous_id": "new", "user_cohort": {"country": "Y"}}]
)


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """A shop of colored things, some popular, some sold out; `fan` likes blue ones, as people of a
    country do."""
    made = Caller(client, shop)
    events = [
        {"type": "like", "product_ids": [one], "anonymous_id": "fan"}
        for one in ("blue-mug", "blue-hat")
    ]
    events += [
        {"type": "like", "product_ids": [f"{COLORS[number % 3]}-mug"], "user_id": f"u{number}"}
        for number in range(6)
    ]
    users = [{"user_id": f"u{number}", "country": "Y"} for number in range(6)]
    for path, records in (("products", PRODUCTS), ("users", users), ("interactions", events)):
        status, answered = made.answer(path, key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
        texts = [*QUERIES, "blue thing", "for tea"]
        queries.vectors(connection, shop.site.site_id, texts, encodes=Words())
    return made


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    q=st.sampled_from(QUERIES),
    who=WHO,
    positions=st.sampled_from([None, [0, 3]]),
    diversity=st.sampled_from([None, 0.3]),
    modes=st.fixed_dictionaries({}, optional=MODES),
)
def test_the_parts_of_a_score_leave_nothing_over_however_it_is_asked_for(
    caller: Caller,
    q: str,
    who: dict[str, Any],
    positions: list[int] | None,
    diversity: float | None,
    modes: dict[str, Any],
) -> None:
    asked = {"q": q, "rows": 50, "explain": True} | who | modes
    if modes.get("boost_fq"):
        asked["boost_positions"] = positions
    if not modes.get("order_by"):
        asked["diversity"] = diversity
    data = caller.data("search/search", **asked)
    for one in (*data["products"], *data["partially_matched_products"]):
        told = one["_explanation"]
        assert sum(told["parts"].values()) == told["score"] == one["_search_score"]
        assert told["parts"].keys() <= PARTS | {"cohort"}
        assert all(part >= 0 for part in told["parts"].values())
        assert 0 <= told["score"] <= 1
        # What is sold out counts by its words alone, and an anchored product may have none of them.
        assert told["parts"] or one["product_id"] == "black-hat"
