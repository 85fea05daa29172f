"""The wire of `/v1`, which is Miso's: the connector `api`, its documented shapes, its error lines.

`checkout` on this wire is our `purchase`; nothing else knows the word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from marshmallow import Schema, ValidationError
from marshmallow.validate import And, Length, OneOf, Regexp

from schemas.errors import Invalid, Malformed, Problem
from schemas.event import EVENT_TYPES, EventSchema
from schemas.fields import (
    Either,
    Id,
    Quantity,
    Reader,
    Text,
    escape,
    instant,
    lenient_instant,
    one_or_many,
    present,
    problems,
    wrong_type,
)
from schemas.product import ProductSchema, changes, translation
from schemas.user import UserSchema

Facts = list[dict[str, Any]]

# types ------------------------------------------------------------------------------------------

_OURS = {"checkout": "purchase"}
_WIRE = {ours: wire for wire, ours in _OURS.items()}

_COMMON = ("type", "user_id", "anonymous_id", "timestamp", "miso_id", "context")
_PRODUCTS = ("product_ids", "product_group_ids")
_OWN = {
    "product_detail_page_view": (*_PRODUCTS, "duration"),
    "promo_page_view": (*_PRODUCTS, "duration"),
    "read": (*_PRODUCTS, "duration"),
    "watch": (*_PRODUCTS, "duration"),
    "listen": (*_PRODUCTS, "duration"),
    "home_page_view": ("duration",),
    "category_page_view": ("category", "duration"),
    "search": ("search",),
    "add_to_cart": (*_PRODUCTS, "quantities"),
    "checkout": (*_PRODUCTS, "quantities", "revenue"),
    "rate": (*_PRODUCTS, "rating"),
    "feedback": ("question_id", "result_type", "value"),
    "custom": (*_PRODUCTS, "custom_action_name"),
}


def wire_type(event_type: str) -> str:
    """What this wire calls an event type of ours."""
    return _WIRE.get(event_type, event_type)


INTERACTION_TYPES = tuple(wire_type(name) for name in EVENT_TYPES if name != "checkout_started")
INTERACTION_FIELDS = {
    name: frozenset((*_COMMON, *_OWN.get(name, _PRODUCTS))) for name in INTERACTION_TYPES
}

# documented shapes ------------------------------------------------------------------------------


class ProductRecord(ProductSchema):
    """A product as uploaded: its id must fit Miso's paths and lists."""

    product_id = Id(
        required=True,
        validate=And(
            Length(1, 512, error="The id must have 1 to 512 characters."),
            Regexp(r"[^_,][^,]*\Z", error="The id must not hold a comma or start with '_'."),
        ),
    )


# The body of a change of one product; the id is in the path.
PRODUCT_FIELDS: Any = Schema.from_dict(
    {name: one for name, one in ProductSchema._declared_fields.items() if name != "product_id"},
    name="ProductFields",
)


class UserRecord(UserSchema):
    """A user as uploaded."""

    user_id = Id(
        required=True,
        validate=And(
            Length(1, 512, error="The id must have 1 to 512 characters."),
            Regexp(r"[^_]", error="The id must not start with '_'."),
        ),
    )


def _interaction_schema(name: str) -> type[Schema]:
    """The shape of one interaction type, from the same fields that check it."""
    declared = dict(EventSchema._declared_fields)
    declared["timestamp"] = declared["occurred_at"]
    declared["quantities"] = Either(Quantity(), metadata=one_or_many({"type": "number"}))
    declared["type"] = Text(required=True, validate=OneOf([name]))
    own = {field: declared[field] for field in (*_COMMON, *_OWN.get(name, _PRODUCTS))}
    title = "".join(word.capitalize() for word in name.split("_"))
    return Schema.from_dict(own, name=title)


INTERACTIONS = {name: _interaction_schema(name) for name in INTERACTION_TYPES}


