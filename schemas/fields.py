"""marshmallow fields for what senders really write, and the reader that applies a schema.

Everywhere: null is absent, a list may come as a JSON object whose values are meant (PHP's
array_diff keeps keys), and what is accepted can be stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, missing

from schemas import languages
from schemas.errors import Problem

NULL_LIKE = frozenset(("", "0", "null", "undefined", "none", "nan", "[object object]"))
MAX_NUMBER = 1e15  # sums of these stay exact enough, and none is a price

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_URI = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*:|//)\S+")
_KINDS = {
    str: "string", bool: "boolean", int: "number", float: "number",
    list: "array", dict: "object", type(None): "null",
}  # fmt: skip


def present(value: Any) -> str | None:
    """The id a person was sent under as text, or None where it is absent or null-like."""
    text = _id_text(value)
    if text is None or text.strip().lower() in NULL_LIKE:
        return None
    return text


def _id_text(value: Any) -> str | None:
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if type(value) is float and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    return None


def wrong_type(expected: str, value: Any, more: str = "") -> ValidationError:
    """The error of a value of another JSON type; `more` ends its sentence."""
    given = _KINDS.get(type(value), type(value).__name__)
    return ValidationError(
        f"The attribute was expected to be of type '{expected}' but type '{given}' was given{more}."
    )


Read = Callable[[Any, Any, Any], Any]  # value, key, whole → loaded


def _bare(field: fields.Field) -> Read:
    """A field's `deserialize` for a value that is there, without the rest of its machinery."""
    read, validators = field._deserialize, field.validators
    if not validators:
        return read

    def read_and_validate(value: Any, key: Any, data: Any) -> Any:
        loaded = read(value, key, data)
        if loaded is not missing:
            for validate in validators:
                validate(loaded)
        return loaded

    return read_and_validate


class Text(fields.String):
    """A string as it was sent."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if type(value) is not str:
            raise wrong_type("string", value)
        return value


class Language(Text):
    """A language by its two letters (or a tag: en-US), in small ones; empty where none is named."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        code = languages.code(text) if text.strip() else ""
        if code is None:
            known = ", ".join(sorted(languages.CODES))
            raise ValidationError(f"Name a language by its two letters (ISO 639-1): {known}.")
        return code


class Id(Text):
    """An id: numbers become strings, blank is an error."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = _id_text(value)
        if text is None:
            raise wrong_type("string", value)
        if not text or text.isspace():
            raise ValidationError("The id must not be empty.")
        return text


class PersonId(Text):
    """A user's or visitor's id: as Id, but null-like ones count as absent."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = _id_text(value)
        if text is None:
            raise wrong_type("string", value)
        return missing if text.strip().lower() in NULL_LIKE else text

    def _validate(self, value: Any) -> None:
        if value is not missing:
            super()._validate(value)


class Number(fields.Float):
    """A finite number or a string that spells one; whole numbers stay whole."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        number = value
        if type(value) is str:
            try:
                number = float(value)
            except ValueError:
                raise wrong_type(
                    "number", value, f": {value[:40]!r}. A number is written as 12.50"
                ) from None
        if type(number) is not int and type(number) is not float:
            raise wrong_type("number", value)
        if not -MAX_NUMBER <= number <= MAX_NUMBER:
            raise ValidationError("The number is too large.")
        return number


class Quantity(Number):
    """How many: rounded to millionths, because the column is a 4-byte float."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> float:
        return round(float(super()._deserialize(value, attr, data, **kwargs)), 6)


class Whole(fields.Integer):
    """A whole number."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        whole = int(value) if type(value) is float and value.is_integer() else value
        if type(whole) is not int:
            raise wrong_type("integer", value)
        if not -MAX_NUMBER <= whole <= MAX_NUMBER:
            raise ValidationError("The number is too large.")
        return whole


class Flag(fields.Boolean):
    """true or false."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if type(value) is not bool:
            raise wrong_type("boolean", value)
        return value


class Uuid(fields.UUID):
    """A UUID in its usual spelling, kept as lower-case text."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if type(value) is not str:
            raise wrong_type("string", value)
        if not _UUID.fullmatch(value):
            raise ValidationError("The attribute should match the 'uuid' format.")
        return value.lower()


class Uri(fields.Url):
    """An absolute address (`https://…`, also `//host/…`), as it was sent."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators = self.validators[1:]  # marshmallow's own needs a known scheme

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if type(value) is not str:
            raise wrong_type("string", value)
        if len(value) > 65536 or not _URI.fullmatch(value):
            raise ValidationError("The attribute should match the 'uri' format.")
        return value


def instant(value: str) -> datetime:
    """The UTC datetime of an ISO 8601 date-time with zone; ValueError for anything else."""
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at.astimezone(UTC)


def lenient_instant(value: str) -> datetime:
    """As `instant`, but a date or a time without zone is taken as UTC."""
    at = datetime.fromisoformat(value)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class Instant(fields.AwareDateTime):
    """A moment: ISO 8601 with zone, or an aware datetime; loaded as UTC."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        aware = isinstance(value, datetime) and value.tzinfo is not None
        if type(value) is not str and not aware:
            raise wrong_type("string", value)
        try:
            return value.astimezone(UTC) if aware else instant(value)
        except (ValueError, OverflowError):
            raise ValidationError(
                "The attribute should match the 'date-time' format, with a time zone."
            ) from None


class RecordDate(fields.String):
    """A date or date-time inside a record: checked, and kept as it was sent."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if isinstance(value, date):
            value = value.isoformat()
        if type(value) is not str:
            raise wrong_type("string", value)
        try:
            lenient_instant(value)
        except (ValueError, OverflowError):
            raise ValidationError("The attribute should match the 'date-time' format.") from None
        return value


