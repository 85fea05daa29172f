"""Shopify's product export: a line a variant and picture, those of one product under each other.

https://help.shopify.com/en/manual/products/import-export/using-csv
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from connectors import values
from connectors.feed.bounded import Item

COLUMNS = frozenset(("Handle", "Title", "Variant Price"))
# Of the product's first line.
PRODUCT = {
    "Handle": "id",
    "Title": "title",
    "Body (HTML)": "description",
    "Vendor": "brand",
    "Tags": "tags",
    "Image Src": "image_link",
    "Google Shopping / Google Product Category": "google_product_category",
    "Google Shopping / Condition": "condition",
    "Google Shopping / Gender": "gender",
    "Google Shopping / Age Group": "age_group",
}
OPTIONS = ("Option1", "Option2", "Option3")
NO_OPTION = "Title"  # what Shopify calls the option of a product without any


def is_export(names: Iterable[str]) -> bool:
    """Whether a table's first line is that of an export."""
    return set(names) >= COLUMNS


def products(lines: Iterable[Item]) -> Iterator[Item]:
    """One item a product, at its first line."""
    group: list[Item] = []
    for line in lines:
        if group and line.record.get("Handle") != group[0].record.get("Handle"):
            yield _product(group)
            group = []
        group.append(line)
    if group:
        yield _product(group)


def _product(lines: list[Item]) -> Item:
    first = lines[0].record
    record = {ours: first[name] for name, ours in PRODUCT.items() if name in first}
    record["product_type"] = first.get("Product Category") or first.get("Type")
    variants = [line.record for line in lines if line.record.get("Variant Price")]
    record |= _prices(variants) | _options(first, variants)
    is_sold = _is_published(first) and any(map(_is_sold, variants))
    record["availability"] = "in_stock" if is_sold else "out_of_stock"
    problem = next((line.problem for line in lines if line.problem), None)
    return Item(lines[0].pointer, {k: v for k, v in record.items() if v}, problem)


def _prices(variants: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the cheapest variant: what it costs, and what it cost before."""
    amounts = {id(one): values.number(one["Variant Price"]) for one in variants}
    cheapest = min(
        (one for one in variants if amounts[id(one)] is not None),
        key=lambda one: amounts[id(one)] or 0,
        default=variants[0] if variants else {},
    )
    price, before = cheapest.get("Variant Price"), cheapest.get("Variant Compare At Price")
    if (values.number(before) or 0) > (values.number(price) or 0):
        return {"price": before, "sale_price": price}
    return {"price": price}


def _options(first: dict[str, Any], variants: list[dict[str, Any]]) -> dict[str, list[str]]:
    """`option_color`: the values there are to choose from."""
    found: dict[str, list[str]] = {}
    for option in OPTIONS:
        name = first.get(f"{option} Name")
        told = [one.get(f"{option} Value") for one in variants]
        if isinstance(name, str) and name != NO_OPTION:
            distinct = dict.fromkeys(value for value in told if isinstance(value, str))
            found[f"option_{name}"] = list(distinct)
    return found


def _is_published(first: dict[str, Any]) -> bool:
    status = str(first.get("Status", "active")).lower()
    return str(first.get("Published", "true")).lower() != "false" and status == "active"


def _is_sold(variant: dict[str, Any]) -> bool:
    """A variant that is not counted, that there is some of, or that is sold without any."""
    if not variant.get("Variant Inventory Tracker"):
        return True
    some = values.number(variant.get("Variant Inventory Qty"))
    return (some or 0) > 0 or variant.get("Variant Inventory Policy") == "continue"
