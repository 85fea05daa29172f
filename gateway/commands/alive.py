"""`alive`: whether the role of this machine or container works, for whoever restarts roles."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import click
import httpx
import psycopg

from gateway.commands import console
from gateway.running.supervision import ROOT, procfile
from gateway.settings import Settings
from schemas import database

SQL = database.queries(__file__)

FRESH_S = 60
TIMEOUT_S = 5.0
FIRST_PROCESS = Path("/proc/1/cmdline")


@click.command()
@click.argument("role", required=False)
def alive(role: str | None) -> None:
    """Say whether ROLE of this machine lives; without ROLE, that of the container's first process.

    The web role answers /healthz; the others have reported to Postgres within a minute.
    """
    roles = ("run", *(name for name, _ in procfile(ROOT / "Procfile")))
    if role is not None and role not in roles:
        raise click.ClickException(f"there is no role {role}: it is one of {', '.join(roles)}")
    named = role or _first_process(roles)
    with console.sentences() as settings:
        reason = _web(settings) if named in ("web", "run") else _beats(settings, named)
    if reason:
        raise click.ClickException(reason)
    click.echo(f"{named} is alive")


def _first_process(roles: Sequence[str]) -> str:
    words = FIRST_PROCESS.read_bytes().decode(errors="replace").split("\0")
    for word in words:
        if word in roles:
            return word
    # `run` has become supervisord.
    return "run" if any("supervisord" in word for word in words) else "web"


def _web(settings: Settings) -> str | None:
    url = f"{settings.local_url}/healthz"
    try:
        status = httpx.get(url, timeout=TIMEOUT_S, trust_env=False).status_code
    except httpx.HTTPError as error:
        return f"{url} does not answer: {error}"
    return None if status == 200 else f"{url} answers {status}"


def _beats(settings: Settings, role: str) -> str | None:
    parameters = {"role": role, "host": platform.node(), "fresh_s": FRESH_S}
    try:
        with psycopg.connect(settings.database_url, connect_timeout=int(TIMEOUT_S)) as connection:
            [beats] = connection.execute(SQL.beats, parameters).fetchone() or (False,)  # type: ignore[arg-type]
    except psycopg.OperationalError:
        return None  # nobody could report: a restart of the role would not help
    return None if beats else f"{role} on {platform.node()} has not reported for {FRESH_S} s"


COMMANDS: list[click.Command] = [alive]
