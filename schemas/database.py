"""Connections, named SQL statements and migrations: all that touches Postgres starts here."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

import msgspec
import psycopg
import structlog
from pgvector import HalfVector, Vector
from pgvector.psycopg.halfvec import (
    HalfVectorBinaryDumper,
    HalfVectorBinaryLoader,
    HalfVectorDumper,
    HalfVectorLoader,
)
from pgvector.psycopg.vector import (
    VectorBinaryDumper,
    VectorBinaryLoader,
    VectorDumper,
    VectorLoader,
)
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.types import TypeInfo
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from schemas import tracing
from schemas.errors import AttuneError

Connection = psycopg.Connection[Any]

MIGRATIONS = Path(__file__).parent / "migrations"
EVENT_KEY_PARTITIONS = 16
MINIMUM_POSTGRES = 150000
MINIMUM_PGVECTOR = (0, 8, 4)
EVENTS_DAYS = 400
DELIVERIES_DAYS = 30
ANSWERS_DAYS = 90
MIGRATION_LOCK = 0x4154_5455  # any constant: one migration at a time per database
# While a migration waits for a table, everybody else waits behind it: it gives up soon, and tries
# again later.
MIGRATION_LOCK_TIMEOUT = "2s"
MIGRATION_PAUSE_S = 3.0
MIGRATION_TRIES = 12

# What each kind of connection sets for itself, so that a managed Postgres needs no settings.
SERVING_OPTIONS = (
    "-c jit=off -c random_page_cost=1.1 -c statement_timeout=2000 -c synchronous_commit=off "
    "-c hnsw.ef_search=200 -c hnsw.iterative_scan=relaxed_order"
)
INGEST_OPTIONS = "-c jit=off -c lock_timeout=2000 -c statement_timeout=60000"

RECONNECT_S = 2.0
LONGEST_TOLD = 300  # characters of a statement in a log
MOST_FILLED = 2_000  # statements of one file

log = structlog.get_logger(__name__)

_PARAMETER = re.compile(r"%\((\w+)\)s")
_NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class NotMigrated(AttuneError):
    """The database lacks migrations this version needs: run `python -m gateway migrate`."""


class MigrationBlocked(AttuneError):
    """A transaction of somebody else holds a table that a migration changes."""


class TooOld(AttuneError):
    """Postgres or pgvector is older than Attune supports."""


@dataclass(frozen=True)
class Queries:
    """The named statements of one .sql file, as attributes."""

    path: Path
    statements: dict[str, str]
    _filled: dict[Hashable, bytes] = field(default_factory=dict, repr=False, compare=False)

    def __getattr__(self, name: str) -> str:
        try:
            return self.statements[name]
        except KeyError:
            raise AttributeError(f"{self.path} has no statement named {name}") from None

    def fill(self, name: str, **slots: sql.Composable) -> sql.Composed:
        """The statement with its {slots} filled by identifiers or composed SQL, never by text."""
        return sql.SQL(self.statements[name]).format(**slots)  # type: ignore[arg-type]

    def filled(
        self, name: str, key: Hashable, slots: Callable[[], Mapping[str, sql.Composable]]
    ) -> bytes:
        """`fill`, once for each key, which tells all its slots apart: to compose the same statement
        again costs more than to send it."""
        known = self._filled.get((name, key))
        if known is None:
            if len(self._filled) >= MOST_FILLED:
                self._filled.clear()
            known = self._filled[name, key] = self.fill(name, **slots()).as_bytes()
        return known


@dataclass(frozen=True)
class Prepared:
    """A statement in Postgres's own form ($1, $2 …): psycopg converts one of over 4,096 characters
    anew at each call, which costs more than running some."""

    text: bytes
    names: tuple[str, ...]
    called: str = "prepared"

    def execute(self, connection: Connection, parameters: dict[str, Any]) -> psycopg.Cursor[Any]:
        values = [parameters[name] for name in self.names]
        with tracing.span(f"sql {self.called}"):
            try:
                return psycopg.RawCursor(connection).execute(self.text, values)
            except psycopg.errors.QueryCanceled:
                _tell_cancelled(self.text)
                raise


def prepared(statement: sql.Composable, called: str = "prepared") -> Prepared:
    """A statement with `%(name)s` parameters, converted once; traces call it by its name."""
    text = statement.as_string(None)
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    numbered = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", text)
    return Prepared(numbered.replace("%%", "%").encode(), names, called)


def queries(module_file: str) -> Queries:
    """Load the .sql that lies beside a module: `SQL = queries(__file__)`.

    A statement starts at a line `-- name: some_name`; parameters are `%(name)s`, optional parts
    are `{slots}`.
    """
    path = Path(module_file).with_suffix(".sql")
    parts = _NAMED.split(path.read_text(encoding="utf-8"))
    names = parts[1::2]
    made = Queries(path, dict(zip(names, (body.strip() for body in parts[2::2]), strict=True)))
    _named.update({text: f"{path.stem}.{name}" for name, text in made.statements.items()})
    return made


def connect(url: str, *, autocommit: bool = True, options: str = "") -> Connection:
    """One connection outside any pool, with vectors registered if the extension is there."""
    connection = psycopg.connect(
        url, autocommit=autocommit, options=_options(url, options), cursor_factory=_cursors()
    )
    _register_vectors(connection)
    if not autocommit:
        connection.commit()
    return connection


# How Python's types of vectors are written and read, by the name of Postgres's.
VECTORS: dict[str, Any] = {
    "vector": (
        (Vector, "numpy.ndarray"),
        (VectorDumper, VectorBinaryDumper),
        (VectorLoader, VectorBinaryLoader),
    ),
    "halfvec": (
        (HalfVector,),
        (HalfVectorDumper, HalfVectorBinaryDumper),
        (HalfVectorLoader, HalfVectorBinaryLoader),
    ),
}
VECTOR_TYPES = """
select to_regtype(name)::oid::int8, to_regtype(name || '[]')::oid::int8
from unnest(%s::text[]) with ordinality as t(name, n) order by n
"""


def _register_vectors(connection: Connection) -> bool:
    """Let a connection take vectors, as pgvector's `register_vector` does; False where its database
    has none yet. That one makes classes for each connection, and psycopg keeps them (24 KB)."""
    found = connection.execute(VECTOR_TYPES, [list(VECTORS)]).fetchall()
    if (None, None) in found:
        return False
    adapters = connection.adapters
    for (name, (types, dumpers, loaders)), (oid, array_oid) in zip(
        VECTORS.items(), found, strict=True
    ):
        TypeInfo(name, oid, array_oid).register(connection)
        for dumper in dumpers:
            for each in types:
                adapters.register_dumper(each, _of_type(dumper, oid))
        for loader in loaders:
            adapters.register_loader(oid, loader)
    return True


@cache
def _of_type(dumper: type[Dumper], oid: int) -> type[Dumper]:
    """A dumper that says which type it writes, the same one for every connection."""
    return type(dumper.__name__, (dumper,), {"oid": oid})


def dicts(cursor: psycopg.Cursor[Any]) -> list[dict[str, Any]]:
    """The rows of a cursor by the names of its columns."""
    names = [column.name for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor]


class Cursor(psycopg.Cursor[Any]):
    """Says of a statement that took too long how it begins: it may hold kilobytes of filters."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        try:
            return super().execute(query, params, **options)
        except psycopg.errors.QueryCanceled:
            _tell_cancelled(query)
            raise


