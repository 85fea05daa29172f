"""What each event name of Segment's Spec means here: the table that `track` goes by."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A line of the event table: our type, the custom action's name, the payload's family."""

    type: str
    action: str
    family: str


# Names as `normalized` writes them: the Spec's first, then its V1 and Google Analytics aliases.
TABLE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("products searched", "product searched", "searched products"), "search", "search"),
    (("product list viewed", "viewed product category"), "category_page_view", "list"),
    (("product list filtered",), "category_page_view", "list"),
    (("product clicked", "clicked product"), "click", "product"),
    (("product viewed", "viewed product"), "product_detail_page_view", "product"),
    (("product added", "added product"), "add_to_cart", "product"),
    (("wishlist product added to cart",), "add_to_cart", "product"),
    (("product removed", "removed product"), "remove_from_cart", "product"),
    (("product added to wishlist",), "add_to_collection", "product"),
    (("product removed from wishlist",), "remove_from_collection", "product"),
    (("product shared",), "share", "product"),
    (("cart shared",), "share", "products"),
    (("product reviewed",), "rate", "review"),
    (("video content started",), "watch", "content"),
    (("video content completed",), "complete", "content"),
    (("video content playing",), "custom", "heartbeat"),
    (("video ad playing",), "custom", "heartbeat"),
    (("heartbeat",), "custom", "heartbeat"),
    (("promotion viewed", "viewed promotion"), "custom", "named"),
    (("promotion clicked", "clicked promotion"), "custom", "named"),
    (("coupon entered",), "custom", "named"),
    (("coupon applied",), "custom", "named"),
    (("coupon denied",), "custom", "named"),
    (("coupon removed",), "custom", "named"),
    (("cart viewed", "viewed cart"), "custom", "cart"),
    (("checkout started", "started order"), "checkout_started", "cart"),
    (("checkout step viewed", "viewed checkout step"), "custom", "cart"),
    (("checkout step completed", "completed checkout step"), "custom", "cart"),
    (("payment info entered",), "custom", "cart"),
    (("order completed", "completed order"), "purchase", "order"),
    (("order updated", "updated order"), "custom", "order updated"),
    (("order refunded",), "refund", "order refunded"),
    (("order cancelled", "order canceled"), "refund", "order cancelled"),
)
EVENTS: dict[str, Row] = {
    name: Row(type_, names[0].replace(" ", "_"), family)
    for names, type_, family in TABLE
    for name in names
}
ABOUT_PRODUCTS = frozenset(
    row.action
    for row in EVENTS.values()
    if row.family in ("product", "products", "review", "content")
)


def normalized(name: str) -> str:
    """`Product    Clicked`, `product_clicked` and `PRODUCT Clicked ` are one name."""
    return " ".join(name.replace("_", " ").lower().split())
