"""Reads single values as senders write them: numbers as text, lists as JSON text, any date form.

Nothing here raises: what cannot be read is None, and the record it stands in goes on without it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from price_parser import Price

from schemas import payload
from schemas.errors import Malformed

LARGEST = 1e15  # as schemas: none is a price, and sums stay exact enough
EPOCH_MS_FROM = 1e11  # March 1973 in ms; a smaller number of a shop's event counts seconds

# A price as a shop prints it: a currency sign or code before or after, nothing else.
_PRICE = re.compile(r"[^\W\d_]{0,4}[^\w%\-]*\d[\d.,'’\s]*[^\w%]*[^\W\d_]{0,4}")


def text(value: Any) -> str | None:
    """A trimmed string, or a number as one; None for blanks and everything else."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < LARGEST else str(value)
    return str(value) if isinstance(value, int) else None


def currency(value: Any) -> str | None:
    """A currency's code of ISO 4217, three capital letters whatever their case was."""
    code = text(value)
    known = code is not None and len(code) == 3 and code.isascii() and code.isalpha()
    return code.upper() if code and known else None


def number(value: Any) -> float | None:
    """A number, or text that plainly is one (`"2"`, `"19,99"`, `"$ 79.95"`)."""
    if isinstance(value, str):
        value = _number_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -LARGEST <= value <= LARGEST else None


def _number_in(written: str) -> float | None:
    try:
        return float(written)
    except ValueError:
        pass
    if len(written) > 40 or not _PRICE.fullmatch(written.strip()):
        return None
    return Price.fromstring(written).amount_float


def instant(value: Any) -> datetime | None:
    """UTC of any ISO 8601 form (without zone = UTC) or an epoch number in ms (or s)."""
    try:
        if isinstance(value, str):
            return _instant_in(value.strip().upper())
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value if abs(value) < EPOCH_MS_FROM else value / 1000
            return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _instant_in(written: str) -> datetime | None:
    if written.isdecimal() and len(written) > 8:  # 8 digits are a date
        return instant(int(written))
    at = datetime.fromisoformat(written)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, of one object alone, or of either as JSON text."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _parsed(written: str) -> Any:
    if not written.lstrip().startswith(("[", "{")):
        return None
    try:
        return payload.parse(written.encode("utf-8", "replace"))
    except Malformed:
        return None


def path(value: Any) -> list[str]:
    """A category from broad to narrow: `"A/B"`, a list, or one name."""
    parts = value.split("/") if isinstance(value, str) else value
    if not isinstance(parts, list):
        return []
    return [name for part in parts if (name := text(part)) is not None]


def web_address(value: Any) -> str | None:
    """An http(s) address."""
    written = text(value)
    return written if written and written.startswith(("https://", "http://")) else None