def _tell_cancelled(query: Any) -> None:
    text = query.as_string(None) if isinstance(query, sql.Composable) else query
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    log.warning("a statement took too long", statement=text[:LONGEST_TOLD])


class TracedCursor(Cursor):
    """A span for each statement, named as in its .sql file; never its parameters."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        name = _named.get(query) if isinstance(query, str) else None
        with tracing.span(f"sql {name or 'statement'}"):
            return super().execute(query, params, **options)


_named: dict[str, str] = {}  # what the statements of all .sql files are called


def _cursors() -> type[psycopg.Cursor[Any]]:
    return TracedCursor if tracing.is_on() else Cursor


def open_pool(
    url: str,
    *,
    size: int,
    options: str,
    name: str,
    prepare: Callable[[Connection], None] | None = None,
) -> ConnectionPool[Connection]:
    """A pool of autocommit connections; a caller waits at most 2 s for one (then PoolTimeout).
    `prepare` is called with each new one.

    It gives a reconnection up soon, since the next caller starts a new one: psycopg_pool's own
    waits double, so after a minute without Postgres it would be away for half a minute more.
    """

    def configure(connection: Connection) -> None:
        if not _register_vectors(connection):
            raise psycopg.ProgrammingError("vector type not found in the database")
        if prepare is not None:
            prepare(connection)

    return ConnectionPool(
        url,
        min_size=1,
        max_size=size,
        timeout=2.0,
        max_idle=300.0,
        reconnect_timeout=RECONNECT_S,
        name=name,
        kwargs={
            "autocommit": True,
            "options": _options(url, options),
            "cursor_factory": _cursors(),
        },
        configure=configure,
        check=None,
        open=True,
    )


def jsonb(value: Any) -> Jsonb:
    """A value as ONE jsonb parameter: psycopg dumps lists into arrays at 8-10 us an element, four
    times the cost of jsonb_to_recordset."""
    return Jsonb(value, dumps=_dumps)


def _dumps(value: Any) -> bytes:
    return _encoder.encode(value)


_encoder = msgspec.json.Encoder()


def _options(url: str, options: str) -> str:
    """A URL's own `options` would be overridden by ours: keep both."""
    own = psycopg.conninfo.conninfo_to_dict(url).get("options") or ""
    return f"{own} {options}".strip()


