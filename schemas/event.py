"""The schema of one interaction: Miso's fields with ours added; validation and OpenAPI use it."""

from __future__ import annotations

from marshmallow import INCLUDE, Schema
from marshmallow.validate import Length, OneOf, Range

from schemas.fields import (
    Anything,
    Id,
    Instant,
    Items,
    Number,
    Part,
    PersonId,
    Quantity,
    Text,
    Uuid,
)

# In the order of the enum event_type in migrations/0001_spine.sql. `purchase` is Miso's
# `checkout`; only schemas.v1 translates.
EVENT_TYPES = (
    "product_detail_page_view", "promo_page_view", "read", "watch", "listen", "home_page_view",
    "category_page_view", "search", "add_to_cart", "purchase", "rate", "feedback", "custom",
    "remove_from_cart", "refund", "subscribe", "unsubscribe", "add_to_collection",
    "remove_from_collection", "like", "dislike", "share", "bookmark", "complete", "impression",
    "viewable_impression", "click", "submit", "product_image_view", "checkout_started",
)  # fmt: skip


def at_most(characters: int) -> Length:
    """The validator of a text's length."""
    return Length(max=characters, error="The text must not be longer than {max} characters.")


class CampaignSchema(Schema):
    class Meta:
        unknown = INCLUDE

    name = Text()
    source = Text()
    medium = Text()
    term = Text()
    content = Text()


class PageSchema(Schema):
    class Meta:
        unknown = INCLUDE

    url = Text()
    referrer = Text()
    title = Text()


class ContextSchema(Schema):
    """Where an interaction happened; other keys are kept as they are."""

    class Meta:
        unknown = INCLUDE

    campaign = Part(CampaignSchema)
    truncated_ip = Text()
    locale = Text()
    region = Text()
    page = Part(PageSchema)
    user_agent = Text()
    custom_context = Anything()


class SearchSchema(Schema):
    """What was searched for."""

    class Meta:
        unknown = INCLUDE

    keywords = Text(validate=at_most(10_000))
    filters = Anything()


class EventSchema(Schema):
    """One interaction as a fact."""

    type = Text(required=True, validate=OneOf(EVENT_TYPES, error="The event type is unknown."))
    user_id = PersonId(validate=at_most(512))
    anonymous_id = PersonId(validate=at_most(1024))
    message_id = PersonId(validate=at_most(1024))
    occurred_at = Instant()
    product_ids = Items(Id(validate=at_most(512)))
    product_group_ids = Items(Id(validate=at_most(512)))
    quantities = Items(
        Quantity(validate=Range(0, 1e9, error="A quantity must be between 0 and a billion."))
    )
    revenue = Number()
    currency = Text(validate=at_most(16))
    order_id = PersonId(validate=at_most(512))
    search = Part(SearchSchema)
    category = Items(Text())
    duration = Number(validate=Range(min=0, error="A duration must not be negative."))
    rating = Number(validate=Range(0, 5, error="A rating must be between 0 and 5."))
    miso_id = Uuid()
    custom_action_name = Text(validate=at_most(1024))
    question_id = Id(validate=at_most(512))
    result_type = Text()
    value = Text()
    context = Part(ContextSchema)
    properties = Anything()
