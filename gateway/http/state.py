"""What a web process holds: its settings and its two pools, opened at the first use.

Each gunicorn worker opens its own after the fork; views take connections from here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
from flask import Flask, current_app
from psycopg_pool import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.settings import Settings
from schemas import database
from schemas.database import Connection

# One a thread of gunicorn's gthread worker, so no request waits for another's connection.
POOL_SIZE = 4
REDIS_TIMEOUT_S = 0.2

NAME = "attune"

Pool = ConnectionPool[Connection]


@dataclass
class State:
    """Of one application; `close` is for tests and for a worker's end."""

    settings: Settings
    prepare: Callable[[Connection], None] | None = None  # called with each new connection
    _pools: dict[str, Pool] = field(default_factory=dict)
    _redis: redis.Redis | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def pool(self, name: str, options: str) -> Pool:
        """The pool of that name, opened at the first call."""
        found = self._pools.get(name)
        return found if found is not None else self._open(name, options)

    def pools(self) -> list[Pool]:
        """Those that were opened so far."""
        return list(self._pools.values())

    def redis_client(self) -> redis.Redis:
        """A client that gives up fast: no request waits for Redis."""
        found = self._redis
        return found if found is not None else self._connect_redis()

    def replace_broken(self) -> None:
        """Drop connections that Postgres has closed, so that one request finds out for all."""
        for pool in self.pools():
            pool.check()

    def close(self) -> None:
        """Give all connections back."""
        with self._opening:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()
            if self._redis is not None:
                self._redis.close()

    def _connect_redis(self) -> redis.Redis:
        """One client for all threads: a second one would close its connections when dropped,
        under the hands of whoever had got it."""
        with self._opening:
            if self._redis is None:
                self._redis = redis.Redis.from_url(
                    self.settings.redis_url,
                    socket_connect_timeout=REDIS_TIMEOUT_S,
                    socket_timeout=REDIS_TIMEOUT_S,
                    retry=Retry(NoBackoff(), 0),
                )
            return self._redis

    def _open(self, name: str, options: str) -> Pool:
        with self._opening:
            if name not in self._pools:
                self._pools[name] = database.open_pool(
                    self.settings.database_url,
                    size=POOL_SIZE,
                    options=options,
                    name=name,
                    prepare=self.prepare,
                )
            return self._pools[name]


def attach(app: Flask, settings: Settings) -> None:
    """Give an application its state."""
    app.extensions[NAME] = State(settings)


def of(app: Flask) -> State:
    """The state of an application."""
    state: State = app.extensions[NAME]
    return state


def settings() -> Settings:
    """The settings of the application that serves this request."""
    return of(current_app).settings


def serving() -> Pool:
    """For answering: short statement timeout, no JIT, commits that do not wait for the disk."""
    return of(current_app).pool("serving", database.SERVING_OPTIONS)


def ingest() -> Pool:
    """For everything that must not be lost: durable commits, a short lock timeout."""
    return of(current_app).pool("ingest", database.INGEST_OPTIONS)


def redis_client() -> redis.Redis:
    """For limits and readiness; what is in it may vanish at any time."""
    return of(current_app).redis_client()
