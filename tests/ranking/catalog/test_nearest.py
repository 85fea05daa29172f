"""Exact search or HNSW, as we decide per query; hard filters hold and no list is short."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import nearest
from ranking.catalog.models import Model, live
from ranking.catalog.nearest import Vector
from ranking.merchandising import filters
from ranking.merchandising.filters import Filter
from schemas import database
from schemas.database import Connection
from tests.ranking.market import Market

ROWS = 600
BRANDS = {"half": 2, "tenth": 10, "hundredth": 100}
ANYTHING = filters.compile(filters.everything(), nearest.ALIAS)


def brand(name: str) -> Filter:
    return filters.compile(filters.equals("brand", name), nearest.ALIAS)


@pytest.fixture
def stocked(market: Market) -> Market:
    """Products with random vectors, every second of one brand, every tenth of another and so on,
    and an HNSW index over them."""
    random = np.random.default_rng(7)
    rows = [
        {
            "product_no": 10_000_000 + number,
            "product_id": f"p{number}",
            "terms": [filters.term("brand", name) for name, n in BRANDS.items() if number % n == 0],
            "vector": str(unit(random.normal(size=384)).tolist()),
        }
        for number in range(ROWS)
    ]
    market.connection.execute(INSERT.format(site=market.site_id), [database.jsonb(rows)])
    market.connection.execute("set local hnsw.ef_search = 200")
    market.connection.execute("set local hnsw.iterative_scan = relaxed_order")
    return market


INSERT = """
with sent as (
  select * from jsonb_to_recordset(%s) as r(
    product_no int, product_id text, terms bigint[], vector text)
), stored as (
  insert into products (site_id, product_id, product_no, group_key, as_of, record_hash, available,
                        terms, record)
  select {site}, product_id, product_no, product_no, now(), gen_random_uuid(), true, terms, '{{}}'
  from sent
)
insert into vectors_{site}_1 (site_id, product_no, group_key, available, terms, text_hash, vector)
select {site}, product_no, product_no, true, terms, gen_random_uuid(), vector::halfvec(384)
from sent;
"""


def unit(vector: np.ndarray[Any, Any]) -> Vector:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def indexed(market: Market, **more: Any) -> Model:
    """The market's model, its index built and always worth using."""
    market.connection.execute(
        f"create index on vectors_{market.site_id}_1 using hnsw (vector halfvec_ip_ops)"
    )
    return replace(live(market.connection, market.site_id), has_index=True, exact_cost=0.0, **more)


def oracle(market: Market, vector: Vector, name: str | None, limit: int) -> list[str]:
    """By arithmetic over all vectors."""
    rows = market.connection.execute(
        f"select p.product_id, v.vector::text, v.terms from vectors_{market.site_id}_1 v "
        "join products p using (site_id, product_no)"
    ).fetchall()
    wanted = filters.term("brand", name) if name else None
    near = sorted(
        (-float(np.dot(np.array(json.loads(text), dtype=np.float32), vector)), product_id)
        for product_id, text, terms in rows
        if wanted is None or wanted in terms
    )
    return [product_id for _, product_id in near[:limit]]


@pytest.mark.parametrize("name", [None, *BRANDS])
def test_exact_search_is_exact(stocked: Market, name: str | None) -> None:
    vector = unit(np.random.default_rng(1).normal(size=384))
    model = live(stocked.connection, stocked.site_id)
    found = nearest.nearest(
        stocked.connection, model, vector, brand(name) if name else ANYTHING, 10
    )
    assert [one.product_id for one in found] == oracle(stocked, vector, name, 10)
    assert all(-1 <= one.similarity <= 1 for one in found)


@pytest.mark.parametrize("name", [None, *BRANDS])
def test_the_index_gives_what_passes_in_exact_order_and_never_too_few(
    stocked: Market, name: str | None
) -> None:
    vector = unit(np.random.default_rng(2).normal(size=384))
    condition = brand(name) if name else ANYTHING
    found = nearest.nearest(stocked.connection, indexed(stocked), vector, condition, 24)
    expected = oracle(stocked, vector, name, 24)
    assert len(found) == len(expected)
    similarities = [one.similarity for one in found]
    assert similarities == sorted(similarities, reverse=True)
    assert len({one.product_id for one in found} & set(expected)) >= 0.9 * len(expected)


def test_more_than_there_are_gives_all_of_them(stocked: Market) -> None:
    vector = unit(np.ones(384))
    found = nearest.nearest(stocked.connection, indexed(stocked), vector, brand("hundredth"), 500)
    assert len(found) == ROWS / BRANDS["hundredth"]


def test_excluded_products_are_passed_over(stocked: Market) -> None:
    vector = unit(np.ones(384))
    model = indexed(stocked)
    first = nearest.nearest(stocked.connection, model, vector, ANYTHING, 5)
    excluded = [one.product_no for one in first]
    second = nearest.nearest(stocked.connection, model, vector, ANYTHING, 5, excluded)
    assert len(second) == 5
    assert not {one.product_no for one in second} & set(excluded)


