"""Real Postgres and Redis for every test: one throwaway pair a run, shared by its processes.

A test that stays in one process takes `connection`, whose work is rolled back; one that goes
through other processes takes `clean_database`, whose tables are emptied afterwards.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis
from cryptography.fernet import Fernet
from playwright.sync_api import Browser, sync_playwright
from psycopg import sql
from psycopg_pool import ConnectionPool

from gateway import access, sealing
from gateway.running import services
from schemas import database

FOLDER = "ATTUNE_TESTS_FOLDER"
POSTGRES = "ATTUNE_TESTS_DATABASE_URL"
REDIS = "ATTUNE_TESTS_REDIS_URL"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SECRET_KEY = Fernet.generate_key().decode()

_open = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Under xdist the controller starts the servers; its workers inherit the addresses."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        _start_servers()


def pytest_unconfigure() -> None:
    _open.close()


def _start_servers() -> None:
    folder = Path(tempfile.mkdtemp(prefix="attune-tests-"))
    _open.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)
    os.environ |= {
        FOLDER: str(folder),
        POSTGRES: _open.enter_context(services.start_postgres(folder)),
        REDIS: _open.enter_context(services.start_redis(folder)),
    }


@pytest.fixture(scope="session")
def servers() -> dict[str, str]:
    """Addresses of this run's Postgres and Redis, and the folder they lie in."""
    if FOLDER not in os.environ:
        _start_servers()
    return {name: os.environ[name] for name in (FOLDER, POSTGRES, REDIS)}


@pytest.fixture(scope="session")
def template_url(servers: dict[str, str]) -> str:
    """The migrated database that others are copied from; connections to it would block copies."""
    with _alone(servers):
        database.migrate(servers[POSTGRES])
    return servers[POSTGRES]


@pytest.fixture(scope="session")
def database_url(servers: dict[str, str], template_url: str, worker_name: str) -> str:
    """A migrated database that belongs to this process."""
    return copied(servers, template_url, f"test_{worker_name}")


@pytest.fixture(scope="session")
def redis_url(servers: dict[str, str], worker_name: str) -> str:
    """A Redis database that belongs to this process."""
    number = int(worker_name.removeprefix("gw") or 0) + 1 if worker_name != "master" else 0
    return servers[REDIS].replace("?db=0", f"?db={number}")


@pytest.fixture(scope="session")
def worker_name() -> str:
    """`gw0`, `gw1`, … under xdist, else `master`."""
    return os.environ.get("PYTEST_XDIST_WORKER", "master")


@pytest.fixture
def connection(database_url: str) -> Iterator[database.Connection]:
    """A connection inside a transaction that is rolled back."""
    with contextlib.closing(database.connect(database_url, autocommit=False)) as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def clean_database(database_url: str, redis_url: str) -> Iterator[str]:
    """This process's database, emptied after the test, as is its Redis."""
    before = _tables(database_url)
    yield database_url
    _empty(database_url, keep=before)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


def copied(servers: dict[str, str], template_url: str, name: str) -> str:
    """The address of a new database like the template."""
    server = _named(template_url, "postgres")
    with _alone(servers), psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template attune").format(sql.Identifier(name))
        )
    return _named(template_url, name)


def _named(url: str, name: str) -> str:
    return url.replace("/attune?", f"/{name}?")


@contextlib.contextmanager
def _alone(servers: dict[str, str]) -> Iterator[None]:
    """One process of the run at a time."""
    with open(Path(servers[FOLDER]) / "setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tables(url: str) -> set[str]:
    """Every table but partitions."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace "
            "and relkind in ('r', 'p') and not relispartition"
        )
        return {name for (name,) in rows}


def _empty(url: str, *, keep: set[str]) -> None:
    """Drop tables made by the test, delete the rows of the others: faster than TRUNCATE here."""
    made = [
        sql.SQL("drop table {} cascade").format(sql.Identifier(name))
        for name in sorted(_tables(url) - keep)
    ]
    emptied = [
        sql.SQL("delete from {}").format(sql.Identifier(name))
        for name in sorted(keep - {"migrations"})
    ]
    with psycopg.connect(url) as connection:
        # References between tables would otherwise dictate an order.
        connection.execute("set local session_replication_role = replica")
        connection.execute(sql.SQL("; ").join(made + emptied))


@dataclass(frozen=True)
class Shop:
    """A site with a Segment source, and the keys of its API."""

    pool: ConnectionPool[database.Connection]
    site: access.Site
    api: access.Source
    segment: access.Source
    secret_key: str
    publishable_key: str
    write_key: str = ""


@pytest.fixture
def pool(clean_database: str, redis_url: str) -> Iterator[ConnectionPool[database.Connection]]:
    """A pool as the doors use for ingest, on a database that is emptied afterwards."""
    access.forget()
    sealing.unlock(SECRET_KEY)
    with database.open_pool(
        clean_database, size=8, options=database.INGEST_OPTIONS, name="tests"
    ) as opened:
        yield opened


@pytest.fixture
def shop(pool: ConnectionPool[database.Connection]) -> Shop:
    """A site to try things on."""
    with pool.connection() as connection:
        keys = access.create_site(connection, "shop")
        site = access.site(connection, "shop")
        made = access.create_source(connection, site, "segment")
        api = access.api_source(connection, site.site_id)
    return Shop(
        pool,
        site,
        api,
        made.source,
        keys["secret_key"],
        keys["publishable_key"],
        made.write_key or "",
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: install Debian's chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield launched
        launched.close()
