"""The one CORS policy of what browsers call: `/v1`, `/collect` and Segment's paths.

Errors carry it too: without it a browser shows a 401 or 429 as a network failure.
"""

from __future__ import annotations

from flask import Response, request

# Segment's own paths at the root are all under /v1.
PATHS = ("/v1/", "/collect/", "/segment/")
METHODS = "GET, POST, PATCH, DELETE, OPTIONS"
HEADERS = "authorization, content-type, idempotency-key, x-api-key, x-retry-count"
EXPOSED = (
    "Idempotent-Replayed, Retry-After, X-RateLimit-Reset, "
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)
MAX_AGE_S = "7200"


def preflight() -> Response | None:
    """The answer to OPTIONS on any path a browser may call; it needs no key."""
    if request.method != "OPTIONS" or not request.path.startswith(PATHS):
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = METHODS
    response.headers["Access-Control-Allow-Headers"] = HEADERS
    response.headers["Access-Control-Max-Age"] = MAX_AGE_S
    return response


def add_headers(response: Response) -> None:
    """Let the asking origin read the answer; without credentials, so any origin may."""
    if not request.path.startswith(PATHS):
        return
    response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin") or "*"
    response.headers["Access-Control-Expose-Headers"] = EXPOSED
    response.headers.add("Vary", "Origin")
