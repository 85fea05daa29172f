"""The engine routes of `/v1` through the real application."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from gateway import access
from gateway.http.v1.recommendation import NOT_BUILT
from ranking.catalog import embeddings, records
from tests.conftest import Shop
from tests.connectors.signing import segment as signed
from tests.ranking.market import Words

LISTS = ["user_to_products", "user_to_trending", "user_to_history", "product_to_products"]
TITLES = [f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("mug", "hat")]


@dataclass
class Caller:
    """Calls as a browser's SDK does: the key in the query, JSON text as text/plain."""

    client: FlaskClient
    shop: Shop

    def post(self, path: str, body: Any, key: str | None = None) -> TestResponse:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(
            f"/v1/{path}",
            query_string={"api_key": key or self.shop.publishable_key},
            data=text,
            content_type="text/plain;charset=UTF-8",
        )

    def asks(self, list_name: str = "user_to_products", **body: Any) -> TestResponse:
        body = {"product_id": "red mug"} | body if list_name.startswith("product") else body
        return self.post(f"recommendation/{list_name}", body)

    def data(self, list_name: str = "user_to_products", **body: Any) -> dict[str, Any]:
        response = self.asks(list_name, **body)
        assert response.status_code == 200, response.text
        return response.json["data"]  # type: ignore[index,no-any-return]

    def ids(self, list_name: str = "user_to_products", **body: Any) -> list[str]:
        return [one["product_id"] for one in self.data(list_name, **body)["products"]]

    def happens(self, type: str, *product_ids: str, **fields: Any) -> None:
        record = {"type": type, "anonymous_id": "a1", "product_ids": product_ids} | fields
        assert self.post("interactions", {"data": [record]}).status_code == 200


@pytest.fixture
def caller(
    client: FlaskClient,
    shop: Shop,
    clean_database: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Caller]:
    """A shop of six products, all encoded."""
    monkeypatch.setenv("DATABASE_URL", clean_database)
    monkeypatch.setenv("REDIS_URL", redis_url)
    records = [{"product_id": title, "title": title, "brand": title.split()[0]} for title in TITLES]
    made = Caller(client, shop)
    assert made.post("products", {"data": records}, key=shop.secret_key).status_code == 200
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    yield made


@pytest.mark.parametrize("list_name", LISTS)
def test_a_list_comes_in_misos_envelope(caller: Caller, list_name: str) -> None:
    caller.happens("like", "red mug")
    answer = caller.asks(list_name, anonymous_id="a1").json
    assert answer["message"] == "success"  # type: ignore[index]
    data = answer["data"]  # type: ignore[index]
    assert isinstance(data["took"], int)
    assert len(data["miso_id"]) == 36
    for product in data["products"]:
        assert set(product) == {"product_id", "_personalization_score", "_boosted"}
        assert 0 <= product["_personalization_score"] <= 1


def test_the_very_next_list_knows_what_was_clicked(caller: Caller) -> None:
    before = caller.ids(anonymous_id="a1")
    caller.happens("product_detail_page_view", "red mug")
    after = caller.ids(anonymous_id="a1")
    assert before != after
    assert "red mug" not in after
    assert set(after[:2]) >= {"red hat"}


def test_five_products_are_given_unless_more_are_asked_for(caller: Caller) -> None:
    assert len(caller.ids()) == 5
    assert len(caller.ids(rows=2)) == 2
    assert len(caller.ids(rows=100)) == 6


def test_a_filter_narrows_the_list(caller: Caller) -> None:
    assert set(caller.ids(fq='brand:"red" OR brand:"blue"')) == set(TITLES[:4])


def test_a_wrong_filter_is_refused_with_its_place(caller: Caller) -> None:
    response = caller.asks(fq='brand:"red')
    assert response.status_code == 422
    assert response.json["detail"][0]["loc"] == ["body", "fq"]  # type: ignore[index]


def test_only_products_of_a_type_are_given(caller: Caller) -> None:
    record = {"product_id": "b1", "title": "a book", "type": "book"}
    caller.post("products", {"data": [record]}, key=caller.shop.secret_key)
    assert caller.ids(type="book") == ["b1"]


def test_products_like_one_are_those_nearest_to_it(caller: Caller) -> None:
    listed = caller.ids("product_to_products")
    assert "red mug" not in listed
    assert set(listed[:3]) == {"red hat", "blue mug", "green mug"}


