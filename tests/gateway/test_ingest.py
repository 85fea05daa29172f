"""Deliveries through ingest: what is applied, kept, counted, replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import access, apply, ingest
from tests.builders import ago, deliver, delivery_row, identify, one, rows, track
from tests.conftest import Shop

COUNTS = ("received", "applied", "duplicate", "ignored", "refused", "failed")


def counts(shop: Shop) -> dict[str, int]:
    columns = ", ".join(f"coalesce(sum({name}), 0)::int" for name in COUNTS)
    [row] = rows(shop.pool, f"select {columns} from deliveries")
    return dict(zip(COUNTS, row, strict=True))


def test_a_repeated_message_has_one_effect(shop: Shop) -> None:
    message = track()
    assert deliver(shop.pool, shop.segment, message).outcome == "applied"
    assert deliver(shop.pool, shop.segment, message).outcome == "duplicate"
    assert one(shop.pool, "select count(*) from events") == 1


def test_a_repeat_with_another_time_is_a_repeat(shop: Shop) -> None:
    message = track()
    deliver(shop.pool, shop.segment, message)
    receipt = deliver(shop.pool, shop.segment, message | {"timestamp": ago(minutes=9)})
    assert receipt.duplicate == 1


def test_an_exact_repeat_keeps_its_hash_but_not_its_bytes(shop: Shop) -> None:
    message = track()
    deliver(shop.pool, shop.segment, message)
    repeat = delivery_row(shop.pool, deliver(shop.pool, shop.segment, message).delivery_id)
    assert repeat["body"] is None
    assert repeat["body_hash"] is not None


def test_a_message_twice_in_one_body_counts_once(shop: Shop) -> None:
    message = track()
    receipt = deliver(shop.pool, shop.segment, [message, message, track()])
    assert (receipt.applied, receipt.duplicate) == (2, 1)


def test_an_order_is_one_purchase_whatever_message_tells_of_it(shop: Shop) -> None:
    order = {"order_id": "o1", "revenue": 9, "products": [{"product_id": "p1", "quantity": 2}]}
    for _ in range(2):
        deliver(shop.pool, shop.segment, track("Order Completed", properties=order))
    assert one(shop.pool, "select count(*) from events where type = 'purchase'") == 1


def test_records_without_id_and_time_are_told_apart_by_place(shop: Shop) -> None:
    click = {"type": "click", "product_ids": ["p1"], "anonymous_id": "a1"}
    body = {"data": [click, click]}
    assert deliver(shop.pool, shop.api, body, "interactions").applied == 2
    assert deliver(shop.pool, shop.api, body, "interactions").duplicate == 2


def test_one_bad_record_leaves_the_others_applied(shop: Shop) -> None:
    receipt = deliver(shop.pool, shop.segment, [track(), 17, track(event=" "), track()])
    assert (receipt.applied, receipt.refused) == (2, 2)
    assert {problem.pointer for problem in receipt.problems} == {"/1", "/3/event"} or {
        problem.position for problem in receipt.problems
    } == {1, 2}


@pytest.mark.parametrize(
    ("message", "pointer"),
    [
        (track(userId="u" * 600), "/userId"),
        (track(anonymousId="a" * 2000), "/anonymousId"),
        (track(event="e" * 2000), "/event"),
        (track(properties={"product_id": "p" * 600}), "/properties"),
        (track("Order Completed", properties={"order_id": "o" * 600}), "/properties/order_id"),
        (identify("u" * 600, "a1"), "/userId"),
    ],
)
def test_what_breaks_the_schema_is_pointed_at_in_the_senders_words(
    shop: Shop, message: dict[str, Any], pointer: str
) -> None:
    alone = deliver(shop.pool, shop.segment, message)
    second = deliver(shop.pool, shop.segment, [track(), message])
    assert [problem.pointer for problem in alone.problems] == [pointer]
    assert [problem.pointer for problem in second.problems] == [f"/1{pointer}"]


def test_all_or_nothing_applies_nothing(shop: Shop) -> None:
    body = (
        b'{"data": [{"type": "like", "product_ids": ["p1"], "anonymous_id": "a"}, {"type": "x"}]}'
    )
    receipt = ingest.deliver(
        shop.pool, shop.api, topic="interactions", headers={}, body=body, all_or_nothing=True
    )
    assert (receipt.applied, receipt.refused) == (0, 2)
    assert one(shop.pool, "select count(*) from events") == 0
    assert delivery_row(shop.pool, receipt.delivery_id)["body"] == body


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a": NaN}', b"1"])
def test_an_unreadable_body_is_refused_and_kept(shop: Shop, body: bytes) -> None:
    receipt = deliver(shop.pool, shop.segment, body)
    assert receipt.outcome == "refused"
    assert bytes(delivery_row(shop.pool, receipt.delivery_id)["body"]) == body


def test_an_event_from_the_future_is_clamped_to_its_receipt(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, track(timestamp="2999-01-01T00:00:00Z"))
    assert one(shop.pool, "select occurred_at = received_at from events")


def test_an_event_older_than_retention_is_ignored_by_name(shop: Shop) -> None:
    receipt = deliver(shop.pool, shop.segment, track(timestamp="2001-01-01T00:00:00Z"))
    assert receipt.ignored == 1
    assert "older than events are kept" in receipt.problems[0].reason
    assert one(shop.pool, "select count(*) from event_keys") == 0


@pytest.fixture
def events_kept_30_days(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RETENTION_EVENTS_DAYS", "30")
    apply.events_kept.cache_clear()
    yield
    apply.events_kept.cache_clear()


def test_how_old_an_event_may_be_is_a_setting(shop: Shop, events_kept_30_days: None) -> None:
    sent = [track(timestamp=ago(days=days)) for days in (29, 31, 399)]
    receipt = deliver(shop.pool, shop.segment, sent)
    assert (receipt.applied, receipt.ignored) == (1, 2)


def test_strings_that_postgres_cannot_hold_are_stored_cleaned(shop: Shop) -> None:
    body = b'{"type":"track","event":"a\\u0000b","messageId":"n","anonymousId":"\\ud800x"}'
    assert deliver(shop.pool, shop.segment, body).applied == 1
    assert bytes(one(shop.pool, "select body from deliveries")) == body


# our own failures -------------------------------------------------------------------------------


@contextmanager
def failing(shop: Shop) -> Iterator[None]:
    """No event of this month can be stored meanwhile."""
    now = datetime.now(UTC)
    month = f"events_{now:%Y_%m}"
    start = f"{now:%Y-%m-01} 00:00+00"
    end = f"{now.replace(day=1) + timedelta(days=32):%Y-%m-01} 00:00+00"
    with shop.pool.connection() as connection:
        connection.execute(f"alter table events detach partition {month}")
        try:
            yield
        finally:
            connection.execute(
                f"alter table events attach partition {month} "
                f"for values from ('{start}') to ('{end}')"
            )


def test_a_failed_body_that_was_sent_again_since_is_a_repeat(shop: Shop) -> None:
    """Its record has neither id nor time, and the hour has turned: nothing else would tell."""
    body = b'{"data": [{"type": "like", "product_ids": ["p1"], "anonymous_id": "a1"}]}'
    before = datetime.now(UTC) - timedelta(hours=2)
    with failing(shop):
        failed = ingest.deliver(
            shop.pool, shop.api, topic="interactions", headers={}, body=body, received_at=before
        )
    assert failed.outcome == "failed"
    assert deliver(shop.pool, shop.api, body, "interactions").applied == 1
    ingest.retry_failed(shop.pool, shop.site.site_id)
    assert delivery_row(shop.pool, failed.delivery_id)["outcome"] == "duplicate"
    assert one(shop.pool, "select count(*) from events") == 1


def test_one_monstrous_name_costs_no_other_record(shop: Shop) -> None:
    traits = {"n" * 10_000: 1, "plan": "pro"}
    receipt = deliver(shop.pool, shop.segment, [track(), identify("u1", "a1", traits=traits)])
    assert receipt.applied == 2
    assert rows(shop.pool, "select name from user_traits") == [("custom_attributes.plan",)]


def test_what_our_code_fails_on_is_kept_and_applied_later(shop: Shop) -> None:
    """A missing partition is the plainest failure inside the transaction."""
    with failing(shop):
        receipt = deliver(shop.pool, shop.segment, [track(timestamp=None), identify("u1", "a1")])
    assert (receipt.outcome, receipt.failed) == ("failed", 2)
    assert "no partition" in str(receipt.error)
    assert one(shop.pool, "select count(*) from actors") == 0

    later = datetime.now(UTC) + timedelta(hours=1)
    assert ingest.retry_failed(shop.pool, shop.site.site_id, at=later) == 1
    assert counts(shop) | {"failed": 0} == counts(shop)
    assert one(shop.pool, "select count(*) from events") == 1


# replay -----------------------------------------------------------------------------------------


def test_a_replayed_delivery_changes_nothing(shop: Shop) -> None:
    receipt = deliver(shop.pool, shop.segment, [track(), 17, identify("u1", "a1")])
    before = (counts(shop), rows(shop.pool, "select * from events"))
    again = ingest.replay(shop.pool, shop.segment, receipt.delivery_id)
    assert (again.applied, again.refused) == (2, 1)
    assert (counts(shop), rows(shop.pool, "select * from events")) == before


def test_a_replay_moves_what_it_mends_from_refused_to_applied(shop: Shop) -> None:
    """As after an upgrade that understands more: here the kept bytes are mended instead."""
    receipt = deliver(shop.pool, shop.segment, [track(), track(event="")])
    mended = receipt.delivery_id
    body = bytes(delivery_row(shop.pool, mended)["body"]).replace(b'"event": ""', b'"event": "x"')
    with shop.pool.connection() as connection:
        connection.execute("update deliveries set body = %s", [body])
    ingest.replay(shop.pool, shop.segment, mended)
    row = delivery_row(shop.pool, mended)
    assert (row["received"], row["applied"], row["refused"]) == (2, 2, 0)
    assert one(shop.pool, "select count(*) from delivery_problems where resolved_at is null") == 0


def test_replaying_an_unknown_delivery_says_so(shop: Shop) -> None:
    other = deliver(shop.pool, shop.segment, track()).delivery_id
    with pytest.raises(ingest.UnknownDelivery):
        ingest.replay(shop.pool, shop.segment, type(other)(int=other.int ^ 1))


# many at once -----------------------------------------------------------------------------------


def test_a_thousand_parallel_copies_have_one_effect(shop: Shop) -> None:
    message = track()
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(
            threads.map(lambda _: deliver(shop.pool, shop.segment, message).outcome, range(1000))
        )
    assert sorted(set(outcomes)) == ["applied", "duplicate"]
    assert outcomes.count("applied") == 1
    assert counts(shop) == dict(zip(COUNTS, (1000, 1, 999, 0, 0, 0), strict=True))


def test_overlapping_shuffled_batches_never_deadlock(shop: Shop) -> None:
    messages = [
        track(
            product=f"p{n % 40}", anonymousId=f"a{n % 60}", userId=f"u{n % 25}" if n % 3 else None
        )
        for n in range(400)
    ]
    before = deadlocks(shop)

    def send(seed: int) -> int:
        batch = Random(seed).sample(messages, 200)
        return deliver(shop.pool, shop.segment, batch).received

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(send, range(32))) == 32 * 200
    assert deadlocks(shop) == before
    assert counts(shop)["applied"] == one(shop.pool, "select count(*) from events")


def deadlocks(shop: Shop) -> int:
    return int(
        one(
            shop.pool,
            "select deadlocks from pg_stat_database where datname = current_database()",
        )
    )


# any order --------------------------------------------------------------------------------------

DAY = [
    track(product=f"p{n % 5}", anonymousId=f"a{n % 3}", userId="u1" if n % 4 == 0 else None,
          timestamp=ago(hours=12, minutes=-n), messageId=f"day-{n}")
    for n in range(12)
] + [
    identify("u1", "a0", messageId="day-i1", timestamp=ago(hours=3),
             traits={"age": 3, "name": "A"}),
    identify("u1", "a0", messageId="day-i2", timestamp=ago(hours=2), traits={"age": 4}),
    identify("u2", "a1", messageId="day-i3", timestamp=ago(hours=1)),
    {"type": "alias", "messageId": "day-al", "previousId": "u3", "userId": "u2",
     "timestamp": ago(hours=2)},
    track(messageId="day-u3", anonymousId=None, userId="u3", timestamp=ago(hours=5)),
    {"type": "delete", "messageId": "day-del", "userId": "u2", "timestamp": ago(hours=4)},
]  # fmt: skip


def state(shop: Shop) -> dict[str, Any]:
    """All that must not depend on order; what says when or in which delivery is left out."""
    return {
        name: rows(shop.pool, statement)
        for name, statement in {
            "events": "select event_id, occurred_at, actor_id, type::text, product_ids, data "
            "from events order by event_id",
            "members": "select actor_id, visitor_id from members order by 1",
            "edges": "select kind, from_actor, to_actor, occurred_at from identity_edges "
            "order by 1, 2, 3",
            "actors": "select actor_id, kind, sent_id, erased_at from actors order by 1",
            "traits": "select user_id, name, as_of, value from user_traits order by 1, 2",
        }.items()
    }


def wipe(shop: Shop) -> None:
    with shop.pool.connection() as connection:
        for table in ("events", "event_keys", "members", "identity_edges", "actors", "user_traits",
                      "deliveries", "delivery_problems", "users"):  # fmt: skip
            connection.execute(f"delete from {table}")


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(), cuts=st.lists(st.integers(1, len(DAY) * 2 - 1), max_size=6))
def test_a_shuffled_and_duplicated_day_gives_the_same_state(
    shop: Shop, seed: int, cuts: list[int]
) -> None:
    wipe(shop)
    deliver(shop.pool, shop.segment, DAY)
    expected = state(shop)
    wipe(shop)
    day = DAY * 2
    Random(seed).shuffle(day)
    edges = [0, *sorted(cuts), len(day)]
    for start, end in pairwise(edges):
        deliver(shop.pool, shop.segment, day[start:end])
    assert state(shop) == expected


# erasure ----------------------------------------------------------------------------------------


def test_erasure_takes_everything_up_to_its_instant_and_stops_late_retries(shop: Shop) -> None:
    old = track(userId="u1", timestamp=ago(hours=2))
    deliver(shop.pool, shop.segment, [old, identify("u1", "a1", timestamp=ago(hours=2))])
    deliver(shop.pool, shop.segment, track(timestamp=ago(hours=1), messageId="new-life"))
    gone = {"type": "delete", "userId": "u1", "messageId": "d", "timestamp": ago(minutes=90)}
    assert deliver(shop.pool, shop.segment, gone).applied == 1
    assert rows(shop.pool, "select message_id from events") == [("new-life",)]
    late = track(userId="u1", timestamp=ago(hours=3), messageId="late")
    assert "erased" in deliver(shop.pool, shop.segment, late).problems[0].reason
    assert one(shop.pool, "select count(*) from actors where sent_id = 'u1'") == 0


def test_an_event_overtaken_by_an_erasure_is_not_stored(shop: Shop) -> None:
    """The erasure commits between the event's snapshot and its lock on the actor."""
    deliver(shop.pool, shop.segment, track(userId="u1", anonymousId=None))
    with psycopg.connect(shop.pool.conninfo) as eraser, ThreadPoolExecutor(1) as thread:
        eraser.execute("update actors set erased_at = now(), version = version + 1")
        waiting = thread.submit(
            deliver, shop.pool, shop.segment, track(userId="u1", anonymousId=None)
        )
        _wait_for_a_lock(shop)
        eraser.commit()
        assert waiting.result().ignored == 1


