"""What of the image can be judged without building it."""

from __future__ import annotations

import platform
import re
from fnmatch import fnmatch
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from gateway.__main__ import cli
from gateway.running.supervision import ROOT, procfile

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
COPIED = [
    source
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    for source in line.split()[:-1]
]


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_exists_and_is_sent(source: str) -> None:
    assert (ROOT / source).exists()
    assert f"!{source}" in IGNORED


def test_every_package_of_ours_is_in_the_image() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"}
    assert packages | {"Procfile", "requirements.txt", "demo"} <= set(COPIED)


def test_nothing_private_is_sent() -> None:
    sent = [line[1:] for line in IGNORED if line.startswith("!")]
    for private in (".git", ".attune", ".venv", "secret.key", "docs/x.env"):
        assert not any(fnmatch(private, pattern) for pattern in sent)


def test_it_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE) == ["attune"]


@pytest.mark.parametrize("role", [name for name, _ in procfile(ROOT / "Procfile")])
def test_a_role_that_does_nothing_is_not_alive(
    role: str, clean_database: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "DATABASE_URL": clean_database,
        "REDIS_URL": redis_url,
        "ATTUNE_HOME": str(tmp_path),
        "PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(cli, ["alive", role]).exit_code == 1
    with psycopg.connect(clean_database) as connection:
        connection.execute(
            "insert into heartbeats values (%s, %s, 1, now(), now())", [role, platform.node()]
        )
    alive = CliRunner().invoke(cli, ["alive", role]).exit_code == 0
    assert alive is (role != "web")


def test_a_role_that_does_not_exist_is_named() -> None:
    said = CliRunner().invoke(cli, ["alive", "foo"])
    assert said.exit_code == 1
    assert "there is no role foo: it is one of run, " in said.output
