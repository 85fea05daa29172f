"""Shopify's own signature and headers; what every connector must refuse is in test_security."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.shopify.connect import test_request as a_request
from connectors.shopify.receive import a_shop, authenticate, records, shop_of, told, topic
from tests.connectors.reading import outcomes
from tests.connectors.signing import shopify as sign

BODY = '{"title":"Café ☕"}'.encode()
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def verdict(signature: str | None, settings: Any = None, **headers: str) -> Any:
    given = dict(headers)
    if signature is not None:
        given["X-Shopify-Hmac-Sha256"] = signature
    return authenticate(given, BODY, ["new", "old"], settings)


def signature(secret: str = "new") -> str:
    return sign(BODY, secret)["X-Shopify-Hmac-Sha256"]


@pytest.mark.parametrize("secret", ["new", "old"])
def test_while_shopify_changes_its_secret_both_are_good(secret: str) -> None:
    assert verdict(signature(secret))
    assert verdict(f" {signature(secret)}\t")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "is missing"),
        ("", "is missing"),
        ("not base64!", "is not base64"),
        ("é" * 44, "is not base64"),
        ("\udcff", "is not base64"),
        (signature()[:-1], "is not base64"),
        (signature("another"), "does not fit"),
        (base64.b64decode(signature()).hex(), "does not fit"),
    ],
    ids=["none", "empty", "text", "accents", "surrogate", "cut", "another-secret", "hex"],
)
def test_why_a_signature_is_refused(given: str | None, reason: str) -> None:
    refused = verdict(given)
    assert not refused
    assert reason in refused.reason


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    right = signature()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = right[:42] + letters[letters.index(right[42]) ^ 1] + "="
    assert base64.b64decode(other) == base64.b64decode(right)
    assert not verdict(other)


def test_a_delivery_of_another_shop_is_refused_where_the_source_knows_its_own() -> None:
    ours, theirs = "our-shop.myshopify.com", "their-shop.myshopify.com"
    name = "x-shopify-shop-domain"
    assert verdict(signature(), {"shop": ours}, **{name: "Our-Shop.myshopify.com"})
    assert verdict(signature(), {"shop": ours})
    assert verdict(signature(), {}, **{name: theirs})
    refused = verdict(signature(), {"shop": ours}, **{name: theirs})
    assert not refused
    assert "another shop" in refused.reason


# headers ----------------------------------------------------------------------------------------


def test_a_topic_is_what_the_header_says_and_never_one_of_ours() -> None:
    assert topic({"x-shopify-topic": " Orders/Create "}) == "orders/create"
    assert topic({}) is None
    assert topic({"x-shopify-topic": "browser"}) is None
    assert topic({"x-shopify-topic": "bulk"}) is None


def test_headers_name_the_delivery_its_instant_and_its_shop() -> None:
    headers = {
        "x-shopify-webhook-id": "494ab038-85da-4f93-a37a-742cd9b02b5a",
        "x-shopify-event-id": "95046202-9fe4-4bba-9057-d7cd5707b99f",
        "x-shopify-triggered-at": "2025-09-12T00:48:41.964744581Z",
        "x-shopify-shop-domain": "09FE59-3.myshopify.com",
    }
    assert told(headers) == {
        "message_id": "494ab038-85da-4f93-a37a-742cd9b02b5a",
        "triggered_at": datetime(2025, 9, 12, 0, 48, 41, 964744, tzinfo=UTC),
        "shop": "09fe59-3.myshopify.com",
    }


def test_what_headers_do_not_say_is_not_told() -> None:
    assert told({}) == {}
    assert told({"x-shopify-triggered-at": "yesterday", "x-shopify-shop-domain": "evil.com"}) == {}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "shop",
        "-shop.myshopify.com",
        "shop.myshopify.com.evil.com",
        "shop.myshopify.com/path",
        "https://shop.myshopify.com",
        "a.b.myshopify.com",
        "shop@evil.com#.myshopify.com",
    ],
)
def test_only_a_shop_of_shopify_is_a_shop(name: str) -> None:
    assert shop_of({"x-shopify-shop-domain": name}) is None
    assert a_shop(name) is None


# records ----------------------------------------------------------------------------------------


def test_a_webhook_is_one_record() -> None:
    assert list(records({"id": 1})) == [("", {"id": 1})]
    assert list(records(7)) == [("", 7)]


def test_what_a_pixel_says_of_all_its_events_is_said_of_each() -> None:
    body = {"attune_vid": "v", "customer_id": "7", "key": "k", "events": [{"name": "a"}, 1]}
    assert list(records(body)) == [
        ("/events/0", {"attune_vid": "v", "customer_id": "7", "name": "a"}),
        ("/events/1", 1),
    ]
    assert list(records([{"name": "a"}])) == [("/0", {"name": "a"})]


# the request to try -----------------------------------------------------------------------------


def test_the_request_to_try_is_authentic_and_becomes_an_order() -> None:
    headers, body = a_request("a-secret", AT)
    assert authenticate(headers, body.encode(), ["a-secret"], {})
    assert "'" not in body
    (facts,) = outcomes("shopify", body.encode(), headers=headers)
    assert [fact["fact"] for fact in facts] == ["order"]
    assert facts[0]["revenue"] == 0
    assert facts[0]["occurred_at"] == AT.isoformat()
