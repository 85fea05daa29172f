"""What `/metrics` tells of an index that misses products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from flask.testing import FlaskClient
from psycopg import sql

from gateway.http import rechecking
from ranking.catalog import models, recall
from tests.conftest import Shop
from tests.gateway.test_metrics import figure
from tests.gateway.test_v1_rules import Caller

PRODUCTS = 1_500
LIST = "recommendation/user_to_products"


@pytest.fixture
def caller(client: FlaskClient, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """A shop in which every search is looked at, and a visitor who has seen a product."""
    monkeypatch.setattr(recall, "EVERY", 1)
    recall.forget()
    made = Caller(client, shop)
    records = [
        {"product_id": f"p{n}", "title": f"thing {n}", "tags": ["tenth"] if n % 10 == 0 else []}
        for n in range(PRODUCTS)
    ]
    assert made.answer("products", key=shop.secret_key, data=records)[0] == 200
    view = {"type": "product_detail_page_view", "anonymous_id": "a1", "product_ids": ["p1"]}
    _encode(shop)
    assert made.answer("interactions", data=[view])[0] == 200
    yield made
    recall.forget()


def _encode(shop: Shop) -> None:
    """With vectors far from each other, of which a graph with few links finds few."""
    with shop.pool.connection() as connection:
        model = models.live(connection, shop.site.site_id)
        rows = connection.execute("select product_no, text_hash from products").fetchall()
        numbers, hashes = zip(*rows, strict=True)
        made = models.unit(np.random.default_rng(5).normal(size=(len(rows), 384)))
        written = numbers, hashes, made
        models.write_texts(connection, shop.site.site_id, model.texts, *written)
        models.write_vectors(connection, shop.site.site_id, model.vectors, *written)
        models.analyze(connection, model)


def _index(shop: Shop) -> None:
    """As bad a one as can be made."""
    with shop.pool.connection() as connection:
        model = models.live(connection, shop.site.site_id)
        statement = models.SQL.fill(
            "create_index",
            index=sql.Identifier(f"{model.vectors_table}_hnsw"),
            vectors=model.vectors,
            links=sql.Literal(2),
            ef_construction=sql.Literal(4),
        )
        connection.execute(statement)
        connection.execute("update models set has_index = true, ef_search = 1, exact_cost = 1")
        models.uncache(connection, shop.site.site_id)


def _look(shop: Shop) -> None:
    """What goes on beside the requests."""
    served = recall.taken(0)
    assert served is not None
    with shop.pool.connection() as connection:
        rechecking.check(connection, served)


def test_a_bad_index_is_seen(caller: Caller) -> None:
    _index(caller.shop)
    checked = figure(caller.client, "attune_recall_checks_total", selectivity="unfiltered")
    caller.ids(LIST, anonymous_id="a1", rows=50)
    _look(caller.shop)
    assert 0 < figure(caller.client, "attune_recall", selectivity="unfiltered") < 1
    now = figure(caller.client, "attune_recall_checks_total", selectivity="unfiltered")
    assert now == checked + 1


def test_what_is_compared_exactly_misses_nothing(caller: Caller) -> None:
    _index(caller.shop)
    with caller.shop.pool.connection() as connection:
        connection.execute("update models set exact_cost = 100000")
        models.uncache(connection, caller.shop.site.site_id)
    caller.ids(LIST, anonymous_id="a1", rows=20, fq="tags:tenth")
    _look(caller.shop)
    assert figure(caller.client, "attune_recall", selectivity="tenth") == 1


@pytest.mark.parametrize(
    ("share", "name"),
    [(1, "unfiltered"), (0.5, "half"), (0.1, "tenth"), (0.01, "hundredth"), (0.001, "thousandth"),
     (0, "thousandth")],
)  # fmt: skip
def test_a_filter_is_called_by_the_width_it_is_nearest_to(share: float, name: str) -> None:
    assert recall.width_of(share) == name


def test_only_every_so_many_th_search_is_looked_at(
    client: FlaskClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "EVERY", 7)
    assert [recall.is_next() for _ in range(21)].count(True) == 3
