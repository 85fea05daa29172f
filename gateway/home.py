"""The folder of one installation (`ATTUNE_HOME`): who runs there, and where its services listen.

`gateway.running.services` writes it, `gateway.settings` reads it so that every command finds a
running `make run`.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import AttuneError


class HomeUnusable(AttuneError):
    """The folder cannot be made or written."""


class AlreadyRuns(AttuneError):
    """Another `run` holds this home."""


@dataclass(frozen=True)
class Running:
    """What a command line needs to know of the gateway that runs here; `pid` is its supervisor."""

    database_url: str
    redis_url: str
    port: int
    public_url: str
    secret_key: str
    pid: int


def make(home: Path) -> None:
    """Make the home and its `run` folder; HomeUnusable says what to do if that is refused."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Logs may quote statements, so others do not look in; root's Postgres, being another
        # user, must pass through.
        (home / "run").mkdir(mode=0o711 if os.getuid() == 0 else 0o700, exist_ok=True)
        probe = home / "run" / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HomeUnusable(
            f"{home} cannot be written ({error.strerror}): set ATTUNE_HOME to a folder you own"
        ) from None


def hold(home: Path, *, wait_s: float = 1.0) -> int:
    """Take the home for this process and whatever it becomes by exec; returns the descriptor.

    The lock dies with the last process that has the descriptor open, however it dies.
    """
    descriptor = os.open(home / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + wait_s
    while not _locked(descriptor):
        if time.monotonic() > deadline:
            pid = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
            raise AlreadyRuns(
                f"a gateway already runs on {home} (pid {pid}): use it, stop it with "
                f"`kill {pid}`, or set ATTUNE_HOME and PORT for a second one"
            )
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(descriptor, True)
    return descriptor


def publish(home: Path, running: Running) -> None:
    """Write down where the services are; the file holds credentials, so it is ours alone."""
    target = home / "run" / "services.json"
    draft = target.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(running), file)
    draft.rename(target)


def running(home: Path) -> Running | None:
    """The gateway that runs on this home; None when none does."""
    try:
        found = Running(**json.loads((home / "run" / "services.json").read_text()))
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None
    return found if _alive(found.pid) else None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
