"""The web role: holds the port and runs gunicorn on it, so that a restart refuses nobody.

SIGHUP starts a second gunicorn on the same socket, from the code that is installed now, and ends
the first one as soon as the second takes requests; SIGTERM and SIGINT end whatever runs. What
connects meanwhile waits in the socket, which nobody closes.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from gateway.running import services
from schemas.errors import AttuneError

log = structlog.get_logger(__name__)

CONFIG = Path(__file__).parents[1] / "http" / "gunicorn.py"
APPLICATION = "gateway.http:create_app()"
READY_FD = "ATTUNE_READY_FD"  # gunicorn's workers write a byte there when they take requests
BACKLOG = 512
PORT_WAIT_S = 5.0  # what a killed predecessor left behind holds the port a moment longer

Gunicorn = subprocess.Popen[bytes]

_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class PortTaken(AttuneError):
    """Another process listens on the port."""


def serve(host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    with _listening(host, port) as listener, _noting_signals() as noted:
        return Server(listener, noted).run()


def tell_ready() -> None:
    """Called by a gunicorn worker that takes requests; nobody may be listening any more."""
    if READY_FD in os.environ:
        with contextlib.suppress(OSError):
            os.write(int(os.environ[READY_FD]), b"r")


class Server:
    """One listening socket, the gunicorn on it, and for a moment the one that comes after."""

    def __init__(self, listener: socket.socket, signals: socket.socket) -> None:
        self._listener = listener
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        self._serving: Gunicorn | None = None
        self._coming: Gunicorn | None = None
        self._leaving: list[Gunicorn] = []
        self._stopping = False

    def run(self) -> int:
        """Act on signals until nothing runs any more."""
        self._selector.register(self._signals, selectors.EVENT_READ, self._signalled)
        self._coming = self._start()
        while True:
            for key, _ in self._selector.select():
                key.data(key.fd)
            status = self._ended()
            if status is not None:
                return status

    def _start(self) -> Gunicorn:
        """Another gunicorn; its workers write into a pipe of its own when they take requests."""
        reader, writer = os.pipe()
        bind = f"fd://{self._listener.fileno()}"
        command = [sys.executable, "-m", "gunicorn", "-c", str(CONFIG), "--bind", bind]
        try:
            started = subprocess.Popen(
                services.dies_with_parent([*command, APPLICATION]),
                env=os.environ | {READY_FD: str(writer)},
                pass_fds=(self._listener.fileno(), writer),
            )
        finally:
            os.close(writer)
        self._selector.register(reader, selectors.EVENT_READ, self._told)
        return started

    # what may happen -----------------------------------------------------------------------------

    def _signalled(self, _: int) -> None:
        for number in self._signals.recv(64):
            if number == signal.SIGHUP:
                self._replace()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop()

    def _replace(self) -> None:
        if not self._stopping and self._coming is None:
            log.info("web is being replaced")
            self._coming = self._start()

    def _stop(self) -> None:
        self._stopping = True
        for process in self._running():
            process.terminate()

    def _told(self, reader: int) -> None:
        """A pipe says that its gunicorn takes requests, or that it ended before it did."""
        takes_requests = os.read(reader, 1)
        self._selector.unregister(reader)
        os.close(reader)
        if not takes_requests or self._coming is None:
            return
        if self._serving is not None:
            # It finishes the requests it has; what connects from now on is the new one's.
            log.info("web was replaced", now=self._coming.pid, before=self._serving.pid)
            self._serving.terminate()
            self._leaving.append(self._serving)
        self._serving, self._coming = self._coming, None

    def _ended(self) -> int | None:
        """The exit status where nothing is left to serve with; None while something is."""
        self._leaving = [one for one in self._leaving if one.poll() is None]
        if self._coming is not None and self._coming.poll() is not None:
            if self._serving is None:
                return self._coming.returncode
            if not self._stopping:
                log.error("the new web did not start: the one before goes on serving")
            self._coming = None
        if self._serving is not None and self._serving.poll() is not None and not self._stopping:
            self._stop()  # whoever watches this role starts it anew
        if self._running():
            return None
        return self._serving.returncode if self._serving else 0

    def _running(self) -> list[Gunicorn]:
        all_of_them = [self._serving, self._coming, *self._leaving]
        return [one for one in all_of_them if one is not None and one.poll() is None]


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    deadline = time.monotonic() + PORT_WAIT_S
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                listener.bind((host, port))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise PortTaken(
                        f"cannot listen on {host}, port {port}: {error.strerror}"
                    ) from None
                time.sleep(0.1)
        listener.listen(BACKLOG)
        yield listener


@contextlib.contextmanager
def _noting_signals() -> Iterator[socket.socket]:
    """A socket that each of our signals writes its number to."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        yield reader
