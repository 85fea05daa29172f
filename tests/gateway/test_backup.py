"""A backup put back answers as if nothing had happened; anything else is refused by name."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import time_machine
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet
from psycopg import sql

from gateway import access, archive, backup, sealing
from gateway.__main__ import cli
from gateway.http import create_app, state
from gateway.settings import Settings, load
from schemas import database
from tests import everything
from tests.conftest import SECRET_KEY
from tests.everything import Place
from tests.journeys.gateway_process import ROOT, until

NOW = datetime.now(UTC)


@pytest.fixture
def place(clean_database: str, environment: dict[str, str]) -> Place:
    """A new shop in this process's database."""
    access.forget()
    sealing.unlock(SECRET_KEY)
    with closing(database.connect(clean_database)) as connection:
        return everything.open_shop(connection)


@pytest.fixture
def filled(place: Place, clean_database: str, app_settings: Settings) -> Place:
    """A shop with something of everything."""
    application = create_app(app_settings)
    with (
        closing(database.connect(clean_database)) as connection,
        time_machine.travel(NOW, tick=False),
    ):
        everything.fill(application.test_client(), place, NOW)
        everything.work(connection, NOW)
    state.of(application).close()
    return place


def answers(place: Place) -> dict[str, Any]:
    """Of the database that DATABASE_URL names, asked at one instant."""
    access.forget()
    application = create_app(load())
    try:
        with time_machine.travel(NOW, tick=False):
            return everything.ask(application.test_client(), place)
    finally:
        state.of(application).close()


