"""Completions of what is typed, through the real application."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import instant
from ranking.catalog import embeddings, popularity, searched, suggestions
from tests.builders import ago, one
from tests.conftest import Shop
from tests.ranking.market import Words

PRODUCTS: list[dict[str, Any]] = [
    {"product_id": "m1", "title": "Robin Hood: Prince of Thieves (1991)", "brand": "Warner",
     "custom_attributes": {"director": "Kevin Reynolds"}, "tags": ["classic", "archery"]},
    {"product_id": "m2", "title": "Fight Club", "brand": "Fox", "tags": ["classic"],
     "custom_attributes": {"director": "David Fincher"}},
    {"product_id": "m3", "title": "Fighting fish", "brand": "Fox", "type": "toy",
     "custom_attributes": {"director": "Robert Z. Leonard"}},
    {"product_id": "m4", "title": "The Hood", "brand": "Warner", "sale_price": 5},
    {"product_id": "m5", "title": "Café Münster", "language": "de", "brand": "Kaffee & Söhne"},
    {"product_id": "m6", "title": "Fight night", "availability": "OUT_OF_STOCK"},
    {"product_id": "m7", "title": "Men's hood", "product_group_id": "hood"},
    {"product_id": "m8", "title": "Women's hood", "product_group_id": "hood"},
]  # fmt: skip


class Caller:
    """Types as a visitor does."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def post(self, path: str, key: str | None = None, **body: Any) -> Any:
        return self.client.post(
            f"/v1/{path}",
            query_string={"api_key": key or self.shop.publishable_key},
            data=json.dumps(body),
        )

    def send(self, path: str, *records: dict[str, Any]) -> None:
        answer = self.post(path, key=self.shop.secret_key, data=list(records))
        assert answer.status_code == 200, answer.text

    def completions(self, q: str, field: str = "title", **body: Any) -> list[dict[str, Any]]:
        asked = {"q": q, "completion_fields": [field], "rows": 10} | body
        answer = self.post("search/autocomplete", **asked)
        assert answer.status_code == 200, answer.text
        found = answer.json["data"]["completions"]
        assert list(found) == [field]
        return found[field]  # type: ignore[no-any-return]

    def texts(self, q: str, field: str = "title", **body: Any) -> list[str]:
        return [one["text"] for one in self.completions(q, field, **body)]

    def prepare(self) -> None:
        """What the roles do."""
        with self.shop.pool.connection() as connection:
            site_id = self.shop.site.site_id
            embeddings.drain(connection, site_id, Words())
            popularity.refresh(connection, site_id, instant.now())
            suggestions.refresh(connection, site_id, instant.now(), everything=True)
            searched.refresh(connection, site_id, instant.now())


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    made = Caller(client, shop)
    made.send("products", *PRODUCTS)
    made.prepare()
    return made


def test_titles_come_with_their_product_in_misos_shape(caller: Caller) -> None:
    answer = caller.post("search/autocomplete", q="r", fl=["brand"])
    assert answer.status_code == 200
    data = answer.json["data"]
    assert set(data) == {"took", "miso_id", "completions"}
    assert data["completions"] == {
        "title": [
            {
                "text": "Robin Hood: Prince of Thieves (1991)",
                "text_with_markups": "R<mark>obin Hood: Prince of Thieves (1991)</mark>",
                "text_with_inverted_markups": "<mark>R</mark>obin Hood: Prince of Thieves (1991)",
                "product": {"product_id": "m1", "brand": "Warner", "_boosted": False},
            }
        ]
    }
    kept = one(caller.shop.pool, "select endpoint from answers where miso_id = %s", data["miso_id"])
    assert kept == "search/autocomplete"


