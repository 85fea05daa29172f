"""Shopify's payloads: each rule of the mapping, and that nothing odd is an error of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from connectors.shopify.settings import SETTINGS
from connectors.shopify.translate import IGNORED, TOPICS, translate
from connectors.shopify.webhook import identifier
from tests.connectors.reading import ROOT, outcome

TRIGGERED = datetime(2026, 10, 4, 12, tzinfo=UTC)
RECEIVED = datetime(2026, 10, 4, 13, tzinfo=UTC)
HEADERS = {"shop": "a-shop.myshopify.com", "triggered_at": TRIGGERED, "received_at": RECEIVED}
BEYOND_DOUBLES = 2**53 + 1
README = (ROOT / "connectors" / "shopify" / "README.md").read_text(encoding="utf-8")


def told(
    topic: str, record: Any, settings: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The facts of a payload that has some."""
    found = outcome("shopify", record, HEADERS | dict(settings or {}), topic=topic)
    assert isinstance(found, list), found
    return found


def reason(topic: str | None, record: Any) -> str:
    """Why a payload changes nothing."""
    found = outcome("shopify", record, HEADERS, topic=topic)
    assert isinstance(found, dict), found
    return " ".join([*found, *found.values()])


def of_kind(facts: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [fact for fact in facts if fact["fact"] == kind]


# topics -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", [*TOPICS, *IGNORED])
def test_the_readme_names_each_topic(topic: str) -> None:
    assert f"`{topic}" in README


@pytest.mark.parametrize("name", SETTINGS)
def test_the_readme_names_each_setting(name: str) -> None:
    assert f"| `{name}` |" in README


@pytest.mark.parametrize("topic", ["themes/publish", "orders/risk_assessment_changed", "nonsense"])
def test_an_unknown_topic_is_ignored_by_its_name(topic: str) -> None:
    assert topic in reason(topic, {"id": 1})


def test_a_body_without_a_topic_is_ignored() -> None:
    assert "X-Shopify-Topic" in reason(None, {"id": 1})


@pytest.mark.parametrize("record", [None, 7, "x", [], [1]])
@pytest.mark.parametrize("topic", ["orders/create", "browser", "bulk"])
def test_what_is_no_object_is_refused(topic: str, record: Any) -> None:
    assert reason(topic, record).startswith("refused")


@pytest.mark.parametrize("topic", sorted({*TOPICS} - {"shop/redact", "app/uninstalled"}))
def test_an_empty_object_tells_nothing(topic: str) -> None:
    if not topic.startswith("app/"):
        assert reason(topic, {})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (BEYOND_DOUBLES, "9007199254740993"),
        ("9007199254740993", "9007199254740993"),
        ("gid://shopify/Customer/9007199254740993", "9007199254740993"),
        ("gid://shopify/Cart/t1?key=a/b", "t1"),
        ("gid://shopify/Customer/", None),
        (0, None),
        ("null", None),
        (None, None),
        (True, None),
        ([1], None),
    ],
    ids=str,
)
def test_one_thing_has_one_id_however_it_is_written(written: Any, read: str | None) -> None:
    assert identifier(written) == read


# products ---------------------------------------------------------------------------------------


def a_variant(**fields: Any) -> dict[str, Any]:
    whole = {
        "id": 11, "title": "Default Title", "price": "20.00", "compare_at_price": None,
        "inventory_policy": "deny", "inventory_quantity": 3, "inventory_item_id": 111,
    }  # fmt: skip
    return whole | fields


def a_product(*variants: dict[str, Any], **fields: Any) -> dict[str, Any]:
    whole = {
        "id": 1, "title": "Shirt", "body_html": None, "vendor": "Acme", "product_type": "",
        "handle": "shirt", "status": "active", "published_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-02-01T09:30:00-05:00", "tags": "", "options": [], "images": [],
        "variants": list(variants or [a_variant()]),
    }  # fmt: skip
    return whole | fields


def product(settings: Mapping[str, Any] | None = None, **variant: Any) -> dict[str, Any]:
    """The one product fact of a product with one variant."""
    facts = told("products/update", a_product(a_variant(**variant)), settings)
    return of_kind(facts, "product")[0]


