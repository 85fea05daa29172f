"""`backup` and `restore`: one file out, one file in, with what is being done shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import psycopg
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from gateway import backup as backups
from gateway.archive import Manifest
from gateway.backup import Report, Told
from gateway.commands import console
from gateway.settings import Settings, load
from schemas.errors import AttuneError

FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command()
@FILE
@click.option("--with-secret-key", is_flag=True, help="Put the secret key into the file too.")
@console.json_option
def backup(file: Path, with_secret_key: bool, as_json: bool) -> None:
    """Write everything that Postgres holds into FILE, while the gateway serves.

    Without --with-secret-key, keep ATTUNE_HOME/secret.key as well, in another place: it opens the
    secrets in the backup.
    """
    began = time.monotonic()
    with _sentences() as settings, _shown() as told:
        made = backups.make(settings, file, told, with_secret_key=with_secret_key)
    answer = _answer(made, time.monotonic() - began)
    if as_json:
        console.show_json(answer)
        return
    click.echo(f"{file}: {decimal(made.bytes)}, {_sites(made.manifest)}, in {answer['seconds']} s")
    if not with_secret_key:
        click.echo("The secret key is not in it: keep a copy of it too, in another place.")


@click.command()
@FILE
@click.option("--replace", is_flag=True, help="Replace what the database holds.")
@click.option("--without-secrets", is_flag=True, help="Go on though the secret key is lost.")
@click.option("--check", is_flag=True, help="Only say whether the file is whole and fits here.")
@console.json_option
def restore(file: Path, replace: bool, without_secrets: bool, check: bool, as_json: bool) -> None:
    """Put a backup into an empty database, in one transaction, and migrate it.

    Stop every role first. Interrupted or failed, it has changed nothing.
    """
    began = time.monotonic()
    with _sentences() as settings, _shown() as told:
        if check:
            manifest = backups.check(settings, file, told, without_secrets=without_secrets)
            done = Report(str(file), file.stat().st_size, manifest, [])
        else:
            done = backups.restore(
                settings, file, told, replace=replace, without_secrets=without_secrets
            )
    answer = _answer(done, time.monotonic() - began) | {"migrated": done.migrated}
    if as_json:
        console.show_json(answer)
        return
    made = f"{done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
    if check:
        click.echo(f"{file} is whole and fits: {_sites(done.manifest)}, made {made}")
        return
    click.echo(f"{_sites(done.manifest)} as of {made} restored in {answer['seconds']} s")
    if without_secrets:
        click.echo("Make keys anew (`keys create SITE`), and the secret of each source.")


def _answer(report: Report, seconds: float) -> dict[str, Any]:
    manifest = report.manifest
    return {
        "file": report.file,
        "bytes": report.bytes,
        "seconds": round(seconds, 1),
        "sites": manifest.sites,
        "made_at": manifest.made_at,
        "migrations": manifest.migrations,
        "has_secret_key": manifest.secret_key is not None,
    }


def _sites(manifest: Manifest) -> str:
    count = len(manifest.sites)
    return "1 site" if count == 1 else f"{count} sites"


@contextmanager
def _sentences() -> Iterator[Settings]:
    """The settings, without a Redis or a new secret key; what goes wrong is a sentence."""
    try:
        yield load(find_services=False)
    except AttuneError as error:
        raise click.ClickException(str(error)) from None
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise click.ClickException(f"Postgres: {reason}") from None


@contextmanager
def _shown() -> Iterator[Told]:
    """A bar on stderr: what is at work, how much of it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    shown = Console(stderr=True)
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=shown,
        transient=True,
        disable=not shown.is_terminal,
    ) as bar:
        task = bar.add_task("starting", total=None)

        def told(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=max(total, 1))

        yield told


COMMANDS: list[click.Command] = [backup, restore]
