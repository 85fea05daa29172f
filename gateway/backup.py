"""Backups: one file of everything Postgres holds of us, and the way back.

`make` writes it beside a gateway at work, from one snapshot. `restore` puts it into a database in
ONE transaction: killed or failed at any point it has changed nothing. `gateway.commands.backup`
shows how far both are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg
from cryptography.fernet import Fernet, InvalidToken
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway import VERSION, archive
from gateway import home as homes
from gateway.archive import Manifest
from gateway.running import services
from gateway.settings import Settings, keep_secret_key, kept_secret_key
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

SQL = database.queries(__file__)

# What processes say of themselves at the moment; nothing of a restored gateway runs yet.
LEFT_OUT = ("heartbeats", "task_runs")
LOCKS_A_TABLE = 6  # with its indexes, TOAST table and types, about
RESTORE_FLAGS = {"max_locks_per_transaction": "4096"}
LOCK_WAIT = "60s"
COMPRESSION = "gzip:3"
POLL_S = 0.5
# pg_restore 18 names a setting that Postgres 15 and 16 do not know.
UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"

_DUMPING = re.compile(r'dumping contents of table "(?:.*\.)?([^".]+)"')
_TAG = re.compile(r"^(COPY|CREATE INDEX|COMMIT)(?: (\d+))?$")
_INDEXED = re.compile(r'(?: ON| ONLY) (?:ONLY )?(?:\w+\.)?"?(\w+)')
_ENTRY = re.compile(r"^\d+; \d+ \d+ (TABLE DATA|INDEX(?! ATTACH)) \S+ (\S+)")
_EXTENSION = re.compile(r"^create extension if not exists (\w+)", re.MULTILINE)

Told = Callable[[str, int, int], None]  # what is done, so much of it, of so much


class CannotBackUp(AttuneError):
    """The backup could not be made; says why, and leaves no file behind."""


class CannotRestore(AttuneError):
    """The restore was refused or failed; the database is what it was."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a backup holds."""

    file: str
    bytes: int
    manifest: Manifest
    migrated: list[str]  # by a restore: what was newer than the backup


# where the database is ------------------------------------------------------------------------


@contextlib.contextmanager
def reached(settings: Settings, flags: dict[str, str] | None = None) -> Iterator[str]:
    """The database's URL: the one set, that of the gateway that runs here, or else the embedded
    Postgres, started for as long as the block lasts."""
    running = homes.running(settings.home)
    if settings.database_url or running:
        yield settings.database_url or (running.database_url if running else "")
        return
    homes.make(settings.home)
    descriptor = homes.hold(settings.home)
    try:
        with services.start_postgres(settings.home, durable=True, flags=flags) as url:
            yield url
    finally:
        os.close(descriptor)


# making one ------------------------------------------------------------------------------------


def make(settings: Settings, target: Path, told: Told, *, with_secret_key: bool = False) -> Report:
    """Write a backup to `target`, which must not exist; a half one is never called so."""
    if target.exists():
        raise CannotBackUp(f"{target} exists: name another file, or remove it")
    _check_there(settings)
    draft = target.with_name(f"{target.name}.partial")
    try:
        _make_private(draft)
        with reached(settings) as url:
            manifest = _dump(url, settings, draft, told)
        manifest.secret_key = _secret_key(settings) if with_secret_key else None
        archive.seal(draft, manifest, lambda done, total: told("checksum", done, total))
        draft.rename(target)
    except OSError as error:
        raise CannotBackUp(f"{draft} cannot be written ({error.strerror})") from None
    finally:
        draft.unlink(missing_ok=True)
    return Report(str(target), target.stat().st_size, manifest, [])


def _check_there(settings: Settings) -> None:
    """A mistyped ATTUNE_HOME must not make an installation, and back that up."""
    there = settings.database_url or homes.running(settings.home)
    if not there and not (settings.home / "postgres").exists():
        raise CannotBackUp(
            f"there is no installation in {settings.home}: set ATTUNE_HOME to its folder, or "
            "DATABASE_URL"
        )


