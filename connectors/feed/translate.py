"""An item of a feed as a product: Google's attributes, and what they become here.

https://support.google.com/merchants/answer/7052112 (attributes and their formats)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from connectors import values
from connectors.feed import attributes
from connectors.prose import plain
from schemas import Malformed, v1
from schemas.fields import escape

Fact = dict[str, Any]
Named = dict[str, tuple[str, Any]]  # by our name: the feed's name and its value

# Raise it when `translate` makes something else of the same item: then every feed is read anew.
RECIPE = 1
LONGEST_ID = 512
CATEGORY = "google_product_category"
PATCH = "products/_patch"  # what a pull says of the products that its feed holds no longer

SETTINGS = {
    "url": "where the feed lies",
    "every": "how often it is pulled, such as 30m, 6h or 1d",
    "header": "name of the header that carries the source's secret",
    "fields": 'own names of attributes: {"Artikelnummer": "id"}',
    "encoding": "of a text file that is not UTF-8, such as windows-1252",
    "keep_absent": "true: what the feed holds no longer stays available",
}

# What a fact has at a pointer stands there in an item with Google's names.
POINTERS = {
    "/record/product_id": "/id",
    "/record/product_group_id": "/item_group_id",
    "/record/title": "/title",
    "/record/description": "/description",
    "/record/url": "/link",
    "/record/cover_image": "/image_link",
    "/record/categories": "/product_type",
    "/record/original_price": "/price",
    "/record/sale_price": "/sale_price",
}

TEXTS = ("title", "brand", "color", "size", "material")
DATES = ("created_at", "published_at", "updated_at")
CONDITIONS = frozenset(("NEW", "USED", "REFURBISHED"))

# Without blanks and underscores; also schema.org's, and what shops write.
AVAILABILITY = {
    "instock": "IN_STOCK", "available": "IN_STOCK", "yes": "IN_STOCK", "true": "IN_STOCK",
    "availablefororder": "IN_STOCK", "limitedavailability": "IN_STOCK", "onlineonly": "IN_STOCK",
    "instoreonly": "IN_STOCK",
    "outofstock": "OUT_OF_STOCK", "soldout": "OUT_OF_STOCK", "discontinued": "OUT_OF_STOCK",
    "unavailable": "OUT_OF_STOCK", "no": "OUT_OF_STOCK", "false": "OUT_OF_STOCK",
    "preorder": "PRE_ORDER", "presale": "PRE_ORDER", "backorder": "PRE_ORDER",
    "madetoorder": "IN_STOCK",
}  # fmt: skip

# What may come several times is always a list, so that its type does not change.
LISTS = attributes.REPEATED - {CATEGORY}
LONGEST_ATTRIBUTE = 5000
_CURRENCY = re.compile(r"(?<![A-Z])[A-Z]{3}(?![A-Z])")
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_NOT_WORDS = re.compile(r"[\W_]+")


def records(payload: Any) -> Iterator[tuple[str, Any]]:
    """Each item of a body that a pull made, with its place in the feed's file."""
    if isinstance(payload, dict) and "data" in payload:
        yield from v1.records(payload)
        return
    if not isinstance(payload, dict) or not isinstance(payload.get("items"), list):
        raise Malformed("The body must be an object that holds the items of a feed in 'items'.")
    for item in payload["items"]:
        yield item["at"], {"pulled_at": payload["pulled_at"], **item}


def translate(topic: str | None, record: Any, settings: Mapping[str, Any]) -> list[Fact]:
    """The product of one item, as of its `updated_at`, else of the pull. Raises Malformed with a
    pointer into the item for what is there and cannot be read."""
    if topic == PATCH:
        return v1.translate(topic, record, settings)
    pulled_at = values.instant(record["pulled_at"])
    item: dict[str, Any] = record["item"]
    if record.get("problem"):
        raise Malformed(str(record["problem"]))
    named = attributes.named(item, settings)
    product = _product(named, pulled_at)
    as_of = _as_of(named, product, pulled_at)
    return [{"fact": "product", "record": product, "as_of": as_of}]


