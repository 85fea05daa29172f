"""Products and their variants: whole ones, and the parts that a subscription sends of them.

A variant is our product and Shopify's product its group; one rule for webhooks, pixel and bulk. A
webhook holds the first 100 variants, and names all of them in `variant_gids`:
https://shopify.dev/docs/api/webhooks (products/update).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from connectors import values
from connectors.prose import plain
from connectors.shopify import inventory
from connectors.shopify.receive import a_shop
from connectors.shopify.webhook import Fact, Webhook, address, an_object, identifier, price
from schemas import Ignored

# A product that has all of this was sent whole; another is part of one (`includeFields`).
WHOLE = frozenset(
    (
        "title", "body_html", "vendor", "product_type", "handle", "status", "published_at",
        "updated_at", "tags", "variants",
    )
)  # fmt: skip
WHOLE_VARIANT = frozenset(("title", "price", "compare_at_price"))
VARIANTS_IN_FULL = 100  # a webhook has no more of them

NO_VARIANT = "Default Title"  # of a product without options
NO_OPTION = "Title"

# A shop names its options in its own language; those of the largest markets.
OPTIONS = {
    **dict.fromkeys(("size", "größe", "taille", "talla", "taglia", "maat", "storlek"), "size"),
    **dict.fromkeys(
        ("color", "colour", "farbe", "couleur", "colore", "kleur", "färg"), "color"
    ),
    **dict.fromkeys(("material", "matière", "materiale", "materiaal"), "material"),
}  # fmt: skip


def product(webhook: Webhook) -> list[Fact]:
    """All variants of a product as they are now; of one that is not on sale, that it is gone."""
    group_id, record = webhook.id(), webhook.record
    at = webhook.at("updated_at")
    if not _is_live(record):
        return [_variants(group_id, [], at)]
    variants = values.objects(record.get("variants"))
    facts = [
        fact
        for variant in variants
        if (product_id := identifier(variant.get("id")))
        and (fact := _variant(webhook, product_id, group_id, variant, at))
    ]
    facts += _untracked(variants, at)
    if (ids := _all_ids(record, variants)) is not None:
        facts.append(_variants(group_id, ids, at))
    if not facts:
        raise Ignored("It names no variants: let the subscription send `variants` too.")
    return facts


def deleted(webhook: Webhook) -> list[Fact]:
    """The product is gone; the payload is its id alone."""
    return [_variants(webhook.id(), [], webhook.triggered_at)]


def in_stock(webhook: Webhook) -> list[Fact]:
    return _availability_patch(webhook, "IN_STOCK")


def out_of_stock(webhook: Webhook) -> list[Fact]:
    return _availability_patch(webhook, "OUT_OF_STOCK")


def _availability_patch(webhook: Webhook, availability: str) -> list[Fact]:
    """A variant's own `updated_at` may be older than its product's: what counts is the trigger."""
    record = {"product_id": webhook.id(), "availability": availability}
    return [{"fact": "product_patch", "record": record, "as_of": webhook.triggered_at}]


def _is_live(record: Mapping[str, Any]) -> bool:
    """Whether it may be shown: active and published. What is unlisted is reached by its link only,
    archived and draft ones by nobody; what is not told is no objection."""
    status = values.text(record.get("status"))
    is_published = record.get("published_at") is not None or "published_at" not in record
    return is_published and (status is None or status.lower() == "active")


def _variants(group_id: str, ids: list[str], at: datetime | None) -> Fact:
    return {"fact": "variants", "group_id": group_id, "product_ids": ids, "as_of": at}


def _all_ids(record: Mapping[str, Any], variants: list[dict[str, Any]]) -> list[str] | None:
    """The ids of all variants, also of those that are only named; None where there may be more."""
    if not isinstance(record.get("variants"), list):
        return None
    if len(variants) >= VARIANTS_IN_FULL and "variant_gids" not in record:
        return None
    named = values.objects(record.get("variant_gids"))
    ids = [identifier(variant.get("id")) for variant in variants]
    ids += [identifier(variant.get("admin_graphql_api_id")) for variant in named]
    return list(dict.fromkeys(filter(None, ids)))


def _variant(
    webhook: Webhook,
    product_id: str,
    group_id: str,
    variant: dict[str, Any],
    at: datetime | None,
) -> Fact | None:
    """A whole product, or what is told of one."""
    told = dict(_told(webhook, product_id, variant))
    ids = {"product_id": product_id, "product_group_id": group_id}
    if not (webhook.record.keys() >= WHOLE and variant.keys() >= WHOLE_VARIANT):
        patch = {"fact": "product_patch", "record": ids | told, "as_of": at}
        return patch if told else None
    record = ids | {name: value for name, value in told.items() if value is not None}
    stock_item = _stock_item(webhook.settings, variant)
    return {"fact": "product", "record": record, "as_of": at, "stock_item": stock_item}


def _told(webhook: Webhook, product_id: str, variant: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a record that the payload says something about, None where it clears one."""
    record = webhook.record
    yield from _texts(record)
    if "title" in record and "title" in variant:
        yield "title", titled(record["title"], variant["title"])
    if "category" in record or "product_type" in record:
        yield "categories", _categories(record)
    if "image" in record or "images" in record:
        yield "cover_image", _image(record, variant)
    if url := product_url(webhook.settings, record.get("handle"), product_id):
        yield "url", url
    if "price" in variant and "compare_at_price" in variant:
        yield from _prices(variant)
    if availability := _availability(webhook.settings, variant):
        yield "availability", availability
    yield from _options(record, variant)


