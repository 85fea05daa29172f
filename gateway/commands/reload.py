"""`reload`: every role of a running `run` anew, from the code that is installed now."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import click
import psutil
from rich.progress import Progress

from gateway import home as homes
from gateway.commands import console
from gateway.running.supervision import ROOT, procfile
from gateway.settings import Settings
from schemas import database
from schemas.errors import AttuneError

WAIT_S = 120.0
PAUSE_S = 0.1

T = TypeVar("T")


class NotReloaded(AttuneError):
    """Nothing runs here, or a role did not come back."""


@dataclass(frozen=True)
class Replaced:
    """A role's process before and after; of web gunicorn's, since whoever holds the port stays."""

    role: str
    before: int
    after: int


@click.command()
@console.json_option
def reload(as_json: bool) -> None:
    """Start every role anew from the code that is installed now; no request is refused."""
    with console.sentences() as settings:
        supervisor = _supervisor(settings)
        _check_migrated(settings)
        roles = [name for name, _ in procfile(ROOT / "Procfile")]
        with Progress(disable=as_json, transient=True) as progress:
            each = progress.track(_replaced(supervisor, roles), len(roles), description="reload")
            done = list(each)
    if as_json:
        console.show_json({"replaced": done})
    else:
        rows = [(one.role, one.before, one.after) for one in done]
        console.show_table(("role", "process before", "now"), rows, "No role runs.")


def _supervisor(settings: Settings) -> psutil.Process:
    running = homes.running(settings.home)
    if running is None:
        raise NotReloaded(f"no gateway runs on {settings.home}: start it with `make run`")
    return psutil.Process(running.pid)


def _check_migrated(settings: Settings) -> None:
    with database.connect(settings.database_url) as connection:
        if not database.is_ready(connection):
            raise NotReloaded("migrations are pending: run `python -m gateway migrate` first")


def _replaced(supervisor: psutil.Process, roles: list[str]) -> Iterator[Replaced]:
    """One role after the other; web first, since the old one goes on where new code fails."""
    for role in roles:
        found = _find(supervisor, role)
        if found is None:
            raise NotReloaded(f"{role} does not run: see what `run` printed")
        yield _web(found) if role == "web" else _other(supervisor, role, found)


def _web(holder: psutil.Process) -> Replaced:
    before = holder.children()
    if len(before) != 1:
        raise NotReloaded("web is being replaced already")
    holder.send_signal(signal.SIGHUP)
    coming = _awaited(lambda: [one for one in holder.children() if one not in before], "web")[0]
    _awaited(lambda: before[0] not in holder.children() or not coming.is_running(), "web")
    if not coming.is_running():
        raise NotReloaded("the new web did not start and the old one serves on: see its log")
    return Replaced("web", before[0].pid, coming.pid)


def _other(supervisor: psutil.Process, role: str, before: psutil.Process) -> Replaced:
    """Ended once its present step is done, and started again by the supervisor."""
    before.send_signal(signal.SIGTERM)
    _awaited(lambda: not before.is_running(), role)
    after = _awaited(lambda: _find(supervisor, role), role)
    return Replaced(role, before.pid, after.pid)


def _find(supervisor: psutil.Process, role: str) -> psutil.Process | None:
    for child in supervisor.children():
        try:
            if child.cmdline()[-3:] == ["-m", "gateway", role]:
                return child
        except psutil.Error:
            continue
    return None


def _awaited(ask: Callable[[], T | None], role: str) -> T:
    deadline = time.monotonic() + WAIT_S
    while not (found := ask()):
        if time.monotonic() > deadline:
            raise NotReloaded(
                f"{role} was not replaced within {WAIT_S:.0f} s: see what `run` printed"
            )
        time.sleep(PAUSE_S)
    return found


COMMANDS: list[click.Command] = [reload]
