"""Style clusters: which products are together, what they are called, what they cost."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.catalog import clusters, models
from ranking.catalog.clusters import Centres
from tests.ranking.catalog.catalogs import NOW, Catalog, a_product
from tests.ranking.market import Words

THINGS = ("mug", "hat", "lamp", "scarf", "clock", "bowl")
PLACES = ("kitchen cup drink", "head warm wear", "light desk bulb", "neck wool knit",
          "time hour wall", "soup dish food")  # fmt: skip


def vectors_of(groups: int, each: int, seed: int = 0) -> clusters.Floats:
    """Some vectors near to each of some directions."""
    chance = np.random.default_rng(seed)
    directions = np.repeat(chance.normal(size=(groups, 8)), each, axis=0)
    return models.unit(directions + 0.1 * chance.normal(size=directions.shape))


def nobody(vectors: clusters.Floats) -> clusters.Ints:
    return np.zeros(len(vectors), np.int64)


# pure -------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(6, 12), st.integers(0, 9))
def test_every_vector_is_in_the_cluster_whose_centre_is_nearest(
    groups: int, each: int, seed: int
) -> None:
    vectors = vectors_of(groups, each, seed)
    found = clusters.centres_of(vectors, nobody(vectors), groups, 40, seed)
    ids, likeness = found.nearest(vectors)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert likeness == pytest.approx((vectors @ found.vectors.T).max(axis=1), abs=1e-5)
    assert set(found.ids) <= set(range(41, 41 + groups))
    again = clusters.centres_of(vectors, nobody(vectors), groups, 40, seed)
    assert np.array_equal(again.vectors, found.vectors)
    assert np.array_equal(again.ids, found.ids)
    assert set(ids) == set(found.ids)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 5), st.integers(0, 9))
def test_a_refit_of_the_same_keeps_every_id(groups: int, seed: int) -> None:
    vectors = vectors_of(groups, 10, seed)
    first = clusters.centres_of(vectors, nobody(vectors), groups, 0, seed)
    before, _ = first.nearest(vectors)
    second = clusters.centres_of(vectors, before, groups, int(first.ids.max()), seed + 1)
    assert np.array_equal(second.nearest(vectors)[0], before)


def test_new_clusters_of_a_grown_catalog_have_new_ids() -> None:
    vectors = vectors_of(6, 10)
    first = clusters.centres_of(vectors[:30], nobody(vectors[:30]), 3, 0, 0)
    before = nobody(vectors)
    before[:30], _ = first.nearest(vectors[:30])
    found = clusters.centres_of(vectors, before, 6, 3, 0)
    assert list(found.ids[:3]) == [1, 2, 3]
    assert len(found.ids) > 3
    assert np.array_equal(found.nearest(vectors[:30])[0], before[:30])


def test_of_two_equally_near_centres_the_first_counts() -> None:
    same = Centres(np.array([3, 5]), np.ones((2, 1), np.float32))
    assert list(same.nearest(np.ones((1, 1), np.float32))[0]) == [3]


@given(st.integers(0, 10**7))
def test_how_many_clusters_rises_with_the_catalog(products: int) -> None:
    few, more = clusters.wanted(products), clusters.wanted(products + 1)
    assert 0 <= few <= more <= clusters.MOST_CLUSTERS
    assert (few == 0) == (products < clusters.LEAST_PRODUCTS)


# in Postgres ------------------------------------------------------------------------------------


def stock(catalog: Catalog, start: int, end: int, **fields: Any) -> None:
    """Products of six kinds, whose texts have words of their kind and their own number."""
    for number in range(start, end):
        thing, place = THINGS[number % 6], PLACES[number % 6]
        catalog.upload(
            a_product(
                f"{thing} {number}", title=f"{thing} n{number}", description=place,
                sale_price=1.0 + number, ago=9, **fields,
            )
        )  # fmt: skip
    catalog.encode(Words())


def refreshed(catalog: Catalog) -> dict[str, int]:
    models.uncache(catalog.connection, catalog.site_id)
    return clusters.refresh(catalog.connection, catalog.site_id)


def together(catalog: Catalog) -> dict[str, set[str]]:
    """By a cluster's label the kinds of its products."""
    rows = catalog.rows(
        "select k.label, p.product_id from product_clusters c join clusters k using "
        "(site_id, cluster_id) join products p using (site_id, product_no) where site_id = %(site)s"
    )
    found = defaultdict(set)
    for label, product_id in rows:
        found[label].add(product_id.split()[0])
    return dict(found)