def record_of(**fields: Any) -> dict[str, Any]:
    return told("products/update", a_product(**fields))[0]["record"]


def test_a_variant_is_the_product_and_the_product_its_group() -> None:
    variants = [a_variant(id=12, title="L"), a_variant(id=11, title="S")]
    facts = told("products/create", a_product(*variants))
    records = [fact["record"] for fact in of_kind(facts, "product")]
    assert [record["product_id"] for record in records] == ["12", "11"]
    assert [record["product_group_id"] for record in records] == ["1", "1"]
    assert [record["title"] for record in records] == ["Shirt - L", "Shirt - S"]
    assert of_kind(facts, "variants")[0]["product_ids"] == ["12", "11"]


def test_instants_are_compared_with_their_offsets() -> None:
    assert {fact["as_of"] for fact in told("products/update", a_product())} == {
        "2026-02-01T14:30:00+00:00"
    }


def test_variants_that_are_only_named_are_not_deleted() -> None:
    variants = [a_variant(id=number) for number in range(1, 101)]
    gids = [
        {"admin_graphql_api_id": f"gid://shopify/ProductVariant/{number}"}
        for number in range(1, 131)
    ]
    facts = told("products/update", a_product(*variants, variant_gids=gids))
    assert len(of_kind(facts, "product")) == 100
    (group,) = of_kind(facts, "variants")
    assert group["product_ids"] == [str(number) for number in range(1, 131)]


def test_where_there_may_be_more_variants_none_is_deleted() -> None:
    variants = [a_variant(id=number) for number in range(1, 101)]
    assert of_kind(told("products/update", a_product(*variants)), "variants") == []
    facts = told("products/update", a_product(*variants[:99]))
    assert len(of_kind(facts, "variants")[0]["product_ids"]) == 99


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "draft"},
        {"status": "archived"},
        {"status": "unlisted"},
        {"status": "UNLISTED"},
        {"published_at": None},
    ],
    ids=str,
)
def test_what_is_not_live_is_gone(fields: dict[str, Any]) -> None:
    at = "2026-02-01T14:30:00+00:00"
    gone = {"fact": "variants", "group_id": "1", "product_ids": [], "as_of": at}
    assert told("products/update", a_product(**fields)) == [gone]
    trimmed = {"id": 1, "updated_at": "2026-02-01T14:30:00Z", **fields}
    assert told("products/update", trimmed) == [gone]


def test_a_deleted_product_is_gone_when_it_was_deleted() -> None:
    assert told("products/delete", {"id": BEYOND_DOUBLES}) == [
        {
            "fact": "variants",
            "group_id": "9007199254740993",
            "product_ids": [],
            "as_of": TRIGGERED.isoformat(),
        }
    ]


def test_without_a_trigger_a_deletion_is_as_old_as_its_receipt() -> None:
    settings = {"received_at": RECEIVED}
    (fact,) = translate("products/delete", {"id": 1}, settings)
    assert fact["as_of"] == RECEIVED


@pytest.mark.parametrize(
    ("now", "before", "original", "sale"),
    [
        ("20.00", None, 20, None),
        ("20.00", "25.00", 25, 20),
        ("20.00", "20.00", 20, None),
        ("20.00", "15.00", 20, None),
        ("20.00", "0.00", 20, None),
        ("0.00", "5.00", 5, 0),
        ("-1", "5.00", None, None),
        ("free", None, None, None),
    ],
)
def test_what_it_cost_before_makes_a_sale(
    now: str, before: str | None, original: float | None, sale: float | None
) -> None:
    record = product(price=now, compare_at_price=before)["record"]
    assert (record.get("original_price"), record.get("sale_price")) == (original, sale)


