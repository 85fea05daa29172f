"""What a search can be asked for beside a text, through the real application."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import embeddings, queries, wanted
from ranking.strategies.searching import highlights
from tests.conftest import Shop
from tests.gateway.test_v1_search import Caller
from tests.ranking.market import Words

ROOT = Path(__file__).parent.parent.parent
PRODUCTS: list[dict[str, Any]] = [
    {"product_id": "red mug", "categories": [["Kitchen", "Mugs"], ["Gifts"]], "brand": "Acme"},
    {"product_id": "blue mug", "categories": [["Kitchen", "Mugs", "Blue"]], "brand": "Blau",
     "description": "A mug for tea & coffee. <b>Dishwasher</b> safe."},
    {"product_id": "mug red", "categories": [["Mugs"]], "description": "Turned around"},
    {"product_id": "green hat", "categories": [["Clothes", "Hats"]], "subtitle": "of felt",
     "short_description": "wool inside", "paragraphs": ["Worn in winter."], "headers": ["Care"],
     "anchors": ["Sizes"]},
    {"product_id": "taza roja", "language": "es", "description": "red mug"},
    {"product_id": "red gone", "availability": "OUT_OF_STOCK"},
]  # fmt: skip
ALL = {one["product_id"] for one in PRODUCTS}


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    """A shop of a few products, all encoded."""
    records = [{"title": one["product_id"]} | one for one in PRODUCTS]
    return stocked(Caller(client, shop), records)


def stocked(caller: Caller, records: list[dict[str, Any]]) -> Caller:
    sent = caller.post("products", {"data": records}, key=caller.shop.secret_key)
    assert sent.status_code == 200, sent.text
    with caller.shop.pool.connection() as connection:
        embeddings.drain(connection, caller.shop.site.site_id, Words())
    return caller


def encoded(caller: Caller, *texts: str) -> None:
    """These texts have been searched for before."""
    with caller.shop.pool.connection() as connection:
        queries.vectors(connection, caller.shop.site.site_id, texts, encodes=Words())


def found(caller: Caller, **body: Any) -> set[str]:
    return set(caller.ids(**{"rows": 50} | body))


# conditions -------------------------------------------------------------------------------------


def test_a_category_is_its_path_and_all_below(caller: Caller) -> None:
    assert found(caller, q="*", category=["Kitchen"]) == {"red mug", "blue mug"}
    assert found(caller, q="*", category=["Kitchen", "Mugs", "Blue"]) == {"blue mug"}
    assert found(caller, q="*", category=["Mugs"]) == {"mug red"}
    assert found(caller, q="red", category=["Kitchen"]) == {"red mug"}
    assert found(caller, q="*", category=["Gifts", "Mugs"]) == set()
    assert found(caller, q="*", category=["Kitchen"], fq="brand:Blau") == {"blue mug"}
    assert found(caller, q="*", category=[]) == ALL


def test_the_fields_left_out_are_not_searched(caller: Caller) -> None:
    fields = {
        "title": "plum", "subtitle": "linen", "description": "oak", "short_description": "silk",
    }  # fmt: skip
    lists = {"paragraphs": "autumn", "headers": "upkeep", "anchors": "fitting"}
    told = {name: f"the {word}" for name, word in fields.items()}
    told |= {name: ["first", f"the {word}"] for name, word in lists.items()}  # type: ignore[misc]
    stocked(caller, [{"product_id": "p1", "brand": "Pruno"} | told])
    for field, word in (fields | lists).items():
        assert found(caller, q=word) == {"p1"}
        assert found(caller, q=f'"the {word}"') == {"p1"}
        assert found(caller, q=word, exclude_fields_from_search=[field]) == set()
        others = [name for name in told if name != field]
        assert found(caller, q=word, exclude_fields_from_search=others) == {"p1"}
        assert found(caller, q=f"pruno {word}", exclude_fields_from_search=others) == {"p1"}
    assert found(caller, q="pruno", exclude_fields_from_search=list(told)) == {"p1"}


def test_a_changed_paragraph_is_found_at_once(caller: Caller) -> None:
    stocked(caller, [{"product_id": "green hat", "title": "green hat", "paragraphs": ["Knitted"]}])
    assert found(caller, q="knitted") == {"green hat"}
    assert found(caller, q="winter") == set()


def test_products_in_the_language_stand_first(caller: Caller) -> None:
    assert caller.ids(q="red mug")[-1] == "taza roja"
    assert caller.ids(q="red mug", language="es")[0] == "taza roja"
    assert caller.ids(q="red mug", language="en")[-1] == "taza roja"
    assert found(caller, q="red mug", language="es") == {"red mug", "mug red", "taza roja"}


def test_a_language_is_named_by_its_code_in_any_case(caller: Caller) -> None:
    for code in ("es", "ES", "es-MX", "es_419"):
        assert caller.ids(q="red mug", language=code)[0] == "taza roja"
    for wrong in ("spanish", "german", "e", "xx", "e1", "eses"):
        answer = caller.post("search/search", {"q": "mug", "language": wrong})
        assert answer.status_code == 422 and answer.json
        [told] = answer.json["detail"]
        assert told["loc"] == ["body", "language"] and " de, " in told["msg"]
    assert found(caller, q="mug", language=" ") == found(caller, q="mug", language="")


def test_what_is_included_is_found_whatever_the_text_is(caller: Caller) -> None:
    data = caller.search(q="red mug", include=["green hat", "never", "red mug"], rows=50)
    assert data["total"] == len(data["products"]) == 4
    assert data["products"][-1]["product_id"] == "green hat"
    assert data["products"][-1]["_missing_keywords"] == ["red", "mug"]
    assert caller.ids(q="nothing such", include=["green hat"]) == ["green hat"]
    assert caller.search(q="red mug", include=["green hat"], rows=1)["total"] == 4
    assert found(caller, q="mug", include=["green hat"], fq="brand:Acme") == {"red mug"}
    assert "green hat" not in found(caller, q="mug", include=["green hat"], category=["Kitchen"])
    assert "green hat" not in found(caller, q="mug", include=["green hat"], exclude=["green hat"])


def test_products_like_a_text_come_first(caller: Caller) -> None:
    encoded(caller, "hat green", "blue thing", "mug")
    assert caller.ids(q="*", like="hat green")[0] == "green hat"
    assert found(caller, q="*", like="hat green") == ALL
    assert caller.ids(q="mug", like="blue thing")[0] == "blue mug"
    assert found(caller, q="mug", like="blue thing") == found(caller, q="mug")
    pages = [caller.ids(q="*", like="blue thing", rows=2, start=at) for at in (0, 2, 4)]
    assert [one for page in pages for one in page] == caller.ids(q="*", like="blue thing", rows=50)


def test_whether_products_are_found_does_not_depend_on_the_page(caller: Caller) -> None:
    asked = {"product_ids": ["red mug", "blue mug", "green hat", "red gone", "never"]}
    for page in ({"rows": 0}, {"rows": 1, "start": 3}, {}):
        data = caller.search(q="mug", query_product_existence=asked, **page)
        assert data["product_existence"] == {
            "red mug": True, "blue mug": True, "green hat": False, "red gone": False,
            "never": False,
        }  # fmt: skip
    everything = caller.search(q="*", query_product_existence=asked, exclude=["red mug"])
    assert everything["product_existence"] == dict.fromkeys(asked["product_ids"], True) | {
        "never": False, "red mug": False,
    }  # fmt: skip
    filtered = caller.search(q="mug", fq="brand:Acme", query_product_existence=asked)
    assert [one for one, there in filtered["product_existence"].items() if there] == ["red mug"]
    assert caller.search(q="mug")["product_existence"] == {}


def test_whether_something_stands_in_for_words_counts(caller: Caller) -> None:
    asked = {"product_ids": ["blue mug", "green hat"]}
    body = {"q": "blue nothing", "query_product_existence": asked}
    assert not any(caller.search(**body)["product_existence"].values())
    some = caller.search(**body, enable_partial_match=True)["product_existence"]
    assert some == {"blue mug": True, "green hat": False}
    named = caller.search(**body, include=["green hat"])["product_existence"]
    assert named == {"blue mug": False, "green hat": True}


# some words -------------------------------------------------------------------------------------


def test_some_words_may_do(caller: Caller) -> None:
    assert found(caller, q="Red Mug 5") == set()
    data = caller.search(q="Red Mug 5", enable_partial_match=True, rows=50)
    told = {one["product_id"]: one["_missing_keywords"] for one in data["products"]}
    assert told == {
        "red mug": ["5"], "mug red": ["5"], "taza roja": ["5"], "blue mug": ["Red", "5"],
        "red gone": ["Mug", "5"],
    }  # fmt: skip
    assert data["total"] == 5
    assert {one["product_id"] for one in data["products"][:3]} == {
        "red mug",
        "mug red",
        "taza roja",
    }
    assert data["partially_matched_products"] == []


def test_the_rarer_word_tells_more(caller: Caller) -> None:
    assert caller.ids(q="mug hat", enable_partial_match=True)[0] == "green hat"
    assert found(caller, q="zebra", enable_partial_match=True) == set()
    assert found(caller, q="zebra the of", enable_partial_match=True) == set()


def test_full_matches_stand_before_partial_ones_and_lack_nothing(caller: Caller) -> None:
    products = caller.search(q="blue mug", enable_partial_match=True, rows=50)["products"]
    assert products[0]["product_id"] == "blue mug"
    assert ["_missing_keywords" in one for one in products] == [False, True, True, True]


def test_partial_matches_may_be_listed_apart(caller: Caller) -> None:
    asked = {"q": "blue mug", "enable_partial_match": True, "partial_match_mode": "separated"}
    data = caller.search(**asked, fl=["title"])
    assert [one["product_id"] for one in data["products"]] == ["blue mug"]
    assert data["total"] == 1
    apart = data["partially_matched_products"]
    assert {one["title"] for one in apart} == {"red mug", "mug red", "taza roja"}
    assert all(one["_missing_keywords"] == ["blue"] for one in apart)
    assert len(caller.search(**asked, rows=2)["partially_matched_products"]) == 2


def test_partial_matches_come_only_where_there_are_few_exact_ones(caller: Caller) -> None:
    for mode in ("blended", "separated"):
        asked = {"q": "red mug", "enable_partial_match": True, "partial_match_mode": mode}
        few = caller.search(**asked, enable_partial_match_threshold=3, rows=50)
        many = caller.search(**asked, enable_partial_match_threshold=2, rows=50)
        assert len(few["products"] + few["partially_matched_products"]) == 5
        assert many["partially_matched_products"] == []
        assert len(many["products"]) == many["total"] == 3


def test_meaning_stands_in_in_both_modes(caller: Caller) -> None:
    encoded(caller, "hat nothing")
    asked = {"q": "hat nothing", "enable_semantic_search": True, "semantic_search_threshold": 0.3}
    [near] = caller.search(**asked)["products"]
    assert (near["product_id"], near["_missing_keywords"]) == ("green hat", ["nothing"])
    apart = caller.search(**asked, partial_match_mode="separated")
    assert (apart["products"], apart["total"]) == ([], 0)
    assert [one["product_id"] for one in apart["partially_matched_products"]] == ["green hat"]


def test_a_boost_lifts_no_more_than_what_is_found(caller: Caller) -> None:
    asked = {"q": "red mug", "enable_partial_match": True, "boost_fq": "brand:Blau"}
    assert caller.ids(**asked)[0] == "blue mug"
    assert "blue mug" not in found(caller, **asked, enable_partial_match_threshold=2)


def test_pages_with_partial_matches_follow_each_other(caller: Caller) -> None:
    asked = {"q": "red mug hat", "enable_partial_match": True, "include": ["red gone"]}
    whole = caller.search(**asked, rows=50)
    pages = [caller.search(**asked, rows=2, start=at) for at in (0, 2, 4)]
    ids = [one["product_id"] for page in pages for one in page["products"]]
    assert ids == [one["product_id"] for one in whole["products"]]
    assert {page["total"] for page in pages} == {len(ids)} == {6}


# texts in conditions -----------------------------------------------------------------------------

ADVANCED = {
    'full_text:"red mug"': {"red mug", "taza roja"},
    'full_text:"mug red"': {"mug red"},
    "full_text:(red mug)": {"red mug", "mug red", "taza roja"},
    "full_text:hat": {"green hat"},
    'full_text:"red mug" AND NOT full_text:roja': {"red mug"},
    'full_text:"red mug" OR brand:Blau': {"red mug", "taza roja", "blue mug"},
    "full_text:(blue OR hat)": {"blue mug", "green hat"},
    'full_text:("mug red" OR green) AND categories:*': {"mug red", "green hat"},
    "brand:Acme": {"red mug"},
    "NOT full_text:mug": {"green hat", "red gone"},
    "full_text:(the)": set(),
    'full_text:"!!"': set(),
    "full_text:lanterns OR full_text:mugs": {"red mug", "blue mug", "mug red", "taza roja"},
    "published_at:[2020-01-01 TO *] OR full_text:hat": {"green hat"},
}


@pytest.mark.parametrize("asked", ADVANCED)
def test_texts_and_fields_are_combined(caller: Caller, asked: str) -> None:
    data = caller.search(advanced_q=asked, rows=50)
    assert {one["product_id"] for one in data["products"]} == ADVANCED[asked]
    assert data["total"] == len(ADVANCED[asked])
    assert found(caller, q="*", advanced_q=asked) == ADVANCED[asked]
    assert found(caller, q="mug", advanced_q=asked) == ADVANCED[asked] & found(caller, q="mug")


def test_the_text_of_a_condition_ranks(caller: Caller) -> None:
    assert caller.ids(advanced_q='full_text:"red mug" OR brand:Blau')[0] == "red mug"
    assert caller.ids(advanced_q="full_text:(mug red)")[0] == "mug red"


def test_a_phrase_in_quotes_must_occur_as_it_stands(caller: Caller) -> None:
    assert found(caller, q='"red mug"') == {"red mug", "taza roja"}
    assert found(caller, q="\u201cred mug\u201d") == {"red mug", "taza roja"}
    assert found(caller, q='"mug red" turned') == {"mug red"}
    assert found(caller, q='"red mug') == found(caller, q="red mug")
    assert found(caller, q='"tea coffee"') == {"blue mug"}
    assert found(caller, q='"red mug" red') == {"red mug", "taza roja"}
    stocked(caller, [{"product_id": "p", "title": "日本語の本 x"}])
    assert found(caller, q='"日本語の本 x"') == found(caller, q='"日本 本"') | {"p"} == {"p"}


@pytest.mark.parametrize(
    ("asked", "position"),
    [("full_text:", 10), ("full_text:(a", 12), ("no_such:a", 0), ('full_text:"a', 10)],
    ids=["nothing", "open", "field", "quote"],
)
def test_a_wrong_condition_names_its_place(caller: Caller, asked: str, position: int) -> None:
    answer = caller.post("search/search", {"advanced_q": asked})
    assert answer.status_code == 422
    assert f"at character {position}" in answer.json["message"]  # type: ignore[index]
    assert caller.refused(advanced_q=asked) == ["advanced_q"]


def test_a_filter_asks_for_no_texts(caller: Caller) -> None:
    assert caller.refused(q="mug", fq="full_text:mug") == ["fq"]


# where words occur ------------------------------------------------------------------------------


def test_each_product_says_in_which_fields_words_are(caller: Caller) -> None:
    asked = {"enable_matched_fields": True, "rows": 50}
    told = {
        one["product_id"]: one["_matched_fields"]
        for one in caller.search(q="mug", **asked)["products"]
    }
    assert told == {
        "red mug": ["title", "metadata"], "blue mug": ["title", "description", "metadata"],
        "mug red": ["title", "metadata"], "taza roja": ["description"],
    }  # fmt: skip
    assert caller.search(q="felt", **asked)["products"][0]["_matched_fields"] == ["metadata"]
    assert caller.search(q="wool", **asked)["products"][0]["_matched_fields"] == ["description"]
    assert all(one["_matched_fields"] == [] for one in caller.search(q="*", **asked)["products"])
    assert "_matched_fields" not in caller.search(q="mug")["products"][0]


# marks ------------------------------------------------------------------------------------------


def marks(caller: Caller, product_id: str, **asked: Any) -> dict[str, str]:
    """The marked texts of one of the products found."""
    products = caller.search(**{"highlight": True, "rows": 50} | asked)["products"]
    return next(one["_highlights"] for one in products if one["product_id"] == product_id)


def test_words_are_marked_where_they_occur(caller: Caller) -> None:
    assert marks(caller, "blue mug", q="MUGS") == {
        "title": "blue <mark>mug</mark>", "categories": "Kitchen &gt; <mark>Mugs</mark> &gt; Blue",
        "description": "A <mark>mug</mark> for tea &amp; coffee. Dishwasher safe.",
    }  # fmt: skip
    assert marks(caller, "red mug", q="red mug", highlight=["brand", "title"]) == {
        "title": "<mark>red</mark> <mark>mug</mark>"
    }
    assert marks(caller, "green hat", q="worn", highlight=["paragraphs"]) == {
        "paragraphs": "<mark>Worn</mark> in winter."
    }
    assert marks(caller, "red mug", q="*") == {}
    assert marks(caller, "red mug", advanced_q="full_text:mug", highlight=["title"]) == {
        "title": "red <mark>mug</mark>"
    }
    assert "_highlights" not in caller.search(q="mug", highlight=False)["products"][0]


PHRASES = {
    ("A red mug, and a red hat", '"red mug"'): "A <mark>red mug</mark>, and a red hat",
    ("Red-Mug red", '"red mug" red'): "<mark>Red-Mug</mark> <mark>red</mark>",
    ("Red mugs and hats", '"red mug" hat'): "<mark>Red mugs</mark> and <mark>hats</mark>",
    ("big red mug red mug", '"red mug" "big red"'): "<mark>big red mug</mark> <mark>red mug</mark>",
    ("the mug is red", 'mug "red"'): "the <mark>mug</mark> is <mark>red</mark>",
    ("日本語の本 x", '"本 x"'): "日本語の<mark>本 x</mark>",
}  # fmt: skip


@pytest.mark.parametrize(("title", "q"), PHRASES, ids=[f"text-{n}" for n in range(len(PHRASES))])
def test_a_phrase_is_marked_as_one_where_it_stands(caller: Caller, title: str, q: str) -> None:
    stocked(caller, [{"product_id": "p1", "title": title}])
    assert marks(caller, "p1", q=q, highlight=["title"]) == {"title": PHRASES[title, q]}


def test_a_long_phrase_is_shown_as_far_as_there_is_room(caller: Caller) -> None:
    phrase = " ".join(f"word{number}" for number in range(60))
    text = f"{'lorem ipsum ' * 30}{phrase}{' dolor sit' * 30}"
    stocked(caller, [{"product_id": "p1", "title": "thing", "description": text}])
    shown = marks(caller, "p1", q=f'"{phrase}"')["description"]
    assert shown.count("<mark>") == 1 and "<mark>word0 word1" in shown
    assert len(re.sub("</?mark>", "", shown)) <= 200


MARKED = {
    ("Men's Shoe", "mens shoes"): "<mark>Men&#x27;s</mark> <mark>Shoe</mark>",
    ("Café <Crème>", "creme"): "Café &lt;<mark>Crème</mark>&gt;",
    ("日本語の本", "日本"): "<mark>日本</mark>語の本",
    ("日本語の本", "本"): "日本語の<mark>本</mark>",
    ("<script>alert(1)</script>", "alert"): "&lt;script&gt;<mark>alert</mark>(1)&lt;/script&gt;",
}


@pytest.mark.parametrize(("title", "query"), MARKED, ids=[f"text-{n}" for n in range(len(MARKED))])
def test_a_mark_stands_around_the_text_as_it_was_sent(
    caller: Caller, title: str, query: str
) -> None:
    stocked(caller, [{"product_id": "p1", "title": title}])
    assert marks(caller, "p1", q=query, highlight=["title"]) == {"title": MARKED[title, query]}


def test_of_a_long_text_the_piece_with_most_of_the_words_is_shown(caller: Caller) -> None:
    filling = "lorem ipsum dolor sit amet " * 20
    description = f"{filling} velvet {filling} a velvet cushion of silk {filling}"
    stocked(caller, [{"product_id": "p1", "title": "thing", "description": description}])
    shown = marks(caller, "p1", q="velvet silk")["description"]
    assert "<mark>velvet</mark> cushion of <mark>silk</mark>" in shown
    assert shown.startswith("\u2026") and shown.endswith("\u2026")
    assert len(re.sub("</?mark>", "", shown)) <= 200


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(max_size=400)
    | st.lists(
        st.sampled_from(["red", "<b>", "&", " ", "日本", "'", "x"]), max_size=150
    ).map("".join)
)  # fmt: skip
def test_marks_add_nothing_but_themselves(text: str) -> None:
    [red] = wanted.wanted("red", ["en"])
    record = {"product_id": "p", "title": text}
    shown = highlights.of_record(record, [red], ["title"]).get("title", "")
    bare = html.unescape(re.sub("</?mark>", "", shown)).strip("\u2026").strip()
    assert len(bare) <= 200
    assert shown == "" or bare in text
    assert all("red" in one.lower() for one in re.findall("<mark>(.*?)</mark>", shown))


def test_the_fields_to_mark_are_those_of_products(caller: Caller) -> None:
    assert caller.refused(q="mug", highlight=["no_such"]) == ["highlight"]
    assert caller.refused(q="mug", highlight="title") == ["highlight"]
    assert caller.refused(q="mug", highlight=["title"] * 21) == ["highlight"]


# reasons ----------------------------------------------------------------------------------------


ASKED: list[dict[str, Any]] = [
    {"q": "red mug"}, {"q": "red mug 5", "enable_partial_match": True},
    {"q": "red mug", "language": "es", "like": "blue thing"}, {"q": "*"},
    {"q": "*", "like": "blue thing"}, {"advanced_q": "full_text:mug OR brand:Blau"},
    {"q": "hat nothing", "enable_semantic_search": True, "semantic_search_threshold": 0.1},
    {"q": "blue mug", "enable_partial_match": True, "partial_match_mode": "separated"},
    {"q": "mug", "include": ["green hat"], "personalization_weight": 2, "language": "en"},
]  # fmt: skip
PARTS = {
    "words", "some_words", "language", "meaning", "likeness", "interest", "popularity", "new",
}  # fmt: skip


@pytest.mark.parametrize("asked", ASKED, ids=[f"asked-{n}" for n in range(len(ASKED))])
def test_the_parts_of_a_score_leave_nothing_over(caller: Caller, asked: dict[str, Any]) -> None:
    encoded(caller, "blue thing", "hat nothing", "red mug", "mug", "blue mug")
    liked = [{"type": "like", "product_ids": ["blue mug"]}]
    data = caller.search(**asked, explain=True, additional_interactions=liked, rows=50)
    products = data["products"] + data["partially_matched_products"]
    assert products
    for one in products:
        explained = one["_explanation"]
        assert sum(explained["parts"].values()) == explained["score"] == one["_search_score"]
        assert set(explained["parts"]) <= PARTS
        assert 0 <= explained["score"] <= 1
    for listed in (data["products"], data["partially_matched_products"]):
        scores = [one["_search_score"] for one in listed]
        assert scores == sorted(scores, reverse=True)


def test_an_explanation_says_which_words_are_where(caller: Caller) -> None:
    asked = {"explain": True, "enable_partial_match": True, "rows": 50}
    told = {
        one["product_id"]: one["_explanation"]["matched"]
        for one in caller.search(q="Blue mug felt", **asked)["products"]
    }
    assert told["blue mug"] == {
        "title": ["Blue", "mug"], "metadata": ["Blue", "mug"], "description": ["mug"],
    }  # fmt: skip
    assert told["green hat"] == {"subtitle": ["felt"]}


def test_every_part_is_in_the_documents() -> None:
    told = (ROOT / "docs" / "reference" / "routes.md").read_text(encoding="utf-8")
    assert all(f"| `{part}` |" in told for part in PARTS)


# what is refused --------------------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("category", "Kitchen"), ("category", [""]), ("category", ["a"] * 21), ("like", 5),
    ("like", "x" * 2001), ("exclude_fields_from_search", ["brand"]), ("include", "red mug"),
    ("include", ["x"] * 501), ("query_product_existence", ["red mug"]),
    ("query_product_existence", {"product_ids": [""]}), ("enable_matched_fields", 1),
    ("partial_match_mode", "mixed"), ("enable_partial_match", "yes"),
    ("enable_partial_match_threshold", -1), ("advanced_q", " "), ("fl", [""]),
    ("fl", ["title", " "]), ("language", "klingon"), ("language", "e"), ("language", "eng"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), WRONG, ids=[f"{n}-{f}" for n, (f, _) in enumerate(WRONG)]
)
def test_a_wrong_value_is_refused_by_name(caller: Caller, field: str, value: Any) -> None:
    assert field in caller.refused(q="mug", **{field: value})


def test_a_search_needs_a_text_or_a_condition(caller: Caller) -> None:
    assert caller.refused() == ["q"]
    assert caller.refused(like="mug", category=["Kitchen"]) == ["q"]


@pytest.mark.parametrize("language", ["ES", "es-MX", "es_419"])
def test_a_language_may_say_its_region(caller: Caller, language: str) -> None:
    assert caller.ids(q="mug", language=language) == caller.ids(q="mug", language="es")
    assert caller.ids(q="mug", language=language)[0] == "taza roja"


def test_what_asks_for_nothing_changes_nothing(caller: Caller) -> None:
    nothing = {
        "category": [], "like": "", "exclude_fields_from_search": [], "include": [],
        "query_product_existence": {}, "enable_matched_fields": False, "language": "",
        "enable_partial_match": False, "partial_match_mode": "separated", "highlight": False,
        "enable_partial_match_threshold": 3, "advanced_q": None, "type": "", "fl": [],
    }  # fmt: skip
    assert caller.ids(q="mug", **nothing) == caller.ids(q="mug")


texts = st.lists(
    st.sampled_from(
        ["red", "mug", " ", '"', "(", ")", " AND ", " OR ", "NOT ", "full_text:", "brand:", "*",
         "日本", "'", "\\", "&", "\u0301", "[1 TO 2]", "the", "!"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(q=texts, advanced=texts, like=texts, separated=st.booleans())
def test_no_text_is_a_server_error(
    caller: Caller, q: str, advanced: str, like: str, separated: bool
) -> None:
    for body in ({"q": q}, {"advanced_q": advanced}, {"q": q, "advanced_q": advanced}):
        asked = body | {
            "like": like, "enable_partial_match": True, "enable_semantic_search": True,
            "partial_match_mode": "separated" if separated else "blended", "highlight": True,
            "explain": True, "enable_matched_fields": True, "include": ["red mug"],
        }  # fmt: skip
        answer = caller.post("search/search", asked)
        assert answer.status_code in (200, 422), answer.text
