"""Events of a web pixel: each rule, whose browser it is, and that no claim is an error of ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from connectors.shopify.pixel import CUSTOM, EVENTS
from connectors.shopify.translate import translate
from schemas.event import EVENT_TYPES
from tests.connectors.reading import ROOT, outcome

AT = "2026-03-01T15:00:00+00:00"
SETTINGS = {"shop_url": "https://shop.example"}
VARIANT = {
    "id": "11",
    "title": "Small",
    "price": {"amount": 20, "currencyCode": "EUR"},
    "image": {"src": "//cdn.example/shirt.jpg"},
    "product": {
        "id": "1",
        "title": "Shirt",
        "vendor": "Acme",
        "type": "",
        "url": "/products/shirt",
    },
}
CHECKOUT = {
    "token": "c1",
    "currencyCode": "EUR",
    "subtotalPrice": {"amount": 60, "currencyCode": "EUR"},
    "totalPrice": {"amount": 70, "currencyCode": "EUR"},
    "email": "a@b.c",
    "lineItems": [
        {"quantity": 2, "variant": VARIANT},
        {"quantity": 1, "variant": VARIANT},
        {"quantity": 1, "variant": None, "title": "Tip"},
    ],
    "order": {"id": "81", "customer": {"id": "5"}},
}
DATA: dict[str, dict[str, Any]] = {
    "page_viewed": {},
    "collection_viewed": {
        "collection": {"id": "3", "title": "Tops/New", "productVariants": [VARIANT]}
    },
    "search_submitted": {"searchResult": {"query": "shirt", "productVariants": [VARIANT]}},
    "product_viewed": {"productVariant": VARIANT},
    "product_added_to_cart": {"cartLine": {"quantity": 2, "merchandise": VARIANT}},
    "product_removed_from_cart": {"cartLine": {"quantity": 1, "merchandise": VARIANT}},
    "cart_viewed": {"cart": {"id": "gid://shopify/Cart/t1?key=k", "lines": []}},
    "checkout_started": {"checkout": CHECKOUT | {"order": None}},
    "checkout_completed": {"checkout": CHECKOUT},
}


def an_event(name: str, path: str = "/products/shirt", **fields: Any) -> dict[str, Any]:
    """An event as the pixel passes it on."""
    href = f"https://shop.example{path}?token=secret#top"
    location = {"href": href, "pathname": path, "origin": "https://shop.example"}
    document = {"location": location, "referrer": "https://search.example/?q=a", "title": "Shop"}
    whole = {
        "name": name, "type": "standard", "id": f"sh-{name}", "clientId": "client", "seq": 1,
        "timestamp": "2026-03-01T15:00:00.000Z", "data": DATA.get(name, {}),
        "context": {"document": document, "navigator": {"language": "en", "userAgent": "UA"}},
    }  # fmt: skip
    return whole | fields


def told(name: str, path: str = "/products/shirt", /, **fields: Any) -> list[dict[str, Any]]:
    found = outcome("shopify", an_event(name, path, **fields), SETTINGS, topic="browser")
    assert isinstance(found, list), found
    return found


def reason(name: str, path: str = "/products/shirt", /, **fields: Any) -> str:
    found = outcome("shopify", an_event(name, path, **fields), SETTINGS, topic="browser")
    assert isinstance(found, dict), found
    return " ".join([*found, *found.values()])


# the table --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*EVENTS, *(f"attune:{name}" for name in CUSTOM)])
def test_the_readme_names_each_event(name: str) -> None:
    readme = (ROOT / "connectors" / "shopify" / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in readme


def test_our_own_events_are_of_types_there_are() -> None:
    assert set(CUSTOM.values()) <= set(EVENT_TYPES)


def test_a_viewed_product_is_told_with_where_it_was() -> None:
    event, product = told("product_viewed")
    assert event == {
        "fact": "event",
        "type": "product_detail_page_view",
        "anonymous_id": "client",
        "message_id": "sh-product_viewed",
        "occurred_at": AT,
        "product_ids": ["11"],
        "product_group_ids": ["1"],
        "currency": "EUR",
        "context": {
            "page": {
                "url": "https://shop.example/products/shirt",
                "referrer": "https://search.example/",
                "title": "Shop",
            },
            "locale": "en",
            "user_agent": "UA",
        },
    }
    assert product == {
        "fact": "product",
        "record": {
            "product_id": "11",
            "product_group_id": "1",
            "title": "Shirt - Small",
            "brand": "Acme",
            "original_price": 20,
            "url": "https://shop.example/products/shirt",
            "cover_image": "https://cdn.example/shirt.jpg",
        },
        "as_of": AT,
        "provisional": True,
    }


def test_every_product_that_a_browser_tells_is_provisional() -> None:
    facts = [fact for name in EVENTS for fact in told(name, "/")]
    products = [fact for fact in facts if fact["fact"] == "product"]
    assert len(products) >= 7
    assert all(fact["provisional"] for fact in products)
    assert {fact["fact"] for fact in facts} <= {
        "event",
        "product",
        "order",
        "same_device",
        "sighting",
    }


@pytest.mark.parametrize("path", ["/", "/fr", "/en-ca", "/en-CA/"])
def test_the_home_page_is_one_in_every_market(path: str) -> None:
    assert told("page_viewed", path)[0]["type"] == "home_page_view"


@pytest.mark.parametrize("path", ["/products/a", "/about", "/fr/pages", ""])
def test_other_pages_say_nothing_by_themselves(path: str) -> None:
    assert "home page" in reason("page_viewed", path)


def test_a_collection_is_a_category_under_its_own_title() -> None:
    event = told("collection_viewed")[0]
    assert (event["type"], event["category"]) == ("category_page_view", ["Tops/New"])
    assert event["product_ids"] == []


def test_a_search_is_its_words() -> None:
    event = told("search_submitted")[0]
    assert (event["type"], event["search"]) == ("search", {"keywords": "shirt"})
    assert "no words" in reason("search_submitted", data={"searchResult": {"query": " "}})


@pytest.mark.parametrize(
    ("name", "type_", "count"),
    [
        ("product_added_to_cart", "add_to_cart", 2),
        ("product_removed_from_cart", "remove_from_cart", 1),
    ],
)
def test_what_goes_into_a_cart_and_out(name: str, type_: str, count: int) -> None:
    event = told(name)[0]
    assert (event["type"], event["product_ids"], event["quantities"]) == (type_, ["11"], [count])


@pytest.mark.parametrize("line", [None, {}, {"merchandise": None}, {"merchandise": {"id": None}}])
def test_a_cart_line_may_be_missing(line: Any) -> None:
    assert "no product" in reason("product_added_to_cart", data={"cartLine": line})


def test_without_a_variant_it_is_the_product() -> None:
    data = {"productVariant": VARIANT | {"id": None}}
    assert told("product_viewed", data=data)[0]["product_ids"] == ["1"]


@pytest.mark.parametrize("name", ["alert_displayed", "payment_info_submitted", "other:event"])
def test_events_that_say_nothing_are_ignored_by_name(name: str) -> None:
    assert name in reason(name, data={"checkout": {"token": "c1", "email": "a@b.c"}})


# checkouts --------------------------------------------------------------------------------------


def test_a_started_checkout_is_no_revenue_and_the_webhooks_own() -> None:
    event, link, _ = told("checkout_started")
    assert (event["type"], event["product_ids"]) == ("checkout_started", ["11"])
    assert event["quantities"] == [3]
    assert "revenue" not in event
    assert link["other_id"] == "shopify:checkout:c1"
    of_webhook = outcome("shopify", {"token": "c1"}, {}, topic="checkouts/create")
    assert of_webhook[0]["message_id"] == event["message_id"]


def test_a_completed_checkout_is_an_order_that_any_webhook_knows_better() -> None:
    order, link, *_ = told("checkout_completed")
    assert order == {
        "fact": "order",
        "order_id": "81",
        "told": "placed",
        "user_id": "5",
        "anonymous_id": "client",
        "occurred_at": AT,
        "as_of": "1970-01-01T00:00:00+00:00",
        "product_ids": ["11"],
        "quantities": [3],
        "revenue": 60,
        "currency": "EUR",
    }
    assert link["other_id"] == "shopify:checkout:c1"


def test_a_completed_checkout_without_its_order_only_says_whose_it_was() -> None:
    anonymous = CHECKOUT | {"order": {"id": None, "customer": {"id": None}}}
    assert [fact["fact"] for fact in told("checkout_completed", data={"checkout": anonymous})] == [
        "same_device"
    ]
    assert "no id" in reason("checkout_completed", data={"checkout": anonymous | {"token": None}})


def test_a_cart_that_is_seen_says_whose_it_is() -> None:
    (link,) = told("cart_viewed")
    assert (link["anonymous_id"], link["other_id"]) == ("client", "shopify:cart:t1")
    assert reason("cart_viewed", data={"cart": None}).startswith("ignored")


# our own ----------------------------------------------------------------------------------------


def test_a_click_on_a_list_of_ours_names_the_list() -> None:
    miso_id = "0b6f7c0e-6a4e-4a53-9e1e-0d0f5d1c2b11"
    data = {"product_id": "1", "variant_id": "11", "miso_id": miso_id, "position": 2}
    (event,) = told("attune:recommendation_clicked", customData=data)
    assert (event["type"], event["product_ids"]) == ("click", ["11"])
    assert (event["miso_id"], event["properties"]) == (miso_id, {"position": 2})


def test_a_list_of_ours_names_what_it_showed() -> None:
    for name, type_ in (("shown", "impression"), ("viewed", "viewable_impression")):
        (event,) = told(f"attune:recommendation_{name}", customData={"product_ids": ["11", 12]})
        assert (event["type"], event["product_ids"]) == (type_, ["11", "12"])


def test_our_own_events_need_a_product_and_a_known_name() -> None:
    assert "no product" in reason("attune:recommendation_clicked", customData=None)
    assert "attune:nonsense" in reason("attune:nonsense")


# whose browser ----------------------------------------------------------------------------------


LINK = {"fact": "same_device", "anonymous_id": "vid", "other_id": "client", "occurred_at": AT}


def test_shopifys_id_and_our_cookie_are_one_browser() -> None:
    assert LINK in told("product_viewed", attune_vid="vid")
    assert told("page_viewed", attune_vid="vid") == [LINK]


@pytest.mark.parametrize("name", ["product_viewed", "checkout_started", "checkout_completed"])
@pytest.mark.parametrize("client_id", ["client", None])
def test_our_cookie_is_the_visitor_where_it_is_told(name: str, client_id: str | None) -> None:
    facts = told(name, clientId=client_id, attune_vid="vid")
    assert facts[0]["anonymous_id"] == "vid"
    assert {fact["anonymous_id"] for fact in facts if "anonymous_id" in fact} == {"vid"}


def test_an_event_that_nobody_knows_says_nothing_of_the_browser_either() -> None:
    assert reason("other:event", attune_vid="vid", customer_id="5").startswith("ignored")
    assert reason("attune:nonsense", attune_vid="vid").startswith("ignored")


@pytest.mark.parametrize(
    "fields",
    [{"customer_id": "5"}, {"init": {"data": {"customer": {"id": "5", "email": "a@b.c"}}}}],
    ids=["own", "init"],
)
def test_who_is_logged_in_owns_the_browser(fields: dict[str, Any]) -> None:
    facts = told("product_viewed", **fields)
    sighting = {"fact": "sighting", "anonymous_id": "client", "user_id": "5", "occurred_at": AT}
    assert facts[0]["user_id"] == "5"
    assert sighting in facts
    assert told("page_viewed", **fields) == [sighting]


@pytest.mark.parametrize("nobody", [None, "", "null", "undefined", 0])
def test_an_event_of_nobody_is_refused(nobody: Any) -> None:
    assert reason("product_viewed", clientId=nobody).startswith("refused")


# nothing odd is an error ------------------------------------------------------------------------

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["//", "http://[", "/x", "[1]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "title", "amount", "src", "url"]), inner)
    ),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The event with something else in one place, at any depth."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: draw(mutated(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        return [draw(mutated(value[0])), *value[1:]]
    return draw(ODD)


@given(event=st.sampled_from(sorted(DATA)).flatmap(lambda name: mutated(an_event(name, "/"))))
def test_no_claim_is_an_error_of_ours(event: Any) -> None:
    try:
        facts = translate("browser", event, SETTINGS)
    except (schemas.Ignored, schemas.Unsupported, schemas.Malformed):
        return
    for fact in facts:
        try:
            schemas.load(fact)
        except schemas.Invalid as error:
            assert error.problems
