"""What a shop says of its products in words of its own: attributes, and meta data."""

from __future__ import annotations

from typing import NamedTuple

from connectors import values
from connectors.wordpress import fields
from connectors.wordpress.fields import Record, Settings

# An attribute of this name is also the field; its slug tells it where the name is translated.
FIELDS = {
    "brand": "brand", "pa_brand": "brand",
    "color": "color", "colour": "color", "pa_color": "color", "pa_colour": "color",
    "size": "size", "pa_size": "size",
    "material": "material", "pa_material": "material",
}  # fmt: skip

LONGEST_NAME = 256
LONGEST_TEXT = 5000


class Attribute(NamedTuple):
    """One of a product's attributes with its options."""

    name: str
    slug: str
    options: list[str]


def named(record: Record) -> list[Attribute]:
    """The product's attributes that have a name and an option."""
    found = []
    for one in values.objects(record.get("attributes")):
        name, options = fields.words(one.get("name")), one.get("options")
        shown = _texts(options if isinstance(options, list) else [])
        if name and len(name) <= LONGEST_NAME and shown:
            found.append(Attribute(name, (values.text(one.get("slug")) or "").lower(), shown))
    return found


def fields_of(attributes: list[Attribute]) -> Record:
    """The fields that attributes of one option fill: of several none is the product's."""
    found = {}
    for name, slug, options in attributes:
        field = FIELDS.get(slug) or FIELDS.get(name.lower())
        if field and len(options) == 1:
            found[field] = options[0]
    return found


def custom(record: Record, attributes: list[Attribute], settings: Settings) -> Record:
    """What has no field of its own, then the shop's meta data and attributes.

    Theirs are lists of texts, all of them: a name has one type in all products, whichever comes
    first, and one may be meta data here and an attribute there.
    """
    visibility = values.text(record.get("catalog_visibility"))
    ours = {
        "sku": values.text(record.get("sku")),
        "gtin": values.text(record.get("global_unique_id")),
        "currency": values.currency(settings.get("currency")),  # products do not say it
        "catalog_visibility": visibility if visibility != "visible" else None,
        "featured": True if record.get("featured") is True else None,
        "sale_ends_at": fields.written(fields.instant(record, "date_on_sale_to_gmt")),
    }
    shops = _meta(record) | {one.name: one.options for one in attributes}
    return {name: texts for name, texts in shops.items() if name not in ours} | fields.kept(ours)


def _meta(record: Record) -> dict[str, list[str]]:
    """Plain values of meta data; a name that begins with `_` is private to the plugin it is of."""
    found = {}
    for one in values.objects(record.get("meta_data")):
        name, texts = values.text(one.get("key")), _texts([one.get("value")])
        if name and len(name) <= LONGEST_NAME and not name.startswith("_") and texts:
            found[name] = texts
    return found


def _texts(given: list[object]) -> list[str]:
    return [text[:LONGEST_TEXT] for one in given if (text := fields.words(one))]
