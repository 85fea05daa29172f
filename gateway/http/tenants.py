"""Whose request it is, by what it presents, before anybody has looked at it closely.

The worker asks in order to be fair; whether the key or signature is good is decided later.
"""

from __future__ import annotations

from collections.abc import Hashable
from urllib.parse import parse_qs

from gateway import access
from gateway.access import Key
from gateway.http.wire import Connection

HEALTH = ("/healthz", "/readyz")
SIGNED = ("webhooks", "collect")
UNKNOWN = "unknown"  # one lane for all keys and addresses that nobody has used successfully
PAGES = "pages"
LIMITED = (b"/v1/", b"/admin/v1/", b"/collect/")


def of(conn: Connection) -> Hashable:
    """The number of a site, or the name of a lane for what belongs to none."""
    path = conn.path.decode("latin-1")
    if path in HEALTH:
        return path
    parts = path.split("/", 4)
    if len(parts) > 3 and parts[1] in SIGNED:
        return access.site_of_source(parts[3]) or UNKNOWN
    key = conn.key or _in_query(conn.query)
    if not key:
        return PAGES
    return access.site_of_key(key.decode("latin-1")) or UNKNOWN


def limited_key_of(conn: Connection) -> Key | None:
    """The key of a request that its limit holds for, where this process knows it for good."""
    if not conn.path.startswith(LIMITED) or conn.method == b"OPTIONS":
        return None
    text = conn.key or _in_query(conn.query)
    return access.known_key(text.decode("latin-1")) if text else None


def _in_query(query: bytes) -> bytes:
    if b"api_key=" not in query:
        return b""
    try:
        found = parse_qs(query.decode("latin-1"), max_num_fields=50).get("api_key")
    except ValueError:  # more fields than anybody sends
        return b""
    return found[0].encode("latin-1", "replace") if found else b""
