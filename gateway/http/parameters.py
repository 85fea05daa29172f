"""Query parameters of the routes that look inside; what cannot be read is a 422 that names it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from flask import request

from gateway.http.errors import NotFound, Refused
from schemas.errors import Problem
from schemas.fields import escape

LONGEST_NAME = 40  # of what is quoted
MOST_PROBLEMS = 10


def only(*names: str) -> None:
    """Refuse a request with other parameters than these: a typo would ask for something else."""
    unknown = [name for name in request.args if name not in (*names, "api_key")]
    if not unknown:
        return
    known = f"this route has {', '.join(names) or 'none'}"
    found = [Problem(f"/{escape(name[:LONGEST_NAME])}", known) for name in unknown]
    message = f"there is no query parameter {unknown[0][:LONGEST_NAME]!r}: {known}"
    raise Refused(message, problems=found[:MOST_PROBLEMS])


def text(name: str) -> str | None:
    """A parameter as it stands; empty counts as absent."""
    value = request.args.get(name) or None
    if value is not None and "\0" in value:
        raise _refused(name, "it must not contain NUL")
    return value


def instant(name: str) -> datetime | None:
    """An ISO 8601 date or time, in UTC; without a zone it is UTC."""
    value = text(name)
    if value is None:
        return None
    try:
        # A '+' that was not encoded arrives as a blank.
        found = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
        # Overflows where it is before the year 1, or after 9999, in UTC.
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _refused(name, "it must be an ISO 8601 time, such as 2026-01-31T12:00:00Z") from None


def count(name: str, default: int, *, least: int = 1, most: int = 1000) -> int:
    """A whole number between `least` and `most`."""
    value = text(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise _refused(name, f"it must be a whole number from {least} to {most}")
    number = int(value)
    if not least <= number <= most:
        raise _refused(name, f"it must be a whole number from {least} to {most}")
    return number


def identifier(name: str) -> UUID | None:
    """The id of a delivery."""
    value = text(name)
    if value is None:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise _refused(name, "it must be a UUID") from None


def identifier_in_path(value: str) -> UUID:
    """An id that is a part of the path: what is no UUID names nothing."""
    try:
        return UUID(value)
    except ValueError:
        raise NotFound(f"there is no delivery {value!r}") from None


def _refused(name: str, sentence: str) -> Refused:
    message = f"the query parameter {name} cannot be read: {sentence}"
    return Refused(message, problems=[Problem(f"/{name}", sentence)])
