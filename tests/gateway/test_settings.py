"""Settings: what the environment says, what a running gateway adds, what is refused and how."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from gateway import home as homes
from gateway import settings
from gateway.__main__ import cli
from gateway.settings import TABLE, BadSetting, MissingServices, Settings, load

SERVICES = {"DATABASE_URL": "postgresql://db/attune", "REDIS_URL": "redis://cache"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for setting in TABLE:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "home"))
    return monkeypatch


def _running(home: Path, **changed: object) -> homes.Running:
    values = {
        "database_url": "postgresql:///own",
        "redis_url": "unix:///own.sock",
        "port": 9000,
        "public_url": "https://own.example",
        "secret_key": Fernet.generate_key().decode(),
        "pid": os.getpid(),
    }
    running = homes.Running(**(values | changed))  # type: ignore[arg-type]
    homes.make(home)
    homes.publish(home, running)
    return running


def test_every_field_has_one_row_in_the_table() -> None:
    assert [setting.field for setting in TABLE] == [field.name for field in fields(Settings)]


def test_defaults_without_any_environment() -> None:
    found = load(find_services=False)

    assert (found.port, found.demo, found.web_concurrency) == (8080, True, 3)
    assert found.public_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("10.1.2.3", "http://10.1.2.3:8080"),
        ("fd00::1", "http://[fd00::1]:8080"),
    ],
)
def test_this_machine_reaches_the_web_role_wherever_it_listens(
    environment: pytest.MonkeyPatch, bind: str, url: str
) -> None:
    environment.setenv("BIND", bind)

    assert load(find_services=False).local_url == url


def test_an_empty_variable_counts_as_absent(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "")

    assert load(find_services=False).port == 8080


def test_the_public_url_has_no_slash_at_its_end(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PUBLIC_URL", "https://attune.example/")

    assert load(find_services=False).public_url == "https://attune.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("BIND", "127.0.0.1:8080/x"),
        ("ATTUNE_DEMO", "perhaps"),
        ("PUBLIC_URL", "attune.example"),
        ("DATABASE_URL", "mysql://x"),
        ("REDIS_URL", "localhost"),
        ("TRUSTED_PROXIES", "-1"),
        ("LOG_LEVEL", "loud"),
        ("WEB_CONCURRENCY", "0"),
        ("RETENTION_EVENTS_DAYS", "forever"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)

    with pytest.raises(BadSetting, match=f"^{name}"):
        load(find_services=False)


def test_a_bad_secret_is_not_repeated(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ATTUNE_SECRET_KEY", "hunter2")

    with pytest.raises(BadSetting) as refused:
        load(find_services=False)
    assert "hunter2" not in str(refused.value)


def test_a_running_gateway_supplies_what_is_not_set(tmp_path: Path) -> None:
    running = _running(tmp_path / "home")

    found = load()
    assert found.database_url == running.database_url
    assert found.secret_key == running.secret_key
    assert (found.port, found.public_url) == (9000, "https://own.example")


def test_the_settings_shown_are_those_in_force(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _running(tmp_path / "home")
    environment.setenv("PUBLIC_URL", "https://mine.example")

    listed = json.loads(CliRunner().invoke(cli, ["settings", "--json"]).stdout)["settings"]
    told = {row["name"]: (row["value"], row["source"]) for row in listed}
    assert told["PORT"] == (9000, "running gateway")
    assert told["PUBLIC_URL"] == ("https://mine.example", "environment")
    assert told["DATABASE_URL"] == ("(set)", "running gateway")
    assert told["WEB_CONCURRENCY"] == (3, "default")


def test_a_switch_is_shown_as_it_is_set() -> None:
    said = CliRunner().invoke(cli, ["settings"]).stdout
    lines = {line.split()[0]: line.split()[1] for line in said.splitlines()}
    assert (lines["ATTUNE_DEMO"], lines["TRACING"]) == ("1", "0")


def test_the_environment_beats_a_running_gateway(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _running(tmp_path / "home")
    environment.setenv("REDIS_URL", "redis://other")

    assert load().redis_url == "redis://other"


def test_a_gateway_that_has_ended_supplies_nothing(tmp_path: Path) -> None:
    _running(tmp_path / "home", pid=2**22 + 1)

    with pytest.raises(MissingServices, match="make run"):
        load()


def test_named_services_need_no_running_gateway(environment: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES.items():
        environment.setenv(name, value)

    assert load().database_url == SERVICES["DATABASE_URL"]


def test_a_secret_key_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    first = settings.secret_key(tmp_path)

    assert settings.secret_key(tmp_path) == first
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    Fernet(first)


def test_a_damaged_secret_key_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("half a k")

    with pytest.raises(BadSetting, match="backup"):
        settings.secret_key(tmp_path)


def test_credentials_are_published_to_the_owner_only(tmp_path: Path) -> None:
    _running(tmp_path)

    path = tmp_path / "run" / "services.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["port"] == 9000


def test_a_home_has_one_holder(tmp_path: Path) -> None:
    homes.make(tmp_path)
    held = homes.hold(tmp_path)

    with pytest.raises(homes.AlreadyRuns, match=f"pid {os.getpid()}"):
        homes.hold(tmp_path, wait_s=0)
    os.close(held)
    os.close(homes.hold(tmp_path, wait_s=0))
