"""The systemd units: one a role, that systemd accepts, and that give a stop as long as it needs."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.__main__ import cli
from gateway.http import __file__ as http
from gateway.running import units
from gateway.running.supervision import ROLE_STOP_WAIT_S, ROOT, procfile

ROLES = [name for name, _ in procfile(ROOT / "Procfile")]


def place(tmp_path: Path, name: str = "home") -> units.Place:
    home = tmp_path / name
    home.mkdir(exist_ok=True)
    return units.Place("daemon", home, tmp_path / "attune.env")


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("role", ROLES)
def test_each_role_of_the_procfile_has_a_unit(tmp_path: Path, role: str) -> None:
    files = units.of_roles(place(tmp_path))
    service = read(files[f"attune-{role}.service"])
    assert service["Service"]["ExecStart"].endswith(f"/python -m gateway {role}")
    assert f"attune-{role}.service" in read(files[units.TARGET])["Unit"]["Wants"]


def test_a_stop_takes_as_long_as_gunicorn_and_supervisor_allow(tmp_path: Path) -> None:
    config = (Path(http).parent / "gunicorn.py").read_text(encoding="utf-8")
    graceful = int(config.split("graceful_timeout = ")[1].split()[0])
    for role in ROLES:
        service = read(units.of_roles(place(tmp_path))[f"attune-{role}.service"])["Service"]
        assert int(service["TimeoutStopSec"]) == ROLE_STOP_WAIT_S > graceful


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
@pytest.mark.parametrize("name", ["home", 'a home 100% "mine" $HOME'], ids=["plain", "odd"])
@pytest.mark.parametrize("kind", [units.of_roles, units.embedded], ids=["roles", "embedded"])
def test_systemd_accepts_them(tmp_path: Path, kind: object, name: str) -> None:
    files = kind(place(tmp_path, name))  # type: ignore[operator]
    folder = tmp_path / "units"
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, folder.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "attune" in line] == []


def test_the_command_writes_them_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "home"))
    said = CliRunner().invoke(cli, ["units", str(tmp_path / "made"), "--user", "attune"])
    assert said.exit_code == 0, said.output
    assert "systemctl enable --now attune.target" in said.output
    written = (tmp_path / "made" / "attune-web.service").read_text()
    assert f"ATTUNE_HOME={tmp_path / 'home'}" in written
    assert "User=attune" in written


def test_one_layout_takes_the_place_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "made"
    assert "ATTUNE_SECRET_KEY" in CliRunner().invoke(cli, ["units", str(folder)]).output
    (folder / "attune-proxy.service").write_text("[Unit]\nDescription=Not ours\n")
    said = CliRunner().invoke(cli, ["units", str(folder), "--embedded"])
    assert "attune-web.service" in said.output
    assert {path.name for path in folder.iterdir()} == {"attune.service", "attune-proxy.service"}
