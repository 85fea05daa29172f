"""What anybody can claim, with a key that stands in web pages or knowing how ids are made: it names
nobody else's buyer, cancels nothing, shows and erases nothing of others. And an erasure is whole,
whatever happens beside it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import access, erasing, ingest, people
from gateway.reading import CLAIMED
from ranking.catalog import products
from tests.builders import ago, basic, deliver, identify, one, rows, track
from tests.conftest import Shop
from tests.connectors.signing import segment as signed

DOMAIN = {"shop_domain": "a.myshopify.com"}


@pytest.fixture
def shopify(shop: Shop) -> access.Source:
    with shop.pool.connection() as connection:
        return access.create_source(connection, shop.site, "shopify").source


@pytest.fixture
def woo(shop: Shop) -> access.Source:
    with shop.pool.connection() as connection:
        return access.create_source(connection, shop.site, "wordpress").source


class Platform:
    """A shop's own webhooks, a browser's pixel, the site's own people."""

    def __init__(self, client: FlaskClient, shop: Shop, source: access.Source) -> None:
        self.client, self.shop, self.source = client, shop, source

    def tells(self, topic: str, **body: Any) -> Any:
        headers = {"X-Shopify-Topic": topic, "X-Shopify-Webhook-Id": f"{topic} {body.get('id')}"}
        raw = json.dumps(body).encode()
        return ingest.deliver(self.shop.pool, self.source, topic=topic, headers=headers, body=raw)

    def order(self, order_id: int, customer: int | None, **more: Any) -> Any:
        return self.tells(
            "orders/create",
            id=order_id, created_at=ago(hours=1), updated_at=ago(hours=1), currency="EUR",
            subtotal_price="20.00", customer=customer and {"id": customer},
            line_items=[{"product_id": 2, "variant_id": 3, "quantity": 1}], **more,
        )  # fmt: skip

    def pixel(self, order_id: int, client_id: str, customer: str | None = None) -> None:
        event = {
            "id": f"e-{client_id}-{order_id}", "name": "checkout_completed", "clientId": client_id,
            "timestamp": ago(minutes=5), "customer_id": customer,
            "data": {"checkout": {"order": {"id": str(order_id)}, "token": f"t-{client_id}",
                                  "lineItems": []}},
        }  # fmt: skip
        body = json.dumps({"events": [event]}).encode()
        ingest.deliver(
            self.shop.pool, self.source, topic="browser", headers={CLAIMED: "1"}, body=body
        )

    def views(self, user_id: str, product: str = "seen") -> None:
        deliver(self.shop.pool, self.shop.segment, track(userId=user_id, product=product))

    def history(self, **who: Any) -> list[str]:
        key = who.pop("key", self.shop.secret_key)
        found = self.client.post(
            "/v1/recommendation/user_to_history", json=who, headers={"X-API-KEY": key}
        )
        assert found.status_code == 200, found.text
        return [one["product_id"] for one in found.json["data"]["products"]]  # type: ignore[index]

    def shown(self, order_id: int) -> dict[str, Any]:
        found = self.client.get(
            f"/admin/v1/orders/{order_id}", headers={"X-API-KEY": self.shop.secret_key}
        )
        return dict(found.json or {})


@pytest.fixture
def platform(client: FlaskClient, shop: Shop, shopify: access.Source) -> Platform:
    return Platform(client, shop, shopify)


def test_who_claims_to_have_bought_an_order_is_not_erased_with_it(platform: Platform) -> None:
    platform.views("801")
    platform.order(5004, 900)
    platform.pixel(5004, "evil", customer="801")
    platform.tells("customers/redact", customer={"id": 900}, orders_to_redact=[5004], **DOMAIN)
    assert rows(platform.shop.pool, "select 1 from events where type <> 'purchase'") != []
    assert rows(platform.shop.pool, "select 1 from actors where sent_id = '801'") != []


def test_a_guests_order_is_shown_to_nobody_who_guesses_or_claims(platform: Platform) -> None:
    platform.order(5001, None)
    before = platform.shown(5001)
    platform.pixel(5001, "evil", customer="666")
    assert platform.shown(5001)["anonymous_id"] == before["anonymous_id"]
    key = platform.shop.publishable_key
    for guess in ("shopify:order:5001", "order:5001", "guest:5001", "evil"):
        assert platform.history(anonymous_id=guess, key=key) == []
    assert platform.history(user_id="666") == []


