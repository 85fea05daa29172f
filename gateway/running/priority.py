"""Work that may wait runs when others leave it a processor: here, and in the Postgres that does it.

Linux groups processes by session where no control group does (sched(7), "The autogroup feature"):
there a nice value counts within a session only, and what weighs a session against others is the
value of its group. So what yields gets a session of its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from schemas.database import Connection

CHANGE_TRIES, CHANGE_EVERY_S = 30, 0.11


def yield_processor(nice: int) -> None:
    """Let other processes run first. Only for a process that no terminal need interrupt."""
    os.nice(nice)
    with contextlib.suppress(OSError):
        os.setsid()
        _yield_group(os.getpid(), nice)


def yield_backend(connection: Connection, nice: int) -> None:
    """The same for the process that works for us in a Postgres on this machine, where we may."""
    pid = connection.info.backend_pid
    if not connection.info.host.startswith("/"):
        return
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres:"):
            os.setpriority(os.PRIO_PROCESS, pid, nice)
            _yield_group(pid, nice)  # a backend is a session of its own


def _yield_group(pid: int, nice: int) -> None:
    """The kernel takes ten such changes a second from users other than root."""
    for _ in range(CHANGE_TRIES):
        with contextlib.suppress(BlockingIOError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
            return
        time.sleep(CHANGE_EVERY_S)
