"""Events of a web pixel, as the visitor's browser sends them.

https://shopify.dev/docs/api/web-pixels-api/standard-events. They are claims: no product that is
known and no stock is changed by them, and of an order the webhook knows better.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urljoin

from connectors import values
from connectors.shopify import webhook as of
from connectors.shopify.checkouts import started_id
from connectors.shopify.products import base_url, titled
from connectors.shopify.webhook import Fact, an_object, identifier
from schemas import Ignored, Malformed, present

# What a browser says of an order is older than all that a webhook says of it.
CLAIMED = datetime(1970, 1, 1, tzinfo=UTC)

# `/`, or a market's or language's own: `/fr`, `/en-ca`.
HOME = re.compile(r"/(?:[a-z]{2}(?:-[a-z]{2})?/?)?", re.IGNORECASE)

# Our own events, which the snippet publishes with `Shopify.analytics.publish`.
OURS = "attune:"
CUSTOM = {
    "recommendation_clicked": "click",
    "recommendation_shown": "impression",
    "recommendation_viewed": "viewable_impression",
}
CUSTOM_PLACED = frozenset(("product_id", "variant_id", "product_ids", "miso_id"))


class Line(NamedTuple):
    """A variant that an event names, how many of it, and what is told of it."""

    product_id: str
    quantity: float
    variant: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PixelEvent:
    """One event; `visitor_id` is our own cookie, `customer_id` whoever is logged in."""

    record: dict[str, Any]
    settings: Mapping[str, Any]
    name: str
    client_id: str | None
    visitor_id: str | None
    customer_id: str | None
    at: datetime | None

    @property
    def anonymous_id(self) -> str:
        """Our own cookie's: the lists of a page are asked for under it, and to a publishable key
        they follow only what was told under the very id."""
        return self.visitor_id or self.client_id or ""

    def data(self, name: str) -> dict[str, Any]:
        """A part of the event's `data`; what is null or missing is an empty one."""
        return an_object(an_object(self.record.get("data")).get(name))


def pixel(record: Any, settings: Mapping[str, Any]) -> list[Fact]:
    """The facts of one event. Whose browser it is counts also where an event that we know says
    nothing by itself; of one that we don't know, nothing does."""
    event = _read(record, settings)
    read = _reader(event)
    links = _links(event)
    try:
        return read(event) + links
    except Ignored:
        if not links:
            raise
        return links


def _read(record: Any, settings: Mapping[str, Any]) -> PixelEvent:
    """Raises Malformed for what is no event, or nobody's."""
    name = values.text(record.get("name")) if isinstance(record, dict) else None
    if name is None:
        raise Malformed("An event of the pixel is an object with a `name`.", "/name")
    client_id, visitor_id = present(record.get("clientId")), present(record.get("attune_vid"))
    if client_id is None and visitor_id is None:
        raise Malformed("It has neither `clientId` nor `attune_vid`.", "/clientId")
    at = values.instant(record.get("timestamp"))
    customer_id = _customer(record)
    return PixelEvent(record, settings, name, client_id, visitor_id, customer_id, at)


def _customer(record: dict[str, Any]) -> str | None:
    """Who is logged in, as the pixel says it itself or passes on of `init`."""
    init = an_object(record.get("init"))
    of_init = an_object(an_object(init.get("data")).get("customer"))
    checkout = an_object(an_object(record.get("data")).get("checkout"))
    of_order = an_object(an_object(checkout.get("order")).get("customer"))
    found = (record.get("customer_id"), of_init.get("id"), of_order.get("id"))
    return next(filter(None, map(identifier, found)), None)


def _links(event: PixelEvent) -> list[Fact]:
    """Our id of the browser and Shopify's are one; who is logged in is its owner."""
    ids = [each for each in (event.visitor_id, event.client_id) if each]
    seen = of.sighting(event.anonymous_id, event.customer_id, event.at)
    return [*of.same_device(ids, event.at), *seen]


def _reader(event: PixelEvent) -> Callable[[PixelEvent], list[Fact]]:
    """What reads an event of this name; raises Ignored where nothing does."""
    if read := EVENTS.get(event.name):
        return read
    if event.name.startswith(OURS) and event.name.removeprefix(OURS) in CUSTOM:
        return _custom
    if event.name.startswith(OURS):
        raise Ignored(f"There is no event {event.name[:60]!r} of ours.")
    kind = values.text(event.record.get("type")) or "unknown"
    raise Ignored(f"Nothing follows from {event.name[:60]!r}, a {kind[:20]} event.")


# events -----------------------------------------------------------------------------------------


def _event(event: PixelEvent, type_: str, lines: list[Line], **more: Any) -> Fact:
    groups = [identifier(an_object(line.variant.get("product")).get("id")) for line in lines]
    return {
        "fact": "event",
        "type": type_,
        "user_id": event.customer_id,
        "anonymous_id": event.anonymous_id,
        "message_id": present(event.record.get("id")),
        "occurred_at": event.at,
        "product_ids": [line.product_id for line in lines],
        "product_group_ids": [group for group in groups if group] or None,
        "context": _context(event),
        **more,
    }