def test_two_claims_of_one_order_join_nobody(platform: Platform) -> None:
    platform.pixel(5005, "victim")
    platform.pixel(5005, "evil", customer="666")
    pairs = rows(
        platform.shop.pool,
        "select f.sent_id, t.sent_id from identity_edges e "
        "join actors f on f.actor_id = e.from_actor join actors t on t.actor_id = e.to_actor",
    )
    assert ("victim", "666") not in pairs


@pytest.mark.parametrize(
    ("event", "properties"),
    [
        ("Order Cancelled", {}),
        ("Order Refunded", {}),
        ("Order Completed", {"revenue": 0.01, "products": [{"product_id": "junk"}]}),
    ],
    ids=["cancelled", "refunded", "completed"],
)
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_write_key_changes_no_order_that_a_platform_tells_of(
    platform: Platform, event: str, properties: dict[str, Any], first: bool
) -> None:
    def claim() -> None:
        call = track(event, anonymousId="evil", properties={"order_id": "5002"} | properties)
        answer = platform.client.post(
            "/v1/track", json=call, headers=basic(platform.shop.write_key)
        )
        assert answer.status_code == 200, answer.text

    steps: list[Callable[[], Any]] = [claim, lambda: platform.order(5002, 7)]
    for step in steps if first else reversed(steps):
        step()
    told = platform.shown(5002)
    assert (told["status"], told["count"], told["revenue"], told["user_id"]) == (
        "placed", 1, 20, "7",
    )  # fmt: skip


def test_a_write_key_joins_no_two_users(platform: Platform) -> None:
    platform.views("victim")
    platform.views("evil")
    alias = {"type": "alias", "userId": "evil", "previousId": "victim", "messageId": "m1"}
    answer = platform.client.post("/v1/alias", json=alias, headers=basic(platform.shop.write_key))
    assert answer.status_code == 200
    platform.views("victim", product="secret")
    assert "secret" not in platform.history(user_id="evil")


def test_a_write_key_rewrites_no_product_that_a_source_told_of(platform: Platform) -> None:
    def told(name: str, url: str) -> dict[str, Any]:
        properties = {"product_id": "p9", "name": name, "url": url}
        return track(anonymousId="a", properties=properties)

    deliver(platform.shop.pool, platform.shop.segment, told("A lamp", "https://shop.example/p9"))
    for name in ("PWNED", "PWNED 2"):
        answer = platform.client.post(
            "/v1/track",
            json=told(name, "https://evil.example/x"),
            headers=basic(platform.shop.write_key),
        )
        assert answer.status_code == 200
    with platform.shop.pool.connection() as connection:
        record = products.get(connection, platform.shop.site.site_id, "p9")
    assert record is not None and record["title"] == "A lamp"


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_claim_of_any_time_is_applied(platform: Platform, at: str) -> None:
    properties = {"product_id": "p9", "name": "A lamp"}
    call = track(anonymousId="a", timestamp=at, properties=properties)
    answer = platform.client.post("/v1/track", json=call, headers=basic(platform.shop.write_key))
    assert answer.status_code == 200
    assert rows(platform.shop.pool, "select 1 from products where product_id = 'p9'") != []
    assert rows(platform.shop.pool, "select 1 from deliveries where failed > 0") == []


def test_a_page_sends_so_many_events_at_once_and_no_more(
    client: FlaskClient, shop: Shop, shopify: access.Source
) -> None:
    def sent(events: int) -> int:
        path = f"/collect/shopify/{shopify.public_id}?api_key={shop.publishable_key}"
        return client.post(path, json={"events": ["x"] * events}).status_code

    assert (sent(1_000), sent(1_001)) == (422, 413)


def test_a_kept_delivery_teaches_nobody_to_sign(client: FlaskClient, shop: Shop) -> None:
    body = json.dumps(track()).encode()
    headers = signed(body, shop.segment.secrets[0])
    sent = client.post(f"/webhooks/segment/{shop.segment.public_id}", data=body, headers=headers)
    assert sent.status_code == 200
    kept = one(shop.pool, "select headers::text from deliveries")
    assert headers["X-Signature"] not in kept


def test_a_write_key_is_not_kept_however_it_is_spelled(client: FlaskClient, shop: Shop) -> None:
    call = json.dumps(track()).encode()
    body = b'{"write\\u004bey":"' + shop.write_key.encode() + b'",' + call[1:]
    assert client.post("/v1/track", data=body).status_code == 200
    assert shop.write_key not in one(shop.pool, "select convert_from(body, 'UTF8') from deliveries")


