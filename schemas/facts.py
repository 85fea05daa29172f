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
from schemas.fields import Anything, Flag, Id, Instant, Items, PersonId, Reader, Text, problems
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
    """A whole catalog record; provisional ones were made from an event."""

    record: dict[str, Any]
    as_of: datetime | None = None
    provisional: bool = False

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
    """Forget everything about this person."""

    user_id: str | None = None
    anonymous_id: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Something about the connection itself: installed, uninstalled, a test ping."""

    name: str
    at: datetime | None = None


Fact = Event | Product | ProductPatch | User | Sighting | Merge | Removed | Erase | Lifecycle


class _ProductFact(Schema):
    record = Anything(required=True)
    as_of = Instant()
    provisional = Flag()


class _ProductPatchFact(Schema):
    record = Anything(required=True)
    as_of = Instant()


class _UserFact(Schema):
    record = Anything(required=True)
    as_of = Instant()
    cleared = Items(Text())


class _SightingFact(Schema):
    anonymous_id = PersonId(required=True, validate=at_most(1024))
    user_id = PersonId(required=True, validate=at_most(512))
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
    at = Instant()


class _LifecycleFact(Schema):
    name = Text(required=True)
    at = Instant()


_EVENT = Reader(EventSchema(), skip="fact")
_PRODUCT = Reader(_ProductFact(), skip="fact")
_PRODUCT_PATCH = Reader(_ProductPatchFact(), skip="fact")
_USER = Reader(_UserFact(), skip="fact")
_SIGHTING = Reader(_SightingFact(), skip="fact")
_MERGE = Reader(_MergeFact(), skip="fact")
_REMOVED = Reader(_RemovedFact(), skip="fact")
_ERASE = Reader(_EraseFact(), skip="fact")
_LIFECYCLE = Reader(_LifecycleFact(), skip="fact")
_PRODUCT_RECORD = Reader(ProductSchema(), extra=translation)
_USER_RECORD = Reader(UserSchema())

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
    quantities = values.get("quantities")
    if quantities is not None and len(quantities) != len(values.get("product_ids", ())):
        raise Invalid(
            [Problem("/quantities", "There must be one quantity for each product.", quantities)]
        )
    if values["type"] == "custom" and "custom_action_name" not in values:
        raise Invalid(
            [Problem("/custom_action_name", "The attribute 'custom_action_name' is required.")]
        )
    return Event(**values)


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
    if "user_id" not in values and "anonymous_id" not in values:
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
    "user": _user,
    "sighting": lambda fact: Sighting(**_read(_SIGHTING, fact)),
    "merge": lambda fact: Merge(**_read(_MERGE, fact)),
    "removed": lambda fact: Removed(**_read(_REMOVED, fact)),
    "erase": _erase,
    "lifecycle": lambda fact: Lifecycle(**_read(_LIFECYCLE, fact)),
}