def upload_shape(topic: str) -> dict[str, Any]:
    """The OpenAPI schema of a topic's request body, with marshmallow schemas inside."""
    return an_object(data={"type": "array", "items": _ITEMS[topic]})


def deletion_shape(topic: str) -> dict[str, Any]:
    """The OpenAPI schema of a deletion's request body."""
    ids: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    if topic == "interactions/_delete":
        people = an_object(user_ids=ids, anonymous_ids=ids)
        return people | {"required": []}
    name = "product_ids" if topic == "products/_delete" else "user_ids"
    return an_object(data=an_object(**{name: ids}))


def an_object(**properties: Any) -> dict[str, Any]:
    """The OpenAPI schema of an object that has these."""
    return {"type": "object", "required": list(properties), "properties": properties}


_ITEMS: dict[str, Any] = {
    "interactions": {"oneOf": list(INTERACTIONS.values())},
    "products": ProductRecord,
    "products/_patch": ProductRecord,
    "users": UserRecord,
}

# records ----------------------------------------------------------------------------------------

_ID_LISTS = ("product_ids", "user_ids")
_PEOPLE = ("user_ids", "anonymous_ids")
_LONGEST_KEY = 100  # every problem of a record repeats the key that it came under


NO_RECORDS = "The body must be an object that holds the records in 'data'."


def records(payload: Any) -> Iterator[tuple[str, Any]]:
    """Each record of a body with its JSON pointer; raises Malformed where there is no list.

    An upload is `{"data": [record…]}`, a deletion `{"data": {"product_ids": [id…]}}` or
    `{"user_ids": [id…]}`. A list may come as an object: its values are taken, and pointers hold
    the beginning of a key that is very long.
    """
    if type(payload) is not dict:
        raise Malformed(NO_RECORDS)
    if payload.get("anonymous_ids") is not None:
        return _people(payload)
    name, value = _list(payload, "data", "user_ids")
    pointer = f"/{name}"
    if type(value) is dict and any(key in value for key in _ID_LISTS):
        name, value = _list(value, *_ID_LISTS)
        pointer += f"/{name}"
    if type(value) is list:
        return ((f"{pointer}/{position}", record) for position, record in enumerate(value))
    if type(value) is dict:
        return (
            (f"{pointer}/{escape(key[:_LONGEST_KEY])}", record) for key, record in value.items()
        )
    raise Malformed(f"'{name}' must be a list.", pointer)


