"""How a shop's owner connects Shopify: the clicks to make there, and a signed request to try.

`sources create SITE shopify` prints both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime

# https://help.shopify.com/en/manual/fulfillment/setup/notifications/webhooks
CLICKS = """\
In your shop's admin (no app is needed for this):
  1. Settings > Notifications > Webhooks > Create webhook. Format: JSON. API version: the newest.
     URL: {url}
     Make one for each of these events:
       Product creation, Product update, Product deletion
       Inventory level update, connect and disconnect; Inventory item update
       Order creation, Order payment, Order update, Order cancellation, Order deletion
       Refund create, Checkout creation, Checkout update, Cart creation, Cart update
       Customer creation, Customer update, Customer deletion, Customer merge
  2. Below the list Shopify shows the secret that it signs with ("Your webhooks will be signed
     with ..."). It cannot be chosen, so give it to Attune (the request above, signed with the one
     made here, is refused from then on):
       .venv/bin/python -m gateway sources rotate {site} {source} --secret THE_SECRET --overlap 0
  3. Say whose shop it is, and where its pages lie if that is another domain:
       .venv/bin/python -m gateway sources set {site} {source} shop NAME.myshopify.com
       .venv/bin/python -m gateway sources set {site} {source} shop_url https://shop.example
  4. For what visitors do on the pages: the snippet in the theme, or a custom pixel (Settings >
     Customer events), or both; docs/how-to/shopify.md has its code. It sends to
     {collect_url}
The URL must be https with a valid certificate: Shopify refuses others.
An app of your own sends the same to the same URL, signed with its client secret."""


def test_request(secret: str, at: datetime) -> tuple[dict[str, str], str]:
    """Headers and body of one signed orders/create, such as Shopify would send at that time.

    The order is of a product that nobody has and costs nothing. The body holds no single quote, so
    it can stand between two in a shell.
    """
    instant, number = at.isoformat(), int(at.timestamp() * 1000)
    order = {
        "id": number,
        "checkout_token": f"attune-test-{number}",
        "created_at": instant,
        "updated_at": instant,
        "currency": "USD",
        "subtotal_price": "0.00",
        "customer": None,
        "line_items": [{"product_id": "test-product", "variant_id": None, "quantity": 1}],
    }
    body = json.dumps(order)
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode(),
        "X-Shopify-Webhook-Id": f"attune-test-{number}",
        "X-Shopify-Triggered-At": instant,
    }
    return headers, body
