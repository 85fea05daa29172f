"""Shopify's webhooks: is a request authentic, what do its headers say, which records has a body?

https://shopify.dev/docs/apps/build/webhooks/verify-deliveries and …/webhooks/delivery-structure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectors import values
from connectors.authenticity import Authenticity, NotAuthentic, Verified, equals_any

SIGNATURE = "x-shopify-hmac-sha256"
SHOP = "x-shopify-shop-domain"
TOPIC = "x-shopify-topic"
WEBHOOK_ID = "x-shopify-webhook-id"
TRIGGERED_AT = "x-shopify-triggered-at"

# Only such a name may ever stand in an address: https://shopify.dev/docs/apps/build/authentication-authorization
_SHOP = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com", re.IGNORECASE | re.ASCII)

# What a pixel says once for all events of a body.
OF_ALL_EVENTS = ("attune_vid", "customer_id", "init")


def authenticate(
    headers: Mapping[str, str],
    body: bytes,
    secrets: list[str],
    settings: Mapping[str, Any] | None = None,
) -> Authenticity:
    """Whether the sender knows one of the source's secrets (several: while one is replaced).

    `X-Shopify-Hmac-Sha256` is the base64 of the body's HMAC-SHA256. The shop's name is not signed,
    and an app has one secret for all its shops: where the setting `shop` names one, a delivery
    that says it is of another is refused.
    """
    known = [secret.encode() for secret in secrets if secret.strip()]
    if not known:
        return NotAuthentic("this source has no secret: give it the one that Shopify shows")
    given = {name.lower(): value for name, value in headers.items()}
    ours, theirs = a_shop((settings or {}).get("shop")), shop_of(given)
    if ours and theirs and ours != theirs:
        return NotAuthentic("X-Shopify-Shop-Domain names another shop than this source's")
    return _by_signature(given.get(SIGNATURE, "").strip(), body, known)


def _by_signature(signature: str, body: bytes, secrets: list[bytes]) -> Authenticity:
    if not signature:
        return NotAuthentic("X-Shopify-Hmac-Sha256 is missing: only Shopify may send here")
    try:
        base64.b64decode(signature, validate=True)
    except ValueError:
        return NotAuthentic("X-Shopify-Hmac-Sha256 is not base64")
    # The text is compared, because several base64 texts stand for the same bytes.
    digests = (hmac.new(secret, body, hashlib.sha256).digest() for secret in secrets)
    if equals_any(signature, map(base64.b64encode, digests)):
        return Verified("signature")
    return NotAuthentic(
        "X-Shopify-Hmac-Sha256 does not fit the body: has this source Shopify's secret?"
    )


def a_shop(value: Any) -> str | None:
    """A shop's own domain (`name.myshopify.com`) in lower case, None for anything else."""
    name = values.text(value)
    return name.lower() if name and _SHOP.fullmatch(name) else None


def shop_of(headers: Mapping[str, str]) -> str | None:
    """The shop that a delivery says it is of; a claim until the signature fits that shop's secret.
    Names of headers in lower case."""
    return a_shop(headers.get(SHOP))


def topic(headers: Mapping[str, str]) -> str | None:
    """What a delivery is about, in lower case. Shopify's topics have a slash, so that a header
    cannot name one of ours (`browser`, `bulk`)."""
    name = headers.get(TOPIC, "").strip().lower()
    return name if "/" in name else None


def told(headers: Mapping[str, str]) -> dict[str, Any]:
    """The delivery's id (the same on every retry), when its event happened, and its shop; only what
    is there and can be read."""
    found = {
        "message_id": values.text(headers.get(WEBHOOK_ID)),
        "triggered_at": values.instant(headers.get(TRIGGERED_AT)),
        "shop": shop_of(headers),
    }
    return {name: value for name, value in found.items() if value is not None}


def records(payload: Any) -> Iterator[tuple[str, Any]]:
    """(JSON pointer, record) of a body: a webhook's, which is one record; or a pixel's: one event,
    a list, or `{"events": […]}`, where what stands beside the list is said of each event."""
    if isinstance(payload, list):
        yield from ((f"/{position}", record) for position, record in enumerate(payload))
    elif isinstance(payload, dict) and isinstance(payload.get("events"), list):
        shared = {name: payload[name] for name in OF_ALL_EVENTS if name in payload}
        for position, event in enumerate(payload["events"]):
            record = shared | event if isinstance(event, dict) else event
            yield f"/events/{position}", record
    else:
        yield "", payload
