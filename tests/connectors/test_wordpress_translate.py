"""WooCommerce's records: what becomes what, and that nothing odd is an error of ours."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from connectors.wordpress.translate import EVENTS, IGNORED, RESOURCES, SETTINGS, translate
from schemas import payload
from tests.connectors.reading import ROOT, headers_of, outcome

FIXTURES = sorted(
    path
    for path in (ROOT / "connectors" / "wordpress" / "fixtures").glob("*.json")
    if not path.name.endswith((".expected.json", ".headers.json"))
)
AT = "2026-11-20T10:30:00+00:00"


def a_product(**fields: Any) -> dict[str, Any]:
    return {
        "id": 10, "name": "Mug", "type": "simple", "status": "publish", "parent_id": 0,
        "catalog_visibility": "visible", "post_password": "",
        "date_created_gmt": "2026-11-01T08:00:00", "date_modified_gmt": "2026-11-20T10:30:00",
    } | fields  # fmt: skip


def an_order(**fields: Any) -> dict[str, Any]:
    return {
        "id": 60, "status": "processing", "currency": "EUR", "customer_id": 2, "total": "20.00",
        "date_created_gmt": "2026-11-20T10:00:00", "date_modified_gmt": "2026-11-20T10:30:00",
        "date_paid_gmt": "2026-11-20T10:05:00", "meta_data": [], "refunds": [],
        "line_items": [{"product_id": 10, "quantity": 2, "total": "20.00"}],
    } | fields  # fmt: skip


def a_customer(**fields: Any) -> dict[str, Any]:
    return {
        "id": 2, "role": "customer", "first_name": "Ada", "last_name": "L", "billing": {},
        "date_created_gmt": "2026-11-01T08:00:00", "date_modified_gmt": None,
    } | fields  # fmt: skip


def a_post(**fields: Any) -> dict[str, Any]:
    return {
        "id": 70, "type": "post", "status": "publish", "title": {"rendered": "Hello"},
        "date_gmt": "2026-11-01T08:00:00", "modified_gmt": "2026-11-20T10:30:00",
    } | fields  # fmt: skip


def facts(topic: str, record: Any, **settings: Any) -> list[dict[str, Any]]:
    found = outcome("wordpress", record, settings, topic=topic)
    assert isinstance(found, list), found
    return found


def reason(topic: str | None, record: Any) -> str:
    found = outcome("wordpress", record, topic=topic)
    assert isinstance(found, dict), found
    return " ".join([*found, *found.values()])


def product(settings: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    [fact] = facts("product.updated", a_product(**fields), **(settings or {}))
    return fact["record"]


def order(**fields: Any) -> list[dict[str, Any]]:
    return facts("order.updated", an_order(**fields))


# topics ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", sorted(EVENTS - {"deleted"}))
def test_every_event_of_a_resource_tells_the_whole_record(event: str) -> None:
    for name, record in (("product", a_product()), ("order", an_order()), ("page", a_post())):
        assert facts(f"{name}.{event}", record) == facts(f"{name}.updated", record)


@pytest.mark.parametrize(
    "topic", ["", "product", "product.", "product.x", "x.updated", "review.created"]
)
def test_an_unknown_topic_changes_nothing(topic: str) -> None:
    assert "not known" in reason(topic, a_product())


def test_without_a_topic_nothing_is_guessed() -> None:
    assert "X-WC-Webhook-Topic" in reason(None, a_product())


@pytest.mark.parametrize("name", IGNORED)
@pytest.mark.parametrize("record", [{"id": 1, "code": "c"}, {"action": "a", "arg": "b"}, None])
def test_what_is_of_no_use_is_ignored_with_its_reason(name: str, record: Any) -> None:
    assert reason(f"{name}.created", record) == f"ignored {IGNORED[name]}"


@pytest.mark.parametrize("name", RESOURCES)
def test_an_error_instead_of_a_record_changes_nothing(name: str) -> None:
    error = {
        "code": "woocommerce_rest_invalid_id",
        "message": "Invalid ID.",
        "data": {"status": 404},
    }
    for event in EVENTS:
        assert reason(f"{name}.{event}", error).startswith("ignored It was gone")


@pytest.mark.parametrize("name", RESOURCES)
@pytest.mark.parametrize("id", [None, 0, -1, "", "x", True, [], 1.5, "1" * 21, "٣"])
def test_a_record_without_its_number_is_refused(name: str, id: Any) -> None:
    for event in EVENTS:
        assert "/id" in reason(f"{name}.{event}", {"id": id})


@pytest.mark.parametrize("record", [None, [], "x", 1])
def test_a_record_is_an_object(record: Any) -> None:
    assert "must be a JSON object" in reason("product.updated", record)


@pytest.mark.parametrize(
    ("topic", "gone"),
    [
        ("product.deleted", {"fact": "removed", "kind": "product", "id": "9"}),
        ("post.deleted", {"fact": "removed", "kind": "product", "id": "9"}),
        ("page.deleted", {"fact": "removed", "kind": "product", "id": "9"}),
        ("customer.deleted", {"fact": "removed", "kind": "user", "id": "9"}),
        ("order.deleted", {"fact": "order", "told": "cancelled", "order_id": "9"}),
    ],
)
def test_what_is_deleted_is_gone_as_of_the_receipt(topic: str, gone: dict[str, Any]) -> None:
    assert facts(topic, {"id": 9}) == [gone]


# products ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "draft"},
        {"status": "private"},
        {"status": "future"},
        {"status": "pending"},
        {"status": "trash"},
        {"status": "importing"},
        {"post_password": "moon"},
        {"catalog_visibility": "hidden"},
    ],
)
def test_what_may_not_be_shown_is_removed_as_of_its_change(fields: dict[str, Any]) -> None:
    removed = {"fact": "removed", "kind": "product", "id": "10", "at": AT}
    assert facts("product.updated", a_product(**fields)) == [removed]


@pytest.mark.parametrize("visibility", ["search", "catalog"])
def test_a_product_of_one_list_only_stays_and_says_so(visibility: str) -> None:
    found = product(catalog_visibility=visibility)
    assert found["custom_attributes"] == {"catalog_visibility": visibility}


@pytest.mark.parametrize("type_", ["simple", "variable", "grouped", "external", "subscription"])
def test_a_product_of_any_type_is_one(type_: str) -> None:
    assert product(type=type_)["type"] == type_


@pytest.mark.parametrize("type_", ["variation", "subscription_variation"])
def test_a_variation_changes_nothing(type_: str) -> None:
    for fields in ({}, {"status": "draft"}, {"status": "trash"}):
        assert "variation" in reason(
            "product.updated", a_product(type=type_, parent_id=9, **fields)
        )


def test_all_that_a_product_needs_is_its_id_and_a_name() -> None:
    [fact] = facts("product.updated", {"id": 10, "name": "Mug"})
    assert fact == {
        "fact": "product",
        "record": {"product_id": "10", "product_group_id": "10", "title": "Mug"},
    }
    assert "nothing of the product" in reason("product.updated", {"id": 10})


def test_entities_are_decoded_once() -> None:
    found = product(
        name="A &amp;amp; B &gt; C", categories=[{"name": "T &amp; C"}], tags=[{"name": "x &lt; y"}]
    )
    assert (found["title"], found["categories"], found["tags"]) == (
        "A &amp; B > C",
        [["T & C"]],
        ["x < y"],
    )


@pytest.mark.parametrize(
    ("prices", "original", "sale"),
    [
        ({"price": "19.90", "regular_price": "19.90", "sale_price": ""}, 19.9, None),
        ({"price": "15", "regular_price": "20", "sale_price": "15", "on_sale": True}, 20, 15),
        ({"price": "20", "regular_price": "20", "sale_price": "15", "on_sale": False}, 20, None),
        ({"price": "42", "regular_price": "", "sale_price": "", "on_sale": True}, 42, None),
        ({"price": "", "regular_price": "", "sale_price": ""}, None, None),
        ({"price": "0", "regular_price": "9", "on_sale": True}, 9, 0),
        ({"price": "", "regular_price": "9"}, 9, None),
        ({"price": "-1", "regular_price": "free"}, None, None),
    ],
)
def test_prices_are_text_and_a_sale_has_two(
    prices: dict[str, Any], original: float | None, sale: float | None
) -> None:
    found = product(**prices)
    assert (found.get("original_price"), found.get("sale_price")) == (original, sale)


@pytest.mark.parametrize(
    ("status", "availability"),
    [
        ("instock", "IN_STOCK"),
        ("outofstock", "OUT_OF_STOCK"),
        ("onbackorder", "PRE_ORDER"),
        ("x", None),
    ],
)
def test_the_stock_status_says_whether_it_is_there(status: str, availability: str | None) -> None:
    assert product(stock_status=status).get("availability") == availability


def test_the_currency_is_a_setting() -> None:
    assert product({"currency": "eur"})["custom_attributes"] == {"currency": "EUR"}
    assert "custom_attributes" not in product()


def test_private_meta_data_is_not_kept() -> None:
    pairs = [("_cost", "1"), ("care", "wash"), ("n", 3), ("list", [1]), ("", "x"), (None, "x")]
    meta = [{"key": key, "value": value} for key, value in pairs]
    assert product(meta_data=meta)["custom_attributes"] == {"care": ["wash"], "n": ["3"]}


def test_what_a_shop_names_itself_is_always_a_list_and_takes_no_name_of_ours() -> None:
    attributes = [{"name": "care", "options": ["dry"]}, {"name": "currency", "options": ["x"]}]
    meta = [{"key": "care", "value": "wash"}, {"key": "sku", "value": "x"}]
    assert product(attributes=attributes, meta_data=meta)["custom_attributes"] == {"care": ["dry"]}


def test_a_brand_is_the_first_of_the_brands_else_the_attribute() -> None:
    attributes = [{"name": "Marke", "slug": "pa_brand", "options": ["Acme"]}]
    assert product(attributes=attributes)["brand"] == "Acme"
    brands = [{"name": "B &amp; C"}, {"name": "D"}]
    assert product(attributes=attributes, brands=brands)["brand"] == "B & C"


def test_an_attribute_of_several_options_is_no_field() -> None:
    found = product(attributes=[{"name": "Colour", "options": ["Red", "Blue"]}])
    assert "color" not in found
    assert found["custom_attributes"] == {"Colour": ["Red", "Blue"]}


@pytest.mark.parametrize(
    ("src", "found"),
    [
        ("https://cdn.example/a.jpg", "https://cdn.example/a.jpg"),
        ("/a.jpg", "https://shop.example/a.jpg"),
        ("//cdn.example/a.jpg", "https://cdn.example/a.jpg"),
        ("https://shop.example/a b.jpg", None),
        ("http://[", None),
        ("data:image/png;base64,AA", None),
        ("", None),
        (7, "https://shop.example/7"),
    ],
)
def test_an_image_has_a_whole_address(src: Any, found: str | None) -> None:
    settings = {"site_url": "https://shop.example/"}
    assert product(settings, images=[{"src": src}]).get("cover_image") == found


def test_times_are_utc_and_do_not_say_so() -> None:
    [fact] = facts("product.updated", a_product(date_modified="2026-11-20T11:30:00"))
    assert fact["as_of"] == AT
    [fact] = facts("product.updated", a_product(date_modified_gmt=None))
    assert fact["as_of"] == "2026-11-01T08:00:00+00:00"


def test_a_rating_of_nobody_is_none() -> None:
    assert "rating" not in product(average_rating="0.00")
    assert product(average_rating="4.33")["rating"] == 4.33


# orders ------------------------------------------------------------------------------------------


def test_a_paid_order_is_placed_when_it_was_paid() -> None:
    assert order() == [
        {
            "fact": "order", "told": "placed", "order_id": "60", "user_id": "2", "as_of": AT,
            "occurred_at": "2026-11-20T10:05:00+00:00", "product_ids": ["10"], "quantities": [2],
            "revenue": 20.0, "currency": "EUR",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["pending", "on-hold", "processing", "checkout-draft", "own"])
def test_an_order_that_is_not_paid_changes_nothing(status: str) -> None:
    said = reason("order.created", an_order(status=status, date_paid_gmt=None))
    assert said == f"ignored The order is not paid (its status is {status})."


def test_a_completed_order_counts_without_a_time_of_payment() -> None:
    [fact] = order(status="completed", date_paid_gmt=None)
    assert fact["occurred_at"] == "2026-11-20T10:00:00+00:00"


@pytest.mark.parametrize("status", ["cancelled", "failed", "trash"])
@pytest.mark.parametrize("paid", [None, "2026-11-20T10:05:00"])
def test_an_order_that_fell_through_is_cancelled(status: str, paid: str | None) -> None:
    cancelled = {"fact": "order", "told": "cancelled", "order_id": "60", "as_of": AT}
    assert order(status=status, date_paid_gmt=paid) == [cancelled]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "refunded"},
        {"status": "refunded", "refunds": [{"id": 61, "total": "-20.00"}]},
        {"refunds": [{"id": 61, "total": "-12.10"}, {"id": 62, "total": "-7.90"}]},
    ],
)
def test_an_order_paid_back_in_full_is_all_back_whatever_its_status(fields: dict[str, Any]) -> None:
    [placed, back] = order(**fields)
    assert placed["told"] == "placed"
    assert back == {"fact": "order", "told": "refunded", "order_id": "60", "as_of": AT}


def test_each_refund_in_part_is_told_with_its_amount() -> None:
    refunds = [{"id": 61, "total": "-5.00"}, {"id": 62, "total": "-2.50"}, {"id": 63, "total": ""}]
    found = {fact["refund_id"]: fact["revenue"] for fact in order(refunds=refunds)[1:]}
    assert found == {"61": 5.0, "62": 2.5}


def test_a_guest_is_nobody_unless_the_browser_is_known() -> None:
    [fact] = order(customer_id=0)
    assert "user_id" not in fact
    assert "anonymous_id" not in fact
    [fact] = order(customer_id=0, meta_data=[{"key": "_attune_anonymous_id", "value": "b1"}])
    assert fact["anonymous_id"] == "b1"


def test_the_browser_of_a_known_buyer_is_theirs() -> None:
    placed, seen = order(meta_data=[{"key": "_attune_anonymous_id", "value": "b1"}])
    assert (placed["user_id"], placed["anonymous_id"]) == ("2", "b1")
    assert (seen["fact"], seen["user_id"], seen["anonymous_id"]) == ("sighting", "2", "b1")


@pytest.mark.parametrize("value", ["", "null", "0", None, [], "b" * 1025])
def test_an_odd_browser_is_none(value: Any) -> None:
    [fact] = order(meta_data=[{"key": "_attune_anonymous_id", "value": value}])
    assert "anonymous_id" not in fact


def test_a_line_without_its_product_counts_only_as_money() -> None:
    lines = [
        {"product_id": 10, "variation_id": 11, "quantity": 1, "total": "0.10"},
        {"product_id": 10, "variation_id": 12, "quantity": 2, "total": "0.20"},
        {"product_id": 0, "quantity": 5, "total": "3.00"},
        {"product_id": 13, "quantity": 0, "total": "0.00"},
    ]
    [fact] = order(line_items=lines)
    assert (fact["product_ids"], fact["quantities"], fact["revenue"]) == (["10"], [3], 3.3)


# people ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["editor", "administrator", "shop_manager", "", None])
def test_who_works_for_the_shop_is_no_customer(role: Any) -> None:
    assert "are not customers" in reason("customer.created", a_customer(role=role))


def test_a_customer_is_a_name_and_a_place() -> None:
    billing = {
        "city": "Bonn",
        "state": "DE-NW",
        "country": "DE",
        "address_1": "Weg 1",
        "phone": "1",
    }
    [fact] = facts("customer.created", a_customer(billing=billing, email="a@example.com"))
    assert fact == {
        "fact": "user",
        "as_of": "2026-11-01T08:00:00+00:00",
        "record": {
            "user_id": "2", "name": "Ada L", "city": "Bonn", "state": "DE-NW", "country": "DE",
            "created_at": "2026-11-01T08:00:00+00:00",
        },
    }  # fmt: skip


def test_what_a_customer_left_empty_is_taken_away() -> None:
    [fact] = facts("customer.updated", a_customer(billing={"city": "", "country": "DE"}))
    assert fact["record"]["country"] == "DE"
    assert fact["cleared"] == ["city", "state"]


def test_a_customer_without_a_name_has_that_of_their_bills() -> None:
    billing = {"first_name": "Ada", "last_name": "B"}
    [fact] = facts("customer.created", a_customer(first_name="", last_name="", billing=billing))
    assert fact["record"]["name"] == "Ada B"


# posts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [{"status": "draft"}, {"status": "trash"}, {"content": {"protected": True}}, {"password": "x"}],
)
def test_a_post_that_not_everybody_may_read_is_removed(fields: dict[str, Any]) -> None:
    removed = {"fact": "removed", "kind": "product", "id": "70", "at": AT}
    assert facts("post.updated", a_post(**fields)) == [removed]


def test_a_product_in_a_posts_shape_changes_nothing() -> None:
    assert "own topics" in reason("post.updated", a_post(type="product"))
    assert "nothing of the post" in reason("post.updated", {"id": 70, "type": "post"})


def test_what_may_not_be_embedded_is_left_out() -> None:
    error = {"code": "rest_user_invalid_id", "message": "Invalid user ID.", "data": {"status": 404}}
    embedded = {"author": [error], "wp:featuredmedia": [error], "wp:term": [[error], error, None]}
    [fact] = facts("post.updated", a_post(_embedded=embedded))
    assert fact["record"].keys().isdisjoint(("authors", "cover_image", "categories", "tags"))


# whatever comes ----------------------------------------------------------------------------------

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
    | st.sampled_from(["publish", "completed", "9" * 400, "http://[", "0001-01-01T00:00:00+23:00"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "name", "key", "value", "total", "rendered"]), inner),
    max_leaves=8,
)  # fmt: skip
WHOLE = [a_product(), an_order(), a_customer(), a_post()] + [
    record
    for path in FIXTURES
    for body in [payload.parse(path.read_bytes())]
    for record in (body if isinstance(body, list) else [body])
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a record."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inside:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += places(item, (*path, key))
    return found


@given(
    data=st.data(), odd=ODD, topic=st.sampled_from([f"{n}.{e}" for n in RESOURCES for e in EVENTS])
)
def test_an_odd_value_anywhere_is_never_an_error_of_ours(data: Any, odd: Any, topic: str) -> None:
    record = copy.deepcopy(data.draw(st.sampled_from(WHOLE)))
    *way, last = data.draw(st.sampled_from(places(record)))
    inside = record
    for key in way:
        inside = inside[key]
    inside[last] = odd
    try:
        found = translate(topic, record, {"currency": odd, "site_url": odd})
    except (schemas.Ignored, schemas.Unsupported, schemas.Malformed):
        return
    for fact in found:
        schemas.load(fact)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_each_fixture_says_its_topic(path: Any) -> None:
    assert headers_of(path)["X-WC-Webhook-Topic"].startswith(
        path.stem.split("__")[0].replace("_", ".")
    )


def test_the_readme_tells_each_setting() -> None:
    readme = (ROOT / "connectors" / "wordpress" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in SETTINGS)
