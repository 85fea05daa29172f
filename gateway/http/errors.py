"""Every error an HTTP caller can get, and the one place that turns errors into answers.

Views raise `HttpError` or one of its kinds. The body is `{"message", "problems"}` everywhere; a
422 of `/v1` also carries what Miso's clients read: `errors` and `data` lines of an upload,
`detail` of an engine request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import structlog
from flask import Flask, Response, current_app, jsonify, request
from psycopg_pool import PoolTimeout
from werkzeug.exceptions import HTTPException

from gateway.http import metrics, nearby, state
from gateway.telemetry import logs
from schemas.errors import AttuneError, Malformed, Problem

log = structlog.get_logger(__name__)

RETRY_AFTER_S = 2
UPLOADS = ("/v1/interactions", "/v1/products", "/v1/users")


class HttpError(AttuneError):
    """A sentence with a status.

    `problems` point into the sender's body. `lines` are Miso's machine-read lines of an upload,
    `detail` Miso's list of an engine request; both are made from `problems` where not given.
    """

    status = 500

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        status: int | None = None,
        lines: Sequence[str] | None = None,
        detail: Sequence[dict[str, Any]] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.problems = list(problems)
        self.status = status or self.status
        self.lines = lines
        self.detail = detail
        self.retry_after_s = retry_after_s


class Unreadable(HttpError):
    """The request cannot be understood at all."""

    status = 400


class NotAuthentic(HttpError):
    """No key, an unknown one, or two that differ."""

    status = 401

    def __init__(
        self, message: str = "invalid api key.", *, problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message, problems=problems)


class NotAllowed(HttpError):
    """The key is valid and may not do this."""

    status = 403


class LacksScope(NotAllowed):
    """The key has not the scope that the route needs."""


class NotFound(HttpError):
    """There is no such thing in the caller's site."""

    status = 404

    def __init__(self, message: str = "not found", *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, problems=problems)


class BodyLate(HttpError):
    """The body came too slowly or not whole."""

    status = 408


class TooLarge(HttpError):
    """The body exceeds the door's limit, after decompression."""

    status = 413


class Refused(HttpError):
    """The request was read and breaks its schema."""

    status = 422


class TooFast(HttpError):
    """The key's limit is used up until `retry_after_s`."""

    status = 429


class Unavailable(HttpError):
    """We cannot take or answer it now; nothing was kept, so please send it again."""

    status = 503

    def __init__(self, message: str, retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


def install(app: Flask) -> None:
    """Register the handlers; after any extension that brings its own."""
    app.register_error_handler(HttpError, answer)
    app.register_error_handler(HTTPException, _werkzeug)
    app.register_error_handler(Malformed, _malformed)
    app.register_error_handler(psycopg.OperationalError, _database_away)
    app.register_error_handler(psycopg.InterfaceError, _database_away)
    app.register_error_handler(psycopg.errors.UndefinedTable, _not_migrated)
    app.register_error_handler(Exception, _our_fault)


def answer(error: HttpError) -> Response:
    """The response of one error."""
    response = jsonify(_body(error))
    response.status_code = error.status
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        metrics.NOT_AUTHENTIC.labels(metrics.door(request)).inc()
    return response


def _body(error: HttpError) -> dict[str, Any]:
    body: dict[str, Any] = {
        "message": error.message,
        "problems": [{"pointer": p.pointer, "message": p.message} for p in error.problems],
    }
    if error.status != 422 or not request.path.startswith("/v1/"):
        return body
    if request.path.startswith(UPLOADS):
        return body | {"errors": True, "data": list(error.lines or [])}
    return body | {"detail": list(error.detail or _detail(error))}


def _detail(error: HttpError) -> list[dict[str, Any]]:
    """FastAPI's form of a validation error, which Miso's engine endpoints use."""
    problems = error.problems or [Problem("", error.message)]
    return [
        {"loc": ["body", *p.pointer.split("/")[1:]], "msg": p.message, "type": "value_error"}
        for p in problems
    ]


def _werkzeug(error: HTTPException) -> Response:
    """404, 405 and the like, as JSON; whatever headers they carry (Allow) stay."""
    status = error.code or 500
    response = answer(HttpError(_sentence(error, status), status=status))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _sentence(error: HTTPException, status: int) -> str:
    if status == 404:
        return f"not found{nearby.hint(request.path)}"
    if status == 405:
        allowed = ", ".join(sorted(set(getattr(error, "valid_methods", None) or ())))
        return f"{request.method} is not allowed here; allowed: {allowed}"
    return error.description or error.name


def _malformed(error: Malformed) -> Response:
    problems = getattr(error, "problems", None) or [Problem(error.pointer, error.reason)]
    return answer(Refused(str(error), problems=problems))


def _database_away(error: psycopg.Error) -> Response:
    """Postgres down, no connection free in time, a lock or statement timeout."""
    metrics.DATABASE_ERRORS.labels(_kind(error)).inc()
    log.error("database unavailable", error=logs.first_line(error), kind=type(error).__name__)
    if _connection_lost(error):
        state.of(current_app).replace_broken()
    return answer(Unavailable("the database is busy or away: send the request again"))


def _kind(error: psycopg.Error) -> str:
    """One of few words, as a label needs it."""
    if isinstance(error, PoolTimeout):
        return "pool"
    return "connection" if _connection_lost(error) else KINDS.get(error.sqlstate or "", "other")


KINDS = {"57014": "statement_timeout", "55P03": "lock_timeout", "40P01": "deadlock",
         "40001": "serialization", "53100": "disk_full"}  # fmt: skip


def _connection_lost(error: psycopg.Error) -> bool:
    if isinstance(error, PoolTimeout):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def _not_migrated(error: psycopg.Error) -> Response:
    log.error("database not migrated", error=logs.first_line(error))
    return answer(
        Unavailable("the database lacks migrations: run `python -m gateway migrate`, then retry")
    )


def _our_fault(error: Exception) -> Response:
    log.error("request failed", exc_info=error)
    return answer(HttpError("something went wrong on our side; it has been logged"))
