"""A search is read with what its visitor did before, by the true encoder."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from ranking.catalog import embeddings, queries
from ranking.catalog.encoder import Encoder
from tests.conftest import Shop
from tests.gateway.test_v1_search import Caller

PLUSHES = ("Plush Corgi Puppy", "Large Corgi Soft Toy", "Plush Corgi Pillow")
OTHERS = (
    "Flower Stickers", "Robot Stickers", "Butterfly Stickers", "Space Rocket Stickers",
    "Sheet of Welsh Corgi Stickers", "Sheet of Dinosaur Stickers", "Vintage Car Stickers",
    "Steel Watering Can", "Linen Tea Towel", "Desk Lamp", "Chess Board",
)  # fmt: skip
CORGI = "Sheet of Welsh Corgi Stickers"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def caller(client: FlaskClient, shop: Shop, encoder: Encoder) -> Caller:
    made = Caller(client, shop)
    records = [{"product_id": title, "title": title} for title in (*PLUSHES, *OTHERS)]
    assert made.post("products", {"data": records}, key=shop.secret_key).status_code == 200
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, encoder)
        texts = ["stickers", "a corgi"]
        queries.vectors(connection, shop.site.site_id, texts, encodes=encoder)
    return made


def test_after_plush_corgis_stickers_are_those_of_corgis(caller: Caller) -> None:
    before = caller.ids(q="stickers", anonymous_id="a1", rows=20)
    assert before[0] != CORGI
    for title in PLUSHES[:2]:
        view = {"type": "product_detail_page_view", "anonymous_id": "a1", "product_ids": [title]}
        assert caller.post("interactions", {"data": [view]}).status_code == 200
    after = caller.search(q="stickers", anonymous_id="a1", rows=20, explain=True)["products"]
    assert after[0]["product_id"] == CORGI
    assert {one["product_id"] for one in after} == set(before)
    interest = [one["_explanation"]["parts"].get("interest", 0.0) for one in after]
    assert interest[0] == max(interest)
    reasons = {id for one in after[0]["_explanation"]["because"] for id in one["product_ids"]}
    assert reasons <= set(PLUSHES[:2]) and reasons


def test_like_asks_for_what_a_text_means(caller: Caller) -> None:
    assert set(caller.ids(q="*", like="a corgi", rows=4)) == {*PLUSHES, CORGI}
    assert caller.ids(q="stickers", like="a corgi")[0] == CORGI
