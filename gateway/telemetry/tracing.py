"""Tracing by OpenTelemetry, where TRACING is set: spans go by OTLP over HTTP to where the standard
OTEL_… variables say. A process starts it after its last fork, since the exporter is a thread.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway import VERSION
from schemas import tracing
from schemas.errors import AttuneError
from schemas.tracing import Carrier

PACKAGES = "requirements-tracing.txt"
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
CARRIED = ("traceparent", "tracestate")


class NotInstalled(AttuneError):
    """TRACING is set, and the packages that it needs are not there."""


def check() -> None:
    """Raise NotInstalled where traces could not be sent."""
    try:
        importlib.import_module(EXPORTER)
    except ImportError:
        raise NotInstalled(
            f"TRACING is set and OpenTelemetry is not installed: pip install -r {PACKAGES}"
        ) from None


def start(role: str) -> Callable[[], None]:
    """Send the spans of this process from now on; the function that is returned ends it.

    Raises NotInstalled.
    """
    check()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    os.environ.setdefault("OTEL_SERVICE_NAME", "attune")
    resource = Resource.create({"service.version": VERSION, "attune.role": role})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("attune", VERSION)
    propagator = TraceContextTextMapPropagator()

    @contextmanager
    def open_span(name: str, carried: Carrier | None, attributes: dict[str, Any]) -> Iterator[Any]:
        kind = SpanKind.INTERNAL if carried is None else SpanKind.SERVER
        context = propagator.extract(carried) if carried else None
        with tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            record_exception=False,  # its text may quote rows
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    tracing.use(open_span, propagator.inject)

    def end() -> None:
        tracing.use(None, None)
        provider.shutdown()

    return end


class Requests:
    """A span for each request, which goes on with the trace that its sender began."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not tracing.is_on():
            return self._application(environ, start_response)
        headers = {name: environ.get(f"HTTP_{name.upper()}") for name in CARRIED}
        carried = {name: value for name, value in headers.items() if value}
        with tracing.span("request", carried) as span:
            environ[SPAN] = span
            return self._application(environ, start_response)


SPAN = "attune.span"


def describe(environ: dict[str, Any], name: str, attributes: dict[str, Any]) -> None:
    """Name a request's span by its route and say what became of it, once that is known."""
    span = environ.get(SPAN)
    if span is not None:
        span.update_name(name)
        span.set_attributes({key: value for key, value in attributes.items() if value is not None})