# migrations ------------------------------------------------------------------------------------


def migrate(url: str, *, at: datetime | None = None, events_days: int = EVENTS_DAYS) -> list[str]:
    """Apply what is missing, oldest first, each in its own transaction; returns their names.

    Partitions are made for events of the last `events_days`, and ahead. Safe to
    interrupt and to run twice at once: the lock is Postgres's and dies with us.
    """
    with connect(url) as connection:
        _check_versions(connection)
        connection.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            applied = [_apply_soon(connection, path) for path in pending(connection)]
            make_partitions(connection, at=at or datetime.now(UTC), events_days=events_days)
        finally:
            connection.execute("select pg_advisory_unlock(%s)", [MIGRATION_LOCK])
    return applied


def pending(connection: Connection) -> list[Path]:
    """The migrations not yet applied, in order."""
    connection.execute(
        "create table if not exists migrations "
        "(name text primary key, applied_at timestamptz not null default now())"
    )
    return _not_applied(connection)


def is_ready(connection: Connection) -> bool:
    """Whether every migration has been applied; changes nothing."""
    return _exists(connection, "migrations") and not _not_applied(connection)


def _not_applied(connection: Connection) -> list[Path]:
    done = {row[0] for row in connection.execute("select name from migrations")}
    return [path for path in sorted(MIGRATIONS.glob("*.sql")) if path.stem not in done]


def wait_until_ready(url: str, timeout_s: float = 30.0) -> None:
    """Return when Postgres answers and is migrated; NotMigrated after the timeout."""
    deadline = time.monotonic() + timeout_s
    reason = "it did not answer"
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
                if is_ready(connection):
                    return
                reason = "migrations are pending; run `python -m gateway migrate`"
        except psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[0]
        time.sleep(0.2)
    raise NotMigrated(f"Postgres was not ready within {timeout_s:.0f} s: {reason}")


def _apply_soon(connection: Connection, path: Path) -> str:
    for _ in range(MIGRATION_TRIES - 1):
        try:
            return _apply(connection, path)
        except psycopg.errors.LockNotAvailable:
            time.sleep(MIGRATION_PAUSE_S)
    try:
        return _apply(connection, path)
    except psycopg.errors.LockNotAvailable:
        raise MigrationBlocked(
            f"{path.stem} waits for a table that a long transaction holds{_longest(connection)}: "
            "end it (a backup, a report, an idle session) and run `python -m gateway migrate` again"
        ) from None


def _longest(connection: Connection) -> str:
    row = connection.execute(
        "select pid, application_name, date_trunc('second', clock_timestamp() - xact_start)::text "
        "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
        "and xact_start is not null order by xact_start limit 1"
    ).fetchone()
    return f" (the oldest here: pid {row[0]} {row[1]}, for {row[2]})" if row else ""


def _apply(connection: Connection, path: Path) -> str:
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', %s, true)", [MIGRATION_LOCK_TIMEOUT])
        connection.execute(path.read_text(encoding="utf-8"))  # type: ignore[arg-type]
        connection.execute(
            "insert into migrations (name) values (%s)",
            [path.stem],
        )
    return path.stem


def _exists(connection: Connection, table: str) -> bool:
    """In the current schema only: a scratch schema must not find the tables behind it."""
    row = connection.execute(
        "select exists (select from pg_class where relname = %s "
        "and relnamespace = current_schema()::regnamespace)",
        [table],
    ).fetchone()
    return bool(row and row[0])


