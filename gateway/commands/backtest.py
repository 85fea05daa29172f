"""`backtest`: what a site's own archive says the lists would have been worth."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from gateway.commands import console
from gateway.importing import files
from ranking.training import clickstream

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHOWN = ("hit_rate@10", "hit_rate@20", "mrr@20", "ndcg@10", "coverage@20")


@click.command()
@click.option(
    "--catalog",
    type=FILE,
    required=True,
    help="Products: JSON lines, CSV or Parquet, also gzipped.",
)
@click.option(
    "--events",
    type=FILE,
    required=True,
    multiple=True,
    help="Events, likewise; may be repeated.",
)
@click.option("--cut", required=True, help="ISO time (UTC): earlier sessions train, others test.")
@console.json_option
def backtest(catalog: Path, events: tuple[Path, ...], cut: str, as_json: bool) -> None:
    """Foretell the sessions after a cut from those before it, by ours and by simple methods.

    Records of all files are in the common format: product_id, title, description, brand,
    categories, price; and user_id, session_id, ts (unix seconds), type, product_id.
    """
    from gateway import backtest as backtesting

    at = _instant(cut)
    with console.sentences() as settings, _progress() as told:
        items = [item for _, item in files.records(catalog, "products")]
        has_text = any(item.get("title") for item in items)
        clicks = clickstream.clicks(row for path in events for row in files.records(path, "events"))
        split = clickstream.split(clicks, at.timestamp(), forced_cold=has_text)
        results = backtesting.run(settings, items, split, at, told)
    if as_json:
        console.show_json({"results": results})
    else:
        _show(results)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no ISO time, e.g. 2011-11-01") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a stage on a terminal's error output, silence elsewhere."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    stages: dict[str, TaskID] = {}

    def told(stage: str, done: int, total: int) -> None:
        if stage not in stages:
            stages[stage] = bars.add_task(stage, total=total)
        bars.update(stages[stage], completed=done, total=total)

    with bars:
        yield told


def _show(results: list[dict[str, Any]]) -> None:
    rows = [
        [
            row["method"],
            row["k"],
            row["n"],
            *(f"{row[name]:.3f}" for name in SHOWN),
            f"{row['cold']['hit_rate@10']:.3f}",
        ]
        for row in results
    ]
    console.show_table(
        ["method", "k", "n", *SHOWN, "cold hit_rate@10"], rows, "there is nothing to foretell"
    )


COMMANDS: list[click.Command] = [backtest]
