"""What a product is found by follows its record, and is made up for after an upgrade."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from ranking.catalog import products, wanted, words
from ranking.merchandising import filters
from tests.ranking.market import Market


def kept(market: Market) -> dict[str, tuple[Any, ...]]:
    """What search knows of each product, by its id."""
    rows = market.connection.execute(
        "select p.product_id, w.words::text, w.available, w.sale_price, w.language "
        "from product_words w join products p using (site_id, product_no) where w.site_id = %s",
        [market.site_id],
    )
    return {row[0]: row[1:] for row in rows}


def test_words_columns_and_deletions_come_with_the_record(market: Market) -> None:
    market.product("p1", title="red mug", sale_price=3, encode=False)
    [(first, available, price, language)] = kept(market).values()
    assert (available, price, language) == (True, 3.0, "en")
    assert f"'{market.site_id}/mug':2A" in first
    market.product("p1", title="red mug", availability="OUT_OF_STOCK", sale_price=2, encode=False)
    assert kept(market) == {"p1": (first, False, 2.0, "en")}
    market.product("p1", title="red cup", encode=False)
    assert "mug" not in kept(market)["p1"][0]
    market.remove("p1")
    assert kept(market) == {}


def test_a_product_without_any_text_is_kept_too(market: Market) -> None:
    market.post("products", {"product_id": "p1"})
    assert set(kept(market)) == {"p1"}


def test_what_an_older_version_wrote_is_found_and_split(market: Market) -> None:
    """Before the table was there, beside it, and with words split in another way."""
    market.stock(*(f"thing {number}" for number in range(words.BATCH + 3)), encode=False)
    market.product("gone", encode=False)
    before = kept(market)
    spoil = (
        "delete from product_words where site_id = %s and product_no %% 2 = 0",
        "update product_words set recipe = 0, words = '' "
        "where site_id = %s and product_no %% 3 = 0",
        "update products set sale_price = 7 where site_id = %s and product_id = 'thing 1'",
        "update products set text_hash = gen_random_uuid() where site_id = %s "
        "and product_id = 'thing 2'",
        "update products set deleted = true where site_id = %s and product_id = 'gone'",
    )
    for statement in spoil:
        market.connection.execute(statement, [market.site_id])
    assert words.fill(market.connection, market.site_id) > words.BATCH // 2
    del before["gone"]
    first = before["thing 1"]
    assert kept(market) == before | {"thing 1": (first[0], first[1], 7.0, first[3])}
    assert words.fill(market.connection, market.site_id) == 0


def test_it_stops_between_batches_and_goes_on(market: Market) -> None:
    market.stock(*(f"thing {number}" for number in range(words.BATCH + 3)), encode=False)
    market.connection.execute("delete from product_words where site_id = %s", [market.site_id])
    asked = iter((False, True))
    assert words.fill(market.connection, market.site_id, stop=lambda: next(asked)) == words.BATCH
    assert words.fill(market.connection, market.site_id) == 3


def test_what_an_older_version_wrote_is_found_by_its_category(market: Market) -> None:
    """Its terms lack those of the paths."""
    market.stock("mug", "cup", categories=[["Kitchen", "Mugs"]])
    market.stock("hat")
    path = filters.in_category(["Kitchen", "Mugs"])
    new = [filters.IN_CATEGORIES, filters.category_term(["Kitchen", "Mugs"])]
    for table in ("products", "product_words", f"vectors_{market.site_id}_1"):
        market.connection.execute(
            sql.SQL(
                "update {} set terms = "
                "array(select unnest(terms) except select unnest(%s::bigint[])) "
                "where site_id = %s"
            ).format(sql.Identifier(table)),
            [new, market.site_id],
        )
    assert market.list(None, "search", query="*", filter=path) == []
    assert products.recategorize(market.connection, market.site_id) == 2
    assert products.recategorize(market.connection, market.site_id) == 0
    for query, visitor in (("*", None), ("mug cup", None)):
        asked = {"query": query, "filter": path, "partial": True}
        assert set(market.list(visitor, "search", **asked)) == {"mug", "cup"}
    market.happens("v1", ("like", "hat"))
    assert set(market.list("v1", "search", query="*", filter=path)) == {"mug", "cup"}


@given(title=st.text(max_size=200), language=st.sampled_from(["en", "de", "ja", "zz", "", "el"]))
def test_every_title_is_found_by_itself(title: str, language: str) -> None:
    """All of a query's words are among those of the product, in its language."""
    record = {"product_id": "p1", "title": title, "language": language}
    made = words.of_record(1, record)
    asked = wanted.query(1, title, [words.language_of(record)])
    if asked is None:
        return
    lexemes = {entry.split("':")[0].removeprefix("'") for entry in made["words"].split(" ")}
    for alternatives in asked.anywhere.split(" & "):
        forms = re.findall("'([^']*)'", alternatives)
        assert any(form in lexemes for form in forms), (forms, lexemes)
    assert asked.title_key == made["title_key"]