def _context(event: PixelEvent) -> Fact | None:
    """Where it happened; addresses without what follows `?` and `#`, where anything may stand."""
    context = an_object(event.record.get("context"))
    document, navigator = an_object(context.get("document")), an_object(context.get("navigator"))
    page = {
        "url": _bare(an_object(document.get("location")).get("href")),
        "referrer": _bare(document.get("referrer")),
        "title": values.text(document.get("title")),
    }
    found: Fact = {
        "page": {name: value for name, value in page.items() if value},
        "locale": values.text(navigator.get("language")),
        "user_agent": values.text(navigator.get("userAgent")),
    }
    return {name: value for name, value in found.items() if value} or None


def _bare(value: Any) -> str | None:
    written = values.text(value)
    return re.split(r"[?#]", written, maxsplit=1)[0] or None if written else None


def _home(event: PixelEvent) -> list[Fact]:
    document = an_object(an_object(event.record.get("context")).get("document"))
    path = values.text(an_object(document.get("location")).get("pathname")) or ""
    if not HOME.fullmatch(path):
        raise Ignored("Of pages only the home page says something by itself.")
    return [_event(event, "home_page_view", [])]


def _collection(event: PixelEvent) -> list[Fact]:
    collection = event.data("collection")
    title = values.text(collection.get("title"))
    if title is None:
        raise Ignored("The collection has no title.")
    lines = [_line(variant, 1) for variant in values.objects(collection.get("productVariants"))]
    collection_id = identifier(collection.get("id"))
    properties = {"collection_id": collection_id} if collection_id else None
    fact = _event(event, "category_page_view", [], category=[title], properties=properties)
    return [fact, *_provisional(event, lines)]


def _search(event: PixelEvent) -> list[Fact]:
    result = event.data("searchResult")
    keywords = values.text(result.get("query"))
    if keywords is None:
        raise Ignored("The search has no words.")
    lines = [_line(variant, 1) for variant in values.objects(result.get("productVariants"))]
    fact = _event(event, "search", [], search={"keywords": keywords})
    return [fact, *_provisional(event, lines)]


def _product_viewed(event: PixelEvent) -> list[Fact]:
    variant = event.data("productVariant")
    lines = _named([_line(variant, 1)])
    fact = _event(event, "product_detail_page_view", lines, currency=_currency(variant))
    return [fact, *_provisional(event, lines)]


def _added(event: PixelEvent) -> list[Fact]:
    return _cart_line(event, "add_to_cart")


def _removed(event: PixelEvent) -> list[Fact]:
    return _cart_line(event, "remove_from_cart")


def _cart_line(event: PixelEvent, type_: str) -> list[Fact]:
    line = event.data("cartLine")
    variant = an_object(line.get("merchandise"))
    lines = _named([_line(variant, line.get("quantity"))])
    counts = [line.quantity for line in lines]
    fact = _event(event, type_, lines, quantities=counts, currency=_currency(variant))
    return [fact, *_provisional(event, lines)]


def _cart_viewed(event: PixelEvent) -> list[Fact]:
    """Only whose cart it is: what is in it was told when it went in."""
    alias = of.cart_alias(event.data("cart").get("id"))
    if alias is None:
        raise Ignored("What is in a cart was told when it went in.")
    return of.same_device([event.anonymous_id, alias], event.at)


def _checkout_started(event: PixelEvent) -> list[Fact]:
    """The webhook tells of it too: the token makes one event of both."""
    checkout, lines = event.data("checkout"), _checkout_lines(event)
    token = identifier(checkout.get("token"))
    fact = _event(
        event,
        "checkout_started",
        lines,
        quantities=[line.quantity for line in lines] or None,
        currency=values.currency(checkout.get("currencyCode")),
    )
    if token:
        fact["message_id"] = started_id(token)
    return [fact, *_of_checkout(event), *_provisional(event, lines)]


def _checkout_completed(event: PixelEvent) -> list[Fact]:
    """An order, where its id is there; else only whose checkout it was, and the webhook, which has
    the same token, tells the order."""
    order_id = identifier(an_object(event.data("checkout").get("order")).get("id"))
    links = _of_checkout(event)
    if order_id is None and not links:
        raise Ignored("The order has no id yet and the checkout no token.")
    if order_id is None:
        return links
    lines = _checkout_lines(event)
    return [_claimed_order(event, order_id, lines), *links, *_provisional(event, lines)]


