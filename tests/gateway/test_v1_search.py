"""Search and products by id through the real application."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from gateway.http.v1.engine import NOT_BUILT
from gateway.http.v1.finding import LONGEST_QUERY
from ranking.catalog import embeddings, queries
from tests.builders import one, rows
from tests.conftest import Shop
from tests.ranking.market import Words

TITLES = [f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("mug", "hat")]
# What every search answers beside its products.
SHAPE = {
    "took", "miso_id", "products", "total", "start", "spellcheck", "product_existence",
    "partially_matched_products", "facet_counts", "custom_assets", "boosting_rules",
    "filtering_rule",
}  # fmt: skip
SPELLCHECK = {
    "spelling_errors", "auto_spelling_correction", "original_query",
    "original_query_with_markups", "corrected_query", "corrected_query_with_markups",
}  # fmt: skip


class Caller:
    """Calls as a browser's SDK does."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def post(self, path: str, body: Any, key: str | None = None) -> TestResponse:
        return self.client.post(
            f"/v1/{path}",
            query_string={"api_key": key or self.shop.publishable_key},
            data=body if isinstance(body, bytes) else json.dumps(body).encode(),
            content_type="text/plain;charset=UTF-8",
        )

    def search(self, **body: Any) -> dict[str, Any]:
        answer = self.post("search/search", body)
        assert answer.status_code == 200, answer.text
        return answer.json["data"]  # type: ignore[index,no-any-return]

    def ids(self, **body: Any) -> list[str]:
        return [product["product_id"] for product in self.search(**body)["products"]]

    def refused(self, **body: Any) -> list[str]:
        """The fields that a search is refused for."""
        answer = self.post("search/search", body)
        assert answer.status_code == 422, answer.text
        told: Any = answer.json
        assert told["message"]
        return [problem["loc"][1] for problem in told["detail"]]


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """A shop of six products, all encoded, and one that is sold out."""
    records: list[dict[str, Any]] = [
        {"product_id": title, "title": title, "brand": title.split()[0]} for title in TITLES
    ]
    records.append({"product_id": "gone", "title": "red gone", "availability": "OUT_OF_STOCK"})
    made = Caller(client, shop)
    assert made.post("products", {"data": records}, key=shop.secret_key).status_code == 200
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


def test_a_search_comes_in_misos_shape(caller: Caller) -> None:
    data = caller.search(q="red mug", anonymous_id="a1")
    assert set(data) == SHAPE
    assert set(data["spellcheck"]) == SPELLCHECK
    assert data["spellcheck"]["corrected_query"] == "red mug"
    assert (data["total"], data["start"]) == (1, 0)
    assert data["facet_counts"] == {"facet_fields": {}}
    [product] = data["products"]
    assert set(product) == {"product_id", "_search_score", "_personalization_score", "_boosted"}
    assert product["_boosted"] is False
    assert 0.7 <= product["_search_score"] <= 1


def test_what_was_uploaded_is_found_at_once(caller: Caller) -> None:
    record = {"product_id": "p9", "title": "velvet thing"}
    caller.post("products", {"data": [record]}, key=caller.shop.secret_key)
    assert caller.ids(q="velvet") == ["p9"]


def test_a_click_changes_the_same_search(caller: Caller) -> None:
    assert set(caller.ids(q="mug", anonymous_id="a1")) == {"red mug", "blue mug", "green mug"}
    for color in ("blue", "green"):
        click = {"type": "like", "anonymous_id": color, "product_ids": [f"{color} hat"]}
        assert caller.post("interactions", {"data": [click]}).status_code == 200
        data = caller.search(q="mug", anonymous_id=color)
        assert data["products"][0]["product_id"] == f"{color} mug"
        assert data["products"][0]["_personalization_score"] > 0
    assert caller.ids(q="mug", anonymous_id="blue", personalization_weight=0) == caller.ids(q="mug")


def test_additional_interactions_count_in_a_search(caller: Caller) -> None:
    told = [{"type": "like", "product_ids": ["green hat"]}]
    assert caller.ids(q="mug", additional_interactions=told)[0] == "green mug"


def test_a_list_is_filtered_paged_and_narrowed(caller: Caller) -> None:
    everything = caller.ids(q="*", rows=50)
    assert len(everything) == 7
    assert everything[-1] == "gone"
    assert caller.ids(q="*", rows=2, start=2) == everything[2:4]
    assert set(caller.ids(q="*", fq="brand:red")) == {"red mug", "red hat"}
    assert caller.ids(q="mug", fq="brand:red") == ["red mug"]
    assert set(caller.ids(q="mug", exclude=["red mug"])) == {"blue mug", "green mug"}
    assert caller.ids(q="red", fq="availability:OUT_OF_STOCK") == ["gone"]
    assert caller.ids(q="red", type="book") == []


def test_fields_and_reasons_are_those_asked_for(caller: Caller) -> None:
    data = caller.search(q="red mug", fl=["title"], explain=True, start=0)
    [product] = data["products"]
    assert product["title"] == "red mug"
    explanation = product["_explanation"]
    assert sum(explanation["parts"].values()) == explanation["score"]
    assert explanation["parts"]["words"] == 0.7


def test_meaning_finds_where_asked_for(caller: Caller) -> None:
    with caller.shop.pool.connection() as connection:
        queries.vectors(connection, caller.shop.site.site_id, ["mug velvet"], encodes=Words())
    assert caller.search(q="mug velvet")["products"] == []
    asked = {"q": "mug velvet", "enable_semantic_search": True}
    near = caller.ids(**asked, semantic_search_threshold=0.3)
    assert set(near) == {"red mug", "blue mug", "green mug"}
    assert caller.ids(**asked, semantic_search_threshold=1) == []


