"""`run`: everything of one installation as children of one supervisor, made from the Procfile.

This process becomes supervisord by exec, so it holds the home's lock for as long as anything of
it runs. Services start first and stop last; roles and one-shot steps are one group; a dead child
is started again; if the supervisor itself is killed, the kernel ends every child.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway import home as homes
from gateway.running import services
from gateway.settings import Settings, secret_key
from schemas.errors import AttuneError

ROOT = Path(__file__).parents[2]
STOP_WAIT_S = {"postgres": 60, "redis": 10}
ROLE_STOP_WAIT_S = 20
PORT_WAIT_S = 5.0
# Priorities: Postgres 10, Redis 20, then everything that needs them.
FIRST_OF_OURS = 30
# Supervisor waits one second longer after each failed start; it must never give up.
START_RETRIES = 100_000


class CannotStart(AttuneError):
    """Something outside our control stands in the way of a start."""


@dataclass(frozen=True)
class Program:
    """One child of the supervisor; those of lower `priority` start earlier and stop later."""

    name: str
    command: list[str]
    priority: int
    options: dict[str, object] = field(default_factory=dict)


def start(settings: Settings) -> None:
    """Prepare the home and become its supervisor; returns only by an exception."""
    homes.make(settings.home)
    _check_path(settings.home)
    descriptor = homes.hold(settings.home)
    os.umask(0o077)
    wait_for_port(settings.port, settings.bind)
    os.environ |= _environment(settings)
    embedded = _embedded(settings)
    running = _running(settings, embedded)
    os.environ |= {"DATABASE_URL": running.database_url, "REDIS_URL": running.redis_url}
    config = settings.run_dir / "supervisord.conf"
    config.write_text(configuration(settings, programs(settings, embedded)), encoding="utf-8")
    homes.publish(settings.home, running)
    sys.stdout.flush()
    _make_stdout_openable()
    _append_to_stdout()
    assert os.get_inheritable(descriptor)
    command = [sys.executable, "-m", "gateway.running.supervisord", "-n", "-c", str(config)]
    os.execv(sys.executable, command)


def _environment(settings: Settings) -> dict[str, str]:
    """What every child is given, so that none of them has to look for it."""
    folder = str(Path(sys.executable).parent)
    return {
        "ATTUNE_HOME": str(settings.home),
        "ATTUNE_SECRET_KEY": settings.secret_key or secret_key(settings.home),
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        # glibc gives each thread an arena of its own, and what one has freed no other uses.
        "MALLOC_ARENA_MAX": "2",
        "LOG_FORMAT": _log_format(settings),
    }


def _log_format(settings: Settings) -> str:
    """The children write into a pipe of ours: whether it ends at a terminal only we can see."""
    at_terminal = settings.log_format == "auto" and sys.stdout.isatty()
    return "text" if at_terminal else settings.log_format


def _embedded(settings: Settings) -> list[services.Service]:
    """The servers that the environment does not name, as our own."""
    made = []
    if not settings.database_url:
        made.append(services.postgres(settings.home))
    if not settings.redis_url:
        made.append(services.redis_server(settings.home))
    return made


def _running(settings: Settings, embedded: list[services.Service]) -> homes.Running:
    urls = {service.name: service.url for service in embedded}
    return homes.Running(
        database_url=settings.database_url or urls["postgres"],
        redis_url=settings.redis_url or urls["redis"],
        port=settings.port,
        public_url=settings.public_url,
        secret_key=os.environ["ATTUNE_SECRET_KEY"],
        pid=os.getpid(),
    )


# programs ---------------------------------------------------------------------------------------


def programs(settings: Settings, embedded: list[services.Service]) -> list[Program]:
    """Everything the supervisor runs, in the order of its start."""
    found = [_service(settings, service) for service in embedded]
    found.append(_once("migrate", FIRST_OF_OURS))
    found += [_role(name, command) for name, command in procfile(ROOT / "Procfile")]
    if settings.demo:
        found.append(_once("demo", 200))
    found.append(_once("announce", 300))
    return found


def procfile(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The roles: name and command of each line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, command = line.partition(":")
            yield name.strip(), shlex.split(command)


def _service(settings: Settings, service: services.Service) -> Program:
    log = settings.run_dir / f"{service.name}.log"
    return Program(
        service.name,
        service.command,
        10 if service.name == "postgres" else 20,
        {
            "stopsignal": "INT" if service.name == "postgres" else "TERM",
            "stopwaitsecs": STOP_WAIT_S[service.name],
            "stdout_logfile": _escaped(str(log)),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 1,
        },
    )


def _role(name: str, command: list[str]) -> Program:
    options = {"stopsignal": "TERM", "stopwaitsecs": ROLE_STOP_WAIT_S}
    return Program(name, services.dies_with_parent(command), 100, options)


def _once(stage: str, priority: int) -> Program:
    """A program that runs to its end once per start: `python -m gateway run --stage STAGE`."""
    command = services.dies_with_parent(["python", "-m", "gateway", "run", "--stage", stage])
    return Program(stage, command, priority, {"autorestart": "false", "startsecs": 0})


# configuration ----------------------------------------------------------------------------------


def configuration(settings: Settings, found: list[Program]) -> str:
    """The supervisor's configuration; no credentials in it, children inherit the environment."""
    sections = [_supervisor_section(settings)]
    sections += [_program_section(program) for program in found]
    # One group, because supervisor takes up to a second from one group to the next when it stops.
    ours = ",".join(program.name for program in found if program.priority >= FIRST_OF_OURS)
    sections.append(f"[group:gateway]\nprograms={ours}\npriority={FIRST_OF_OURS}\n")
    return "\n".join(sections)


