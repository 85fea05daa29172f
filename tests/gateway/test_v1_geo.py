"""Lists by where products are: through the real application, against the distances measured one by
one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from flask.testing import FlaskClient

from ranking.catalog import embeddings
from tests.conftest import Shop
from tests.ranking.market import Words

Place = tuple[float, float]

BERLIN, POTSDAM, LONDON, FIJI, SAMOA = (
    (52.52, 13.405), (52.39, 13.06), (51.507, -0.128), (-17.8, 178.0), (-13.8, -172.1),
)  # fmt: skip
POLE, OTHER_POLE = (90.0, 0.0), (-90.0, 50.0)
PLACES: dict[str, list[Place]] = {
    "berlin": [BERLIN],
    "potsdam": [POTSDAM],
    "both": [LONDON, BERLIN],
    "fiji": [FIJI],
    "samoa": [SAMOA],
    "pole": [POLE],
    "south": [OTHER_POLE],
    "line": [(0.0, 180.0)],
    "other line": [(0.0, -180.0)],
    "null": [(0.0, 0.0)],
    "nowhere": [],
}
PATHS: dict[str, dict[str, Any]] = {
    "search/search": {"q": "thing"},
    "recommendation/user_to_products": {},
    "recommendation/user_to_trending": {},
    "recommendation/product_to_products": {"product_id": "anchor"},
}


def at(place: Place) -> dict[str, float]:
    return {"lat": place[0], "lon": place[1]}


def record(product_id: str, where: list[Place]) -> dict[str, Any]:
    held = [at(place) for place in where]
    made: dict[str, Any] = {"product_id": product_id, "title": f"thing {product_id}"}
    if held:
        made["location"] = held[0] if len(held) == 1 else held
        made["custom_attributes"] = {"store": held}
    return made


def km(one: Place, other: Place) -> float:
    """By the chord through the earth: another way than haversine's."""

    def point(place: Place) -> tuple[float, float, float]:
        lat, lon = math.radians(place[0]), math.radians(place[1])
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    chord = math.dist(point(one), point(other))
    return 2 * 6371.0088 * math.asin(min(1.0, chord / 2))


