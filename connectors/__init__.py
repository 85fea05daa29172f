"""The connectors: a folder each, and a line each in CONNECTORS. They touch no database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.authenticity import Authenticity, NotAuthentic, Verified
from connectors.feed import receive as feed_receive
from connectors.feed import translate as feed_translate
from connectors.segment import events as segment_events
from connectors.segment import receive as segment_receive
from connectors.segment import translate as segment_translate
from connectors.shopify import receive as shopify_receive
from connectors.shopify import settings as shopify_settings
from connectors.shopify import translate as shopify_translate
from connectors.wordpress import receive as wordpress_receive
from connectors.wordpress import translate as wordpress_translate

Settings = Mapping[str, Any]
Headers = Mapping[str, str]  # names in lower case


def lowered(headers: Mapping[str, str]) -> Headers:
    """Headers as connectors are given them."""
    return {name.lower(): value for name, value in headers.items()}


def _nothing(headers: Headers) -> dict[str, Any]:
    return {}


def _no_ping(headers: Headers, body: bytes) -> bool:
    return False


def _any(settings: Settings) -> Settings:
    return settings


def _no_id(record: Any) -> str | None:
    return None


def _no_topic(headers: Headers) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Connector:
    """How one platform's requests become facts.

    `authenticate(headers, body, secrets, settings)` judges the raw bytes and never raises.
    `records(payload)` undoes wrappers: (JSON pointer into the body, record).
    `translate(topic, record, settings)` gives facts as plain dicts, or raises Ignored, Unsupported
    or Malformed. Beside the source's settings it is given `received_at` and what `told` finds in
    the headers that are kept with the body; a `message_id` among that names the delivery: sent
    again it changes nothing. `topic` finds there what the platform says the body is.
    `ping(headers, body)` knows the unsigned request by which a platform tries a new address: it is
    answered 200 without being authentic, and leaves nothing.
    """

    name: str
    authenticate: Callable[[Mapping[str, str], bytes, list[str], Settings], Authenticity]
    records: Callable[[Any], Iterator[tuple[str, Any]]]
    translate: Callable[[str | None, Any, Settings], list[dict[str, Any]]]
    settings: Mapping[str, str]  # what may be set for a source, each with a sentence
    # Where the sender writes what a fact has at a pointer (or under it); the record, if not here.
    pointers: Mapping[str, str]
    about_products: frozenset[str] = frozenset()  # custom actions kept so for want of a product
    topic: Callable[[Headers], str | None] = _no_topic
    told: Callable[[Headers], dict[str, Any]] = _nothing
    ping: Callable[[Headers, bytes], bool] = _no_ping
    # The shop that the headers name, for platforms that send all shops' deliveries to one address.
    shop_of: Callable[[Headers], str | None] | None = None
    # The settings as they are kept; None takes one away. Raises Malformed for what none may be.
    check: Callable[[Settings], Settings] = _any
    # What the sender names one record by, whether it says an event or something else.
    record_id: Callable[[Any], str | None] = _no_id
    # The header that signs a body, in lower case: it is judged, never kept.
    signature: str | None = None
    # Whether its shops' pages may send to /collect, with a publishable key and the topic `browser`.
    browser: bool = False


CONNECTORS: dict[str, Connector] = {
    "feed": Connector(
        "feed",
        feed_receive.authenticate,
        feed_receive.records,
        feed_translate.translate,
        feed_translate.SETTINGS,
        feed_translate.POINTERS,
    ),
    "segment": Connector(
        "segment",
        segment_receive.authenticate,
        segment_receive.records,
        segment_translate.translate,
        segment_translate.SETTINGS,
        segment_translate.POINTERS,
        segment_events.ABOUT_PRODUCTS,
        signature=segment_receive.SIGNATURE,
        check=segment_translate.check,
        record_id=segment_receive.record_id,
    ),
    "shopify": Connector(
        "shopify",
        shopify_receive.authenticate,
        shopify_receive.records,
        shopify_translate.translate,
        shopify_settings.SETTINGS,
        shopify_translate.POINTERS,
        signature=shopify_receive.SIGNATURE,
        topic=shopify_receive.topic,
        told=shopify_receive.told,
        shop_of=shopify_receive.shop_of,
        check=shopify_settings.check,
        browser=True,
    ),
    "wordpress": Connector(
        "wordpress",
        wordpress_receive.authenticate,
        wordpress_receive.records,
        wordpress_translate.translate,
        wordpress_translate.SETTINGS,
        wordpress_translate.POINTERS,
        signature=wordpress_receive.SIGNATURE,
        topic=wordpress_receive.topic,
        told=wordpress_receive.told,
        ping=wordpress_receive.is_ping,
        check=wordpress_translate.check,
    ),
}

__all__ = ["CONNECTORS", "Authenticity", "Connector", "NotAuthentic", "Verified", "lowered"]
