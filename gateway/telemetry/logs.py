"""Log lines of every role, one form for ours, gunicorn's, RQ's and the supervisor's: JSON, or text
at a terminal.

Every line says when, how grave, which role and process. The web application and the jobs add what
a line is about (request, site, source, delivery, task). No line holds a key, a body, a query
string or a person's id: Postgres's details of an error, which quote rows, are left out too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import structlog

Processor = Callable[[Any, str, Any], Any]

FORMATS = ("auto", "json", "text")
# What libraries say below this is theirs alone; httpx would print addresses with their queries.
OTHERS_FROM = logging.WARNING
OURS_IN_LOGGING = ("gunicorn.error", "supervisor")
LONGEST_TRACEBACK = 20_000

COMMAND = "command"

log = structlog.get_logger(__name__)

_role = COMMAND


def configure(
    level: str, *context: Processor, role: str | None = None, form: str | None = None
) -> None:
    """Log what is at least `level`; `context` processors add what each line should carry.

    `role` names this process in its lines (a one-off command is `command`) and `form` is one of
    FORMATS; both stay as they are where they are left out.
    """
    global _role
    _role = role or _role
    number = logging.getLevelNamesMapping()[level]
    render = _renderer(form or os.environ.get("LOG_FORMAT") or "auto")
    whole: list[Any] = [_complete, *context, _exception]
    structlog.configure(
        processors=[*whole, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=_StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    _configure_logging(number, whole, render)


def is_role() -> bool:
    """Whether this process writes a log rather than answering somebody at a terminal."""
    return _role != COMMAND


def first_line(error: BaseException) -> str:
    """What an error says in one line, without the rows that Postgres quotes below it."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _configure_logging(level: int, whole: list[Any], render: Any) -> None:
    """The standard library's loggers write the same lines; warnings and what nobody caught too."""
    handler = logging.StreamHandler(_StandardError())  # type: ignore[type-var]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_logger, *whole],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, OTHERS_FROM))
    for name in OURS_IN_LOGGING:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught


def _uncaught(kind: Any, error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("uncaught", exc_info=(kind, error, trace))


# what a line holds --------------------------------------------------------------------------------


def _complete(logger: Any, method: str, event: Any) -> Any:
    """When, how grave, who: first in each line."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": "error" if method == "exception" else method,
        "role": _role,
        "pid": os.getpid(),
        "event": event.pop("event", ""),
        **event,
    }


def _name_logger(logger: Any, method: str, event: Any) -> Any:
    record: logging.LogRecord = event["_record"]
    event["logger"] = record.name
    event["event"] = _without_query(event["event"])
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return event


# gunicorn names the whole address of a request it failed on, and quotes what it could not parse.
_QUERY = re.compile(r"(/[^\s?]*)\?\S+")
_UNREADABLE = "Invalid request from"


def _without_query(text: str) -> str:
    if text.startswith(_UNREADABLE):
        return "an unreadable request was refused"
    return _QUERY.sub(r"\1?…", text)


def _exception(logger: Any, method: str, event: Any) -> Any:
    """The traceback as text; of Postgres's errors the first line only."""
    found = event.pop("exc_info", None)
    if not found:
        return event
    error = _error(found)
    if error is not None:
        shown = traceback.TracebackException.from_exception(error)
        _cut(shown, error)
        event["exception"] = "".join(shown.format())[-LONGEST_TRACEBACK:].rstrip()
    return event


def _error(found: Any) -> BaseException | None:
    if isinstance(found, BaseException):
        return found
    error: BaseException | None = found[1] if isinstance(found, tuple) else sys.exc_info()[1]
    return error


def _cut(shown: traceback.TracebackException | None, error: BaseException | None) -> None:
    """Take from each error of the chain what quotes rows or parameters."""
    seen: set[int] = set()
    while shown is not None and error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, psycopg.Error):
            shown._str = first_line(error)  # type: ignore[attr-defined]
        if shown.__cause__ is not None:
            shown, error = shown.__cause__, error.__cause__
        else:
            shown, error = shown.__context__, error.__context__


# how it is written --------------------------------------------------------------------------------


def _renderer(form: str) -> Any:
    at_terminal = sys.stderr.isatty()
    if form == "json" or (form == "auto" and not at_terminal):
        return _json
    console = structlog.dev.ConsoleRenderer(
        colors=at_terminal,
        timestamp_key="time",
        pad_event_to=0,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )
    return lambda logger, method, event: console(logger, method, _printable(event))


def _printable(event: Any) -> Any:
    """Nothing that moves a terminal's cursor; only a traceback has lines."""
    return {name: _escaped(name, value) for name, value in event.items()}


def _escaped(name: str, value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    kept = "\n" if name == "exception" else ""
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in value)


def _json(logger: Any, method: str, event: Any) -> str:
    try:
        return _encoder.encode(event).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, as senders write them
        return json.dumps(event, default=str)


_encoder = msgspec.json.Encoder(enc_hook=str)


class _StandardError:
    """Whatever standard error is at the moment of writing, so that a test can capture it.

    A line that cannot be written, on a full disk, is lost, and nothing else is: no request fails
    for it.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
