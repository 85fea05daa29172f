"""kill -9 of web workers under load: what was acknowledged is applied once, nothing is lost."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import psutil
import pytest

from gateway import access, ingest
from gateway.access import Source
from schemas import database
from tests.faults.installation import (
    Installation,
    Keys,
    a_site,
    another_database,
    installation,
    told_ledger,
)
from tests.faults.senders import Acknowledged, Sender
from tests.faults.state import assert_equal_states, ledger, state
from tests.faults.traffic import message_id, records_of, senders
from tests.journeys.gateway_process import until

KILLS = 50
KILLS_IN_FLIGHT = 20
MOST_KILLS = 150
TOPICS = {"/v1/interactions": "interactions", "/v1/products": "products"}


@pytest.mark.heavy
def test_no_kill_of_a_web_worker_loses_or_doubles_anything(
    folder: Path, in_its_environment: Callable[[Installation], None]
) -> None:
    with installation(folder, "web") as running:
        in_its_environment(running)
        with running.database() as connection:
            keys = a_site(connection)
        sending = senders(running, keys)
        kills, in_flight = kill_workers_under(running, sending)
        for sender in sending:
            sender.finish()
        print(f"\n{summary(sending)}; {kills} kills, {in_flight} with a request in flight")
        assert running.status() == 200
        assert running.exceptions("web") == []
        until_nothing_runs(running)
        judge(running, keys, sending)


def kill_workers_under(running: Installation, sending: list[Sender]) -> tuple[int, int]:
    """Kill one worker after the other; returns how many, and how many broke off a request."""
    for sender in sending:
        sender.start()
    kills = in_flight = 0
    pause = Random(0)
    while kills < KILLS or in_flight < KILLS_IN_FLIGHT:
        assert kills < MOST_KILLS, f"only {in_flight} of {kills} kills met a request in flight"
        until_acknowledged(sending, pause.randrange(1, 25))
        broken = sum(sender.broken for sender in sending)
        waiting = kill_a_busy_worker(running, sending)
        kills += 1
        until(lambda: not any(s.waiting in waiting for s in sending), 30, what="a broken request")  # noqa: B023
        in_flight += sum(sender.broken for sender in sending) > broken
    return kills, in_flight


def until_acknowledged(sending: list[Sender], more: int) -> None:
    """Until the senders have got through that many more bodies."""
    before = sum(len(sender.log) for sender in sending)
    until(lambda: sum(len(sender.log) for sender in sending) >= before + more, 60, what="an answer")


def kill_a_busy_worker(running: Installation, sending: list[Sender]) -> set[int]:
    """Kill a worker that has a sender's request; returns the ports of those it had."""
    victims: list[tuple[psutil.Process, set[int]]] = []

    def found() -> bool:
        workers = running.web_workers()
        random.shuffle(workers)
        for worker in workers:
            if ports := requests_in(worker, sending):
                victims.append((worker, ports))
                worker.send_signal(signal.SIGKILL)
                return True
        return False

    until(found, 60, what="a busy worker")
    worker, ports = victims[0]
    until(lambda: not psutil.pid_exists(worker.pid), 30, what="its end")
    until(
        lambda: len(running.web_workers()) == running.web_workers_when_well,
        30,
        what="another worker",
    )
    return ports


def requests_in(worker: psutil.Process, sending: list[Sender]) -> set[int]:
    """The senders' ports of the requests this process has accepted and not answered."""
    try:
        connections = worker.net_connections("tcp")
    except psutil.Error:
        return set()
    accepted = {one.raddr.port for one in connections if one.raddr}
    return accepted & {sender.waiting for sender in sending if sender.waiting}


def until_nothing_runs(running: Installation) -> None:
    """Postgres finishes a statement whose client is dead."""
    with running.database() as connection:

        def quiet() -> bool:
            row = connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and pid <> pg_backend_pid() and state <> 'idle'"
            ).fetchone()
            return row == (0,)

        until(quiet, 30, what="the end of all statements")


def summary(sending: list[Sender]) -> str:
    acknowledged = sum(len(sender.log) for sender in sending)
    records = sum(one.records for sender in sending for one in sender.log)
    broken = sum(sender.broken for sender in sending)
    refused = sum(n for s in sending for status, n in s.statuses.items() if status >= 300)
    return (
        f"{acknowledged} bodies of {records} records acknowledged, "
        f"{broken} requests broken off, {refused} told to come again"
    )