@pytest.mark.parametrize(
    ("variant", "availability", "stock_item"),
    [
        ({}, "IN_STOCK", "111"),
        ({"inventory_quantity": 0}, "OUT_OF_STOCK", "111"),
        ({"inventory_quantity": -2}, "OUT_OF_STOCK", "111"),
        ({"inventory_quantity": 0, "inventory_policy": "continue"}, "IN_STOCK", None),
        ({"inventory_quantity": 0, "inventory_management": None}, "IN_STOCK", None),
        ({"inventory_quantity": 0, "inventory_management": "shopify"}, "OUT_OF_STOCK", "111"),
        ({"inventory_item_id": None}, "IN_STOCK", None),
        ({"available": False}, "OUT_OF_STOCK", "111"),
        ({"available": True, "inventory_quantity": 0}, "IN_STOCK", None),
    ],
    ids=str,
)
def test_whether_it_can_be_bought(
    variant: dict[str, Any], availability: str, stock_item: str | None
) -> None:
    fact = product(**variant)
    assert fact["record"]["availability"] == availability
    assert fact.get("stock_item") == stock_item


def test_a_shop_that_counts_no_stock_is_never_sold_out() -> None:
    fact = product({"untracked_stock": True}, inventory_quantity=0)
    assert fact["record"]["availability"] == "IN_STOCK"
    assert "stock_item" not in fact


def test_the_text_of_a_product_is_what_its_reader_sees() -> None:
    html = "<style>p {}</style><p>Soft&nbsp;&amp; <b>warm</b></p><script>x()</script><p>Wool</p>"
    assert record_of(body_html=html)["description"] == "Soft & warm Wool"


def test_categories_are_the_path_of_the_taxonomy_else_the_shops_own_type() -> None:
    path = {"full_name": "Apparel & Accessories > Clothing > Shirts"}
    full = record_of(category=path, product_type="Shirts")
    assert full["categories"] == [["Apparel & Accessories", "Clothing", "Shirts"]]
    assert full["type"] == "Shirts"
    assert record_of(category=None, product_type="Shirts")["categories"] == [["Shirts"]]
    assert "categories" not in record_of()


def test_tags_are_a_text_with_commas_or_a_list() -> None:
    assert record_of(tags="new, sale,,two words ")["tags"] == ["new", "sale", "two words"]
    assert record_of(tags=["new", "a, b"])["tags"] == ["new", "a, b"]


def test_options_are_told_by_their_names() -> None:
    options = [
        {"name": "Größe", "position": 1},
        {"name": "Colour", "position": 2},
        {"name": "Fit", "position": 3},
    ]
    variant = a_variant(option1="M", option2="Red", option3="Slim", sku="S-1")
    record = told("products/update", a_product(variant, options=options))[0]["record"]
    assert (record["size"], record["color"]) == ("M", "Red")
    assert record["custom_attributes"] == {"Fit": "Slim", "sku": "S-1"}


def test_a_product_without_options_has_no_option() -> None:
    variant = a_variant(option1="Default Title")
    options = [{"name": "Title", "position": 1}]
    record = told("products/update", a_product(variant, options=options))[0]["record"]
    assert record["title"] == "Shirt"
    assert "custom_attributes" not in record


def test_the_picture_is_the_variants_own_else_the_products() -> None:
    images = [{"id": 5, "src": "https://cdn.example/first.jpg"}, {"id": 6, "src": "//cdn/own.jpg"}]
    pictured = a_product(a_variant(image_id=6), a_variant(id=12), images=images)
    first, second = of_kind(told("products/update", pictured), "product")
    assert first["record"]["cover_image"] == "https://cdn/own.jpg"
    assert second["record"]["cover_image"] == "https://cdn.example/first.jpg"


def test_an_address_that_is_none_is_left_out() -> None:
    assert "cover_image" not in record_of(image={"src": "https://cdn.example/a b.jpg"})


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ({}, "https://a-shop.myshopify.com"),
        ({"shop_url": "https://shop.example/"}, "https://shop.example"),
        ({"shop_url": "shop.example"}, "https://a-shop.myshopify.com"),
    ],
    ids=["told", "set", "no-address"],
)
def test_the_page_of_a_product_opens_at_its_variant(settings: dict[str, str], base: str) -> None:
    fact = told("products/update", a_product(handle="chemise-été"), settings)[0]
    page = fact["record"]["url"]
    assert page == f"{base}/products/chemise-%C3%A9t%C3%A9?variant=11"


def test_an_untrusted_shop_is_in_no_address() -> None:
    (fact, _) = translate("products/update", a_product(), {"shop": "evil.com"})
    assert "url" not in fact["record"]