class Caller:
    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def answer(self, path: str, key: str | None = None, **body: Any) -> Any:
        response = self.client.post(
            f"/v1/{path}",
            query_string={"api_key": key or self.shop.publishable_key},
            data=json.dumps(PATHS.get(path, {}) | body),
        )
        return response.status_code, response.json

    def products(self, path: str = "search/search", **body: Any) -> list[dict[str, Any]]:
        status, answered = self.answer(path, **({"rows": 50} | body))
        assert status == 200, answered
        found: list[dict[str, Any]] = answered["data"]["products"]
        return found

    def ids(self, path: str = "search/search", **body: Any) -> list[str]:
        return [one["product_id"] for one in self.products(path, **body)]

    def within(self, place: Place, distance: float, path: str = "search/search",
               **more: Any) -> set[str]:  # fmt: skip
        circle = at(place) | {"distance": distance, "distance_unit": "km"} | more
        return set(self.ids(path, geo={"filter": [circle]}))


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    made = Caller(client, shop)
    sent = [record(product_id, where) for product_id, where in PLACES.items()]
    sent.append({"product_id": "anchor", "title": "anchor"})
    views = [{"type": "product_detail_page_view", "anonymous_id": f"v{number}",
              "product_ids": [product_id]} for number, product_id in enumerate(PLACES)]  # fmt: skip
    for path, records in (("products", sent), ("interactions", views)):
        status, answered = made.answer(path, key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return made


@pytest.mark.parametrize("path", PATHS)
def test_only_what_is_near_is_in_a_list(caller: Caller, path: str) -> None:
    assert caller.within(BERLIN, 1, path) == {"berlin", "both"}
    assert caller.within(BERLIN, 40, path) == {"berlin", "both", "potsdam"}
    assert caller.within(FIJI, 1200, path) == {"fiji", "samoa"}
    for distance in (500, 2500, 9000, 15_000):
        assert caller.within(SAMOA, distance, path) == {
            product_id
            for product_id, where in PLACES.items()
            if any(km(SAMOA, one) <= distance for one in where)
        }
    assert caller.within((0.0, 0.0), 20_100, path) == set(PLACES) - {"nowhere"}


def test_the_line_and_the_poles_are_places_like_others(caller: Caller) -> None:
    for lon in (180, -180, 179.9999, -179.9999):
        assert caller.within((0.0, lon), 1) == {"line", "other line"}
    for lon in (0, 90, -135):
        assert caller.within((89.99999, lon), 1) == {"pole"}
        assert caller.within((-90.0, lon), 0) == {"south"}


def test_several_circles_must_all_hold_and_miles_are_longer(caller: Caller) -> None:
    one, other = at(LONDON) | {"distance": 1}, at(BERLIN) | {"distance": 1}
    assert caller.ids(geo={"filter": [one, other]}) == ["both"]
    between = (km(BERLIN, POTSDAM) / 1.609344) * 1.0001
    assert "potsdam" in caller.ids(geo={"filter": [at(BERLIN) | {"distance": between}]})
    short = at(BERLIN) | {"distance": between, "distance_unit": "km"}
    assert "potsdam" not in caller.ids(geo={"filter": [short]})


def test_a_custom_attribute_holds_places_too_and_a_change_counts_at_once(caller: Caller) -> None:
    for field in ("custom_attributes.store", "attributes.store"):
        assert caller.within(BERLIN, 1, field=field) == {"berlin", "both"}
    assert caller.within(BERLIN, 1, field="custom_attributes.other") == set()
    moved = record("berlin", [LONDON]) | {"custom_attributes": {"store": at(FIJI)}}
    caller.answer("products", key=caller.shop.secret_key, data=[moved, record("both", [])])
    assert caller.within(BERLIN, 1) == caller.within(BERLIN, 1, field="attributes.store") == set()
    assert caller.within(LONDON, 1) == {"berlin"}
    assert "berlin" in caller.within(FIJI, 1, field="attributes.store")


@pytest.mark.parametrize("path", PATHS)
def test_a_boost_lifts_what_is_near(caller: Caller, path: str) -> None:
    circle = at(BERLIN) | {"distance": 40, "distance_unit": "km"}
    near = {"berlin", "both", "potsdam"}
    products = caller.products(path, geo={"boost": [circle]})
    boosted = [one["product_id"] for one in products if one["_boosted"]]
    assert boosted == [one["product_id"] for one in products[: len(boosted)]]
    assert boosted
    assert set(boosted) <= near
    pinned = caller.products(path, geo={"boost": [circle | {"boost_positions": [2]}]})
    assert [at for at, one in enumerate(pinned) if one["_boosted"]] == [2]
    assert pinned[2]["product_id"] in near


def test_a_search_repeats_its_boosts_and_sorts_and_counts_by_place(caller: Caller) -> None:
    circle = at(BERLIN) | {"distance": 40, "distance_unit": "km"}
    _, answered = caller.answer("search/search", geo={"boost": [circle]}, boost_fq="title:x")
    assert answered["data"]["boosting_rules"] == [{"boost_fq": "title:x"}, circle]
    key = {"field": "_geo_distance", "order": "asc", "default_value": 1e6, "geo": at(POTSDAM)}
    found = caller.ids(order_by=[key])
    expected = sorted(
        (min((km(POTSDAM, one) for one in where), default=1e6), found.index(product_id))
        for product_id, where in PLACES.items()
    )
    assert [found[index] for _, index in expected] == found
    half = key | {"field": "floor(_geo_distance / 100)", "tie_breaker": {"threshold": 0}}
    assert set(caller.ids(order_by=[half])[:3]) == {"berlin", "both", "potsdam"}
    _, answered = caller.answer("search/search", facets=["availability"], geo={"filter": [circle]})
    assert answered["data"]["facet_counts"]["facet_fields"] == {"availability": [["IN_STOCK", 3]]}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("field", ["_geo_distance", "2 * _geo_distance + 1"])
def test_what_is_nowhere_comes_last_unless_it_is_told_where(
    caller: Caller, order: str, field: str
) -> None:
    key = {"field": field, "order": order, "geo": at(POTSDAM)}
    nowhere = {one for one, where in PLACES.items() if not where}
    assert nowhere
    found = caller.ids(order_by=[key])
    assert set(found[-len(nowhere) :]) == nowhere
    near = caller.ids(order_by=[key | {"tie_breaker": {"threshold": "0.5"}}])
    assert set(near[-len(nowhere) :]) == nowhere
    first = caller.ids(order_by=[key | {"default_value": -1 if order == "asc" else 1e9}])
    assert set(first[: len(nowhere)]) == nowhere


@pytest.mark.parametrize(
    ("geo", "pointer"),
    [
        ({"filter": [{"lat": 1, "lon": 2}]}, "/geo/filter/0/distance"),
        ({"filter": [{"lat": 91, "lon": 2, "distance": 1}]}, "/geo/filter/0/lat"),
        ({"filter": [{"lat": 1, "lon": 181, "distance": 1}]}, "/geo/filter/0/lon"),
        ({"filter": [{"lat": 1, "lon": 2, "distance": -1}]}, "/geo/filter/0/distance"),
        ({"filter": [{"lat": 1, "lon": 2, "distance": 1, "distance_unit": "yard"}]},
         "/geo/filter/0/distance_unit"),
        ({"filter": [{"lat": 1, "lon": 2, "distance": 1, "field": "title"}]},
         "/geo/filter/0/field"),
        ({"filter": [{"lat": 1, "lon": 2, "distance": 1, "field": "place"}]},
         "/geo/filter/0/field"),
        ({"boost": [{"lat": 1, "lon": 2, "distance": 1, "boost_positions": [-1]}]},
         "/geo/boost/0/boost_positions/0"),
        ({"boost": [{"lat": 1, "lon": 2, "distance": 1}] * 11}, "/geo/boost"),
        ([], "/geo"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_place_is_refused_where_it_stands(
    caller: Caller, path: str, geo: Any, pointer: str
) -> None:
    status, answered = caller.answer(path, geo=geo)
    assert status == 422
    assert any(one["pointer"].startswith(pointer) for one in answered["problems"]), answered


@pytest.mark.parametrize("geo", [{}, None, {"filter": [], "boost": []}])
def test_no_place_is_no_filter(caller: Caller, geo: Any) -> None:
    assert set(caller.ids(geo=geo)) == set(PLACES)
