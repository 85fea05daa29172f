"""The web application: `create_app` puts together what the modules beside it define.

gunicorn calls it in each worker; tests call it with settings of their own.
"""

from __future__ import annotations

import os
import re
import time
from importlib import import_module
from typing import Any

import msgspec
import structlog
from flask import Flask, Response, g, has_request_context, request
from flask.json.provider import JSONProvider
from flask_smorest import Api, Blueprint
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import sealing
from gateway.http import cors, errors, limits, metrics, shapes, state
from gateway.settings import Settings, load
from gateway.telemetry import logs, tracing

log = structlog.get_logger(__name__)

BLUEPRINTS = (
    "gateway.http.health:blueprint",
    "gateway.http.scrape:blueprint",
    "gateway.http.documents:blueprint",
    "gateway.http.webhooks:blueprint",
    "gateway.http.collect:blueprint",
    "gateway.http.segment:blueprint",
    "gateway.http.v1.interactions:blueprint",
    "gateway.http.v1.products:blueprint",
    "gateway.http.v1.users:blueprint",
    "gateway.http.v1.recommendation:blueprint",
    "gateway.http.v1.groups:blueprint",
    "gateway.http.v1.search:blueprint",
    "gateway.http.v1.autocomplete:blueprint",
    "gateway.http.v1.bulk:blueprint",
    "gateway.http.admin:blueprint",
    "gateway.http.queries:blueprint",
    "gateway.http.learning:blueprint",
    "gateway.http.affinities:blueprint",
    "gateway.http.exploration:blueprint",
    "gateway.http.people:blueprint",
    "gateway.http.mappings:blueprint",
    "gateway.http.demo:blueprint",
    "gateway.http.snippet:blueprint",
)
SLOW_S = 1.0
# Asked every few seconds by machines: a line each only where something is wrong.
PROBES = ("/healthz", "/readyz", "/metrics")
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=+/-]{0,63}")


def create_app(settings: Settings | None = None) -> Flask:
    """The application with every route; opens no connection yet."""
    settings = settings or load()
    sealing.unlock(settings.secret_key)
    logs.configure(settings.log_level, _add_request, role="web", form=settings.log_format)
    app = Flask("gateway", static_folder=None)
    app.json = Json(app)
    # A redirect would turn a POST into a GET.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, hops, hops, hops)  # type: ignore[method-assign]
    if settings.tracing:
        app.wsgi_app = tracing.Requests(app.wsgi_app)  # type: ignore[method-assign]
    state.attach(app, settings)
    _register(app, settings)
    errors.install(app)
    app.before_request(_before)
    app.after_request(_after)
    return app


def _register(app: Flask, settings: Settings) -> None:
    """flask-smorest documents the routes; it neither parses bodies nor answers errors."""
    api = DocumentedApi(
        app,
        spec_kwargs={
            "title": "Attune",
            "version": "1",
            "openapi_version": "3.0.3",
            "servers": [{"url": settings.public_url}],
        },
    )
    for path in BLUEPRINTS:
        module, name = path.split(":")
        blueprint = getattr(import_module(module), name)
        if isinstance(blueprint, Blueprint):
            api.register_blueprint(blueprint)
        else:
            app.register_blueprint(blueprint)


class DocumentedApi(Api):  # type: ignore[misc]
    """Documents the errors as `errors.answer` makes them."""

    ERROR_SCHEMA = shapes.ErrorBody


class Json(JSONProvider):
    """Answers as compact JSON; NaN becomes null, since no browser reads it."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return _encoder.encode(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return msgspec.json.decode(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        body = _encoder.encode(self._prepare_response_obj(args, kwargs))
        return Response(body, mimetype="application/json")


_encoder = msgspec.json.Encoder(decimal_format="number")


# around each request -----------------------------------------------------------------------------


def _before() -> Response | None:
    g.started_at = time.perf_counter()
    return cors.preflight()


def _after(response: Response) -> Response:
    """What every answer gets, errors too; all of it together costs well under 0.1 ms."""
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    cors.add_headers(response)
    limits.add_headers(response)
    seconds = time.perf_counter() - g.started_at
    metrics.observe(request, response.status_code, seconds)
    _log(response, seconds)
    if tracing.SPAN in request.environ:
        _describe(response)
    return response


def _describe(response: Response) -> None:
    route = request.url_rule.rule if request.url_rule else "unmatched"
    about = {
        "http.request.method": request.method,
        "http.route": route,
        "http.response.status_code": response.status_code,
        "attune.request": request_id(),
        "attune.site": g.get("site_id"),
        "attune.delivery": g.get("delivery_id"),
    }
    tracing.describe(request.environ, f"{request.method} {route}", about)


def _log(response: Response, seconds: float) -> None:
    """One line a request, with nothing in it that the sender wrote but a well-formed request id."""
    status = response.status_code
    if status >= 500 or seconds > SLOW_S:
        write = log.warning
    elif status < 400 and request.path in PROBES:
        if state.settings().log_level != "DEBUG":  # a logger's own check costs 3 us
            return
        write = log.debug
    else:
        write = log.info
    write(
        "request",
        status=status,
        ms=round(seconds * 1000, 1),
        received=request.content_length,
        bytes=response.content_length,
        key=g.get("key_kind"),
    )


def request_id() -> str:
    """Names this request in the logs and to its sender: the id that came with it, where it is one
    that cannot break a header or a line, else a new one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
    found: str = g.request_id
    return found


def _add_request(logger: Any, method: str, event: Any) -> Any:
    """Of the URL only the route: a path may hold a person's id, a query a key."""
    if not has_request_context():
        return event
    rule = request.url_rule
    about = {
        "request": request_id(),
        "method": request.method,
        "route": rule.rule if rule else "unmatched",
        "site": g.get("site_id"),
        "source": g.get("source_id"),
        "delivery": g.get("delivery_id"),
    }
    for name, value in about.items():
        event.setdefault(name, value)
    return {name: value for name, value in event.items() if value is not None}