def test_another_ef_search_is_used_for_its_statement_alone(stocked: Market) -> None:
    model = indexed(stocked, ef_search=400)
    found = nearest.nearest(stocked.connection, model, unit(np.ones(384)), ANYTHING, 5)
    assert len(found) == 5


# which one --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "exact_cost", "index"),
    [(None, 1.0, True), ("half", 1.0, True), ("hundredth", 1.0, False), ("half", 30.0, False)],
)
def test_exact_while_matches_are_few(
    stocked: Market, name: str | None, exact_cost: float, index: bool
) -> None:
    stocked.connection.execute(f"analyze vectors_{stocked.site_id}_1")
    model = replace(indexed(stocked), exact_cost=exact_cost)
    condition = brand(name) if name else ANYTHING
    assert nearest.use_index(stocked.connection, model, condition, 24) == index


def test_without_an_index_everything_is_exact(stocked: Market) -> None:
    model = live(stocked.connection, stocked.site_id)
    assert not nearest.use_index(stocked.connection, model, ANYTHING, 24)


def test_the_estimate_is_asked_for_once_a_minute(stocked: Market) -> None:
    model = indexed(stocked)
    before = nearest.matches(stocked.connection, model, brand("half"))
    stocked.connection.execute(f"delete from vectors_{stocked.site_id}_1")
    stocked.connection.execute(f"analyze vectors_{stocked.site_id}_1")
    assert nearest.matches(stocked.connection, model, brand("half")) == before


def test_filters_of_the_same_values_have_estimates_of_their_own(stocked: Market) -> None:
    stocked.connection.execute(f"analyze vectors_{stocked.site_id}_1")
    model = indexed(stocked)
    rare = filters.equals("brand", "hundredth")
    common = filters.compile(filters.negated(rare), nearest.ALIAS)
    few = nearest.matches(stocked.connection, model, filters.compile(rare, nearest.ALIAS))
    assert few < nearest.matches(stocked.connection, model, common)


# plans --------------------------------------------------------------------------------------------


def plan(
    connection: Connection, name: str, model: Model, condition: Filter, limit: int, told: str
) -> str:
    """How Postgres would run one of the statements on a serving connection."""
    statement = b"explain " + nearest._statement(name, model, condition, told, limit)
    parameters = {
        "site_id": model.site_id,
        "vector": unit(np.ones(384)),
        "excluded": "{}",
        "limit": limit,
        "pool": limit,
        "prior": 0.0,
        "fresh": 0.0,
        **condition.params,
    }
    rows = connection.execute(statement, parameters, prepare=False)
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("told", ["plain", "ranked"])
def test_the_exact_statement_cannot_use_the_index_and_the_other_one_does(
    stocked: Market, told: str
) -> None:
    model = indexed(stocked)
    stocked.connection.execute(f"analyze vectors_{stocked.site_id}_1")
    # Even where everything else is forbidden.
    stocked.connection.execute("set local enable_seqscan = off")
    stocked.connection.execute("set local random_page_cost = 0.1")
    for condition in (ANYTHING, brand("half"), brand("hundredth")):
        assert "vector_idx" not in plan(stocked.connection, "exact", model, condition, 24, told)
    assert "vector_idx" in plan(stocked.connection, "indexed", model, ANYTHING, 24, told)
    assert "vector_idx" in plan(stocked.connection, "indexed", model, brand("half"), 24, told)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 1000),
    name=st.sampled_from([None, *BRANDS]),
    limit=st.integers(1, 60),
    excluded=st.integers(0, 30),
)
def test_any_question_is_answered_in_full(
    stocked: Market, seed: int, name: str | None, limit: int, excluded: int
) -> None:
    vector = unit(np.random.default_rng(seed).normal(size=384))
    condition = brand(name) if name else ANYTHING
    numbers = [10_000_000 + number for number in range(excluded)]
    matching = sum(number % BRANDS.get(name or "", 1) == 0 for number in range(excluded, ROWS))
    for model in (live(stocked.connection, stocked.site_id), _with_index(stocked)):
        found = nearest.nearest(stocked.connection, model, vector, condition, limit, numbers)
        assert len(found) == min(limit, matching)
        assert not {one.product_no for one in found} & set(numbers)


def _with_index(market: Market) -> Model:
    """The index is built at the first example only."""
    there = market.connection.execute(
        "select count(*) from pg_indexes where tablename = %s and indexdef like '%%hnsw%%'",
        [f"vectors_{market.site_id}_1"],
    ).fetchone()
    model = live(market.connection, market.site_id)
    if there == (0,):
        indexed(market)
    return replace(model, has_index=True, exact_cost=0.0)
