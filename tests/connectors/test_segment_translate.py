"""Segment's calls: settings, what is let through, and that nothing odd is an error of ours."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from connectors.segment.events import EVENTS, TABLE
from connectors.segment.translate import MAX_EVENT_BYTES, TYPES, check, translate
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
    rest = {"asset_id": "v", "rating": "4", "order_id": "o"}
    spellings = (name.title(), name.upper(), f"  {name} ", name.replace(" ", "_"), name + "__ ")
    types = {
        event(spelling, query="q", product_id="p", products=[{"id": "p"}], **rest)["type"]
        for spelling in spellings
    }
    assert types == {EVENTS[name].type}


def test_a_site_gives_its_own_names_a_meaning() -> None:
    settings = {"events": {"Artikel gesehen": "Product Viewed", "Other": "no such name"}}
    assert event("artikel_gesehen", settings, product_id="p")["type"] == "product_detail_page_view"
    assert event("Other", settings, product_id="p")["custom_action_name"] == "Other"


NONSENSE: dict[str, Settings] = {
    "did you mean 'Product Viewed'": {"events": {"Artikel gesehen": "Product Veiwed"}},
    "'Artikel gesehen' the meaning 'qwertz'": {"events": {"Artikel gesehen": "qwertz"}},
    "the meaning None": {"events": {"Artikel gesehen": None}},
    "`events` must be an object": {"events": ["Product Viewed"]},
    "`product_id` must be a text": {"product_id": 7},
    "`product_id` must": {"product_id": []},
    "`consent` must be a text": {"consent": {"A": True}},
    "`consent` must": {"consent": ["A", ""]},
    "`header` must": {"header": ["X"]},
}


@pytest.mark.parametrize(("told", "settings"), NONSENSE.items(), ids=NONSENSE)
def test_a_setting_that_means_nothing_is_refused(told: str, settings: Settings) -> None:
    with pytest.raises(schemas.Malformed, match=re.escape(told)):
        check(settings)


def test_settings_that_mean_something_are_taken() -> None:
    check({})
    check({"events": {"A": "viewed_PRODUCT"}, "product_id": "sku", "consent": ["A"], "header": "X"})
    check(dict.fromkeys(("events", "product_id", "consent", "header")))


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
        assert all("revenue" not in fact or fact.get("type") == "purchase" for fact in found)


# orders ------------------------------------------------------------------------------------------

LINES = [{"product_id": "a", "quantity": "2"}, {"product_id": "b"}]


def of_order(name: str, /, **properties: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The event of an order event, and what it tells of its order."""
    call = {"event": name, "messageId": "m1", "timestamp": "2026-01-02T03:04:05Z"}
    found = facts(**call, properties=properties)
    orders = [fact for fact in found if fact["fact"] == "order"]
    assert len(orders) <= 1
    return found[0], orders[0] if orders else None


def test_an_updated_order_replaces_its_lines_and_is_no_second_purchase() -> None:
    told, order = of_order("Order Updated", order_id=7, products=LINES, total="9.5", currency="usd")
    assert (told["type"], told["custom_action_name"]) == ("custom", "order_updated")
    assert told["product_ids"] == []
    assert order == {
        "fact": "order",
        "order_id": "7",
        "told": "placed",
        "user_id": "u1",
        "as_of": "2026-01-02T03:04:05+00:00",
        "product_ids": ["a", "b"],
        "quantities": [2, 1],
        "revenue": 9.5,
        "currency": "USD",
    }


@pytest.mark.parametrize("properties", [{"order_id": "o"}, {"products": LINES}, {}], ids=str)
def test_an_update_without_lines_or_an_order_replaces_nothing(properties: Any) -> None:
    told, order = of_order("Order Updated", **properties)
    assert told["custom_action_name"] == "order_updated"
    assert order is None


def test_a_refund_of_some_products_is_told_of_its_order() -> None:
    told, order = of_order("Order Refunded", orderId="o", products=LINES, total=30)
    assert (told["type"], told["product_ids"], told["quantities"]) == ("refund", ["a", "b"], [2, 1])
    assert order is not None
    assert (order["told"], order["refund_id"]) == ("refunded", "m1")
    assert (order["product_ids"], order["quantities"]) == (["a", "b"], [2, 1])
    assert "revenue" not in order


