"""`retention`: what the worker does each hour, on request and shown."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.filesize import decimal

from gateway import retention as keeping
from gateway.commands import console
from gateway.retention import Partition, Report
from gateway.telemetry import logs
from schemas import database


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@console.json_option
def retention(dry_run: bool, as_json: bool) -> None:
    """Drop what is older than RETENTION_… says it is kept, by whole weeks and months.

    The worker does this each hour. Safe to interrupt, to run again and to run twice at once.
    """
    now = datetime.now(UTC)
    with (
        console.sentences() as settings,
        closing(database.connect(settings.database_url)) as opened,
    ):
        logs.configure("ERROR")  # the command itself says what happens
        found = keeping.expired(opened, settings, now)
        report = None if dry_run else keeping.apply(opened, settings, now)
    if as_json:
        partitions = [asdict(one) for one in found]
        console.show_json({"partitions": partitions} | (asdict(report) if report else {}))
        return
    _show(found, report)


def _show(found: list[Partition], report: Report | None) -> None:
    columns = ("partition", "from", "to", "rows, about", "size", "what becomes of it")
    rows = [
        [
            one.name,
            f"{one.since:%Y-%m-%d}",
            f"{one.until:%Y-%m-%d}",
            one.rows,
            decimal(one.bytes),
            _fate(one, report),
        ]
        for one in found
    ]
    console.show_table(columns, rows, "Nothing is older than it is kept for.")
    if report and report.busy:
        click.echo("Another run is at it: nothing was done here.")


def _fate(one: Partition, report: Report | None) -> str:
    if one.held:
        return f"stays: {one.held}"
    if report is None:
        return "would be dropped"
    if one.name in report.waiting:
        return "waits for a transaction that holds it; the next run tries again"
    return "dropped" if one.name in report.dropped else "left"


COMMANDS: list[click.Command] = [retention]