def _people(payload: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The ids of a request to erase that names anonymous ids too, which Miso's does not."""
    lists = {name: payload[name] for name in _PEOPLE if payload.get(name) is not None}
    for name, ids in lists.items():
        if type(ids) is not list:
            raise Malformed(f"'{name}' must be a list.", f"/{name}")
    return (
        (f"/{name}/{position}", {name.removesuffix("s"): one})
        for name, ids in lists.items()
        for position, one in enumerate(ids)
    )


def _list(holder: dict[str, Any], *names: str) -> tuple[str, Any]:
    name = next((name for name in names if holder.get(name) is not None), names[0])
    return name, holder.get(name)


# translate --------------------------------------------------------------------------------------

# None: facts have their fields where the sender's records have them.
pointers: Mapping[str, str] | None = None


def translate(topic: str | None, record: Any, settings: Mapping[str, Any]) -> Facts:
    """The facts of one record; raises Invalid with pointers into the record.

    `settings["anonymous_id"]` names the visitor of interactions that name nobody.
    """
    translator = _TOPICS.get(topic or "")
    if translator is None:
        raise Malformed(f"There is no topic {topic!r} on this wire.")
    return translator(record, settings)


def _interaction(record: Any, settings: Mapping[str, Any]) -> Facts:
    kept = _checked_keys(record)
    fact = {"fact": "event", **kept, "type": _OURS.get(kept["type"], kept["type"])}
    fact["occurred_at"] = _timestamp(fact.pop("timestamp", None))
    custom = _custom_context(kept.get("context"))
    fact["message_id"] = _message_id(custom)
    if kept["type"] == "checkout":
        fact["order_id"] = _order_id(custom)
    if "quantities" in kept:
        fact["quantities"] = _quantities(kept["quantities"], kept.get("product_ids"))
    user_id, anonymous_id = present(kept.get("user_id")), present(kept.get("anonymous_id"))
    if user_id and anonymous_id:
        return [fact, _sighting(anonymous_id, user_id, fact["occurred_at"])]
    named = user_id or anonymous_id or type(kept.get("anonymous_id")) in (list, dict, bool)
    if not named and settings.get("anonymous_id"):
        fact["anonymous_id"] = settings["anonymous_id"]
    return [fact]


def _checked_keys(record: Any) -> dict[str, Any]:
    """The record without nulls, if its type is known and it has only that type's fields."""
    if type(record) is not dict:
        raise Invalid([Problem("/type", "The record must be an object.", record)])
    kept = {key: value for key, value in record.items() if value is not None}
    name = kept.get("type")
    allowed = INTERACTION_FIELDS.get(name) if type(name) is str else None
    if allowed is None:
        raise Invalid([Problem("/type", _no_such_type(name), name)])
    if not kept.keys() <= allowed:
        raise Invalid(
            [
                Problem(f"/{escape(key)}", f"An interaction of type '{name}' has no such field.")
                for key in kept
                if key not in allowed
            ]
        )
    return kept


def _no_such_type(name: Any) -> str:
    if name is None:
        return "The attribute 'type' is required."
    return f"The type must be one of: {', '.join(INTERACTION_TYPES)}."


def _timestamp(value: Any) -> Any:
    if value is None:
        return None
    try:
        return instant(value)
    except (TypeError, ValueError, OverflowError):
        message = "The attribute should match the 'date-time' format, with a time zone."
        raise Invalid([Problem("/timestamp", message, value)]) from None


def _custom_context(context: Any) -> dict[str, Any]:
    custom = context.get("custom_context") if type(context) is dict else None
    return custom if type(custom) is dict else {}


def _message_id(custom: dict[str, Any]) -> str | None:
    """Miso's clients give each record a UUID of its own: `context.custom_context.uuid`."""
    message_id = present(custom.get("uuid"))
    return message_id if message_id and len(message_id) <= 1024 else None


def _order_id(custom: dict[str, Any]) -> str | None:
    """Miso's wire has no field for it: `context.custom_context.order_id` makes one purchase of what
    this and another source tell."""
    order_id = present(custom.get("order_id"))
    return order_id if order_id and len(order_id) <= 512 else None


def _quantities(quantities: Any, product_ids: Any) -> Any:
    """One number holds for each product."""
    if type(quantities) in (list, dict):
        return quantities
    count = len(product_ids) if type(product_ids) in (list, dict) else 0
    return [quantities] * count if count else None


def _sighting(anonymous_id: str, user_id: str, occurred_at: Any) -> dict[str, Any]:
    return {
        "fact": "sighting",
        "anonymous_id": anonymous_id,
        "user_id": user_id,
        "occurred_at": occurred_at,
    }


_PRODUCT = Reader(ProductRecord(), extra=translation)
_USER = Reader(UserRecord())


def _product(record: Any, settings: Mapping[str, Any]) -> Facts:
    return [_record("product", _PRODUCT, record)]


def is_product_id(product_id: str) -> bool:
    """Whether a product can have that id on this wire."""
    try:
        _PRODUCT.read({"product_id": product_id})
    except ValidationError:
        return False
    return "\0" not in product_id


def _user(record: Any, settings: Mapping[str, Any]) -> Facts:
    return [_record("user", _USER, record)]


def _product_patch(record: Any, settings: Mapping[str, Any]) -> Facts:
    fact = _record("product", _PRODUCT, record)
    told = changes(record, fact["record"])
    return [{"fact": "product_patch", "record": told, "as_of": fact["as_of"]}]


def _record(kind: str, reader: Reader, record: Any) -> dict[str, Any]:
    """A record's fact, checked here already so that pointers lead into the sender's record."""
    if type(record) is not dict:
        raise Invalid([Problem(f"/{kind}_id", "The record must be an object.", record)])
    try:
        read = reader.read(record)
    except ValidationError as error:
        raise Invalid(problems(error, record)) from None
    updated_at = read.get("updated_at")
    as_of = lenient_instant(updated_at) if updated_at else None
    return {"fact": kind, "record": read, "as_of": as_of}


def _removed(kind: str) -> Callable[[Any, Mapping[str, Any]], Facts]:
    return lambda record, settings: [{"fact": "removed", "kind": kind, "id": _id(record)}]


def _erase(record: Any, settings: Mapping[str, Any]) -> Facts:
    if type(record) is dict and len(record) == 1:
        [(kind, sent_id)] = record.items()
        if f"{kind}s" in _PEOPLE:
            return [{"fact": "erase", kind: _id(sent_id)}]
    return [{"fact": "erase", "user_id": _id(record)}]


def _merge(record: Any, settings: Mapping[str, Any]) -> Facts:
    """Not on Miso's wire: what `merge` says of two ids, itself a delivery that can be looked up."""
    kind = "same_device" if "other_id" in record else "merge"
    return [{"fact": kind, **record}]


def _id(record: Any) -> Any:
    if type(record) in (str, int, float):
        return record
    raise Invalid([Problem("", str(wrong_type("string", record).messages[0]), record)])


_TOPICS: dict[str, Callable[[Any, Mapping[str, Any]], Facts]] = {
    "interactions": _interaction,
    "products": _product,
    "users": _user,
    "interactions/_delete": _erase,
    "products/_patch": _product_patch,
    "products/_delete": _removed("product"),
    "users/_delete": _removed("user"),
    "people/_merge": _merge,
}


class Api(NamedTuple):
    """What ingest needs of a connector."""

    name: str
    records: Callable[[Any], Iterator[tuple[str, Any]]]
    translate: Callable[[str | None, Any, Mapping[str, Any]], Facts]


CONNECTOR = Api("api", records, translate)

# error lines ------------------------------------------------------------------------------------

_BLANKS = re.compile(r"\s+")
_LONGEST_VALUE = 100


class RecordProblem(Protocol):
    """A problem of one record of a body, its pointer into the body."""

    @property
    def position(self) -> int: ...
    @property
    def pointer(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def value(self) -> Any: ...


def lines(found: Iterable[RecordProblem]) -> list[str]:
    """The machine-read lines of an upload's 422, one violation each.

    `data.<index>[.<path>] [(<value>) ]is invalid. <sentence>`: Miso's clients find the bad records
    by the index and send the others again.
    """
    return [_line(problem) for problem in found]


def unreadable_line(reason: str) -> str:
    """The line of a body that holds no records at all."""
    return f"data is invalid. {_BLANKS.sub(' ', reason)}"


def _line(problem: RecordProblem) -> str:
    path = "".join(f".{_step(step)}" for step in problem.pointer.split("/")[3:])
    value = _shown(problem.value)
    sentence = _BLANKS.sub(" ", problem.reason)
    return f"data.{problem.position}{path} {value}is invalid. {sentence}"


def _step(step: str) -> str:
    """A key without blanks: the path ends at the first."""
    return _BLANKS.sub("_", step.replace("~1", "/").replace("~0", "~")) or "_"


def _shown(value: Any) -> str:
    if value is None or type(value) not in (str, int, float, bool):
        return ""
    text = _BLANKS.sub(" ", value if type(value) is str else json.dumps(value))
    return f"({text}) " if text and len(text) <= _LONGEST_VALUE else ""