def _check_versions(connection: Connection) -> None:
    if connection.info.server_version < MINIMUM_POSTGRES:
        raise TooOld(
            f"PostgreSQL {connection.info.server_version // 10000} is too old: 15 or newer"
        )
    row = connection.execute(
        "select default_version from pg_available_extensions where name = 'vector'"
    ).fetchone()
    if row is None:
        raise TooOld("this Postgres has no pgvector: install pgvector 0.8.4 or newer")
    if tuple(int(part) for part in row[0].split(".")) < MINIMUM_PGVECTOR:
        raise TooOld(f"pgvector {row[0]} is too old: 0.8.4 or newer")


# partitions ------------------------------------------------------------------------------------

MONTHLY = ("events", "answers")
WEEKLY = ("deliveries", "delivery_problems")


def make_partitions(
    connection: Connection,
    *,
    at: datetime,
    events_days: int = EVENTS_DAYS,
    deliveries_days: int = DELIVERIES_DAYS,
    answers_days: int = ANSWERS_DAYS,
    months_ahead: int = 2,
) -> list[str]:
    """Make the partitions of as many days before `at` as each kind is kept, and of two months
    after it.

    Each is created apart and attached (SHARE UPDATE EXCLUSIVE on the parent, so serving goes on);
    rerunning continues where an interrupted run stopped. Returns the names made.
    """
    last = (at + timedelta(days=31 * months_ahead)).date()
    made = []
    for number in range(EVENT_KEY_PARTITIONS):
        made += _partition(
            connection,
            "event_keys",
            f"event_keys_{number:02}",
            sql.SQL("with (modulus {}, remainder {})").format(EVENT_KEY_PARTITIONS, number),
        )
    for parent, days in (("events", events_days), ("answers", answers_days)):
        for start, end in _months((at - timedelta(days=days)).date(), last):
            made += _partition(connection, parent, f"{parent}_{start:%Y_%m}", _range(start, end))
    for start, end in _weeks((at - timedelta(days=deliveries_days)).date(), last):
        for parent in WEEKLY:
            made += _partition(connection, parent, f"{parent}_{start:%Y_%m_%d}", _range(start, end))
    return made


def missing_partitions(connection: Connection, *, at: datetime) -> list[str]:
    """Names of the partitions that the next seven days need and that do not exist."""
    coming = (at + timedelta(days=7)).date()
    names = [f"{parent}_{coming:%Y_%m}" for parent in MONTHLY]
    names += [f"{parent}_{_monday(coming):%Y_%m_%d}" for parent in WEEKLY]
    return [name for name in names if not _exists(connection, name)]


def _partition(connection: Connection, parent: str, name: str, values: sql.Composable) -> list[str]:
    attached = connection.execute(
        "select 1 from pg_inherits where inhrelid = to_regclass(%s) "
        "and inhparent = to_regclass(%s)",
        [name, parent],
    ).fetchone()
    if attached:
        return []
    table, parent_table = sql.Identifier(name), sql.Identifier(parent)
    connection.execute(
        sql.SQL("create table if not exists {} (like {} including all)").format(table, parent_table)
    )
    connection.execute(
        sql.SQL("alter table {} attach partition {} for values ").format(parent_table, table)
        + values
    )
    return [name]


def _range(start: date, end: date) -> sql.Composed:
    utc = "{:%Y-%m-%d} 00:00:00+00"
    return sql.SQL("from ({}) to ({})").format(utc.format(start), utc.format(end))


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    start = first.replace(day=1)
    while start <= last:
        end = (start + timedelta(days=32)).replace(day=1)
        yield start, end
        start = end


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _weeks(first: date, last: date) -> Iterator[tuple[date, date]]:
    start = _monday(first)
    while start <= last:
        yield start, start + timedelta(days=7)
        start += timedelta(days=7)


__all__ = [
    "INGEST_OPTIONS",
    "SERVING_OPTIONS",
    "Connection",
    "NotMigrated",
    "Prepared",
    "Queries",
    "TooOld",
    "connect",
    "is_ready",
    "jsonb",
    "make_partitions",
    "migrate",
    "missing_partitions",
    "open_pool",
    "pending",
    "prepared",
    "queries",
    "wait_until_ready",
]
