"""The whole way once: a real Segment event, signed, changes the visitor's very next list."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ranking.catalog import embeddings
from ranking.catalog.encoder import Encoder
from tests.conftest import Shop
from tests.connectors.signing import segment as signed

RECORDED = Path(__file__).parents[3] / "shared" / "fixtures" / "segment" / "events"
TITLES = {
    "chess": "Wooden Chess Board Game", "risk": "Risk: The Board Game of Conquest",
    "cards": "Family Card Game", "puzzle": "Jigsaw Puzzle 1000 Pieces",
    "spade": "Garden Spade", "hose": "Garden Hose 20 m", "seeds": "Tomato Seeds",
    "gloves": "Gardening Gloves", "pan": "Cast Iron Frying Pan", "knife": "Chef's Knife",
    "towel": "Linen Tea Towel", "mug": "Stoneware Mug",
}  # fmt: skip
GAMES = {"chess", "risk", "cards", "puzzle"}


def product_viewed() -> dict[str, Any]:
    """Segment's own example of the event, of a board game, as of now."""
    path = RECORDED / "segment-docs.json"
    if not path.exists():
        pytest.skip("the recorded events lie in ../shared, which is not beside the project")
    events = json.loads(path.read_text(encoding="utf-8"))["events"]
    properties = next(e["properties"] for e in events if e.get("event") == "Product Viewed")
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": "spine-1",
        "anonymousId": "visitor-1",
        "timestamp": datetime.now(UTC).isoformat(),
        "properties": properties,
    }


def test_a_signed_segment_event_changes_the_next_list(shop: Shop, client: FlaskClient) -> None:
    headers = {"X-API-KEY": shop.secret_key}
    viewed = product_viewed()
    touched = viewed["properties"]["product_id"]
    names = TITLES | {touched: viewed["properties"]["name"]}
    records = [{"product_id": name, "title": title} for name, title in names.items()]
    assert client.post("/v1/products", json={"data": records}, headers=headers).status_code == 200
    with shop.pool.connection() as connection:
        assert embeddings.drain(connection, shop.site.site_id, Encoder()) == len(records)

    def ask() -> list[dict[str, Any]]:
        asked = {"anonymous_id": "visitor-1", "rows": 3, "explain": True}
        answer = client.post("/v1/recommendation/user_to_products", json=asked, headers=headers)
        found: list[dict[str, Any]] = answer.get_json()["data"]["products"]
        return found

    before = {product["product_id"] for product in ask()}
    body = json.dumps(viewed).encode()
    path = f"/webhooks/segment/{shop.segment.public_id}"
    taken = client.post(path, data=body, headers=signed(body, shop.segment.secrets[0]))
    assert taken.get_json()["applied"] == 1
    after = ask()
    assert {product["product_id"] for product in after} <= GAMES
    assert not before <= GAMES
    reasons = [event for product in after for event in product["_explanation"]["because"]]
    assert {product_id for event in reasons for product_id in event["product_ids"]} == {touched}
