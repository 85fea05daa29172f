"""A distance as a condition, against distances measured in another way."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ranking.catalog import places
from ranking.merchandising import filters
from ranking.merchandising.filters import Near
from ranking.merchandising.filters.places import box
from schemas.database import Connection
from tests.ranking.market import Market

Place = tuple[float, float]

BERLIN, POTSDAM = (52.52, 13.405), (52.39, 13.06)


def at(place: Place) -> dict[str, float]:
    return {"lat": place[0], "lon": place[1]}


def km(one: Place, other: Place) -> float:
    """By the chord through the earth: another way than haversine's."""

    def point(place: Place) -> tuple[float, float, float]:
        lat, lon = math.radians(place[0]), math.radians(place[1])
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    chord = math.dist(point(one), point(other))
    return 2 * 6371.0088 * math.asin(min(1.0, chord / 2))


lats = st.one_of(st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.999, 0.0, -89.5]))
lons = st.one_of(st.floats(-180, 180), st.sampled_from([180.0, -180.0, 179.99, -179.99, 0.0]))
spots = st.tuples(lats, lons)


@given(centre=spots, other=spots, radius=st.one_of(st.floats(0, 21_000), st.floats(0, 50)))
@example(centre=(89.0, 0.0), other=(89.0, 180.0), radius=222.4)
@example(centre=(0.0, 179.5), other=(0.0, -179.5), radius=112.0)
@example(centre=(45.0, 0.0), other=(90.0, 0.0), radius=5003.8)
def test_a_box_holds_its_circle(centre: Place, other: Place, radius: float) -> None:
    if km(centre, other) > radius:
        return
    around = box(*centre, radius)
    lon = -180.0 if other[1] == 180 else other[1]
    assert around.south <= other[0] <= around.north
    assert any(west <= lon <= east for west, east in around.easts)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kept=st.lists(st.lists(spots, max_size=3), min_size=1, max_size=8),
    centre=spots,
    radius=st.one_of(st.floats(0, 21_000), st.floats(0, 300)),
)
def test_a_distance_lets_through_what_is_so_near(
    connection: Connection, kept: list[list[Place]], centre: Place, radius: float
) -> None:
    """Beside products, and inverted; however small a difference is."""
    connection.execute("delete from product_places")
    connection.execute("delete from product_words where site_id = 7")
    described = [(n, {"location": [at(one) for one in where]}) for n, where in enumerate(kept)]
    places.write(connection, 7, described)
    connection.execute(
        "insert into product_words select 7, n, n, true, null, null, null, '{}', null, 1, 'en', 1, "
        "1, '' from generate_series(0, %s) n", [len(kept) - 1]
    )  # fmt: skip
    near = Near("location", *centre, radius)

    def passing(condition: filters.Expression) -> set[int]:
        compiled = filters.compile(condition, "w")
        assert compiled.joins_products
        assert compiled.measures
        query = b"select product_no from product_words w where site_id = 7 and " + (
            compiled.where.as_bytes(connection)
        )
        return {row[0] for row in connection.execute(query, compiled.params)}

    found = passing(near)
    assert passing(filters.negated(near)) == set(range(len(kept))) - found
    for number, where in enumerate(kept):
        distance = min((km(centre, one) for one in where), default=math.inf)
        if not math.isclose(distance, radius, rel_tol=1e-6, abs_tol=1e-3):
            assert (number in found) is (distance < radius)


def test_the_edge_of_a_circle_belongs_to_it(market: Market) -> None:
    market.product("there", location=at(POTSDAM), encode=False)
    row = market.connection.execute(
        "select great_circle_km(%s, %s, %s, %s)", [*BERLIN, *POTSDAM]
    ).fetchone()
    assert row is not None
    for part, found in ((1.0, ["there"]), (1 - 1e-9, [])):
        near = Near("location", *BERLIN, row[0] * part)
        assert market.list(None, "popular", filter=near) == found
