"""The entries of an XML feed: RSS 2.0, RSS 1.0 and Atom with Google's `g:` attributes.

https://support.google.com/merchants/answer/160589 (RSS), /160593 (Atom)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from connectors.feed import attributes
from connectors.feed.bounded import Bounded, Broken

ENTRIES = ("{*}item", "{*}entry")
GOOGLE = "base.google.com"
PAGE = ("html", "{http://www.w3.org/1999/xhtml}html")

Entry = tuple[int, dict[str, Any]]


def entries(file: Bounded, settings: Mapping[str, Any]) -> Iterator[Entry]:
    """(line, attributes) of each entry; raises Broken where the XML is not well-formed.

    Nothing outside the file is loaded and nothing inside it is expanded: one that declares entities
    is refused.
    """
    found = etree.iterparse(
        file,
        events=("start", "end"),
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    depth, inside = 0, 0
    try:
        for event, element in found:
            if event == "start":
                depth += 1
                if depth == 1:
                    _check(element)
                if not inside and _is_entry(element):
                    inside = depth
                continue
            if depth == inside:
                yield element.sourceline, _record(element, settings)
                inside = 0
            if not inside:
                _drop(element)
            depth -= 1
    except etree.XMLSyntaxError as error:
        raise Broken(f"the XML is not well-formed: {error.msg or 'it is empty'}") from None


def _check(root: Any) -> None:
    if root.tag.lower() in PAGE:
        raise Broken("the address answers with a web page, not with a feed")
    declared = root.getroottree().docinfo.internalDTD
    if declared is not None and next(declared.iterentities(), None) is not None:
        raise Broken("the XML declares entities, which a feed has no use for")


def _is_entry(element: Any) -> bool:
    return etree.QName(element).localname in ("item", "entry")


def _drop(element: Any) -> None:
    """Free what was read: the element's content, and those before it."""
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def _record(entry: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes by their name; Google's win over those of RSS or Atom itself."""
    own: dict[str, Any] = {}
    google: dict[str, Any] = {}
    for child in entry:
        if not isinstance(child.tag, str):
            continue
        name = etree.QName(child)
        into = google if GOOGLE in (name.namespace or "") else own
        value = _value(child, name.localname)
        if value:
            attributes.add(into, name.localname, value, settings)
    return own | google


def _value(element: Any, name: str) -> Any:
    if name == "link" and element.get("href"):
        return element.get("href") if element.get("rel", "alternate") == "alternate" else None
    if element.get("type") == "xhtml" or not len(element):
        return "".join(element.itertext()).strip()
    parts: dict[str, Any] = {}
    for child in element:
        if isinstance(child.tag, str):
            parts.setdefault(etree.QName(child).localname, "".join(child.itertext()).strip())
    return parts
