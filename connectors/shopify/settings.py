"""What may be set for a shop's source: a slip here would switch a check off without a word."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from connectors.shopify.receive import a_shop
from connectors.shopify.webhook import address
from schemas import Malformed

SETTINGS = {
    "shop": "the shop's own domain, name.myshopify.com: its deliveries find this source by it",
    "shop_url": "the address of the shop's pages, https://shop.example, where it is another",
    "untracked_stock": "true where the shop counts no stock: nothing is ever sold out",
}


def check(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings as they are kept; None takes one away. Raises Malformed for what is none."""
    return {
        name: value if value is None else CHECKS[name](value) for name, value in settings.items()
    }


def _shop(value: Any) -> str:
    """The domain, also where it was given as an address."""
    given = value.strip() if isinstance(value, str) else ""
    shop = a_shop(re.sub(r"^https?://", "", given).partition("/")[0])
    if shop is None:
        whole = a_shop(f"{given}.myshopify.com") or "NAME.myshopify.com"
        raise Malformed(
            f"`shop` must be the shop's own domain: write {whole}, "
            "as the admin shows it under Settings > Domains."
        )
    return shop


def _shop_url(value: Any) -> str:
    found = address(value)
    if found is None or not found.startswith(("http://", "https://")):
        raise Malformed("`shop_url` must be the address of the shop's pages: https://shop.example.")
    return found


def _untracked(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Malformed("`untracked_stock` must be true or false.")
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {
    "shop": _shop,
    "shop_url": _shop_url,
    "untracked_stock": _untracked,
}
