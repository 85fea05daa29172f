"""The schema of a known person's record, complete to Miso's user."""

from __future__ import annotations

from marshmallow import Schema
from marshmallow.validate import Length

from schemas.fields import Attributes, Id, RecordDate, Text, Uri, Whole


class UserSchema(Schema):
    """One known person; an upload replaces the whole record."""

    user_id = Id(
        required=True,
        validate=Length(1, 512, error="The id must have 1 to 512 characters."),
    )
    created_at = RecordDate()
    updated_at = RecordDate()
    name = Text()
    profile_image = Uri()
    age = Whole()
    gender = Text()
    city = Text()
    state = Text()
    country = Text()
    group_id = Id()
    description = Text()
    custom_attributes = Attributes()
