"""What all payloads of Shopify have in common: ids, instants, money, and who a browser is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors import values
from schemas import Malformed, present

Fact = dict[str, Any]

# A cart attribute whose name begins with two underscores is private: neither Liquid nor Ajax shows
# it, and carts, checkouts and orders carry it among their `note_attributes`.
# https://shopify.dev/docs/api/ajax/reference/cart
ANONYMOUS_ID = "__attune_anonymous_id"
LONGEST_ANONYMOUS_ID = 1024
LONGEST_ADDRESS = 8192

MOST_OF_ONE = 1e6  # no line of an order holds more


@dataclass(frozen=True, slots=True)
class Webhook:
    """One payload with its topic and what the delivery's headers and the source's settings say."""

    topic: str
    record: dict[str, Any]
    settings: Mapping[str, Any]

    @property
    def triggered_at(self) -> datetime | None:
        """When it happened in the shop: deletions carry no other instant."""
        at = self.settings.get("triggered_at") or self.settings.get("received_at")
        return at if isinstance(at, datetime) else None

    def at(self, *names: str) -> datetime | None:
        """The first instant of the payload that can be read, else when it happened."""
        found = (values.instant(self.record.get(name)) for name in names)
        return next(filter(None, found), None) or self.triggered_at

    def id(self, name: str = "id") -> str:
        """The id of what the payload is about; raises Malformed where it has none."""
        found = identifier(self.record.get(name))
        if found is None and name == "id":
            found = identifier(self.record.get("admin_graphql_api_id"))
        if found is None:
            raise Malformed(f"It has no `{name}`: let the subscription send it.", f"/{name}")
        return found

    def part(self, name: str) -> dict[str, Any]:
        return an_object(self.record.get(name))


def an_object(value: Any) -> dict[str, Any]:
    """An object; absent, null or something else is an empty one."""
    return value if isinstance(value, dict) else {}


def identifier(value: Any) -> str | None:
    """An id as a string: `123`, `"123"` and `gid://shopify/Customer/123?x=y` are one and the same.
    Null-like ones are None."""
    found = values.text(value)
    if found and found.startswith("gid://"):
        found = found.partition("?")[0].rpartition("/")[2]
    return present(found)


def address(value: Any) -> str | None:
    """An http(s) address; Shopify also writes them without the scheme."""
    found = values.text(value)
    if found is None or len(found) > LONGEST_ADDRESS or len(found.split()) > 1:
        return None
    return values.web_address(f"https:{found}" if found.startswith("//") else found)


def price(value: Any) -> float | None:
    """An amount that is not negative."""
    amount = values.number(value)
    return amount if amount is not None and amount >= 0 else None


def quantity(value: Any) -> float:
    """How many of a line; what cannot be read is one."""
    number = values.number(value)
    return number if number is not None and 0 <= number <= MOST_OF_ONE else 1


def summed(lines: Iterator[tuple[str, float]]) -> dict[str, float]:
    """Quantities by product; what stands on two lines is one."""
    found: dict[str, float] = {}
    for product_id, count in lines:
        found[product_id] = found.get(product_id, 0) + count
    return found


# who a browser is -------------------------------------------------------------------------------


def checkout_alias(token: Any) -> str | None:
    """The anonymous id that stands for a checkout until its browser is known."""
    found = identifier(token)
    return f"shopify:checkout:{found}" if found else None


def cart_alias(token: Any) -> str | None:
    """The anonymous id that stands for a cart."""
    found = identifier(token)
    return f"shopify:cart:{found}" if found else None


def attributed_id(record: Mapping[str, Any]) -> str | None:
    """The anonymous id that our snippet wrote into the cart. A visitor can write anything there, so
    one that nobody could have is no reason to refuse an order."""
    for attribute in values.objects(record.get("note_attributes")):
        if attribute.get("name") == ANONYMOUS_ID:
            found = present(attribute.get("value"))
            return found if found and len(found) <= LONGEST_ANONYMOUS_ID else None
    return None


def same_device(ids: list[str], at: datetime | None) -> list[Fact]:
    """That all these ids are one browser's, told from the first."""
    return [
        {"fact": "same_device", "anonymous_id": ids[0], "other_id": other, "occurred_at": at}
        for other in ids[1:]
        if other != ids[0]
    ]


def sighting(anonymous_id: str | None, user_id: str | None, at: datetime | None) -> list[Fact]:
    """Both together: the anonymous past is this customer's."""
    if anonymous_id is None or user_id is None:
        return []
    ids = {"anonymous_id": anonymous_id, "user_id": user_id}
    return [{"fact": "sighting", **ids, "occurred_at": at}]