# parts of products ------------------------------------------------------------------------------


def test_of_a_part_only_what_is_there_changes() -> None:
    part = {
        "id": 1,
        "vendor": None,
        "variants": [{"id": 11, "price": "5", "compare_at_price": "9"}],
    }
    facts = told("products/update", part)
    patch = of_kind(translate("products/update", part, HEADERS), "product_patch")[0]
    assert patch["record"] == {
        "product_id": "11",
        "product_group_id": "1",
        "brand": None,
        "original_price": 9,
        "sale_price": 5,
    }
    assert patch["as_of"] == TRIGGERED
    assert of_kind(facts, "variants")[0]["product_ids"] == ["11"]


def test_a_part_does_not_make_up_what_it_leaves_out() -> None:
    part = {"id": 1, "title": "Shirt", "variants": [{"id": 11, "inventory_quantity": 0}]}
    facts = told("products/update", part)
    assert [fact["fact"] for fact in facts] == ["variants"]


def test_a_part_without_variants_is_ignored_and_says_what_to_send() -> None:
    assert "`variants`" in reason("products/update", {"id": 1, "title": "Shirt"})


@pytest.mark.parametrize(
    ("topic", "availability"),
    [("variants/in_stock", "IN_STOCK"), ("variants/out_of_stock", "OUT_OF_STOCK")],
)
def test_a_variant_comes_and_goes_when_that_was_noticed(topic: str, availability: str) -> None:
    variant = {"id": 11, "product_id": 1, "updated_at": "2020-01-01T00:00:00Z", "price": "1"}
    (patch,) = told(topic, variant)
    assert patch["record"] == {"product_id": "11", "availability": availability}
    assert patch["as_of"] == TRIGGERED.isoformat()


# stock ------------------------------------------------------------------------------------------


def a_level(**fields: Any) -> dict[str, Any]:
    return {"inventory_item_id": 111, "location_id": 5} | fields


def test_a_place_has_so_many_of_an_item() -> None:
    level = a_level(available=7, updated_at="2026-02-01T09:30:00-05:00")
    for topic in ("inventory_levels/update", "inventory_levels/connect"):
        assert told(topic, level) == [
            {
                "fact": "stock",
                "item_id": "111",
                "location_id": "5",
                "quantity": 7,
                "as_of": "2026-02-01T14:30:00+00:00",
            }
        ]


def test_a_place_that_does_not_count_an_item_does_not_count() -> None:
    assert "quantity" not in told("inventory_levels/update", a_level(available=None))[0]
    (gone,) = told("inventory_levels/disconnect", a_level())
    assert "quantity" not in gone
    assert gone["as_of"] == TRIGGERED.isoformat()


def test_a_level_without_a_number_is_ignored() -> None:
    assert "`available`" in reason("inventory_levels/update", a_level())


def test_what_nobody_counts_is_always_there() -> None:
    item = {"id": 111, "tracked": False, "updated_at": "2026-02-01T14:30:00Z"}
    (untracked,) = told("inventory_items/update", item)
    assert (untracked["item_id"], untracked["quantity"]) == ("111", 1)
    (tracked,) = told("inventory_items/update", item | {"tracked": True})
    assert tracked["location_id"] == untracked["location_id"]
    assert "quantity" not in tracked
    assert "tracked" in reason("inventory_items/update", {"id": 111})


# orders -----------------------------------------------------------------------------------------


def a_line(**fields: Any) -> dict[str, Any]:
    return {"id": 71, "product_id": 1, "variant_id": 11, "quantity": 1} | fields


