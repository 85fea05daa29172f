"""Whose request it is, by what it presents, before anybody has looked at it closely.

The worker asks in order to be fair; whether the key or signature is good is decided later.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from urllib.parse import parse_qs

from gateway import access
from gateway.access import Key
from gateway.http import auth
from gateway.http.wire import Connection

HEALTH = ("/healthz", "/readyz")
SIGNED = ("webhooks", "collect")
UNKNOWN = "unknown"  # one lane for all keys and addresses that nobody has used successfully
PAGES = "pages"
COLLECTED = (b"/v1/", b"/segment/v1/")
LIMITED = (b"/admin/v1/", b"/collect/", *COLLECTED)

# Where else a write key lies: in the address of the browser library's settings, or in the body,
# which older ones send with their first bytes.
_IN_PATH = re.compile(rb"/v1/projects/([^/]+)/settings$")
_IN_BODY = re.compile(rb'"writeKey"\s*:\s*"([^"\\]{1,%d})"' % auth.LONGEST_KEY)
_LOOKED_THROUGH = 64 * 1024


def of(conn: Connection) -> Hashable:
    """The number of a site, or the name of a lane for what belongs to none."""
    path = conn.path.decode("latin-1")
    if path in HEALTH:
        return path
    parts = path.split("/", 4)
    if len(parts) > 3 and parts[1] in SIGNED:
        return access.site_of_source(parts[3]) or UNKNOWN
    key = _key_of(conn)
    if not key:
        return PAGES
    return access.site_of_key(key) or UNKNOWN


def limited_key_of(conn: Connection) -> Key | None:
    """The key of a request that its limit holds for, where this process knows it for good."""
    if not conn.path.startswith(LIMITED) or conn.method == b"OPTIONS":
        return None
    if _IN_PATH.search(conn.path):  # gateway.http.segment says why
        return None
    text = _key_of(conn)
    return access.known_key(text) if text else None


def _key_of(conn: Connection) -> str:
    return (conn.key or _in_query(conn.query)).decode("latin-1") or _write_key(conn)


def _write_key(conn: Connection) -> str:
    """The key that a client library of Segment presents."""
    if not conn.path.startswith(COLLECTED):
        return ""
    if user := auth.basic_user(conn.authorization.decode("latin-1")):
        return user
    found = _IN_PATH.search(conn.path)
    if found is None and conn.method == b"POST":
        found = _IN_BODY.search(conn.received, 0, _LOOKED_THROUGH)
    return found[1].decode("latin-1") if found else ""


def _in_query(query: bytes) -> bytes:
    if b"api_key=" not in query:
        return b""
    try:
        found = parse_qs(query.decode("latin-1"), max_num_fields=50).get("api_key")
    except ValueError:  # more fields than anybody sends
        return b""
    return found[0].encode("latin-1", "replace") if found else b""