# consent ------------------------------------------------------------------------------------------


MARK = "somebody-who-said-no"


@pytest.mark.parametrize(
    "more",
    [
        {}, {"type": "nonsense"}, {"type": None}, {"integrations": {"All": False}},
        {"properties": {"filler": "x" * 40_000}},
    ],
    ids=["plain", "unknown type", "no type", "opted out", "too large"],
)  # fmt: skip
@pytest.mark.parametrize("batched", [True, False], ids=["batch", "single"])
def test_nothing_is_kept_of_who_did_not_consent(
    client: FlaskClient, shop: Shop, more: dict[str, Any], batched: bool
) -> None:
    with shop.pool.connection() as connection:
        access.change_settings(connection, shop.segment, {"consent": "Marketing"})
    refusal = {"consent": {"categoryPreferences": {"Marketing": False}}}
    event = track(userId=MARK, anonymousId=MARK, context=refusal) | more
    body: Any = event
    if batched:
        body = {"batch": [event], "context": {"traits": {"id": MARK}}, "sentAt": ago()}
    client.post(
        f"/v1/{'batch' if batched else 'track'}",
        json=body,
        headers=basic(shop.write_key) | {"User-Agent": MARK, "Origin": f"https://{MARK}"},
    )
    kept = rows(shop.pool, "select convert_from(body, 'UTF8') || headers::text from deliveries")
    assert not any(MARK in text for (text,) in kept)
    assert rows(shop.pool, "select 1 from actors where sent_id is not null") == []


# erasures -----------------------------------------------------------------------------------------


def blocked(pool: Any) -> bool:
    found = rows(pool, "select 1 from pg_stat_activity where wait_event_type = 'Lock'")
    return bool(found)


def test_an_order_that_was_on_its_way_is_erased_with_its_buyer(platform: Platform) -> None:
    pool, site = platform.shop.pool, platform.shop.site
    platform.order(5009, 31)
    with ThreadPoolExecutor(2) as both, pool.connection() as held:
        with held.transaction():
            held.execute("select 1 from orders where order_id = '5009' for update")
            telling = both.submit(platform.order, 5009, 31, note="again")
            while not blocked(pool) and not telling.done():
                threading.Event().wait(0.01)
            erasing_ = both.submit(people.erase, pool, site, "31")
        telling.result(30), erasing_.result(30)
    assert rows(pool, "select 1 from events") == []
    assert rows(pool, "select 1 from actors where sent_id = '31'") == []
    platform.tells(
        "orders/updated", id=5009, created_at=ago(hours=1), updated_at=ago(minutes=30),
        customer={"id": 31}, line_items=[{"product_id": 2, "variant_id": 3, "quantity": 1}],
    )  # fmt: skip
    assert rows(pool, "select 1 from events") == []
    assert rows(pool, "select 1 from actors where sent_id = '31'") == []


def test_erasing_an_active_person_stops_nobody(platform: Platform) -> None:
    pool, site = platform.shop.pool, platform.shop.site
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = one(pool, deadlocks)

    def act(number: int) -> None:
        if number % 10 == 9:
            people.erase(pool, site, "u1")
        elif number % 3:
            platform.order(6000 + number % 4, 8, checkout_token=f"t{number % 5}")
            deliver(pool, platform.shop.segment, identify("u1", f"a{number % 6}"))
        else:
            deliver(pool, platform.shop.segment, track(userId="u1", anonymousId=f"a{number % 6}"))

    platform.views("u1")
    with ThreadPoolExecutor(6) as many:
        for done in [many.submit(act, number) for number in range(60)]:
            done.result(60)
    assert one(pool, deadlocks) == before
    people.erase(pool, site, "u1")
    assert rows(pool, "select 1 from actors where sent_id = 'u1'") == []


def test_an_alias_leaves_no_id_behind(platform: Platform) -> None:
    pool = platform.shop.pool
    for user in ("old", "new"):
        platform.views(user)
    alias = {"type": "alias", "userId": "new", "previousId": "old", "messageId": "m1",
             "timestamp": ago(minutes=1)}  # fmt: skip
    deliver(pool, platform.shop.segment, alias)
    people.erase(pool, platform.shop.site, "new")
    assert rows(pool, "select sent_id from actors where sent_id in ('old', 'new')") == []