def _as_of(named: Named, product: dict[str, Any], pulled_at: datetime | None) -> datetime | None:
    """When the shop changed it; a sale that began or ended since changed it too."""
    updated_at = values.instant(product.get("updated_at"))
    if updated_at is None or pulled_at is None:
        return pulled_at
    turns = (at for at in (*_sale(named), _expiry(named)) if at and at <= pulled_at)
    return max([updated_at, *turns])


def product_id(item: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """The id of an item, whatever else is wrong with it; None where no product can have it."""
    found = _text(attributes.named(item, settings), "id")
    return found if found and len(found) <= LONGEST_ID else None


def next_change(
    item: Mapping[str, Any], settings: Mapping[str, Any], after: datetime
) -> datetime | None:
    """When an item means something else although the feed does not change: a sale begins or ends,
    it expires."""
    named = attributes.named(item, settings)
    try:
        instants = [*_sale(named), _expiry(named)]
    except Malformed:
        return None
    return min((each for each in instants if each and each > after), default=None)


def _product(named: Named, at: datetime | None) -> dict[str, Any]:
    product: dict[str, Any] = {
        "product_id": _required_id(named),
        "product_group_id": _text(named, "item_group_id"),
        "type": _text(named, "type"),
        "description": _prose(named, "description"),
        "url": values.web_address(_first(named, "link")),
        "cover_image": values.web_address(_first(named, "image_link")),
        "categories": _categories(named) or None,
        "tags": _tags(named) or None,
        "condition": _condition(named),
        "availability": _availability(named, at),
        "rating": values.number(_first(named, "rating")),
    }
    product |= {name: _prose(named, name) for name in TEXTS}
    product |= {name: _date(named, name) for name in DATES}
    prices, currency = _prices(named, at)
    product |= prices
    product["custom_attributes"] = _others(named, currency) or None
    return {name: value for name, value in product.items() if value is not None}


# single values ----------------------------------------------------------------------------------


def _first(named: Named, name: str) -> Any:
    """The value, of several the first."""
    value = named[name][1] if name in named else None
    return value[0] if isinstance(value, list) and value else value


def _text(named: Named, name: str) -> str | None:
    return values.text(_first(named, name))


def _refuse(named: Named, name: str, sentence: str) -> Malformed:
    return Malformed(sentence, f"/{escape(named[name][0])}")


def _shown(value: Any) -> str:
    return repr(value if len(str(value)) <= 60 else f"{str(value)[:60]}…")


def _required_id(named: Named) -> str:
    found = _text(named, "id")
    if found is None:
        raise Malformed("The item has no id.", "/id")
    return found


def _prose(named: Named, name: str) -> str | None:
    """Text without its markup, entities resolved."""
    text = _text(named, name)
    return plain(text) or None if text else None


def _date(named: Named, name: str) -> str | None:
    value = _first(named, name)
    if value is None:
        return None
    at = values.instant(value)
    if at is None:
        raise _refuse(named, name, f"{_shown(value)} is no date: write 2026-01-31T12:00:00Z.")
    return at.isoformat()


def _condition(named: Named) -> str | None:
    text = (_text(named, "condition") or "").upper().removesuffix("CONDITION").rpartition("/")[2]
    return text if text in CONDITIONS else None


def _availability(named: Named, at: datetime | None) -> str | None:
    expiry = _expiry(named)
    if expiry is not None and at is not None and expiry <= at:
        return "OUT_OF_STOCK"
    value = _first(named, "availability")
    if value is None:
        return None
    word = _NOT_WORDS.sub("", str(value).rpartition("/")[2]).lower()
    if word not in AVAILABILITY:
        raise _refuse(
            named,
            "availability",
            f"{_shown(value)} is no availability: write in_stock, out_of_stock, preorder or "
            "backorder.",
        )
    return AVAILABILITY[word]


def _expiry(named: Named) -> datetime | None:
    return values.instant(_first(named, "expiration_date"))


# prices -----------------------------------------------------------------------------------------


def _prices(named: Named, at: datetime | None) -> tuple[dict[str, Any], str | None]:
    """What it costs, what it costs while it is on sale at that time, and the currency."""
    price, currency = _price(named, "price")
    sale, sale_currency = _price(named, "sale_price")
    begins, ends = _sale(named)
    if at is not None and ((begins and at < begins) or (ends and at >= ends)):
        sale = None
    told = currency or sale_currency or _text(named, "currency")
    return {"original_price": price, "sale_price": sale}, told.upper() if told else None


def _price(named: Named, name: str) -> tuple[float | None, str | None]:
    """Amount and currency of "12.99 USD", of a bare number, or of {"value", "currency"}."""
    value = _first(named, name)
    currency = None
    if isinstance(value, dict):
        currency = values.text(value.get("currency"))
        value = value.get("value", value.get("amount"))
    if value is None:
        return None, None
    amount = _amount(value) if isinstance(value, str) else values.number(value)
    if amount is None or amount < 0:
        raise _refuse(named, name, f"{_shown(value)} is no price: write 12.99 USD.")
    found = _CURRENCY.search(value) if isinstance(value, str) else None
    return amount, currency or (found.group() if found else None)


def _amount(written: str) -> float | None:
    """A number beside its currency; with a point alone it is as Google writes it (1.000 is one)."""
    bare = _CURRENCY.sub("", written).strip()
    return float(bare) if _DECIMAL.fullmatch(bare) else values.number(written)


def _sale(named: Named) -> tuple[datetime | None, datetime | None]:
    """From when until when the sale price holds."""
    name = "sale_price_effective_date"
    written = _text(named, name)
    if written is None:
        return None, None
    begins, slash, ends = written.partition("/")
    found = values.instant(begins), values.instant(ends)
    if not slash or None in found:
        sentence = f"{_shown(written)} is no range: write 2026-01-31T09:00Z/2026-02-07T23:59Z."
        raise _refuse(named, name, sentence)
    return found


# lists ------------------------------------------------------------------------------------------


def _categories(named: Named) -> list[list[str]]:
    """The shop's own paths, else Google's where it is told in words."""
    for name in ("product_type", CATEGORY):
        paths = [path for one in _many(named, name) if (path := _path(one))]
        if paths:
            return paths
    return []


def _path(value: Any) -> list[str]:
    """`Home > Kitchen > Mugs`, or a list of names; a number is Google's code for one."""
    if isinstance(value, list):
        return [text for part in value if (text := values.text(part))]
    written = values.text(value)
    if written is None or written.isdecimal():
        return []
    return [text for part in written.split(">") if (text := plain(part))]


def _tags(named: Named) -> list[str]:
    return [
        tag
        for one in _many(named, "tags")
        for part in (one.split(",") if isinstance(one, str) else [one])
        if (tag := values.text(part))
    ]


def _many(named: Named, name: str) -> list[Any]:
    value = named[name][1] if name in named else []
    return value if isinstance(value, list) else [value]


def _others(named: Named, currency: str | None) -> dict[str, Any]:
    """What has no place of its own, under its own name; a shop's own attributes as they are."""
    own = _first(named, "custom_attributes")
    kept = dict(own) if isinstance(own, dict) else {}
    for name, (_, value) in named.items():
        fit = None if name in attributes.PLACED else _attribute(value, name in LISTS)
        if fit is not None:
            kept[name] = fit
    return kept | ({"currency": currency} if currency else {})


def _attribute(value: Any, is_list: bool) -> Any:
    """A value that an attribute may have; None for blanks and mixed lists."""
    if is_list or isinstance(value, list):
        items = [fit for one in _as_list(value) if (fit := _attribute(one, False)) is not None]
        return items if items and len({type(item) for item in items}) == 1 else None
    if isinstance(value, str):
        return plain(value)[:LONGEST_ATTRIBUTE] or None
    if isinstance(value, dict):
        return value or None
    return value


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