def _make_private(draft: Path) -> None:
    """It holds people's data: ours alone to read."""
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _dump(url: str, settings: Settings, draft: Path, told: Told) -> Manifest:
    with database.connect(url) as connection:
        if not database.is_ready(connection):
            raise CannotBackUp("migrations are pending: run `python -m gateway migrate` first")
        connection.execute("begin isolation level repeatable read, read only")
        [snapshot] = connection.execute(SQL.snapshot).fetchone() or ("",)
        manifest = _manifest(connection, settings)
        command = [
            *[_program("pg_dump", connection), "--format=custom", f"--compress={COMPRESSION}"],
            *["--verbose", "--no-owner", "--no-privileges", "--no-comments"],
            *[f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}"],
            *[f"--extension={name}" for name in _extensions()],
            *[f"--exclude-table-data={name}" for name in LEFT_OUT],
            *[
                f"--exclude-schema={_literal(row[0])}"
                for row in connection.execute(SQL.other_schemas)
            ],
            *[f"--file={draft}", f"--dbname={_leftover(url)}"],
        ]
        _run_dump(command, url, manifest.tables, told)
    manifest.dump_bytes = draft.stat().st_size
    return manifest


def _extensions() -> set[str]:
    """Those that our migrations ask for; a managed Postgres may have others, for itself."""
    texts = (path.read_text(encoding="utf-8") for path in database.MIGRATIONS.glob("*.sql"))
    return {name for text in texts for name in _EXTENSION.findall(text)}


def _manifest(connection: Connection, settings: Settings) -> Manifest:
    secret_key = _secret_key(settings)
    _check_opens(connection, secret_key)
    return Manifest(
        version=VERSION,
        made_at=datetime.now(UTC),
        migrations=[row[0] for row in connection.execute(SQL.migrations)],
        postgres=connection.info.server_version,
        key_check=_key_check(secret_key),
        tables=dict(connection.execute(SQL.tables).fetchall()),
        sites=[row[0] for row in connection.execute(SQL.sites)],
        dump_bytes=0,
    )


def _run_dump(command: list[str], url: str, tables: dict[str, int], told: Told) -> None:
    process = _start(command, url, stderr=subprocess.PIPE)
    assert process.stderr
    done, current, last = 0, "", ""
    total = sum(tables.values())
    with _ended(process):
        for raw in process.stderr:
            line = raw.decode(errors="replace")
            last = line.strip() or last
            if match := _DUMPING.search(line):
                done += tables.get(current, 0)
                current = match[1]
                told(current, done, total)
        if process.wait() != 0:
            raise CannotBackUp(f"pg_dump failed: {_reason(last)}")
    told("", total, total)


# putting one back ------------------------------------------------------------------------------


def restore(
    settings: Settings,
    source: Path,
    told: Told,
    *,
    replace: bool = False,
    without_secrets: bool = False,
) -> Report:
    """Put a backup into an empty database (`replace`: into any), then migrate it."""
    manifest = check(settings, source, told, without_secrets=without_secrets)
    if homes.running(settings.home):
        raise CannotRestore(f"a gateway runs on {settings.home}: stop it first")
    with reached(settings, RESTORE_FLAGS) as url:
        with database.connect(url) as connection:
            _check_database(connection, manifest, replace=replace)
            script = _Script(source, url, connection, manifest)
        if manifest.secret_key and not (settings.secret_key or without_secrets):
            keep_secret_key(settings.home, manifest.secret_key)
        script.run(told)
        told("migrations", 0, 1)
        migrated = database.migrate(url, events_days=settings.retention_events_days)
        _analyze(url, told)
    return Report(str(source), source.stat().st_size, manifest, migrated)


