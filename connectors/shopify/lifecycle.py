"""The connection itself: the app was removed, may do more or less, all is to be forgotten.

https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance (shop/redact)
"""

from __future__ import annotations

from connectors.shopify.webhook import Fact, Webhook


def uninstalled(webhook: Webhook) -> list[Fact]:
    """Nothing is deleted: many shops install again within two days."""
    return _told(webhook, "uninstalled")


def scopes_changed(webhook: Webhook) -> list[Fact]:
    return _told(webhook, "scopes_changed")


def shop_redacted(webhook: Webhook) -> list[Fact]:
    """Sent 48 hours or more after the app was removed."""
    return _told(webhook, "erase_all")


def _told(webhook: Webhook, name: str) -> list[Fact]:
    return [{"fact": "lifecycle", "name": name, "at": webhook.triggered_at}]
