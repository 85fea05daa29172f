"""Text out of the HTML that catalogs hold."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser

# Markup that stands inside a word or sentence; any other ends one.
INLINE = ["a", "abbr", "b", "code", "em", "font", "i", "mark", "small", "span", "strong", "u"]
_TAG = re.compile(r"<[a-zA-Z/!]|&#?\w+;")


def plain(text: str) -> str:
    """What a reader of the HTML would see, on one line."""
    if _TAG.search(text):
        parsed = LexborHTMLParser(text)
        parsed.strip_tags(["script", "style", "template", "noscript"])
        parsed.unwrap_tags(INLINE)
        parsed.merge_text_nodes()
        text = parsed.body.text(separator=" ") if parsed.body else ""
    return " ".join(text.split())
