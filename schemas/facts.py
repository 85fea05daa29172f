"""What a translator can say, a closed set, and `load`: the one gate from plain dicts to facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from marshmallow import Schema, ValidationError
from marshmallow.validate import Length, OneOf

from schemas.errors import Invalid, Problem
from schemas.event import EventSchema, at_most
from schemas.fields import (
    Anything,
    Flag,
    Id,
    Instant,
    Items,
    Number,
    PersonId,
    Reader,
    Text,
    problems,
)
from schemas.product import ProductSchema, changes, translation
from schemas.user import UserSchema


@dataclass(frozen=True, slots=True)
class Event:
    """One interaction; `occurred_at` None means: when it was received."""

    type: str
    user_id: str | None = None
    anonymous_id: str | None = None
    message_id: str | None = None
    occurred_at: datetime | None = None
    product_ids: list[str] = field(default_factory=list)
    product_group_ids: list[str] | None = None
    quantities: list[float] | None = None
    revenue: float | None = None
    currency: str | None = None
    order_id: str | None = None
    search: dict[str, Any] | None = None
    category: list[str] | None = None
    duration: float | None = None
    rating: float | None = None
    miso_id: str | None = None
    custom_action_name: str | None = None
    question_id: str | None = None
    result_type: str | None = None
    value: str | None = None
    context: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None

    def data(self) -> dict[str, Any]:
        """What has no column of its own, only what is there."""
        pairs = ((name, getattr(self, name)) for name in EVENT_DATA)
        return {name: value for name, value in pairs if value is not None}


EVENT_DATA = (
    "product_group_ids", "currency", "order_id", "search", "category", "duration", "rating",
    "miso_id", "custom_action_name", "question_id", "result_type", "value", "context",
    "properties",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    """A whole catalog record; provisional ones were made from an event.

    `stock_item` is what its platform calls its stock, where availability follows `Stock` facts.
    """

    record: dict[str, Any]
    as_of: datetime | None = None
    provisional: bool = False
    stock_item: str | None = None

    @property
    def product_id(self) -> str:
        return str(self.record["product_id"])


@dataclass(frozen=True, slots=True)
class ProductPatch:
    """Some fields of a catalog record that is there; None clears one. Without `as_of` it changes
    whatever is there when it arrives."""

    record: dict[str, Any]
    as_of: datetime | None = None

    @property
    def product_id(self) -> str:
        return str(self.record["product_id"])


@dataclass(frozen=True, slots=True)
class Variants:
    """These are all the products of a group then, an empty list: the group is gone. What belongs to
    it, is older and is not among them is removed."""

    group_id: str
    product_ids: list[str]
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """How many of an item lie at one place; a product is in stock where the sum over all places of
    its `stock_item` is above 0. `quantity` None: the place no longer counts."""

    item_id: str
    location_id: str
    quantity: float | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What a source tells of an order; of all that is told of one id, one purchase is made.

    `placed`: its lines and revenue as of `as_of`, the newest of a source counts, `occurred_at` is
    when it was placed. `cancelled`: it no longer counts. `refunded`: of these products so many
    came back (no products and no revenue: all of them), `refund_id` tells one refund from another,
    `revenue` is what was paid back.
    """

    order_id: str
    told: Literal["placed", "cancelled", "refunded"]
    user_id: str | None = None
    anonymous_id: str | None = None
    occurred_at: datetime | None = None
    as_of: datetime | None = None
    product_ids: list[str] = field(default_factory=list)
    quantities: list[float] | None = None
    revenue: float | None = None
    currency: str | None = None
    refund_id: str | None = None
    context: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A known person's record: whole, or what a platform tells of it; `cleared` names the fields
    (`custom_attributes.<key>` too) that it took away."""

    record: dict[str, Any]
    as_of: datetime | None = None
    cleared: list[str] = field(default_factory=list)

    @property
    def user_id(self) -> str:
        return str(self.record["user_id"])


@dataclass(frozen=True, slots=True)
class Sighting:
    """An anonymous id and a user were seen together."""

    anonymous_id: str
    user_id: str
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SameDevice:
    """Two anonymous ids of one browser: its cookie and a platform's id of it, a cart's token."""

    anonymous_id: str
    other_id: str
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Two ids name one person: an alias, a platform's customer merge."""

    previous_id: str
    user_id: str
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """A catalog record is gone; `at` None means: when it was received."""

    kind: Literal["product", "user"]
    id: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Erase:
    """Forget everything about this person, and who placed these orders."""

    user_id: str | None = None
    anonymous_id: str | None = None
    order_ids: list[str] = field(default_factory=list)
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """Somebody asked what is known of this person; `request_id` is the platform's."""

    user_id: str | None = None
    anonymous_id: str | None = None
    order_ids: list[str] = field(default_factory=list)
    request_id: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Something about the connection itself: `uninstalled`, `scopes_changed`, `erase_all` (the
    platform asks to forget the whole shop), `ping`."""

    name: str
    at: datetime | None = None


Fact = (
    Event | Product | ProductPatch | Variants | Stock | Order | User | Sighting | SameDevice | Merge
    | Removed | Erase | Export | Lifecycle
)  # fmt: skip


class _ProductFact(Schema):
    record = Anything(required=True)
    as_of = Instant()
    provisional = Flag()
    stock_item = Id(validate=at_most(512))


class _ProductPatchFact(Schema):
    record = Anything(required=True)
    as_of = Instant()


class _VariantsFact(Schema):
    group_id = Id(required=True, validate=at_most(512))
    product_ids = Items(Id(validate=at_most(512)), required=True)
    as_of = Instant()


class _StockFact(Schema):
    item_id = Id(required=True, validate=at_most(512))
    location_id = Id(required=True, validate=at_most(512))
    quantity = Number()
    as_of = Instant()


class _OrderFact(Schema):
    order_id = PersonId(required=True, validate=at_most(512))
    told = Text(required=True, validate=OneOf(["placed", "cancelled", "refunded"]))
    user_id = EventSchema._declared_fields["user_id"]
    anonymous_id = EventSchema._declared_fields["anonymous_id"]
    occurred_at = Instant()
    as_of = Instant()
    product_ids = EventSchema._declared_fields["product_ids"]
    quantities = EventSchema._declared_fields["quantities"]
    revenue = Number()
    currency = EventSchema._declared_fields["currency"]
    refund_id = Id(validate=at_most(512))
    context = EventSchema._declared_fields["context"]
    properties = Anything()


class _UserFact(Schema):
    record = Anything(required=True)
    as_of = Instant()
    cleared = Items(Text())


class _SightingFact(Schema):
    anonymous_id = PersonId(required=True, validate=at_most(1024))
    user_id = PersonId(required=True, validate=at_most(512))
    occurred_at = Instant()


class _SameDeviceFact(Schema):
    anonymous_id = PersonId(required=True, validate=at_most(1024))
    other_id = PersonId(required=True, validate=at_most(1024))
    occurred_at = Instant()


class _MergeFact(Schema):
    previous_id = PersonId(required=True, validate=at_most(1024))
    user_id = PersonId(required=True, validate=at_most(512))
    occurred_at = Instant()


class _RemovedFact(Schema):
    kind = Text(required=True, validate=OneOf(["product", "user"]))
    id = Id(required=True, validate=Length(1, 512, error="The id must have 1 to 512 characters."))
    at = Instant()


class _EraseFact(Schema):
    user_id = PersonId(validate=at_most(512))
    anonymous_id = PersonId(validate=at_most(1024))
    order_ids = Items(Id(validate=at_most(512)))
    at = Instant()


class _ExportFact(_EraseFact):
    request_id = Text()


class _LifecycleFact(Schema):
    name = Text(required=True)
    at = Instant()


_EVENT = Reader(EventSchema(), skip="fact")
_PRODUCT = Reader(_ProductFact(), skip="fact")
_PRODUCT_PATCH = Reader(_ProductPatchFact(), skip="fact")
_VARIANTS = Reader(_VariantsFact(), skip="fact")
_STOCK = Reader(_StockFact(), skip="fact")
_ORDER = Reader(_OrderFact(), skip="fact")
_USER = Reader(_UserFact(), skip="fact")
_SIGHTING = Reader(_SightingFact(), skip="fact")
_SAME_DEVICE = Reader(_SameDeviceFact(), skip="fact")
_MERGE = Reader(_MergeFact(), skip="fact")
_REMOVED = Reader(_RemovedFact(), skip="fact")
_ERASE = Reader(_EraseFact(), skip="fact")
_EXPORT = Reader(_ExportFact(), skip="fact")
_LIFECYCLE = Reader(_LifecycleFact(), skip="fact")
_PRODUCT_RECORD = Reader(ProductSchema(), extra=translation)
_USER_RECORD = Reader(UserSchema())

_SOMEBODY = ("user_id", "anonymous_id", "order_ids")
_NOBODY = Problem("/user_id", "An event needs a user_id or an anonymous_id.")


def load(fact: dict[str, Any]) -> Fact:
    """The checked fact of a translator's dict; raises Invalid with every problem found.

    Pointers are into the fact (`/product_ids/0`, `/record/title`).
    """
    kind = fact.get("fact") if type(fact) is dict else None
    load_kind = _LOADERS.get(kind) if type(kind) is str else None
    if load_kind is None:
        raise Invalid([Problem("/fact", f"There is no fact of the kind {kind!r}.", kind)])
    return load_kind(fact)


def _event(fact: dict[str, Any]) -> Event:
    values = _read(_EVENT, fact)
    if "user_id" not in values and "anonymous_id" not in values:
        raise Invalid([_NOBODY])
    _check_quantities(values)
    if values["type"] == "custom" and "custom_action_name" not in values:
        raise Invalid(
            [Problem("/custom_action_name", "The attribute 'custom_action_name' is required.")]
        )
    return Event(**values)


def _check_quantities(values: dict[str, Any]) -> None:
    quantities = values.get("quantities")
    if quantities is not None and len(quantities) != len(values.get("product_ids", ())):
        raise Invalid(
            [Problem("/quantities", "There must be one quantity for each product.", quantities)]
        )


def _order(fact: dict[str, Any]) -> Order:
    values = _read(_ORDER, fact)
    _check_quantities(values)
    return Order(**values)


def _product(fact: dict[str, Any]) -> Product:
    values = _read(_PRODUCT, fact)
    if values.get("provisional"):
        values["record"] = _salvaged(values["record"])
    else:
        values["record"] = _read(_PRODUCT_RECORD, values["record"], "/record")
    return Product(**values)


def _salvaged(record: dict[str, Any]) -> dict[str, Any]:
    """A provisional record without its bad fields: they are no reason to refuse the event."""
    try:
        return _PRODUCT_RECORD.read(record)
    except ValidationError as error:
        good = {key: value for key, value in record.items() if key not in error.messages}
        return _read(_PRODUCT_RECORD, good, "/record")


def _product_patch(fact: dict[str, Any]) -> ProductPatch:
    values = _read(_PRODUCT_PATCH, fact)
    sent = values["record"]
    values["record"] = changes(sent, _read(_PRODUCT_RECORD, sent, "/record"))
    return ProductPatch(**values)


def _user(fact: dict[str, Any]) -> User:
    values = _read(_USER, fact)
    values["record"] = _read(_USER_RECORD, values["record"], "/record")
    return User(**values)


def _erase(fact: dict[str, Any]) -> Erase:
    values = _read(_ERASE, fact)
    if values.keys().isdisjoint(_SOMEBODY):
        raise Invalid([Problem("/user_id", "There is nobody to erase.")])
    return Erase(**values)


def _read(reader: Reader, data: dict[str, Any], pointer: str = "") -> dict[str, Any]:
    try:
        return reader.read(data)
    except ValidationError as error:
        raise Invalid(problems(error, data, pointer)) from None


_LOADERS: dict[str, Callable[[dict[str, Any]], Fact]] = {
    "event": _event,
    "product": _product,
    "product_patch": _product_patch,
    "variants": lambda fact: Variants(**_read(_VARIANTS, fact)),
    "stock": lambda fact: Stock(**_read(_STOCK, fact)),
    "order": _order,
    "user": _user,
    "sighting": lambda fact: Sighting(**_read(_SIGHTING, fact)),
    "same_device": lambda fact: SameDevice(**_read(_SAME_DEVICE, fact)),
    "merge": lambda fact: Merge(**_read(_MERGE, fact)),
    "removed": lambda fact: Removed(**_read(_REMOVED, fact)),
    "erase": _erase,
    "export": lambda fact: Export(**_read(_EXPORT, fact)),
    "lifecycle": lambda fact: Lifecycle(**_read(_LIFECYCLE, fact)),
}
