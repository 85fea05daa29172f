"""What Prometheus reads at `/metrics`: the processes' counters, and the ledger from Postgres.

Counters live in files shared by all web processes where PROMETHEUS_MULTIPROC_DIR is set.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable

import psycopg
from flask import Request, Response
from flask_smorest import Blueprint
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from gateway import ledger
from gateway.http import state

blueprint = Blueprint("metrics", __name__, description="Figures for Prometheus")

BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# Several scrapers, or an impatient one, must not sum the ledger over and over.
TOTALS_TTL_S = 15.0

REQUESTS = Histogram(
    "attune_request_seconds",
    "Time from the first byte of a request to its answer, by route",
    ["method", "route", "status"],
    buckets=BUCKETS_S,
)
NOT_AUTHENTIC = Counter(
    "attune_not_authentic", "Requests refused with 401; nothing of them is kept", ["door"]
)
LIMITED = Counter("attune_too_fast", "Requests refused with 429", ["kind"])

_DOORS = {"/v1/": "v1", "/webhooks/": "webhook", "/collect/": "collect", "/admin/": "admin"}


def door(path: str) -> str:
    """The door a path belongs to, as a label."""
    return next((name for prefix, name in _DOORS.items() if path.startswith(prefix)), "other")


def observe(request: Request, status: int, seconds: float) -> None:
    """Count one answered request under its route, never under its path."""
    rule = request.url_rule
    name = (request.method, rule.rule if rule else "unmatched", status)
    histogram = _requests.get(name)
    if histogram is None:
        histogram = _requests[name] = REQUESTS.labels(*name)
    histogram.observe(seconds)


# Children by label: looking one up costs as much as observing.
_requests: dict[tuple[str, str, int], Histogram] = {}


@blueprint.get("/metrics")
@blueprint.doc(responses={200: {"description": "Prometheus text format"}})
def metrics() -> Response:
    """Figures of this installation in Prometheus' text format."""
    return Response(
        generate_latest(_processes()) + generate_latest(_from_postgres()),
        content_type=CONTENT_TYPE_LATEST,
    )


def _processes() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


# from Postgres -----------------------------------------------------------------------------------


class _Totals:
    """The figures that are sums over tables, remembered for `TOTALS_TTL_S`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._metrics: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() >= self._until:
                self._metrics = _read()
                self._until = time.monotonic() + TOTALS_TTL_S
            return self._metrics

    def forget(self) -> None:
        self._until = 0.0


totals = _Totals()


def _from_postgres() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(totals)
    return registry


def _read() -> list[Metric]:
    """Without Postgres there are no such figures, which a scraper sees by `attune_postgres_up`."""
    up = GaugeMetricFamily("attune_postgres_up", "Whether the figures from Postgres could be read")
    try:
        with state.serving().connection() as connection:
            found = [_ledger(ledger.totals(connection)), _backlog(ledger.backlog(connection))]
    except psycopg.Error:
        up.add_metric([], 0)
        return [up]
    up.add_metric([], 1)
    return [up, *found]


def _ledger(rows: list[ledger.Total]) -> Metric:
    family = GaugeMetricFamily(
        "attune_ledger_records",
        "Records of the deliveries still kept, by what became of them",
        labels=["site", "source", "connector", "outcome"],
    )
    for row in rows:
        for outcome in ledger.COLUMNS:
            labels = [row.site, row.source, row.connector, outcome]
            family.add_metric(labels, getattr(row, outcome))
    return family


def _backlog(rows: list[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(
        "attune_products_to_encode", "Products whose text has no vector yet", labels=["site"]
    )
    for site, count in rows:
        family.add_metric([site], count)
    return family