@pytest.fixture
def other(clean_database: str, worker_name: str) -> Iterator[str]:
    """An empty database on the same server."""
    name = f"other_{worker_name}"
    server = clean_database.replace(f"/test_{worker_name}?", "/postgres?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield clean_database.replace(f"/test_{worker_name}?", f"/{name}?")
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def file(place: Place, tmp_path: Path) -> Path:
    """A backup of the shop, filled if `filled` is asked for first."""
    made = tmp_path / "shop.backup"
    assert say("backup", str(made)).exit_code == 0
    return made


def say(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def refused(*arguments: str) -> str:
    said = say(*arguments)
    assert said.exit_code == 1, said.output
    return " ".join(said.output.split())


def tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        [count] = connection.execute(
            "select count(*) from pg_class where relnamespace = 'public'::regnamespace "
            "and relkind in ('r', 'p', 'v')"
        ).fetchone() or (0,)
    return int(count)


# there and back ---------------------------------------------------------------------------------


def test_a_restored_database_gives_the_same_answers(
    filled: Place, file: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(filled)
    monkeypatch.setenv("DATABASE_URL", other)
    said = say("restore", str(file), "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["sites"] == ["shop"]
    after = answers(filled)
    for name, answer in before.items():
        assert after[name] == answer, name
    assert len(after["user_to_products a1"]["data"]["products"]) == 20


def test_what_was_sent_before_the_backup_counts_once_after_it(
    filled: Place, file: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", other)
    say("restore", str(file))
    access.forget()
    application = create_app(load())
    again = everything.message("a1 0", NOW)
    assert everything.send(application.test_client(), filled, again)["duplicate"] == 1
    assert (
        everything.send(application.test_client(), filled, again | {"messageId": "n"})["applied"]
        == 1
    )
    state.of(application).close()


def test_a_backup_is_of_one_instant(place: Place, clean_database: str, tmp_path: Path) -> None:
    """Whatever is written while it is made is in it whole or not at all: it is in none of it."""
    made = tmp_path / "a.backup"

    def told(what: str, done: int, total: int) -> None:
        with psycopg.connect(clean_database) as connection:
            connection.execute(
                "insert into sites (name, pepper) values (%s, '')", [f"{what}{done}"]
            )

    report = backup.make(load(), made, told)
    assert report.manifest.sites == ["shop"]


def test_a_backup_is_nobody_elses_to_read(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(file.parent.glob("*.partial"))


# refused ----------------------------------------------------------------------------------------


def test_a_database_with_a_site_in_it_is_not_overwritten(file: Path) -> None:
    assert "not empty, it holds 1 site (shop)" in refused("restore", str(file))


@pytest.mark.heavy
def test_but_replaced_when_told_so(filled: Place, file: Path, clean_database: str) -> None:
    before = answers(filled)
    with psycopg.connect(clean_database) as connection:
        connection.execute("delete from events")
    said = say("restore", str(file), "--replace")
    assert said.exit_code == 0, said.output
    assert answers(filled) == before


def test_tables_of_somebody_else_are_left_alone(
    file: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(other) as connection:
        connection.execute("create table theirs (one int)")
    monkeypatch.setenv("DATABASE_URL", other)
    assert "not Attune's" in refused("restore", str(file), "--replace")


def test_not_under_a_gateway_at_work(file: Path, clean_database: str) -> None:
    with psycopg.connect(clean_database) as connection:
        connection.execute("insert into heartbeats values ('worker', 'host7', 12, now(), now())")
    assert "worker on host7, pid 12" in refused("restore", str(file), "--replace")


@pytest.mark.parametrize("where", [0.3, 0.99])
def test_a_damaged_file_changes_nothing(
    file: Path, other: str, monkeypatch: pytest.MonkeyPatch, where: float
) -> None:
    data = bytearray(file.read_bytes())
    data[int(len(data) * where)] ^= 1
    file.write_bytes(data)
    monkeypatch.setenv("DATABASE_URL", other)
    assert str(file) in refused("restore", str(file))
    assert tables(other) == 0


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_cut_file_changes_nothing(
    file: Path, other: str, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    monkeypatch.setenv("DATABASE_URL", other)
    assert "its end is missing" in refused("restore", str(file))
    assert tables(other) == 0


def test_a_backup_of_a_newer_version_is_refused(file: Path, other: str, tmp_path: Path) -> None:
    manifest = archive.manifest(file)
    manifest.migrations.append("9999_later")
    manifest.version = "9.0.0"
    archive.seal(file, manifest, lambda done, total: None)
    assert "newer" in refused("restore", str(file))
    assert "9999_later" in refused("restore", str(file), "--check")


def test_another_secret_key_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_SECRET_KEY", Fernet.generate_key().decode())
    assert "ATTUNE_SECRET_KEY is not the secret key" in refused("restore", str(file))


def test_a_missing_secret_key_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATTUNE_SECRET_KEY")
    assert "secret key" in refused("restore", str(file), "--check")
    assert not (tmp_path / "secret.key").exists()
    assert say("restore", str(file), "--check", "--without-secrets").exit_code == 0


def test_a_secret_key_may_travel_in_the_file(
    place: Place, tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "with.backup"
    assert say("backup", str(made), "--with-secret-key").exit_code == 0
    monkeypatch.delenv("ATTUNE_SECRET_KEY")
    monkeypatch.setenv("DATABASE_URL", other)
    assert say("restore", str(made)).exit_code == 0
    assert (tmp_path / "secret.key").read_text().strip() == SECRET_KEY
    assert "cannot be opened" not in say("keys", "list", "shop").output


def test_a_backup_with_a_key_that_opens_nothing_is_refused(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTUNE_SECRET_KEY", Fernet.generate_key().decode())
    assert "does not open" in refused("backup", str(tmp_path / "a.backup"))
    assert not list(tmp_path.glob("a.backup*"))


def test_an_empty_home_is_not_made_an_installation(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    assert "there is no installation in" in refused("backup", str(tmp_path / "a.backup"))
    assert not (tmp_path / "postgres").exists()


def test_a_file_that_exists_is_not_overwritten(file: Path) -> None:
    before = file.read_bytes()
    assert "exists" in refused("backup", str(file))
    assert file.read_bytes() == before


# killed -----------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_killed_restore_has_changed_nothing(
    filled: Place,
    file: Path,
    other: str,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At whatever it was: an event trigger holds it up after so many tables."""
    before = answers(filled)
    monkeypatch.setenv("DATABASE_URL", other)
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(7)")
        connection.execute(
            "create schema hold; create function hold.hold() returns event_trigger "
            "language plpgsql "
            "as $$ begin if exists (select from pg_class where relname = 'events_actor') then "
            "perform pg_advisory_xact_lock_shared(7); end if; end $$; "
            "create event trigger hold on ddl_command_end execute function hold.hold()"
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "restore", str(file)], cwd=ROOT
        )
        until(lambda: waiting(connection), what="the restore held up")
        process.send_signal(signal.SIGKILL)
        process.wait()
        connection.execute("select pg_advisory_unlock(7)")
        until(lambda: not others(connection), what="the end of psql")
        connection.execute("drop event trigger hold; drop schema hold cascade")
    assert tables(other) == 0
    assert say("restore", str(file)).exit_code == 0
    assert answers(filled) == before


def waiting(connection: database.Connection) -> bool:
    return others(connection, "and wait_event = 'advisory'")


def others(connection: database.Connection, which: str = "") -> bool:
    found = connection.execute(
        "select from pg_stat_activity where datname = current_database() "  # type: ignore[arg-type]
        f"and pid <> pg_backend_pid() and application_name = 'psql' {which}"
    )
    return found.fetchone() is not None
