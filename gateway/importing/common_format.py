"""The common evaluation format (`product_id, title, …, price, image` and `session_id, ts, type,
product_id`) told in the words of `/v1`. The importer and `backtest` translate through here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.errors import Malformed
from schemas.fields import present

# The format's words for what is another type at `/v1`; the wire's own types stay.
TYPES = {"purchase": "checkout", "rating": "rate", "view": "product_detail_page_view"}
WITH_QUANTITIES = ("add_to_cart", "checkout")
# Columns of a table in this format that are no fields of `/v1`.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "products": ("price", "image"),
    "users": (),
    "events": ("session_id", "ts", "product_id", "quantity"),
}
NUMBERS = ("ts", "price", "quantity")
EVENT = frozenset(("user_id", "session_id", "ts", "type", "product_id", "quantity", "rating"))
SECONDS_UNTIL = 10_000_000_000  # the year 2286; larger ones are milliseconds


def is_event(record: Mapping[str, Any]) -> bool:
    """`ts` is in no record of `/v1`."""
    return "ts" in record


def is_item(record: Mapping[str, Any]) -> bool:
    return "price" in record or "image" in record


def interaction(record: Mapping[str, Any]) -> dict[str, Any]:
    """An event as `/v1/interactions` takes it; raises Malformed.

    It is the user's, or where the source has none the session's; the session is kept in
    `custom_context` with whatever else the line holds.
    """
    sent_type = record.get("type")
    kind = TYPES.get(sent_type, sent_type) if isinstance(sent_type, str) else sent_type
    user_id, session_id = present(record.get("user_id")), present(record.get("session_id"))
    more = {name: value for name, value in record.items() if name not in EVENT}
    told: dict[str, Any] = {"type": kind, "timestamp": _time(record.get("ts"))}
    if user_id:
        told["user_id"] = user_id
    elif session_id:
        told["anonymous_id"] = session_id
    if (product_id := record.get("product_id")) not in (None, ""):
        told["product_ids"] = [product_id]
    if kind in WITH_QUANTITIES and record.get("quantity") is not None:
        told["quantities"] = [record["quantity"]]
    if kind == "rate" and record.get("rating") is not None:
        told["rating"] = record["rating"]
    if custom := ({"session": session_id} if session_id else {}) | more:
        told["context"] = {"custom_context": custom}
    return told


def product(record: Mapping[str, Any]) -> dict[str, Any]:
    """An item as `/v1/products` takes it; unknown fields stay and are refused there by name."""
    told = {name: value for name, value in record.items() if value not in (None, "", [])}
    if "price" in told:
        told.setdefault("sale_price", told.pop("price"))
    if "image" in told:
        told.setdefault("cover_image", told.pop("image"))
    return told


def _time(ts: Any) -> str:
    try:
        seconds = float(ts)
        if seconds >= SECONDS_UNTIL:
            raise Malformed("`ts` must be unix seconds; these look like milliseconds.", "/ts")
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        raise Malformed("`ts` must be unix seconds.", "/ts") from None
