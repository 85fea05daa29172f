"""`doctor`: looks at a whole installation once and says in plain sentences what is wrong and what
to do.

Each check is a function from a `Patient` to its findings. What answers is looked at, though other
services are down; nothing is changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway import sealing
from gateway.doctor import catalog, data, machine, postgres, services
from gateway.doctor.finding import Check, Finding, Level, Patient, problem, skipped
from gateway.settings import Settings
from gateway.telemetry import logs
from schemas import database
from schemas.errors import AttuneError

CHECKS: tuple[Check, ...] = (
    *machine.CHECKS,
    *postgres.CHECKS,
    *services.CHECKS,
    *catalog.CHECKS,
    *data.CHECKS,
)
ORDER: tuple[Level, ...] = ("problem", "warning", "skipped", "ok")
CONNECT_S = 5
STATEMENT_TIMEOUT = "-c statement_timeout=60000 -c default_transaction_read_only=on"


@dataclass(frozen=True, slots=True)
class Result:
    """One finding under its check's name."""

    check: str
    level: Level
    message: str
    advice: str


Told = Callable[[str], None]


def examine(
    settings: Settings, told: Told = lambda name: None, *, now: Callable[[], datetime] | None = None
) -> Iterator[Result]:
    """Every finding, check by check; `told` hears which one comes next."""
    sealing.unlock(settings.secret_key)
    with contextlib.ExitStack() as closing:
        patient = Patient(settings) if now is None else Patient(settings, now=now)
        for name, connect in (("postgres", _postgres), ("redis", _redis)):
            told(name)
            for found in connect(patient, closing):
                yield _result(name, found)
        missing = _missing(patient)
        for check in CHECKS:
            told(check.name)
            for found in _findings(check, patient, missing):
                yield _result(check.name, found)


def worst(results: list[Result]) -> Level:
    """The gravest level among them."""
    return min((one.level for one in results), key=ORDER.index, default="ok")


def _result(name: str, found: Finding) -> Result:
    return Result(name, found.level, found.message, found.advice)


def _findings(check: Check, patient: Patient, missing: dict[str, str]) -> Iterator[Finding]:
    """A check that cannot be made is a finding too, and no reason to leave the others out."""
    for need in check.needs:
        if need in missing:
            yield skipped(f"not looked at: {missing[need]}")
            return
    try:
        yield from check.look(patient)
    except (psycopg.Error, redis.RedisError, OSError, AttuneError) as error:
        yield problem(
            f"this could not be looked at: {logs.first_line(error)}",
            "mend the other problems first; if it stays, it is a fault of ours",
        )


def _postgres(patient: Patient, closing: contextlib.ExitStack) -> Iterator[Finding]:
    url = patient.settings.database_url
    try:
        patient.postgres = closing.enter_context(
            contextlib.closing(database.connect(_soon(url), options=STATEMENT_TIMEOUT))
        )
    except psycopg.Error as error:
        yield problem(
            f"Postgres does not answer: {logs.first_line(error)}",
            "start it, or set DATABASE_URL to where it runs; nothing is received or answered "
            "until then",
        )


def _soon(url: str) -> str:
    """The address with a limit to waiting, unless it has one."""
    return psycopg.conninfo.make_conninfo(
        url,
        connect_timeout=psycopg.conninfo.conninfo_to_dict(url).get("connect_timeout") or CONNECT_S,
    )


def _redis(patient: Patient, closing: contextlib.ExitStack) -> Iterator[Finding]:
    client = redis.Redis.from_url(
        patient.settings.redis_url,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
    )
    closing.callback(client.close)
    try:
        client.ping()
    except redis.RedisError as error:
        yield problem(
            f"Redis does not answer: {logs.first_line(error)}",
            "start it, or set REDIS_URL to where it runs; until then limits are off and work waits "
            "for it, nothing is lost",
        )
    else:
        patient.redis = client


def _missing(patient: Patient) -> dict[str, str]:
    """What checks need and is not there, with the reason."""
    found: dict[str, str] = {}
    if patient.postgres is None:
        found |= dict.fromkeys(("postgres", "schema"), "Postgres does not answer")
    elif not database.is_ready(patient.postgres):
        found["schema"] = "migrations are pending"
    if patient.redis is None:
        found["redis"] = "Redis does not answer"
    return found
