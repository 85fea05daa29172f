"""Attune's own roles on a Postgres and Redis of their own, for tests that end any of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import redis

from gateway import access, home, sealing
from gateway.http import shares
from gateway.running import services
from schemas import database
from tests.conftest import SECRET_KEY
from tests.journeys.gateway_process import ROOT, all_gone, free_port, until

SITE = "shop"


@dataclass
class Installation:
    """Processes by name: `postgres`, `redis`, and roles, of which there may be several."""

    folder: Path
    web_processes: int = 2
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home.make(self.folder)
        self._services = {
            "postgres": services.postgres(self.folder),
            "redis": services.redis_server(self.folder),
        }

    @property
    def database_url(self) -> str:
        return self._services["postgres"].url

    @property
    def redis_url(self) -> str:
        return self._services["redis"].url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
        return kept | {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "ATTUNE_HOME": str(self.folder),
            "ATTUNE_SECRET_KEY": SECRET_KEY,
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(self.web_processes),
            "OMP_NUM_THREADS": "1",
        }

    # processes -----------------------------------------------------------------------------------

    def start(self, role: str, name: str | None = None) -> subprocess.Popen[bytes]:
        """Start a role; `name` tells two of one role apart."""
        command = [sys.executable, "-m", "gateway", role]
        return self._run(name or role, services.dies_with_parent(command), ROOT)

    def serve(self, name: str) -> None:
        """Start `postgres` or `redis` and wait until it answers, as a supervisor would: Postgres
        does not start beside what a killed one has left, and is started again."""
        self._run_service(name)
        if name == "redis":
            until(self._redis_answers, 30, what="an answer of Redis")
            return
        until(self._postgres_answers, 60, what="an answer of Postgres")
        services.create_database(self.database_url, timeout_s=60)

    def _run_service(self, name: str) -> None:
        self._run(name, self._services[name].command, Path("/"))

    def _postgres_answers(self) -> bool:
        if self.processes["postgres"].poll() is not None:
            self._run_service("postgres")
        try:
            psycopg.connect(self.database_url.replace("/attune?", "/postgres?")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, name: str, command: list[str], where: Path) -> subprocess.Popen[bytes]:
        with open(self.log(name), "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=where, env=self.environment(), stdout=log, stderr=log
            )
        return self.processes[name]

    def log(self, name: str) -> Path:
        return self.folder / "run" / f"{name}.log"

    def exceptions(self, name: str) -> list[str]:
        """What a process has logged of its own faults."""
        lines = self.log(name).read_text(errors="replace").splitlines()
        return [line for line in lines if '"exception"' in line]

    def kill(self, name: str) -> None:
        """kill -9, and wait for the end."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Signal and wait for the end, for which Postgres needs SIGINT."""
        services.end(self.processes.pop(name), how, within_s=30)

    @property
    def web_workers_when_well(self) -> int:
        """How many there should be, that of the slow lane among them."""
        return shares.processes(self.web_processes)[0]

    def web_workers(self) -> list[psutil.Process]:
        """The processes that answer requests."""
        with contextlib.suppress(psutil.NoSuchProcess):
            servers = psutil.Process(self.processes["web"].pid).children()
            return [worker for server in servers for worker in server.children()]
        return []

    # answers -------------------------------------------------------------------------------------

    def _redis_answers(self) -> bool:
        try:
            with self.redis() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url)

    @contextlib.contextmanager
    def database(self) -> Iterator[database.Connection]:
        with contextlib.closing(database.connect(self.database_url)) as connection:
            yield connection

    def status(self, path: str = "/readyz") -> int:
        """The status of a GET, 0 for no answer."""
        try:
            return httpx.get(f"{self.url}{path}", timeout=10, trust_env=False).status_code
        except httpx.HTTPError:
            return 0

    def post(self, path: str, key: str, body: Any) -> httpx.Response:
        """What `/v1` answers to this key."""
        return httpx.post(
            f"{self.url}/v1/{path}",
            headers={"X-API-KEY": key},
            json=body,
            timeout=30,
            trust_env=False,
        )

    def ask(self, path: str, key: str, body: Any) -> Any:
        """The same of what is answered with 200, read."""
        answer = self.post(path, key, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_until_ready(self) -> None:
        until(lambda: self.status() == 200, 60, what="readiness")


@dataclass(frozen=True)
class Keys:
    """What senders of the site need."""

    site_id: int
    secret_key: str
    publishable_key: str
    segment_path: str
    segment_secret: str
    segment_source: access.Source
    api_source: access.Source
    write_key: str


@contextlib.contextmanager
def installation(folder: Path, *roles: str, web_processes: int = 2) -> Iterator[Installation]:
    """Services, migrations and these roles; nothing of it is left after the block."""
    made = Installation(folder, web_processes)
    try:
        made.serve("postgres")
        made.serve("redis")
        database.migrate(made.database_url)
        for role in roles:
            made.start(role)
        if "web" in roles:
            made.wait_until_ready()
        yield made
    finally:
        _end(made)


def _end(made: Installation) -> None:
    left = [p for one in made.processes.values() for p in _family(one.pid)]
    for name in [*set(made.processes) - {"postgres", "redis"}, "redis", "postgres"]:
        if name in made.processes:
            made.stop(name, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    until(lambda: all_gone(left), 15, what="the end of every child")


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def a_site(connection: database.Connection, *, pepper: bytes | None = None) -> Keys:
    """A site with a Segment source; of equal pepper its ids and keys are another site's equal."""
    access.forget()
    sealing.unlock(SECRET_KEY)
    made = access.create_site(connection, SITE)
    if pepper is not None:
        connection.execute("update sites set pepper = %s where name = %s", [pepper, SITE])
    site = access.site(connection, SITE)
    segment = access.create_source(connection, site, "segment")
    return Keys(
        site.site_id,
        made["secret_key"],
        made["publishable_key"],
        f"/webhooks/segment/{segment.source.public_id}",
        segment.secret,
        segment.source,
        access.api_source(connection, site.site_id),
        segment.write_key or "",
    )


def another_database(url: str, name: str) -> str:
    """A second migrated database on the same server."""
    server = url.replace(f"/{services.DATABASE}?", "/postgres?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")  # type: ignore[call-overload]
    made = url.replace(f"/{services.DATABASE}?", f"/{name}?")
    database.migrate(made)
    return made


def told_ledger(running: Installation, keys: Keys) -> dict[str, int]:
    """The sums of the site as the gateway itself tells them."""
    told: list[dict[str, int]] = []

    def tell() -> bool:
        answer = httpx.get(
            f"{running.url}/admin/v1/ledger",
            headers={"X-API-KEY": keys.secret_key},
            timeout=10,
            trust_env=False,
        )
        if answer.status_code == 200:
            told.append(answer.json()["total"])
        return bool(told)

    until(tell, 10, what="the ledger")  # a restarted Postgres costs one answer
    return told[0]
