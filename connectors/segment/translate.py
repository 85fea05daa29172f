"""Segment's calls as facts: who may pass, then the family of the call's type.

Names and rules: https://segment.com/docs/connections/spec/ (V2, and V1 as aliases).
"""

from __future__ import annotations

import difflib
import json
import marshal
from collections.abc import Callable, Mapping
from typing import Any

from connectors import values
from connectors.segment import events, message, page, people, track
from connectors.segment.message import Fact, Message, an_object
from schemas import Ignored, Malformed, Withheld

TYPES: dict[str, Callable[[Message], list[Fact]]] = {
    "track": track.track,
    "page": page.page,
    "screen": page.page,
    "identify": people.identify,
    "alias": people.alias,
    "group": people.group,
    "delete": people.delete,
}

# What Segment calls the destinations that end here, in `integrations`.
OUR_NAMES = ("Attune", "Webhooks", "Webhooks (Actions)", "Actions Webhook", "Extensible Webhook")

MAX_EVENT_BYTES = 1_000_000
# https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#max-request-size
MAX_CLIENT_EVENT_BYTES = 32 * 1024

# What a client library may call here itself. Its write key lies open in web pages, so it erases
# nobody.
DELETE = "delete"
CALLS = tuple(name for name in TYPES if name != DELETE)

SETTINGS = {
    "product_id": "the property that holds the catalog's key, or a list of them in order",
    "events": 'own event names: {"Artikel gesehen": "Product Viewed"}',
    "consent": "consent categories that an event must have, a list",
    "header": "name of the header that carries the secret, instead of X-Signature",
}

TEXTS = ("product_id", "consent")  # one, or a list of them

# What a fact has at a pointer came from there in the call.
POINTERS = {
    "/user_id": "/userId",
    "/anonymous_id": "/anonymousId",
    "/previous_id": "/previousId",
    "/message_id": "/messageId",
    "/occurred_at": "/timestamp",
    "/at": "/timestamp",
    "/as_of": "/timestamp",
    "/custom_action_name": "/event",
    "/product_ids": "/properties",
    "/quantities": "/properties",
    "/properties": "/properties",
    "/revenue": "/properties/revenue",
    "/currency": "/properties/currency",
    "/order_id": "/properties/order_id",
    "/search": "/properties/query",
    "/category": "/properties/category",
    "/context": "/context",
    "/record": "/traits",
    "/record/user_id": "/userId",
    "/record/product_id": "/properties",
}


def check(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same settings; raises Malformed for those that mean nothing: own names for events that
    the Spec has not, values of another kind."""
    for name in TEXTS:
        value = settings.get(name)
        if not (
            value is None or _is_text(value) or (_is_list(value) and all(map(_is_text, value)))
        ):
            raise Malformed(f"`{name}` must be a text or a list of texts.")
    if not (settings.get("header") is None or _is_text(settings["header"])):
        raise Malformed("`header` must be the name of a header.")
    _check_events(settings.get("events"))
    return settings


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _check_events(own: Any) -> None:
    if own is None:
        return
    if not isinstance(own, dict):
        raise Malformed('`events` must be an object: {"Artikel gesehen": "Product Viewed"}.')
    for name, target in own.items():
        key = events.normalized(target) if isinstance(target, str) else ""
        if key not in events.EVENTS:
            near = difflib.get_close_matches(key, events.EVENTS, 1)
            hint = f"; did you mean {near[0].title()!r}?" if near else ""
            raise Malformed(
                f"`events` gives {name!r} the meaning {target!r}, which is no event of the table "
                f"in connectors/segment/README.md{hint}"
            )


def translate(topic: str | None, record: Any, settings: Mapping[str, Any]) -> list[Fact]:
    """The facts of one call. `topic` is None for what Segment passes on; of what a client library
    sent here itself it is the path's word: the type of a single call, `batch` or `import`.

    Settings: `product_id`, `events`, `consent` (see README.md), and `received_at`, by which a
    client's clock is corrected. Raises Ignored and Malformed.
    """
    if not isinstance(record, dict):
        raise Malformed("An event must be a JSON object.")
    # Before anything else: of who did not consent not even what is wrong may be kept.
    if values.text(record.get("type")) != DELETE:
        _check_consent(record, settings)
    from_client = topic is not None
    if topic in CALLS:
        record = record | {"type": topic}
    read = _kind(record, from_client)
    _check_size(record, from_client)
    if read is not people.delete and _is_opted_out(record.get("integrations")):
        raise Ignored("Its `integrations` leave us out.")
    return read(message.read(record, settings, from_client=from_client))


def _kind(record: dict[str, Any], from_client: bool) -> Callable[[Message], list[Fact]]:
    name = values.text(record.get("type"))
    if name is None and from_client and "batch" in record:
        raise Malformed(
            '`batch` must be a list of events: {"batch": [{"type": "track", …}, …]}.', "/batch"
        )
    if name is None:
        raise Malformed("It has no `type`: let Segment send the whole event.", "/type")
    read = TYPES.get(name.lower())
    if read is None or (from_client and name.lower() not in CALLS):
        raise Ignored(f"Calls of the type {name[:100]!r} are not known.")
    return read


def _check_size(record: dict[str, Any], from_client: bool) -> None:
    limit, told = (MAX_CLIENT_EVENT_BYTES, "32 KB") if from_client else (MAX_EVENT_BYTES, "1 MB")
    # JSON text is at most six times marshal's bytes, which cost a third of it to make.
    if len(marshal.dumps(record, 2)) * 6 <= limit:
        return
    sent = {name: value for name, value in record.items() if name != "sentAt"}  # it is the batch's
    text = json.dumps(sent, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode("utf-8", "replace")) > limit:
        raise Malformed(f"The event is larger than {told}.")


def _check_consent(record: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise Withheld for what the person does not want us to have."""
    if (required := settings.get("consent")) and _is_without_consent(record, required):
        raise Withheld("It lacks a consent category that this source requires.")


def _is_opted_out(integrations: Any) -> bool:
    """False for our name, or for all without a word about us. Segment has filtered; who sends
    through it by hand may not have."""
    if not integrations or not isinstance(integrations, dict):
        return False
    ours = [integrations[name] for name in OUR_NAMES if name in integrations]
    return False in ours or (integrations.get("All") is False and not ours)


def _is_without_consent(record: dict[str, Any], required: str | list[str]) -> bool:
    """No consent object is no objection; an empty one is."""
    consent = an_object(an_object(record.get("context")).get("consent"))
    if "categoryPreferences" not in consent:
        return False
    given = an_object(consent["categoryPreferences"])
    wanted = [required] if isinstance(required, str) else required
    return not all(given.get(category) is True for category in wanted)
