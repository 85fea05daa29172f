"""What the web role counts, in files that all its processes share (gateway.telemetry.figures).
`/metrics` itself is gateway.http.scrape.
"""

from __future__ import annotations

from flask import Request
from prometheus_client import Counter, Histogram

BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# Anybody may send a method of their own making.
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

REQUESTS = Histogram(
    "attune_request_seconds",
    "Time from the first byte of a request to its answer, by route",
    ["method", "route", "status"],
    buckets=BUCKETS_S,
)
NOT_AUTHENTIC = Counter(
    "attune_not_authentic", "Requests refused with 401; nothing of them is kept", ["door"]
)
TURNED_AWAY = Counter(
    "attune_turned_away",
    "Connections and requests that the web loop ended by itself: too slow, too many",
    ["why"],
)
DATABASE_ERRORS = Counter(
    "attune_database_errors", "Requests answered 503 because of Postgres", ["kind"]
)
LIMITED = Counter("attune_too_fast", "Requests refused with 429", ["kind"])

_DOORS = {"/v1/": "v1", "/webhooks/": "webhook", "/collect/": "collect", "/admin/": "admin"}


def door(request: Request) -> str:
    """The door a request came to, as a label; Segment's paths lie among those of `/v1`."""
    if request.blueprint == "segment":
        return "collector"
    names = (name for prefix, name in _DOORS.items() if request.path.startswith(prefix))
    return next(names, "other")


def observe(request: Request, status: int, seconds: float) -> None:
    """Count one answered request under its route, never under its path."""
    rule = request.url_rule
    method = request.method if request.method in METHODS else "other"
    name = (method, rule.rule if rule else "unmatched", status)
    histogram = _requests.get(name)
    if histogram is None:
        histogram = _requests[name] = REQUESTS.labels(*name)
    histogram.observe(seconds)


# Children by label: looking one up costs as much as observing.
_requests: dict[tuple[str, str, int], Histogram] = {}
