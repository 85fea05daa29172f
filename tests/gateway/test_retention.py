"""What is older than it is kept for goes, and the ledger still tells of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from gateway import ingest, ledger, retention, tasks
from gateway.__main__ import cli
from gateway.ingest import Receipt, UnknownDelivery
from gateway.settings import Settings
from schemas import database
from tests.builders import deliver, one, rows, track
from tests.conftest import Shop
from tests.journeys.gateway_process import ROOT, until

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=45)  # a delivery of then is past its 30 days, with the rest of its week
ANCIENT = NOW - timedelta(days=500)  # an event of then is past its 400
TABLES = ("deliveries", "delivery_problems", "events", "answers")


@pytest.fixture
def site(shop: Shop, app_settings: Settings) -> Iterator[Shop]:
    """A shop that was there then; other tests find the partitions of today as they were."""
    with closing(database.connect(shop.pool.conninfo)) as connection:
        made(connection, OLD)
    yield shop
    with closing(database.connect(shop.pool.conninfo)) as connection:
        database.make_partitions(connection, at=NOW)


@pytest.fixture
def ancient(site: Shop) -> Shop:
    """One that was there before events that are still kept."""
    with site.pool.connection() as connection:
        made(connection, ANCIENT)
    return site


def made(connection: database.Connection, then: datetime) -> None:
    """Partitions of that day."""
    database.make_partitions(
        connection, at=then, events_days=1, deliveries_days=1, answers_days=1, months_ahead=0
    )


def send(site: Shop, *messages: Any, at: datetime = OLD) -> Receipt:
    """Deliver as if it had been received then."""
    body = b"[" + b",".join(database._dumps(m) for m in messages) + b"]"
    return ingest.deliver(
        site.pool, site.segment, topic=None, headers={}, body=body, received_at=at
    )


def run(site: Shop, settings: Settings, at: datetime = NOW) -> retention.Report:
    with closing(database.connect(site.pool.conninfo)) as connection:
        return retention.apply(connection, settings, at)


def sums(site: Shop) -> dict[str, Any]:
    """The ledger by source and by minute, and as metrics tell it."""
    with site.pool.connection() as connection:
        return {
            "whole": ledger.of_site(connection, site.site.site_id),
            "minutes": ledger.minutes(connection, site.site.site_id, limit=1000),
            "totals": ledger.totals(connection),
        }


def partition(at: datetime, parent: str = "deliveries") -> str:
    return f"{parent}_{at - timedelta(days=at.weekday()):%Y_%m_%d}"


def pending(site: Shop) -> list[str]:
    """Partitions of deliveries whose detach was interrupted."""
    found = rows(
        site.pool, "select inhrelid::regclass::text from pg_inherits where inhdetachpending"
    )
    return [name for (name,) in found]


def exists(site: Shop, name: str) -> bool:
    return bool(one(site.pool, "select to_regclass(%s) is not null", name))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOCK_TIMEOUT", "200ms")


@contextmanager
def transaction(site: Shop, *statements: str) -> Iterator[None]:
    """Somebody who holds what these statements lock."""
    with psycopg.connect(site.pool.conninfo) as holder:
        for statement in statements:
            holder.execute(statement)  # type: ignore[call-overload]
        yield
        holder.rollback()


# the ledger -------------------------------------------------------------------------------------


def test_the_ledger_is_the_same_after_its_deliveries_are_gone(
    site: Shop, app_settings: Settings
) -> None:
    for minutes in (0, 1, 1, 90):
        send(site, track(), {"type": "nonsense"}, 17, at=OLD + timedelta(minutes=minutes))
    send(site, track(), track(), at=NOW)
    before = sums(site)
    report = run(site, app_settings)
    assert {partition(OLD), partition(OLD, "delivery_problems")} <= set(report.dropped)
    assert one(site.pool, "select count(*) from deliveries") == 1
    assert one(site.pool, "select count(*) from delivery_problems") == 0
    assert sums(site) == before


def test_a_ledger_of_some_time_ago_is_told_too(
    site: Shop, app_settings: Settings, client: FlaskClient
) -> None:
    send(site, track(), track())
    run(site, app_settings)
    query = {"since": (OLD - timedelta(hours=1)).isoformat(), "until": NOW.isoformat()}
    told = client.get(
        "/admin/v1/ledger", query_string=query, headers={"X-API-KEY": site.secret_key}
    ).get_json()
    assert (told["total"]["deliveries"], told["total"]["applied"]) == (1, 2)


def test_what_is_young_enough_stays(site: Shop, app_settings: Settings) -> None:
    kept = NOW - timedelta(days=30)
    send(site, track(), at=kept)
    run(site, app_settings)
    assert one(site.pool, "select count(*) from deliveries") == 1
    assert exists(site, partition(kept))


def test_what_was_dropped_is_not_made_again(site: Shop, app_settings: Settings) -> None:
    send(site, track())
    with closing(database.connect(site.pool.conninfo)) as connection:
        first = tasks._partitions(connection, 0)
        again = tasks._partitions(connection, 0)
    assert partition(OLD) in first["dropped"]
    assert (again["made"], again["dropped"]) == ([], [])


# interrupted ------------------------------------------------------------------------------------

CHANGING = "lock table deliveries in share update exclusive mode"  # stops it before the first step,
BUSY = "lock table only deliveries in share update exclusive mode"  # before the detach,
READING = "select count(*) from deliveries"  # and between the detach's two halves


@pytest.mark.parametrize("holding", [CHANGING, BUSY, READING])
def test_what_waits_for_a_long_transaction_goes_afterwards(
    site: Shop, app_settings: Settings, impatient: None, holding: str
) -> None:
    send(site, track(), 17)
    before = sums(site)
    with transaction(site, holding):
        report = run(site, app_settings)
        assert partition(OLD) in report.waiting
        assert sums(site) == before
        assert run(site, app_settings).dropped == []
    assert partition(OLD) in run(site, app_settings).dropped
    assert sums(site) == before
    assert rows(site.pool, "select * from partitions_leaving") == []


def test_a_run_that_ended_before_the_drop_is_taken_up(
    site: Shop, app_settings: Settings, impatient: None
) -> None:
    send(site, track())
    before = sums(site)
    with transaction(site, READING):
        run(site, app_settings)
    with site.pool.connection() as connection:
        connection.execute(f"alter table deliveries detach partition {partition(OLD)} finalize")
    assert sums(site) == before
    assert partition(OLD) in run(site, app_settings).dropped
    assert sums(site) == before


def test_a_table_dropped_by_hand_leaves_nothing_behind(
    site: Shop, app_settings: Settings, impatient: None
) -> None:
    send(site, track())
    before = sums(site)
    with transaction(site, BUSY):
        run(site, app_settings)
    with site.pool.connection() as connection:
        connection.execute(f"drop table {partition(OLD)}")
    run(site, app_settings)
    assert rows(site.pool, "select * from partitions_leaving") == []
    assert sums(site) == before


def test_what_comes_in_meanwhile_is_not_held_up(site: Shop, app_settings: Settings) -> None:
    send(site, track())
    with ThreadPoolExecutor(1) as thread:
        with transaction(site, READING):
            running = thread.submit(run, site, app_settings)
            until(lambda: detaching(site), what="a detach that waits")
            assert deliver(site.pool, site.segment, track()).applied == 1
            assert one(site.pool, "select count(*) from deliveries") == 1
            assert not running.done()
        assert partition(OLD) in running.result().dropped


def detaching(site: Shop) -> bool:
    return bool(
        one(
            site.pool,
            "select count(*) from pg_stat_activity where query like '%%concurrently%%' "
            "and wait_event_type = 'Lock' and pid <> pg_backend_pid()",
        )
    )


def test_two_runs_at_once_count_nothing_twice(site: Shop, app_settings: Settings) -> None:
    send(site, track(), 17)
    before = sums(site)
    with ThreadPoolExecutor(4) as threads:
        reports = list(threads.map(lambda _: run(site, app_settings), range(4)))
    assert sum(partition(OLD) in report.dropped for report in reports) == 1
    assert sums(site) == before


@pytest.mark.heavy
def test_a_run_killed_while_it_waits_is_taken_up(site: Shop, app_settings: Settings) -> None:
    send(site, track(), 17)
    before = sums(site)
    with transaction(site, READING):
        process = subprocess.Popen([sys.executable, "-m", "gateway", "retention"], cwd=ROOT)
        until(lambda: detaching(site), what="a detach that waits")
        process.kill()
        process.wait()
        assert sums(site) == before
    until(lambda: partition(OLD) in run(site, app_settings).dropped, what="the drop")
    assert sums(site) == before


# what may still be applied ----------------------------------------------------------------------


def fail(site: Shop) -> Receipt:
    """A delivery of then whose event no partition takes."""
    month = f"events_{OLD:%Y_%m}"
    with site.pool.connection() as connection:
        connection.execute(f"alter table events detach partition {month}")
        connection.execute(f"alter table {month} rename to set_aside")
    failed = send(site, track(timestamp=OLD.isoformat()))
    with site.pool.connection() as connection:
        connection.execute("drop table set_aside")
        database.make_partitions(connection, at=NOW)
    assert failed.outcome == "failed"
    return failed


def test_a_week_with_failed_deliveries_stays_until_they_are_applied(
    site: Shop, app_settings: Settings
) -> None:
    failed = fail(site)
    report = run(site, app_settings)
    assert {partition(OLD), partition(OLD, "delivery_problems")} <= set(report.held)
    assert ingest.replay(site.pool, site.segment, failed.delivery_id).applied == 1
    assert partition(OLD) in run(site, app_settings).dropped


def test_but_not_for_ever_and_the_ledger_says_so(site: Shop, app_settings: Settings) -> None:
    fail(site)
    before = sums(site)
    report = run(site, app_settings, at=OLD + timedelta(days=68))
    assert partition(OLD) in report.dropped
    assert sums(site) == before
    assert before["whole"]["total"]["failed"] == 1


def test_a_delivery_that_is_summed_up_is_replayed_no_more(
    site: Shop, app_settings: Settings, impatient: None
) -> None:
    receipt = send(site, track(), 17)
    before = sums(site)
    with transaction(site, BUSY):
        run(site, app_settings)
        with pytest.raises(UnknownDelivery):
            ingest.replay(site.pool, site.segment, receipt.delivery_id)
    assert sums(site) == before


# events -----------------------------------------------------------------------------------------


def test_events_go_by_the_month_and_their_keys_stay(ancient: Shop, app_settings: Settings) -> None:
    message = track(timestamp=ANCIENT.isoformat(), messageId="ancient")
    assert send(ancient, message, at=ANCIENT + timedelta(hours=1)).applied == 1
    assert f"events_{ANCIENT:%Y_%m}" in run(ancient, app_settings).dropped
    assert one(ancient.pool, "select count(*) from events") == 0
    assert deliver(ancient.pool, ancient.segment, message).duplicate == 1


def test_a_replay_finds_events_of_dropped_months_too_old(site: Shop) -> None:
    """Received when they were young enough, and refused then."""
    refused = send(site, {"type": "nonsense"})
    body = database._dumps(track(timestamp=(NOW - timedelta(days=440)).isoformat()))
    with site.pool.connection() as connection:
        connection.execute("update deliveries set body = %s", [body])
    replayed = ingest.replay(site.pool, site.segment, refused.delivery_id)
    assert (replayed.outcome, replayed.error) == ("ignored", None)


def test_a_visitor_who_never_came_back_leaves_no_profile(
    ancient: Shop, app_settings: Settings, client: FlaskClient
) -> None:
    send(ancient, track(timestamp=ANCIENT.isoformat()), at=ANCIENT + timedelta(hours=1))
    deliver(ancient.pool, ancient.segment, track(anonymousId="a2"))
    assert ask(client, ancient, "a1") == ["p1"]
    assert ask(client, ancient, "a2") == ["p1"]
    run(ancient, app_settings, at=datetime.now(UTC))
    assert one(ancient.pool, "select count(*) from profiles") == 0
    assert ask(client, ancient, "a1") == []
    assert ask(client, ancient, "a2") == ["p1"]


def ask(client: FlaskClient, site: Shop, visitor: str) -> list[str]:
    """The products that a visitor is known to have looked at."""
    path = f"/admin/v1/visitors/{visitor}"
    told = client.get(path, headers={"X-API-KEY": site.secret_key}).get_json()
    return [product for event in told["profile"]["events"] for product in event["product_ids"]]


# the command ------------------------------------------------------------------------------------


def test_the_command_shows_what_would_go_and_drops_nothing(site: Shop) -> None:
    send(site, track())
    shown = CliRunner().invoke(cli, ["retention", "--dry-run"])
    assert shown.exit_code == 0
    assert partition(OLD) in shown.output
    assert "would be dropped" in shown.output
    assert exists(site, partition(OLD))


def test_the_command_drops_and_says_so(site: Shop) -> None:
    send(site, track())
    said = CliRunner().invoke(cli, ["retention", "--json"])
    assert f'"{partition(OLD)}"' in said.stdout
    assert not exists(site, partition(OLD))


def test_fewer_days_drop_more(site: Shop, app_settings: Settings) -> None:
    send(site, track(), at=NOW - timedelta(days=20))
    run(site, replace(app_settings, retention_deliveries_days=7))
    assert one(site.pool, "select count(*) from deliveries") == 0
