"""`units`: what systemd needs to run an installation."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from gateway.commands import console
from gateway.running import units as made
from gateway.settings import load


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--user", default=getpass.getuser, help="Who runs it; by default whoever asks.")
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/attune.env"),
    help="File of settings, NAME=value a line.",
)
@click.option("--embedded", is_flag=True, help="One unit, with embedded Postgres and Redis.")
@console.json_option
def units(folder: Path, user: str, env_file: Path, embedded: bool, as_json: bool) -> None:
    """Write systemd units for this installation into FOLDER.

    Units that were written there before and are no part of these are removed.
    """
    settings = load(find_services=False)
    place = made.Place(user, settings.home, env_file.absolute())
    files = made.embedded(place) if embedded else made.of_roles(place)
    folder.mkdir(parents=True, exist_ok=True)
    removed = made.written_before(folder, files)
    for path in removed:
        path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if as_json:
        written = [str(folder / name) for name in files]
        console.show_json({"files": written, "removed": [str(path) for path in removed]})
        return
    needed = "the settings"
    if not embedded:
        needed = "DATABASE_URL, REDIS_URL, ATTUNE_SECRET_KEY and the other settings"
    if removed:
        click.echo(f"Removed from {folder}: {', '.join(path.name for path in removed)}.")
    start = "attune.service" if embedded else made.TARGET
    click.echo(
        f"{len(files)} units in {folder}. As root, put {needed} into {env_file} "
        f"(mode 0600), then:\n"
        f"  install -d -o {user} -m 0700 {settings.home}\n"
        f"  install -m 0644 {folder}/attune* /etc/systemd/system/\n"
        f"  systemctl daemon-reload\n"
        f"  systemctl enable --now {start}"
    )


COMMANDS: list[click.Command] = [units]
