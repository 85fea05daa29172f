"""What a search finds, and in which order."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from ranking.catalog import wanted
from ranking.merchandising import filters
from ranking.question import Question, Search
from ranking.strategies.searching import common
from ranking.strategies.searching.asked import ALIAS, Asked
from tests.ranking.market import Market, ids, open_market

VIEW = "product_detail_page_view"
NEAR = {"semantic": 0.5}
CATALOG = ("red mug", "blue mug", "large red mug with dots", "red hat", "blue hat")


@pytest.fixture
def stocked(market: Market) -> Market:
    market.stock(*CATALOG)
    return market


def found(market: Market, query: str, visitor: str | None = None, **more: Any) -> list[str]:
    return market.list(visitor, "search", query=query, **{"rows": 50, **more})


# words ------------------------------------------------------------------------------------------


def test_every_word_must_occur(stocked: Market) -> None:
    assert set(found(stocked, "red mug")) == {"red mug", "large red mug with dots"}
    assert found(stocked, "red mug green") == []


def test_the_title_that_is_the_text_comes_first(stocked: Market) -> None:
    stocked.popular("large red mug with dots")
    stocked.happens("v1", *((VIEW, "large red mug with dots") for _ in range(3)))
    assert found(stocked, "Red  MUG!", "v1")[0] == "red mug"


def test_a_title_counts_more_than_a_brand_than_a_subtitle_than_a_description(
    market: Market,
) -> None:
    market.product("d", title="x y", description="a thing of velvet", encode=False)
    market.product("c", title="x y", subtitle="velvet", encode=False)
    market.product("b", title="x y", brand="Velvet", encode=False)
    market.product("a", title="velvet y", encode=False)
    assert found(market, "velvet") == ["a", "b", "c", "d"]


def test_words_may_lie_in_different_parts(market: Market) -> None:
    market.product("p1", title="trail shoes", brand="Acme", categories=[["Sport", "Running"]])
    assert found(market, "acme running shoes") == ["p1"]


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("Glass Lanterns", "lantern"),
        ("Glass Lantern", "LANTERNS"),
        ("Café Crème", "cafe creme"),
        ("Cafe Creme", "café crème"),
        ("Men's Shoe", "mens shoes"),
        ("Black/White Scarf", "white scarf"),
        ("Set of 3 Tins", "set with 3 tins"),
        ("Eau de L'Ange", "ange"),
        ("Straßenkarte", "strassenkarte"),
        ("日本語の本", "日本"),
        ("日本語の本", "本"),
        ("हिंदी किताब", "किताब"),
        ("כובע אדום", "אדום"),
        ("ＦＵＬＬ width", "full"),
    ],
)
def test_a_word_is_found_as_people_type_it(market: Market, title: str, query: str) -> None:
    market.product("p1", title=title, encode=False)
    market.product("p2", title="something else", encode=False)
    assert found(market, query) == ["p1"]


def test_plurals_follow_the_products_language(market: Market) -> None:
    market.product("p1", title="Tasse", language="de", encode=False)
    assert found(market, "Tassen", language="de") == ["p1"]
    assert found(market, "Tassen", language="en") == []


def test_without_a_language_the_catalogs_own_count(market: Market) -> None:
    market.stock("Tasse", "Teller", language="de", encode=False)
    market.stock("lantern", encode=False)
    assert found(market, "Tassen") == ["Tasse"]
    assert found(market, "lanterns") == ["lantern"]


def test_a_product_is_found_by_its_id(market: Market) -> None:
    market.product("SKU-22423", title="cakestand", encode=False)
    assert found(market, "sku-22423") == ["SKU-22423"]


def test_a_text_without_words_finds_nothing(stocked: Market) -> None:
    assert found(stocked, "🎂 !?") == []


def test_what_was_changed_is_found_by_its_new_words_alone(stocked: Market) -> None:
    stocked.product("p1", title="green plate")
    stocked.product("p1", title="green cup")
    assert found(stocked, "plate") == []
    assert found(stocked, "cup") == ["p1"]
    stocked.remove("p1")
    assert found(stocked, "cup") == []


def test_no_other_site_is_searched(stocked: Market) -> None:
    other = open_market(stocked.connection, "other")
    other.stock("red mug of another", encode=False)
    assert found(other, "red") == ["red mug of another"]
    assert "red mug of another" not in found(stocked, "red")


# meaning ----------------------------------------------------------------------------------------


def test_what_is_near_in_meaning_completes_the_words(stocked: Market) -> None:
    listed = found(stocked, "red mug", **NEAR)
    assert set(listed[:2]) == {"red mug", "large red mug with dots"}
    assert set(listed[2:]) == {"blue mug", "red hat"}


def test_no_words_at_all_may_be_near(stocked: Market) -> None:
    assert found(stocked, "mug green") == []
    assert {"red mug", "blue mug"} <= set(found(stocked, "mug green", **NEAR)) < {*CATALOG}
    assert found(stocked, "mug green", semantic=1.0) == []


def test_without_a_vector_of_the_text_its_words_still_find(stocked: Market) -> None:
    question = stocked.ask(None, "lexical", query="red mug")
    assert ids(question) == ["red mug", "large red mug with dots"]
    assert {part for one in question.products for part in one.parts} == {"words"}


# the visitor ------------------------------------------------------------------------------------


def test_after_looking_at_one_kind_the_same_search_shows_it_first(stocked: Market) -> None:
    before = found(stocked, "mug", "v1")
    stocked.happens("v1", (VIEW, "blue hat"))
    assert found(stocked, "mug", "v1")[0] == "blue mug"
    stocked.happens("v2", (VIEW, "red hat"))
    assert found(stocked, "mug", "v2")[0] == "red mug"
    assert set(before) == set(found(stocked, "mug", "v1"))


def test_what_was_touched_stays_in_a_search(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"), {"type": "checkout", "product_ids": ["red mug"]})
    assert "red mug" in found(stocked, "mug", "v1")
    assert "red mug" in found(stocked, "*", "v1")


@pytest.mark.parametrize("query", ["mug", "*"])
def test_without_personal_weight_a_list_is_everybodys(stocked: Market, query: str) -> None:
    stocked.happens("v1", (VIEW, "blue hat"))
    assert found(stocked, query, "v1", personal=0.0) == found(stocked, query)


def test_the_dial_moves_the_interest_by_its_share(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "blue hat"))
    whole, half = (
        {one.product_id: one.parts for one in answer.products}
        for answer in (
            stocked.ask("v1", "search", query="mug", personal=share) for share in (1.0, 0.4)
        )
    )
    for product, parts in whole.items():
        assert math.isclose(half[product]["interest"], 0.4 * parts["interest"])
        assert half[product]["words"] == parts["words"]


def test_popular_products_come_before_others_with_the_same_words(stocked: Market) -> None:
    stocked.popular("blue mug")
    assert found(stocked, "mug")[0] == "blue mug"


def test_the_variant_that_suits_the_visitor_stands_for_its_group(stocked: Market) -> None:
    stocked.stock("red shirt", "blue shirt", product_group_id="shirt")
    for color in ("red", "blue"):
        stocked.happens(color, (VIEW, f"{color} hat"))
        assert found(stocked, "shirt", color) == [f"{color} shirt"]


# the list ---------------------------------------------------------------------------------------


def test_sold_out_products_stand_behind(stocked: Market) -> None:
    stocked.popular("blue mug")
    stocked.product("blue mug", availability="OUT_OF_STOCK")
    assert found(stocked, "mug")[-1] == "blue mug"
    assert found(stocked, "*")[-1] == "blue mug"
    assert found(stocked, "mug", filter=filters.available()) == [
        name for name in found(stocked, "mug") if name != "blue mug"
    ]


def test_everything_is_ranked_by_interest_and_popularity(stocked: Market) -> None:
    stocked.popular("red hat")
    assert found(stocked, "*")[0] == "red hat"
    stocked.happens("v1", (VIEW, "blue mug"))
    answer = stocked.ask("v1", "search", query=" * ", rows=50)
    assert answer.total == len(answer.products) == 5
    assert answer.products[0].product_id == "blue mug"


@pytest.mark.parametrize("query", ["*", "mug", "red mug"])
@pytest.mark.parametrize("more", [{}, NEAR], ids=["words", "near"])
def test_pages_follow_each_other(stocked: Market, query: str, more: dict[str, Any]) -> None:
    stocked.happens("v1", (VIEW, "blue hat"))
    whole = stocked.ask("v1", "search", query=query, rows=50, **more)
    pages = [
        stocked.ask("v1", "search", query=query, rows=2, start=start, **more)
        for start in range(0, 8, 2)
    ]
    assert [one for page in pages for one in ids(page)] == ids(whole)
    assert {page.total for page in pages if page.products} == {len(whole.products)}


def test_the_total_counts_groups_where_one_stands_for_all(stocked: Market) -> None:
    stocked.stock(*(f"red shirt {size}" for size in range(30)), product_group_id="shirt")
    assert stocked.ask(None, "search", query="shirt", rows=0).total == 1
    assert stocked.ask(None, "search", query="shirt", rows=1, one_per_group=False).total == 30
    assert stocked.ask(None, "search", query="*", rows=1).total == 6


# very many matches -------------------------------------------------------------------------------


@pytest.fixture
def crowded(market: Market) -> Market:
    """2,600 products whose words are in every title, a few of them special."""
    records = [
        {"product_id": f"p{number}", "title": f"common thing {number}", "sale_price": number}
        for number in range(2600)
    ]
    records[700]["title"] = "common thing"
    records[900]["title"] = "common thing velvet"
    market.post("products", *records)
    market.product("hat", title="velvet hat", encode=False)
    market.encode()
    return market


def test_of_very_many_the_exact_the_popular_and_the_interesting_come_first(
    crowded: Market,
) -> None:
    crowded.popular("p800", "p400")
    crowded.happens("v1", (VIEW, "hat"))
    answer = crowded.ask("v1", "search", query="common thing", rows=24)
    assert answer.total == 2600
    assert ids(answer)[:2] == ["p700", "p900"]
    assert set(ids(answer)[2:4]) == {"p800", "p400"}
    assert len(set(ids(answer))) == 24


def test_of_very_many_a_filter_holds_on_every_page(crowded: Market) -> None:
    only = filters.parse("sale_price:[50 TO 2590]")
    for start in (0, 24, 200):
        answer = crowded.ask(None, "search", query="common", rows=24, start=start, filter=only)
        assert answer.total == 2541
        assert len(answer.products) == 24
        assert all(50 <= int(one[1:]) <= 2590 for one in ids(answer))
    assert len(found(crowded, "common thing", rows=2700)) == 2600


def test_what_is_known_of_very_many_is_filtered_again(crowded: Market) -> None:
    crowded.popular("p800", "p400")
    cheap = filters.parse("sale_price:[0 TO 2599]")
    assert "p800" in found(crowded, "common", rows=24, filter=cheap)
    crowded.product("p800", title="common thing 800", sale_price=9000)
    crowded.product("p400", title="uncommon")
    again = found(crowded, "common", rows=24, filter=cheap)
    assert not {"p800", "p400"} & set(again) and len(again) == 24


def test_pages_of_very_many_neither_repeat_nor_skip(market: Market) -> None:
    """The best by their titles come last in the catalog, where no pool looks."""
    records = [{"product_id": f"l{n}", "title": f"mug {n} in a long title"} for n in range(2600)]
    records += [{"product_id": f"s{n}", "title": f"mug x{n}"} for n in range(150)]
    market.post("products", *records)
    seen: list[str] = []
    for start in range(0, 260, 20):
        seen += found(market, "mug", rows=20, start=start)
    assert len(set(seen)) == len(seen) == 260
    assert {f"s{n}" for n in range(150)} < set(seen)


def test_what_is_left_of_very_many_is_found_at_once(crowded: Market) -> None:
    assert crowded.ask(None, "search", query="common", rows=24).total == 2600
    gone = [f"p{number}" for number in range(2590)]
    crowded.deliver("products/_delete", json.dumps({"data": {"product_ids": gone}}).encode())
    answer = crowded.ask(None, "search", query="common", rows=24)
    assert (answer.total, len(answer.products)) == (10, 10)


def test_a_new_title_that_is_the_text_is_first_at_once_of_very_many(crowded: Market) -> None:
    assert "new" not in found(crowded, "common thing", rows=24)
    crowded.product("new", title="Common Thing", encode=False)
    assert {"new", "p700"} == set(found(crowded, "common thing", rows=24)[:2])


# when Postgres is slow ----------------------------------------------------------------------------


def test_words_answer_where_vectors_take_too_long(slow: Market) -> None:
    for query, expected in (("red mug", ["red mug"]), ("*", ["green bag", "red hat"])):
        answer = slow.ask("v1", "search", query=query, semantic=0.5)
        assert answer.fallback == "lexical"
        assert ids(answer)[:2] == expected
        assert answer.total == (1 if query != "*" else 12)


# filters -----------------------------------------------------------------------------------------

Clause = tuple[str, Callable[[dict[str, Any]], bool]]

CLAUSES: list[Clause] = [
    ("brand:acme", lambda record: record["brand"] == "acme"),
    ("tags:new", lambda record: "new" in record["tags"]),
    ("sale_price:[10 TO 20}", lambda record: 10 <= record["sale_price"] < 20),
    ("availability:OUT_OF_STOCK", lambda record: record["availability"] == "OUT_OF_STOCK"),
    ("custom_attributes.year:[* TO 5]", lambda record: record["custom_attributes"]["year"] <= 5),
    ("published_at:[2026-01-15 TO *]", lambda record: record["published_at"] >= "2026-01-15"),
]
clauses = st.recursive(
    st.sampled_from(CLAUSES),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]} AND {two[1][0]})", lambda r: two[0][1](r) and two[1][1](r))
        ),
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]} OR {two[1][0]})", lambda r: two[0][1](r) or two[1][1](r))
        ),
        inner.map(lambda one: (f"NOT {one[0]}", lambda r: not one[1](r))),
    ),
    max_leaves=4,
)


@pytest.fixture
def furnished(market: Market) -> tuple[Market, list[dict[str, Any]]]:
    """Tables and lamps, each with a value of every field that CLAUSES ask for."""
    records = [
        {
            "product_id": f"p{number}",
            "title": ("table", "lamp", "table lamp")[number % 3],
            "brand": ("acme", "other")[number % 2],
            "tags": ["new"] if number % 5 < 2 else ["old"],
            "sale_price": number,
            "availability": "OUT_OF_STOCK" if number % 7 == 0 else "IN_STOCK",
            "custom_attributes": {"year": number % 11},
            "published_at": f"2026-01-{number % 28 + 1:02}",
        }
        for number in range(40)
    ]
    market.post("products", *records)
    market.encode()
    return market, records


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(clause=clauses, query=st.sampled_from(["*", "table", "table lamp", "none such"]))
def test_filters_are_sound_and_complete(
    furnished: tuple[Market, list[dict[str, Any]]], clause: Clause, query: str
) -> None:
    market, records = furnished
    fq, holds = clause
    wanted = set(query.split()) - {"*"}
    answer = market.ask(None, "search", query=query, rows=50, filter=filters.parse(fq))
    assert set(ids(answer)) == {
        record["product_id"]
        for record in records
        if holds(record) and wanted <= set(record["title"].split())
    }
    assert answer.total == len(answer.products)


# the index ---------------------------------------------------------------------------------------


def test_words_and_filters_are_looked_up_in_one_index(crowded: Market) -> None:
    words = wanted.query(crowded.site_id, "common velvet", ["en"])
    assert words is not None
    only = filters.parse("product_id:p900")
    question = Question(crowded.site_id, "search", crowded.now, filter=only)
    asked = Asked(replace(question, search=Search("common velvet")), words)
    filter = filters.compile(only, ALIAS)
    crowded.connection.execute("analyze product_words")
    plan = crowded.connection.execute(
        sql.SQL("explain ")
        + common.SQL.fill("counted", matches=asked.matches, filter=filter.where),
        asked.parameters | filter.params,
    )
    told = [row[0] for row in plan]
    assert any("product_words_words" in line for line in told), told
    condition = next(line for line in told if "Index Cond" in line)
    assert "words @@" in condition and "terms @>" in condition
