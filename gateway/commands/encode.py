"""`encode SITE`: what the encoder role does by itself, at once and with its progress shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway import access
from gateway.commands import console
from gateway.settings import load
from ranking.catalog import embeddings
from ranking.catalog.encoder import Encoder
from schemas.database import Connection
from schemas.errors import counted


@click.command()
@click.argument("site")
@console.json_option
def encode(site: str, as_json: bool) -> None:
    """Encode every product of SITE whose text has no vector yet.

    It may be stopped and started again at any time, and run beside the encoder role.
    """
    with console.connected() as connection:
        site_id = access.site(connection, site).site_id
        embeddings.find_dirty(connection, site_id)
        started = time.monotonic()
        before = embeddings.waiting(connection, site_id)
        encoded = _drain(connection, site_id, before)
        waiting = embeddings.waiting(connection, site_id)
        failed = embeddings.failed(connection, site_id)
        report = {
            "site": site,
            "encoded": encoded,
            "encoded_elsewhere": max(0, before - encoded - waiting - failed),
            "waiting": waiting,
            "failed": failed,
            "products": embeddings.with_text(connection, site_id),
            "seconds": round(time.monotonic() - started, 1),
        }
    if as_json:
        console.show_json(report)
    else:
        click.echo(_sentence(report))


def _drain(connection: Connection, site_id: int, waiting: int) -> int:
    if not waiting:
        return 0
    with _shown(waiting) as progress:
        return embeddings.drain(connection, site_id, Encoder(load().encoder_threads), progress)


@contextmanager
def _shown(waiting: int) -> Iterator[embeddings.Progress]:
    """A bar on stderr with rate and time left."""
    columns = (
        TextColumn("encoding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("encoding", total=waiting, rate=0.0)

        def show(done: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(task, completed=done, total=total, rate=done / max(elapsed, 0.1))

        yield show


def _sentence(report: dict[str, Any]) -> str:
    if not (report["encoded"] or report["encoded_elsewhere"] or report["waiting"]):
        have = report["products"] - report["failed"]
        all_of = "" if report["failed"] else "all "
        return _and_failed(
            f"Nothing to encode: {all_of}{counted(have, 'product')} have vectors", report
        )
    text = f"{counted(report['encoded'], 'product')} encoded in {report['seconds']} s"
    if elsewhere := report["encoded_elsewhere"]:
        text += f"; the encoder role did the other {elsewhere:,} that waited"
    return _and_failed(text, report)


def _and_failed(text: str, report: dict[str, Any]) -> str:
    if report["failed"]:
        return f"{text}; {report['failed']:,} failed, see products_to_encode.error"
    return text


COMMANDS: list[click.Command] = [encode]
