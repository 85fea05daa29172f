"""Names of fields in requests: each place takes and refuses the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import instant
from ranking.catalog import suggestions
from tests.conftest import Shop
from tests.gateway.test_v1_search import Caller

PRODUCTS = [
    {"product_id": "a", "title": "mug", "custom_attributes": {"note": "blue lid", "rank": 1,
     "store": {"lat": 1, "lon": 2}}},
    {"product_id": "b", "title": "mug", "custom_attributes": {"note": "red lid", "rank": 2}},
    {"product_id": "c", "title": "mug", "custom_attributes": {"note": "red lid", "rank": 3}},
]  # fmt: skip
SEARCH, COMPLETE = "search/search", "search/autocomplete"
VALUES = "recommendation/user_to_attributes"
CIRCLE = {"lat": 1, "lon": 2, "distance": 1}

# Where a name may stand: the route, its body, and the pointer to the name.
Place = tuple[str, Callable[[str], dict[str, Any]], str]
PLACES: dict[str, Place] = {
    "fq": (SEARCH, lambda name: {"fq": f"{name}:*"}, "/fq"),
    "boost_fq": (SEARCH, lambda name: {"boost_fq": f"{name}:*"}, "/boost_fq"),
    "advanced_q": (SEARCH, lambda name: {"advanced_q": f"{name}:*"}, "/advanced_q"),
    "order_by": (SEARCH, lambda name: {"order_by": [{"field": name}]}, "/order_by/0/field"),
    "formula": (SEARCH, lambda name: {"order_by": [{"field": f"2 * {name}"}]}, "/order_by/0/field"),
    "geo": (SEARCH, lambda name: {"geo": {"filter": [CIRCLE | {"field": name}]}},
            "/geo/filter/0/field"),
    "geo boost": (SEARCH, lambda name: {"geo": {"boost": [CIRCLE | {"field": name}]}},
                  "/geo/boost/0/field"),
    "facet": (SEARCH, lambda name: {"facets": [name]}, "/facets/0/field"),
    "facet_filters": (SEARCH, lambda name: {"facet_filters": {name: {"terms": ["red lid"]}}},
                      "/facet_filters/NAME/terms/0"),
    "highlight": (SEARCH, lambda name: {"highlight": [name], "q": "lid"}, "/highlight/0"),
    "diversification": (SEARCH, lambda name: {"diversification": {name: {}}}, "/diversification"),
    "cohort": (SEARCH, lambda name: {"user_cohort": {name: "x"}}, "/user_cohort"),
    "completion_fields": (COMPLETE, lambda name: {"completion_fields": [name], "q": ""},
                          "/completion_fields/0"),
    "values": (VALUES, lambda name: {"field": name}, "/field"),
}  # fmt: skip
NUMBERS = ("order_by", "formula")


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    made = Caller(client, shop)
    sent = made.post("products", {"data": PRODUCTS}, key=shop.secret_key)
    assert sent.status_code == 200, sent.text
    with shop.pool.connection() as connection:
        suggestions.refresh(connection, shop.site.site_id, instant.now())
    return made


def asked(caller: Caller, place: str, name: str) -> Any:
    path, body, _ = PLACES[place]
    common = {"q": "mug", "rows": 20} if path == SEARCH else {"rows": 20}
    return caller.post(path, common | body(name))


@pytest.mark.parametrize("name", ["no_such", "brand.name", "custom_attributes."])
@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_no_product_can_have_is_refused_where_it_stands(
    caller: Caller, place: str, name: str
) -> None:
    answer = asked(caller, place, name)
    assert answer.status_code == 422, answer.json
    told = ["body", *PLACES[place][2].removeprefix("/").replace("NAME", name).split("/")]
    assert told in [one["loc"] for one in answer.json["detail"]]


@pytest.mark.parametrize("place", PLACES)
def test_an_attribute_that_no_product_has_yet_is_taken(caller: Caller, place: str) -> None:
    answer = asked(caller, place, "custom_attributes.coming")
    assert answer.status_code == 200, answer.json


@pytest.mark.parametrize("place", PLACES)
def test_attributes_are_custom_attributes(caller: Caller, place: str) -> None:
    """As in Miso's own examples."""
    name = "rank" if place in NUMBERS else "store" if place.startswith("geo") else "note"
    long, short = (
        asked(caller, place, f"{top}.{name}").json["data"]
        for top in ("custom_attributes", "attributes")
    )
    for answer in (long, short):
        del answer["took"], answer["miso_id"]
    assert str(long).replace("custom_attributes", "attributes") == str(short).replace(
        "custom_attributes", "attributes"
    )
    assert long["products"] if "products" in long else any(long.values())


def test_a_name_that_a_record_lacks_is_left_out_of_it(caller: Caller) -> None:
    answer = caller.search(q="mug", fl=["title", "no_such", "attributes.rank", "i18n_es"])
    assert {one["title"] for one in answer["products"]} == {"mug"}
    assert [set(one["custom_attributes"]) for one in answer["products"]] == [{"rank"}] * 3
