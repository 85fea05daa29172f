"""What all calls of Segment have in common, read once, and the event that is made of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from connectors import values
from schemas import Malformed, present

Fact = dict[str, Any]

MAX_MESSAGE_ID = 100
TIMES = ("timestamp", "originalTimestamp", "receivedAt")
CLIENT_TIMES = ("timestamp", "originalTimestamp")  # nobody has received it before us
QUANTITIES = frozenset(
    ("add_to_cart", "remove_from_cart", "checkout_started", "purchase", "refund")
)

# Of an event's properties we keep what has no place of its own. A product's own text goes into
# the product; somebody's name or address goes nowhere.
PERSONAL = frozenset(
    (
        "recipient", "share_message", "email", "phone", "first_name", "firstName", "last_name",
        "lastName", "invitee_email", "invitee_first_name", "invitee_last_name",
    )
)  # fmt: skip
PLACED = PERSONAL | {"products", "product_id", "productId", "currency", "order_id", "orderId"}
PRODUCT_TEXT = frozenset(("name", "brand", "category", "url", "image_url"))
LINE_PLACED = PERSONAL | PRODUCT_TEXT | {"product_id", "productId", "quantity"}

PAGE = ("url", "referrer", "title")
CAMPAIGN = ("name", "source", "medium", "term", "content")


class Line(NamedTuple):
    """A product named by an event, with the object that names it."""

    product_id: str
    quantity: float
    item: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One call; `at` is None where no time in it can be read (then: when it was received)."""

    record: dict[str, Any]
    settings: Mapping[str, Any]
    user_id: str | None
    anonymous_id: str | None
    message_id: str | None
    at: datetime | None

    def part(self, name: str) -> dict[str, Any]:
        """An object of the call; absent, null or something else is an empty one."""
        return an_object(self.record.get(name))

    def ids(self) -> Fact:
        return {"user_id": self.user_id, "anonymous_id": self.anonymous_id}

    def sightings(self) -> list[Fact]:
        """Both ids on one call: the anonymous past is this user's."""
        if self.user_id is None or self.anonymous_id is None:
            return []
        return [{"fact": "sighting", **self.ids(), "occurred_at": self.at}]


def an_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def read(
    record: dict[str, Any], settings: Mapping[str, Any], *, from_client: bool = False
) -> Message:
    """The call's ids and time; raises Malformed where it is nobody's or its id is too long.

    `from_client`: a client library sent it here itself, by a clock that may be wrong.
    """
    user_id, anonymous_id = present(record.get("userId")), present(record.get("anonymousId"))
    if user_id is None and anonymous_id is None:
        raise Malformed("It has neither `userId` nor `anonymousId`.", "/userId")
    message_id = values.text(record.get("messageId"))
    if message_id and len(message_id) > MAX_MESSAGE_ID:
        raise Malformed(f"`messageId` is longer than {MAX_MESSAGE_ID} characters.", "/messageId")
    at = _client_time(record, settings) if from_client else _time(record, TIMES)
    return Message(record, settings, user_id, anonymous_id, message_id, at)


def _time(record: dict[str, Any], names: tuple[str, ...]) -> datetime | None:
    return next(filter(None, (values.instant(record.get(name)) for name in names)), None)


def _client_time(record: dict[str, Any], settings: Mapping[str, Any]) -> datetime | None:
    """receivedAt - (sentAt - timestamp), so that a wrong clock shifts nothing; as it is without
    `sentAt`. https://segment.com/docs/connections/spec/common/#timestamps"""
    at, sent_at = _time(record, CLIENT_TIMES), values.instant(record.get("sentAt"))
    received_at: datetime | None = settings.get("received_at")
    if at is None or sent_at is None or received_at is None:
        return at
    try:
        return received_at - (sent_at - at)
    except OverflowError:
        return at


def event(
    message: Message,
    type_: str,
    properties: dict[str, Any],
    lines: list[Line],
    placed: frozenset[str] = PLACED,
) -> Fact:
    """An event of the products in `lines`; `placed` properties are not kept among the rest."""
    return {
        "fact": "event",
        "type": type_,
        "user_id": message.user_id,
        "anonymous_id": message.anonymous_id,
        "message_id": message.message_id,
        "occurred_at": message.at,
        "product_ids": [line.product_id for line in lines],
        "quantities": [line.quantity for line in lines] if type_ in QUANTITIES and lines else None,
        "currency": currency_of(properties),
        "order_id": order_id_of(properties),
        "context": context_of(message),
        "properties": _left_over(properties, placed, lines),
    }


def currency_of(properties: dict[str, Any]) -> str | None:
    return values.currency(properties.get("currency"))


def order_id_of(properties: dict[str, Any]) -> str | None:
    """V2 writes `order_id`, V1 `orderId`."""
    return values.text(properties.get("order_id") or properties.get("orderId"))


def _left_over(
    properties: dict[str, Any], placed: frozenset[str], lines: list[Line]
) -> dict[str, Any] | None:
    """What the fact has no field for; of several products the details of each."""
    kept = {key: value for key, value in properties.items() if key not in placed}
    details = [
        {"product_id": line.product_id, **rest}
        for line in lines
        if line.item is not properties
        and (rest := {k: v for k, v in line.item.items() if k not in LINE_PLACED})
    ]
    return (kept | {"products": details} if details else kept) or None


def context_of(message: Message, shown: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Where it happened; `shown` are a page call's properties, which know better. No address."""
    context = message.part("context")
    custom = {
        "session_id": values.text(context.get("sessionId")),
        "library": values.text(an_object(context.get("library")).get("name")),
    }
    found: dict[str, Any] = {
        "page": texts(an_object(context.get("page")), PAGE) | texts(shown or {}, PAGE),
        "campaign": texts(an_object(context.get("campaign")), CAMPAIGN),
        "locale": values.text(context.get("locale")),
        "user_agent": values.text(context.get("userAgent")),
        "custom_context": {key: value for key, value in custom.items() if value},
    }
    return {key: value for key, value in found.items() if value} or None


def texts(part: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {name: found for name in names if (found := values.text(part.get(name)))}
