"""With another site's credentials, or with bad ones, nothing of a site is seen or changed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import Shop
from tests.connectors.signing import segment as sign
from tests.hostile.calls import Call, every_call, rows_of, stocked

# Routes that name a thing of the site: with another site's key there is no such thing.
NAME_A_THING = {
    ("GET", "/v1/products/_status/<task_id>"),
    ("GET", "/v1/products/<id:product_id>"),
    ("GET", "/v1/users/_status/<task_id>"),
    ("GET", "/v1/users/<id:user_id>"),
    ("GET", "/v1/products/_ids"),
    ("GET", "/v1/users/_ids"),
    ("GET", "/admin/v1/visitors/<path:sent_id>"),
    ("GET", "/admin/v1/visitors/<path:sent_id>/similar_users"),
    ("GET", "/admin/v1/clusters/<cluster_id>"),
    ("GET", "/admin/v1/deliveries/<delivery_id>"),
    ("POST", "/admin/v1/deliveries/<delivery_id>/replay"),
    ("POST", "/admin/v1/feeds/<source>/pull"),
    ("POST", "/admin/v1/models/<version>/promote"),
    ("GET", "/admin/v1/sources/<source>/mapping"),
    ("PUT", "/admin/v1/sources/<source>/mapping"),
    ("POST", "/admin/v1/sources/<source>/mapping/try"),
    ("POST", "/v1/recommendation/product_to_products"),
    ("POST", "/v1/recommendation/audience"),
    ("PATCH", "/v1/products/<id:product_id>"),
    ("GET", "/admin/v1/orders/<path:order_id>"),
    ("GET", "/admin/v1/export/<path:sent_id>"),
    ("POST", "/admin/v1/merge"),
    ("POST", "/admin/v1/unmerge"),
    ("POST", "/collect/<connector>/<source>"),
}
# Or one in each record.
NAME_THINGS = {("PATCH", "/v1/products")}


@pytest.fixture
def calls(app: Flask, client: FlaskClient, shop: Shop) -> list[Call]:
    """A request of each route that asks for a key or a signature."""
    deliveries = stocked(client, shop)
    return [call for call in every_call(app, shop, deliveries) if call.needs_services]


def is_guarded(call: Call) -> bool:
    return call.rule != "/readyz"


def test_another_sites_key_reaches_nothing_of_this_one(
    client: FlaskClient, shop: Shop, stranger: Shop, calls: list[Call]
) -> None:
    before = rows_of(shop)
    for call in filter(is_guarded, calls):
        expected = 200
        if call.is_webhook:
            expected = 401
        elif (call.method, call.rule) in NAME_A_THING:
            expected = 404
        elif (call.method, call.rule) in NAME_THINGS:
            expected = 422
        answer = call.by(stranger).send(client)
        assert answer.status_code == expected, f"{call}: {answer.text}"
        assert "Mug" not in answer.text and "Ann" not in answer.text, f"{call}: {answer.text}"
        assert rows_of(shop) == before, str(call)
        forget_uploads(stranger)


def forget_uploads(site: Shop) -> None:
    """So that what a stranger uploads for himself is not what the next route finds."""
    with site.pool.connection() as connection:
        for table in ("products", "users", "events", "event_keys", "actors"):
            connection.execute(
                f"delete from {table} where site_id = %s",  # type: ignore[call-overload]
                [site.site.site_id],
            )


def test_another_sites_events_and_deliveries_are_not_listed(
    client: FlaskClient, shop: Shop, stranger: Shop, calls: list[Call]
) -> None:
    key = {"X-API-KEY": stranger.secret_key}
    for path, name in (("events", "events"), ("deliveries", "deliveries")):
        answer = client.get(f"/admin/v1/{path}", headers=key)
        assert answer.json == {name: []}
    ledger = client.get("/admin/v1/ledger", headers=key).json
    assert ledger and ledger["total"]["received"] == 0


@pytest.mark.parametrize(
    "key",
    ["", " ", "sk_", "sk_" + "0" * 40, "é" * 40, "\x80" * 9, "x" * 300, "sk_%00", "' or true --"],
    ids=ascii,
)
def test_a_wrong_key_changes_nothing(
    client: FlaskClient, shop: Shop, calls: list[Call], key: str
) -> None:
    before = rows_of(shop)
    for call in filter(is_guarded, calls):
        if not call.is_webhook:
            answer = call.with_key(key).send(client)
            nowhere = not key and "<write_key>" in call.rule  # an address without a key is none
            assert answer.status_code == (404 if nowhere else 401), f"{call}: {answer.text}"
    assert rows_of(shop) == before


def test_the_least_change_of_a_key_is_refused(
    client: FlaskClient, shop: Shop, calls: list[Call]
) -> None:
    for call in filter(is_guarded, calls):
        key = call.write_key if call.is_collector else call.key
        for changed in (key[:-1], key + "0", key.upper(), key[1:], f" {key}x", key[::-1]):
            if not call.is_webhook:
                assert call.with_key(changed).send(client).status_code == 401, str(call)


# signatures -------------------------------------------------------------------------------------

Change = Callable[[str], str | None]

SIGNATURES: dict[str, Change] = {
    "missing": lambda digest: None,
    "empty": lambda digest: "",
    "a digit less": lambda digest: digest[:-1],
    "half of it": lambda digest: digest[:20],
    "a digit more": lambda digest: digest + "0",
    "another digit": lambda digest: ("1" if digest[0] == "0" else "0") + digest[1:],
    "zeros": lambda digest: "0" * 40,
    "not ASCII": lambda digest: "é" * 40,
    "bytes above ASCII": lambda digest: digest[:-1] + "\xff",
    "full-width digits": lambda digest: digest[:-1].encode().decode() + "\xb2",
    "upper case": lambda digest: digest.upper() + "A",
    "with its algorithm": lambda digest: f"sha1={digest}",
    "twice": lambda digest: f"{digest},{digest}",
    "very long": lambda digest: digest * 1000,
    "none": lambda digest: "None",
}


@pytest.mark.parametrize("change", SIGNATURES.values(), ids=SIGNATURES)
def test_a_bad_signature_is_401_and_leaves_nothing(
    client: FlaskClient, shop: Shop, calls: list[Call], change: Change
) -> None:
    before = rows_of(shop)
    for call in calls:
        if call.is_webhook:
            headers = call.headers()
            given = change(headers.pop(call.signature))
            headers |= {} if given is None else {call.signature: given}
            answer = client.open(call.path, method=call.method, data=call.body, headers=headers)
            assert answer.status_code == 401, f"{call}: {answer.text}"
            assert answer.json and answer.json["message"]
    assert rows_of(shop) == before


@pytest.mark.parametrize("secret", ["", " ", "\0", "secret", "null"])
def test_what_anybody_could_sign_is_refused(
    client: FlaskClient, shop: Shop, calls: list[Call], secret: str
) -> None:
    before = rows_of(shop)
    for call in calls:
        if call.is_webhook:
            assert replace(call, secret=secret).send(client).status_code == 401
    assert rows_of(shop) == before


@pytest.mark.parametrize("algorithm", ["md5", "sha384", "sha512"])
def test_another_algorithm_is_refused(
    client: FlaskClient, shop: Shop, calls: list[Call], algorithm: str
) -> None:
    for call in calls:
        if call.is_webhook:
            body, secret = call.body or b"", call.secret.encode()
            signed = hmac.new(secret, body, getattr(hashlib, algorithm)).hexdigest()
            headers = call.headers() | {call.signature: signed}
            answer = client.open(call.path, method=call.method, data=body, headers=headers)
            assert answer.status_code == 401


def test_a_signature_holds_for_its_own_source_alone(
    client: FlaskClient, shop: Shop, stranger: Shop, calls: list[Call]
) -> None:
    """A delivery that was overheard is worth nothing at another source's address."""
    before = rows_of(stranger)
    for call in calls:
        if call.is_webhook:
            moved = replace(call, path=f"/webhooks/segment/{stranger.segment.public_id}")
            assert moved.send(client).status_code == 401
    assert rows_of(stranger) == before


def test_only_the_first_event_of_a_batch_is_signed_and_it_is_that_one(
    client: FlaskClient, shop: Shop
) -> None:
    events = [{"type": "page", "anonymousId": f"a{n}", "messageId": f"m{n}"} for n in range(3)]
    body = json.dumps(events, separators=(",", ":")).encode()
    path = f"/webhooks/segment/{shop.segment.public_id}"
    secret = shop.segment.secrets[0]
    for signed, status in ((events[0], 200), (events[1], 401), (events, 401)):
        text = json.dumps(signed, separators=(",", ":")).encode()
        assert client.post(path, data=body, headers=sign(text, secret)).status_code == status
