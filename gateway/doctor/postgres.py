"""Postgres: its version and extensions, what it promises, and the shape of the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from gateway import retention
from gateway.doctor.finding import Check, Finding, Patient, ok, problem, size, warning
from gateway.http.state import POOL_SIZE
from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

OTHERS_CONNECTIONS = 15  # the other roles, commands, backups
LEFT_OVER_AFTER = timedelta(days=2)

_EXTENSION = re.compile(r"create extension (?:if not exists )?(\w+)")


def version(patient: Patient) -> Iterator[Finding]:
    """Old ones lack what our statements use."""
    number = patient.connection.info.server_version
    shown = f"PostgreSQL {number // 10000}.{number % 10000}"
    if number < database.MINIMUM_POSTGRES:
        yield problem(f"{shown} is too old", "upgrade to PostgreSQL 15 or newer")
    else:
        yield ok(shown)


def extensions(patient: Patient) -> Iterator[Finding]:
    """Those that migrations make; vector has a version of its own to keep to."""
    rows = patient.connection.execute(SQL.extensions).fetchall()
    installed = {name: (have, newest) for name, have, newest in rows}
    for name in sorted(_needed()):
        have, newest = installed.get(name, (None, None))
        if have is None:
            yield problem(
                f"the extension {name} is missing",
                f"install it on the server, then `create extension {name}` or "
                "`python -m gateway migrate`",
            )
        elif name == "vector" and _numbers(have) < database.MINIMUM_PGVECTOR:
            yield problem(
                f"pgvector {have} is too old: 0.8.4 or newer",
                "install a newer pgvector on the server, then `alter extension vector update`",
            )
        elif have != newest:
            yield warning(
                f"the extension {name} is {have}, the server has {newest}",
                f"run `alter extension {name} update`",
            )
        else:
            yield ok(f"extension {name} {have}")


def _needed() -> set[str]:
    texts = (path.read_text(encoding="utf-8") for path in database.MIGRATIONS.glob("*.sql"))
    return {name for text in texts for name in _EXTENSION.findall(text)}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def durability(patient: Patient) -> Iterator[Finding]:
    """A 2xx promises that nothing is lost: settings that trade that for speed break it."""
    wanted = ("fsync", "full_page_writes", "synchronous_commit")
    rows = patient.connection.execute(SQL.parameters, {"names": list(wanted)})
    off = sorted(name for name, value in rows if value == "off")
    if off:
        yield problem(
            f"{', '.join(off)} is off: what was acknowledged may be lost in a crash",
            f"set {', '.join(f'{name} = on' for name in off)} in postgresql.conf and reload",
        )
    else:
        yield ok("what was acknowledged survives a crash of Postgres")


def connections(patient: Patient) -> Iterator[Finding]:
    """Each web process opens two pools."""
    names = ["max_connections", "superuser_reserved_connections"]
    found = dict(patient.connection.execute(SQL.parameters, {"names": names}).fetchall())
    free = int(found["max_connections"]) - int(found["superuser_reserved_connections"])
    wanted = patient.settings.web_concurrency * 2 * POOL_SIZE + OTHERS_CONNECTIONS
    sentence = f"one machine opens up to {wanted} connections, Postgres allows {free}"
    if wanted > free:
        yield warning(sentence, "raise max_connections or lower WEB_CONCURRENCY")
    else:
        yield ok(sentence)


def migrations(patient: Patient) -> Iterator[Finding]:
    """What this version of Attune expects to find."""
    if not database.is_ready(patient.connection):
        yield problem("migrations are pending", "run `python -m gateway migrate`")
        return
    known = {path.stem for path in database.MIGRATIONS.glob("*.sql")}
    rows = patient.connection.execute("select name from migrations").fetchall()
    newer = sorted({name for (name,) in rows} - known)
    if newer:
        yield warning(
            f"the database was migrated by a newer version: {', '.join(newer)}",
            "install that version here too",
        )
    else:
        yield ok("every migration is applied")


def indexes(patient: Patient) -> Iterator[Finding]:
    """An invalid index costs each write and answers nothing: what an interrupted build leaves."""
    invalid = [name for (name,) in patient.connection.execute(SQL.invalid_indexes)]
    for name in invalid:
        yield problem(
            f"the index {name} is invalid",
            f'drop it (`drop index concurrently "{name}"`) and make it anew, or '
            f'`reindex index concurrently "{name}"`',
        )
    missing = patient.connection.execute(SQL.missing_hnsw).fetchall()
    for site, table in missing:
        yield problem(
            f"site {site} is searched by an index that {table} does not have: each list compares "
            "every product",
            f"make it: `create index concurrently {table}_hnsw on {table} using hnsw "
            "(vector halfvec_ip_ops)`",
        )
    if not invalid and not missing:
        yield ok("every index is valid")


def partitions(patient: Patient) -> Iterator[Finding]:
    """Made ahead by the clock, dropped by retention."""
    missing = database.missing_partitions(patient.connection, at=patient.at)
    if missing:
        yield problem(
            f"partitions of the coming week are missing: {', '.join(missing)}",
            "run `python -m gateway migrate`, and see that the clock and the worker run",
        )
    yield from _left_over(patient, patient.connection)
    if not missing:
        yield ok("the partitions of the coming week are there")


def _left_over(patient: Patient, connection: Connection) -> Iterator[Finding]:
    horizons = retention.horizons(patient.settings, patient.at)
    old = [
        one
        for one in retention.expired(connection, patient.settings, patient.at)
        if one.held is None and one.until < horizons[one.parent] - LEFT_OVER_AFTER
    ]
    if old:
        names = ", ".join(one.name for one in old[:5])
        more = f" and {len(old) - 5} more" if len(old) > 5 else ""
        yield warning(
            f"{size(sum(one.bytes for one in old))} are kept beyond their time: {names}{more}",
            "see what `python -m gateway retention` says, and that the worker runs",
        )


CHECKS = (
    Check("postgres version", version, ("postgres",)),
    Check("extensions", extensions, ("postgres",)),
    Check("durability", durability, ("postgres",)),
    Check("connections", connections, ("postgres",)),
    Check("migrations", migrations, ("postgres",)),
    Check("indexes", indexes, ("schema",)),
    Check("partitions", partitions, ("schema",)),
)