@pytest.mark.parametrize(
    "anchors",
    [
        {"product_id": ["red mug", "red hat"]},
        {"product_ids": ["red mug", "red hat"]},
        {"product_group_ids": ["red mug", "red hat"], "product_id": None},
    ],
)
def test_products_may_be_like_several(caller: Caller, anchors: dict[str, Any]) -> None:
    assert set(caller.ids("product_to_products", **anchors)) == set(TITLES[2:])


def test_products_like_an_unknown_one_are_not_found(caller: Caller) -> None:
    assert caller.asks("product_to_products", product_id="nobody's").status_code == 404


def test_products_like_nothing_are_refused(caller: Caller) -> None:
    response = caller.asks("product_to_products", product_id=None)
    assert response.status_code == 422
    assert "product_ids" in response.json["message"]  # type: ignore[index]


def test_history_is_what_was_touched_newest_first(caller: Caller) -> None:
    caller.happens("like", "red mug", timestamp="2026-01-01T00:00:00Z")
    caller.happens("add_to_cart", "blue hat", timestamp="2026-01-02T00:00:00Z")
    caller.happens("impression", "green hat")
    assert caller.ids("user_to_history", anonymous_id="a1") == ["blue hat", "red mug"]


def test_interactions_may_be_told_for_this_answer_alone(caller: Caller) -> None:
    told = [{"type": "checkout", "product_ids": ["green hat"]}]
    for body in ({}, {"anonymous_id": "a1"}):
        assert caller.ids(**body, additional_interactions=told)[0] in ("green mug", "red hat")
    assert caller.ids("user_to_history", anonymous_id="a1") == []


def test_a_wrong_additional_interaction_is_refused_with_its_place(caller: Caller) -> None:
    response = caller.asks(additional_interactions=[{"type": "no such thing"}])
    assert response.status_code == 422
    location = response.json["detail"][0]["loc"]  # type: ignore[index]
    assert location == ["body", "additional_interactions", "0", "type"]


def test_fields_are_given_by_name_and_wildcard(caller: Caller) -> None:
    [product] = caller.data(fl=["title"], rows=1)["products"]
    assert product["title"] == product["product_id"]
    [product] = caller.data(fl=["*"], rows=1)["products"]
    assert product["brand"]


def test_custom_attributes_are_given_alone_or_all(caller: Caller) -> None:
    record = {"product_id": "x", "title": "x", "type": "x", "custom_attributes": {"a": 1, "b": 2}}
    caller.post("products", {"data": [record]}, key=caller.shop.secret_key)
    for wanted, told in (("a", {"a": 1}), ("*", {"a": 1, "b": 2}), ("*b", {"b": 2})):
        for top in ("custom_attributes", "attributes"):
            [product] = caller.data(type="x", fl=[f"{top}.{wanted}"])["products"]
            assert product["custom_attributes"] == told


@settings(max_examples=200, deadline=None)
@given(pattern=st.text("ab*_", min_size=1, max_size=8), name=st.text("ab_", min_size=1, max_size=8))
def test_a_star_in_a_fields_name_stands_for_any_letters(pattern: str, name: str) -> None:
    found = records.picked({name: 1, "ab": 2}, [pattern])
    assert set(found) == {one for one in (name, "ab") if fnmatchcase(one, pattern)}


def test_explain_names_the_events_behind_each_product(caller: Caller) -> None:
    caller.happens("like", "red mug")
    data = caller.data(anonymous_id="a1", explain=True)
    first = data["products"][0]["_explanation"]
    assert first["position"] == 1
    assert sum(first["parts"].values()) == data["products"][0]["_personalization_score"]
    assert first["because"][0]["product_ids"] == ["red mug"]
    brands = [tag for tag in data["interests"]["tags"] if tag["kind"] == "brand"]
    assert [tag["name"] for tag in brands] == ["red"]
    assert brands[0]["event_ids"] == [first["because"][0]["event_id"]]


def test_a_user_needs_a_proof_with_a_publishable_key(caller: Caller) -> None:
    assert caller.asks(user_id="u1").status_code == 403
    digest = hmac.new(caller.shop.secret_key.encode(), b"u1", hashlib.sha256).hexdigest()
    assert caller.asks(user_id="u1", user_hash=digest.upper()).status_code == 200


def test_both_ids_are_served_as_the_user(caller: Caller) -> None:
    caller.happens("like", "red mug")
    body = {"user_id": "u1", "anonymous_id": "a1"}
    answer = caller.post("recommendation/user_to_history", body, key=caller.shop.secret_key)
    assert answer.json["data"]["products"] == []  # type: ignore[index]