class Items(fields.List):
    """A list, or an object whose values are the list; nulls in it are an error."""

    _read_item: Read | None = None

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if type(value) is dict:
            value = list(value.values())
        if type(value) is not list:
            raise wrong_type("array", value)
        read = self._read_item = self._read_item or _bare(self.inner)
        items: list[Any] = []
        errors: dict[int, Any] = {}
        for position, item in enumerate(value):
            try:
                items.append(read(item, attr, data))
            except ValidationError as error:
                errors[position] = error.messages
        if errors:
            raise ValidationError(errors)  # type: ignore[arg-type]
        return items


class Part(fields.Nested):
    """An object with a schema of its own."""

    _reader: Reader | None = None

    def _deserialize(  # type: ignore[override]
        self, value: Any, attr: Any, data: Any, **kwargs: Any
    ) -> dict[str, Any]:
        if self._reader is None:
            self._reader = Reader(self.schema)
        return self._reader.read(value)


class Named(fields.Dict):
    """An object of any keys, whose values are what `inner` reads."""

    _read_value: Read | None = None

    def __init__(self, inner: fields.Field, **kwargs: Any) -> None:
        super().__init__(keys=Text(), values=inner, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong_type("object", value)
        assert self.value_field is not None, "given above"
        read = self._read_value = self._read_value or _bare(self.value_field)
        found: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        for key, item in value.items():
            try:
                found[key] = read(item, attr, data)
            except ValidationError as error:
                errors[key] = error.messages
        if errors:
            raise ValidationError(errors)  # type: ignore[arg-type]
        return found


class Either(fields.Field):
    """A list of what `inner` reads, or one such value (kept as it came)."""

    def __init__(self, inner: fields.Field, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner: Any = inner
        self.many = Items(inner)

    def _bind_to_schema(self, field_name: str, parent: Any) -> None:
        super()._bind_to_schema(field_name, parent)
        for part in (self.inner, self.many):
            part._bind_to_schema(field_name, parent)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        field = self.many if type(value) is list else self.inner
        return field.deserialize(value, attr, data)


def one_or_many(shape: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of an `Either`, its metadata."""
    return {"anyOf": [shape, {"type": "array", "items": shape}]}


class Attributes(fields.Dict):
    """Free keys: a boolean, number, string, list of numbers or of strings, or object(s)."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong_type("object", value)
        kept = {key: item for key, item in value.items() if item is not None}
        errors = {key: [message] for key, item in kept.items() if (message := _unfit(item))}
        if errors:
            raise ValidationError(errors)  # type: ignore[arg-type]
        return kept


def _unfit(value: Any) -> str | None:
    if type(value) is not list:
        return None
    kinds = {_KINDS.get(type(item)) for item in value}
    if len(kinds) <= 1 and kinds <= {"string", "number", "object"}:
        return None
    return "A list must hold only strings, only numbers or only objects."


class Anything(fields.Dict):
    """An object of any content."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong_type("object", value)
        return value


class Reader:
    """Applies a schema by its fields, visiting only the keys that are there.

    The same fields, validators and messages as `schema.load`, at a third of its time for wide
    schemas with few keys present; hooks of the schema are not called.
    """

    def __init__(self, schema: Schema, *, skip: str = "", extra: Any = None) -> None:
        self.fields = dict(schema.load_fields)
        self._reads = {name: _bare(field) for name, field in self.fields.items()}
        self.required = [name for name, field in self.fields.items() if field.required]
        self.open = schema.unknown == INCLUDE
        self.skip = skip
        self.extra = extra  # (key, value) -> value, or None where the key is unknown

    def read(self, data: Any) -> dict[str, Any]:
        """The cleaned copy of `data`; raises marshmallow's ValidationError."""
        if type(data) is not dict:
            raise wrong_type("object", data)
        read: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        known = self._reads
        for key, value in data.items():
            if value is None or key == self.skip:
                continue
            try:
                field = known.get(key)
                loaded = field(value, key, data) if field else self._other(key, value)
            except ValidationError as error:
                errors[key] = error.messages
            else:
                if loaded is not missing:
                    read[key] = loaded
        for key in self.required:
            if key not in read and key not in errors:
                errors[key] = [f"The attribute '{key}' is required."]
        if errors:
            raise ValidationError(errors)  # type: ignore[arg-type]
        return read

    def _other(self, key: str, value: Any) -> Any:
        """The value of a key that the schema does not name."""
        if self.open:
            return value
        if self.extra is not None and (known := self.extra(key, value)) is not None:
            return known
        raise ValidationError(f"Additional attributes are not allowed ('{key}' was unexpected).")


def problems(error: ValidationError, data: Any, pointer: str = "") -> list[Problem]:
    """marshmallow's nested messages as flat problems, each with the value that stood there."""
    return list(_flatten(error.messages, data, pointer))


def _flatten(messages: Any, data: Any, pointer: str) -> Any:
    if isinstance(messages, Mapping):
        items = list(data.values()) if type(data) is dict else data
        for key, inner in messages.items():
            yield from _flatten(inner, _child(data, items, key), f"{pointer}/{escape(str(key))}")
        return
    for message in messages:
        yield Problem(pointer, message, data)


def _child(data: Any, items: Any, key: Any) -> Any:
    """What stood at a key; an object that was sent for a list has its items by their number."""
    if type(data) is dict and key in data:
        return data[key]
    return items[key] if type(items) is list and _indexes(key, items) else None


def _indexes(key: Any, data: Any) -> bool:
    return type(key) is int and 0 <= key < len(data)


def escape(key: str) -> str:
    """A key as a JSON pointer writes it."""
    return key.replace("~", "~0").replace("/", "~1")
