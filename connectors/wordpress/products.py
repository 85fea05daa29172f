"""WooCommerce's products, as its REST API v3 and its webhooks show them.

https://woocommerce.github.io/woocommerce-rest-api-docs/#product-properties
"""

from __future__ import annotations

from connectors import values
from connectors.wordpress import attributes, fields
from connectors.wordpress.fields import Fact, Record, Settings
from schemas import Ignored

AVAILABILITY = {"instock": "IN_STOCK", "outofstock": "OUT_OF_STOCK", "onbackorder": "PRE_ORDER"}


def product(record: Record, settings: Settings) -> list[Fact]:
    """The product as of its last change, or that it may not be shown. Raises Ignored, Malformed."""
    product_id = fields.identifier(record)
    if _is_variation(record):
        raise Ignored("A variation is not listed: its parent is, under which orders name it too.")
    at = fields.instant(record, "date_modified_gmt", "date_created_gmt")
    if not _may_be_shown(record):
        return fields.removed("product", product_id, at)
    if "name" not in record:
        raise Ignored("It says nothing of the product but its id.")
    return [{"fact": "product", "record": _record(product_id, record, settings), "as_of": at}]


def deleted(product_id: str) -> list[Fact]:
    """In the trash; WooCommerce says so of posts, pages and orders too, which have other ids."""
    return fields.removed("product", product_id, None)


def _is_variation(record: Record) -> bool:
    """Also a plugin's, such as `subscription_variation`."""
    return (values.text(record.get("type")) or "").rpartition("_")[2] == "variation"


def _may_be_shown(record: Record) -> bool:
    """Published, for everybody and not hidden. `search` and `catalog` leave it in one of the two
    lists of the shop; both kinds stay, and say so in `catalog_visibility`."""
    return (
        record.get("status", "publish") == "publish"
        and not record.get("post_password")
        and record.get("catalog_visibility") != "hidden"
    )


def _record(product_id: str, record: Record, settings: Settings) -> Record:
    created_at = fields.instant(record, "date_created_gmt")
    named = attributes.named(record)
    found = attributes.fields_of(named) | {
        "product_id": product_id,
        "product_group_id": fields.number(record.get("parent_id")) or product_id,
        "type": values.text(record.get("type")),
        "title": fields.words(record.get("name")),
        "description": fields.words(record.get("description")),
        "short_description": fields.words(record.get("short_description")),
        "html": values.text(record.get("description")),
        "created_at": fields.written(created_at),
        "published_at": fields.written(created_at),
        "updated_at": fields.written(fields.instant(record, "date_modified_gmt")),
        "categories": [[name] for name in fields.names(record.get("categories"))] or None,
        "tags": fields.names(record.get("tags")) or None,
        "url": fields.address(record.get("permalink"), settings),
        "cover_image": _first_image(record, settings),
        "availability": AVAILABILITY.get(values.text(record.get("stock_status")) or ""),
        "rating": _rating(record),
        "custom_attributes": attributes.custom(record, named, settings) or None,
    }
    if brands := fields.names(record.get("brands")):
        found["brand"] = brands[0]
    return fields.kept(found | _prices(record))


def _first_image(record: Record, settings: Settings) -> str | None:
    images = values.objects(record.get("images"))
    return next(
        (found for one in images if (found := fields.address(one.get("src"), settings))), None
    )


def _rating(record: Record) -> float | None:
    """An average of at least one review; 0.00 stands for none."""
    average = values.number(record.get("average_rating"))
    return average if average is not None and 0 < average <= 5 else None


def _prices(record: Record) -> Record:
    """`price` is what a buyer pays now, "" where nothing is set; of a variable product it is the
    lowest, and `regular_price` is ""."""
    price, regular = _price(record, "price"), _price(record, "regular_price")
    if record.get("on_sale") is not True or price is None or regular is None or price >= regular:
        return {"original_price": regular if price is None else price}
    return {"original_price": regular, "sale_price": price}


def _price(record: Record, name: str) -> float | None:
    amount = values.number(record.get(name))
    return amount if amount is not None and amount >= 0 else None