@pytest.mark.parametrize(
    ("q", "rest"),
    [
        ("fight c", "Fight c<mark>lub</mark>"),
        ("FIGHT  CLUB", "Fight Club"),
        ("clu", "<mark>Fight </mark>Clu<mark>b</mark>"),
        ("club fi", "Fi<mark>ght </mark>Club"),
        ("cafe mu", "Café Mü<mark>nster</mark>"),
        ("mens", "Men's<mark> hood</mark>"),
        ("hood prince", "<mark>Robin </mark>Hood: Prince<mark> of Thieves (1991)</mark>"),
        ("robanhood", "Rob<mark>in Hood: Prince of Thieves (1991)</mark>"),
        ("robinhood", "Robin<mark> Hood: Prince of Thieves (1991)</mark>"),
        ("robni", "Rob<mark>in Hood: Prince of Thieves (1991)</mark>"),
        ("figth clib", "Fig<mark>ht Club</mark>"),
        ("thieevs", "<mark>Robin Hood: Prince of </mark>Thie<mark>ves (1991)</mark>"),
    ],
)
def test_what_is_not_typed_yet_is_marked(caller: Caller, q: str, rest: str) -> None:
    found = caller.completions(q)[0]
    assert found["text_with_markups"].lower() == rest.lower()
    for name in ("text_with_markups", "text_with_inverted_markups"):
        assert found[name].replace("<mark>", "").replace("</mark>", "") == found["text"]


def test_a_space_finishes_the_word(caller: Caller) -> None:
    assert set(caller.texts("fight")) == {"Fight Club", "Fighting fish"}
    assert caller.texts("fight ") == ["Fight Club"]
    assert caller.texts("fight C") == ["Fight Club"]


def test_nothing_typed_gives_what_is_popular(caller: Caller) -> None:
    caller.send(
        "interactions",
        *({"type": "checkout", "anonymous_id": f"v{n}", "product_ids": ["m4"], "revenue": 1,
           "timestamp": ago(hours=n)} for n in range(1, 9)),
    )  # fmt: skip
    caller.prepare()
    found = caller.completions("")
    assert found[0]["text"] == "The Hood"
    assert found[0]["text_with_markups"] == "<mark>The Hood</mark>"
    assert found[0]["text_with_inverted_markups"] == "The Hood"
    assert caller.texts("hood")[0] == "The Hood"


def test_several_fields_each_have_their_completions(caller: Caller) -> None:
    fields = ["title", "brand", "custom_attributes.director", "tags"]
    answer = caller.post("search/autocomplete", q="f", completion_fields=fields)
    found = answer.json["data"]["completions"]
    assert list(found) == fields
    assert [one["text"] for one in found["brand"]] == ["Fox"]
    assert "product" not in found["brand"][0]
    assert [one["text"] for one in found["custom_attributes.director"]] == ["David Fincher"]
    assert found["tags"] == []
    assert caller.texts("rob", "custom_attributes.director") == ["Robert Z. Leonard"]
    assert caller.texts("cl", "tags") == ["classic"]


def test_what_may_not_be_in_a_list_completes_nothing(caller: Caller) -> None:
    assert caller.texts("fight night ") == []
    assert caller.texts("hood", fq="sale_price:5") == ["The Hood"]
    assert caller.texts("fi", type="toy") == ["Fighting fish"]
    assert caller.texts("fo", "brand", fq='tags:"archery"') == []
    assert caller.texts("w", "brand", fq="sale_price:5") == ["Warner"]
    assert caller.texts("cafe", language="en") == []
    assert caller.texts("cafe", language="de") == ["Café Münster"]
    assert caller.texts("fight c", exclude=["m2"]) == []
    assert len(caller.texts("", rows=2)) == 2
    assert caller.texts("", rows=0) == []


def test_one_variant_of_a_group_completes_unless_all_are_asked_for(caller: Caller) -> None:
    assert len(caller.texts("wom")) == 1
    both = {"Men's hood", "Women's hood"}
    assert len(both & set(caller.texts("hood"))) == 1
    assert both <= set(caller.texts("hood", dedupe_product_group_id=False))


def test_a_text_that_products_share_comes_once(caller: Caller) -> None:
    caller.send(
        "products",
        {"product_id": "x1", "title": "Golden harp", "availability": "OUT_OF_STOCK"},
        {"product_id": "x2", "title": "golden HARP", "sale_price": 1},
        {"product_id": "x3", "title": "golden HARP", "sale_price": 2},
    )
    caller.prepare()
    assert caller.texts("golden") == ["golden HARP"]
    for price, product in ((1, "x2"), (2, "x3")):
        [found] = caller.completions("golden", fq=f"sale_price:{price}")
        assert found["product"]["product_id"] == product


def test_a_product_that_sells_out_completes_nothing_any_more(caller: Caller) -> None:
    assert caller.texts("fight c") == ["Fight Club"]
    caller.send("products", PRODUCTS[1] | {"availability": "OUT_OF_STOCK"})
    assert caller.texts("fight c") == []