def test_each_search_is_one_answer_and_no_event(caller: Caller) -> None:
    miso_id = caller.search(q="red mug", anonymous_id="a1")["miso_id"]
    found = rows(caller.shop.pool, "select endpoint, miso_id::text from answers")
    assert found == [("search/search", miso_id)]
    assert one(caller.shop.pool, "select count(*) from events") == 0


def test_a_user_needs_proof(caller: Caller) -> None:
    for path, body in (("search", {"q": "mug"}), ("mget", {"product_ids": ["red mug"]})):
        answer = caller.post(f"search/{path}", body | {"user_id": "u1"})
        assert answer.status_code == 403
        own = caller.post(f"search/{path}", body | {"user_id": "u1"}, key=caller.shop.secret_key)
        assert own.status_code == 200


# refused ----------------------------------------------------------------------------------------


def test_a_query_must_be_a_text_that_says_something(caller: Caller) -> None:
    for q in ("", " \n", None, 7, ["mug"], "x" * (LONGEST_QUERY + 1), "a" * 900_000):
        assert caller.refused(q=q) == ["q"]


def test_what_is_not_built_is_refused_by_name(caller: Caller) -> None:
    for field in NOT_BUILT:
        for value in ("something", ["something"], 7, {"some": "thing"}):
            assert caller.refused(q="mug", **{field: value}) == [field]


def test_what_asks_for_nothing_is_accepted(caller: Caller) -> None:
    nothing = {field: values[0] for field, values in NOT_BUILT.items() if values}
    asked = nothing | {"engine_id": "e", "spellcheck": {"enable_auto_spelling_correction": True}}
    assert caller.ids(q="red mug", **asked, advanced_q=None) == ["red mug"]


WRONG = [
    ("start", -1), ("start", 10_001), ("rows", 501), ("personalization_weight", 6),
    ("personalization_weight", 2.5), ("semantic_search_threshold", 2), ("no_such", 1),
    ("fq", "brand:"), ("spellcheck", {"other": 1}), ("enable_semantic_search", "yes"),
]  # fmt: skip


def test_a_wrong_value_is_refused_by_name(caller: Caller) -> None:
    for field, value in WRONG:
        assert field in caller.refused(q="mug", **{field: value})


# whatever is typed ------------------------------------------------------------------------------

HOSTILE = [
    "' or 1=1 --", "%", "_", "\\", "' | ! & ( ) <-> :* <3> 'a':1A", "a & !b", "'", '"', "\0",
    "\ud800", "\u202ered", "🎂🎉", "日本語", "한국어 검색", "שלום", "مرحبا", "e\u0301\u0301\u0301",
    "\u0301", "İı", "ﷺ" * 300, "ß" * 900, "a " * 499, "1e400", "$1", "{filter}", "%(site_id)s",
    "\n\t\r", "\u3000x", "x" * LONGEST_QUERY, "☃", "\ufffd", "a\u0000b", "ａ",
    "👩‍👩‍👧‍👦", "\x7f\x1b[31m",
]  # fmt: skip


def test_hostile_texts_are_answered(caller: Caller) -> None:
    for q in HOSTILE:
        record = {"product_id": "p9", "title": q, "description": q, "tags": [q], "language": q[:2]}
        stored = caller.post("products", {"data": [record]}, key=caller.shop.secret_key)
        assert stored.status_code in (200, 422), stored.text
        for semantic in (False, True):
            answer = caller.post("search/search", {"q": q, "enable_semantic_search": semantic})
            assert answer.status_code == (200 if q.strip() else 422), answer.text


texts = st.text(max_size=80) | st.lists(
    st.sampled_from(["red", "mug", " ", "'", ":*", "&", "|", "!", "(", ")", "<->", "\\", "%", "*",
                     "\u0301", "日", "本", "🎂", "12/", "A", "de", "l'", "\0"])
).map("".join)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(q=texts, language=st.sampled_from([None, "de", "SV", "ja", ""]))
def test_no_text_is_a_server_error(caller: Caller, q: str, language: str | None) -> None:
    answer = caller.post("search/search", {"q": q, "language": language})
    assert answer.status_code == (200 if q.strip() else 422), answer.text


# mget -------------------------------------------------------------------------------------------


def test_products_come_in_the_order_of_their_ids(caller: Caller) -> None:
    asked = {"product_ids": ["red mug", "never", "gone", "red mug"]}
    products = caller.post("search/mget", asked).json["data"]["products"]  # type: ignore[index]
    assert [(one["product_id"], one["_found"]) for one in products] == [
        ("red mug", True), ("never", False), ("gone", True), ("red mug", True),
    ]  # fmt: skip
    assert products[0]["brand"] == "red"
    assert set(products[1]) == {"product_id", "_found"}


def test_mget_gives_the_fields_asked_for(caller: Caller) -> None:
    asked = {"product_ids": ["red mug"], "fl": ["title"]}
    [product] = caller.post("search/mget", asked).json["data"]["products"]  # type: ignore[index]
    assert product == {"product_id": "red mug", "title": "red mug", "_found": True}


def test_mget_needs_a_list_of_ids(caller: Caller) -> None:
    for ids in (None, "red mug", [None], [""], ["x"] * 1001):
        assert caller.post("search/mget", {"product_ids": ids}).status_code == 422


def test_mget_of_nothing_is_empty(caller: Caller) -> None:
    answer: Any = caller.post("search/mget", {"product_ids": []}).json
    assert answer["data"]["products"] == []