def _supervisor_section(settings: Settings) -> str:
    lines = [
        "[supervisord]",
        "nodaemon=true",
        "logfile=/dev/null",
        "logfile_maxbytes=0",
        "loglevel=warn",
        "nocleanup=true",
        f"pidfile={_escaped(str(settings.run_dir / 'supervisord.pid'))}",
    ]
    if os.getuid() == 0:
        lines.append("user=root")
    return "\n".join(lines) + "\n"


def _program_section(program: Program) -> str:
    options: dict[str, object] = {
        "command": _escaped(shlex.join(program.command)),
        "directory": _escaped(str(ROOT)),
        "priority": program.priority,
        "autorestart": "true",
        "startretries": START_RETRIES,
        "redirect_stderr": "true",
        "stdout_logfile": "/dev/stdout",
        "stdout_logfile_maxbytes": 0,
    }
    lines = [f"{name}={value}" for name, value in (options | program.options).items()]
    return f"[program:{program.name}]\n" + "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _check_path(home: Path) -> None:
    if any(mark in str(path) for path in (home, ROOT) for mark in (" ;", " #", "\n")):
        raise CannotStart(f"{home} or {ROOT} contains ' ;' or ' #': choose another ATTUNE_HOME")


# the surroundings -------------------------------------------------------------------------------


def _make_stdout_openable() -> None:
    """Supervisor opens our output anew for its children: put a pipe before a socket or a file
    that belongs to another user (sudo), which cannot be opened a second time."""
    try:
        os.close(os.open("/dev/stdout", os.O_WRONLY | os.O_APPEND))
    except OSError:
        reader, writer = os.pipe()
        subprocess.Popen(["cat"], stdin=reader, start_new_session=True)
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)


def _append_to_stdout() -> None:
    """Children open our output anew; in a plain file both would write over each other."""
    flags = fcntl.fcntl(1, fcntl.F_GETFL)
    fcntl.fcntl(1, fcntl.F_SETFL, flags | os.O_APPEND)


def wait_for_port(port: int, host: str = "127.0.0.1") -> None:
    """Let what a killed run left behind go away first; CannotStart if the port stays taken."""
    try:
        services.wait_for(lambda: _is_free(port, host), PORT_WAIT_S, "")
    except services.ServicesUnusable:
        raise CannotStart(f"port {port} is in use: stop what listens there or set PORT") from None


def _is_free(port: int, host: str) -> bool:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise CannotStart(f"BIND is {host!r}, which is no address of this machine") from None
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError:
            raise CannotStart(f"port {port} needs root: set PORT to 1024 or above") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise CannotStart(
                    f"BIND is {host!r}, which is no address of this machine"
                ) from None
            return False
    return True