def an_order(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    whole = {
        "id": BEYOND_DOUBLES, "created_at": "2026-03-01T10:00:00-05:00",
        "processed_at": "2026-03-01T09:59:00-05:00", "updated_at": "2026-03-01T10:00:01-05:00",
        "currency": "EUR", "subtotal_price": "20.00", "total_price": "30.00",
        "checkout_token": "c1", "cart_token": "t1", "customer": None, "user_id": 99,
        "line_items": list(lines or [a_line()]),
    }  # fmt: skip
    return whole | fields


def note(value: Any, name: str = "__attune_anonymous_id") -> list[dict[str, Any]]:
    return [{"name": "gift", "value": "yes"}, {"name": name, "value": value}]


def placed(**fields: Any) -> dict[str, Any]:
    return of_kind(told("orders/create", an_order(**fields)), "order")[0]


def test_an_order_is_told_as_it_was_placed() -> None:
    assert placed(customer={"id": 5}) == {
        "fact": "order",
        "order_id": "9007199254740993",
        "told": "placed",
        "user_id": "5",
        "anonymous_id": "shopify:checkout:c1",
        "occurred_at": "2026-03-01T14:59:00+00:00",
        "as_of": "2026-03-01T15:00:01+00:00",
        "product_ids": ["11"],
        "quantities": [1],
        "revenue": 20,
        "currency": "EUR",
    }


@pytest.mark.parametrize(
    "topic", ["orders/paid", "orders/updated", "orders/fulfilled", "orders/partially_fulfilled"]
)
def test_every_topic_of_an_order_tells_the_same(topic: str) -> None:
    assert told(topic, an_order()) == told("orders/create", an_order())


@pytest.mark.parametrize("customer", [None, {}, {"id": None}, {"id": "null"}, {"id": 0}], ids=str)
def test_a_guest_is_no_user(customer: Any) -> None:
    facts = told("orders/create", an_order(customer=customer))
    assert "user_id" not in facts[0]
    assert of_kind(facts, "sighting") == []


@pytest.mark.parametrize(
    ("fields", "anonymous_id"),
    [
        ({"note_attributes": note("v1")}, "v1"),
        ({"note_attributes": note("v1", "another")}, "shopify:checkout:c1"),
        ({"note_attributes": note("null")}, "shopify:checkout:c1"),
        ({"note_attributes": note("x" * 2000)}, "shopify:checkout:c1"),
        ({"note_attributes": "v1"}, "shopify:checkout:c1"),
        ({"checkout_token": None}, "shopify:cart:t1"),
        ({"checkout_token": None, "cart_token": None}, None),
    ],
    ids=["attribute", "other-attribute", "null", "too-long", "odd", "cart", "none"],
)
def test_the_visitor_is_the_best_id_that_is_there(
    fields: dict[str, Any], anonymous_id: str | None
) -> None:
    assert placed(**fields).get("anonymous_id") == anonymous_id


def test_a_customer_without_any_token_needs_no_made_up_visitor() -> None:
    order = an_order(customer={"id": 5}, checkout_token=None, cart_token=None)
    (fact,) = told("orders/create", order)
    assert "anonymous_id" not in fact


def test_all_ids_of_an_order_are_one_browsers_and_its_customers() -> None:
    order = an_order(customer={"id": 5}, note_attributes=note("v1"))
    facts = told("orders/create", order)
    at = "2026-03-01T14:59:00+00:00"
    assert of_kind(facts, "same_device") == [
        {"fact": "same_device", "anonymous_id": "v1", "other_id": other, "occurred_at": at}
        for other in ("shopify:checkout:c1", "shopify:cart:t1")
    ]
    assert of_kind(facts, "sighting") == [
        {"fact": "sighting", "anonymous_id": "v1", "user_id": "5", "occurred_at": at}
    ]


@pytest.mark.parametrize(
    ("line", "products"),
    [
        ({}, ["11"]),
        ({"variant_id": None}, ["1"]),
        ({"variant_id": BEYOND_DOUBLES}, ["9007199254740993"]),
        ({"product_id": None}, []),
        ({"product_id": None, "variant_id": None, "title": "Tip"}, []),
        ({"gift_card": True}, []),
        ({"quantity": 0}, []),
    ],
    ids=["variant", "product", "large", "custom", "tip", "gift-card", "none"],
)
def test_lines_are_the_products_that_were_chosen(line: dict[str, Any], products: list[str]) -> None:
    order = an_order(a_line(**line))
    assert told("orders/create", order)[0]["product_ids"] == products


def test_a_line_that_leaves_its_product_out_is_of_its_variant() -> None:
    line = {"variant_id": 11, "quantity": 2}
    assert told("orders/create", an_order(line))[0]["product_ids"] == ["11"]


def test_one_variant_on_two_lines_is_one_with_both_quantities() -> None:
    lines = [a_line(quantity=2), a_line(variant_id=12), a_line(quantity=3, id=72)]
    (fact, *_) = told("orders/create", an_order(*lines))
    assert dict(zip(fact["product_ids"], fact["quantities"], strict=True)) == {"11": 5, "12": 1}


def test_revenue_is_the_shops_money_without_shipping() -> None:
    money = {
        "shop_money": {"amount": "18.50", "currency_code": "EUR"},
        "presentment_money": {"amount": "21.00", "currency_code": "USD"},
    }
    fact = placed(subtotal_price_set=money, presentment_currency="USD")
    assert (fact["revenue"], fact["currency"]) == (18.5, "EUR")


def test_a_test_order_is_none() -> None:
    for topic in ("orders/create", "orders/cancelled"):
        assert "test order" in reason(topic, an_order(test=True))
    assert told("orders/create", an_order(test=False))


def test_a_cancelled_order_counts_no_longer() -> None:
    at = "2026-03-02T00:00:00+00:00"
    undone = {"fact": "order", "order_id": "9007199254740993", "told": "cancelled", "as_of": at}
    order = an_order(cancelled_at="2026-03-02T00:00:00Z")
    for topic in ("orders/updated", "orders/cancelled"):
        facts = of_kind(told(topic, order), "order")
        assert [fact["told"] for fact in facts] == ["placed", "cancelled"]
        assert facts[1] == undone
    trimmed = {"id": BEYOND_DOUBLES, "updated_at": "2026-03-02T00:00:00Z"}
    assert told("orders/cancelled", trimmed) == [undone]


def test_a_deleted_order_counts_no_longer() -> None:
    (fact,) = told("orders/delete", {"id": 1})
    assert (fact["told"], fact["as_of"]) == ("cancelled", TRIGGERED.isoformat())


def test_an_order_without_its_id_is_refused() -> None:
    assert reason("orders/create", an_order(id=None)).startswith("refused")
    gid = an_order(id=None, admin_graphql_api_id="gid://shopify/Order/8")
    assert told("orders/create", gid)[0]["order_id"] == "8"


def test_an_order_without_its_lines_places_nothing() -> None:
    assert "`line_items`" in reason("orders/updated", {"id": 1, "subtotal_price": "20.00"})


# refunds ----------------------------------------------------------------------------------------


def a_refund(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    whole = {
        "id": 31, "order_id": BEYOND_DOUBLES, "created_at": "2026-03-03T00:00:00Z",
        "refund_line_items": list(items),
    }  # fmt: skip
    return whole | fields


def an_item(subtotal: str = "10.00", quantity: int = 1, **line: Any) -> dict[str, Any]:
    shop_money = {"amount": subtotal, "currency_code": "EUR"}
    presentment_money = {"amount": "99.00", "currency_code": "USD"}
    return {
        "quantity": quantity,
        "line_item_id": 71,
        "subtotal_set": {"shop_money": shop_money, "presentment_money": presentment_money},
        "line_item": a_line(**line),
    }


REFUNDED = {
    "fact": "order",
    "order_id": "9007199254740993",
    "told": "refunded",
    "as_of": "2026-03-03T00:00:00+00:00",
    "product_ids": ["11"],
    "quantities": [2],
    "revenue": 10.1,
    "currency": "EUR",
    "refund_id": "31",
}


def test_a_refund_brings_its_lines_back() -> None:
    items = [an_item("3.40"), an_item("6.70", id=72)]
    assert told("refunds/create", a_refund(*items)) == [REFUNDED]


def test_a_refund_inside_its_order_is_the_same_one() -> None:
    items = [an_item("3.40"), an_item("6.70")]
    for item in items:
        del item["line_item"]  # the order has it
    order = an_order(refunds=[a_refund(*items)])
    assert of_kind(told("orders/updated", order), "order")[1] == REFUNDED


def test_a_refund_of_no_line_is_not_one_of_all() -> None:
    adjusted = a_refund(order_adjustments=[{"amount": "-5.00"}])
    assert reason("refunds/create", adjusted).startswith("ignored")
    order = an_order(refunds=[adjusted])
    assert [fact["told"] for fact in of_kind(told("orders/updated", order), "order")] == ["placed"]


def test_what_is_no_product_comes_back_as_money_alone() -> None:
    (fact,) = told("refunds/create", a_refund(an_item("4.00", product_id=None)))
    assert (fact["product_ids"], fact["revenue"]) == ([], 4)


def test_a_refund_of_a_test_order_is_none() -> None:
    refund = a_refund(an_item(), transactions=[{"test": True}])
    assert "test order" in reason("refunds/create", refund)


# carts and checkouts ----------------------------------------------------------------------------


def a_checkout(**fields: Any) -> dict[str, Any]:
    whole = {
        "token": "c1", "cart_token": "t1", "created_at": "2026-03-01T15:00:00Z",
        "updated_at": "2026-03-01T15:01:00Z", "currency": "eur", "subtotal_price": "20.00",
        "total_price": "30.00", "line_items": [a_line(), a_line(gift_card=True)],
    }  # fmt: skip
    return whole | fields


def test_a_checkout_is_no_revenue() -> None:
    (event, *_) = told("checkouts/create", a_checkout(customer={"id": 5}))
    assert event == {
        "fact": "event",
        "type": "checkout_started",
        "user_id": "5",
        "anonymous_id": "shopify:checkout:c1",
        "message_id": "shopify:checkout_started:c1",
        "occurred_at": "2026-03-01T15:00:00+00:00",
        "product_ids": ["11"],
        "quantities": [1],
        "currency": "EUR",
    }


def test_a_changed_checkout_only_joins() -> None:
    facts = told("checkouts/update", a_checkout(note_attributes=note("v1"), customer={"id": 5}))
    assert [fact["fact"] for fact in facts] == ["same_device", "same_device", "sighting"]
    assert reason("checkouts/update", a_checkout(cart_token=None)).startswith("ignored")


def test_a_cart_says_whose_it_is() -> None:
    cart = {"id": "t1", "token": "t1", "updated_at": "2026-03-01T15:00:00Z", "line_items": []}
    for topic in ("carts/create", "carts/update"):
        (fact,) = told(topic, cart | {"note_attributes": note("v1")})
        assert (fact["anonymous_id"], fact["other_id"]) == ("v1", "shopify:cart:t1")
        assert reason(topic, cart).startswith("ignored")


# people -----------------------------------------------------------------------------------------


def a_customer(**fields: Any) -> dict[str, Any]:
    whole = {
        "id": 5, "first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com",
        "phone": "+44", "note": "likes trains", "updated_at": "2026-03-01T10:00:00-05:00",
        "default_address": {
            "address1": "1 Street", "zip": "N1", "city": "London", "province": None,
            "country": "United Kingdom", "phone": "+44",
        },
    }  # fmt: skip
    return whole | fields


def test_of_a_customer_name_and_region_are_kept() -> None:
    assert told("customers/update", a_customer()) == [
        {
            "fact": "user",
            "record": {
                "user_id": "5",
                "name": "Ada Lovelace",
                "city": "London",
                "country": "United Kingdom",
            },
            "as_of": "2026-03-01T15:00:00+00:00",
            "cleared": ["state"],
        }
    ]


def test_what_is_no_longer_there_is_taken_away() -> None:
    (fact,) = told(
        "customers/update", a_customer(first_name="", last_name=None, default_address=None)
    )
    assert fact["record"] == {"user_id": "5"}
    assert fact["cleared"] == ["name", "city", "state", "country"]
    (part,) = told("customers/update", {"id": 5, "email": "ada@example.com"})
    assert "cleared" not in part


def test_a_deleted_customer_is_removed() -> None:
    removed = {"fact": "removed", "kind": "user", "id": "5", "at": TRIGGERED.isoformat()}
    assert told("customers/delete", {"id": 5}) == [removed]


def test_a_completed_merge_makes_one_of_two() -> None:
    merge = {
        "admin_graphql_api_customer_kept_id": "gid://shopify/Customer/9007199254740993",
        "admin_graphql_api_customer_deleted_id": "gid://shopify/Customer/2",
        "status": "completed",
    }
    (fact,) = told("customers/merge", merge)
    assert (fact["previous_id"], fact["user_id"]) == ("2", "9007199254740993")
    assert fact["occurred_at"] == TRIGGERED.isoformat()
    for status in ("failed", "requested", None):
        assert reason("customers/merge", merge | {"status": status}).startswith("ignored")


SHOP = {"shop_id": 1, "shop_domain": "a-shop.myshopify.com"}


def test_who_asks_to_be_forgotten_is_and_their_orders_too() -> None:
    asked = SHOP | {
        "customer": {"id": 5, "email": "a@b.c"},
        "orders_to_redact": [BEYOND_DOUBLES, "8"],
    }
    (fact,) = told("customers/redact", asked)
    assert (fact["fact"], fact["user_id"]) == ("erase", "5")
    assert fact["order_ids"] == ["9007199254740993", "8"]
    assert "a@b.c" not in json.dumps(fact)


def test_orders_alone_are_somebody_and_an_address_is_nobody() -> None:
    guest = SHOP | {"customer": {"email": "a@b.c"}, "orders_to_redact": [8]}
    (fact,) = told("customers/redact", guest)
    assert "user_id" not in fact
    nobody = SHOP | {"customer": {"email": "a@b.c"}, "orders_to_redact": []}
    assert reason("customers/redact", nobody).startswith("ignored")


def test_a_request_for_data_carries_its_number() -> None:
    asked = SHOP | {"customer": {"id": 5}, "orders_requested": [], "data_request": {"id": 9999}}
    at = TRIGGERED.isoformat()
    export = {"fact": "export", "user_id": "5", "request_id": "9999", "at": at}
    assert told("customers/data_request", asked) == [export]


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("app/uninstalled", "uninstalled"),
        ("app/scopes_update", "scopes_changed"),
        ("shop/redact", "erase_all"),
    ],
)
def test_the_connections_life(topic: str, name: str) -> None:
    (fact,) = told(topic, {"id": 1, "email": "owner@example.com"})
    assert fact == {"fact": "lifecycle", "name": name, "at": TRIGGERED.isoformat()}


