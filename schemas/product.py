"""The schema of a catalog record, complete to Miso's product."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError
from marshmallow.validate import Length, OneOf, Range

from schemas.fields import (
    Attributes,
    Either,
    Flag,
    Id,
    Items,
    Number,
    Part,
    RecordDate,
    Text,
    Uri,
    one_or_many,
)

_TRANSLATION = re.compile(r"i18n_[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]{2,8})*")


class ChildSchema(Schema):
    """A part of a longer product: a chapter, an episode."""

    class Meta:
        unknown = INCLUDE

    id = Id(required=True)
    url = Text()
    html = Text()
    headers = Items(Text())
    custom_attributes = Attributes()


class LocationSchema(Schema):
    class Meta:
        unknown = INCLUDE

    lat = Number(required=True, validate=Range(-90, 90, error="lat must be within ±90."))
    lon = Number(required=True, validate=Range(-180, 180, error="lon must be within ±180."))


class ProductSchema(Schema):
    """One product; an upload replaces the whole record. `i18n_<ln>` objects are allowed beside."""

    product_id = Id(
        required=True,
        validate=Length(1, 512, error="The id must have 1 to 512 characters."),
    )
    product_group_id = Id()
    parent_id = Id()
    related_ids = Items(Id())
    type = Text()
    title = Text()
    subtitle = Text()
    description = Text()
    short_description = Text()
    html = Text()
    headers = Items(Text())
    paragraphs = Items(Text())
    anchors = Items(Text())
    children = Items(Part(ChildSchema))
    language = Text(validate=Length(min=2, error="A language has at least two letters."))
    created_at = RecordDate()
    published_at = RecordDate()
    updated_at = RecordDate()
    categories = Items(Items(Text()))
    tags = Items(Text())
    url = Uri()
    cover_image = Uri()
    original_price = Number()
    sale_price = Number()
    margin = Number()
    size = Text()
    color = Text()
    material = Text()
    condition = Text(
        validate=OneOf(["NEW", "USED", "REFURBISHED"], error="It must be one of: {choices}.")
    )
    brand = Text()
    authors = Items(Text())
    publishers = Items(Text())
    collections = Items(Text())
    availability = Text(
        validate=OneOf(
            ["IN_STOCK", "OUT_OF_STOCK", "PRE_ORDER"], error="It must be one of: {choices}."
        )
    )
    location = Either(
        Part(LocationSchema),
        metadata=one_or_many(
            {
                "type": "object",
                "required": ["lat", "lon"],
                "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
            }
        ),
    )
    rating = Number(validate=Range(0, 5, error="A rating must be between 0 and 5."))
    enable_question_answering = Flag()
    custom_attributes = Attributes()


def changes(sent: dict[str, Any], read: dict[str, Any]) -> dict[str, Any]:
    """What a partial record says: its fields as they were read, with the nulls as sent, which
    clear a field or a custom attribute."""
    told = read | {name: None for name, value in sent.items() if value is None}
    attributes = sent.get("custom_attributes")
    if attributes is not None:
        cleared = {name: None for name, value in attributes.items() if value is None}
        told["custom_attributes"] = read["custom_attributes"] | cleared
    return told


def merged(record: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """A record after what a partial one says: JSON Merge Patch (RFC 7396) of its fields and, inside
    `custom_attributes`, of its keys; a field given replaces, null clears, absent stays."""
    result = _merged(record, told)
    attributes = told.get("custom_attributes")
    if attributes is not None:
        result["custom_attributes"] = _merged(record.get("custom_attributes") or {}, attributes)
    return result


def _merged(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (whole | part).items() if value is not None}


def translation(key: str, value: Any) -> dict[str, Any] | None:
    """The value of an `i18n_<ln>` key, None where the key is another."""
    if not _TRANSLATION.fullmatch(key):
        return None
    if type(value) is not dict:
        raise ValidationError("A translation must be an object.")
    return value
