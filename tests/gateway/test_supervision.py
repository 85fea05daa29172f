"""The supervisor's configuration as made from the Procfile, and the servers it is given."""

from __future__ import annotations

import shutil
import socket
from configparser import RawConfigParser
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.running import services, supervision
from gateway.settings import Settings, load


@pytest.fixture
def current(tmp_path: Path) -> Settings:
    (tmp_path / "run").mkdir()
    return replace(load(find_services=False), home=tmp_path, database_url="", redis_url="")


def _configuration(current: Settings, embedded: list[services.Service]) -> RawConfigParser:
    parsed = RawConfigParser()
    programs = supervision.programs(current, embedded)
    parsed.read_string(supervision.configuration(current, programs))
    return parsed


def _a_service(name: str) -> services.Service:
    return services.Service(name, [f"/bin/{name}", "a b"], f"{name}://")


def test_services_start_before_roles_and_roles_before_the_demo(current: Settings) -> None:
    made = _configuration(current, [_a_service("postgres"), _a_service("redis")])

    order = ["postgres", "redis", "migrate", "web", "demo"]
    priorities = [int(made[f"program:{name}"]["priority"]) for name in order]
    assert priorities == sorted(priorities)
    assert int(made["group:gateway"]["priority"]) > int(made["program:redis"]["priority"])


def test_the_roles_are_those_of_the_procfile(current: Settings) -> None:
    made = _configuration(current, [])

    programs = made["group:gateway"]["programs"].split(",")
    assert programs == [
        "migrate",
        "web",
        "worker",
        "encoder",
        "trainer",
        "clock",
        "demo",
        "announce",
    ]


def test_postgres_is_stopped_by_int_since_term_waits_for_clients(current: Settings) -> None:
    assert _configuration(current, [_a_service("postgres")])["program:postgres"]["stopsignal"] == (
        "INT"
    )


def test_without_the_demo_nothing_loads_it(current: Settings) -> None:
    made = _configuration(replace(current, demo=False), [])

    assert "program:demo" not in made


def test_a_percent_sign_in_a_path_survives(current: Settings) -> None:
    service = services.Service("redis", ["/50%/redis-server"], "")

    command = _configuration(current, [service])["program:redis"]["command"]
    assert "/50%%/redis-server" in command


def test_no_credentials_are_written(current: Settings) -> None:
    with_secrets = replace(current, database_url="postgresql://u:p4ss@db/x", secret_key="k3y")

    text = supervision.configuration(with_secrets, supervision.programs(with_secrets, []))
    assert "p4ss" not in text
    assert "k3y" not in text


def test_a_port_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "PORT_WAIT_S", 0)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(supervision.CannotStart, match=f"port {port} is in use"):
            supervision.wait_for_port(port)


def test_short_homes_keep_their_sockets(tmp_path: Path) -> None:
    home = Path("/srv/attune")

    assert services.sockets_folder(home) == home / "run"


def test_long_homes_get_a_private_folder_of_their_own(tmp_path: Path) -> None:
    first, second = (services.sockets_folder(tmp_path / name / ("x" * 100)) for name in "ab")

    assert first != second
    assert first.stat().st_mode & 0o066 == 0
    for folder in (first, second):
        shutil.rmtree(folder)


def test_a_folder_put_there_by_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    folder = services.sockets_folder(tmp_path / ("x" * 100))
    folder.rmdir()
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(services.ServicesUnusable, match="belongs to somebody else"):
            services.sockets_folder(tmp_path / ("x" * 100))
    finally:
        folder.unlink()


def test_a_cluster_of_another_major_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("12\n")
    (tmp_path / "run").mkdir()

    with pytest.raises(services.ServicesUnusable, match="made by PostgreSQL 12"):
        services.postgres(tmp_path)
