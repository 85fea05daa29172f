"""Looking inside over HTTP: events, visitors, deliveries, the ledger; each site its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import access, inspection
from tests.builders import ago, deliver, identify, track
from tests.conftest import Shop

EVENT_FIELDS = {
    "event_id", "message_id", "source", "type", "product_ids", "quantities", "revenue",
    "user_id", "anonymous_id", "occurred_at", "received_at", "mapping_version",
    "custom_action_name", "search",
}  # fmt: skip
COUNTS = ("received", "applied", "duplicate", "ignored", "refused", "failed")


@pytest.fixture
def other_key(shop: Shop) -> str:
    """A secret key of another site."""
    with shop.pool.connection() as connection:
        return access.create_site(connection, "other")["secret_key"]


class Admin:
    """`/admin/v1` with a key."""

    def __init__(self, client: FlaskClient, key: str) -> None:
        self.client = client
        self.headers = {"X-API-KEY": key}

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.client.get(f"/admin/v1/{path}", headers=self.headers, query_string=query)
        assert answer.status_code == status, answer.text
        return answer.json

    def post(self, path: str, status: int = 200) -> Any:
        answer = self.client.post(f"/admin/v1/{path}", headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json


@pytest.fixture
def admin(client: FlaskClient, shop: Shop) -> Admin:
    return Admin(client, shop.secret_key)


@pytest.fixture
def stranger(client: FlaskClient, other_key: str) -> Admin:
    return Admin(client, other_key)


# events ------------------------------------------------------------------------------------------


def test_an_event_has_the_promised_fields(shop: Shop, admin: Admin) -> None:
    message = track(userId="u1", product="p9")
    deliver(shop.pool, shop.segment, message)
    [event] = admin.get("events")["events"]
    assert set(event) == EVENT_FIELDS
    assert event["message_id"] == message["messageId"]
    assert event["source"] == shop.segment.public_id
    assert event["type"] == "product_detail_page_view"
    assert (event["user_id"], event["anonymous_id"]) == ("u1", "a1")
    assert event["product_ids"] == ["p9"]


def test_an_event_says_what_was_searched_and_what_its_sender_calls_it(
    shop: Shop, admin: Admin
) -> None:
    deliver(shop.pool, shop.segment, track("Products Searched", properties={"query": "red mug"}))
    deliver(shop.pool, shop.segment, track("Loyalty Joined"))
    told = {event["type"]: event for event in admin.get("events")["events"]}
    assert told["search"]["search"] == {"keywords": "red mug"}
    assert told["search"]["custom_action_name"] is None
    assert told["custom"]["custom_action_name"] == "Loyalty Joined"


def test_events_come_newest_first(shop: Shop, admin: Admin) -> None:
    for minutes in (5, 1, 9):
        deliver(shop.pool, shop.segment, track(timestamp=ago(minutes=minutes)))
    times = [event["occurred_at"] for event in admin.get("events")["events"]]
    assert times == sorted(times, reverse=True)


def test_events_are_found_by_any_id_of_the_person(shop: Shop, admin: Admin) -> None:
    deliver(shop.pool, shop.segment, track(anonymousId="phone"))
    deliver(shop.pool, shop.segment, track(anonymousId="somebody else"))
    deliver(shop.pool, shop.segment, identify("u1", "phone"))
    deliver(shop.pool, shop.segment, track(anonymousId="laptop", userId="u1"))
    for name in ("phone", "laptop", "u1"):
        assert len(admin.get("events", visitor=name)["events"]) == 2
    assert admin.get("events", visitor="nobody")["events"] == []


def test_events_are_filtered_by_type_time_and_number(shop: Shop, admin: Admin) -> None:
    deliver(shop.pool, shop.segment, [track(), track("Product Added"), track()])
    deliver(shop.pool, shop.segment, track(timestamp=ago(days=3)))
    assert len(admin.get("events", type="add_to_cart")["events"]) == 1
    assert len(admin.get("events", since=ago(days=1))["events"]) == 3
    assert len(admin.get("events", limit=2)["events"]) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("type", "checkout"), ("since", "yesterday"), ("limit", "0"), ("limit", "1e3"),
     ("limit", "9" * 5000), ("visitor", "a\0"), ("since", "9999999-01-01"), ("limit", "²")],
)  # fmt: skip
def test_a_bad_parameter_is_named(admin: Admin, name: str, value: str) -> None:
    answer = admin.get("events", 422, **{name: value})
    assert answer["problems"][0]["pointer"] == f"/{name}"


# visitors ----------------------------------------------------------------------------------------


def test_a_visitor_shows_ids_and_the_fact_behind_each_join(shop: Shop, admin: Admin) -> None:
    receipt = deliver(shop.pool, shop.segment, identify("u1", "phone"))
    found = admin.get("visitors/phone")
    assert {(each["kind"], each["id"]) for each in found["ids"]} == {
        ("user", "u1"),
        ("anonymous", "phone"),
    }
    [edge] = found["edges"]
    assert (edge["kind"], edge["from_id"], edge["to_id"]) == ("owned", "phone", "u1")
    assert edge["delivery_id"] == str(receipt.delivery_id)
    assert admin.get("visitors/u1")["ids"] == found["ids"]


def test_a_visitor_of_odd_id_is_found(shop: Shop, admin: Admin) -> None:
    deliver(shop.pool, shop.segment, track(anonymousId="a/b c%"))
    assert admin.get("visitors/a%2Fb%20c%25")["ids"][0]["id"] == "a/b c%"


def test_a_visitor_shows_what_was_touched_and_of_what_kind(shop: Shop, admin: Admin) -> None:
    red = {"product_id": "p1", "name": "Red teapot", "brand": "Acme"}
    deliver(shop.pool, shop.segment, track(properties=red))
    found = admin.get("visitors/a1")
    assert found["profile"]["touched"] == ["p1"]
    assert {(one["kind"], one["name"]) for one in found["interests"]} >= {
        ("brand", "Acme"),
        ("word", "teapot"),
    }
    assert found["profile"]["events"][0]["product_ids"] == ["p1"]


@pytest.mark.parametrize("name", ["nobody", "%00", "%F0%9F%9B%92", "a//b"])
def test_an_unknown_visitor_is_a_404(admin: Admin, name: str) -> None:
    admin.get(f"visitors/{name}", 404)


# deliveries --------------------------------------------------------------------------------------


def test_deliveries_are_listed_with_counts_and_reason(shop: Shop, admin: Admin) -> None:
    deliver(shop.pool, shop.segment, [track(), 17])
    [row] = admin.get("deliveries")["deliveries"]
    assert [row[name] for name in COUNTS] == [2, 1, 0, 0, 1, 0]
    assert row["source"] == shop.segment.public_id and row["connector"] == "segment"
    assert row["reason"]


def test_deliveries_are_paged_by_the_last_one_seen(shop: Shop, admin: Admin) -> None:
    sent = [str(deliver(shop.pool, shop.segment, track()).delivery_id) for _ in range(3)]
    first = admin.get("deliveries", limit=2)["deliveries"]
    rest = admin.get("deliveries", before=first[-1]["delivery_id"])["deliveries"]
    assert [row["delivery_id"] for row in first + rest] == sorted(sent, reverse=True)


def test_a_delivery_shows_each_record_raw_beside_mapped(shop: Shop, admin: Admin) -> None:
    good, bad = track("Product Added", product="p7"), track(event=" ")
    receipt = deliver(shop.pool, shop.segment, [good, bad, good])
    found = admin.get(f"deliveries/{receipt.delivery_id}")
    assert json.loads(found["body"]) == [good, bad, good]
    first, second, third = found["records"]
    assert first["record"] == good and first["outcome"] == "applied"
    assert first["mapped"][0]["type"] == "add_to_cart"
    assert first["event_ids"] == [admin.get("events")["events"][0]["event_id"]]
    assert second["outcome"] == "refused" and second["reason"] and not second["mapped"]
    assert third["outcome"] == "duplicate"


def test_a_duplicate_names_the_delivery_it_repeats(shop: Shop, admin: Admin) -> None:
    message = track()
    first = deliver(shop.pool, shop.segment, message)
    second = deliver(shop.pool, shop.segment, [message, track()])
    record = admin.get(f"deliveries/{second.delivery_id}")["records"][0]
    assert record["outcome"] == "duplicate"
    assert str(first.delivery_id) in record["reason"]


def test_an_unreadable_delivery_shows_its_bytes(shop: Shop, admin: Admin) -> None:
    receipt = deliver(shop.pool, shop.segment, b'{"type": \xff')
    found = admin.get(f"deliveries/{receipt.delivery_id}")
    assert found["encoding"] == "base64" and found["records"] == []
    assert found["outcome"] == "refused" and found["error"]


def test_a_repeat_keeps_no_body(shop: Shop, admin: Admin) -> None:
    message = track()
    deliver(shop.pool, shop.segment, message)
    receipt = deliver(shop.pool, shop.segment, message)
    found = admin.get(f"deliveries/{receipt.delivery_id}")
    assert found["outcome"] == "duplicate" and found["bytes"] is None


def test_records_of_a_large_delivery_are_shown_in_parts(shop: Shop, admin: Admin) -> None:
    receipt = deliver(shop.pool, shop.segment, [track() for _ in range(5)])
    found = admin.get(f"deliveries/{receipt.delivery_id}", offset=3, limit=10)
    assert [record["position"] for record in found["records"]] == [3, 4]


def test_a_body_too_long_to_show_is_shown_in_part(shop: Shop, admin: Admin) -> None:
    """Whoever looks at a delivery of 100 MB must not hold up those who are served."""
    events = [track(product="é" * 500) for _ in range(1200)]
    kept = deliver(shop.pool, shop.segment, json.dumps(events, ensure_ascii=False).encode())
    shown = admin.get(f"deliveries/{kept.delivery_id}", limit=2)
    assert shown["body_cut"] and shown["encoding"] == "utf-8"
    assert len(shown["body"].encode()) <= inspection.SHOWN_BYTES < shown["bytes"]
    assert len(shown["records"]) == 2


def test_a_body_too_long_to_read_shows_no_records_but_on_the_command_line(
    shop: Shop, admin: Admin
) -> None:
    padding = "x" * (inspection.READ_BYTES // 2)
    kept = deliver(shop.pool, shop.segment, [track(padding=padding), track(padding=padding)])
    shown = admin.get(f"deliveries/{kept.delivery_id}")
    assert shown["body_cut"] and shown["records"] == [] and shown["received"] == 2
    with shop.pool.connection() as connection:
        whole = inspection.delivery(connection, shop.site, kept.delivery_id, whole=True)
    assert len(whole["records"]) == 2 and "body_cut" not in whole


@pytest.mark.parametrize(
    "name", ["x", "0", "95c91754-4322-41f0-b980-e0c01864d048", "f" * 32, "0" * 32]
)
def test_an_unknown_delivery_is_a_404(admin: Admin, name: str) -> None:
    admin.get(f"deliveries/{name}", 404)
    admin.post(f"deliveries/{name}/replay", 404)


def test_a_replay_of_what_was_applied_changes_nothing(shop: Shop, admin: Admin) -> None:
    receipt = deliver(shop.pool, shop.segment, [track(), 17])
    before = admin.get("ledger")["total"]
    answer = admin.post(f"deliveries/{receipt.delivery_id}/replay")
    assert answer["outcome"] == "applied" and answer["problems"]
    assert admin.get("ledger")["total"] == before
    assert len(admin.get("events")["events"]) == 1


def test_a_replay_needs_the_scope_to_write(client: FlaskClient, shop: Shop) -> None:
    receipt = deliver(shop.pool, shop.segment, track())
    with shop.pool.connection() as connection:
        reader = access.create_key(connection, shop.site, "secret", ["admin:read"])
    answer = Admin(client, reader).post(f"deliveries/{receipt.delivery_id}/replay", 403)
    assert "admin:write" in answer["message"]


# the ledger --------------------------------------------------------------------------------------


def test_the_ledger_adds_up(shop: Shop, admin: Admin) -> None:
    message = track()
    deliver(shop.pool, shop.segment, [message, track(), 17])
    deliver(shop.pool, shop.segment, message)
    deliver(shop.pool, shop.segment, {"type": "group", "groupId": "g", "userId": "u"})
    total = admin.get("ledger")["total"]
    assert total["deliveries"] == 3
    assert total["received"] == 5 == sum(total[name] for name in COUNTS[1:])
    assert (total["applied"], total["duplicate"], total["refused"]) == (2, 1, 1)


def test_the_ledger_tells_sources_and_minutes_apart(shop: Shop, admin: Admin) -> None:
    deliver(shop.pool, shop.segment, track())
    like = {"type": "like", "product_ids": ["p1"], "anonymous_id": "a"}
    deliver(shop.pool, shop.api, {"data": [like]}, "interactions")
    answer = admin.get("ledger")
    assert {row["connector"] for row in answer["sources"]} == {"api", "segment"}
    assert sum(row["received"] for row in answer["minutes"]) == 2
    assert admin.get("ledger", until=ago(days=1))["total"]["received"] == 0


def test_the_ledger_tells_which_events_named_no_product(shop: Shop, admin: Admin) -> None:
    nameless = track("Product Added", properties={"artikel": "p1"})
    old = track("Product Added", properties={}, timestamp=ago(days=8))
    deliver(shop.pool, shop.segment, [nameless, old, track(), track("My Own", properties={})])
    [found] = admin.get("ledger")["without_product"]
    assert (found["action"], found["events"]) == ("product_added", 1)
    assert found["public_id"] == shop.segment.public_id


# another site ------------------------------------------------------------------------------------


def test_another_site_sees_and_moves_nothing(shop: Shop, admin: Admin, stranger: Admin) -> None:
    receipt = deliver(shop.pool, shop.segment, [identify("u1", "phone"), track(userId="u1"), 17])
    assert stranger.get("events")["events"] == []
    assert stranger.get("events", visitor="u1")["events"] == []
    assert stranger.get("deliveries")["deliveries"] == []
    assert stranger.get("ledger")["total"]["received"] == 0
    stranger.get("visitors/u1", 404)
    stranger.get(f"deliveries/{receipt.delivery_id}", 404)
    stranger.post(f"deliveries/{receipt.delivery_id}/replay", 404)
    assert len(admin.get("events")["events"]) == 1
