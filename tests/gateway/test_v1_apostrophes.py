"""Words with apostrophes in them, found however they are typed, through the real application."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import instant
from ranking.catalog import suggestions
from ranking.catalog.words import APOSTROPHES
from tests.conftest import Shop
from tests.gateway.test_v1_finding import marks
from tests.gateway.test_v1_search import Caller

TITLES = (
    "L'Oréal Paris shampoo", "Loreal mask", "O\u2019Neill wetsuit", "Rock'n'Roll boots",
    "Rock n Roll poster", "Men's wallet", "Huile d'olive", "L\u2019Atelier dell\u2019Acqua",
    "Oreal", "Neil scarf",
)  # fmt: skip
LOREAL, ROCK = {TITLES[0], TITLES[1]}, {TITLES[3], TITLES[4]}
FOUND: dict[str, set[str]] = {
    "loreal": LOREAL,
    "LOréal": LOREAL,
    "l'oreal": LOREAL,
    "L\u2019Oréal": LOREAL,
    "l\u00b4oreal": LOREAL,
    "L`Oréal": LOREAL,
    "l oreal": {TITLES[0]},
    "oreal": {TITLES[0], TITLES[8]},
    "loreal paris": {TITLES[0]},
    '"l\'oreal paris"': {TITLES[0]},
    '"loreal paris"': {TITLES[0]},
    '"oreal paris shampoo"': {TITLES[0]},
    '"paris loreal"': set(),
    "oneill": {TITLES[2]},
    "O'Neill": {TITLES[2]},
    "O\u02bcNeill": {TITLES[2]},
    "neill": {TITLES[2]},
    "o neill": {TITLES[2]},
    "rock'n'roll": ROCK,
    "rock\u2019n\u2019roll": ROCK,
    "rock 'n' roll": ROCK,
    "rock n roll": ROCK,
    "rocknroll": {TITLES[3]},
    "\"rock'n'roll poster\"": {TITLES[4]},
    "rock": ROCK,
    "mens wallet": {TITLES[5]},
    "men's wallet": {TITLES[5]},
    "men\u2018s wallet": {TITLES[5]},
    "dolive": {TITLES[6]},
    "olive": {TITLES[6]},
    "huile d olive": {TITLES[6]},
    "acqua": {TITLES[7]},
    "dellacqua": {TITLES[7]},
    "latelier": {TITLES[7]},
}


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    made = Caller(client, shop)
    records = [{"product_id": title.replace(",", ""), "title": title} for title in TITLES]
    sent = made.post("products", {"data": records}, key=shop.secret_key)
    assert sent.status_code == 200, sent.text
    with shop.pool.connection() as connection:
        suggestions.refresh(connection, shop.site.site_id, instant.now())
    return made


@pytest.mark.parametrize("query", FOUND, ids=[f"query-{n}" for n in range(len(FOUND))])
def test_a_word_is_found_with_or_without_its_apostrophe(caller: Caller, query: str) -> None:
    data = caller.search(q=query, rows=50)
    assert {one["product_id"] for one in data["products"]} == FOUND[query]
    assert not data["spellcheck"]["spelling_errors"]


def test_a_title_is_the_text_with_or_without(caller: Caller) -> None:
    for query in ("oneill wetsuit", "o'neill wetsuit", "O\u2019NEILL Wetsuit"):
        [first] = caller.search(q=query)["products"]
        assert first["_search_score"] >= 0.7


def test_what_is_missing_is_told_as_it_was_typed(caller: Caller) -> None:
    asked = {"q": "L\u2019Oréal d'argan", "enable_partial_match": True}
    products = caller.search(**asked)["products"]
    assert {one["product_id"]: one["_missing_keywords"] for one in products} == {
        TITLES[0]: ["d'argan"], TITLES[1]: ["d'argan"],
    }  # fmt: skip


MARKED = {
    "loreal": "<mark>L&#x27;Oréal</mark> Paris shampoo",
    "l'oreal paris": "<mark>L&#x27;Oréal</mark> <mark>Paris</mark> shampoo",
    "oreal": "<mark>L&#x27;Oréal</mark> Paris shampoo",
    '"loreal paris"': "<mark>L&#x27;Oréal Paris</mark> shampoo",
}


@pytest.mark.parametrize("query", MARKED, ids=["one", "two", "part", "phrase"])
def test_the_whole_word_is_marked(caller: Caller, query: str) -> None:
    assert marks(caller, TITLES[0], q=query, highlight=["title"]) == {"title": MARKED[query]}


def test_words_written_apart_are_marked_as_one(caller: Caller) -> None:
    shown = marks(caller, TITLES[4], q="rock'n'roll", highlight=["title"])
    assert shown == {"title": "<mark>Rock n Roll</mark> poster"}


@pytest.mark.parametrize(
    ("query", "meant"),
    [("loreol", "l'oréal"), ("l'oreol", "l'oréal"), ("onaill", "o\u2019neill"),
     ("rocknrlol", "rock'n'roll"), ("olvie", "olive")],
    ids=["joined", "apart", "irish", "three", "piece"],
)  # fmt: skip
def test_a_misspelt_one_is_corrected(caller: Caller, query: str, meant: str) -> None:
    data = caller.search(q=query)
    assert data["spellcheck"]["corrected_query"].lower() == meant
    assert data["products"]


COMPLETED = {
    "lor": LOREAL,
    "l'or": LOREAL,
    "l\u2019oréal pa": {TITLES[0]},
    "oréal": {TITLES[0], TITLES[8]},
    "l": {TITLES[0], TITLES[1], TITLES[7]},
    "l'": {TITLES[0], TITLES[1], TITLES[7]},
    "oneill ": {TITLES[2]},
    "o'n": {TITLES[2]},
    "rock'n'r": {TITLES[3]},
    "rock n r": ROCK,
    "rockn": {TITLES[3]},
    "men's": {TITLES[5]},
    "d'ol": {TITLES[6]},
}


@pytest.mark.parametrize("q", COMPLETED, ids=[f"typed-{n}" for n in range(len(COMPLETED))])
def test_what_is_typed_is_completed_with_or_without(caller: Caller, q: str) -> None:
    answer = caller.post("search/autocomplete", {"q": q, "rows": 20})
    assert answer.status_code == 200 and answer.json, answer.text
    found = answer.json["data"]["completions"]["title"]
    assert {one["text"] for one in found} == COMPLETED[q]
    assert all("<mark>" in one["text_with_inverted_markups"] for one in found)


def test_the_typed_part_is_marked_in_the_text(caller: Caller) -> None:
    def typed(q: str) -> list[str]:
        answer = caller.post("search/autocomplete", {"q": q, "rows": 1})
        assert answer.json
        found = answer.json["data"]["completions"]["title"]
        return [one["text_with_inverted_markups"] for one in found]

    assert typed("loréal p") == ["<mark>L'Oréal P</mark>aris shampoo"]
    assert typed("oreal par") == ["L'<mark>Oréal Par</mark>is shampoo"]
    assert typed("o'ne") == ["<mark>O\u2019Ne</mark>ill wetsuit"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    title=st.sampled_from([one for one in TITLES if any(c in one for c in APOSTROPHES)]),
    kind=st.sampled_from([*APOSTROPHES, ""]),
    upper=st.booleans(),
)
def test_any_apostrophe_or_none_finds_the_title(
    caller: Caller, title: str, kind: str, upper: bool
) -> None:
    typed = "".join(kind if one in APOSTROPHES else one for one in title)
    found: list[dict[str, Any]] = caller.search(q=typed.upper() if upper else typed)["products"]
    assert title in {one["product_id"] for one in found}
