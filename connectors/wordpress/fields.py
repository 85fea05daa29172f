"""What all records of WordPress and WooCommerce have in common, read one by one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urljoin

from connectors import values
from connectors.prose import plain
from schemas import Malformed

Fact = dict[str, Any]
Record = dict[str, Any]
Settings = Mapping[str, Any]

LONGEST_ID = 20  # digits of a 64-bit number
LONGEST_ADDRESS = 2000


def identifier(record: Record) -> str:
    """The record's number. Products, posts, pages and orders share one sequence of them."""
    found = number(record.get("id"))
    if found is None:
        raise Malformed("It has no `id`, a number above 0.", "/id")
    return found


def number(value: Any) -> str | None:
    """A number above 0 by which WordPress calls something; 0 means none."""
    written = values.text(value)
    if written is None or not (written.isascii() and written.isdecimal()):
        return None
    return written if len(written) <= LONGEST_ID and int(written) else None


def instant(record: Record, *names: str) -> datetime | None:
    """The first of these times that can be read: `*_gmt`, which is UTC and does not say so."""
    return next(filter(None, (values.instant(record.get(name)) for name in names)), None)


def written(at: datetime | None) -> str | None:
    """An instant as a record holds it."""
    return at.isoformat() if at else None


def words(value: Any) -> str | None:
    """A name or text without markup, its entities decoded once (`&amp;amp;` stays `&amp;`)."""
    text = values.text(value)
    return plain(text) or None if text else None


def rendered(value: Any) -> Any:
    """The text of `{"rendered": text}`, as WordPress' own API wraps it, or the text itself."""
    return value.get("rendered") if isinstance(value, dict) else value


def address(value: Any, settings: Settings) -> str | None:
    """An absolute web address; some plugins make a shop's own relative to its root."""
    text = values.text(value)
    if text is None or len(text) > LONGEST_ADDRESS or any(map(str.isspace, text)):
        return None
    try:
        return values.web_address(urljoin(values.text(settings.get("site_url")) or "", text))
    except ValueError:  # such as a bracket that opens and does not close
        return None


def names(value: Any) -> list[str]:
    """The names of a list of terms."""
    return [name for term in values.objects(value) if (name := words(term.get("name")))]


def kept(record: Record) -> Record:
    """The record without what is not there."""
    return {name: value for name, value in record.items() if value is not None}


def removed(kind: str, id: str, at: datetime | None) -> list[Fact]:
    """That a product or user is gone; without an instant, as of the receipt."""
    return [{"fact": "removed", "kind": kind, "id": id, "at": at}]
