"""A customer's own names: set, tried on what was kept, applied to it by a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from gateway import access, erasing, ingest, inspection, mappings
from gateway.__main__ import cli
from ranking.visitors import profile
from ranking.visitors.identity import actor_id
from tests.builders import ago, deliver, delivery_row, identify, one, rows, track
from tests.conftest import Shop
from tests.faults.state import assert_equal_states, state

SEEN = {
    "when": {"/event": "Artikel gesehen"},
    "set": {"/event": "Product Viewed"},
    "move": {"/properties/product_id": "/properties/artikel/nr"},
}
BOUGHT = {
    "when": {"/event": "Bestellt"},
    "set": {"/event": "Order Completed"},
    "move": {"/properties/order_id": "/properties/nr", "/properties/revenue": "/properties/preis"},
}
MAPPING = {"rules": [SEEN, BOUGHT]}
NOTHING: dict[str, Any] = {"rules": []}


def seen(number: str = "p1", **fields: Any) -> dict[str, Any]:
    """What a German shop sends where a product was looked at."""
    return track("artikel gesehen ", properties={"artikel": {"nr": number}}, **fields)


def bought(order_id: str, **fields: Any) -> dict[str, Any]:
    products = [{"product_id": "p1", "quantity": 1}]
    properties = {"nr": order_id, "preis": 20, "products": products}
    return track("Bestellt", properties=properties, **fields)


def source(shop: Shop) -> access.Source:
    """The Segment source as it is now."""
    with shop.pool.connection() as connection:
        return access.source_of_site(connection, shop.site, shop.segment.public_id)


def put(shop: Shop, document: dict[str, Any]) -> dict[str, Any]:
    with shop.pool.connection() as connection:
        return mappings.put(connection, shop.segment, document)


def remap(shop: Shop, delivery_id: UUID) -> ingest.Receipt:
    return ingest.replay(shop.pool, source(shop), delivery_id, remap=True)


def types(shop: Shop) -> list[tuple[str, list[str]]]:
    return rows(shop.pool, "select type::text, product_ids from events order by occurred_at, type")


# HTTP -------------------------------------------------------------------------------------------


class Mappings:
    """`/admin/v1/sources/SOURCE/mapping` with a key."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.headers = client, {"X-API-KEY": shop.secret_key}
        self.path = f"/admin/v1/sources/{shop.segment.public_id}/mapping"

    def call(self, method: str, more: str = "", body: Any = None, status: int = 200) -> Any:
        answer = self.client.open(self.path + more, method=method, json=body, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json


@pytest.fixture
def http(client: FlaskClient, shop: Shop) -> Mappings:
    return Mappings(client, shop)


def test_a_mapping_is_shown_set_and_kept_in_all_versions(http: Mappings, shop: Shop) -> None:
    shown = http.call("GET")
    assert (shown["version"], shown["mapping"], shown["versions"]) == (None, NOTHING, [])
    first = http.call("PUT", body=MAPPING)
    assert first == {"source": shop.segment.public_id, "version": 1, "changed": True}
    assert http.call("PUT", body=MAPPING)["changed"] is False
    assert http.call("PUT", body=NOTHING)["version"] == 2
    shown = http.call("GET")
    assert (shown["version"], shown["mapping"]) == (2, NOTHING)
    assert [(one["version"], one["rules"]) for one in shown["versions"]] == [(2, 0), (1, 2)]
    assert http.call("GET", "?version=1")["mapping"] == MAPPING
    http.call("GET", "?version=3", status=404)
    http.call("GET", "?version=x", status=422)


def test_no_mapping_is_a_mapping_without_rules(http: Mappings) -> None:
    assert http.call("PUT", body=NOTHING) | {"source": ""} == {
        "source": "",
        "version": None,
        "changed": False,
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"rules": [{"set": {"event": 1}}]}, "/rules/0/set/event"),
        ({"rule": []}, "/rule"),
        (17, ""),
    ],
    ids=["pointer", "key", "number"],
)
def test_what_is_wrong_with_a_mapping_is_pointed_at(
    http: Mappings, shop: Shop, body: Any, pointer: str
) -> None:
    refused = http.call("PUT", body=body, status=422)
    assert pointer in [problem["pointer"] for problem in refused["problems"]]
    tried = http.call("POST", "/try", {"mapping": body}, status=422)
    assert f"/mapping{pointer}" in [problem["pointer"] for problem in tried["problems"]]
    assert rows(shop.pool, "select 1 from source_mappings") == []


