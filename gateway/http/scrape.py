"""`/metrics`, what Prometheus reads: what the processes of this machine have counted, and figures
of the whole installation from Postgres and Redis.

It names sites and tells how busy they are, so it is for those who run the gateway: with a
METRICS_TOKEN for whoever has it, without one for peers on this machine or a private network.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import threading
import time
from collections.abc import Iterable

import psycopg
import structlog
from flask import Response, request
from flask_smorest import Blueprint
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.http import state
from gateway.http.errors import NotAllowed, NotAuthentic
from gateway.telemetry import figures, gauges, logs

log = structlog.get_logger(__name__)

blueprint = Blueprint("metrics", __name__, description="Figures for Prometheus")

# Several scrapers, or an impatient one, must not sum the ledger over and over.
TOTALS_TTL_S = 15.0


@blueprint.get("/metrics")
@blueprint.doc(
    responses={
        200: {
            "description": "Prometheus text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    }
)
def metrics() -> Response:
    """Figures of this installation in Prometheus' text format."""
    _check_allowed()
    with figures.unchanged():
        counted = generate_latest(_processes())
    return Response(counted + generate_latest(_installation()), content_type=CONTENT_TYPE_LATEST)


# who may ask -------------------------------------------------------------------------------------

# Loopback, RFC 1918, RFC 4193 and IPv6 link-local.
NEAR = [
    ipaddress.ip_network(each)
    for each in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128",
                 "fc00::/7", "fe80::/10")
]  # fmt: skip
FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")


def _check_allowed() -> None:
    """Raise NotAuthentic (401) for a wrong token, NotAllowed (403) for a stranger where none is
    set."""
    token = state.settings().metrics_token
    if token:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise NotAuthentic("/metrics asks for METRICS_TOKEN as a bearer token")
    elif not _is_near():
        raise NotAllowed(
            "/metrics answers private networks only: set METRICS_TOKEN and send it as bearer token"
        )


def _is_near() -> bool:
    """Whether the peer, and whoever a trusted proxy speaks for, are on this machine or a private
    network. What came through a proxy that we do not trust came from anywhere."""
    if not state.settings().trusted_proxies and any(name in request.headers for name in FORWARDED):
        return False
    before = request.environ.get("werkzeug.proxy_fix.orig", {})
    addresses = {request.remote_addr or "", before.get("REMOTE_ADDR", request.remote_addr) or ""}
    return all(_is_private(address) for address in addresses)


def _is_private(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return not address  # a Unix socket has none
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped in network for network in NEAR)


# what is counted ---------------------------------------------------------------------------------


def _processes() -> CollectorRegistry:
    if figures.FOLDER not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


# of the whole installation ------------------------------------------------------------------------


class _Totals:
    """The figures of the whole installation, remembered for `TOTALS_TTL_S`."""

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


def _installation() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(totals)
    return registry


def _read() -> list[Metric]:
    """Without Postgres there are no such figures, which a scraper sees by `attune_postgres_up`."""
    up = GaugeMetricFamily("attune_postgres_up", "Whether the figures from Postgres could be read")
    found = [up, gauges.build(), *gauges.of_redis(state.redis_client())]
    try:
        with state.serving().connection() as connection:
            found += gauges.of_postgres(connection)
    except psycopg.Error as error:
        log.warning("no figures from Postgres", error=logs.first_line(error))
        up.add_metric([], 0)
        return found
    up.add_metric([], 1)
    return found
