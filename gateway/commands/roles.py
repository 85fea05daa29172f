"""The long-running roles of the Procfile; each waits for a migrated Postgres, then works."""

from __future__ import annotations

import atexit
import sys

import click
import structlog

from gateway import instant
from gateway.running import webserver
from gateway.settings import Settings, load
from gateway.telemetry import figures, logs
from schemas import database

READY_TIMEOUT_S = 30.0


@click.command()
def web() -> None:
    """Serve HTTP on PORT."""
    settings = load()
    figures.share(settings.run_dir)
    logs.configure(settings.log_level, role="web", form=settings.log_format)
    if settings.tracing:
        from gateway.telemetry import tracing

        tracing.check()
    # The application answers /readyz with the reason while Postgres is away or not migrated,
    # so this role starts at once.
    sys.exit(webserver.serve(settings.bind, settings.port))


@click.command()
def worker() -> None:
    """Work off the general queue."""
    _work("worker")


@click.command()
def encoder() -> None:
    """Encode catalogs."""
    _work("encoder")


@click.command()
def trainer() -> None:
    """Fit models."""
    _work("trainer")


@click.command()
def clock() -> None:
    """Start what is due; two clocks do no harm."""
    _ready_settings("clock")
    from gateway import clock as clock_loop
    from gateway.running import processes

    processes.watch("clock")
    clock_loop.run()


def _work(role: str) -> None:
    _ready_settings(role)
    from gateway import jobs
    from gateway.running import processes

    processes.watch(role)
    jobs.work(role)


def _ready_settings(role: str) -> Settings:
    settings = load()
    figures.share(settings.run_dir)
    logs.configure(
        settings.log_level,
        structlog.contextvars.merge_contextvars,
        role=role,
        form=settings.log_format,
    )
    if settings.tracing:
        from gateway.telemetry import tracing

        atexit.register(tracing.start(role))
    database.wait_until_ready(settings.database_url, timeout_s=READY_TIMEOUT_S)
    instant.follow(settings.database_url)
    return settings


COMMANDS: list[click.Command] = [web, worker, encoder, trainer, clock]