def numbered(catalog: Catalog) -> dict[int, str]:
    return dict(
        catalog.rows(
            "select cluster_id, label from clusters where site_id = %(site)s and cluster_id > 0"
        )
    )  # type: ignore[arg-type]


def test_alike_products_are_together_under_a_name_that_says_so(catalog: Catalog) -> None:
    stock(catalog, 0, 120)
    assert refreshed(catalog)["clusters"] >= clusters.LEAST_CLUSTERS
    found = together(catalog)
    assert set().union(*found.values()) == set(THINGS)
    for label, things in found.items():
        assert any(thing in label for thing in things)
    assert sum(len(things) == 1 for things in found.values()) >= 4


def test_a_small_catalog_has_none_but_its_prices(catalog: Catalog) -> None:
    stock(catalog, 0, 9)
    assert refreshed(catalog)["clusters"] == 0
    [(cluster_id, quantiles)] = clusters.prices(catalog.connection, catalog.site_id, []).items()
    assert cluster_id == 0
    assert quantiles[""][0] == 1.0 and quantiles[""][-1] == 9.0


def test_a_new_product_is_placed_as_it_is_encoded(catalog: Catalog) -> None:
    stock(catalog, 0, 120)
    refreshed(catalog)
    before = together(catalog)
    stock(catalog, 120, 121)
    [(label, likeness)] = catalog.rows(
        "select k.label, c.likeness from product_clusters c join clusters k using "
        "(site_id, cluster_id) join products p using (site_id, product_no) "
        "where site_id = %(site)s and p.product_id = 'mug 120'"
    )
    assert "mug" in before[label] and likeness > 0.5
    assert not clusters.is_due(catalog.connection, catalog.site_id)


def test_ids_and_names_stay_where_the_products_stay(catalog: Catalog) -> None:
    stock(catalog, 0, 120)
    refreshed(catalog)
    before = numbered(catalog)
    stock(catalog, 120, 150)
    models.uncache(catalog.connection, catalog.site_id)
    assert clusters.is_due(catalog.connection, catalog.site_id)
    assert refreshed(catalog)["fitted"] == 1
    after = numbered(catalog)
    assert {one: after[one] for one in before if one in after} == {
        one: label for one, label in before.items() if one in after
    }
    assert set(before) <= set(after)
    assert refreshed(catalog)["fitted"] == 0


def test_the_same_catalog_gives_the_same_clusters(catalog: Catalog) -> None:
    stock(catalog, 0, 120)
    refreshed(catalog)
    first = together(catalog)
    for table in ("clusters", "product_clusters", "cluster_sites"):
        catalog.connection.execute(f"delete from {table}")
    refreshed(catalog)
    assert together(catalog) == first


def test_clusters_go_with_a_catalog_that_has_shrunk(catalog: Catalog) -> None:
    stock(catalog, 0, 120)
    refreshed(catalog)
    catalog.remove(*(f"{THINGS[n % 6]} {n}" for n in range(30, 120)), at=NOW + timedelta(1))
    assert refreshed(catalog)["clusters"] == 0
    assert together(catalog) == {}
    assert not clusters.is_due(catalog.connection, catalog.site_id)


def test_products_that_went_are_counted_no_more(catalog: Catalog) -> None:
    stock(catalog, 0, 120)
    refreshed(catalog)
    catalog.remove("mug 0", at=NOW + timedelta(1))
    refreshed(catalog)
    counted = catalog.rows("select sum(products), count(*) filter (where cluster_id = 0) "
                           "from clusters where site_id = %(site)s and cluster_id > 0")  # fmt: skip
    assert counted[0][0] == 119


def test_prices_of_currencies_stand_apart(catalog: Catalog) -> None:
    stock(catalog, 0, 6, custom_attributes={"currency": "eur"})
    stock(catalog, 6, 9, custom_attributes={"currency": "USD"})
    refreshed(catalog)
    found = clusters.prices(catalog.connection, catalog.site_id, [])[0]
    assert found["EUR"][-1] == 6.0 and found["USD"][0] == 7.0


def test_what_was_placed_by_older_centres_is_placed_again(catalog: Catalog) -> None:
    stock(catalog, 0, 120)
    refreshed(catalog)
    found = together(catalog)
    catalog.connection.execute(
        "update product_clusters set cluster_id = 999 where product_no in "
        "(select product_no from products where product_id = 'mug 0')"
    )
    assert refreshed(catalog)["placed"] == 1
    assert together(catalog) == found
