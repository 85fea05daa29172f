"""`python -m gateway`: sentences instead of tracebacks, and no module loaded for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from gateway.__main__ import COMMANDS
from gateway.settings import TABLE

ROOT = Path(__file__).parent.parent.parent


def _say(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_where_the_table_says(name: str) -> None:
    found = import_module(COMMANDS[name]).COMMANDS

    assert name in {command.name for command in found}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does(name: str) -> None:
    [command] = [one for one in import_module(COMMANDS[name]).COMMANDS if one.name == name]

    assert command.help


def test_a_bad_setting_is_one_sentence() -> None:
    said = _say("-m", "gateway", "settings", PORT="http")

    assert said.returncode == 2
    assert said.stderr == "attune: PORT is 'http': not a valid integer\n"


def test_settings_as_json_hide_secrets() -> None:
    said = _say("-m", "gateway", "settings", "--json", DATABASE_URL="postgresql://u:p4ss@db/x")

    rows = json.loads(said.stdout)["settings"]
    assert [row["name"] for row in rows] == [setting.name for setting in TABLE]
    assert "p4ss" not in said.stdout


def test_settings_are_shown_whole_in_a_narrow_terminal() -> None:
    home = "/var/lib/" + "attune/" * 12
    said = _say("-m", "gateway", "settings", COLUMNS="80", ATTUNE_HOME=home)

    assert home.rstrip("/") in said.stdout
    assert all(setting.doc in said.stdout for setting in TABLE)


def test_the_web_role_loads_no_model() -> None:
    code = "import gateway.commands.roles, sys; print('torch' in sys.modules)"

    assert _say("-c", code).stdout == "False\n"