def titled(product_title: Any, variant_title: Any) -> str | None:
    """`Shirt - Small`, as Shopify's orders write it; without options the product's alone."""
    whole, part = values.text(product_title), values.text(variant_title)
    return whole if part in (None, NO_VARIANT, whole) or whole is None else f"{whole} - {part}"


def _texts(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What all variants have in common."""
    if "body_html" in record:
        html = values.text(record["body_html"])
        yield "description", (plain(html) or None) if html else None
    if "vendor" in record:
        yield "brand", values.text(record["vendor"])
    if "product_type" in record:
        yield "type", values.text(record["product_type"])
    if "tags" in record:
        yield "tags", _tags(record["tags"]) or None
    if "collections" in record:
        yield "collections", _names(record["collections"]) or None
    for name in ("created_at", "published_at"):
        if (at := values.instant(record.get(name))) is not None:
            yield name, at.isoformat()


def _tags(value: Any) -> list[str]:
    """Webhooks write one text with commas, GraphQL a list."""
    return _names(value.split(",") if isinstance(value, str) else value)


def _names(value: Any) -> list[str]:
    found = value if isinstance(value, list) else []
    return [name for item in found if (name := values.text(item))]


def _categories(record: Mapping[str, Any]) -> list[list[str]] | None:
    """The path in Shopify's taxonomy, else the shop's own type. No payload names collections."""
    full = values.text(an_object(record.get("category")).get("full_name"))
    if full:
        path = [name for part in full.split(" > ") if (name := values.text(part))]
    else:
        path = [name] if (name := values.text(record.get("product_type"))) else []
    return [path] if path else None


def _image(record: Mapping[str, Any], variant: Mapping[str, Any]) -> str | None:
    """The variant's own picture, else the product's."""
    images = values.objects(record.get("images"))
    own = identifier(variant.get("image_id"))
    chosen = [image for image in images if own and identifier(image.get("id")) == own]
    candidates = [*chosen, an_object(record.get("image")), *images]
    return next(filter(None, (address(image.get("src")) for image in candidates)), None)


def product_url(settings: Mapping[str, Any], handle: Any, product_id: str) -> str | None:
    """The page of a product, opened at the variant."""
    base, name = base_url(settings), values.text(handle)
    if base is None or name is None:
        return None
    return f"{base}/products/{quote(name, safe='')}?variant={quote(product_id, safe='')}"


def base_url(settings: Mapping[str, Any]) -> str | None:
    """Where the shop's pages lie: the setting `shop_url`, else the shop's own domain."""
    chosen = address(settings.get("shop_url"))
    shop = a_shop(settings.get("shop"))
    return chosen.rstrip("/") if chosen else f"https://{shop}" if shop else None


def _prices(variant: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`compare_at_price` is what it cost before, where it is the higher of the two."""
    now, before = price(variant["price"]), price(variant["compare_at_price"])
    is_sale = now is not None and before is not None and before > now
    yield "original_price", before if is_sale else now
    yield "sale_price", now if is_sale else None


# stock ------------------------------------------------------------------------------------------


def _availability(settings: Mapping[str, Any], variant: Mapping[str, Any]) -> str | None:
    """Whether it can be bought; None where the payload does not say."""
    if isinstance(variant.get("available"), bool):
        return "IN_STOCK" if variant["available"] else "OUT_OF_STOCK"
    if not _is_tracked(settings, variant) or _policy(variant) == "continue":
        return "IN_STOCK"
    count = values.number(variant.get("inventory_quantity"))
    if count is not None and count > 0:
        return "IN_STOCK"
    return "OUT_OF_STOCK" if count is not None and _policy(variant) else None


def _untracked(variants: list[dict[str, Any]], at: datetime | None) -> list[Fact]:
    """Of the bulk export, which tells it: the items whose stock nobody counts."""
    items = [each.get("inventory_item_id") for each in variants if each.get("tracked") is False]
    return [inventory.tracked(item, False, at) for each in items if (item := identifier(each))]


def _policy(variant: Mapping[str, Any]) -> str | None:
    """What happens at zero: `deny`, or `continue` to sell."""
    policy = values.text(variant.get("inventory_policy"))
    return policy.lower() if policy else None


def _is_tracked(settings: Mapping[str, Any], variant: Mapping[str, Any]) -> bool:
    """Whether its stock is counted. Since 2024-07 product webhooks no longer say it
    (https://shopify.dev/changelog/product-variant-field-cleanup), inventory_items/update does:
    without a word it counts as tracked, unless the shop tracks nothing."""
    if settings.get("untracked_stock") is True or variant.get("tracked") is False:
        return False
    return variant.get("inventory_management", "shopify") is not None


def _stock_item(settings: Mapping[str, Any], variant: Mapping[str, Any]) -> str | None:
    """What its stock is told under, where its availability follows it: not where it is sold at
    zero as well."""
    if not _is_tracked(settings, variant) or _policy(variant) == "continue":
        return None
    count = values.number(variant.get("inventory_quantity"))
    if variant.get("available") is True and count is not None and count <= 0:
        return None
    return identifier(variant.get("inventory_item_id"))


# options ----------------------------------------------------------------------------------------


def _options(record: Mapping[str, Any], variant: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Size, color and material, and under their own names the options that are none of them."""
    others: dict[str, Any] = {}
    for name, value in _chosen(record, variant):
        if field := OPTIONS.get(name.lower()):
            yield field, value
        elif name != NO_OPTION:
            others[name] = value
    if sku := values.text(variant.get("sku")):
        others["sku"] = sku
    if others:
        yield "custom_attributes", others


def _chosen(record: Mapping[str, Any], variant: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of a variant's options: `option1` to `option3` are those of the product's
    `options` by position."""
    options = values.objects(record.get("options"))
    pairs = [
        (option.get("name"), variant.get(f"option{option.get('position')}")) for option in options
    ]
    own = values.objects(variant.get("option_values"))
    pairs += [(option.get("name"), option.get("value")) for option in own]
    for name, value in pairs:
        if (named := values.text(name)) and (chosen := values.text(value)):
            yield named[:256], chosen
