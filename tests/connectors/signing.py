"""How each platform signs what it sends; a connector adds a line and the security suite runs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable


def segment(body: bytes, secret: str) -> dict[str, str]:
    """Headers of a body whose signed text is the body itself (one event, or a first element)."""
    digest = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    return {"Content-Type": "application/json", "X-Signature": digest}


def shopify(body: bytes, secret: str) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode()
    return {"Content-Type": "application/json", "X-Shopify-Hmac-Sha256": signature}


def wordpress(body: bytes, secret: str, topic: str = "product.updated") -> dict[str, str]:
    """Headers of a delivery of WooCommerce."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-WC-Webhook-Topic": topic,
        "X-WC-Webhook-Signature": base64.b64encode(digest).decode(),
    }


SIGN: dict[str, Callable[[bytes, str], dict[str, str]]] = {
    "segment": segment,
    "shopify": shopify,
    "wordpress": wordpress,
}
SIGNATURE = {
    "segment": "X-Signature",
    "shopify": "X-Shopify-Hmac-Sha256",
    "wordpress": "X-WC-Webhook-Signature",
}
