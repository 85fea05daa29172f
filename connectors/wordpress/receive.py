"""WooCommerce's webhooks: is a request authentic, what is it about, which records does it carry?

https://woocommerce.com/document/webhooks/ and WooCommerce's `WC_Webhook` (8.0 to 11.0 alike).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectors.authenticity import Authenticity, NotAuthentic, Verified, equals_any

SIGNATURE = "x-wc-webhook-signature"
TOPIC = "x-wc-webhook-topic"
SOURCE = "x-wc-webhook-source"

FORM = "application/x-www-form-urlencoded"
LONGEST_PING = 64
_PING = re.compile(rb"webhook_id=[0-9]+")

# What wp_specialchars_decode(…, ENT_QUOTES) makes of a secret before it signs with it.
# https://developer.wordpress.org/reference/functions/wp_specialchars_decode/
_ENTITIES = {
    "amp": "&", "#038": "&", "#x26": "&", "lt": "<", "#060": "<", "gt": ">", "#062": ">",
    "quot": '"', "#034": '"', "#x22": '"', "#039": "'", "#x27": "'", "apos": "'",
}  # fmt: skip
_ENTITY = re.compile(f"&({'|'.join(_ENTITIES)});")


def authenticate(
    headers: Mapping[str, str],
    body: bytes,
    secrets: list[str],
    settings: Mapping[str, Any] | None = None,
) -> Authenticity:
    """Whether the sender knows one of the source's secrets (several: while one is replaced).

    `X-WC-Webhook-Signature` is the base64 of the HMAC-SHA256 of the raw body. Without any secret
    nothing is authentic.
    """
    known = [secret for secret in secrets if secret.strip()]
    if not known:
        return NotAuthentic("this source has no secret: give it one, then tell WooCommerce")
    signature = next((v for name, v in headers.items() if name.lower() == SIGNATURE), "").strip()
    if not signature:
        return NotAuthentic(
            "X-WC-Webhook-Signature is missing: enter the source's secret in the webhook"
        )
    if equals_any(signature, (_signed(body, key) for key in _keys(known))):
        return Verified("signature")
    return NotAuthentic(
        "X-WC-Webhook-Signature does not fit the body: is the webhook's secret this source's?"
    )


def _keys(secrets: list[str]) -> list[bytes]:
    """Each secret as it was given, and as WooCommerce reads it where it holds HTML entities."""
    texts = {text: None for secret in secrets for text in (secret, _decoded(secret))}
    return [text.encode() for text in texts]


def _decoded(secret: str) -> str:
    return _ENTITY.sub(lambda entity: _ENTITIES[entity[1]], secret)


def _signed(body: bytes, key: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, body, hashlib.sha256))


def is_ping(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether this is the request by which WooCommerce tries a new address: a form that says the
    webhook's number, unsigned. It must be answered 200, and says nothing worth keeping."""
    form = headers.get("content-type", "").partition(";")[0].strip().lower() == FORM
    return form and len(body) <= LONGEST_PING and _PING.fullmatch(body) is not None


def topic(headers: Mapping[str, str]) -> str | None:
    """What the body is about, such as `product.updated`."""
    return headers.get(TOPIC, "").strip().lower() or None


def told(headers: Mapping[str, str]) -> dict[str, Any]:
    """The shop's own address, which relative ones are relative to.

    `X-WC-Webhook-Delivery-ID` is not told: it is made of the webhook and the second, so that
    different products come under one.
    """
    address = headers.get(SOURCE, "").strip()
    return {"site_url": address} if address else {}


def records(payload: Any) -> Iterator[tuple[str, Any]]:
    """(JSON pointer, record) of a body: one record, or an array of them."""
    if not isinstance(payload, list):
        yield "", payload
        return
    for position, record in enumerate(payload):
        yield f"/{position}", record
