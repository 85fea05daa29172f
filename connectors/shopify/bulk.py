"""The file of a bulk operation as products: what stands on many lines comes together again.

https://shopify.dev/docs/api/usage/bulk-operations/queries. A line is an object; a child names its
parent in `__parentId`, and stands anywhere after it, so no product is complete before the file
ends. The lines wait on disk (a private SQLite file that goes with its connection): however large
the catalog, memory holds one product.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from connectors import values
from connectors.shopify.webhook import an_object, identifier
from schemas import Malformed, payload

# The field of a product under which a webhook has what GraphQL calls otherwise.
PRODUCT = {
    "id": "id",
    "title": "title",
    "handle": "handle",
    "descriptionHtml": "body_html",
    "vendor": "vendor",
    "productType": "product_type",
    "tags": "tags",
    "status": "status",
    "options": "options",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "publishedAt": "published_at",
}
VARIANT = {
    "id": "id",
    "title": "title",
    "sku": "sku",
    "price": "price",
    "compareAtPrice": "compare_at_price",
    "inventoryPolicy": "inventory_policy",
    "inventoryQuantity": "inventory_quantity",
    "availableForSale": "available",
    "selectedOptions": "option_values",
}

SCHEMA = "create table children (parent text, line text)"
INDEX = "create index by_parent on children (parent)"
CHILDREN = "select line from children where parent = ? order by rowid"


def bulk(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Each product of the file in the form of products/update, in the file's order; grouped or not.

    `chunks` are the file's bytes, cut anywhere (`for chunk in response.iter_bytes()`, an open
    file). Only for a completed operation: in a partial file variants are missing, and would look
    deleted. Raises Malformed at a line that is no object.
    """
    with closing(sqlite3.connect("")) as disk:
        disk.execute(SCHEMA)
        disk.execute("create table parents (line text)")
        for number, line in enumerate(_lines(chunks), 1):
            _keep(disk, number, line)
        disk.execute(INDEX)
        for (line,) in disk.execute("select line from parents order by rowid"):
            parent = payload.parse(line.encode())
            found = disk.execute(CHILDREN, (values.text(parent["id"]),))
            yield _product(parent, [payload.parse(child.encode()) for (child,) in found])


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Cut at `\n` and nowhere else: U+2028 inside a description ends no line."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    yield rest


def _keep(disk: sqlite3.Connection, number: int, line: bytes) -> None:
    if not line.strip():
        return
    try:
        row = payload.parse(line)
    except Malformed as error:
        raise Malformed(f"Line {number} of the bulk export: {error}") from None
    parent = values.text(row.get("__parentId")) if isinstance(row, dict) else None
    if not isinstance(row, dict) or values.text(row.get("id")) is None:
        raise Malformed(f"Line {number} of the bulk export is no object with an `id`.")
    if parent is None:
        disk.execute("insert into parents values (?)", (line.decode(),))
    else:
        disk.execute("insert into children values (?, ?)", (parent, line.decode()))


def _product(parent: dict[str, Any], children: list[dict[str, Any]]) -> dict[str, Any]:
    record = _renamed(parent, PRODUCT)
    preview = an_object(an_object(parent.get("featuredMedia")).get("preview"))
    variants = _of_kind(children, "ProductVariant")
    record["category"] = {"full_name": an_object(parent.get("category")).get("fullName")}
    record["collections"] = [each.get("title") for each in _of_kind(children, "Collection")]
    record["image"] = _picture(preview)
    record["images"] = [_picture(each) for each in _of_kind(children, "MediaImage")]
    record["variants"] = [_variant(each) for each in variants]
    record["variant_gids"] = [{"admin_graphql_api_id": each["id"]} for each in variants]
    return record


def _of_kind(children: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in children if f"/{kind}/" in str(each["id"])]


def _picture(holder: dict[str, Any]) -> dict[str, Any]:
    return {"src": an_object(holder.get("image")).get("url")}


def _variant(row: dict[str, Any]) -> dict[str, Any]:
    item = an_object(row.get("inventoryItem"))
    more = {"inventory_item_id": identifier(item.get("id")), "tracked": item.get("tracked")}
    return _renamed(row, VARIANT) | more


def _renamed(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {ours: row[theirs] for theirs, ours in names.items() if theirs in row}
