"""Every check of the doctor, made to fail by what it is there to find."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from click.testing import CliRunner
from cryptography.fernet import Fernet
from werkzeug.serving import make_server

from gateway import access, jobs, sealing
from gateway.__main__ import cli
from gateway.doctor import CHECKS, examine, machine, worst
from gateway.doctor.finding import Finding, Patient
from gateway.http import create_app, state
from gateway.running import services
from gateway.settings import Settings
from gateway.telemetry import logs
from ranking.catalog import embeddings
from ranking.catalog.encoder import exported_path
from schemas import database
from tests.builders import deliver, identify, one, rows, track
from tests.conftest import SECRET_KEY, Shop

Look = Callable[..., list[Finding]]


@pytest.fixture
def patient(app_settings: Settings) -> Iterator[Patient]:
    """The test's own services, all of them up."""
    with (
        closing(database.connect(app_settings.database_url)) as connection,
        redis.Redis.from_url(app_settings.redis_url) as client,
    ):
        yield Patient(app_settings, connection, client)


@pytest.fixture
def look(patient: Patient) -> Look:
    """What one check says of this patient, or of one with other settings."""
    checks = {check.name: check.look for check in CHECKS}

    def run(name: str, **changed: Any) -> list[Finding]:
        now = changed.pop("now", patient.now)
        settings = replace(patient.settings, **changed)
        return list(checks[name](replace(patient, settings=settings, now=now)))

    return run


def problems(found: list[Finding]) -> list[str]:
    assert all(each.advice for each in found if each.level in ("problem", "warning"))
    return [each.message for each in found if each.level == "problem"]


def warnings(found: list[Finding]) -> list[str]:
    return [each.message for each in found if each.level == "warning"]


def fine(found: list[Finding]) -> bool:
    return {each.level for each in found} == {"ok"}


# the whole ---------------------------------------------------------------------------------------


def nowhere(app_settings: Settings, **changed: Any) -> Settings:
    return replace(app_settings, public_url="http://127.0.0.1:1", port=1, **changed)


def test_without_postgres_the_rest_is_still_looked_at(app_settings: Settings) -> None:
    settings = nowhere(app_settings, database_url="postgresql://x@/x?host=/nowhere")
    found = {result.check: result for result in examine(settings)}
    assert found["postgres"].level == "problem" and "DATABASE_URL" in found["postgres"].advice
    assert found["members"].level == found["migrations"].level == "skipped"
    assert found["disk"].level != "skipped" and found["eviction"].level == "ok"
    assert found["clocks"].message.endswith("Redis's")


def test_without_redis_the_rest_is_still_looked_at(app_settings: Settings) -> None:
    found = {r.check: r for r in examine(nowhere(app_settings, redis_url="unix:///nowhere/r"))}
    assert found["redis"].level == "problem" and "REDIS_URL" in found["redis"].advice
    assert found["eviction"].level == "skipped"
    assert found["ledger"].level == "ok"


def test_an_empty_database_is_told_to_be_migrated(app_settings: Settings, worker_name: str) -> None:
    name = f"empty_{worker_name}"
    server = app_settings.database_url.rsplit("/", 1)[0]
    server, query = server, app_settings.database_url.partition("?")[2]
    with psycopg.connect(f"{server}/postgres?{query}", autocommit=True) as connection:
        connection.execute(f"create database {name} template template0")  # type: ignore[call-overload]
        try:
            settings = nowhere(app_settings, database_url=f"{server}/{name}?{query}")
            found = {result.check: result for result in examine(settings)}
        finally:
            connection.execute(f"drop database {name} with (force)")  # type: ignore[call-overload]
    assert "the extension vector is missing" in found["extensions"].message
    assert found["migrations"].message == "migrations are pending"
    assert found["roles"].level == "skipped"


