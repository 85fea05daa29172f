"""`/snippet.js`: the script that shops' pages load, the same for everybody."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from flask import Blueprint, Response, request

import connectors

SOURCE = Path(connectors.__file__).parent / "snippet" / "snippet.js"
# A page that was opened just before an upgrade may run the former script for this long.
FRESH_S, STALE_S = 600, 3600

# What a reader needs and a browser does not: comments that stand alone or end a line, indentation.
_OPENING = re.compile(r"\A/\*.*?\*/", re.DOTALL)
_COMMENT = re.compile(r"(?:^|(?<=[;{,]))[ ]*// .*$", re.MULTILINE)
_BLANKS = re.compile(r"\n\s*")
_JOINED = re.compile(r"(?<=[;{,])\n")


def trimmed(source: str) -> str:
    """The script as it is served. Line breaks go only where one stands behind what ends a statement
    or begins a block, so no statement joins another."""
    bare = _COMMENT.sub("", _OPENING.sub("", source))
    return _JOINED.sub("", _BLANKS.sub("\n", bare).strip()) + "\n"


PLAIN = trimmed(SOURCE.read_text(encoding="utf-8")).encode()
GZIPPED = gzip.compress(PLAIN, mtime=0)
ETAG = hashlib.sha256(PLAIN).hexdigest()[:16]

blueprint = Blueprint("snippet", __name__)


@blueprint.get("/snippet.js")
def script() -> Response:
    """Needs no key: the page that loads it brings its own."""
    zipped = request.accept_encodings["gzip"] > 0
    response = Response(GZIPPED if zipped else PLAIN, mimetype="text/javascript")
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    # Two bodies, so two tags (RFC 9110, 8.8.3.3).
    response.set_etag(f"{ETAG}-gzip" if zipped else ETAG)
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = (
        f"public, max-age={FRESH_S}, stale-while-revalidate={STALE_S}"
    )
    # Any page may load it, also one that isolates itself (COEP) or asks with `crossorigin`.
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.make_conditional(request)
    return response
