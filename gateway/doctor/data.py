"""What was received: sources gone silent, orders told twice, who is who, the ledger, secrets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

from psycopg.rows import dict_row

from gateway import ledger, sealing
from gateway.doctor.finding import Check, Finding, Patient, ago, ok, problem, warning
from gateway.people import WHAT_TO_DO
from ranking.visitors.identity import MOST_OWNERS
from schemas import database

SQL = database.queries(__file__)

HISTORY = timedelta(days=14)
ACTIVE_HOURS = 12  # of the history; fewer say nothing about a habit
ORDERS_SINCE = timedelta(days=7)
ORDERS_COMPARED = 5_000
SAME_ORDER_WITHIN = timedelta(minutes=15)
ACTORS_SAMPLED = 500  # of each site
SECRETS_TRIED = 50


def quiet_sources(patient: Patient) -> Iterator[Finding]:
    """A source that has been silent for much longer than it ever was in the last two weeks."""
    parameters = {"at": patient.at, "since": patient.at - HISTORY}
    quiet = False
    for row in _rows(patient, SQL.silences, parameters):
        silence, habit = row["silence_s"], row["longest_s"]
        if row["hours"] < ACTIVE_HOURS or silence <= 2 * habit + 3600:
            continue
        quiet = True
        yield warning(
            f"nothing has come from {row['connector']} source {row['public_id']} of {row['site']} "
            f"for {ago(silence)}; in two weeks it was never silent for more than {ago(habit)}",
            "look at the platform's own delivery log: is the destination on, does it get errors?",
        )
    if not quiet:
        yield ok("no source fell silent")


# orders told twice -------------------------------------------------------------------------------


def orders(patient: Patient) -> Iterator[Finding]:
    """Two sources that tell of the same orders: once each under one id, twice under two."""
    before = False
    for found in (*_under_one_id(patient), *_under_two_ids(patient)):
        before = True
        yield found
    if not before:
        yield ok("no two sources tell of the same orders")


def _under_one_id(patient: Patient) -> Iterator[Finding]:
    for row in _rows(patient, SQL.orders_shared, {"since": patient.at - ORDERS_SINCE}):
        yield warning(
            f"{row['count']} orders of {row['site']} came from both {row['one']} and "
            f"{row['other']} (for example {row['id']}): each is counted once",
            "nothing needs to be done; leave one of them out if you did not mean it",
        )


def _under_two_ids(patient: Patient) -> Iterator[Finding]:
    """Equal products and revenue, minutes apart, from two sources, under two order ids."""
    parameters = {
        "since": patient.at - ORDERS_SINCE,
        "limit": ORDERS_COMPARED,
        "within": SAME_ORDER_WITHIN,
    }
    for row in _rows(patient, SQL.orders_twice, parameters):
        yield problem(
            f"{row['count']} orders of {row['site']} seem to be counted twice: {row['one']} and "
            f"{row['other']} tell of the same products and revenue within minutes, under other "
            f"order ids (for example {row['one_id']} and {row['other_id']})",
            "let both send the same order id, or leave orders to one of them",
        )


# what platforms asked for ------------------------------------------------------------------------

ASKED = {"export": "for a copy of what is known of a person", "erase_all": "to erase everybody"}


def requests(patient: Patient) -> Iterator[Finding]:
    """Requests of privacy law that wait for somebody; they have 30 days."""
    waiting = [row for row in _rows(patient, SQL.requests, {}) if row["kind"] in ASKED]
    for row in waiting:
        yield warning(
            f"{row['connector']} asked {row['site']} {ASKED[row['kind']]}{_times(row['count'])} "
            f"{ago((patient.at - row['since']).total_seconds())} ago",
            f"`requests {row['site']}` names them; {WHAT_TO_DO[row['kind']]}; then "
            f"`requests {row['site']} --done DELIVERY`",
        )
    if not waiting:
        yield ok("no platform waits for an export or an erasure")


def _times(count: int) -> str:
    return "" if count == 1 else f" {count:,} times, first"


# who is who --------------------------------------------------------------------------------------


def members(patient: Patient) -> Iterator[Finding]:
    """`members` is derived from the facts; a recursive query over the facts is its oracle."""
    wrong = 0
    for site_id, site in patient.connection.execute("select site_id, name from sites").fetchall():
        parameters = {
            "site": site_id,
            "start": uuid4(),
            "sample": ACTORS_SAMPLED,
            "most_owners": MOST_OWNERS,
        }
        found = patient.connection.execute(SQL.wrong_members, parameters).fetchall()
        wrong += len(found)
        if found:
            yield problem(
                f"{len(found)} of {ACTORS_SAMPLED} ids of {site} looked at belong to another "
                f"visitor than their facts say (for example {found[0][0]})",
                "this is a fault of ours: please report it with your version",
            )
    if not wrong:
        yield ok("who belongs to whom is what the facts say")


# ledger, secrets ---------------------------------------------------------------------------------


def balance(patient: Patient) -> Iterator[Finding]:
    """received = applied + duplicate + ignored + refused + failed, of each source."""
    rows = ledger.totals(patient.connection)
    unbalanced = [
        row for row in rows
        if row.received != row.applied + row.duplicate + row.ignored + row.refused + row.failed
    ]  # fmt: skip
    for row in unbalanced:
        yield problem(
            f"the ledger of {row.connector} source {row.source} of {row.site} does not balance",
            "this is a fault of ours: please report it with your version",
        )
    loose = [name for (name,) in patient.connection.execute(SQL.unchecked_ledgers)]
    if loose:
        yield problem(
            f"{', '.join(loose)} lacks the constraint ledger_balances",
            "somebody changed the schema by hand: restore the constraint from the migrations",
        )
    if not unbalanced and not loose:
        yield ok("the ledger balances")


def secrets(patient: Patient) -> Iterator[Finding]:
    """Whether ATTUNE_SECRET_KEY is the one that stored secrets were sealed with."""
    rows = patient.connection.execute(SQL.sealed, {"limit": SECRETS_TRIED}).fetchall()
    closed = sum(not _opens(sealed) for (sealed,) in rows)
    if closed:
        yield problem(
            f"{closed} of {len(rows)} stored secrets cannot be opened: ATTUNE_SECRET_KEY is not "
            "the one they were sealed with",
            "restore the key from a backup (ATTUNE_HOME/secret.key); without it make new keys and "
            "sources' secrets",
        )
    else:
        yield ok("stored secrets can be opened")


def _opens(sealed: bytes) -> bool:
    try:
        sealing.open_sealed(sealed)
    except sealing.CannotOpen:
        return False
    return True


def _rows(patient: Patient, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with patient.connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, parameters).fetchall()


CHECKS = (
    Check("quiet sources", quiet_sources, ("schema",)),
    Check("orders", orders, ("schema",)),
    Check("requests", requests, ("schema",)),
    Check("members", members, ("schema",)),
    Check("ledger", balance, ("schema",)),
    Check("secrets", secrets, ("schema",)),
)
