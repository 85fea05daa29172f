"""WordPress' posts and pages, as its REST API v2 shows them with `_embed`.

https://developer.wordpress.org/rest-api/reference/posts/
"""

from __future__ import annotations

from typing import Any

from connectors import values
from connectors.wordpress import fields
from connectors.wordpress.fields import Fact, Record, Settings
from schemas import Ignored

PRODUCTS = frozenset(("product", "product_variation"))


def post(record: Record, settings: Settings) -> list[Fact]:
    """The post or page as of its last change, or that it may not be shown. Raises Ignored."""
    product_id = fields.identifier(record)
    kind = values.text(record.get("type"))
    if kind in PRODUCTS:
        raise Ignored("Products come under their own topics, which say more of them.")
    at = fields.instant(record, "modified_gmt", "date_gmt")
    if not _may_be_shown(record):
        return fields.removed("product", product_id, at)
    if "title" not in record:
        raise Ignored("It says nothing of the post but its id.")
    found = _record(record, settings) | {"product_id": product_id, "type": kind}
    return [{"fact": "product", "record": fields.kept(found), "as_of": at}]


def _may_be_shown(record: Record) -> bool:
    """Published, and readable without a password."""
    content = record.get("content")
    protected = isinstance(content, dict) and content.get("protected") is True
    return (
        record.get("status", "publish") == "publish"
        and not protected
        and not record.get("password")
    )


def _record(record: Record, settings: Settings) -> Record:
    content = fields.rendered(record.get("content"))
    published_at = fields.written(fields.instant(record, "date_gmt"))
    return {
        "title": fields.words(fields.rendered(record.get("title"))),
        "description": fields.words(content),
        "short_description": fields.words(fields.rendered(record.get("excerpt"))),
        "html": values.text(content),
        "created_at": published_at,
        "published_at": published_at,
        "updated_at": fields.written(fields.instant(record, "modified_gmt")),
        "url": fields.address(record.get("link"), settings),
        "cover_image": _image(record, settings),
        "categories": [[name] for name in _terms(record, "category")] or None,
        "tags": _terms(record, "post_tag") or None,
        "authors": fields.names(_embedded(record, "author")) or None,
    }


def _embedded(record: Record, name: str) -> Any:
    """What `_embed` put beside; what may not be read there is an error object without a name."""
    beside = record.get("_embedded")
    return beside.get(name) if isinstance(beside, dict) else None


def _terms(record: Record, taxonomy: str) -> list[str]:
    """The names of a taxonomy's terms, which come as a list for each taxonomy."""
    lists = _embedded(record, "wp:term")
    terms = (
        [term for one in lists for term in values.objects(one)] if isinstance(lists, list) else []
    )
    return fields.names([term for term in terms if term.get("taxonomy") == taxonomy])


def _image(record: Record, settings: Settings) -> str | None:
    media = values.objects(_embedded(record, "wp:featuredmedia"))
    return fields.address(media[0].get("source_url"), settings) if media else None