def _claimed_order(event: PixelEvent, order_id: str, lines: list[Line]) -> Fact:
    checkout = event.data("checkout")
    subtotal = an_object(checkout.get("subtotalPrice"))
    code = subtotal.get("currencyCode") or checkout.get("currencyCode")
    return {
        "fact": "order",
        "order_id": order_id,
        "told": "placed",
        "user_id": event.customer_id,
        "anonymous_id": event.anonymous_id,
        "occurred_at": event.at,
        "as_of": CLAIMED,
        "product_ids": [line.product_id for line in lines],
        "quantities": [line.quantity for line in lines] or None,
        "revenue": of.price(subtotal.get("amount")),
        "currency": values.currency(code),
    }


def _of_checkout(event: PixelEvent) -> list[Fact]:
    """The checkout's token is this browser's: the order that has it too finds its visitor so."""
    alias = of.checkout_alias(event.data("checkout").get("token"))
    return of.same_device([event.anonymous_id, alias], event.at) if alias else []


def _custom(event: PixelEvent) -> list[Fact]:
    """A list of ours was shown or clicked."""
    type_ = CUSTOM[event.name.removeprefix(OURS)]
    data = an_object(event.record.get("customData"))
    listed = data.get("product_ids")
    ids = [identifier(each) for each in listed] if isinstance(listed, list) else []
    ids = ids or [identifier(data.get("variant_id")) or identifier(data.get("product_id"))]
    found = [product_id for product_id in ids if product_id]
    if not found:
        raise Ignored("It names no product.")
    rest = {name: value for name, value in data.items() if name not in CUSTOM_PLACED}
    more = {"product_ids": found, "miso_id": values.text(data.get("miso_id"))}
    return [_event(event, type_, []) | more | {"properties": rest or None}]


EVENTS: dict[str, Callable[[PixelEvent], list[Fact]]] = {
    "page_viewed": _home,
    "collection_viewed": _collection,
    "search_submitted": _search,
    "product_viewed": _product_viewed,
    "product_added_to_cart": _added,
    "product_removed_from_cart": _removed,
    "cart_viewed": _cart_viewed,
    "checkout_started": _checkout_started,
    "checkout_completed": _checkout_completed,
}


# lines ------------------------------------------------------------------------------------------


def _line(variant: dict[str, Any], quantity: Any) -> Line | None:
    """The variant, or the product where no variant is named."""
    product_id = identifier(variant.get("id"))
    product_id = product_id or identifier(an_object(variant.get("product")).get("id"))
    count = of.quantity(quantity)
    return Line(product_id, count or 1, variant) if product_id else None


def _named(lines: list[Line | None]) -> list[Line]:
    """The lines that name a product; an event about none of them is ignored."""
    found = [line for line in lines if line]
    if not found:
        raise Ignored("It names no product.")
    return found


def _checkout_lines(event: PixelEvent) -> list[Line]:
    """What is in a checkout; the same variant twice is one line. Tips have no product."""
    lines: dict[str, Line] = {}
    for item in values.objects(event.data("checkout").get("lineItems")):
        variant = an_object(item.get("variant"))
        has_product = identifier(an_object(variant.get("product")).get("id"))
        line = _line(variant, item.get("quantity")) if has_product else None
        if line:
            before = lines.get(line.product_id)
            count = line.quantity + (before.quantity if before else 0)
            lines[line.product_id] = line._replace(quantity=count)
    return list(lines.values())


def _currency(variant: dict[str, Any]) -> str | None:
    return values.currency(an_object(variant.get("price")).get("currencyCode"))


def _provisional(event: PixelEvent, lines: Iterable[Line | None]) -> list[Fact]:
    """Provisional products of the lines that carry a title; any upload overwrites them."""
    return [fact for line in lines if line and (fact := _product(event, line))]


def _product(event: PixelEvent, line: Line) -> Fact | None:
    variant, product = line.variant, an_object(line.variant.get("product"))
    title = titled(product.get("title"), variant.get("title"))
    if title is None:
        return None
    kind = values.text(product.get("type"))
    record = {
        "product_id": line.product_id,
        "product_group_id": identifier(product.get("id")),
        "title": title,
        "brand": values.text(product.get("vendor")),
        "type": kind,
        "categories": [[kind]] if kind else None,
        "original_price": of.price(an_object(variant.get("price")).get("amount")),
        "url": _url(event, product.get("url")),
        "cover_image": of.address(an_object(variant.get("image")).get("src")),
    }
    return {"fact": "product", "record": record, "as_of": event.at, "provisional": True}


def _url(event: PixelEvent, path: Any) -> str | None:
    """A product's page; the pixel gives its path in the shop where the visitor is."""
    context = an_object(event.record.get("context"))
    location = an_object(an_object(context.get("document")).get("location"))
    base, written = (
        base_url(event.settings) or of.address(location.get("origin")),
        values.text(path),
    )
    if base is None or written is None or not written.startswith("/"):
        return None
    try:
        return of.address(urljoin(f"{base}/", written))
    except ValueError:
        return None
