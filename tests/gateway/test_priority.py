"""What may wait has a lower priority, within its session and among sessions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gateway.running import priority
from schemas import database
from tests.journeys.gateway_process import ROOT

NICE = 7


def group_nice(pid: int | str) -> int:
    """Of the process's group, where the kernel has any: `/autogroup-12 nice 7`."""
    file = Path(f"/proc/{pid}/autogroup")
    text = file.read_text() if file.exists() else ""
    if not text:
        pytest.skip("this kernel does not group processes by session")
    return int(text.split()[-1])


def test_a_process_yields_in_a_session_of_its_own() -> None:
    program = (
        "import os; from gateway.running import priority; "
        f"priority.yield_processor({NICE}); "
        "print(os.nice(0), os.getsid(0) == os.getpid(), "
        "open('/proc/self/autogroup').read().split()[-1])"
    )
    group_nice("self")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(NICE), "True", str(NICE)]


def test_a_backend_yields_and_no_other(database_url: str) -> None:
    with database.connect(database_url) as ours, database.connect(database_url) as other:
        priority.yield_backend(ours, NICE)
        ours_pid, other_pid = ours.info.backend_pid, other.info.backend_pid
        assert psutil.Process(ours_pid).nice() == NICE
        assert psutil.Process(other_pid).nice() == 0
        assert (group_nice(ours_pid), group_nice(other_pid)) == (NICE, 0)