@pytest.fixture
def logged_in(caller: Caller) -> Caller:
    """A user whose phone saw a red mug; their laptop saw a green hat and, logged in, a blue one."""
    viewed = [
        _viewed("phone-1", "red mug", anonymousId="phone", userId="u1"),
        _viewed("laptop-1", "green hat", anonymousId="laptop"),
        _viewed("laptop-2", "blue hat", anonymousId="laptop", userId="u1"),
    ]
    for event in viewed:
        body = json.dumps(event).encode()
        path = f"/webhooks/segment/{caller.shop.segment.public_id}"
        headers = signed(body, caller.shop.segment.secrets[0])
        assert caller.client.post(path, data=body, headers=headers).get_json()["applied"] == 1
    return caller


def _viewed(message_id: str, product_id: str, **ids: str) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": message_id,
        "timestamp": datetime.now(UTC).isoformat(),
        "properties": {"product_id": product_id},
    } | ids


def told(caller: Caller, list_name: str, key: str, **ids: Any) -> dict[str, Any]:
    body = {"product_id": "green mug"} if list_name.startswith("product") else {}
    asked = body | {"explain": True, "rows": 6} | ids
    answer = caller.post(f"recommendation/{list_name}", asked, key=key)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.get_json()["data"]
    return {"products": data["products"], "interests": data["interests"]}


@pytest.mark.parametrize("list_name", LISTS)
@pytest.mark.parametrize("with_event", [False, True])
def test_claiming_to_be_a_user_shows_nothing_of_that_user(
    logged_in: Caller, list_name: str, with_event: bool
) -> None:
    key = logged_in.shop.publishable_key
    stranger = told(logged_in, list_name, key, anonymous_id="stranger")
    claim: dict[str, Any] = {"type": "home_page_view", "user_id": "u1", "anonymous_id": "attacker"}
    if with_event:
        stranger = told(
            logged_in,
            list_name,
            key,
            anonymous_id="stranger",
            additional_interactions=[{"type": "like", "product_ids": ["green mug"]}],
        )
        claim |= {"type": "like", "product_ids": ["green mug"]}
    assert logged_in.post("interactions", {"data": [claim]}).status_code == 200
    # A profile of the whole visitor that is kept must not be served either.
    told(logged_in, list_name, logged_in.shop.secret_key, anonymous_id="attacker")
    for _ in range(2):
        attacker = told(logged_in, list_name, key, anonymous_id="attacker")
        assert _ids_of(attacker) == _ids_of(stranger)
        assert _seen(attacker) == _seen(stranger)


@pytest.mark.parametrize("list_name", LISTS)
def test_a_device_that_logged_in_still_knows_its_own_events(
    logged_in: Caller, list_name: str
) -> None:
    for _ in range(2):
        own = told(logged_in, list_name, logged_in.shop.publishable_key, anonymous_id="laptop")
        assert _seen(own) == ["blue hat", "green hat"]
    if list_name == "user_to_history":
        assert _ids_of(own) == ["blue hat", "green hat"]
    if list_name == "user_to_products":
        assert "red mug" in _ids_of(own)
        assert not {"blue hat", "green hat"} & set(_ids_of(own))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("search/search", {"q": "*"}),
        ("recommendation/feed", {}),
        ("recommendation/user_to_categories", {"root_category": ["*"]}),
        ("recommendation/user_to_attributes", {"field": "brand"}),
    ],
)
def test_wherever_a_list_is_explained_only_the_device_of_the_id_is_told_of(
    logged_in: Caller, path: str, body: dict[str, Any]
) -> None:
    asked = body | {"explain": True, "anonymous_id": "laptop"}
    told_whole = logged_in.post(path, asked, key=logged_in.shop.secret_key).text
    answer = logged_in.post(path, asked, key=logged_in.shop.publishable_key)
    assert answer.status_code == 200
    events = answer.get_json()["data"]["interests"]["events"]
    assert sorted(one["product_ids"][0] for one in events) == ["blue hat", "green hat"]
    assert '"label":"red mug"' in told_whole and '"label":"red mug"' not in answer.text


def test_what_a_device_bought_after_its_login_is_not_recommended_to_it(logged_in: Caller) -> None:
    logged_in.happens("checkout", "green mug", anonymous_id="laptop", user_id="u1")
    logged_in.happens("checkout", "blue mug", anonymous_id="phone", user_id="u1")
    own = logged_in.ids(anonymous_id="laptop", rows=6)
    assert set(own) == set(TITLES) - {"green mug", "blue hat", "green hat"}


