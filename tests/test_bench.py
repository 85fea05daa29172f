"""What the bench compares with is right: its figures are believed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.typesense import ROWS, Products, best, recall, short

PRODUCTS = 60


def a_catalog(seed: int) -> Products:
    """Vectors by chance, every second product tagged `half`; product number 100 + n is `p<n>`."""
    vectors = np.random.default_rng(seed).standard_normal((PRODUCTS, 8)).astype(np.float32)
    return Products(
        numbers=np.arange(100, 100 + PRODUCTS),
        ids=[f"p{n}" for n in range(PRODUCTS)],
        titles=[""] * PRODUCTS,
        tags=[["half"] if n % 2 == 0 else [] for n in range(PRODUCTS)],
        vectors=vectors,
    )


@given(st.integers(0, 1000), st.sampled_from(("", "half")), st.sets(st.integers(100, 159)))
def test_no_product_is_nearer_than_the_best(seed: int, tag: str, viewed: set[int]) -> None:
    catalog, vector = a_catalog(seed), np.ones(8, np.float32)
    found = best(catalog, catalog.within(tag), vector, sorted(viewed))
    nearness = {
        id: float(catalog.vectors[n] @ vector)
        for n, id in enumerate(catalog.ids)
        if 100 + n not in viewed and (not tag or n % 2 == 0)
    }
    assert found == sorted(nearness, key=lambda id: -nearness[id])[:ROWS]


def test_recall_is_the_mean_share_that_was_found() -> None:
    assert recall([["a", "b"], ["c", "d"]], [["b", "x"], ["d", "c"]]) == 0.75


def test_a_list_is_short_where_there_was_more_to_find() -> None:
    assert short([["a", "b"], ["c"], ["d"]], [["b"], ["x"], []]) == 2
