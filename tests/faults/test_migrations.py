"""Migrating ended at any point, or by two at once: the schema comes out the same.

That a kill in the middle of one migration leaves nothing of it is in `tests/upgrade`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from schemas import database
from tests.journeys.gateway_process import until

AT = datetime.now(UTC)
DAYS = 40
# Held by another session they stop it: at its first migration, between two, and at partitions.
HELD = ("create table sites (held int)", "create table imports (held int)",
        "create table event_keys_07 (held int)")  # fmt: skip

SCHEMA = """
select c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod)
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'public'::regnamespace and a.attnum > 0
union all
select inhparent::regclass::text, 'has', inhrelid::regclass::text,
  pg_get_expr(relpartbound, inhrelid)
from pg_inherits join pg_class on pg_class.oid = inhrelid
union all
select conrelid::regclass::text, contype::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'public'::regnamespace
"""


@pytest.fixture
def empty(template_url: str, worker_name: str) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"empty_{worker_name}"
    server = template_url.replace("/attune?", "/postgres?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield template_url.replace("/attune?", f"/{name}?")
        drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
        connection.execute(drop)


def migrate(url: str) -> list[str]:
    return database.migrate(url, at=AT, events_days=DAYS)


def schema(url: str) -> set[tuple[str, ...]]:
    with closing(database.connect(url)) as connection:
        return set(connection.execute(SCHEMA).fetchall())


def test_migrating_ended_again_and_again_comes_to_the_same(empty: str) -> None:
    for held in HELD:
        end_where_it_waits_for(held, empty)
    migrate(empty)
    found = schema(empty)
    assert migrate(empty) == []
    with psycopg.connect(empty) as connection:
        connection.execute("drop schema public cascade; create schema public")
    migrate(empty)
    assert schema(empty) == found


def end_where_it_waits_for(held: str, url: str) -> None:
    """Postgres ends the session, as a restart, a failover or somebody's kill does."""
    with (
        psycopg.connect(url) as holder,
        closing(database.connect(url)) as watcher,
        ThreadPoolExecutor(1) as thread,
    ):
        holder.execute(held)
        going = thread.submit(migrate, url)
        waits = (
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and wait_event_type = 'Lock'"
        )
        until(lambda: watcher.execute(waits).fetchall() or going.done(), what="a wait")
        with pytest.raises(psycopg.OperationalError):
            going.result()
        holder.rollback()


def test_two_that_migrate_at_once_do_it_once(empty: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        done = sorted(threads.map(migrate, [empty, empty]))
    assert done == [[], sorted(path.stem for path in database.MIGRATIONS.glob("*.sql"))]