def check(
    settings: Settings, source: Path, told: Told, *, without_secrets: bool = False
) -> Manifest:
    """Whether a backup is whole, and made by a version and sealed with a key that we have."""
    manifest = archive.manifest(source)
    unknown = set(manifest.migrations) - {path.stem for path in database.MIGRATIONS.glob("*.sql")}
    if unknown:
        raise CannotRestore(
            f"{source} was made by Attune {manifest.version}, which is newer than this {VERSION} "
            f"({', '.join(sorted(unknown))} is unknown here): install that version or a later one"
        )
    if not without_secrets:
        _check_key(settings, manifest)
    archive.verify(source, lambda done, total: told("checksum", done, total))
    return manifest


def _check_key(settings: Settings, manifest: Manifest) -> None:
    present = settings.secret_key or kept_secret_key(settings.home) or manifest.secret_key
    place = "ATTUNE_SECRET_KEY" if settings.secret_key else str(settings.home / "secret.key")
    if present is None:
        raise CannotRestore(
            "the secret key of the installation that was backed up is missing, and stored secrets "
            f"cannot be opened without it: copy its secret.key to {place}, or set "
            "ATTUNE_SECRET_KEY (where it is lost: --without-secrets)"
        )
    if _key_check(present) != manifest.key_check:
        raise CannotRestore(
            f"{place} is not the secret key that the secrets in this backup were sealed with: "
            "use the one of the installation that was backed up (where it is lost: "
            "--without-secrets)"
        )


def _check_database(connection: Connection, manifest: Manifest, *, replace: bool) -> None:
    server = connection.info.server_version
    if server // 10000 < manifest.postgres // 10000:
        raise CannotRestore(
            f"the backup is of PostgreSQL {manifest.postgres // 10000} and this server is "
            f"{server // 10000}: restore into {manifest.postgres // 10000} or newer"
        )
    [is_empty] = connection.execute(SQL.is_empty).fetchone() or (False,)
    if not is_empty:
        _check_replaceable(connection, replace)
    needed = LOCKS_A_TABLE * len(manifest.tables)
    [locks] = connection.execute(SQL.locks).fetchone() or (0,)
    if needed > locks:
        raise CannotRestore(
            f"the backup has {len(manifest.tables)} tables, which one transaction cannot make "
            f"here: set max_locks_per_transaction to {needed * 64 // locks + 64} or more and "
            "restart this Postgres"
        )


def _check_replaceable(connection: Connection, replace: bool) -> None:
    """Not without being told to where a site is, nor under a gateway at work."""
    try:
        sites = [row[0] for row in connection.execute(SQL.sites)]
        beating = connection.execute(SQL.beating).fetchall()
    except psycopg.errors.UndefinedTable:
        raise CannotRestore(
            "the database holds tables that are not Attune's: make an empty one and name it in "
            "DATABASE_URL"
        ) from None
    if beating:
        role, host, pid = beating[0]
        raise CannotRestore(
            f"a gateway is at work on this database ({role} on {host}, pid {pid}, reported within "
            "the last minute): stop every role first"
        )
    if sites and not replace:
        raise CannotRestore(
            f"the database is not empty, it holds {len(sites)} "
            f"{'site' if len(sites) == 1 else 'sites'} ({', '.join(sites[:5])}): name an empty one "
            "in DATABASE_URL, use another ATTUNE_HOME, or give --replace"
        )


