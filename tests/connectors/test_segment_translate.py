"""Segment's calls: settings, what is let through, and that nothing odd is an error of ours."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from connectors.segment.track import EVENTS, TABLE
from connectors.segment.translate import MAX_EVENT_BYTES, TYPES, translate
from schemas import payload
from schemas.event import EVENT_TYPES
from tests.connectors.reading import ROOT, outcome, outcomes

Settings = Mapping[str, Any]


def facts(settings: Settings | None = None, **fields: Any) -> list[dict[str, Any]]:
    """The facts of a track call of user u1."""
    call = {"type": "track", "event": "Product Viewed", "userId": "u1"} | fields
    found = outcome("segment", call, settings)
    assert isinstance(found, list), found
    return found


def event(name: str, settings: Settings | None = None, /, **properties: Any) -> dict[str, Any]:
    return facts(settings, event=name, properties=properties)[0]


def reason(settings: Settings | None = None, **fields: Any) -> str:
    """Why a track call of user u1 changes nothing."""
    call = {"type": "track", "event": "Product Viewed", "userId": "u1"} | fields
    found = outcome("segment", call, settings)
    assert isinstance(found, dict), found
    return " ".join([*found, *found.values()])


# the table ---------------------------------------------------------------------------------------


def test_the_table_names_only_types_there_are_and_each_name_once() -> None:
    names = [name for names, _, _ in TABLE for name in names]
    assert len(names) == len(set(names)) == len(EVENTS)
    assert {row.type for row in EVENTS.values()} <= set(EVENT_TYPES)


@pytest.mark.parametrize("name", EVENTS)
def test_the_readme_tells_each_name(name: str) -> None:
    readme = (ROOT / "connectors" / "segment" / "README.md").read_text(encoding="utf-8")
    assert name in readme.lower()


@pytest.mark.parametrize("name", EVENTS)
def test_a_name_is_known_in_every_spelling(name: str) -> None:
    spellings = (name.title(), name.upper(), f"  {name} ", name.replace(" ", "_"), name + "__ ")
    types = {
        event(spelling, query="q", product_id="p", products=[{"id": "p"}])["type"]
        for spelling in spellings
    }
    assert types == {EVENTS[name].type}


def test_a_site_gives_its_own_names_a_meaning() -> None:
    settings = {"events": {"Artikel gesehen": "Product Viewed", "Other": "no such name"}}
    assert event("artikel_gesehen", settings, product_id="p")["type"] == "product_detail_page_view"
    assert event("Other", settings, product_id="p")["custom_action_name"] == "Other"


# products ----------------------------------------------------------------------------------------


def test_the_product_id_is_the_first_that_is_there() -> None:
    everything = {"product_id": "1", "productId": "2", "id": "3", "sku": "4"}
    for key in ("product_id", "productId", "id"):
        assert event("Product Viewed", **everything)["product_ids"] == [everything.pop(key)]
    assert event("Product Viewed", **everything)["product_ids"] == ["4"]


def test_a_setting_says_which_property_is_the_catalog_key() -> None:
    both = {"product_id": "1", "sku": "4", "id": "3"}
    assert event("Product Viewed", {"product_id": "sku"}, **both)["product_ids"] == ["4"]
    assert event("Product Viewed", {"product_id": ["ean", "id"]}, **both)["product_ids"] == ["3"]
    assert event("Product Viewed", {"product_id": "ean"}, **both)["type"] == "custom"


def test_the_top_level_wins_over_the_array() -> None:
    found = event("Product Added", product_id="top", products=[{"product_id": "in"}])
    assert found["product_ids"] == ["top"]


@pytest.mark.parametrize("products", [None, "", "[", "null", '"p"', 7, [], [None, "p", 1, {}], {}])
def test_products_of_an_odd_form_are_no_products(products: Any) -> None:
    assert event("Cart Viewed", products=products)["product_ids"] == []


@pytest.mark.parametrize(
    ("written", "quantity"),
    [("2", 2), (2.0, 2), ("1,5", 1.5), (None, 1), ("many", 1), (0, 1), (-3, 1), (True, 1)],
)
def test_quantities_are_read_where_they_are_plain(written: Any, quantity: float) -> None:
    assert event("Product Added", product_id="p", quantity=written)["quantities"] == [quantity]


def test_an_order_of_two_lines_of_one_product_is_in_any_order_the_same() -> None:
    lines = [{"product_id": "a", "quantity": n} for n in (1, 2)] + [{"product_id": "b"}]
    found = []
    for seed in range(6):
        random.Random(seed).shuffle(lines)
        order = event("Order Completed", products=lines)
        found.append(dict(zip(order["product_ids"], order["quantities"], strict=True)))
    assert found == [{"a": 3, "b": 1}] * 6


@pytest.mark.parametrize(
    ("amounts", "revenue"),
    [
        ({"revenue": 10, "total": 12, "value": 9}, 10),
        ({"revenue": None, "total": "12.5", "value": 9}, 12.5),
        ({"revenue": "n/a", "value": "9"}, 9),
        ({"revenue": 0, "total": 12}, 0),
        ({}, None),
    ],
)
def test_revenue_is_the_first_amount_that_can_be_read(
    amounts: dict[str, Any], revenue: float | None
) -> None:
    assert event("Order Completed", **amounts).get("revenue") == revenue


def test_only_an_order_has_revenue() -> None:
    for name in EVENTS:
        found = facts(event=name, properties={"revenue": 5, "query": "q", "product_id": "p"})
        assert all("revenue" not in fact or fact["type"] == "purchase" for fact in found)


def test_an_event_makes_a_product_only_where_it_tells_a_title() -> None:
    named = facts(properties={"product_id": "p", "name": "Ball", "price": "n/a", "url": "/ball"})
    assert [fact["record"] for fact in named if fact["fact"] == "product"] == [
        {"product_id": "p", "title": "Ball"}
    ]
    assert len(facts(properties={"product_id": "p", "price": 3})) == 1


def test_an_event_with_an_impossible_product_is_kept() -> None:
    found = event("Product Viewed", product_id="_odd,id", name="Ball", image_url="no address")
    assert found["product_ids"] == ["_odd,id"]


# who and when ------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["", " ", None, "null", "undefined", 0, True, [], {}])
def test_a_null_like_id_is_no_id(absent: Any) -> None:
    assert "neither" in reason(userId=absent, anonymousId=absent)
    assert facts(userId=absent, anonymousId="a")[0].get("user_id") is None


def test_numbers_are_ids() -> None:
    assert facts(userId=12, messageId=34)[0]["user_id"] == "12"
    assert facts(userId=12.0, messageId=34)[0]["message_id"] == "34"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02t03:04:05.123456789z", "2026-01-02T03:04:05.123456+00:00"),
        ("2026-01-02T08:34:05+05:30", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02", "2026-01-02T00:00:00+00:00"),
        (1767323045000, "2026-01-02T03:04:05+00:00"),
        ("1767323045000", "2026-01-02T03:04:05+00:00"),
        (1767323045, "2026-01-02T03:04:05+00:00"),
        ("NOW", None),
        ("", None),
        (None, None),
        (True, None),
        (10**300, None),
        ("9" * 400, None),
        ("0001-01-01T00:00:00+14:00", None),
        ({}, None),
    ],
)
def test_a_time_is_read_in_any_form_or_is_that_of_receipt(written: Any, read: Any) -> None:
    assert facts(timestamp=written)[0].get("occurred_at") == read


def test_the_time_of_segments_receipt_is_better_than_none() -> None:
    found = facts(timestamp="NOW", receivedAt="2026-01-02T03:04:05Z")
    assert found[0]["occurred_at"] == "2026-01-02T03:04:05+00:00"


def test_a_second_user_of_a_device_is_seen_with_it_too() -> None:
    found = [facts(userId=user, anonymousId="a")[-1] for user in ("u1", "u2")]
    assert [(fact["fact"], fact["user_id"]) for fact in found] == [
        ("sighting", "u1"),
        ("sighting", "u2"),
    ]


# what is let through -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "  ", None, 7, [], {}, True])
def test_a_track_call_needs_a_name(name: Any) -> None:
    assert reason(event=name).startswith("refused")


@pytest.mark.parametrize("type_", ["", " ", None, [], {}, True])
def test_a_call_needs_a_type(type_: Any) -> None:
    assert reason(type=type_).startswith("refused")


@pytest.mark.parametrize("record", [None, 1, "text", [], True])
def test_an_event_is_an_object(record: Any) -> None:
    assert outcome("segment", record) == {
        "refused": "An event must be a JSON object.",
        "pointer": "",
    }


def test_a_message_id_has_at_most_a_hundred_characters() -> None:
    assert facts(messageId="m" * 100)
    assert reason(messageId="m" * 101).startswith("refused")


def test_an_event_over_a_megabyte_is_one_bad_of_many() -> None:
    def sized(size: int) -> dict[str, Any]:
        call = {"type": "track", "event": "E", "userId": "u", "properties": {"text": ""}}
        call["properties"]["text"] = "é" * (
            (size - len(json.dumps(call, separators=(",", ":")))) // 2
        )
        return call

    small, large = sized(MAX_EVENT_BYTES), sized(MAX_EVENT_BYTES + 2)
    results = outcomes("segment", json.dumps([small, large, small]).encode())
    assert ["refused" in result for result in results] == [False, True, False]


@pytest.mark.parametrize("filler", [False, None, 0, "", {}, [], "\x01", "👜", 1e-7])
def test_the_size_of_an_event_is_that_of_its_json(filler: Any) -> None:
    one = len(json.dumps(filler, ensure_ascii=False, separators=(",", ":")).encode()) + 1
    fits, too_many = MAX_EVENT_BYTES // one - 100, MAX_EVENT_BYTES // one + 1
    assert facts(properties={"list": [filler] * fits})
    assert reason(properties={"list": [filler] * too_many}).startswith("refused")


@pytest.mark.parametrize(
    ("integrations", "kept"),
    [
        ({}, True),
        (None, True),
        ("all", True),
        ({"All": True, "Mixpanel": False}, True),
        ({"All": False, "Webhooks (Actions)": True}, True),
        ({"All": False, "Attune": {"site": 1}}, True),
        ({"All": False, "Mixpanel": True}, False),
        ({"Attune": False}, False),
    ],
)
def test_who_opts_out_of_us_is_not_kept(integrations: Any, kept: bool) -> None:
    found = outcome("segment", {"type": "page", "userId": "u", "integrations": integrations})
    assert isinstance(found, list) is kept


@pytest.mark.parametrize(
    ("consent", "kept"),
    [
        (None, True),
        ({}, True),
        ({"categoryPreferences": {"A": True, "B": True}}, True),
        ({"categoryPreferences": {"A": True, "B": False}}, False),
        ({"categoryPreferences": {"A": True}}, False),
        ({"categoryPreferences": {}}, False),
        ({"categoryPreferences": None}, False),
    ],
)
def test_a_source_may_require_consent(consent: Any, kept: bool) -> None:
    call = {"type": "page", "userId": "u", "context": {"consent": consent}}
    found = outcome("segment", call, {"consent": ["A", "B"]})
    assert isinstance(found, list) is kept
    assert isinstance(outcome("segment", call), list)


def test_erasure_asks_nobody() -> None:
    call = {
        "type": "delete",
        "userId": "u",
        "integrations": {"All": False},
        "context": {"consent": {"categoryPreferences": {}}},
    }
    [fact] = outcome("segment", call, {"consent": "A"})
    assert fact == {"fact": "erase", "user_id": "u"}


def test_personal_data_of_others_is_nowhere_in_the_facts() -> None:
    personal = {"recipient": "eva@example.com", "email": "eva@example.com", "phone": "+41 1"}
    line = {"product_id": "p", "name": "Ball"} | personal
    for name in [*EVENTS, "Product Shared", "Signed Up"]:
        found = facts(event=name, properties=personal | {"query": "q", "products": [line]})
        assert "eva@" not in json.dumps(found)
        assert "+41" not in json.dumps(found)


# anything ----------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**308), 10**308)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["1", "19,99", "$ 79.95", "null", "2026-01-02", "[{}]", '[{"id":1}]', "A/B"])
)
NAMES = st.sampled_from(
    [
        "product_id", "id", "sku", "products", "quantity", "price", "query", "category", "url",
        "name", "image_url", "currency", "order_id", "revenue", "address", "age", "avatar", "page",
        "createdAt", "consent", "categoryPreferences", "campaign", "library", "All", "filters",
    ]
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
calls = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*TYPES, "Track", "other"]) | values,
        "event": st.sampled_from([*EVENTS, "Unboxing"]) | values,
        "userId": st.just("u1") | values,
        "anonymousId": st.just("a1") | values,
        "previousId": st.just("u0") | values,
        "groupId": values,
        "messageId": values,
        "timestamp": st.datetimes().map(str) | values,
        "properties": st.dictionaries(NAMES, values, max_size=6) | values,
        "traits": st.dictionaries(NAMES, values, max_size=6) | values,
        "context": values,
        "integrations": values,
        "name": values,
    },
)


@given(call=calls | values, consent=st.sampled_from([None, "A", ["A"]]))
def test_nothing_that_is_json_is_an_error_of_ours(call: Any, consent: Any) -> None:
    try:
        found = translate(None, call, {"consent": consent})
    except (schemas.Ignored, schemas.Unsupported, schemas.Malformed):
        return
    for fact in found:
        schemas.load(fact)


@given(call=calls)
def test_translating_changes_nothing_and_depends_on_nothing_else(call: Any) -> None:
    before = json.dumps(call, sort_keys=True)
    assert outcome_of(call) == outcome_of(call)
    assert json.dumps(call, sort_keys=True) == before


@given(call=calls, seed=st.integers(0, 99))
def test_the_order_of_keys_does_not_matter(call: dict[str, Any], seed: int) -> None:
    keys = list(call)
    random.Random(seed).shuffle(keys)
    assert outcome_of({key: call[key] for key in keys}) == outcome_of(call)


def outcome_of(call: Any) -> Any:
    return outcome("segment", call)


@given(batch=st.lists(calls, min_size=1, max_size=4))
def test_an_event_means_the_same_alone_and_anywhere_in_a_batch(batch: list[Any]) -> None:
    body = json.dumps(batch).encode()
    try:
        parsed = payload.parse(body)
    except schemas.Malformed:
        return
    together = [without_place(found) for found in outcomes("segment", body)]
    assert together == [without_place(outcome_of(call)) for call in parsed]


def without_place(found: Any) -> Any:
    return found["refused"] if isinstance(found, dict) and "refused" in found else found
