"""gunicorn's log in the form of ours; its configuration names it."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from gateway.settings import load
from gateway.telemetry import logs


class Log(Logger):  # type: ignore[misc]
    """What gunicorn says goes through the standard library's root logger, as everything does."""

    def setup(self, cfg: Any) -> None:
        settings = load()
        logs.configure(settings.log_level, role="web", form=settings.log_format)
        self.cfg, self.loglevel = cfg, self.LOG_LEVELS[cfg.loglevel]
        self._access_log_enabled = False  # the application writes a line a request itself
        self.error_log.propagate = True
        self.error_log.setLevel(self.loglevel)