def _wait_for_a_lock(shop: Shop) -> None:
    while not one(
        shop.pool,
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' "
        "and datname = current_database()",
    ):
        pass


# uploads ----------------------------------------------------------------------------------------


def test_what_an_api_deleted_comes_back_with_its_next_upload(shop: Shop) -> None:
    mug = {"data": [{"product_id": "p1", "title": "Mug", "updated_at": "2020-01-01T00:00:00Z"}]}
    deliver(shop.pool, shop.api, mug, "products")
    deliver(shop.pool, shop.api, {"data": {"product_ids": ["p1"]}}, "products/_delete")
    assert rows(shop.pool, "select deleted, available from products") == [(True, False)]
    deliver(shop.pool, shop.api, mug, "products")
    assert rows(shop.pool, "select deleted, available from products") == [(False, True)]


def test_an_upload_older_than_the_stored_record_changes_nothing(shop: Shop) -> None:
    for year, title in ((2021, "new"), (2020, "old")):
        mug = {"product_id": "p1", "title": title, "updated_at": f"{year}-01-01T00:00:00Z"}
        deliver(shop.pool, shop.api, {"data": [mug]}, "products")
    assert one(shop.pool, "select record->>'title' from products") == "new"


def test_an_anonymous_visitor_can_be_erased(shop: Shop) -> None:
    view = {"type": "click", "product_ids": ["p1"], "anonymous_id": "a1", "timestamp": ago(hours=1)}
    deliver(shop.pool, shop.api, {"data": [view]}, "interactions")
    body = {"anonymous_ids": ["a1"], "user_ids": ["u1"]}
    assert deliver(shop.pool, shop.api, body, "interactions/_delete").applied == 2
    assert one(shop.pool, "select count(*) from events") == 0