# the judgement ----------------------------------------------------------------------------------


def judge(running: Installation, keys: Keys, sending: list[Sender]) -> None:
    judge_effects(running, keys, sending)
    with running.database() as connection:
        found = state(connection, keys.site_id)
        sums = ledger(connection, keys.site_id)
        replay_everything_twice(running, keys)
        assert_equal_states(state(connection, keys.site_id), found)
        assert ledger(connection, keys.site_id) == sums


def judge_effects(running: Installation, keys: Keys, sending: list[Sender]) -> None:
    """The cheaper half: ledger and effects against the senders' logs, and a clean replay."""
    with running.database() as connection:
        check_ledger(running, connection, keys, sending)
        check_effects(connection, keys, sending)
        found = state(connection, keys.site_id)
        assert_equal_states(clean_replay(running, connection, sending), found)


def check_ledger(
    running: Installation, connection: database.Connection, keys: Keys, sending: list[Sender]
) -> None:
    """It balances, and has every delivery that a sender was told of."""
    sums = ledger(connection, keys.site_id)
    assert sums["failed"] == sums["refused"] == 0
    assert sums["deliveries"] >= sum(len(sender.log) for sender in sending)
    assert sums["received"] >= sum(one.records for sender in sending for one in sender.log)
    told = {delivery for sender in sending for one in sender.log if (delivery := named(one))}
    kept = {str(row[0]) for row in connection.execute("select delivery_id from deliveries")}
    assert len(told) == sum(len(sender.log) for sender in sending)
    assert told <= kept
    lost = sums["deliveries"] - len(told)
    assert sums == told_ledger(running, keys)
    print(f"{lost} deliveries were committed and never acknowledged; ledger {sums}")


def named(one: Acknowledged) -> str:
    """The delivery that the answer names."""
    answer = one.answer
    return str(answer.get("delivery") or answer.get("task_id") or answer["data"]["task_id"])


def check_effects(connection: database.Connection, keys: Keys, sending: list[Sender]) -> None:
    """Each message has one effect, each event is of a message that was sent."""
    sent = {
        message_id(record)
        for sender in sending
        if sender.path != "/v1/products"
        for one in sender.log
        for record in records_of(one.body)
    }
    stored = [
        row[0]
        for row in connection.execute(
            "select message_id from events where site_id = %s", [keys.site_id]
        )
    ]
    assert len(stored) == len(set(stored))
    assert set(stored) <= sent
    row = connection.execute(
        "select (select count(*) from event_keys), (select sum(applied) from deliveries "
        "where topic is distinct from 'products')"
    ).fetchone()
    assert row == (len(sent), len(sent))


@contextmanager
def pool_of(url: str) -> Iterator[ingest.Pool]:
    with closing(
        database.open_pool(url, size=4, options=database.INGEST_OPTIONS, name="judge")
    ) as pool:
        yield pool


def clean_replay(
    running: Installation, connection: database.Connection, sending: list[Sender]
) -> dict[str, list[tuple[object, ...]]]:
    """The state of a fresh site of the same ids that takes each acknowledged body once, in
    another order."""
    [(pepper,)] = connection.execute("select pepper from sites").fetchall()
    url = another_database(running.database_url, "clean")
    with pool_of(url) as pool, pool.connection() as fresh:
        keys = a_site(fresh, pepper=bytes(pepper))
        bodies = [(sender.path, one.body) for sender in sending for one in sender.log]
        Random(1).shuffle(bodies)
        for path, body in bodies:
            topic = TOPICS.get(path)
            source = keys.api_source if topic else keys.segment_source
            assert ingest.deliver(pool, source, topic=topic, headers={}, body=body).failed == 0
        return state(fresh, keys.site_id)


def replay_everything_twice(running: Installation, keys: Keys) -> None:
    access.forget()
    with pool_of(running.database_url) as pool:
        with pool.connection() as connection:
            kept = connection.execute(
                "select source_id, delivery_id from deliveries where body is not null"
            ).fetchall()
        sources: dict[int, Source] = {
            source.source_id: source for source in (keys.segment_source, keys.api_source)
        }
        for source_id, delivery_id in kept * 2:
            ingest.replay(pool, sources[source_id], delivery_id)