class _Script:
    """pg_restore writes SQL, psql runs it, and only we say `commit`: nothing else ends the
    transaction well, not the death of any of us."""

    def __init__(self, source: Path, url: str, connection: Connection, manifest: Manifest) -> None:
        self._url = url
        self._manifest = manifest
        restore = _program("pg_restore", connection)
        self._write = [restore, "--no-owner", "--no-privileges", "--file=-", str(source)]
        self._list = [restore, "--list", str(source)]
        self._run = [
            *[_program("psql", connection), "--no-psqlrc", "--set=ON_ERROR_STOP=1"],
            f"--dbname={_leftover(url)}",
        ]
        self._old = connection.info.server_version < 170000

    def run(self, told: Told) -> None:
        """In two processes, or in one where shared memory is too small for that (containers)."""
        try:
            self._try(told, helpers=1)
        except CannotRestore as error:
            if "shared memory" not in str(error):
                raise
            self._try(told, helpers=0)

    def _try(self, told: Told, helpers: int) -> None:
        entries = self._entries()
        writer = _start(self._write, self._url, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        runner = _start(
            self._run,
            self._url,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said: queue.Queue[str | None] = queue.Queue()
        with _ended(writer), _ended(runner):
            threads = [
                threading.Thread(target=self._feed, args=(writer, runner, helpers), daemon=True),
                threading.Thread(target=_listen, args=(runner.stdout, said), daemon=True),
            ]
            for thread in threads:
                thread.start()
            trouble = self._follow(said, entries, told)
            if trouble is not None:
                if writer.poll() and writer.stderr:
                    trouble = writer.stderr.read().decode(errors="replace")
                raise CannotRestore(f"the restore failed, nothing was changed: {_reason(trouble)}")

    def _feed(
        self, writer: subprocess.Popen[bytes], runner: subprocess.Popen[bytes], helpers: int
    ) -> None:
        assert writer.stdout and runner.stdin
        source, target = writer.stdout, runner.stdin
        with contextlib.suppress(BrokenPipeError):
            memory = SQL.fill("index_memory", helpers=sql.Literal(helpers)).as_string()
            target.write(f"begin;\n{memory};\n{SQL.wipe}\n".encode())
            # The first piece holds all that comes before the first table.
            first = True
            while piece := source.read(archive.PIECE):
                if first and self._old:
                    piece = piece.replace(UNKNOWN_BEFORE_17, b"", 1)
                first = False
                target.write(piece)
            if writer.wait() == 0:
                target.write(b"commit;\n")
        with contextlib.suppress(BrokenPipeError):
            target.close()

    def _entries(self) -> list[tuple[str, str]]:
        """(kind, name) of everything that takes time, in the order in which it is restored."""
        listed = subprocess.run(self._list, capture_output=True, text=True, check=False)
        if listed.returncode != 0:
            raise CannotRestore(f"pg_restore cannot read the file: {_reason(listed.stderr)}")
        found = (_ENTRY.match(line) for line in listed.stdout.splitlines())
        return [(match[1], match[2]) for match in found if match]

    def _follow(
        self, said: queue.Queue[str | None], entries: list[tuple[str, str]], told: Told
    ) -> str | None:
        """Say how far psql is, by what it has done and what Postgres says of the rest; returns what
        went wrong, None where it has committed."""
        tables = [name for kind, name in entries if kind == "TABLE DATA"]
        sizes = [self._manifest.tables.get(name, 0) for name in tables]
        indexes = len(entries) - len(tables)
        rows: dict[str, int] = {}
        indexed, trouble = 0, ""
        with contextlib.closing(psycopg.connect(self._url, autocommit=True)) as watch:
            while True:
                try:
                    line = said.get(timeout=POLL_S)
                except queue.Empty:
                    _tell_of_index(watch, rows, told)
                    continue
                if line is None:
                    return trouble
                tag = _TAG.match(line)
                if tag is None:
                    trouble = line if "ERROR:" in line or "FATAL:" in line else trouble
                elif tag[1] == "COMMIT":
                    return None
                elif tag[1] == "CREATE INDEX":
                    indexed += 1
                    told("indexes", indexed, indexes)
                else:
                    rows[tables[len(rows)]] = int(tag[2])
                    coming = tables[len(rows)] if len(rows) < len(tables) else ""
                    told(coming, sum(sizes[: len(rows)]), sum(sizes))


def _tell_of_index(watch: Connection, rows: dict[str, int], told: Told) -> None:
    """Between two lines of psql: an index of vectors takes as long as all the rest."""
    row = watch.execute(SQL.building).fetchone()
    match = _INDEXED.search(row[0]) if row else None
    if row and match and rows.get(match[1]):
        told(f"index of {match[1]}", min(row[1], rows[match[1]]), rows[match[1]])


def _analyze(url: str, told: Told) -> None:
    """The planner knows nothing of restored tables, and index-only scans want them vacuumed."""
    with database.connect(url) as connection:
        names = [name for name, _ in connection.execute(SQL.tables).fetchall()]
        for number, name in enumerate(names):
            told("statistics", number, len(names))
            connection.execute(SQL.fill("analyze", table=sql.Identifier(name)))
        told("statistics", len(names), len(names))


# secret keys -----------------------------------------------------------------------------------


def _secret_key(settings: Settings) -> str:
    running = homes.running(settings.home)
    found = settings.secret_key or (running.secret_key if running else None)
    found = found or kept_secret_key(settings.home)
    if found is None:
        raise CannotBackUp(
            f"there is no secret key in {settings.home}: set ATTUNE_HOME to the installation's "
            "folder, or ATTUNE_SECRET_KEY"
        )
    return found


def _key_check(secret_key: str) -> str:
    """Tells whether a key is the same; a key has 256 random bits, so this tells nothing else."""
    return hashlib.blake2b(secret_key.encode(), person=b"attune backup", digest_size=16).hexdigest()


def _check_opens(connection: Connection, secret_key: str) -> None:
    row = connection.execute(SQL.sealed).fetchone()
    try:
        if row:
            Fernet(secret_key).decrypt(bytes(row[0]))
    except InvalidToken:
        raise CannotBackUp(
            "the secret key here does not open the secrets stored in this database, and a backup "
            "of them would be of no use: set ATTUNE_SECRET_KEY to the one they were sealed with"
        ) from None


# Postgres's programs ---------------------------------------------------------------------------


def _program(name: str, connection: Connection) -> str:
    """The one that came with pip, or for a newer server the machine's own."""
    server = connection.info.server_version // 10000
    for found in (str(services.postgres_binary(name)), shutil.which(name)):
        if found and _major(found) >= server:
            return found
    raise CannotBackUp(
        f"the server is PostgreSQL {server}, which needs a {name} of {server} or newer: install "
        f"it (Debian: postgresql-client-{server}) and have it in PATH"
    )


def _major(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)", said.stdout)
    return int(match[1]) if match else 0


def _start(command: list[str], url: str, **pipes: Any) -> subprocess.Popen[bytes]:
    """A child that dies with us; the URL's password travels in its environment, not its command."""
    return subprocess.Popen(
        services.dies_with_parent(command), env=os.environ | _environment(url), **pipes
    )


def _environment(url: str) -> dict[str, str]:
    known = {one.keyword.decode(): one.envvar for one in pq.Conninfo.get_defaults()}
    given = conninfo_to_dict(url)
    names = {name: envvar.decode() for name in given if (envvar := known.get(name))}
    return {names[name]: str(given[name]) for name in names} | {"LC_ALL": "C"}


def _leftover(url: str) -> str:
    """What of the URL has no variable, and the database, without which psql takes the user's."""
    given = conninfo_to_dict(url)
    known = {one.keyword.decode(): one.envvar for one in pq.Conninfo.get_defaults()}
    kept = {name: value for name, value in given.items() if not known.get(name)}
    return make_conninfo("", **kept, dbname=given.get("dbname"))


def _literal(schema: str) -> str:
    """A schema's name as pg_dump's patterns want it."""
    return '"' + schema.replace('"', '""') + '"'


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, the child is gone after the block."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


def _listen(stream: IO[bytes], said: queue.Queue[str | None]) -> None:
    for line in stream:
        said.put(line.decode(errors="replace").strip())
    said.put(None)


def _reason(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line]
    return lines[-1].removeprefix("pg_dump: ").removeprefix("psql:") if lines else "no reason given"