def test_a_long_chain_of_devices_is_erased_whole(platform: Platform) -> None:
    pool = platform.shop.pool
    facts = [
        {"name": "page_viewed", "id": f"e{n}", "clientId": f"c{n}", "attune_vid": f"c{n + 1}",
         "customer_id": "77", "timestamp": ago(minutes=1), "data": {}}
        for n in range(150)
    ]  # fmt: skip
    body = json.dumps({"events": facts}).encode()
    ingest.deliver(pool, platform.source, topic="browser", headers={CLAIMED: "1"}, body=body)
    people.erase(pool, platform.shop.site, "c75")
    assert rows(pool, "select sent_id from actors where sent_id is not null") == []


@pytest.mark.parametrize(
    ("status", "customer"),
    [("cancelled", 310), ("refunded", 310), ("pending", 310), ("pending", 0), ("completed", 0)],
    ids=["cancelled", "refunded", "pending", "a guest's pending", "a guest's"],
)
def test_the_body_of_an_order_that_names_its_buyer_is_overwritten(
    shop: Shop, woo: access.Source, status: str, customer: int
) -> None:
    def told(status: str, **more: str) -> None:
        body = {"id": 4711, "status": status, "customer_id": customer, "currency": "EUR",
                "date_created_gmt": "2026-01-01T10:00:00", "total": "9.00", "line_items": [],
                "date_modified_gmt": "2026-01-01T10:00:00",
                "billing": {"email": "ann@example.com", "first_name": "Ann"}} | more  # fmt: skip
        headers = {"X-WC-Webhook-Topic": "order.updated", "X-WC-Webhook-Resource": "order",
                   "X-WC-Webhook-Event": "updated"}  # fmt: skip
        raw = json.dumps(body).encode()
        ingest.deliver(shop.pool, woo, topic="order.updated", headers=headers, body=raw)

    told("processing", date_paid_gmt="2026-01-01T10:00:00")
    told(status)
    sent_id = str(customer) if customer else one(shop.pool, "select sent_id from actors")
    people.erase(shop.pool, shop.site, sent_id)
    with shop.pool.connection() as connection:
        erasing.overwrite(connection, shop.site.site_id, stop=lambda: False)
    bodies = rows(shop.pool, "select convert_from(body, 'UTF8') from deliveries")
    assert not any("Ann" in body for (body,) in bodies)


def test_another_persons_body_stays_though_a_number_is_the_same(
    shop: Shop, woo: access.Source
) -> None:
    """The number of a customer may be that of a product."""
    deliver(shop.pool, shop.segment, track(userId="310"))
    body = json.dumps({"id": 310, "name": "Lamp", "status": "publish", "price": "3"}).encode()
    headers = {"X-WC-Webhook-Topic": "product.updated"}
    ingest.deliver(shop.pool, woo, topic="product.updated", headers=headers, body=body)
    people.erase(shop.pool, shop.site, "310")
    with shop.pool.connection() as connection:
        erasing.overwrite(connection, shop.site.site_id, stop=lambda: False)
    assert rows(shop.pool, "select 1 from deliveries where convert_from(body, 'UTF8') ~ 'Lamp'")


def test_a_deliverys_id_is_one_of_its_topic(platform: Platform) -> None:
    platform.order(1, 7)
    deliveries = "select outcome from deliveries order by delivery_id"
    again = {"X-Shopify-Webhook-Id": "orders/create 1", "X-Shopify-Topic": "customers/redact"}
    body = json.dumps({"customer": {"id": 7}, "orders_to_redact": [], **DOMAIN}).encode()
    ingest.deliver(
        platform.shop.pool, platform.source, topic="customers/redact", headers=again, body=body
    )
    assert [row[0] for row in rows(platform.shop.pool, deliveries)] == ["applied", "applied"]


def test_nobody_is_joined_by_pairs_in_any_order(platform: Platform) -> None:
    """Merging and unmerging the same three users at once ends, every time."""
    pool, site = platform.shop.pool, platform.shop.site
    for user in "xyz":
        platform.views(user)

    def step(number: int) -> None:
        first, second = [("x", "y"), ("y", "x"), ("z", "x"), ("y", "z")][number % 4]
        with suppress(people.NotJoined):
            (people.merge if number % 2 else people.unmerge)(pool, site, first, second)

    before = one(pool, "select deadlocks from pg_stat_database where datname = current_database()")
    with ThreadPoolExecutor(6) as many:
        for done in [many.submit(step, number) for number in range(48)]:
            done.result(60)
    after = one(pool, "select deadlocks from pg_stat_database where datname = current_database()")
    assert before == after
