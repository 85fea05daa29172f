"""Partial products through `/v1`: merged, refused, stale, encoded only where the text changed."""

from __future__ import annotations

from typing import Any

from tests.gateway.test_v1_data import Api, api

__all__ = ["api"]


def read(api: Api, product_id: str) -> Any:
    """The record, None where there is none."""
    return (api.get(f"/v1/products/{product_id}").json or {}).get("data")


def test_a_patch_changes_what_it_names(api: Api) -> None:
    api.post("/v1/products", {"product_id": "p1", "title": "Lamp", "brand": "Acme"})
    answer = api.call("PATCH", "/v1/products/p1", {"sale_price": 5, "brand": None})
    assert answer.status_code == 200, answer.json
    assert read(api, "p1") == {"product_id": "p1", "title": "Lamp", "sale_price": 5}
