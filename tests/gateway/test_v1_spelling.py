"""Misspelt searches through the real application."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import instant
from ranking.catalog import embeddings, suggestions
from tests.builders import one
from tests.conftest import Shop
from tests.ranking.market import Words

TITLES = ("White denim jeans", "Blue denim jacket", "Robin Hood", "Keyboard", "Mug")


class Caller:
    """Searches as a page does."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def search(self, q: str, **body: Any) -> Any:
        answer = self.client.post(
            "/v1/search/search",
            query_string={"api_key": self.shop.publishable_key},
            data=json.dumps({"q": q, **body}),
        )
        assert answer.status_code == 200 and answer.json, answer.text
        return answer.json["data"]

    def upload(self, *titles: str) -> None:
        records = [{"product_id": f"id {title}", "title": title} for title in titles]
        headers = {"X-API-KEY": self.shop.secret_key}
        sent = self.client.post("/v1/products", json={"data": records}, headers=headers)
        assert sent.status_code == 200, sent.text


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    made = Caller(client, shop)
    made.upload(*TITLES)
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
        suggestions.refresh(connection, shop.site.site_id, instant.now())
    return made


def found(data: Any) -> list[str]:
    return [product["product_id"].removeprefix("id ") for product in data["products"]]


def test_a_search_is_for_the_corrected_query(caller: Caller) -> None:
    data = caller.search("whte denem jeans")
    assert found(data) == ["White denim jeans"]
    assert data["spellcheck"] == {
        "spelling_errors": True,
        "auto_spelling_correction": True,
        "original_query": "whte denem jeans",
        "original_query_with_markups": "<mark>whte</mark> <mark>denem</mark> jeans",
        "corrected_query": "white denim jeans",
        "corrected_query_with_markups": "<mark>white</mark> <mark>denim</mark> jeans",
    }


def test_a_correction_that_is_not_wanted_is_only_told(caller: Caller) -> None:
    data = caller.search("whte denim", spellcheck={"enable_auto_spelling_correction": False})
    assert found(data) == [] and data["total"] == 0
    told = data["spellcheck"]
    assert (told["spelling_errors"], told["auto_spelling_correction"]) == (True, False)
    assert told["corrected_query"] == "white denim"


def test_what_is_missing_is_told_as_it_was_typed(caller: Caller) -> None:
    def missing(q: str) -> dict[str, list[str]]:
        products = caller.search(q, enable_partial_match=True, rows=20)["products"]
        return {
            one["product_id"].removeprefix("id "): one.get("_missing_keywords", [])
            for one in products
        }

    told = missing("Whte  denem JAKET 5")
    assert told["White denim jeans"] == ["JAKET", "5"]
    assert told["Blue denim jacket"] == ["Whte", "5"]
    assert missing("key board denim")["Blue denim jacket"] == ["key board"]
    assert missing("robinhood denim")["Blue denim jacket"] == ["robinhood"]


def test_an_explanation_names_words_as_they_were_typed(caller: Caller) -> None:
    [product] = caller.search("whte jeans", explain=True)["products"]
    assert product["_explanation"]["matched"]["title"] == ["whte", "jeans"]


def test_spaces_are_mended_both_ways(caller: Caller) -> None:
    assert found(caller.search("robinhood")) == ["Robin Hood"]
    assert found(caller.search("key board")) == ["Keyboard"]


@pytest.mark.parametrize("query", ["*", "denim", "JEAN", "id mug", "zzzzzz", "42", "mu"])
def test_what_is_no_error_comes_back_as_it_was(caller: Caller, query: str) -> None:
    told = caller.search(query)["spellcheck"]
    assert not told["spelling_errors"] and not told["auto_spelling_correction"]
    assert {value for value in told.values() if isinstance(value, str)} == {query}


NOT_SOLD = (
    "vegan", "vegans", "cooker", "toaster", "hoodie", "duvets", "earbuds", "pyjamas", "colour",
    "slicer", "bouquet", "fiancé", "nappies", "vacuuming",
)  # fmt: skip
SOLD = (
    "Las Vegas poster", "Velvet choker", "Coaster", "Hoodia cream", "Divot tool", "Earbud case",
    "Pyjama bag", "Color wheel", "Sliver ring", "Banquet chair", "Finance book", "Nappier",
)  # fmt: skip


@pytest.mark.parametrize("query", NOT_SOLD)
def test_a_good_word_that_the_shop_does_not_sell_is_no_misspelling(
    caller: Caller, query: str
) -> None:
    caller.upload(*SOLD)
    with caller.shop.pool.connection() as connection:
        suggestions.refresh(connection, caller.shop.site.site_id, instant.now(), everything=True)
    for asked in (query, query.upper()):
        told = caller.search(asked)["spellcheck"]
        assert (told["spelling_errors"], told["corrected_query"]) == (False, asked)


@pytest.mark.parametrize(
    ("query", "meant"),
    [("vegsa", "vegas"), ("chokre", "choker"), ("caoster", "coaster"), ("sliverr", "sliver"),
     ("velevt", "velvet"), ("postar", "poster"), ("banqet", "banquet"), ("whele", "wheel")],
)  # fmt: skip
def test_what_is_no_word_is_still_corrected(caller: Caller, query: str, meant: str) -> None:
    caller.upload(*SOLD)
    with caller.shop.pool.connection() as connection:
        suggestions.refresh(connection, caller.shop.site.site_id, instant.now(), everything=True)
    told = caller.search(query)["spellcheck"]
    assert (told["spelling_errors"], told["corrected_query"]) == (True, meant)


def test_a_word_that_was_uploaded_a_moment_ago_is_right(caller: Caller) -> None:
    assert caller.search("jackot")["spellcheck"]["corrected_query"] == "jacket"
    caller.upload("Jackot")
    assert found(caller.search("jackot")) == ["Jackot"]


def test_another_sites_words_correct_nothing(
    caller: Caller, client: FlaskClient, shop: Shop
) -> None:
    with shop.pool.connection() as connection:
        connection.execute("update vocabulary set site_id = site_id + 1")
    assert not caller.search("whte")["spellcheck"]["spelling_errors"]
    assert one(shop.pool, "select count(*) from vocabulary where word = 'white'") == 1


def test_marked_queries_are_html_and_hold_no_other_tags(caller: Caller) -> None:
    tag = "<img src=x>"
    told = caller.search(f"{tag} denmi")["spellcheck"]
    assert told["spelling_errors"]
    for name in ("original", "corrected"):
        assert tag in told[f"{name}_query"]
        assert tag not in told[f"{name}_query_with_markups"]
        assert "&lt;img src=x&gt;" in told[f"{name}_query_with_markups"]
