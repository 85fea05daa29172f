"""People by any of their ids: merged, unmerged, exported, erased down to kept bodies."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import access, erasing, ingest, people
from tests.builders import ago, deliver, delivery_row, identify, one, rows, track
from tests.conftest import Shop


def admin(client: FlaskClient, shop: Shop, method: str, path: str, body: Any = None) -> Any:
    return client.open(
        f"/admin/v1/{path}", method=method, json=body, headers={"X-API-KEY": shop.secret_key}
    )


def ids_of(client: FlaskClient, shop: Shop, sent_id: str) -> set[str]:
    seen = admin(client, shop, "GET", f"visitors/{sent_id}").json
    return {row["id"] for row in seen["ids"]}


def order(order_id: str, **fields: Any) -> dict[str, Any]:
    properties = {"order_id": order_id, "revenue": 20, "products": [{"product_id": "p1"}]}
    return track("Order Completed", properties=properties, **fields)


# merge and unmerge ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"userId": "x"}, {"userId": "y"}),
        ({"userId": "x"}, {"anonymousId": "y"}),
        ({"anonymousId": "x"}, {"anonymousId": "y"}),
    ],
    ids=["users", "user and device", "devices"],
)
def test_two_ids_become_one_person_two_and_one_again(
    client: FlaskClient, shop: Shop, first: dict[str, str], second: dict[str, str]
) -> None:
    for who in (first, second):
        deliver(shop.pool, shop.segment, track(**{"anonymousId": None} | who))
    pair = {"ids": ["x", "y"]}
    merged = admin(client, shop, "POST", "merge", pair)
    assert merged.status_code == 200
    assert len({row["id"] for row in merged.json["ids"]}) == 2
    fact = delivery_row(shop.pool, merged.json["delivery"])
    assert json.loads(fact["body"])["data"]

    undone = admin(client, shop, "POST", "unmerge", pair)
    assert undone.status_code == 200
    assert {row["delivery_id"] for row in undone.json["undone"]} == {merged.json["delivery"]}
    assert ids_of(client, shop, "x") == {"x"}
    again = admin(client, shop, "POST", "merge", pair)
    assert {row["id"] for row in again.json["ids"]} == {"x", "y"}


def test_who_was_unmerged_stays_so_when_the_sender_repeats_it(
    client: FlaskClient, shop: Shop
) -> None:
    deliver(shop.pool, shop.segment, identify("u1", "a1", timestamp=ago(hours=2)))
    assert admin(client, shop, "POST", "unmerge", {"ids": ["u1", "a1"]}).status_code == 200
    deliver(shop.pool, shop.segment, identify("u1", "a1"))
    assert rows(shop.pool, "select 1 from members") == []


def test_ids_that_no_fact_joins_directly_are_told_which_do(client: FlaskClient, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [identify("u1", "a1"), identify("u1", "a2"), track()])
    refused = admin(client, shop, "POST", "unmerge", {"ids": ["a1", "a2"]})
    assert refused.status_code == 409 and "u1" in refused.json["message"]


def test_merging_a_stranger_is_refused_and_changes_nothing(client: FlaskClient, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, track())
    refused = admin(client, shop, "POST", "merge", {"ids": ["a1", "nobody"]})
    assert refused.status_code == 404 and "nobody" in refused.json["message"]
    assert rows(shop.pool, "select 1 from identity_edges") == []


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": ["a"]}, {"ids": ["a", None]}, [], {"ids": "ab"}, {"ids": ["", 0]},
     {"ids": ["null", "a"]}, {"ids": ["a", "x" * 600]}],
    ids=lambda body: str(body)[:24],
)  # fmt: skip
def test_two_ids_are_asked_for(client: FlaskClient, shop: Shop, body: Any) -> None:
    assert admin(client, shop, "POST", "merge", body).status_code == 422


def test_one_id_is_not_merged_with_itself(client: FlaskClient, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, track(anonymousId="r-1"))
    refused = admin(client, shop, "POST", "merge", {"ids": ["r-1", "r-1"]})
    assert refused.status_code == 422 and "that is one id" in refused.json["message"]
    assert one(shop.pool, "select count(*) from deliveries") == 1


@pytest.mark.parametrize("second", [{"userId": "y", "anonymousId": None}, {"anonymousId": "y"}])
def test_who_is_merged_already_is_told_so_and_nothing_is_written(
    client: FlaskClient, shop: Shop, second: dict[str, Any]
) -> None:
    for who in ({"anonymousId": "x"}, second):
        deliver(shop.pool, shop.segment, track(**who))
    first = admin(client, shop, "POST", "merge", {"ids": ["x", "y"]}).json
    again = admin(client, shop, "POST", "merge", {"ids": ["y", "x"]}).json
    assert (first["changed"], again["changed"]) == (True, False)
    assert again["delivery"] == first["delivery"]
    assert one(shop.pool, "select count(*) from deliveries") == 3


def test_a_device_that_a_login_joined_can_still_be_merged_by_hand(
    client: FlaskClient, shop: Shop
) -> None:
    deliver(shop.pool, shop.segment, identify("u1", "a1"))
    assert admin(client, shop, "POST", "merge", {"ids": ["u1", "a1"]}).json["changed"]


# orders -----------------------------------------------------------------------------------------


def test_an_order_is_shown_with_what_each_source_told(client: FlaskClient, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, order("o/1", userId="u1"))
    found = admin(client, shop, "GET", "orders/o/1").json
    assert (found["count"], found["revenue"], found["status"]) == (1, 20, "placed")
    assert found["user_id"] == "u1" and [one["told"] for one in found["tellings"]] == ["placed"]
    assert [one["order_id"] for one in admin(client, shop, "GET", "orders").json["orders"]] == [
        "o/1"
    ]
    assert admin(client, shop, "GET", "orders/o2").status_code == 404


# export and erase -------------------------------------------------------------------------------


def test_an_export_holds_what_is_known_of_a_person(client: FlaskClient, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [track(), identify("u1", "a1", traits={"city": "Ulm"})])
    deliver(shop.pool, shop.segment, order("o1", userId="u1"))
    deliver(shop.pool, shop.segment, track(anonymousId="somebody else"))
    found = admin(client, shop, "GET", "export/a1").json
    assert {one["type"] for one in found["events"]} == {"product_detail_page_view", "purchase"}
    assert [one["order_id"] for one in found["orders"]] == ["o1"]
    assert found["records"][0]["city"] == "Ulm"
    assert len(found["deliveries"]) == 2


def test_erasing_gives_a_receipt_and_leaves_no_id_anywhere(client: FlaskClient, shop: Shop) -> None:
    batch = [track(userId="secret-u", anonymousId="secret-a"), track(anonymousId="other")]
    kept = deliver(shop.pool, shop.segment, batch)
    refused = deliver(shop.pool, shop.segment, {"type": "track", "userId": "secret-u"})
    deliver(shop.pool, shop.segment, order("o1", userId="secret-u"))
    receipt = admin(client, shop, "POST", "erase", {"id": "secret-a"}).json
    assert receipt["rows"]["events"] == 2 and receipt["rows"]["orders"] == 1
    assert receipt["bodies"] == "waiting"
    with shop.pool.connection() as connection:
        assert erasing.sites(connection, None) == [shop.site.site_id]  # type: ignore[arg-type]
        assert erasing.overwrite(connection, shop.site.site_id, stop=lambda: False) == 5
        told = people.erasures(connection, shop.site, limit=1)[0]
    assert (told["bodies"], told["records_in_bodies"]) == ("done", 5)
    bodies = rows(shop.pool, "select convert_from(body, 'UTF8') from deliveries")
    assert not any("secret" in body for (body,) in bodies)
    assert json.loads(delivery_row(shop.pool, kept.delivery_id)["body"]) == [
        {"erased": True},
        batch[1],
    ]
    assert json.loads(delivery_row(shop.pool, refused.delivery_id)["body"]) == {"erased": True}
    assert rows(shop.pool, "select 1 from actors where starts_with(sent_id, 'secret')") == []


def test_a_delivery_with_an_erased_record_can_be_replayed(client: FlaskClient, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [track(anonymousId="gone"), {"type": "track"}])
    admin(client, shop, "POST", "erase", {"id": "gone"})
    with shop.pool.connection() as connection:
        erasing.overwrite(connection, shop.site.site_id, stop=lambda: False)
    delivery = one(shop.pool, "select delivery_id from deliveries where refused = 1")
    again = admin(client, shop, "POST", f"deliveries/{delivery}/replay").json
    assert (again["applied"], again["refused"]) == (1, 1)
    assert rows(shop.pool, "select 1 from events") == []


# what platforms ask for ---------------------------------------------------------------------------


@pytest.fixture
def shopify(shop: Shop) -> access.Source:
    with shop.pool.connection() as connection:
        return access.create_source(connection, shop.site, "shopify").source


def asked(shop: Shop, source: access.Source, topic: str, **body: Any) -> Any:
    headers = {"X-Shopify-Topic": topic, "X-Shopify-Webhook-Id": topic}
    raw = json.dumps(body).encode()
    return ingest.deliver(shop.pool, source, topic=topic, headers=headers, body=raw)


def test_a_request_for_a_copy_is_listed_until_it_is_done(
    client: FlaskClient, shop: Shop, shopify: access.Source
) -> None:
    customer = {"id": 7, "email": "ann@example.com"}
    asked(shop, shopify, "customers/data_request", customer=customer, orders_requested=[5],
          shop_domain="a.myshopify.com", data_request={"id": 99})  # fmt: skip
    [found] = admin(client, shop, "GET", "requests").json["requests"]
    assert (found["kind"], found["request_id"], found["done_at"]) == ("export", "99", None)
    assert found["person"]["user_id"] == "7" and "ann@" not in json.dumps(found)
    with shop.pool.connection() as connection:
        people.done(connection, shop.site, found["delivery"], at=datetime.now(UTC))
    assert admin(client, shop, "GET", "requests").json["requests"][0]["done_at"]


def test_a_redacted_customer_goes_with_the_browser_that_ordered(
    shop: Shop, shopify: access.Source
) -> None:
    order = {"id": 5, "created_at": ago(hours=1), "updated_at": ago(hours=1), "currency": "EUR",
             "checkout_token": "t1", "customer": None,
             "line_items": [{"product_id": 2, "variant_id": 3, "quantity": 1}]}  # fmt: skip
    asked(shop, shopify, "orders/create", **order)
    assert len(rows(shop.pool, "select 1 from events")) == 1
    asked(shop, shopify, "customers/redact", customer={"id": 7}, orders_to_redact=[5],
          shop_domain="a.myshopify.com")  # fmt: skip
    assert rows(shop.pool, "select 1 from events") == []
    assert rows(shop.pool, "select sent_id from actors where sent_id is not null") == []


def test_everybody_of_a_site_can_be_erased(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [track(anonymousId=f"a{n}") for n in range(20)])
    assert list(people.erase_all(shop.pool, shop.site)) == [20]
    assert rows(shop.pool, "select 1 from events") == []