def test_the_command_answers_json_and_its_status_tells_problems(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("PUBLIC_URL", "http://127.0.0.1:1")
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert answer["verdict"] == "problem"
    assert {"check", "level", "message", "advice"} == set(answer["findings"][0])


def test_the_gravest_finding_is_the_verdict(app_settings: Settings) -> None:
    found = list(examine(nowhere(app_settings)))
    assert worst(found) == "problem"
    assert worst([each for each in found if each.level == "ok"]) == "ok"


# this machine ------------------------------------------------------------------------------------


def test_little_space_is_told(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LITTLE_SPACE", 1 << 60)
    assert "are free at" in warnings(look("disk"))[0]
    monkeypatch.setattr(machine, "NO_SPACE", 1 << 60)
    assert "are free at" in problems(look("disk"))[0]


def test_secrets_that_others_may_read_are_told(look: Look, tmp_path: Path) -> None:
    key = tmp_path / "secret.key"
    key.write_text("x")
    key.chmod(0o600)
    assert fine(look("home"))
    key.chmod(0o644)
    assert problems(look("home")) == [f"others may read {key}"]


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_off_is_told(look: Look, seconds: int) -> None:
    assert fine(look("clocks"))
    found = look("clocks", now=lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    assert [("ahead of" in each, "60 minutes" in each) for each in problems(found)] == [
        (seconds > 0, True)
    ] * 2


@pytest.fixture
def served(app_settings: Settings) -> Iterator[int]:
    """The port of the real application, on every address of this machine."""
    app = create_app(app_settings)
    server = make_server("0.0.0.0", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    state.of(app).close()


def test_a_public_address_is_tried_and_https_advised(look: Look, served: int) -> None:
    local = look("public url", public_url=f"http://127.0.0.1:{served}")
    assert local[0].level == "ok" and "only this machine" in warnings(local)[0]
    plain = look("public url", public_url=f"http://127.0.0.2:{served}")
    assert plain[0].level == "ok" and "not https" in warnings(plain)[0]


def test_an_address_that_leads_elsewhere_is_told(look: Look, served: int) -> None:
    assert "cannot be reached" in problems(look("public url", public_url="http://127.0.0.1:1"))[0]
    elsewhere = problems(look("public url", public_url=f"http://127.0.0.2:{served}/wrong"))
    assert "no gateway of ours" in elsewhere[0]


def test_a_web_role_that_is_not_ready_says_why(look: Look, served: int, patient: Patient) -> None:
    assert fine(look("web", port=served))
    assert "no web role" in warnings(look("web", port=1))[0]
    names = [
        name for (name,) in patient.connection.execute("delete from migrations returning name")
    ]
    try:
        assert "migrations are pending" in problems(look("web", port=served))[0]
    finally:
        patient.connection.cursor().executemany(
            "insert into migrations (name) values (%s)", [(name,) for name in names]
        )


# Postgres ----------------------------------------------------------------------------------------


def test_a_server_that_may_forget_is_told(look: Look) -> None:
    """The tests' own does, to be fast."""
    assert "fsync" in problems(look("durability"))[0]


def test_too_few_connections_are_told(look: Look) -> None:
    assert fine(look("connections"))
    assert "Postgres allows" in warnings(look("connections", web_concurrency=50))[0]


def test_migrations_of_a_newer_version_are_told(look: Look, patient: Patient) -> None:
    assert fine(look("migrations"))
    patient.connection.execute("insert into migrations (name) values ('9999_later')")
    try:
        assert "9999_later" in warnings(look("migrations"))[0]
    finally:
        patient.connection.execute("delete from migrations where name = '9999_later'")


def test_what_an_interrupted_build_leaves_is_told(look: Look, patient: Patient) -> None:
    assert fine(look("indexes"))
    patient.connection.execute("create table doubled as select 1 as n from generate_series(1, 2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        patient.connection.execute("create unique index concurrently doubled_n on doubled (n)")
    assert problems(look("indexes")) == ["the index doubled_n is invalid"]


def test_a_model_without_its_index_is_told(look: Look, shop: Shop, patient: Patient) -> None:
    patient.connection.execute("update models set has_index = true")
    [told] = problems(look("indexes"))
    table = one(shop.pool, "select vectors_table from models")
    assert "site shop" in told and table in told
    patient.connection.execute(
        f"create index on {table} using hnsw (vector halfvec_ip_ops)"  # type: ignore[call-overload]
    )
    assert fine(look("indexes"))


def test_partitions_missing_or_kept_too_long_are_told(look: Look) -> None:
    assert fine(look("partitions"))
    later = look("partitions", now=lambda: datetime.now(UTC) + timedelta(days=500))
    assert "events_" in problems(later)[0]
    assert "kept beyond their time: " in warnings(later)[0]


# Redis, roles, tasks -----------------------------------------------------------------------------


def test_an_evicting_redis_is_told_by_the_doctor_and_by_roles(
    app_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with services.start_redis(tmp_path) as url, redis.Redis.from_url(url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        logs.configure("INFO", form="json")
        jobs._warn_of_eviction(client)
        results = list(examine(nowhere(app_settings, redis_url=url)))
        client.config_set("maxmemory-policy", "noeviction")
        jobs._warn_of_eviction(client)
    root.handlers[:] = handlers
    root.setLevel(level)
    [told] = [each for each in results if each.check == "eviction"]
    assert told.level == "problem" and "allkeys-lru" in told.message
    assert capsys.readouterr().err.count("redis evicts") == 1


def test_roles_that_are_silent_are_told(look: Look, shop: Shop, patient: Patient) -> None:
    assert len(problems(look("roles"))) == 4
    patient.connection.execute(
        "insert into heartbeats select role, 'h', 1, now(), now() - age from (values "
        "('worker', interval '0'), ('encoder', '0'), ('trainer', '0'), ('clock', '5 min')) "
        "as r(role, age)"
    )
    assert problems(look("roles")) == ["no clock has reported for 5 minutes"]


def test_tasks_that_failed_or_never_ended_are_told(
    look: Look, shop: Shop, patient: Patient
) -> None:
    site_id, now = shop.site.site_id, datetime.now(UTC)
    jobs.claim(patient.connection, "fit", site_id, now - timedelta(hours=3))
    jobs.finish(patient.connection, "fit", site_id, {"error": "ValueError: broken"})
    jobs.claim(patient.connection, "popularity", site_id, now - timedelta(hours=3))
    patient.connection.execute("update task_runs set started_at = slot where task = 'popularity'")
    found = look("tasks")
    assert "fit of site shop failed" in problems(found)[0] and "broken" in problems(found)[0]
    assert "popularity of site shop" in warnings(found)[0]
    jobs.claim(patient.connection, "fit", site_id, now)
    jobs.finish(patient.connection, "fit", site_id, {})
    assert not problems(look("tasks"))


def test_failed_deliveries_are_told(look: Look, shop: Shop, patient: Patient) -> None:
    assert fine(look("failed deliveries"))
    deliver(shop.pool, shop.segment, track())
    patient.connection.execute(
        "update deliveries set failed = received, applied = 0, outcome = 'failed', "
        "error = 'KeyError: x'"
    )
    assert "1 deliveries to shop" in warnings(look("failed deliveries"))[0]
    patient.connection.execute("update deliveries set received_at = received_at - interval '2 h'")
    assert "KeyError: x" in problems(look("failed deliveries"))[0]


def test_feeds_that_fail_are_told(look: Look, shop: Shop, patient: Patient) -> None:
    patient.connection.execute(
        "insert into sources "
        "(site_id, public_id, connector, dedupe_scope, secrets_sealed, settings) "
        "values (%s, 'feedid', 'feed', 0, %s, %s)",
        [shop.site.site_id, sealing.seal("[]"), '{"url": "https://shop.example/feed.xml"}'],
    )
    patient.connection.execute(
        "insert into feeds (site_id, source_id, next_run, failures) "
        "select site_id, source_id, now(), 3 from sources where connector = 'feed'"
    )
    [told] = look("feeds")
    assert "https://shop.example/feed.xml of shop has never been read" in told.message
    assert "pull shop feedid" in told.advice


# the catalog -------------------------------------------------------------------------------------


def test_an_export_that_is_missing_or_broken_is_told(look: Look, tmp_path: Path) -> None:
    assert "is not there" in warnings(look("encoder"))[0]
    path = exported_path(tmp_path / "models")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no network")
    assert "cannot be used" in problems(look("encoder"))[0]


@pytest.mark.heavy
def test_an_export_that_says_something_else_is_told(look: Look, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    inputs = [
        helper.make_tensor_value_info(name, kinds.INT64, ["texts", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("vectors", kinds.FLOAT, [1, 384])
    value = helper.make_tensor("v", kinds.FLOAT, [1, 384], [1.0] + [0.0] * 383)
    node = helper.make_node("Constant", [], ["vectors"], value=value)
    graph = helper.make_graph([node], "another", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path = exported_path(tmp_path / "models")
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())
    assert "differs from the transformer" in problems(look("encoder"))[0]


def test_products_given_up_or_waiting_are_told(look: Look, shop: Shop, patient: Patient) -> None:
    assert fine(look("products"))
    patient.connection.execute(
        "insert into products_to_encode "
        "(site_id, product_no, text_hash, queued_at, attempts, error) "
        "values (%(s)s, 1, gen_random_uuid(), now() - interval '2 h', 0, null), "
        "(%(s)s, 2, gen_random_uuid(), now(), %(most)s, 'ValueError: odd')",
        {"s": shop.site.site_id, "most": embeddings.MAX_ATTEMPTS},
    )
    found = look("products")
    assert "products that wait for the encoder: 1" in problems(found)[0]
    assert "ValueError: odd" in warnings(found)[0]


# what was received -------------------------------------------------------------------------------


def received(shop: Shop, hours: range) -> None:
    """One delivery that many hours ago each."""
    with shop.pool.connection() as connection:
        connection.cursor().executemany(
            "insert into deliveries (site_id, received_at, delivery_id, source_id, outcome, "
            "received, applied, duplicate, ignored, refused, failed, headers, body_hash) "
            "values (%s, now() - make_interval(hours => %s), gen_random_uuid(), %s, 'applied', "
            "1, 1, 0, 0, 0, 0, '{}', gen_random_uuid())",
            [(shop.site.site_id, each, shop.segment.source_id) for each in hours],
        )


def test_a_source_that_fell_silent_is_told(look: Look, shop: Shop) -> None:
    received(shop, range(30, 300, 8))
    [told] = warnings(look("quiet sources"))
    assert shop.segment.public_id in told and "30 hours" in told and "8 hours" in told


def test_a_source_as_silent_as_ever_or_hardly_used_is_not(look: Look, shop: Shop) -> None:
    received(shop, range(12, 300, 10))
    assert fine(look("quiet sources"))


def test_a_source_that_was_tried_once_is_not_told(look: Look, shop: Shop) -> None:
    received(shop, range(100, 105))
    assert fine(look("quiet sources"))


def order(order_id: str, **fields: Any) -> dict[str, Any]:
    properties = {
        "order_id": order_id,
        "total": 20.5,
        "products": [{"product_id": "p1", "price": 20.5, "quantity": 1}],
    }
    return track("Order Completed", properties=properties, **fields)


@pytest.fixture
def second(shop: Shop) -> access.Source:
    """Another source of the shop, as a platform's own webhook beside Segment would be."""
    with shop.pool.connection() as connection:
        return access.create_source(connection, shop.site, "segment").source


def test_orders_that_two_sources_tell_are_told(
    look: Look, shop: Shop, second: access.Source
) -> None:
    deliver(shop.pool, shop.segment, order("o-1", userId="u1"))
    assert fine(look("orders"))
    deliver(shop.pool, second, order("o-1", userId="u1"))
    [told] = warnings(look("orders"))
    assert second.public_id in told and "1 orders of shop" in told and "counted once" in told
    assert "o-1" in told and not problems(look("orders"))


def test_a_repeat_of_ones_own_is_no_second_source(
    look: Look, shop: Shop, second: access.Source
) -> None:
    deliver(shop.pool, shop.segment, order("o-1", userId="u1"))
    twice = track()
    deliver(shop.pool, second, twice)
    deliver(shop.pool, second, twice)
    assert fine(look("orders"))


def test_orders_counted_twice_under_two_ids_are_told(
    look: Look, shop: Shop, second: access.Source
) -> None:
    deliver(shop.pool, shop.segment, order("o-1", userId="u1"))
    deliver(shop.pool, second, order("5550001", userId="u1"))
    [told] = problems(look("orders"))
    assert "counted twice" in told and "o-1" in told and "5550001" in told


def test_members_are_held_against_the_facts(look: Look, shop: Shop, patient: Patient) -> None:
    sent = [identify(f"u{n % 3}", f"a{n}") for n in range(9)]
    sent += [{"type": "alias", "previousId": "u0", "userId": "u1", "messageId": "al"}]
    sent += [identify(f"u{n}", "kiosk") for n in range(7)]
    deliver(shop.pool, shop.segment, sent)
    assert len(rows(shop.pool, "select * from members")) > 10
    assert fine(look("members"))
    patient.connection.execute(
        "delete from members where actor_id = (select max(actor_id::text)::uuid from members "
        "join identity_edges on from_actor = actor_id where actor_id <> visitor_id)"
    )
    assert "1 of 500 ids of shop" in problems(look("members"))[0]


def test_a_ledger_without_its_constraint_is_told(
    look: Look, patient: Patient, connection: database.Connection
) -> None:
    assert fine(look("ledger"))
    connection.execute("alter table deliveries drop constraint ledger_balances")
    patient.postgres, before = connection, patient.postgres
    assert "deliveries" in problems(look("ledger"))[0]
    patient.postgres = before


def test_secrets_sealed_with_another_key_are_told(look: Look, shop: Shop) -> None:
    assert fine(look("secrets"))
    sealing.unlock(Fernet.generate_key().decode())
    try:
        assert "cannot be opened" in problems(look("secrets"))[0]
    finally:
        sealing.unlock(SECRET_KEY)
        access.forget()
