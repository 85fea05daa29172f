"""How a site's owner connects WooCommerce: the clicks to make there, and a signed request to try.

`sources create SITE wordpress` prints both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

# https://woocommerce.com/document/webhooks/
CLICKS = """\
In WordPress:
  1. WooCommerce > Settings > Advanced > Webhooks > Add webhook. One webhook has one topic: add one
     for each of "Product created", "Product updated", "Product deleted", "Product restored",
     "Order created", "Order updated", "Order deleted", "Order restored", "Customer created",
     "Customer updated" and "Customer deleted", all with the same
     Status: Active
     Delivery URL: {url}
     Secret: {secret}
     API version: WP REST API Integration v3
  2. Save. WooCommerce pings the URL and shows an error where it was not answered.
  3. Tell us the currency, which products do not say:
     .venv/bin/python -m gateway sources set {site} {source} currency EUR
WooCommerce refuses private addresses and ports other than 80, 443 and 8080. It never sends again
what failed, and the seventh failure in a row switches a webhook off without a word: look at its
Status after a break, and set it back to Active."""

NO_SHOPS = 999_999_999_999  # an id that no shop comes to


def test_request(secret: str, at: datetime) -> tuple[dict[str, str], str]:
    """Headers and body of one signed delivery, such as WooCommerce would send at that time: a
    draft, of which nothing shows in any list.

    The body holds no single quote, so it can stand between two in a shell.
    """
    modified = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    product = {"id": NO_SHOPS, "name": "Attune test", "type": "simple", "status": "draft"}
    body = json.dumps(product | {"date_modified_gmt": modified})
    digest = hmac.digest(secret.encode(), body.encode(), hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "X-WC-Webhook-Source": "https://shop.example/",
        "X-WC-Webhook-Topic": "product.updated",
        "X-WC-Webhook-Signature": base64.b64encode(digest).decode(),
    }, body
