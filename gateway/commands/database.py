"""`migrate` brings the database to what this version needs."""

from __future__ import annotations

import click

from gateway.commands import console
from schemas import database


@click.command()
@console.json_option
def migrate(as_json: bool) -> None:
    """Apply what the database lacks; safe to interrupt and to run again."""
    with console.sentences() as settings:
        applied = database.migrate(
            settings.database_url, events_days=settings.retention_events_days
        )
    if as_json:
        console.show_json({"applied": applied})
    else:
        click.echo(f"Applied: {', '.join(applied)}" if applied else "Nothing to apply.")


COMMANDS: list[click.Command] = [migrate]
