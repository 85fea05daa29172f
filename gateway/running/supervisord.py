"""The supervisor's program, `python -m gateway.running.supervisord`: supervisor's own, its log
lines in the form of ours. `gateway.running.supervision` becomes it.
"""

from __future__ import annotations

import contextlib

import structlog
from supervisor import loggers, supervisord

from gateway.settings import load
from gateway.telemetry import logs

log = structlog.get_logger(__name__)

LEVELS = {
    loggers.LevelsByName.CRIT: "critical",
    loggers.LevelsByName.ERRO: "error",
    loggers.LevelsByName.WARN: "warning",
}


class Lines(loggers.Handler):  # type: ignore[misc]
    """Writes supervisor's records as our lines."""

    def emit(self, record: loggers.LogRecord) -> None:  # type: ignore[no-any-unimported]
        write = getattr(log, LEVELS.get(record.level, "info"))
        write(record.asdict()["message"])

    def flush(self) -> None:
        """Each line is written at once."""

    def close(self) -> None:
        """There is nothing to close."""


class Options(supervisord.ServerOptions):  # type: ignore[misc]
    """Supervisor's options with that one handler."""

    def make_logger(self) -> None:
        self.logger = loggers.getLogger(self.loglevel)
        self.logger.addHandler(Lines())
        for message in [*self.parse_criticals, *self.parse_warnings]:
            self.logger.warn(message)


class Rotating(loggers.RotatingFileHandler):  # type: ignore[misc]
    """Supervisor's log of a child, which goes on after a disk was full."""

    def doRollover(self) -> None:
        """Raising, it would end the reading of the child's output, which then waits for ever."""
        with contextlib.suppress(OSError, ValueError):
            super().doRollover()
        if self.stream.closed:
            self.reopen()


def say_nothing(handler: loggers.Handler) -> None:  # type: ignore[no-any-unimported]
    """Where a line cannot be written, on a full disk, no traceback can: trying ends supervisor."""


def main() -> None:
    """Supervise until a signal ends it."""
    settings = load(find_services=False)
    logs.configure(settings.log_level, role="supervisor", form=settings.log_format)
    loggers.RotatingFileHandler = Rotating
    loggers.Handler.handleError = say_nothing
    supervisord.ServerOptions = Options  # its `main` makes them by this name
    supervisord.main()


if __name__ == "__main__":
    main()
