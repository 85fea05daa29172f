"""`train SITE` and `models SITE`: the learned model, at once and by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gateway import access, instant, learning
from gateway.commands import console
from schemas import database


@click.command()
@click.argument("site")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same version.")
@click.option("--epochs", type=click.IntRange(1, 100), help="Most times through the archive.")
@console.json_option
def train(site: str, seed: int, epochs: int | None, as_json: bool) -> None:
    """Train SITE's model on its archive now, and promote it if it is proved better.

    The trainer role does the same every four hours. Stopped at any time it leaves what is live.
    """
    with console.sentences() as settings, database.connect(settings.database_url) as connection:
        site_id = access.site(connection, site).site_id
        with _shown() as told:
            report = learning.train(
                connection, site_id, instant.now(), seed=seed, epochs=epochs, told=told
            )
    if as_json:
        console.show_json({"site": site} | report)
    else:
        click.echo("\n".join(learning.sentences(report)))


@contextmanager
def _shown() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a stage on stderr; nobody knows how long reading takes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
    )
    stages: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bar:

        def told(stage: str, done: int, of: int) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(stage, total=of or None)
            bar.update(stages[stage], completed=done, total=of or None)

        yield told if sys.stderr.isatty() else console.stages()


@click.command()
@click.argument("site")
@click.argument("action", type=click.Choice(["promote", "rollback"]), required=False)
@click.argument("version", type=int, required=False)
@console.json_option
def models(site: str, action: str | None, version: int | None, as_json: bool) -> None:
    """List SITE's models with what is known of each; `promote N` makes that version live,
    `rollback` goes back to the one before."""
    if (action == "promote") != (version is not None):
        raise click.UsageError("`promote` needs the number of a version, and nothing else does")
    with console.sentences() as settings, database.connect(settings.database_url) as connection:
        site_id = access.site(connection, site).site_id
        if action is None:
            _list(learning.versions(connection, site_id), as_json)
            return
        live = learning.changed(connection, site_id, version)
    if as_json:
        console.show_json({"site": site, "live": live})
    else:
        click.echo(learning.now_live(live))


def _list(versions: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        console.show_json({"models": versions})
        return
    names = ["version", "name", "state", "can serve", "newest event", "promoted", "verdict"]
    rows = [
        [
            one["model_id"],
            one["name"],
            one["state"],
            "yes" if one["can_serve"] else "no",
            one["record"].get("newest", ""),
            one["promoted_at"] or "",
            learning.verdict(one["record"]),
        ]
        for one in versions
    ]
    console.show_table(names, rows, "The site has no models.")


COMMANDS: list[click.Command] = [train, models]
