"""Which products were taken in the same sessions."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from math import exp, sqrt
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.catalog import neighbours
from ranking.catalog.neighbours import Lines, Recipe
from tests.ranking.catalog.catalogs import NOW, Catalog, a_product

DAY = 86400.0
PLAIN = Recipe(half_life_days=2.0, near_places=3.0, reach=4, chance=1.0)
SESSIONS = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=8), max_size=8)


def lines(sessions: list[list[int]]) -> Lines:
    """Sessions a day apart, the last one as the day ends; each product says as much as it is."""
    flat = np.array([one for session in sessions for one in session], dtype=np.int64)
    ended = np.array([(at + 1) * DAY for at in range(len(sessions))], dtype=np.float64)
    return Lines(flat, flat.astype(np.float64), np.array([len(s) for s in sessions], int), ended)


def slowly(sessions: list[list[int]], recipe: Recipe) -> dict[int, dict[int, float]]:
    """The same, pair by pair."""
    pairs: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    count: dict[int, int] = defaultdict(int)
    for at, session in enumerate(sessions):
        distinct = list(dict.fromkeys(session))
        if len(distinct) < 2:
            continue
        age = len(sessions) - at - 1
        worth = 0.5 ** (age / recipe.half_life_days) / sqrt(len(distinct))
        for place, one in enumerate(distinct):
            count[one] += 1
            for other_place, other in enumerate(distinct):
                apart = abs(place - other_place)
                if 0 < apart <= recipe.reach:
                    pairs[one][other] += worth * exp(-apart / recipe.near_places) * other
    shares = {}
    for one, others in pairs.items():
        sure = count[one] / (count[one] + recipe.chance)
        sharp = {other: value**recipe.sharpness for other, value in others.items()}
        shares[one] = {other: value / sum(sharp.values()) * sure for other, value in sharp.items()}
    return shares


@given(SESSIONS)
def test_shares_are_those_of_all_pairs(sessions: list[list[int]]) -> None:
    found = list(neighbours.nearest(lines(sessions), len(sessions) * DAY, PLAIN))
    expected = slowly(sessions, PLAIN)
    assert {one.product_no for one in found} == set(expected)
    for one in found:
        told = dict(zip(one.other_nos, one.shares, strict=True))
        assert told == pytest.approx(expected[one.product_no], abs=2e-5)
        assert one.shares == sorted(one.shares, reverse=True)
        assert sum(one.shares) <= 1


def test_a_session_that_nobody_chose_says_nothing() -> None:
    crawl = list(range(1, neighbours.MOST_PRODUCTS + 2))
    found = list(neighbours.nearest(lines([crawl, [1, 2]]), 0.0, PLAIN))
    assert {one.product_no: one.other_nos for one in found} == {1: [2], 2: [1]}


# in Postgres ------------------------------------------------------------------------------------


@pytest.fixture
def shop(catalog: Catalog) -> Catalog:
    catalog.upload(*(a_product(name, ago=9) for name in "abcdef"))
    return catalog


def happens(
    catalog: Catalog, actor: UUID, *products: str, minutes: float = 100,
    type: str = "product_detail_page_view",
) -> None:  # fmt: skip
    """Views a second apart, so many minutes before now."""
    for place, product in enumerate(products):
        catalog.connection.execute(
            "insert into events (site_id, occurred_at, event_id, actor_id, type, product_ids, "
            "source_id, delivery_id, position, received_at) "
            "values (%s, %s, %s, %s, %s, %s, 1, %s, 0, %s)",
            [
                catalog.site_id, NOW - timedelta(minutes=minutes, seconds=-place), uuid4(), actor,
                type, [product], uuid4(), NOW,
            ],
        )  # fmt: skip


def kept(catalog: Catalog, wanted: str = "other.product_id") -> dict[str, list[str]]:
    """The neighbours by product, nearest first."""
    rows = catalog.rows(
        "select one.product_id, array_agg(other.product_id order by place) from neighbours n "
        "join products one using (site_id, product_no) "
        "cross join lateral unnest(n.other_nos) with ordinality as u(other_no, place) "
        "join products other on other.site_id = n.site_id and other.product_no = u.other_no "
        "where n.site_id = %(site)s group by 1 order by 1"
    )
    return dict(rows)  # type: ignore[arg-type]


def refreshed(catalog: Catalog, **more: timedelta) -> dict[str, list[str]]:
    neighbours.refresh(catalog.connection, catalog.site_id, NOW + timedelta(**more))
    return kept(catalog)


def test_products_of_one_session_are_neighbours(shop: Catalog) -> None:
    happens(shop, uuid4(), "a", "b")
    happens(shop, uuid4(), "c", "d")
    assert refreshed(shop) == {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}


def test_half_an_hour_without_an_event_ends_a_session(shop: Catalog) -> None:
    visitor = uuid4()
    happens(shop, visitor, "a", minutes=100)
    happens(shop, visitor, "b", minutes=71)
    happens(shop, visitor, "c", minutes=40)
    assert refreshed(shop) == {"a": ["b"], "b": ["a"]}


def test_impressions_say_nothing_and_purchases_most(shop: Catalog) -> None:
    happens(shop, uuid4(), "a", "b", type="impression")
    assert refreshed(shop) == {}
    for product, type in (("c", "click"), ("d", "purchase"), ("e", "add_to_cart")):
        visitor = uuid4()
        happens(shop, visitor, "a", minutes=90)
        happens(shop, visitor, product, minutes=89, type=type)
    assert refreshed(shop)["a"] == ["d", "e", "c"]


def test_what_is_gone_is_no_neighbour(shop: Catalog) -> None:
    happens(shop, uuid4(), "a", "b", "c")
    refreshed(shop)
    shop.connection.execute(
        "update products set deleted = true where site_id = %s and product_id = 'b'",
        [shop.site_id],
    )
    assert refreshed(shop) == {"a": ["c"], "c": ["a"]}
    shop.connection.execute("delete from events where site_id = %s", [shop.site_id])
    assert refreshed(shop) == {}


def test_only_what_changed_is_written_a_day_later_too(shop: Catalog) -> None:
    happens(shop, uuid4(), "a", "b")
    happens(shop, uuid4(), "a", "c", minutes=3000)
    happens(shop, uuid4(), "d", "e")
    refreshed(shop)
    before = shop.rows("select product_no, ctid::text from neighbours where site_id = %(site)s")
    refreshed(shop, days=1)
    assert before == shop.rows(
        "select product_no, ctid::text from neighbours where site_id = %(site)s"
    )


def test_who_has_too_many_events_says_nothing(
    shop: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "MOST_OF_ONE", 3)
    happens(shop, uuid4(), "a", "b", "a", "b")
    happens(shop, uuid4(), "c", "d")
    assert refreshed(shop) == {"c": ["d"], "d": ["c"]}
