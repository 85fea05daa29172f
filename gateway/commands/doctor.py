"""`doctor`: looks at the whole installation and says what is wrong and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.commands import console

if TYPE_CHECKING:
    from gateway.doctor import Result, Told

MARKS = {
    "ok": "[green]ok[/green]",
    "warning": "[yellow]warning[/yellow]",
    "problem": "[red]problem[/red]",
    "skipped": "[dim]skipped[/dim]",
}


@click.command()
@console.json_option
def doctor(as_json: bool) -> None:
    """Look at the whole installation and say what is wrong and what to do.

    Changes nothing. The exit status is 1 where something is a problem, else 0.
    """
    from gateway.doctor import examine, worst  # which read half of the code

    with console.sentences() as settings, _progress() as told:
        results = list(examine(settings, told))
    verdict = worst(results)
    if as_json:
        console.show_json({"verdict": verdict, "findings": [asdict(one) for one in results]})
    else:
        _show(results)
    sys.exit(1 if verdict == "problem" else 0)


@contextmanager
def _progress() -> Iterator[Told]:
    """Which check runs, on stderr: some take seconds."""
    with Console(stderr=True).status("looking") as status:
        yield lambda name: status.update(f"looking at {name}")


def _show(results: Sequence[Result]) -> None:
    screen = Console(highlight=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    for one in results:
        table.add_row(MARKS[one.level], escape(one.check), escape(one.message))
        if one.advice:
            table.add_row("", "", f"[dim]→ {escape(one.advice)}[/dim]")
    screen.print(table)
    counts = {level: sum(one.level == level for one in results) for level in MARKS}
    said = [_counted(count, level) for level, count in counts.items() if count]
    screen.print(f"\n{', '.join(said)}")


def _counted(count: int, level: str) -> str:
    several = count > 1 and level in ("warning", "problem")
    return f"{count} {level}s" if several else f"{count} {level}"


COMMANDS: list[click.Command] = [doctor]
