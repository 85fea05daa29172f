"""`python -m gateway run` as people and machines treat it: killed, stopped, started twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.journeys.gateway_process import (
    ROLES,
    ROOT,
    GatewayProcess,
    all_gone,
    end,
    free_port,
    gateway,
    until,
)

pytestmark = pytest.mark.heavy
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    with _open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def running() -> Iterator[GatewayProcess]:
    """One gateway for all tests that leave it running; a start takes seconds."""
    with _open_folder() as path, gateway(path / "home") as started:
        yield started


@pytest.fixture
def own(folder: Path) -> Iterator[GatewayProcess]:
    """A gateway for a test that stops it."""
    with gateway(folder / "home") as started:
        yield started


@contextlib.contextmanager
def _open_folder() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="attune-run-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_killed_role_is_started_again(running: GatewayProcess) -> None:
    pids = {role: running.kill(role) for role in ROLES}

    for role, pid in pids.items():
        running.wait_until_replaced(role, pid)
    running.wait_until_ready()


def test_a_killed_postgres_recovers_with_its_rows(running: GatewayProcess) -> None:
    with psycopg.connect(_database_url(running)) as connection:
        connection.execute("create table kept as select 1")
    pid = running.kill("postgres")

    running.wait_until_replaced("postgres", pid)
    running.wait_until_ready()
    with psycopg.connect(_database_url(running)) as connection:
        assert connection.execute("select * from kept").fetchall() == [(1,)]


def test_a_killed_redis_is_started_again(running: GatewayProcess) -> None:
    pid = running.kill("redis")

    running.wait_until_replaced("redis", pid)
    running.wait_until_ready()


def test_a_killed_supervisor_leaves_nothing_and_can_start_again(own: GatewayProcess) -> None:
    children = own.children()
    own.stop(signal.SIGKILL)

    own.start()
    until(lambda: all_gone(children), 10, what="the end of every child")
    own.wait_until_ready()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_roles_before_their_services(
    own: GatewayProcess, how: signal.Signals
) -> None:
    children = own.children()

    assert own.stop(how, timeout_s=20) == 0
    assert all_gone(children)
    assert "database system is shut down" in (own.home / "run/postgres.log").read_text()
    assert "OperationalError" not in own.log.read_text()


def test_a_reload_replaces_every_role_and_nothing_else(running: GatewayProcess) -> None:
    running.wait_until_ready()
    before = {name: running.find(name) for name in ("web", "postgres", "redis")}

    said = running.say("reload", "--json")

    assert said.returncode == 0, said.stderr
    replaced = json.loads(said.stdout)["replaced"]
    assert [one["role"] for one in replaced] == list(ROLES)
    assert all(one["before"] != one["after"] for one in replaced)
    assert {name: running.find(name) for name in before} == before
    running.wait_until_ready()


def test_a_second_run_on_one_home_names_the_first(running: GatewayProcess) -> None:
    second = running.say("run")

    assert second.returncode == 2
    assert second.stderr.startswith(f"attune: a gateway already runs on {running.home} (pid ")
    assert str(running.supervisor.pid) in second.stderr
    assert running.status() == 200


def test_a_second_start_keeps_rows_and_key(folder: Path) -> None:
    with gateway(folder / "home") as first:
        key = (first.home / "secret.key").read_text()
        with psycopg.connect(_database_url(first)) as connection:
            connection.execute("create table kept as select 1")
    with gateway(folder / "home") as second, psycopg.connect(_database_url(second)) as connection:
        assert connection.execute("select * from kept").fetchall() == [(1,)]
        assert (second.home / "secret.key").read_text() == key


def test_the_command_line_finds_a_running_gateway(running: GatewayProcess) -> None:
    assert running.say("migrate").returncode == 0


def test_the_command_line_says_when_nothing_runs(folder: Path) -> None:
    said = GatewayProcess(folder / "home", free_port()).say("migrate")

    assert said.returncode != 0
    assert "start one with `make run`, or set DATABASE_URL and REDIS_URL" in said.stderr


def test_a_home_with_a_long_path_works(folder: Path) -> None:
    home = folder / ("long-" + "x" * (120 - len(str(folder)) - len("/long-")))
    assert len(str(home)) == 120
    with gateway(home) as running:
        assert str(home) not in _database_url(running)


def test_a_home_below_a_private_folder_works(folder: Path) -> None:
    folder.chmod(0o700)
    with gateway(folder / "home"):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user reaches what is its own")
def test_programs_below_a_private_folder_work(folder: Path) -> None:
    """As in a clone below /root: Postgres asks access(2) for its own programs."""
    environment = folder / "private" / "venv"
    environment.parent.mkdir(mode=0o700)
    environment.symlink_to(sys.prefix)
    with gateway(folder / "home", python=str(environment / "bin" / "python")) as running:
        postgres = running.find("postgres")
        assert postgres is not None and str(environment) in postgres.cmdline()[0]


def test_a_home_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.chmod(0o555)
    refused = _as_ordinary_user(folder / "home").say("run")

    assert refused.returncode == 2
    assert f"{folder / 'home'} cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_port_in_use_is_named(folder: Path, running: GatewayProcess) -> None:
    refused = GatewayProcess(folder / "other", running.port).say("run")

    assert refused.returncode == 2
    assert f"port {running.port} is in use" in refused.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="every other test here runs as an ordinary user")
def test_an_ordinary_user_can_run_it(folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)
    with gateway(folder / "home", user=NOBODY) as running:
        assert {child.uids().real for child in running.children()} == {NOBODY}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_root_gives_postgres_to_an_ordinary_user(running: GatewayProcess) -> None:
    postgres = running.find("postgres")

    assert postgres is not None
    assert postgres.uids().real != 0


def test_make_run_stops_with_make(folder: Path) -> None:
    running = GatewayProcess(folder / "home", free_port())
    with open(running.log, "ab") as log:
        make = subprocess.Popen(
            ["make", "run"], cwd=ROOT, env=running.env(), stdout=log, stderr=log
        )
    try:
        until(lambda: running.status() == 200, 300, what="readiness")
        children = psutil.Process(make.pid).children(recursive=True)
    finally:
        make.send_signal(signal.SIGTERM)
        make.wait(timeout=60)
    until(lambda: all_gone(children), 15, what="the end of every child")


def test_the_start_prints_where_to_go(running: GatewayProcess) -> None:
    until(
        lambda: f"Attune is ready at {running.url}" in running.log.read_text(), what="the greeting"
    )


def test_named_services_are_used_instead_of_our_own(
    folder: Path, clean_database: str, redis_url: str
) -> None:
    named = {"DATABASE_URL": clean_database, "REDIS_URL": redis_url}
    with gateway(folder / "home", environment=named) as running:
        assert running.find("postgres") is None
        assert running.find("redis") is None
        assert running.say("migrate").returncode == 0


def test_output_may_be_a_socket(folder: Path) -> None:
    ours, theirs = socket.socketpair()
    running = GatewayProcess(folder / "home", free_port())
    with ours, theirs:
        running.start(theirs.fileno())
        theirs.close()
        try:
            running.wait_until_ready()
        finally:
            end(running)
        assert b"Starting gunicorn" in ours.makefile("rb").read()


def test_nobody_else_reads_what_a_run_leaves(running: GatewayProcess) -> None:
    left = [path for path in (running.home / "run").rglob("*") if path.is_file()]

    assert left
    assert [path for path in left if path.stat().st_mode & 0o077] == []


def _as_ordinary_user(home: Path) -> GatewayProcess:
    return GatewayProcess(home, free_port(), user=NOBODY if os.getuid() == 0 else None)


def _database_url(running: GatewayProcess) -> str:
    services = json.loads((running.home / "run" / "services.json").read_text())
    return str(services["database_url"])