def test_what_was_paid_back_is_positive_and_only_of_products() -> None:
    _, order = of_order("Order Refunded", order_id="o", products=LINES, revenue="-12.50")
    assert order and order["revenue"] == 12.5
    _, order = of_order("Order Refunded", order_id="o", revenue=12.5)
    assert order and "revenue" not in order


def test_a_refund_without_products_is_of_the_whole_order() -> None:
    told, order = of_order("Order Refunded", order_id="o", total=30)
    assert (told["type"], told["product_ids"], told["order_id"]) == ("refund", [], "o")
    assert order and (order["told"], order["product_ids"]) == ("refunded", [])


def test_a_refund_of_products_without_any_id_is_not_of_the_whole_order() -> None:
    told, order = of_order("Order Refunded", order_id="o", products=[{"name": "Ball"}])
    assert (told["type"], told["custom_action_name"], order) == ("custom", "order_refunded", None)


def test_a_cancelled_order_no_longer_counts() -> None:
    told, order = of_order("Order Cancelled", order_id="o", products=LINES, total=30)
    assert (told["type"], told["product_ids"]) == ("refund", ["a", "b"])
    assert order and (order["told"], order["product_ids"]) == ("cancelled", [])


@pytest.mark.parametrize("name", ["Order Refunded", "Order Cancelled"])
def test_without_an_order_only_the_products_are_taken_back(name: str) -> None:
    told, order = of_order(name, products=LINES)
    assert (told["type"], order) == ("refund", None)
    told, order = of_order(name, coupon="x")
    assert (told["type"], told["custom_action_name"]) == ("custom", name.lower().replace(" ", "_"))
    assert order is None


# shares, ratings, videos -------------------------------------------------------------------------

RATINGS = [
    ("5", 5), (3.5, 3.5), ("0", 0), ("4,5", 4.5), (None, None), ("good", None), (8, None),
    (-1, None), (True, None),
]  # fmt: skip


@pytest.mark.parametrize(("written", "rating"), RATINGS)
def test_a_review_with_a_number_up_to_five_is_a_rating(written: Any, rating: Any) -> None:
    found = event("Product Reviewed", product_id="p", rating=written, review_id="r")
    assert found.get("rating") == rating
    assert found["type"] == ("custom" if rating is None else "rate")
    assert found["product_ids"] == ["p"]


def test_a_review_or_share_of_nothing_is_custom() -> None:
    for name in ("Product Reviewed", "Product Shared", "Cart Shared", "Video Content Started"):
        found = event(name, rating=4, products=[])
        assert found["type"] == "custom"
        assert found["custom_action_name"] == name.lower().replace(" ", "_")


def test_a_shared_cart_is_a_share_of_its_products() -> None:
    found = event("Cart Shared", products=LINES, cart_id="c")
    assert (found["type"], found["product_ids"]) == ("share", ["a", "b"])


def test_the_product_of_a_video_is_its_content() -> None:
    watched = {"asset_id": "v1", "session_id": "s", "position": 3, "title": "Forests"}
    assert event("Video Content Started", **watched)["product_ids"] == ["v1"]
    assert event("Video Content Completed", **watched)["type"] == "complete"
    own = event("Video Content Started", {"product_id": "sku"}, sku="k", **watched)
    assert own["product_ids"] == ["k"]


def test_a_playing_video_says_where_and_moves_nothing() -> None:
    found = event("Video Content Playing", asset_id="v1", product_id="p", position=30)
    assert (found["type"], found["product_ids"]) == ("custom", [])
    assert found["properties"]["position"] == 30


def test_a_promotion_is_no_product() -> None:
    found = facts(event="Viewed Promotion", properties={"promotion_id": "x", "name": "Sale"})
    assert [fact["fact"] for fact in found] == ["event"]
    assert found[0]["custom_action_name"] == "promotion_viewed"


# products made of events -------------------------------------------------------------------------


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
    personal = {
        "recipient": "eva@example.com",
        "share_message": "eva@",
        "email": "eva@example.com",
        "phone": "+41 1",
    }
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
