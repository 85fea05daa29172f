"""A Shopify pixel's events at `/collect`, and the lists of the page they came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import access
from ranking.catalog import embeddings
from tests.builders import rows
from tests.conftest import Shop
from tests.ranking.market import Words

TITLES = [f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("mug", "hat")]


@dataclass
class Page:
    """A page of a shop: its pixel knows Shopify's id of the browser, its snippet asks for lists."""

    client: FlaskClient
    shop: Shop
    source: str

    def posts(self, path: str, body: Any, key: str | None = None) -> Any:
        answer = self.client.post(
            path, json=body, query_string={"api_key": key or self.shop.publishable_key}
        )
        assert answer.status_code == 200, answer.text
        return answer.json

    def tells(self, *events: dict[str, Any]) -> str:
        body = {"events": list(events), "attune_vid": "vid-9"}
        return str(self.posts(f"/collect/shopify/{self.source}", body)["message"])

    def shows(self, visitor: str) -> list[str]:
        answer = self.posts("/v1/recommendation/user_to_products", {"anonymous_id": visitor})
        return [one["product_id"] for one in answer["data"]["products"]]


@pytest.fixture
def page(client: FlaskClient, shop: Shop, environment: dict[str, str]) -> Iterator[Page]:
    """A shop of six products, all encoded, with a Shopify source."""
    with shop.pool.connection() as connection:
        made = access.create_source(connection, shop.site, "shopify")
    page = Page(client, shop, made.source.public_id)
    records = [{"product_id": title, "title": title} for title in TITLES]
    page.posts("/v1/products", {"data": records}, key=shop.secret_key)
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    yield page


def an_event(name: str, **data: Any) -> dict[str, Any]:
    return {"id": f"e-{name}", "name": name, "clientId": "cl-9", "data": data}


def test_the_pixel_moves_the_lists_of_its_own_page(page: Page) -> None:
    stranger = page.shows("vid-9")
    page.tells(an_event("product_viewed", productVariant={"id": "red mug"}))
    assert page.shows("vid-9") != stranger
    assert set(page.shows("vid-9")[:3]) == {"red hat", "blue mug", "green mug"}


def test_what_nobody_knows_is_ignored_and_no_event(page: Page) -> None:
    assert page.tells(an_event("payment_info_submitted"), an_event("loyalty:joined")) == "2 ignored"
    assert rows(page.shop.pool, "select 1 from events") == []