def test_a_click_moves_completions_from_the_first_letter(caller: Caller) -> None:
    for liked, first in (("m2", "Fight Club"), ("m3", "Fighting fish")):
        caller.send("interactions", {"type": "like", "anonymous_id": liked, "product_ids": [liked]})
        assert caller.texts("f", anonymous_id=liked)[0] == first
        told = [{"type": "like", "product_ids": [liked]}]
        assert caller.texts("f", additional_interactions=told)[0] == first


def test_boosts_lift_titles(caller: Caller) -> None:
    plain = caller.texts("h")
    last = caller.completions("h")[-1]["product"]["product_id"]
    boosted = caller.completions("h", boost_fq=f'product_id:"{last}"', boost_rule_name="b")
    assert boosted[0]["product"] == {
        "product_id": last, "_boosted": True, "_boosted_rules": ["b"]
    }  # fmt: skip
    assert {one["text"] for one in boosted} == set(plain)
    placed = caller.completions("h", boost_fq=f'product_id:"{last}"', boost_positions=[1])
    assert [one["product"]["_boosted"] for one in placed][:2] == [False, True]


def test_queries_of_enough_visitors_complete(caller: Caller) -> None:
    def search(visitors: int, text: str) -> None:
        caller.send(
            "interactions",
            *({"type": "search", "anonymous_id": f"s{n}", "search": {"keywords": text}}
              for n in range(visitors)),
        )  # fmt: skip

    search(6, "Robin hood movie")
    search(5, "robin hood dvd")
    search(4, "robin hood book")
    search(9, "robin@example.org")
    search(9, "robin +49 170 1234567")
    caller.prepare()
    found = caller.completions("rob", "historical_queries")
    assert [one["text"] for one in found] == ["Robin hood movie", "robin hood dvd"]
    assert found[1]["text_with_markups"] == "rob<mark>in hood dvd</mark>"
    assert all("product" not in one for one in found)
    few = {"q": "rob", "completion_fields": ["historical_queries"], "min_query_users": 4}
    for key, count in ((caller.shop.secret_key, 3), (caller.shop.publishable_key, 2)):
        answer = caller.post("search/autocomplete", key=key, **few)
        assert len(answer.json["data"]["completions"]["historical_queries"]) == count
        assert answer.json["data"]["min_query_users"] == (4 if count == 3 else 5)
    assert caller.texts("robni", "historical_queries")[:1] == ["Robin hood movie"]
    with caller.shop.pool.connection() as connection:
        connection.execute("delete from events where data::text like '%%dvd%%'")
    caller.prepare()
    assert caller.texts("rob", "historical_queries") == ["Robin hood movie"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/q"),
        ({"q": "x", "completion_fields": ["description"]}, "/completion_fields/0"),
        ({"q": "x", "completion_fields": ["custom_attributes."]}, "/completion_fields/0"),
        ({"q": "x", "min_query_users": 0}, "/min_query_users"),
        ({"q": "x", "rows": -1}, "/rows"),
        ({"q": "x", "boosting_tags": ["a"]}, "/boosting_tags"),
        ({"q": "x", "fq": "brand:("}, "/fq"),
        ({"q": "x", "candidates": ["title"]}, "/candidates"),
        ({"q": "x" * 201}, "/q"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_kept_is_refused_where_it_stands(
    caller: Caller, body: dict[str, Any], pointer: str
) -> None:
    answer = caller.post("search/autocomplete", **body)
    assert answer.status_code == 422
    assert pointer in [problem["pointer"] for problem in answer.json["problems"]]


def test_another_sites_texts_complete_nothing(caller: Caller, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        connection.execute("update completions set site_id = site_id + 1")
    assert caller.texts("rob") == [] and caller.texts("") == []


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(q=st.text("robin hodfglub'é( 1ß\u0301<>&绿茶", max_size=12))
def test_whatever_is_typed_marks_lose_nothing(caller: Caller, q: str) -> None:
    for field in ("title", "brand"):
        for found in caller.completions(q, field):
            for name in ("text_with_markups", "text_with_inverted_markups"):
                assert found[name]
                shown = found[name].replace("<mark>", "").replace("</mark>", "")
                assert html.unescape(shown) == found["text"]
