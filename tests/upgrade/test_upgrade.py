"""Every released schema, populated, becomes today's and answers as it did."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import time_machine
from psycopg import sql

from gateway import access, sealing
from gateway.http import create_app, state
from gateway.running import services
from gateway.settings import load
from schemas import database
from tests import everything
from tests.everything import Place
from tests.journeys.gateway_process import ROOT, until

HERE = Path(__file__).parent
# Of a visitor who touched a hat; all hats are one group, of which since then none is listed.
WITHOUT_OTHER_SIZES = [f"user_to_{kind} {who}" for kind in ("products", "trending")
                       for who in ("a1", "u1")]  # fmt: skip
# By what a list is in order, how much an event counts, and what is typical of all by that; on which
# scale is no promise.
SCALED = frozenset(("_personalization_score", "weight", "typical"))
# Of a visitor of whom something is known: which come first is what a release may know better.
RANKED = ("filtered", "user_to_products")
RELEASES = sorted(path.parent.name for path in HERE.glob("*/database.sql.gz"))
RELEASED = json.loads((HERE / "released.json").read_text())


# migrations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_migration_is_never_edited(name: str) -> None:
    text = (database.MIGRATIONS / f"{name}.sql").read_bytes()
    assert hashlib.sha256(text).hexdigest() == RELEASED[name], "add a new one instead"


def test_no_two_migrations_have_one_number() -> None:
    numbers = [path.name[:4] for path in database.MIGRATIONS.glob("*.sql")]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("path", sorted(database.MIGRATIONS.glob("*.sql")), ids=lambda p: p.stem)
def test_each_migration_says_what_it_locks(path: Path) -> None:
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert "Locks:" in head


# databases of releases --------------------------------------------------------------------------


@dataclass(frozen=True)
class Old:
    """A database as a release left it, and what it answered."""

    url: str
    at: datetime
    place: Place
    answers: dict[str, Any]


@contextmanager
def a_database(template_url: str, name: str) -> Iterator[str]:
    """An empty database on this run's server."""
    server = template_url.replace("/attune?", "/postgres?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield template_url.replace("/attune?", f"/{name}?")
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def empty(template_url: str, worker_name: str) -> Iterator[str]:
    with a_database(template_url, f"old_{worker_name}") as url:
        yield url


@pytest.fixture(params=RELEASES)
def old(
    request: pytest.FixtureRequest,
    empty: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Old:
    """What one release left behind."""
    folder = HERE / request.param
    told = json.loads(gzip.decompress((folder / "told.json.gz").read_bytes()))
    _load(empty, gzip.decompress((folder / "database.sql.gz").read_bytes()))
    for name, value in {
        "DATABASE_URL": empty,
        "REDIS_URL": redis_url,
        "ATTUNE_HOME": str(tmp_path),
        "ATTUNE_SECRET_KEY": told["secret_key"],
    }.items():
        monkeypatch.setenv(name, value)
    sealing.unlock(told["secret_key"])
    access.forget()
    at = datetime.fromisoformat(told["at"])
    return Old(empty, at, Place(**told["place"]), told["answers"])


def _load(url: str, text: bytes) -> None:
    command = [str(services.postgres_binary("psql")), "--quiet", "--set=ON_ERROR_STOP=1", url]
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def upgraded(old: Old) -> Old:
    database.migrate(old.url, at=old.at)
    return old


def test_an_old_database_answers_as_before(upgraded: Old) -> None:
    """More may be told of a thing than there was, nothing less and nothing else."""
    application = create_app(load())
    with time_machine.travel(upgraded.at, tick=False):
        told = everything.ask(application.test_client(), upgraded.place)
    state.of(application).close()
    for name, answer in upgraded.answers.items():
        if name.startswith(RANKED):
            before, now = listed(answer), listed(told[name])
            assert len(now) == len(before) or name in WITHOUT_OTHER_SIZES, name
            assert not any(one.endswith("hat") for one in now if name in WITHOUT_OTHER_SIZES), name
        elif name in WITHOUT_OTHER_SIZES:
            before, now = listed(answer), listed(told[name])
            assert [one for one in before if one in now] == [one for one in now if one in before]
            gone = [one for one in before if one not in now]
            assert gone and all(one.endswith("hat") for one in gone), name
        else:
            assert lacking(answer, told[name]) == [], name


def listed(answer: Any) -> list[str]:
    return [one["product_id"] for one in answer["data"]["products"]]


def lacking(before: Any, now: Any, where: str = "") -> list[str]:
    """Where an answer lacks what it held before, or says something else."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            each
            for name, value in before.items()
            if name not in SCALED
            for each in lacking(value, now.get(name), f"{where}/{name}")
        ]
    if where.endswith(("/interests/tags", "/interests")) and isinstance(now, list):
        # New kinds come, and which tags come first goes by how much events count.
        now = [one for one in now if one["kind"] in {each["kind"] for each in before}]
        before, now = (sorted(each, key=_of_tag) for each in (before, now))
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [each for n, (a, b) in pairs for each in lacking(a, b, f"{where}/{n}")]
    return [] if before == now else [f"{where}: {before!r} became {now!r}"]


def _of_tag(tag: dict[str, Any]) -> tuple[str, str]:
    return tag["kind"], tag["name"]


def test_an_old_database_takes_what_is_new_and_knows_what_it_had(upgraded: Old) -> None:
    application = create_app(load())
    client, place = application.test_client(), upgraded.place
    with time_machine.travel(upgraded.at + timedelta(hours=1), tick=False):
        again = everything.send(client, place, everything.message("a1 0", upgraded.at))
        fresh = everything.message("fresh", upgraded.at, properties={"product_id": "black clock"})
        new = everything.send(client, place, fresh)
        answers = everything.ask(client, place)
    state.of(application).close()
    assert (again["duplicate"], new["applied"]) == (1, 1)
    assert answers["events a1"]["events"][0]["product_ids"] == ["black clock"]
    assert answers["ledger"]["total"]["deliveries"] == 2 + len(
        upgraded.answers["deliveries"]["deliveries"]
    )


@pytest.fixture(scope="module", params=RELEASES)
def brought_up(
    request: pytest.FixtureRequest, template_url: str, worker_name: str
) -> Iterator[str]:
    """The address of an upgraded database that nobody changes."""
    with a_database(template_url, f"up_{worker_name}") as url:
        _load(url, gzip.decompress((HERE / request.param / "database.sql.gz").read_bytes()))
        database.migrate(url)
        yield url


def test_migrating_again_changes_nothing(brought_up: str) -> None:
    assert database.migrate(brought_up) == []


# What tables, views and functions a schema has, down to the last index.
CATALOG = {
    "columns": "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "a.attstorage, a.attstattarget, pg_get_expr(d.adbin, d.adrelid) from pg_class c "
    "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
    "left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum "
    "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') ",
    "indexes": "select c.relname, pg_get_indexdef(i.indexrelid) from pg_index i "
    "join pg_class c on c.oid = i.indrelid where c.relnamespace = 'public'::regnamespace ",
    "constraints": "select c.relname, o.conname, pg_get_constraintdef(o.oid) from pg_constraint o "
    "join pg_class c on c.oid = o.conrelid where c.relnamespace = 'public'::regnamespace "
    "and o.contype <> 'n' ",
}
# Those of the site and of the months are judged by their templates and parents.
COMMON = "and not c.relispartition and c.relname !~ '^(texts|vectors)_[0-9]'"


def catalog(url: str) -> dict[str, set[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        return {
            name: set(connection.execute(f"{query} {COMMON}").fetchall())  # type: ignore[call-overload]
            for name, query in CATALOG.items()
        }


def test_an_old_schema_becomes_the_same_as_a_new_one(brought_up: str, template_url: str) -> None:
    now, new = catalog(brought_up), catalog(template_url)
    for kind, rows in new.items():
        assert now[kind] ^ rows == set(), kind


@pytest.mark.parametrize("template", ["texts", "vectors"])
def test_tables_of_a_site_follow_their_template(brought_up: str, template: str) -> None:
    query = (
        "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull from pg_attribute a "
        "where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped"
    )
    with psycopg.connect(brought_up) as connection:
        tables = connection.execute(
            "select relname from pg_class where relkind = 'r' and relname ~ %s",
            [f"^{template}_[0-9]"],
        ).fetchall()
        expected = connection.execute(query, [f"{template}_template"]).fetchall()
        assert tables
        for (name,) in tables:
            assert connection.execute(query, [name]).fetchall() == expected


# interrupted ------------------------------------------------------------------------------------


@pytest.fixture
def coming(old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of migrations whose last one changes the table of events, and stops on the way
    where lock 7 is held."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in database.MIGRATIONS.glob("*.sql"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "9999_coming.sql").write_text(
        "alter table events add column first int;\n"
        "select pg_advisory_xact_lock(7);\n"
        "alter table events add column second int;\n"
    )
    monkeypatch.setattr(database, "MIGRATIONS", folder)
    monkeypatch.setattr(database, "MIGRATION_LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(database, "MIGRATION_PAUSE_S", 0.05)
    monkeypatch.setattr(database, "MIGRATION_TRIES", 3)
    return folder


def columns(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select attname from pg_attribute where attrelid = 'events'::regclass and attnum > 0"
        )
        return {name for (name,) in rows} & {"first", "second"}


def test_a_migration_does_not_wait_long_behind_a_transaction(old: Old, coming: Path) -> None:
    """Whoever comes later would wait behind it: it steps back, says who stands in the way, and goes
    through afterwards."""
    with psycopg.connect(old.url) as reader:
        reader.execute("select count(*) from events")
        with pytest.raises(database.MigrationBlocked, match=r"9999_coming waits .* end it"):
            database.migrate(old.url, at=old.at)
    assert columns(old.url) == set()
    assert database.migrate(old.url, at=old.at) == ["9999_coming"]
    assert columns(old.url) == {"first", "second"}


@pytest.mark.heavy
def test_a_migration_killed_on_its_way_is_done_by_the_next(old: Old, coming: Path) -> None:
    code = (
        "import sys, pathlib; from schemas import database; "
        f"database.MIGRATIONS = pathlib.Path({str(coming)!r}); database.migrate(sys.argv[1])"
    )
    with closing(database.connect(old.url)) as holder:
        holder.execute("select pg_advisory_lock(7)")
        process = subprocess.Popen([sys.executable, "-c", code, old.url], cwd=ROOT)
        until(lambda: _waits(holder), what="a migration on its way")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        holder.execute("select pg_advisory_unlock(7)")
    assert database.migrate(old.url, at=old.at) == ["9999_coming"]
    assert columns(old.url) == {"first", "second"}


def _waits(connection: database.Connection) -> bool:
    found = connection.execute(
        "select from pg_stat_activity where wait_event = 'advisory' "
        "and datname = current_database() and query like '%%coming%%' or query like '%%second%%'"
        " and pid <> pg_backend_pid()"
    )
    return found.fetchone() is not None
