"""Clusters and similar users, through the real application and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import clock, people, tasks
from ranking.catalog import embeddings, popularity
from tests.builders import ago
from tests.conftest import Shop
from tests.ranking.market import Words

PLACES = {"mug": "kitchen drink", "hat": "head wear", "lamp": "light desk"}
VIEW = "product_detail_page_view"


class Styled:
    """A shop of 120 products of three kinds, clustered, with some visitors."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop
        records = [
            {"product_id": f"{thing}-{n}", "title": f"{thing} n{n}", "description": place,
             "brand": thing.upper(), "sale_price": 3 + n}
            for n in range(40)
            for thing, place in PLACES.items()
        ]  # fmt: skip
        self.post("products", records)
        for visitor, product in (
            ("a1", "mug-1"),
            ("a2", "mug-1"),
            ("a2", "mug-2"),
            ("a3", "hat-1"),
        ):
            view = {"type": VIEW, "product_ids": [product], "timestamp": ago(minutes=5)}
            self.post("interactions", [view | {"anonymous_id": visitor}])
        with shop.pool.connection() as connection:
            embeddings.drain(connection, shop.site.site_id, Words())
            popularity.refresh(connection, shop.site.site_id, datetime.now(UTC))
            self.report = tasks.TASKS["clusters"](connection, shop.site.site_id)

    def post(self, path: str, records: list[dict[str, Any]]) -> None:
        answer = self.client.post(f"/v1/{path}", json={"data": records}, headers=self.headers())
        assert answer.status_code == 200, answer.text

    def headers(self, key: str | None = None) -> dict[str, str]:
        return {"X-API-KEY": key or self.shop.secret_key}

    def get(self, path: str, status: int = 200, key: str | None = None) -> Any:
        answer = self.client.get(f"/admin/v1/{path}", headers=self.headers(key))
        assert answer.status_code == status, answer.text
        return answer.get_json()


@pytest.fixture
def styled(client: FlaskClient, shop: Shop) -> Iterator[Styled]:
    yield Styled(client, shop)


def test_clusters_are_listed_with_label_products_share_and_examples(styled: Styled) -> None:
    found = styled.get("clusters")["clusters"]
    assert sum(one["products"] for one in found) == 120
    assert sum(one["share"] for one in found) == pytest.approx(1)
    assert found[0]["share"] > 0 and "mug" in found[0]["label"].casefold()
    assert found[0]["examples"][0]["title"].startswith("mug")
    assert 1 <= len(found[0]["words"]) <= 4 and found[0]["price"]


def test_a_cluster_names_its_products_and_who_likes_them_most(styled: Styled) -> None:
    first = styled.get("clusters")["clusters"][0]["id"]
    found = styled.get(f"clusters/{first}?limit=2")
    assert len(found["examples"]) == 2
    assert {one["id"] for one in found["visitors"]} <= {"a1", "a2"}
    assert found["visitors"][0]["events"] >= found["visitors"][-1]["events"] > 0


@pytest.mark.parametrize("name", ["0", "99999", "x", "-1", "1.5", "9" * 30])
def test_an_unknown_cluster_is_a_404(styled: Styled, name: str) -> None:
    assert styled.get(f"clusters/{name}", 404)["message"]


def test_similar_users_share_a_product_and_a_taste(styled: Styled) -> None:
    [one] = styled.get("visitors/a1/similar_users")["similar_users"]
    assert (one["kind"], one["id"], one["product_ids"]) == ("anonymous", "a2", ["mug-1"])
    assert "brand" in {each["kind"] for each in one["interests"]}
    assert styled.get("visitors/a3/similar_users")["similar_users"] == []
    styled.get("visitors/nobody/similar_users", 404)
    styled.get("visitors/a1/similar_users?limit=101", 422)


def test_a_publishable_key_sees_nobody(styled: Styled) -> None:
    for path in ("visitors/a1/similar_users", "clusters", "clusters/1"):
        styled.get(path, 403, styled.shop.publishable_key)


def test_a_visitor_shows_style_and_price(styled: Styled) -> None:
    found = styled.get("visitors/a1")
    assert "style" in {one["kind"] for one in found["interests"]}
    price = found["profile"]["price"]
    assert price["position"] == pytest.approx(0.5 + sum(one["adds"] for one in price["events"]))
    assert price["word"] == "low" and price["by"] == "seen"


def test_an_export_holds_affinities_and_erasing_takes_them_away(styled: Styled) -> None:
    held = styled.get("export/a2")
    assert {"brand", "style"} <= {one["kind"] for one in held["interests"]}
    assert held["profile"]["price"]["events"]
    receipt = people.erase(styled.shop.pool, styled.shop.site, "a2")
    assert receipt["rows"]["profiles"] == 1
    left = styled.get("visitors/a2")
    assert left["interests"] == [] and left["profile"]["price"] is None
    assert styled.get("visitors/a1/similar_users")["similar_users"] == []
    assert "a2" not in str(styled.get("clusters/1"))


def test_the_clock_looks_when_the_catalog_changed_and_each_day(styled: Styled) -> None:
    [task] = [one for one in clock.TASKS if one.name == "clusters"]
    site = styled.shop.site.site_id
    with styled.shop.pool.connection() as connection:
        now = datetime.now(UTC)
        assert site in task.due(connection, now)
        connection.execute(
            "insert into task_runs (site_id, task, slot, state) "
            "values (%s, 'clusters', %s, 'done')",
            [site, now],
        )
        assert site not in task.due(connection, now)
        connection.execute("update cluster_sites set fitted_on = 60")
        assert site in task.due(connection, now)
