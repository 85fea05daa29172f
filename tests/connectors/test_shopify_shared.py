"""Every shared Shopify payload against the table of outcomes; prints the counts (-s)."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.shopify.bulk import bulk
from connectors.shopify.receive import authenticate, told, topic
from connectors.shopify.translate import IGNORED, TOPICS
from tests.connectors import shopify_outcomes as expected
from tests.connectors.reading import SHARED, outcome, outcomes

FOLDER = SHARED / "shopify"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the shared fixtures are not here")

SECRET = "attune-fixture-secret"
HEADERS = {
    "X-Shopify-Shop-Domain": "attune-fixtures.myshopify.com",
    "X-Shopify-Webhook-Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    "X-Shopify-Triggered-At": "2026-10-04T12:00:00.000000000Z",
}
PERSONAL = ("@", "Billing", "Shippington", "555-", "O'Connor", "browser_ip", "139.5.255")


def index() -> list[dict[str, Any]]:
    return json.loads((FOLDER / "webhooks" / "index.json").read_text(encoding="utf-8"))["payloads"]


def topics() -> dict[str, str]:
    return {Path(entry["file"]).stem: entry["topic"] for entry in index()}


def of_webhook(name: str) -> Any:
    body = (FOLDER / "webhooks" / f"{name}.json").read_bytes()
    headers = HEADERS | {"X-Shopify-Topic": topics()[name]}
    return outcomes("shopify", body, headers=headers)[0]


def of_pixel(name: str) -> Any:
    body = (FOLDER / "pixel" / f"{name}.json").read_bytes()
    return outcomes("shopify", body, headers={"Topic": "browser"})[0]


def kinds(result: Any) -> str:
    """An outcome in the words of the table."""
    if isinstance(result, dict):
        return next(iter(result))
    told = [fact for fact in result if not fact.get("provisional")]
    own = {"event": "type", "order": "told", "lifecycle": "name"}
    return " ".join(fact[own.get(fact["fact"], "fact")] for fact in told)


@pytest.mark.parametrize("name", expected.WEBHOOKS)
def test_each_webhook_becomes_what_the_reference_says(name: str) -> None:
    assert kinds(of_webhook(name)) == expected.WEBHOOKS[name]


@pytest.mark.parametrize("name", expected.PIXEL)
def test_each_event_of_the_pixel_becomes_what_the_reference_says(name: str) -> None:
    assert kinds(of_pixel(name)) == expected.PIXEL[name]


def test_no_file_is_left_out() -> None:
    webhooks = {path.stem for path in (FOLDER / "webhooks").glob("*.json")}
    pixel = {path.stem for path in (FOLDER / "pixel").glob("*.json")}
    assert webhooks - {"index", "headers"} == set(expected.WEBHOOKS) == set(topics())
    assert pixel - {"index"} == set(expected.PIXEL)
    print(f"\nwebhooks: {dict(Counter(expected.WEBHOOKS.values()).most_common())}")


def test_each_topic_of_a_fixture_is_known_by_name() -> None:
    for name in topics().values():
        assert name in TOPICS or name in IGNORED or name.partition("/")[0] in IGNORED


def test_every_fixture_is_signed_as_its_index_says() -> None:
    for entry in index():
        body = (FOLDER / entry["file"]).read_bytes()
        headers = {"X-Shopify-Hmac-Sha256": entry["hmac_sha256_base64"]}
        assert authenticate(headers, body, ["new", SECRET], {})
        assert not authenticate(headers, body, ["new"], {})
        assert not authenticate(headers, body + b"\n", [SECRET], {})


def test_the_published_signature_is_of_the_bytes_as_they_came() -> None:
    vectors = json.loads((FOLDER / "hmac" / "vectors.json").read_text(encoding="utf-8"))
    for vector in vectors["webhook_base64_traps"]:
        headers = {"X-Shopify-Hmac-Sha256": vector["hmac"]}
        body = vector["raw_utf8"]
        assert authenticate(headers, body.encode(), [vector["secret"]], {})
        written_anew = json.dumps(json.loads(body)).encode()
        assert not authenticate(headers, written_anew, [vector["secret"]], {})


def test_the_headers_of_a_real_delivery_are_read() -> None:
    shared = json.loads((FOLDER / "webhooks" / "headers.json").read_text(encoding="utf-8"))
    captured = shared["captured_real"]
    assert topic(captured) == "products/update"
    assert told(captured) == {
        "message_id": captured["x-shopify-webhook-id"],
        "triggered_at": datetime(2025, 9, 12, 0, 48, 41, 964744, tzinfo=UTC),
        "shop": "09fe59-3.myshopify.com",
    }


@pytest.mark.parametrize("name", expected.WEBHOOKS)
def test_nothing_of_a_person_beyond_name_and_region_is_told(name: str) -> None:
    told = json.dumps(of_webhook(name), ensure_ascii=False)
    assert [word for word in PERSONAL if word in told] == []


# the bulk export --------------------------------------------------------------------------------


def exported(name: str) -> list[dict[str, Any]]:
    with (FOLDER / "bulk" / name).open("rb") as file:
        return list(bulk(file))


def test_the_bulk_export_becomes_products() -> None:
    products = exported("products.jsonl")
    facts = [fact for one in products for fact in outcome("shopify", one, topic="bulk")]
    found = Counter(fact["fact"] for fact in facts)
    found += Counter(fact["record"]["availability"] for fact in facts if "record" in fact)
    assert {"products": len(products), **found} == expected.BULK


def test_grouped_or_not_the_products_are_the_same() -> None:
    assert exported("products.jsonl") == exported("products.grouped.jsonl")


def test_webhook_and_bulk_tell_a_product_in_the_same_fields() -> None:
    of_bulk = outcome("shopify", exported("products.jsonl")[1], topic="bulk")
    for facts in (of_bulk, of_webhook("products__create")):
        record = facts[0]["record"]
        assert facts[-1]["product_ids"] == [fact["record"]["product_id"] for fact in facts[:-1]]
        assert record["product_group_id"] == facts[-1]["group_id"]
        assert record["title"].endswith(" - Small")
