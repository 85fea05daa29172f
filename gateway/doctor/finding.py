"""What every check of the doctor is given and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from redis import Redis

from gateway.settings import Settings
from schemas.database import Connection

Level = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One plain sentence, and what to do about it."""

    level: Level
    message: str
    advice: str = ""


def ok(message: str) -> Finding:
    return Finding("ok", message)


def warning(message: str, advice: str) -> Finding:
    return Finding("warning", message, advice)


def problem(message: str, advice: str) -> Finding:
    return Finding("problem", message, advice)


def skipped(message: str) -> Finding:
    return Finding("skipped", message)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Patient:
    """One installation: where its services answered, the connections to them."""

    settings: Settings
    postgres: Connection | None = None
    redis: Redis | None = None
    now: Callable[[], datetime] = _now

    @property
    def at(self) -> datetime:
        return self.now()

    @property
    def connection(self) -> Connection:
        """For checks that need Postgres, which are skipped without it."""
        assert self.postgres is not None
        return self.postgres

    @property
    def client(self) -> Redis:
        assert self.redis is not None
        return self.redis


Look = Callable[[Patient], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """`needs` names what must answer: `postgres`, `schema` (a migrated one), `redis`."""

    name: str
    look: Look
    needs: tuple[str, ...] = ()


def ago(seconds: float) -> str:
    """A span as a person says it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