# nothing odd is an error ------------------------------------------------------------------------

WHOLE: dict[str, dict[str, Any]] = {
    **{topic: {"id": 1} for topic in TOPICS},
    "bulk": a_product(a_variant(tracked=False, available=True), collections=["New"]),
    "products/create": a_product(a_variant(option1="M"), options=[{"name": "Size", "position": 1}]),
    "products/update": a_product(images=[{"id": 5, "src": "//cdn/own.jpg"}]),
    "customers/create": a_customer(),
    "customers/redact": {"customer": {"id": 5}, "orders_to_redact": [8]},
    "customers/data_request": {"customer": {"id": 5}, "data_request": {"id": 9}},
    "checkouts/create": a_checkout(note_attributes=note("v1")),
    "orders/create": an_order(customer={"id": 5}, note_attributes=note("v1")),
    "orders/updated": an_order(refunds=[a_refund(an_item())], cancelled_at="2026-03-02T00:00:00Z"),
    "refunds/create": a_refund(an_item()),
    "inventory_levels/update": a_level(available=1),
    "carts/create": {"token": "t1", "note_attributes": note("v1")},
}

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["gid://shopify/Product/1", "gid://", "//", "2026-01-01T00:00:00Z", "[1]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "name", "value", "src", "title"]), inner)
    ),
    max_leaves=5,
)


def mutated(data: st.DataObject, value: Any) -> Any:
    """The payload with something else in one place, at any depth."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 3)):
        key = data.draw(st.sampled_from(sorted(value)))
        return value | {key: mutated(data, value[key])}
    if isinstance(value, list) and value and data.draw(st.integers(0, 3)):
        return [mutated(data, value[0]), *value[1:]]
    return data.draw(ODD)


@given(topic=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_no_payload_is_an_error_of_ours(topic: str, data: st.DataObject) -> None:
    try:
        facts = translate(topic, mutated(data, WHOLE[topic]), HEADERS)
    except (schemas.Ignored, schemas.Unsupported, schemas.Malformed):
        return
    for fact in facts:
        try:
            schemas.load(fact)
        except schemas.Invalid as error:
            assert error.problems
