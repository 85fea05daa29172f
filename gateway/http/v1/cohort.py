"""`user_cohort`: whom a visitor may be like, by fields of users' records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marshmallow.fields import Field
from marshmallow.validate import Length

from ranking.merchandising import filters
from ranking.merchandising.filters import CUSTOM
from ranking.visitors.cohort import Cohort
from schemas.errors import Problem
from schemas.fields import Named, wrong_type
from schemas.user import UserSchema

MOST_FIELDS = 10
KNOWN = frozenset(UserSchema().fields) - {CUSTOM}


class TextOrFlag(Field):
    """A string, or true or false."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str | bool:
        if type(value) not in (str, bool):
            raise wrong_type("string", value, ": a field is compared with a string, true or false")
        return value  # type: ignore[no-any-return]


def field() -> Named:
    """The field of a request."""
    return Named(
        TextOrFlag(metadata={"anyOf": [{"type": "string"}, {"type": "boolean"}]}),
        validate=Length(max=MOST_FIELDS, error=f"At most {MOST_FIELDS} fields."),
    )


def problems(asked: dict[str, Any]) -> Iterator[Problem]:
    """Names that users' records cannot have."""
    for name in asked.get("user_cohort", {}):
        top, _, inner = filters.spelled(name).partition(".")
        if not (name in KNOWN or (top == CUSTOM and inner)):
            yield Problem("/user_cohort", f'users have no field "{name}"', name)


def cohort(asked: dict[str, Any]) -> Cohort:
    """In one order, whatever the request's."""
    sent = asked.get("user_cohort", {})
    return tuple(sorted((filters.spelled(name), value) for name, value in sent.items()))
