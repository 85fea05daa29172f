"""`import`: a catalog and months of events from files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gateway import access, instant
from gateway.commands import console
from gateway.importing.cells import KINDS
from gateway.telemetry import logs
from schemas import database
from schemas.errors import counted

FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
LINE_EVERY_S = 10.0


@click.command("import")
@click.argument("site")
@click.argument("kind", type=click.Choice(KINDS), metavar="products|users|events")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--source", help="Count as what this source sent: its live events are duplicates.")
@click.option("--snapshot", is_flag=True, help="Products that are in no file become unavailable.")
@click.option("--force", is_flag=True, help="With --snapshot: even where that is most of them.")
@click.option("--no-forecast", is_flag=True, help="Do not foretell the last days' clicks.")
@console.json_option
def import_(
    site: str,
    kind: str,
    files: tuple[Path, ...],
    source: str | None,
    snapshot: bool,
    force: bool,
    no_forecast: bool,
    as_json: bool,
) -> None:
    """Bring a catalog, users or months of events from FILES into SITE.

    Files are JSON lines, CSV or Parquet, each also gzipped. Interrupted, the same command goes on
    where it was; nothing is counted twice. The exit status is 1 where a record was refused or a
    file could not be read to its end, else 0.
    """
    from gateway.importing import forecast, importer

    with console.sentences() as settings:
        logs.configure("WARNING")
        with instant.following(settings.database_url):
            with database.connect(settings.database_url) as connection:
                into = access.site(connection, site)
                through = _source(connection, source) if source else None
            with _shown(as_json) as told, _interruptible():
                report = importer.run(
                    settings,
                    into,
                    kind,
                    files,
                    told,
                    source=through,
                    is_snapshot=snapshot,
                    force=force,
                )
            foretold = None
            with _stages(as_json) as stage:
                if report.accepted:
                    stage("popularity, neighbours, what is bought together", 0, None)
                    importer.refresh_lists(settings, into)
                if kind == "events" and not no_forecast:
                    foretold = forecast.run(settings, into.site_id, stage)
    sentences = _sentences(report, kind, settings.retention_events_days)
    if foretold is not None:
        sentences.append(foretold.sentence)
    if as_json:
        _show_json(site, kind, report, foretold, " ".join(sentences))
    else:
        _show(report)
        click.echo("\n".join(sentences))
    if report.refused or not report.is_complete:
        raise click.exceptions.Exit(1)


def _source(connection: database.Connection, public_id: str) -> access.Source:
    found = access.source_by_public_id(connection, public_id)
    if found is None:
        raise click.ClickException(
            f"there is no source {public_id!r}: `sources list SITE` has them"
        )
    return found


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise click.ClickException("interrupted: the same command goes on where it was") from None


# progress ---------------------------------------------------------------------------------------


@contextmanager
def _shown(as_json: bool) -> Iterator[Any]:
    """A bar a file with rate and time left on a terminal, elsewhere a line now and then."""
    if as_json or not sys.stderr.isatty():
        yield _Lines(quiet=as_json)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=Console(stderr=True))
    try:
        yield _Bars(bars)
    finally:
        bars.stop()


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[Path, TaskID] = {}
        self.done: dict[Path, int] = {}

    def __call__(self, progress: Any) -> None:
        path = progress.path
        self.bars.start()  # only now: its thread must not stand in what the import forks
        if path not in self.tasks:
            self.tasks[path] = self.bars.add_task(path.name, total=1.0, records=0, rate=0.0)
            self.done[path] = 0
        self.done[path] += progress.records
        task = self.tasks[path]
        elapsed = self.bars.tasks[self.bars.task_ids.index(task)].elapsed or 0.0
        self.bars.update(
            task,
            completed=progress.share,
            records=self.done[path],
            rate=self.done[path] / max(elapsed, 0.1),
        )


class _Lines:
    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.began = self.last = time.monotonic()
        self.done = 0

    def __call__(self, progress: Any) -> None:
        self.done += progress.records
        now = time.monotonic()
        if self.quiet or now - self.last < LINE_EVERY_S:
            return
        self.last = now
        rate = self.done / (now - self.began)
        click.echo(
            f"{progress.path.name}: {progress.share:.0%}, {self.done:,} records, {rate:,.0f}/s",
            err=True,
        )


@contextmanager
def _stages(as_json: bool) -> Iterator[Any]:
    """A bar for each step after the import; elsewhere its name, as it begins."""
    at_terminal = sys.stderr.isatty()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=as_json or not at_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def told(stage: str, done: int, total: int | None) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
            if not (as_json or at_terminal):
                click.echo(f"{stage} …", err=True)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield told


# the answer -------------------------------------------------------------------------------------


def _show(report: Any) -> None:
    for one in report.files:
        if one.began_at:
            lines = counted(one.began_at, "line")
            click.echo(f"{one.file}: went on after {lines} of an earlier import")
        if one.error:
            click.echo(one.error, err=True)
    if report.problems:
        rows = [(p.file, p.line, p.pointer, p.outcome, p.reason) for p in report.problems]
        console.show_table(("file", "where", "pointer", "outcome", "reason"), rows, "")
        left = report.refused + report.failed - len(report.problems)
        if left > 0:
            click.echo(f"… and {left:,} more: `deliveries SITE --outcome refused` has them all")
    if report.snapshot_error:
        click.echo(report.snapshot_error, err=True)


def _sentences(report: Any, kind: str, days: int) -> list[str]:
    before = ""
    if report.duplicate and any(one.goes_on for one in report.files):
        before = " (some of them brought by the run before)"
    counts = [
        f"{report.accepted:,} accepted",
        f"{report.duplicate:,} duplicate{before}",
        f"{report.ignored:,} ignored",
        f"{report.refused:,} refused",
    ]
    if report.failed:
        counts.append(f"{report.failed:,} failed and tried again by itself")
    told = [
        f"{counted(report.records, kind[:-1])}: {', '.join(counts)}, in {report.seconds:,.1f} s "
        f"({report.rate:,.0f}/s)."
    ]
    if report.too_old:
        told.append(
            f"{report.too_old:,} of the ignored {'is' if report.too_old == 1 else 'are'} too old, "
            f"older than {counted(days, 'day')}: raise "
            "RETENTION_EVENTS_DAYS, here and for the running gateway, and import again."
        )
    if report.unavailable is not None:
        products = counted(report.unavailable, "product")
        verb = "is" if report.unavailable == 1 else "are"
        told.append(f"{products} that the files lack {verb} now unavailable.")
    return told


def _show_json(site: str, kind: str, report: Any, foretold: Any, sentence: str) -> None:
    answer = {"site": site, "kind": kind, **asdict(report)}
    answer["problems"] = [one._asdict() for one in report.problems]
    answer["rate"] = round(report.rate, 1)
    answer["seconds"] = round(report.seconds, 3)
    answer["forecast"] = asdict(foretold) if foretold is not None else None
    console.show_json({**answer, "sentence": sentence})


COMMANDS: list[click.Command] = [import_]
