"""The bulk export's lines come together as products, whatever their order, wherever cut."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import schemas
from connectors.shopify.bulk import bulk
from tests.connectors.reading import outcome

SHIRT, HAT = "gid://shopify/Product/1", "gid://shopify/Product/2"
ROWS: list[dict[str, Any]] = [
    {
        "id": SHIRT, "title": "Shirt", "handle": "shirt", "descriptionHtml": "Long\u2028lines",
        "vendor": "Acme", "productType": "Shirts", "tags": ["a, b"], "status": "ACTIVE",
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-02-01T00:00:00Z",
        "publishedAt": "2026-01-01T00:00:00Z", "category": {"fullName": "Apparel > Shirts"},
        "featuredMedia": {"preview": {"image": {"url": "https://cdn.example/shirt.jpg"}}},
        "options": [{"name": "Size", "position": 1, "values": ["S", "M"]}],
    },
    {
        "id": HAT, "title": "Hat", "handle": "hat", "descriptionHtml": "", "vendor": "Acme",
        "productType": "", "tags": [], "status": "UNLISTED", "createdAt": None,
        "updatedAt": "2026-02-01T00:00:00Z", "publishedAt": "2026-01-01T00:00:00Z",
    },
    {
        "id": "gid://shopify/ProductVariant/11", "title": "S", "sku": "S-1", "price": "20.00",
        "compareAtPrice": "25.00", "inventoryQuantity": 0, "availableForSale": True,
        "inventoryPolicy": "DENY", "selectedOptions": [{"name": "Size", "value": "S"}],
        "inventoryItem": {"id": "gid://shopify/InventoryItem/111", "tracked": False},
        "__parentId": SHIRT,
    },
    {"id": "gid://shopify/Collection/5", "title": "New", "__parentId": SHIRT},
    {"id": "gid://shopify/ProductVariant/21", "title": "Default Title", "__parentId": HAT},
    {
        "id": "gid://shopify/ProductVariant/12", "title": "M", "sku": None, "price": "20.00",
        "compareAtPrice": None, "inventoryQuantity": 3, "availableForSale": True,
        "inventoryItem": {"id": "gid://shopify/InventoryItem/112"}, "__parentId": SHIRT,
    },
]  # fmt: skip


def written(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def read(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(bulk([written(rows)]))


def test_children_find_their_parent_wherever_they_stand() -> None:
    shirt, hat = read(ROWS)
    assert [variant["id"].rpartition("/")[2] for variant in shirt["variants"]] == ["11", "12"]
    assert [variant["id"].rpartition("/")[2] for variant in hat["variants"]] == ["21"]
    grouped = [ROWS[0], *ROWS[2:4], ROWS[5], ROWS[1], ROWS[4]]
    assert read(grouped) == [shirt, hat]


@pytest.mark.parametrize("seed", range(5))
def test_bytes_may_be_cut_anywhere(seed: int) -> None:
    body, rng = written(ROWS) + b"\n\n", random.Random(seed)
    cuts = sorted(rng.sample(range(1, len(body)), 40))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    assert list(bulk(chunks)) == read(ROWS)
    assert list(bulk(bytes([byte]) for byte in body)) == read(ROWS)


def test_a_separator_of_unicode_ends_no_line() -> None:
    assert read(ROWS)[0]["body_html"] == "Long\u2028lines"


def test_a_product_is_read_as_its_webhook_would_be() -> None:
    shirt, hat = read(ROWS)
    facts = outcome("shopify", shirt, topic="bulk")
    small, medium, untracked, group = facts
    assert small["record"] == {
        "product_id": "11",
        "product_group_id": "1",
        "title": "Shirt - S",
        "description": "Long lines",
        "brand": "Acme",
        "type": "Shirts",
        "tags": ["a, b"],
        "categories": [["Apparel", "Shirts"]],
        "collections": ["New"],
        "created_at": "2026-01-01T00:00:00+00:00",
        "published_at": "2026-01-01T00:00:00+00:00",
        "cover_image": "https://cdn.example/shirt.jpg",
        "original_price": 25,
        "sale_price": 20,
        "availability": "IN_STOCK",
        "size": "S",
        "custom_attributes": {"sku": "S-1"},
    }
    assert "stock_item" not in small
    assert medium["stock_item"] == "112"
    assert (untracked["item_id"], untracked["quantity"]) == ("111", 1)
    assert (group["fact"], group["product_ids"]) == ("variants", ["11", "12"])
    (gone,) = outcome("shopify", hat, topic="bulk")
    assert (gone["group_id"], gone["product_ids"]) == ("2", [])


def test_a_child_without_its_parent_is_nothing() -> None:
    assert read(ROWS[2:]) == []


def test_an_empty_export_is_no_product() -> None:
    assert list(bulk([])) == list(bulk([b"\n"])) == []


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b'{"title":"x"}', b"\xff", b'{"id":'])
def test_a_line_that_cannot_be_read_is_named(line: bytes) -> None:
    with pytest.raises(schemas.Malformed, match="Line 2 "):
        list(bulk([written(ROWS[:1]) + b"\n" + line]))
