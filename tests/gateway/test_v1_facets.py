"""Facets of a search, and what a visitor chose of them: through the real application, against the
same counts made of the records one by one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import embeddings, products, queries
from tests.conftest import Shop
from tests.ranking.market import Words

Record = dict[str, Any]

BRANDS = ("Nike", "Puma", "Avia", "nike")
RECORDS: list[Record] = [
    {
        "product_id": f"p{n}",
        "product_group_id": f"g{n // 3}",
        "title": f"shoe {'red' if n % 2 else 'blue'} {n}",
        "brand": BRANDS[n % 4],
        "categories": [["Shoes", "Run" if n % 3 else "Walk"], ["Sale"]][: 1 + n % 2],
        "sale_price": n % 7 + 0.5,
        "margin": n % 5,
        "published_at": f"2024-0{1 + n % 6}-15T12:00:00Z",
        "availability": "OUT_OF_STOCK" if n % 5 == 0 else "IN_STOCK",
        "custom_attributes": {
            "sizes": [36 + n % 4, 36 + n % 3],
            "promoted": n % 4 == 0,
            "place": {"city": ["Bonn", "Köln"][n % 2]},
        },
    }
    for n in range(40)
] + [{"product_id": "bare", "title": "shoe"}]


class Caller:
    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def answer(self, path: str = "search/search", key: str | None = None, **body: Any) -> Any:
        asked = {"q": "shoe"} | body if path == "search/search" else body
        response = self.client.post(
            f"/v1/{path}",
            query_string={"api_key": key or self.shop.publishable_key},
            data=json.dumps(asked),
        )
        return response.status_code, response.json

    def data(self, **body: Any) -> Any:
        status, answered = self.answer(**body)
        assert status == 200, answered
        return answered["data"]

    def counts(self, *facets: Any, **body: Any) -> dict[str, list[list[Any]]]:
        found: dict[str, list[list[Any]]] = self.data(rows=0, facets=list(facets), **body)[
            "facet_counts"
        ]["facet_fields"]
        return found


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    made = Caller(client, shop)
    status, answered = made.answer("products", key=shop.secret_key, data=RECORDS)
    assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


# the oracle -------------------------------------------------------------------------------------


def values(record: Record, field: str) -> list[Any]:
    """What a record has there, lists of any depth taken apart."""
    defaults = {"condition": "NEW", "availability": "IN_STOCK"}
    value: Any = defaults | record
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return [] if value is None else list(flat(value))


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from flat(one)
    else:
        yield value


def key(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value


def count(records: list[Record], field: str, every: bool) -> list[list[Any]]:
    of_value: dict[Any, set[str]] = defaultdict(set)
    originals: dict[Any, Any] = {}
    for record in records:
        for value in values(record, field):
            group = record["product_id"] if every else record.get("product_group_id", "bare")
            of_value[key(value)].add(group)
            originals[key(value)] = value
    told = [[originals[one], len(groups)] for one, groups in of_value.items()]
    return sorted(told, key=lambda one: (-one[1], key(one[0])))


FIELDS = ("brand", "categories", "sale_price", "margin", "availability", "condition",
          "custom_attributes.sizes", "custom_attributes.promoted",
          "custom_attributes.place.city")  # fmt: skip
QUERIES: dict[str, Callable[[Record], bool]] = {
    "shoe": lambda one: True,
    "*": lambda one: True,
    "shoe red": lambda one: "red" in one["title"],
}
chosen = st.dictionaries(
    st.sampled_from(FIELDS),
    st.lists(st.integers(0, 10), min_size=1, max_size=2),
    max_size=3,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    q=st.sampled_from(sorted(QUERIES)),
    fields=st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4, unique=True),
    chosen=chosen,
    every=st.booleans(),
    excluded=st.sets(st.sampled_from(["p1", "p7", "p20"])),
)
def test_counts_are_those_of_the_records(
    caller: Caller,
    q: str,
    fields: list[str],
    chosen: dict[str, list[int]],
    every: bool,
    excluded: set[str],
) -> None:
    """Each facet counts what the query, the filters and all other facets leave."""
    possible = {field: count(RECORDS, field, True) for field in FIELDS}
    terms = {
        field: [possible[field][n % len(possible[field])][0] for n in numbers]
        for field, numbers in chosen.items()
    }
    matching = [one for one in RECORDS if QUERIES[q](one) and one["product_id"] not in excluded]

    def left(but: str = "") -> list[Record]:
        return [
            one
            for one in matching
            if all(set(wanted) & set(values(one, field))
                   for field, wanted in terms.items() if field != but)
        ]  # fmt: skip

    data = caller.data(
        q=q,
        rows=500,
        exclude=sorted(excluded),
        dedupe_product_group_id=not every,
        facets=[{"field": field, "size": 100} for field in fields],
        facet_filters={field: {"terms": wanted} for field, wanted in terms.items()},
    )
    expected = {field: count(left(field), field, every) for field in fields}
    assert data["facet_counts"]["facet_fields"] == expected
    found = {one["product_id"] if every else one.get("product_group_id", "bare") for one in left()}
    assert data["total"] == len(data["products"]) == len(found)


@pytest.mark.parametrize("field", FIELDS)
def test_whoever_chooses_a_value_finds_as_many_as_were_counted(caller: Caller, field: str) -> None:
    for value, counted in caller.counts({"field": field, "size": 3})[field]:
        data = caller.data(facet_filters={field: {"terms": [value]}})
        assert data["total"] == counted
        spelled = value if isinstance(value, str) else json.dumps(value)
        assert caller.data(facet_filters={field: {"terms": [spelled]}})["total"] == counted


def test_a_facet_has_ten_values_and_its_own_name(caller: Caller) -> None:
    found = caller.counts(
        "brand",
        {"field": "brand", "alias": "two", "size": 2},
        {"field": "attributes.sizes"},
        {"field": "brand", "alias": "none", "size": 0},
        {"field": "custom_attributes.unknown"},
    )
    assert [len(found[one]) for one in ("brand", "two", "none")] == [4, 2, 0]
    assert found["two"] == found["brand"][:2]
    assert len(found["attributes.sizes"]) == 4
    assert found["custom_attributes.unknown"] == []
    assert caller.data()["facet_counts"] == {"facet_fields": {}}


def test_expressions_choose_the_values_that_are_shown_and_no_products(caller: Caller) -> None:
    def brands(**more: str) -> list[str]:
        data = caller.data(facets=[{"field": "brand", **more}])
        assert data["total"] == 15
        return [value for value, _ in data["facet_counts"]["facet_fields"]["brand"]]

    assert brands(include="[Nn]ike") == ["Nike", "nike"]
    assert brands(include="N.*") == ["Nike"]
    assert brands(include="ike") == []
    assert brands(exclude='"Nike"|Pu.*') == ["Avia", "nike"]
    assert brands(include=".*i.*", exclude="[a-z]*") == ["Avia", "Nike"]
    numbers = caller.counts({"field": "custom_attributes.sizes", "include": "3[67]"})
    assert sorted(value for value, _ in numbers["custom_attributes.sizes"]) == [36, 37]


def test_ranges_and_queries_are_counted_in_their_order(caller: Caller) -> None:
    prices = [{"key": "dear", "from": 3.5}, {"key": "cheap", "to": 3.5}, {"key": "none", "to": "0"}]
    dates = [{"key": "spring", "from": "2024-03-01", "to": "2024-04-15T12:00:00Z"}]
    asked = [
        {"key": "nike on sale", "query": "brand: Nike AND categories:Sale"},
        {"key": "few", "query": "margin:[* TO 1] OR custom_attributes.promoted:true"},
    ]
    found = caller.counts(
        {"field": "sale_price", "ranges": prices},
        {"field": "published_at", "ranges": dates},
        {"field": "mine", "queries": asked},
        dedupe_product_group_id=False,
    )
    whole = [one for one in RECORDS if one["product_id"] != "bare"]
    assert found["sale_price"] == [
        ["dear", sum(one["sale_price"] >= 3.5 for one in whole)],
        ["cheap", sum(one["sale_price"] < 3.5 for one in whole)],
        ["none", 0],
    ]
    assert found["published_at"] == [
        ["spring", sum(one["published_at"].startswith("2024-03") for one in whole)]
    ]
    assert found["mine"] == [
        ["nike on sale", sum(one["brand"] == "Nike" and ["Sale"] in one["categories"]
                             for one in whole)],
        ["few", sum(one["margin"] <= 1 or one["custom_attributes"]["promoted"]
                    for one in whole)],
    ]  # fmt: skip


def test_ranges_and_queries_can_be_chosen_and_do_not_narrow_themselves(caller: Caller) -> None:
    facets = [
        {"field": "sale_price", "alias": "prices",
         "ranges": [{"key": "cheap", "to": 3}, {"key": "dear", "from": 3}]},
        {"field": "mine", "queries": [{"key": "nike", "query": 'brand:"Nike"'}]},
        "brand",
    ]  # fmt: skip
    plain = caller.counts(*facets, dedupe_product_group_id=False)
    cheap = {"prices": {"ranges": [{"to": 3}]}}
    data = caller.data(facets=facets, facet_filters=cheap, dedupe_product_group_id=False)
    found = data["facet_counts"]["facet_fields"]
    assert data["total"] == dict(plain["prices"])["cheap"]
    assert found["prices"] == plain["prices"]
    assert sum(counted for _, counted in found["brand"]) == data["total"]
    chosen = {
        "mine": {"queries": [{"query": 'brand:"Nike"'}]},
        "sale_price": {"terms": [1.5, "2.5"]},
    }
    data = caller.data(facets=facets, facet_filters=chosen, dedupe_product_group_id=False)
    found = data["facet_counts"]["facet_fields"]
    assert found["mine"][0][1] == data["total"]
    assert found["brand"] == [["Nike", data["total"]]]
    assert found["prices"] == [["cheap", dict(map(tuple, found["prices"]))["cheap"]],
                               ["dear", dict(map(tuple, found["prices"]))["dear"]]]  # fmt: skip


def test_what_is_near_in_meaning_is_counted_too(caller: Caller) -> None:
    text = "shoe red 1 blue"
    with caller.shop.pool.connection() as connection:
        queries.vectors(connection, caller.shop.site.site_id, [text], encodes=Words())
    data = caller.data(
        q=text, rows=100, facets=["brand"], fl=["brand"], dedupe_product_group_id=False,
        enable_semantic_search=True, semantic_search_threshold=0.5,
    )  # fmt: skip
    brands = [one["brand"] for one in data["products"] if "brand" in one]
    assert len(brands) > 5
    found = dict(data["facet_counts"]["facet_fields"]["brand"])
    assert found == {one: brands.count(one) for one in brands}


def test_a_change_is_counted_at_once_and_a_deleted_product_never(caller: Caller) -> None:
    def sizes() -> dict[Any, int]:
        found = caller.counts({"field": "brand", "size": 50}, dedupe_product_group_id=False)
        return dict(found["brand"])

    before = sizes()
    shop = caller.shop
    caller.answer("products", key=shop.secret_key, data=[RECORDS[0] | {"brand": "New"}])
    assert sizes() == before | {"Nike": before["Nike"] - 1, "New": 1}
    removed = {"data": {"product_ids": ["p0", "p1"]}}
    caller.client.post(
        "/v1/products/_delete", query_string={"api_key": shop.secret_key}, json=removed
    )
    assert sizes() == before | {"Nike": before["Nike"] - 1, "Puma": before["Puma"] - 1}


def test_what_an_older_version_wrote_is_made_up_for(caller: Caller) -> None:
    whole = caller.counts(*FIELDS)
    with caller.shop.pool.connection() as connection:
        connection.execute("delete from product_facets where product_no % 2 = 0")
        connection.execute(
            "update product_facets set recipe = 0, pairs = '' where product_no % 3 = 0"
        )
        assert caller.counts(*FIELDS) != whole
        site_id = caller.shop.site.site_id
        assert products.describe_outdated(connection, site_id) > 20
        assert products.describe_outdated(connection, site_id) == 0
    assert caller.counts(*FIELDS) == whole


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"facets": ["nonsense"]}, "/facets/0/field"),
        ({"facets": ["title"]}, "/facets/0/field"),
        ({"facets": ["published_at"]}, "/facets/0/field"),
        ({"facets": [7]}, "/facets/0"),
        ({"facets": [{"alias": "x"}]}, "/facets/0/field"),
        ({"facets": ["brand", {"field": "brand"}]}, "/facets/1"),
        ({"facets": [{"field": "brand", "size": -1}]}, "/facets/0/size"),
        ({"facets": [{"field": "brand", "include": "(a"}]}, "/facets/0/include"),
        ({"facets": [{"field": "brand", "exclude": "a**"}]}, "/facets/0/exclude"),
        ({"facets": [{"field": "x", "ranges": [{"key": "a", "to": 1}]}]}, "/facets/0/ranges/0"),
        ({"facets": [{"field": "brand", "ranges": [{"key": "a", "to": 1}]}]}, "/facets/0/ranges/0"),
        ({"facets": [{"field": "margin", "ranges": [{"key": "a"}]}]}, "/facets/0/ranges/0"),
        ({"facets": [{"field": "margin", "ranges": [{"to": 1}]}]}, "/facets/0/ranges/0/key"),
        ({"facets": [{"field": "margin", "ranges": [{"key": "a", "to": "x"}]}]},
         "/facets/0/ranges/0"),
        ({"facets": [{"field": "margin", "ranges": [{"key": "a", "from": 5, "to": 2}]}]},
         "/facets/0/ranges/0"),
        ({"facets": [{"field": "published_at", "ranges": [
            {"key": "a", "from": "2024-02-01", "to": "2024-01-01"}]}]}, "/facets/0/ranges/0"),
        ({"facet_filters": {"sale_price": {"ranges": [{"from": 5, "to": 2}]}}},
         "/facet_filters/sale_price/ranges/0"),
        ({"facets": [{"field": "x", "queries": [{"key": "a", "query": "b:("}]}]},
         "/facets/0/queries/0/query"),
        ({"facet_filters": {"nonsense": {"terms": ["a"]}}}, "/facet_filters/nonsense/terms/0"),
        ({"facet_filters": {"margin": {"terms": ["a"]}}}, "/facet_filters/margin/terms/0"),
        ({"facet_filters": {"brand": {"ranges": [{"to": 1}]}}}, "/facet_filters/brand/ranges/0"),
        ({"facet_filters": {"brand": {"terms": [""]}}}, "/facet_filters/brand/terms/0"),
        ({"facet_filters": {"brand": ["Nike"]}}, "/facet_filters/brand"),
        ({"facet_filters": {"brand": {"terms": [None]}}}, "/facet_filters/brand/terms/0"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_refused_where_it_stands(
    caller: Caller, body: dict[str, Any], pointer: str
) -> None:
    status, answered = caller.answer(**body)
    assert status == 422
    assert any(one["pointer"].startswith(pointer) for one in answered["problems"]), answered


@pytest.mark.parametrize(
    "body",
    [{"facets": [], "facet_filters": {}}, {"facets": None}, {"facet_filters": {"brand": {}}},
     {"facet_filters": {"brand": {"terms": [], "ranges": []}}},
     {"facets": [{"field": "sale_price", "ranges": [{"key": "none", "from": 2, "to": 2}]}]},
     {"facets": [{"field": "attributes.x", "ranges": [
         {"key": "odd", "from": 5, "to": "2024-01-01"}]}]}],
)  # fmt: skip
def test_what_asks_for_nothing_is_taken(caller: Caller, body: dict[str, Any]) -> None:
    assert caller.data(**body)["total"] == 15
