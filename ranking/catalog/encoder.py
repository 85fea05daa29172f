"""From a product's record to its text, and from text to vectors of all-MiniLM-L6-v2.

The encoder role loads `Encoder` (sentence-transformers), web processes `QueryEncoder` (the same
network exported to ONNX), which never imports torch. Nothing here touches a database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any
from uuid import UUID

from selectolax.lexbor import LexborHTMLParser

MODEL = "all-MiniLM-L6-v2"
DIMENSION = 384

# text -------------------------------------------------------------------------------------------

# Part of every text's hash: raise it whenever `text_of` changes, and every product is encoded anew.
RECIPE = 1
# The network reads 256 tokens, about four characters each.
MAX_DESCRIPTION = 1500
MAX_ATTRIBUTE = 80
MAX_ATTRIBUTES = 24

_SPACES = re.compile(r"\s+")


def text_of(record: dict[str, Any]) -> str:
    """The text that stands for a product; empty when there is nothing to say.

    The title stands alone, other parts carry their name. The description comes last, because
    what exceeds the network's 256 tokens is cut there.
    """
    parts = ((name, _clean(value)) for name, value in _parts(record))
    return "\n".join(f"{name}: {text}" if name else text for name, text in parts if text)


def text_hash(record: dict[str, Any]) -> UUID | None:
    """What tells whether a product must be encoded again; None where it has no text."""
    text = text_of(record)
    if not text:
        return None
    content = f"{MODEL}\0{RECIPE}\0{text}".encode("utf-8", "surrogatepass")
    return UUID(bytes=blake2b(content, digest_size=16).digest())


def _parts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "", _text(record.get("title"))
    yield "", _text(record.get("subtitle"))
    yield "brand", _text(record.get("brand"))
    yield "by", _joined(record.get("authors"))
    yield "category", "; ".join(_joined(path, " > ") for path in _list(record.get("categories")))
    yield "attributes", "; ".join(_attributes(record))
    yield "tags", _joined(record.get("tags"))
    yield "", _description(record)


def _attributes(record: dict[str, Any]) -> Iterator[str]:
    for name in ("color", "size", "material"):
        if record.get(name):
            yield f"{name} {_text(record[name])}"
    custom = record.get("custom_attributes")
    if isinstance(custom, dict):
        for name in sorted(custom)[:MAX_ATTRIBUTES]:
            text = _joined(custom[name])
            if _says_something(text):
                yield f"{name} {text}"


def _says_something(text: str) -> bool:
    """Long texts and addresses are no attributes; numbers (stock, margins) change by the hour."""
    return 0 < len(text) <= MAX_ATTRIBUTE and "://" not in text


def _description(record: dict[str, Any]) -> str:
    for name in ("description", "short_description", "html"):
        text = _clean(_without_html(_text(record.get(name))))
        if text:
            return text[:MAX_DESCRIPTION]
    return ""


def _without_html(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    body = LexborHTMLParser(text[: 8 * MAX_DESCRIPTION])
    body.strip_tags(["script", "style"], recursive=True)
    return body.text(separator=" ") or ""


def _clean(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _joined(value: Any, separator: str = ", ") -> str:
    """A string or a list of strings as one text; anything else says nothing."""
    if isinstance(value, str):
        return value
    return separator.join(item for item in _list(value) if isinstance(item, str))
