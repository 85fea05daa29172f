"""What a feed calls things, and what Google calls them: one name for each attribute.

https://support.google.com/merchants/answer/7052112
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SEPARATORS = re.compile(r"[\s_\-]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Names that other feeds, and our own records, use for an attribute.
ALIASES = {
    "product_id": "id", "item_id": "id", "offer_id": "id", "sku": "id",
    "name": "title", "product_name": "title", "product_title": "title",
    "body": "description", "body_html": "description", "summary": "description",
    "content": "description", "long_description": "description",
    "url": "link", "product_url": "link", "deeplink": "link",
    "image": "image_link", "image_url": "image_link", "cover_image": "image_link",
    "picture": "image_link",
    "additional_images": "additional_image_link", "additional_image_links": "additional_image_link",
    "group_id": "item_group_id", "product_group_id": "item_group_id", "parent_id": "item_group_id",
    "original_price": "price", "list_price": "price",
    "special_price": "sale_price",
    "category": "product_type", "categories": "product_type", "product_category": "product_type",
    "product_types": "product_type",
    "vendor": "brand", "manufacturer": "brand",
    "colour": "color",
    "stock_status": "availability",
    "updated": "updated_at", "modified": "updated_at", "last_modified": "updated_at",
    "published": "published_at", "created": "created_at",
}  # fmt: skip

# Those that may come several times in an item; any other that does is one text, so that its type
# is the same in every item.
REPEATED = frozenset(
    (
        "product_type", "google_product_category", "tags", "additional_image_link",
        "product_highlight", "promotion_id", "included_destination", "excluded_destination",
        "shopping_ads_excluded_country", "shipping", "tax", "product_detail",
    )
)  # fmt: skip

# Names beside these that feeds have, and that are kept as custom attributes.
OTHERS = frozenset(
    (
        "adult", "age_group", "auto_pricing_min_price", "availability_date", "certification",
        "cost_of_goods_sold", "custom_label_0", "custom_label_1", "custom_label_2",
        "custom_label_3", "custom_label_4", "display_ads_id", "energy_efficiency_class", "gender",
        "google_product_category", "gtin", "identifier_exists", "installment", "is_bundle",
        "is_sale", "lifestyle_image_link", "loyalty_points", "loyalty_program",
        "max_energy_efficiency_class", "max_handling_time", "maximum_retail_price",
        "min_energy_efficiency_class", "min_handling_time", "mobile_link", "mpn", "multipack",
        "pattern", "pause", "pickup_method", "pickup_sla", "product_height", "product_length",
        "product_weight", "product_width", "return_policy_label", "sell_on_google_quantity",
        "shipping_height", "shipping_label", "shipping_length", "shipping_weight",
        "shipping_width", "ships_from_country", "size_system", "size_type",
        "structured_description", "structured_title", "subscription_cost", "tax_category",
        "transit_time_label", "unit_pricing_base_measure", "unit_pricing_measure",
        "video_link", "virtual_model_link",
    )
)  # fmt: skip
PLACED = frozenset(
    (
        "id", "item_group_id", "title", "description", "link", "image_link", "price", "sale_price",
        "sale_price_effective_date", "availability", "expiration_date", "condition",
        "product_type", "brand", "color", "size", "material", "tags", "rating", "type",
        "currency", "created_at", "published_at", "updated_at", "custom_attributes",
    )
)  # fmt: skip
OWN = "c:"  # before a name that is the shop's own, as in Google's XML


def is_known(written: str) -> bool:
    """Whether a name, as a setting has it, means something to feeds or is said to be one's own."""
    known = name(written, {})
    return written.startswith(OWN) or known in PLACED | REPEATED | OTHERS


def add(record: dict[str, Any], written: str, value: Any, settings: Mapping[str, Any]) -> None:
    """Put an attribute into an item that may have one of that name."""
    before = record.get(written)
    if before is None:
        record[written] = value
    elif name(written, settings) in REPEATED:
        record[written] = [*(before if isinstance(before, list) else [before]), value]
    elif isinstance(before, str) and isinstance(value, str):
        record[written] = f"{before}, {value}"


def name(written: str, settings: Mapping[str, Any]) -> str:
    """Google's name for an attribute, or its own in `snake_case` where there is none."""
    own = settings.get("fields")
    if isinstance(own, dict) and isinstance(own.get(written), str):
        written = own[written]
    plain = written.strip().lstrip("\ufeff").removeprefix("g:").removeprefix("c:")
    snake = _SEPARATORS.sub("_", _CAMEL.sub("_", plain)).strip("_").lower()
    return ALIASES.get(snake, snake)


def named(record: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """By our name what stands there and under which name of the feed's; where two of its names
    mean the same, the one that is ours as it stands wins."""
    found: dict[str, tuple[str, Any]] = {}
    for written, value in record.items():
        if value is None or value == "" or value == []:
            continue
        ours = name(written, settings)
        if ours not in found or _is_exact(written, ours):
            found[ours] = (written, value)
    return found


def _is_exact(written: str, ours: str) -> bool:
    return written.removeprefix("g:") == ours