@pytest.mark.parametrize("list_name", LISTS)
def test_with_proof_or_a_secret_key_the_whole_visitor_counts(
    logged_in: Caller, list_name: str
) -> None:
    secret, publishable = logged_in.shop.secret_key, logged_in.shop.publishable_key
    everything = ["blue hat", "green hat", "red mug"]
    digest = hmac.new(secret.encode(), b"u1", hashlib.sha256).hexdigest()
    told(logged_in, list_name, publishable, anonymous_id="laptop")
    by_device = told(logged_in, list_name, secret, anonymous_id="laptop")
    by_proof = told(
        logged_in, list_name, publishable, user_id="u1", user_hash=digest, anonymous_id="laptop"
    )
    assert _seen(by_device) == _seen(by_proof) == everything
    assert _ids_of(by_device) == _ids_of(by_proof)


def _ids_of(told: dict[str, Any]) -> list[str]:
    return [one["product_id"] for one in told["products"]]


def _seen(told: dict[str, Any]) -> list[str]:
    """The products of all events that an explained answer names."""
    reasons = [event for one in told["products"] for event in one["_explanation"]["because"]]
    events = told["interests"]["events"] + reasons
    return sorted({product_id for event in events for product_id in event["product_ids"]})


@pytest.mark.parametrize("field", sorted(NOT_BUILT))
def test_what_is_not_built_is_refused_by_name(caller: Caller, field: str) -> None:
    asks_for_something = {"buy_together": True, "enable_boosting_campaigns": 7}
    response = caller.asks(**{field: asks_for_something.get(field, "brand:x")})
    assert response.status_code == 422
    assert field in response.json["message"]  # type: ignore[index]


def test_what_asks_for_nothing_is_accepted(caller: Caller) -> None:
    nothing = {field: values[0] for field, values in NOT_BUILT.items()} | {"start": 0, "geo": None}
    assert caller.asks(**nothing).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        '{"rows": "many"}',
        '{"rows": -1}',
        '{"rows": 1e9}',
        '{"no_such_field": 1}',
        '{"fl": "title"}',
        '{"fq": 7}',
        '{"exclude": [null]}',
        '{"additional_interactions": [7]}',
    ],
)
def test_a_wrong_request_is_refused(caller: Caller, body: str) -> None:
    response = caller.post("recommendation/user_to_products", body)
    assert response.status_code == 422, response.text
    assert response.json["message"]  # type: ignore[index]
    assert response.json["detail"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("field", "most"),
    [
        ("fl", 200),
        ("exclude", 10_000),
        ("additional_interactions", 200),
        ("product_id", 200),
        ("product_ids", 200),
        ("product_group_id", 200),
        ("product_group_ids", 200),
    ],
)
def test_a_list_too_long_is_refused_by_name_without_a_look_inside(
    caller: Caller, field: str, most: int
) -> None:
    for many in ([None] * (most + 1), dict.fromkeys(map(str, range(most + 1)), 7)):
        if field.startswith("product") and isinstance(many, dict):
            continue  # these are no list when they come as an object
        response = caller.asks("product_to_products", **{field: many})
        assert response.status_code == 422
        [problem] = response.json["problems"]  # type: ignore[index]
        assert problem["pointer"] == f"/{field}"
        assert problem["message"].startswith(f"At most {most:,} ")


def test_lists_as_long_as_they_may_be_are_answered(caller: Caller) -> None:
    ids = [str(number) for number in range(10_000)]
    anchors = ["red mug", *ids[:199]]
    body = {"fl": ids[:200], "exclude": ids, "product_ids": anchors, "product_id": "x" * 300}
    assert caller.asks("product_to_products", **body).status_code == 200


def test_a_refusal_lists_the_first_problems_and_counts_them_all(caller: Caller) -> None:
    response = caller.asks(**{f"x{number}": 1 for number in range(150)})
    assert response.status_code == 422
    assert len(response.json["problems"]) == len(response.json["detail"]) == 100  # type: ignore[index]
    assert "and 149 more" in response.json["message"]  # type: ignore[index]


@pytest.mark.parametrize("list_name", LISTS)
def test_a_list_needs_a_key(caller: Caller, list_name: str) -> None:
    response = caller.post(f"recommendation/{list_name}", {}, key="pk_wrong")
    assert response.status_code == 401
    assert response.json["message"] == "invalid api key."  # type: ignore[index]


def test_another_sites_products_are_not_listed(caller: Caller) -> None:
    with caller.shop.pool.connection() as connection:
        other = access.create_site(connection, "other")
    answer = caller.post("recommendation/user_to_products", {}, key=other["publishable_key"])
    assert answer.json["data"]["products"] == []  # type: ignore[index]
