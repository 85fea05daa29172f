"""A whole gateway as real processes, for journeys that start, kill and stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parent.parent.parent
ROLES = ("web", "worker", "encoder", "trainer", "clock")


def until(condition: Callable[[], object], timeout_s: float = 30.0, *, what: str = "it") -> None:
    """Return as soon as the condition holds; fail the test after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.05)


@dataclass
class GatewayProcess:
    """One `python -m gateway run` on a home of its own."""

    home: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    python: str = sys.executable
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def supervisor(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    @property
    def log(self) -> Path:
        return self.home.parent / f"{self.home.name}.log"

    def start(self, output: int | None = None) -> None:
        """Start without waiting; prints to `log` or to the descriptor given."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command("run"),
                cwd=ROOT,
                env=self.env(),
                stdout=output or log,
                stderr=log,
            )

    def command(self, *arguments: str) -> list[str]:
        """`python -m gateway …` as this gateway's user."""
        python = [self.python, "-m", "gateway", *arguments]
        if self.user is None:
            return python
        ids = [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        # The interpreter may lie below a folder of root's own.
        reach = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        return ["setpriv", *ids, *reach, "--", *python]

    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
        own = {"ATTUNE_HOME": str(self.home), "PORT": str(self.port), "ATTUNE_DEMO": "0"}
        return kept | own | self.environment

    def say(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the command line to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def status(self) -> int:
        """What /readyz answers, 0 for nothing."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code
        except httpx.HTTPError:
            return 0

    def wait_until_ready(self, timeout_s: float = 90.0) -> None:
        """Until /readyz is 200 and every role runs."""
        until(lambda: self.status() == 200, timeout_s, what="readiness")
        until(lambda: all(self.find(role) for role in ROLES), what="every role")

    def children(self) -> list[psutil.Process]:
        """Everything below the supervisor, itself left out."""
        try:
            return self.supervisor.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def find(self, program: str) -> psutil.Process | None:
        """The direct child that runs a role, `postgres` or `redis`."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self.supervisor.children():
                if _program(child) == program:
                    return child
        return None

    def kill(self, program: str) -> int:
        """kill -9 one direct child; returns the pid it had."""
        child = self.find(program)
        assert child is not None, f"{program} does not run"
        child.send_signal(signal.SIGKILL)
        return child.pid

    def wait_until_replaced(self, program: str, pid: int, timeout_s: float = 30.0) -> None:
        """Until another process runs that program."""

        def replaced() -> bool:
            found = self.find(program)
            return found is not None and found.pid != pid

        until(replaced, timeout_s, what=f"a restart of {program}")

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        """Signal the supervisor and wait for its end; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=timeout_s)


def _program(process: psutil.Process) -> str:
    """A child's name: the role behind `-m gateway`, or the server."""
    try:
        command = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
    text = " ".join(command)
    if "gunicorn" in text:
        return "web"
    if "-m gateway" in text:
        return command[-1]
    server = Path(command[0].split()[0]).name if command and command[0] else ""
    return server.removesuffix("-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gateway(home: Path, **options: object) -> Iterator[GatewayProcess]:
    """A gateway that is started and ready, and gone after the block whatever happened."""
    running = GatewayProcess(home, free_port(), **options)  # type: ignore[arg-type]
    running.start()
    try:
        running.wait_until_ready()
        yield running
    finally:
        end(running)


def end(running: GatewayProcess) -> None:
    """Stop a gateway if it runs, and fail if anything of it stays."""
    if running.process is None:
        return
    left = running.children()
    if running.process.poll() is None:
        try:
            running.stop()
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()
    until(lambda: all_gone(left), 15, what="the end of every child")


def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more."""
    return not any(_runs(process) for process in processes)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
