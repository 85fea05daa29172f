"""What is measured: a durable Postgres, Redis, a site and gunicorn, in a folder that goes away."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg_pool import ConnectionPool

from gateway import access, sealing
from gateway.running import services
from gateway.settings import load
from schemas import database
from schemas.database import Connection


@dataclass(frozen=True)
class Stage:
    """A running installation without the roles; `environment` is what its processes get."""

    home: Path
    database_url: str
    environment: dict[str, str]
    pool: ConnectionPool[Connection]
    site: access.Site
    api: access.Source
    segment: access.Source
    keys: dict[str, str]


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Services, migrations and one site named `bench`."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attune-bench-")))
        home.chmod(0o711)
        url = stack.enter_context(services.start_postgres(home, durable=True))
        redis_url = stack.enter_context(services.start_redis(home))
        environment = os.environ | {
            "ATTUNE_HOME": str(home),
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "LOG_LEVEL": "WARNING",
        }
        os.environ.update(environment)
        database.migrate(url)
        sealing.unlock(load().secret_key)
        pool = stack.enter_context(
            database.open_pool(url, size=8, options=database.INGEST_OPTIONS, name="bench")
        )
        with pool.connection() as connection:
            keys = access.create_site(connection, "bench")
            site = access.site(connection, "bench")
            segment = access.create_source(connection, site, "segment").source
            api = access.api_source(connection, site.site_id)
        yield Stage(home, url, environment, pool, site, api, segment, keys)


@contextlib.contextmanager
def web(on: Stage, app: str | None = None) -> Iterator[int]:
    """The web role on a free port, or another application on the same server; yields the port."""
    port = free_port()
    if app is None:
        command = [sys.executable, "-m", "gateway", "web"]
    else:
        command = [sys.executable, "-m", "gunicorn", "-c", "gateway/http/gunicorn.py", app]
    environment = on.environment | {"PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(on.home)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/healthz", process, 60)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], within_s: float) -> None:
    """Until this address is answered with success; RuntimeError where the process ends before."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"{url} was not answered within {within_s:g} s")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
