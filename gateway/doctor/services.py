"""Redis, the roles and what they work on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import httpx
import redis

from gateway import jobs, sync
from gateway.doctor.finding import Check, Finding, Patient, ago, ok, problem, warning
from schemas import database

SQL = database.queries(__file__)

ROLES = ("worker", "encoder", "trainer", "clock")
STALE_S = 60
LATE_S = 3600
ANSWER_TIMEOUT_S = 10.0


def eviction(patient: Patient) -> Iterator[Finding]:
    """An evicting Redis drops hints and limits silently, and RQ's own records first."""
    try:
        policy = jobs.eviction_policy(patient.client)
    except redis.RedisError:
        yield warning(
            "this Redis does not tell its maxmemory-policy",
            "see in its console that it is noeviction",
        )
        return
    if policy == "noeviction":
        yield ok("Redis evicts nothing")
    else:
        yield problem(
            f"Redis evicts: its maxmemory-policy is {policy}",
            "set it to noeviction (`config set maxmemory-policy noeviction`, or in its console), "
            "or give Attune a Redis of its own",
        )


def web(patient: Patient) -> Iterator[Finding]:
    """What the web role of this machine says of itself."""
    url = f"{patient.settings.local_url}/readyz"
    try:
        answer = httpx.get(url, timeout=ANSWER_TIMEOUT_S, trust_env=False)
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        yield warning(
            f"no web role answers on this machine: {error}",
            "start it, unless others serve; `python -m gateway web`, or `make run` for everything",
        )
        return
    if answer.status_code != 200:
        yield problem(f"the web role is not ready: {found['message']}", "do what it says")
    else:
        yield ok("the web role answers")


def roles(patient: Patient) -> Iterator[Finding]:
    """Each reports every 15 seconds, on whichever machine."""
    rows = patient.connection.execute(SQL.roles).fetchall()
    ages = dict(rows)
    for role in ROLES:
        age = ages.get(role)
        if age is None:
            yield problem(f"no {role} runs", f"start one: `python -m gateway {role}`")
        elif age > STALE_S:
            yield problem(
                f"no {role} has reported for {ago(age)}",
                f"see its log, and start it anew: `python -m gateway {role}`",
            )
        else:
            yield ok(f"{'an' if role == 'encoder' else 'a'} {role} runs")


def tasks(patient: Patient) -> Iterator[Finding]:
    """Runs that failed, or never ended, the newest of each task and site."""
    found = False
    for site, task, error, age in patient.connection.execute(
        SQL.tasks, {"tasks": sorted(jobs.TASKS), "late_s": LATE_S}
    ):
        found = True
        where = f"of site {site}" if site else "of the installation"
        if error is None:
            yield warning(
                f"the task {task} {where} was given out {ago(age)} ago and has not ended",
                "see whether its role runs and what its log says",
            )
        else:
            yield problem(
                f"the task {task} {where} failed {ago(age)} ago: {error[:200]}",
                "see the role's log at that time; it is tried again in its next slot",
            )
    if not found:
        yield ok("the clock's tasks end well")


def failed_deliveries(patient: Patient) -> Iterator[Finding]:
    """Acknowledged, kept, and not applied yet, by our fault."""
    rows = patient.connection.execute(SQL.failed_deliveries).fetchall()
    for site, count, age, error in rows:
        report = problem if age > LATE_S else warning
        yield report(
            f"{count} deliveries to {site} failed by our fault, the oldest {ago(age)} ago: "
            f"{(error or 'no reason was kept')[:200]}",
            f"they are tried again by themselves; see `python -m gateway deliveries {site} "
            f"--outcome failed`, and `replay {site} --since TIME` once the cause is mended",
        )
    if not rows:
        yield ok("no delivery waits to be applied")


def feeds(patient: Patient) -> Iterator[Finding]:
    """Catalogs that are pulled."""
    found = sync.health(patient.connection, patient.at)
    for one in found:
        if one.failures or one.late:
            why = f": {one.error}" if one.error else ""
            yield warning(
                f"the feed {one.url} of {one.site} {_last_read(one.last_success)}{why}",
                f"see `python -m gateway feeds {one.site}`; once the cause is mended, "
                f"`python -m gateway pull {one.site} {one.source}` reads it at once",
            )
    if found and not any(one.failures or one.late for one in found):
        yield ok("every feed is read in time")


def _last_read(at: datetime | None) -> str:
    return "has never been read" if at is None else f"was last read at {at:%Y-%m-%d %H:%M} UTC"


CHECKS = (
    Check("eviction", eviction, ("redis",)),
    Check("web", web),
    Check("roles", roles, ("schema",)),
    Check("tasks", tasks, ("schema",)),
    Check("failed deliveries", failed_deliveries, ("schema",)),
    Check("feeds", feeds, ("schema",)),
)