@pytest.mark.parametrize(
    "body",
    [[], {}, {"mapping": NOTHING, "last": 0}, {"mapping": NOTHING, "last": True}, {"more": 1}],
    ids=repr,
)
def test_a_trial_that_cannot_be_is_refused(http: Mappings, body: Any) -> None:
    http.call("POST", "/try", body, status=422)


def test_another_sites_source_is_none(client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        key = access.create_site(connection, "other")["secret_key"]
    path = f"/admin/v1/sources/{shop.segment.public_id}/mapping"
    for method, more in (("GET", ""), ("PUT", ""), ("POST", "/try")):
        answer = client.open(path + more, method=method, json=MAPPING, headers={"X-API-KEY": key})
        assert answer.status_code == 404, answer.text
    assert rows(shop.pool, "select 1 from source_mappings") == []


# receiving --------------------------------------------------------------------------------------


def test_what_arrives_is_read_by_the_mapping_and_says_so(http: Mappings, shop: Shop) -> None:
    deliver(shop.pool, source(shop), track())
    http.call("PUT", body=MAPPING)
    sent = seen("p7")
    delivery = deliver(shop.pool, source(shop), [sent, bought("o1")]).delivery_id
    events = {
        (event["type"], *event["product_ids"], event["mapping_version"])
        for event in http.client.get("/admin/v1/events", headers=http.headers).json["events"]
    }
    assert events == {
        ("product_detail_page_view", "p1", None),
        ("product_detail_page_view", "p7", 1),
        ("purchase", "p1", 1),
    }
    shown = http.client.get(f"/admin/v1/deliveries/{delivery}", headers=http.headers).json
    assert shown["records"][0]["record"] == sent
    assert shown["records"][0]["mapped"][0]["product_ids"] == ["p7"]


def test_another_setting_leaves_a_mapping_whole(shop: Shop) -> None:
    document = {"rules": [{"when": {"/a": None}, "set": {"/b": None}}]}
    put(shop, document)
    with shop.pool.connection() as connection:
        access.change_settings(connection, shop.segment, {"product_id": "sku", "consent": None})
    assert source(shop).settings == {"mapping": {"version": 1, **document}, "product_id": "sku"}


def test_a_sender_s_retry_is_the_same_event_whatever_maps_it(shop: Shop) -> None:
    sent = seen(messageId=None)
    deliver(shop.pool, source(shop), sent)
    put(shop, MAPPING)
    assert deliver(shop.pool, source(shop), sent).outcome == "duplicate"
    assert types(shop) == [("custom", [])]


def test_the_same_order_told_under_another_mapping_is_one_telling(shop: Shop) -> None:
    put(shop, MAPPING)
    sent = bought("o1")
    deliver(shop.pool, source(shop), sent)
    put(shop, {"rules": [BOUGHT]})
    deliver(shop.pool, source(shop), sent)
    assert rows(shop.pool, "select content->'data'->'mapping' from order_tellings") == [(1,)]


def test_the_api_s_records_are_mapped_too(shop: Shop) -> None:
    rule = {"when": {"/type": "gesehen"}, "set": {"/type": "product_detail_page_view"}}
    with shop.pool.connection() as connection:
        mappings.put(connection, shop.api, {"rules": [rule]})
        api = access.api_source(connection, shop.site.site_id)
    body = {"data": [{"type": "gesehen", "product_ids": ["p1"], "anonymous_id": "a1"}]}
    assert deliver(shop.pool, api, body, "interactions").applied == 1
    assert types(shop) == [("product_detail_page_view", ["p1"])]


# replay -----------------------------------------------------------------------------------------


def state_of(shop: Shop) -> dict[str, list[tuple[Any, ...]]]:
    with shop.pool.connection() as connection:
        return state(connection, shop.site.site_id)


def orders_of(shop: Shop) -> list[tuple[Any, ...]]:
    return rows(
        shop.pool,
        "select o.order_id, o.status, o.revenue, o.event_at, o.actor_id, t.content, t.delivery_id "
        "from orders o left join order_tellings t using (site_id, order_id) order by 1, 7",
    )


def mixed(shop: Shop) -> list[UUID]:
    """Deliveries of all kinds in our names and in others, with repeats inside and between them."""
    repeated = seen("p3", messageId="again")
    bodies: list[Any] = [
        [seen("p1", timestamp=ago(hours=3)), seen("p2", userId="u1", timestamp=ago(hours=2))],
        [repeated, repeated, identify("u1", "a1", timestamp=ago(hours=5))],
        [repeated, bought("o1", userId="u1", timestamp=ago(hours=1)), {"type": "nonsense"}, 17],
        bought("o2", timestamp=ago(minutes=30)),
        track("Order Completed", properties={"order_id": "o3", "products": [{"product_id": "p1"}]}),
        track("Product List Viewed", properties={"category": "A", "products": [{"sku": "p1"}]}),
    ]
    return [deliver(shop.pool, source(shop), body).delivery_id for body in bodies]


def test_a_remap_makes_events_and_orders_anew_and_twice_is_once(shop: Shop) -> None:
    deliveries = mixed(shop)
    assert {kind for kind, _ in types(shop)} == {
        "custom", "purchase", "category_page_view", "impression"
    }  # fmt: skip
    put(shop, MAPPING)
    receipts = [remap(shop, each) for each in deliveries]
    assert [products for kind, products in types(shop) if kind == "product_detail_page_view"] == [
        ["p1"],
        ["p2"],
        ["p3"],
    ]
    assert [(order[0], order[1]) for order in orders_of(shop)] == [
        ("o1", "placed"),
        ("o2", "placed"),
        ("o3", "placed"),
    ]
    assert {version for (version,) in rows(shop.pool, "select data->'mapping' from events")} == {1}
    before, orders = state_of(shop), orders_of(shop)
    again = [remap(shop, each) for each in reversed(deliveries)][::-1]
    assert_equal_states(state_of(shop), before)
    assert orders_of(shop) == orders
    assert [counts(receipt) for receipt in again] == [counts(receipt) for receipt in receipts]


def counts(receipt: ingest.Receipt) -> tuple[int, ...]:
    return (receipt.received, receipt.applied, receipt.duplicate, receipt.ignored, receipt.refused)


def test_a_remap_back_leaves_what_was_there(shop: Shop) -> None:
    deliveries = mixed(shop)
    before, orders = state_of(shop), orders_of(shop)
    put(shop, MAPPING)
    for each in deliveries:
        remap(shop, each)
    assert len(orders_of(shop)) == 3
    put(shop, NOTHING)
    for each in deliveries:
        remap(shop, each)
    assert_equal_states(without_version(state_of(shop)), before)
    assert [order[:5] for order in orders_of(shop)] == [order[:5] for order in orders]
    assert orders_of(shop)[0][0] == "o3"


def without_version(found: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Event rows without the version of their mapping; keys that no event has any more do no
    harm."""
    events = []
    for row in found["events"]:
        *first, data, message_id, source_id = row
        data.pop("mapping")
        events.append((*first, data, message_id, source_id))
    return found | {"events": events}


def test_a_remap_moves_the_counts_of_its_delivery(shop: Shop) -> None:
    unknown = track("x", anonymousId=None, userId=None, properties={"wer": "a1"})
    delivery = deliver(shop.pool, source(shop), [unknown, seen()]).delivery_id
    assert delivery_row(shop.pool, delivery)["refused"] == 1
    put(shop, {"rules": [{"when": {"/event": "x"}, "move": {"/anonymousId": "/properties/wer"}}]})
    assert counts(remap(shop, delivery)) == (2, 2, 0, 0, 0)
    put(shop, {"rules": [{"set": {"/type": "unknown"}}]})
    receipt = remap(shop, delivery)
    assert counts(receipt) == (2, 0, 0, 2, 0) and len(receipt.problems) == 2
    row = delivery_row(shop.pool, delivery)
    assert (row["outcome"], row["applied"], row["ignored"]) == ("ignored", 0, 2)
    assert rows(shop.pool, "select 1 from events") == []
    open_ones = "select count(*) from delivery_problems where resolved_at is null"
    assert one(shop.pool, open_ones) == 2


def test_an_event_that_first_came_otherwise_stays_that_delivery_s(shop: Shop) -> None:
    sent = seen("p1", messageId="same")
    first = deliver(shop.pool, source(shop), sent).delivery_id
    second = deliver(shop.pool, source(shop), [sent, seen("p2")]).delivery_id
    put(shop, MAPPING)
    assert counts(remap(shop, second)) == (2, 1, 1, 0, 0)
    brought = dict(rows(shop.pool, "select message_id, delivery_id from events"))
    assert brought["same"] == first
    assert sorted(types(shop)) == [("custom", []), ("product_detail_page_view", ["p2"])]


def test_a_profile_changes_at_the_next_read(shop: Shop) -> None:
    products = [{"product_id": each, "title": each} for each in ("p1", "p2")]
    deliver(shop.pool, shop.api, {"data": products}, "products")
    delivery = deliver(shop.pool, source(shop), [seen("p2"), seen("p1", anonymousId="b")])

    def touched(name: str) -> list[str]:
        with shop.pool.connection() as connection:
            found = inspection.visitor(connection, shop.site, name, at=datetime.now(UTC))
        listed: list[str] = found["profile"]["touched"]
        return listed

    assert touched("a1") == []
    put(shop, MAPPING)
    remap(shop, delivery.delivery_id)
    assert (touched("a1"), touched("b")) == (["p2"], ["p1"])
    # Who loses the event and gets none reads anew too.
    put(shop, {"rules": [SEEN, {"when": {"/anonymousId": "b"}, "set": {"/anonymousId": "c"}}]})
    remap(shop, delivery.delivery_id)
    assert (touched("a1"), touched("b"), touched("c")) == (["p2"], [], ["p1"])
    actor = actor_id(shop.site.pepper, "anonymous", "b")
    with shop.pool.connection() as connection:
        known = profile.current(connection, shop.site.site_id, actor, at=datetime.now(UTC))
    assert known.contents.touched == []


def test_an_order_is_told_anew_by_its_delivery(shop: Shop) -> None:
    deliver(shop.pool, source(shop), bought("o0", anonymousId="b"))
    delivery = deliver(shop.pool, source(shop), bought("o1")).delivery_id
    put(shop, MAPPING)
    remap(shop, delivery)
    dearer = {"when": {"/event": "Bestellt"}, "set": {"/properties/revenue": 99}}
    put(shop, {"rules": [BOUGHT, dearer]})
    remap(shop, delivery)
    assert [(order[0], order[2]) for order in orders_of(shop)] == [("o1", 99)]
    assert rows(shop.pool, "select revenue from events where type = 'purchase'") == [(99,)]
    put(shop, NOTHING)
    remap(shop, delivery)
    assert orders_of(shop) == []
    assert [kind for kind, _ in types(shop)] == ["custom", "custom"]


def test_an_order_of_somebody_erased_stays_without_a_name(client: FlaskClient, shop: Shop) -> None:
    put(shop, MAPPING)
    delivery = deliver(shop.pool, source(shop), bought("o1", userId="u1")).delivery_id
    key = {"X-API-KEY": shop.secret_key}
    assert client.post("/admin/v1/erase", json={"id": "u1"}, headers=key).status_code == 200
    for _ in range(2):  # while the body says who, and after
        remap(shop, delivery)
        assert [order[:3] for order in orders_of(shop)] == [("o1", "placed", 20)]
        assert "data" not in orders_of(shop)[0][5]
        assert rows(shop.pool, "select 1 from events") == []
        with shop.pool.connection() as connection:
            erasing.overwrite(connection, shop.site.site_id, stop=lambda: False)


def test_who_was_named_by_an_older_mapping_is_found_in_kept_bodies(
    client: FlaskClient, shop: Shop
) -> None:
    put(shop, {"rules": [{"move": {"/userId": "/properties/kunde"}}]})
    sent = [track("x", properties={"kunde": "secret-u"}), track("y", anonymousId="b")]
    delivery = deliver(shop.pool, source(shop), sent).delivery_id
    put(shop, NOTHING)
    key = {"X-API-KEY": shop.secret_key}
    assert client.post("/admin/v1/erase", json={"id": "secret-u"}, headers=key).status_code == 200
    with shop.pool.connection() as connection:
        erasing.overwrite(connection, shop.site.site_id, stop=lambda: False)
    assert json.loads(delivery_row(shop.pool, delivery)["body"]) == [{"erased": True}, sent[1]]


def test_uploads_that_were_applied_are_not_applied_again(shop: Shop) -> None:
    upload = deliver(
        shop.pool, shop.api, {"data": [{"product_id": "p1", "title": "Mug"}]}, "products"
    )
    deliver(shop.pool, shop.api, {"data": {"product_ids": ["p1"]}}, "products/_delete")
    receipt = ingest.replay(shop.pool, shop.api, upload.delivery_id, remap=True)
    assert counts(receipt) == (1, 1, 0, 0, 0)
    assert rows(shop.pool, "select deleted from products") == [(True,)]


def test_a_replay_without_remap_changes_nothing_that_was_applied(
    client: FlaskClient, shop: Shop
) -> None:
    delivery = deliver(shop.pool, source(shop), seen()).delivery_id
    put(shop, MAPPING)
    path, key = f"/admin/v1/deliveries/{delivery}/replay", {"X-API-KEY": shop.secret_key}
    assert client.post(path, headers=key).status_code == 200
    assert types(shop) == [("custom", [])]
    assert client.post(f"{path}?remap=1", headers=key).status_code == 200
    assert types(shop) == [("product_detail_page_view", ["p1"])]
    assert client.post(f"{path}?remap=yes", headers=key).status_code == 422


# dry run ----------------------------------------------------------------------------------------


def test_a_trial_shows_what_would_change_and_writes_nothing(http: Mappings, shop: Shop) -> None:
    deliveries = mixed(shop)
    before = state_of(shop), rows(shop.pool, "select * from deliveries order by delivery_id")
    found = http.call("POST", "/try", {"mapping": MAPPING})
    assert (found["deliveries"], found["records"], found["changed"]) == (6, 12, 7)
    assert found["now"] == {"ready": 10, "ignored": 1, "refused": 1} == found["then"]
    first = found["rows"][0]
    assert first["now"] == "custom (artikel gesehen)"
    assert first["then"] == "product_detail_page_view" and first["records"] == 4
    assert UUID(first["delivery_id"]) in deliveries
    told = {row["now"] for row in found["rows"] if not row["changed"]}
    assert any(row.startswith("ignored: ") for row in told)
    after = state_of(shop), rows(shop.pool, "select * from deliveries order by delivery_id")
    assert after == before and rows(shop.pool, "select 1 from source_mappings") == []


def test_a_trial_names_the_fields_in_which_facts_differ(http: Mappings, shop: Shop) -> None:
    deliver(shop.pool, source(shop), track(product="p1", context={"page": {"path": "/"}}))
    moved = {"move": {"/properties/product_id": "/context/page/path"}}
    [row] = http.call("POST", "/try", {"mapping": {"rules": [moved]}})["rows"]
    assert row["now"] == row["then"] and row["changed"]
    assert "product_ids" in row["fields"]


def test_a_trial_reads_the_last_ones_only(http: Mappings, shop: Shop) -> None:
    for number in range(4):
        deliver(shop.pool, source(shop), seen(f"p{number}"))
    assert http.call("POST", "/try", {"mapping": MAPPING, "last": 3})["deliveries"] == 3
    with shop.pool.connection() as connection:
        [newest] = mappings.kept(connection, source(shop), last=3, most_bytes=1)
    assert b"p3" in newest.body


# command line -----------------------------------------------------------------------------------


@pytest.fixture
def gateway(environment: dict[str, str], shop: Shop) -> Iterator[Any]:
    """`gateway("mappings", "show", …)`: runs a command and expects `status`."""

    def run(*words: str, status: int = 0) -> Result:
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == status, result.output
        return result

    yield run


def test_the_command_line_sets_tries_shows_and_goes_back(
    gateway: Any, shop: Shop, tmp_path: Path
) -> None:
    deliver(shop.pool, source(shop), seen())
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps(MAPPING))
    of = ("shop", shop.segment.public_id)
    tried = gateway("mappings", "try", *of, str(file)).stdout
    assert "custom (artikel gesehen)" in tried and "1 of 1 records" in tried
    assert "has no mapping" in gateway("mappings", "show", *of).stdout
    assert "version 1" in gateway("mappings", "set", *of, str(file)).stdout
    assert "Nothing changed" in gateway("mappings", "set", *of, str(file)).stdout
    file.write_text(json.dumps(NOTHING))
    gateway("mappings", "set", *of, str(file))
    back = json.loads(gateway("mappings", "set", *of, "--version", "1", "--json").stdout)
    assert back["version"] == 3
    shown = json.loads(gateway("mappings", "show", *of, "--json").stdout)
    assert shown["mapping"] == MAPPING and len(shown["versions"]) == 3
    older = gateway("mappings", "show", *of, "--version", "2").stdout
    assert "Version 2" in older and "Artikel" not in older
    assert "no version 9" in gateway("mappings", "set", *of, "--version", "9", status=1).output
    gateway("mappings", "set", *of, status=2)
    file.write_text('{"rules": [{"set": {"event": 1}}]}')
    assert "/rules/0/set/event:" in gateway("mappings", "set", *of, str(file), status=1).output
    file.write_text("{")
    assert "line 1, column 2" in gateway("mappings", "try", *of, str(file), status=1).output


def test_a_mapping_is_shown_in_the_order_of_its_parts(gateway: Any, shop: Shop) -> None:
    put(shop, {"rules": [{"when": {"/event": "x"}, "set": {"/event": "y"}, "move": {"/a": "/b"}}]})
    said = gateway("mappings", "show", "shop", shop.segment.public_id).stdout
    assert said.index('"when"') < said.index('"set"') < said.index('"move"')


def test_a_file_that_is_no_json_is_named_with_the_place(
    gateway: Any, shop: Shop, tmp_path: Path
) -> None:
    file = tmp_path / "mapping.json"
    file.write_text('{"rules": [\n  {"set": }]}')
    said = gateway("mappings", "set", "shop", shop.segment.public_id, str(file), status=1).stderr
    assert f"{file} is not JSON" in said and "line 2, column 11" in said
    file.write_bytes(b'"\xff"')
    said = gateway("mappings", "set", "shop", shop.segment.public_id, str(file), status=1).stderr
    assert f"{file} is not UTF-8" in said


def test_neither_and_both_are_told_apart(gateway: Any, shop: Shop, tmp_path: Path) -> None:
    of = ("mappings", "set", "shop", shop.segment.public_id)
    assert "both" not in gateway(*of, status=2).stderr
    file = tmp_path / "mapping.json"
    file.write_text("{}")
    assert "not both" in gateway(*of, str(file), "--version", "1", status=2).stderr
    assert "both" not in gateway("replay", "shop", status=2).stderr
    words = ("replay", "shop", str(uuid4()), "--since", ago(days=1))
    assert "not both" in gateway(*words, status=2).stderr


def test_a_remap_says_how_many_records_read_differently(gateway: Any, shop: Shop) -> None:
    event = deliver(shop.pool, source(shop), [seen("p1"), track()]).delivery_id
    order = deliver(shop.pool, source(shop), bought("o1")).delivery_id
    put(shop, MAPPING)
    assert [remap(shop, each).changed for each in (event, order)] == [1, 1]
    assert [remap(shop, each).changed for each in (event, order)] == [0, 0]
    put(shop, NOTHING)
    said = gateway("replay", "shop", "--since", ago(days=1), "--remap").stdout
    assert "2 deliveries replayed: 0 of 3 records are applied now that were not; 2 came" in said
    said = gateway("replay", "shop", str(event)).stdout
    assert "1 delivery replayed: 0 of 2 records are applied now that were not." in said


def test_a_delivery_says_by_which_mapping_its_records_were_read(gateway: Any, shop: Shop) -> None:
    event = deliver(
        shop.pool, source(shop), [seen("p1"), track("x", userId=None, anonymousId=None)]
    )
    order = deliver(shop.pool, source(shop), bought("o1"))
    words = ("deliveries", "shop", str(event.delivery_id))
    assert "then" not in gateway(*words).stdout
    put(shop, {"rules": [*MAPPING["rules"], {"when": {"/event": "x"}, "set": {"/userId": "u"}}]})
    said = gateway(*words).stdout
    assert "read without a mapping then; today's would make:" in said
    assert "nothing was made of it then; today's mapping and settings would make:" in said
    remap(shop, event.delivery_id)
    remap(shop, order.delivery_id)
    assert "then" not in gateway(*words).stdout
    put(shop, MAPPING)
    assert "read with mapping version 1 then; today's would make:" in gateway(*words).stdout
    found = json.loads(gateway("deliveries", "shop", str(order.delivery_id), "--json").stdout)
    assert (found["mapping_version"], found["records"][0]["read_by"]) == (2, 1)


def test_the_command_line_remaps_all_since_a_time(gateway: Any, shop: Shop) -> None:
    mixed(shop)
    kept = len(rows(shop.pool, "select 1 from deliveries"))
    words = ("replay", "shop", "--since", ago(days=1), "--remap", "--json")
    assert json.loads(gateway(*words).stdout) == {"replayed": []}
    put(shop, MAPPING)
    deliver(shop.pool, shop.api, {"data": [{"product_id": "p1", "title": "Mug"}]}, "products")
    assert len(json.loads(gateway(*words).stdout)["replayed"]) == kept
    events = json.loads(gateway("events", "shop", "--json").stdout)["events"]
    assert {event["mapping_version"] for event in events} == {1}
    assert "product_detail_page_view" in {event["type"] for event in events}
