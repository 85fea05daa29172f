"""WooCommerce's signature, its ping, and what is read from the headers."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from connectors.wordpress.receive import authenticate, is_ping, records, told, topic
from tests.connectors.signing import wordpress as sign

BODY = '{"id":1,"name":"Café 👜"}'.encode()
FORM = {"content-type": "application/x-www-form-urlencoded"}


def is_authentic(signed_with: str, *secrets: str) -> bool:
    return bool(authenticate(sign(BODY, signed_with), BODY, list(secrets), {}))


@pytest.mark.parametrize(
    "secret", ["plain", "Zq7&kd9<live>", "\"quoted' &amp;", "schlüssel 🔑", "a&lt;b", " spaced "]
)
def test_a_secret_may_hold_anything(secret: str) -> None:
    assert is_authentic(secret, secret)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("a&amp;b", "a&b"),
        ("&lt;live&gt;", "<live>"),
        ("&quot;x&#039;", "\"x'"),
        ("a&#x26;b", "a&b"),
        ("&amp;lt;", "&lt;"),
    ],
)
def test_woocommerce_reads_entities_in_a_secret(given: str, read: str) -> None:
    assert is_authentic(read, given)


@pytest.mark.parametrize(
    ("given", "other"), [("a&copy;b", "a©b"), ("&amp;lt;", "<"), ("a&b", "a&amp;b")]
)
def test_it_reads_no_other_entity_and_each_once(given: str, other: str) -> None:
    assert not is_authentic(other, given)


def test_a_hex_signature_is_none() -> None:
    digest = hmac.new(b"s", BODY, hashlib.sha256).hexdigest()
    for signature in (digest, base64.b64encode(digest.encode()).decode()):
        assert not authenticate({"X-WC-Webhook-Signature": signature}, BODY, ["s"], {})


def test_without_a_signature_the_reason_says_what_to_do() -> None:
    verdict = authenticate({"Content-Type": "application/json"}, BODY, ["s"], {})
    assert "enter the source's secret" in verdict.reason  # type: ignore[union-attr]


# the ping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"webhook_id=1", b"webhook_id=" + b"9" * 53])
@pytest.mark.parametrize("more", ["", "; charset=UTF-8"])
def test_a_ping_is_a_form_with_the_number_of_a_webhook(body: bytes, more: str) -> None:
    assert is_ping({"content-type": FORM["content-type"] + more}, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"webhook_id=",
        b"webhook_id=1\n",
        b" webhook_id=1",
        b"webhook_id=1&x=2",
        b"webhook_id=-1",
        b"webhook_id=a",
        "webhook_id=١".encode(),
        b"WEBHOOK_ID=1",
        b"webhook_id=" + b"9" * 54,
        b'{"webhook_id":1}',
    ],
)
def test_nothing_else_is_a_ping(body: bytes) -> None:
    assert not is_ping(FORM, body)


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}])
def test_a_ping_comes_as_a_form(headers: dict[str, str]) -> None:
    assert not is_ping(headers, b"webhook_id=1")


# headers and records -----------------------------------------------------------------------------


def test_the_topic_is_read_in_any_case() -> None:
    assert topic({"x-wc-webhook-topic": " Product.Updated "}) == "product.updated"
    assert topic({"x-wc-webhook-topic": ""}) is topic({}) is None


def test_the_shop_is_told_and_no_delivery_id_is() -> None:
    headers = {"x-wc-webhook-source": "https://shop.example/", "x-wc-webhook-delivery-id": "39e6"}
    assert told(headers) == {"site_url": "https://shop.example/"}
    assert told({}) == {}


def test_a_body_is_one_record_or_an_array_of_them() -> None:
    assert list(records({"id": 1})) == [("", {"id": 1})]
    assert list(records([{"id": 1}, 2])) == [("/0", {"id": 1}), ("/1", 2)]
    assert list(records([])) == []
