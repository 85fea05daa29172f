"""The counters that the processes of one machine share, so that one scrape of `/metrics` has them
all: files in ATTUNE_HOME/run, one set a process.

A role calls `share` before anything that counts is imported, because prometheus_client looks for
the folder at its import. What a dead process has counted is added up in files of nobody's, or
counters would fall and their rates leap.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# A file is written after its process began: an older one is of another with the same number.
CLOCK_GRACE_S = 2.0

_FILE = re.compile(r"(?P<kind>[a-z]+)(?:_(?P<mode>[a-z]+))?_(?P<pid>\d+)\.db(?P<unfinished>\.new)?")


def share(run_dir: Path) -> None:
    """Count in this machine's files from now on, after adding up what the dead have left."""
    # By host too: containers that share a home have the same process numbers.
    folder = run_dir / "metrics" / re.sub(r"[^\w.-]", "_", platform.node() or "local")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER] = str(folder)
    from gateway.telemetry import metric_files

    metric_files.reserve()
    bury()


@contextmanager
def unchanged() -> Iterator[None]:
    """Within it no files are added up: a reader would see figures twice or not at all."""
    with _locked(fcntl.LOCK_SH):
        yield


def bury() -> None:
    """Add what dead processes have counted to the files of nobody's, and remove theirs."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    with _locked(fcntl.LOCK_EX):
        for path in sorted(Path(folder).glob("*.db*")):
            found = _FILE.fullmatch(path.name)
            if not found or _lives(int(found["pid"]), path):
                continue
            if not found["unfinished"]:
                _add_up(path, found["kind"])
            path.unlink(missing_ok=True)


def _add_up(path: Path, kind: str) -> None:
    """Gauges say what is, so a dead process's are nothing; the rest are sums."""
    from prometheus_client.mmap_dict import MmapedDict

    from gateway.telemetry.metric_files import Reserved

    if kind != "gauge":
        target = Reserved(str(path.with_name(f"{kind}_dead.db")))
        # Torn by a kill in the middle of a write, or emptied by a power cut.
        with suppress(RuntimeError, struct.error):
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
                before, _ = target.read_value(key)  # type: ignore[no-untyped-call]
                target.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
        target.close()  # type: ignore[no-untyped-call]


def _lives(pid: int, path: Path) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return bool(process.create_time() <= path.stat().st_mtime + CLOCK_GRACE_S)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


@contextmanager
def _locked(how: int) -> Iterator[None]:
    folder = os.environ.get(FOLDER)
    if folder is None:
        yield
        return
    with open(Path(folder) / ".lock", "ab") as lock:
        fcntl.flock(lock, how)
        yield