def test_a_deletion_applied_late_spares_what_was_uploaded_since(shop: Shop) -> None:
    upload = {"data": [{"product_id": "p1", "title": "Mug"}]}
    deliver(shop.pool, shop.api, upload, "products")
    body = b'{"data": {"product_ids": ["p1"]}}'
    before = datetime.now(UTC) - timedelta(minutes=9)
    ingest.deliver(
        shop.pool, shop.api, topic="products/_delete", headers={}, body=body, received_at=before
    )
    assert one(shop.pool, "select deleted from products") is False


def test_a_record_overtaken_by_an_erasure_is_not_stored(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, track(userId="u1", anonymousId=None))
    old = {"data": [{"user_id": "u1", "name": "Jane", "updated_at": "2020-01-01T00:00:00Z"}]}
    with psycopg.connect(shop.pool.conninfo) as eraser, ThreadPoolExecutor(1) as thread:
        eraser.execute("update actors set erased_at = now(), version = version + 1")
        waiting = thread.submit(deliver, shop.pool, shop.api, old, "users")
        _wait_for_a_lock(shop)
        eraser.commit()
        waiting.result()
    assert one(shop.pool, "select count(*) from users") == 0


def test_a_new_life_after_an_erasure_joins_in_any_order(shop: Shop) -> None:
    """The tombstone's row is there already when the id is sent for the first time again."""
    gone = {"type": "delete", "userId": "p", "messageId": "d", "timestamp": ago(hours=2)}
    alias = {"type": "alias", "previousId": "p", "userId": "u", "messageId": "al",
             "timestamp": ago(minutes=5)}  # fmt: skip
    for message in (gone, alias, track(userId="p", anonymousId=None)):
        deliver(shop.pool, shop.segment, message)
    assert one(shop.pool, "select count(distinct visitor_id) from members") == 1
    assert one(shop.pool, "select count(*) from members") >= 2


# consent ----------------------------------------------------------------------------------------


def test_who_does_not_consent_is_counted_and_not_kept(shop: Shop) -> None:
    with shop.pool.connection() as connection:
        access.change_settings(connection, shop.segment, {"consent": ["Advertising"]})
        source = access.source_by_id(connection, shop.site.site_id, shop.segment.source_id)
    assert source is not None
    no = {"consent": {"categoryPreferences": {"Advertising": False}}}
    yes = {"consent": {"categoryPreferences": {"Advertising": True}}}
    batch = [track(anonymousId="somebody", context=no), track(context=yes)]
    receipt = deliver(shop.pool, source, batch)
    assert (receipt.received, receipt.applied, receipt.ignored) == (2, 1, 1)
    kept = json.loads(delivery_row(shop.pool, receipt.delivery_id)["body"])
    assert kept == [{"withheld": True}, batch[1]]
    again = ingest.replay(shop.pool, source, receipt.delivery_id)
    assert (again.applied, again.ignored) == (1, 1)
    assert rows(shop.pool, "select 1 from actors where sent_id = 'somebody'") == []
