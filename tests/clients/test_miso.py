"""Miso's unmodified client for browsers, in a real Chromium and in Node: every call that it has,
and what a page learns of a call that went wrong."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.clients.conftest import HERE, Receiver, by_node
from tests.journeys.gateway_process import until

pytestmark = pytest.mark.heavy

KINDS = ("mug", "hat")
PRODUCTS: list[dict[str, Any]] = [
    {
        "product_id": f"{kind} {number}",
        "title": f"{kind} of colour {number}",
        "brand": f"brand {number % 2}",
        "categories": [["all", kind]],
    }
    for kind in KINDS
    for number in range(4)
]
VISITOR = {"anonymous_id": "a1"}
VIEW = "product_detail_page_view"
CAMPAIGN = "utm_source=mail"
ARRIVED_S = 30

Answer = dict[str, Any]
Ask = Callable[..., list[Answer]]


@pytest.fixture
def shop(receiver: Receiver) -> Receiver:
    """A site with products."""
    receiver.upload("products", PRODUCTS)
    return receiver


@pytest.fixture
def page(browser: Browser, serve_page: Callable[..., str], receiver: Receiver) -> Iterator[Page]:
    """A page of another origin than the gateway's, with the client in it."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{serve_page('@miso.ai/client-sdk', 'miso.html')}?{CAMPAIGN}")
    yield page
    context.close()


@pytest.fixture(params=["browser", "node"])
def ask(request: pytest.FixtureRequest, shop: Receiver) -> Ask:
    """`ask([group, name, payload, options], …)`: what the calls of one client came to, each with
    `status`, `body` and, of a failure, the client's own `message`."""
    if request.param == "browser":
        page: Page = request.getfixturevalue("page")

        def run(told: dict[str, Any]) -> list[Answer]:
            found: list[Answer] = page.evaluate("told => ask(MisoClient, told)", told)
            return found
    else:
        npm = request.getfixturevalue("npm")

        def run(told: dict[str, Any]) -> list[Answer]:
            found: list[Answer] = json.loads(by_node(npm, HERE / "miso.cjs", told))
            return found

    def asked(
        *calls: list[Any], key: str | None = None, visitor: dict[str, str] = VISITOR
    ) -> list[Answer]:
        host = f"{shop.url}/v1"
        key = key or shop.publishable_key
        return run({"key": key, "host": host, "visitor": visitor, "calls": calls})

    return asked


def ids(answer: Answer) -> list[str]:
    assert answer["status"] == 200, answer
    return [product["product_id"] for product in answer["body"]["products"]]


def hash_of(shop: Receiver, user_id: str) -> str:
    return hmac.new(shop.secret_key.encode(), user_id.encode(), hashlib.sha256).hexdigest()


# interactions -----------------------------------------------------------------------------------


def test_interactions_arrive_with_page_and_campaign(ask: Ask, shop: Receiver) -> None:
    one = {"type": VIEW, "product_ids": ["mug 0"]}
    several = [
        {"type": "add_to_cart", "product_ids": ["mug 1", "mug 2"], "quantities": [1, 2]},
        {"type": "checkout", "product_ids": ["mug 1"], "quantities": [1], "revenue": 12.5},
        {"type": "search", "search": {"keywords": "mug"}},
        {"type": "custom", "custom_action_name": "wished", "product_ids": ["hat 0"]},
        {"type": "category_page_view", "category": ["all", "mug"]},
    ]
    calls = [["interactions", "upload", sent] for sent in (one, several)]
    assert [answer["status"] for answer in ask(*calls)] == [200, 200]

    events = shop.events()
    assert sorted(product for event in events for product in event["product_ids"]) == [
        "hat 0", "mug 0", "mug 1", "mug 1", "mug 2",
    ]  # fmt: skip
    assert len(events) == len(several) + 1
    assert {event["anonymous_id"] for event in events} == {"a1"}
    ledger = shop.ledger()
    assert ledger["applied"] == len(several) + 1 + len(PRODUCTS)
    assert ledger["refused"] == ledger["failed"] == ledger["ignored"] == 0
    contexts = [one["record"]["context"] for one in shop.records("interactions")]
    assert len(contexts) == len(several) + 1
    assert all(context["page"]["title"] == "Shop" for context in contexts)
    assert all(context["campaign"] == {"source": "mail"} for context in contexts)


def test_the_very_next_list_knows_what_was_sent(ask: Ask) -> None:
    ask(["interactions", "upload", {"type": VIEW, "product_ids": ["mug 0"]}])
    [liked, history] = ask(
        ["recommendation", "userToProducts", {"rows": 20}],
        ["recommendation", "userToHistory", {}],
    )
    assert "mug 0" not in ids(liked) and len(ids(liked)) == len(PRODUCTS) - 1
    assert ids(history) == ["mug 0"]


def test_the_good_ones_of_several_interactions_count(ask: Ask, shop: Receiver) -> None:
    good = {"type": "like", "product_ids": ["mug 0"]}
    bad = {"type": "like", "product_ids": ["mug 1"], "colour": "red"}
    [answer] = ask(["interactions", "upload", [good, bad]])
    assert answer["status"] == 422
    assert answer["body"]["errors"] is True
    [line] = answer["body"]["data"]
    assert line.startswith("data.1.colour")
    assert answer["message"] == answer["body"]["message"]
    assert [event["product_ids"] for event in shop.events()] == [["mug 0"]]


# search -----------------------------------------------------------------------------------------


def test_a_search_finds_the_products_that_hold_the_words(ask: Ask) -> None:
    asked = {"q": "mug", "fl": ["title"], "rows": 3, "fq": 'brand:"brand 0"'}
    [found, all_of_them] = ask(["search", "search", asked], ["search", "search", {"q": "*"}])
    assert sorted(ids(found)) == ["mug 0", "mug 2"]
    assert found["body"]["total"] == 2
    assert found["body"]["spellcheck"]["spelling_errors"] is False
    assert found["body"]["products"][0]["title"].startswith("mug of colour")
    assert all_of_them["body"]["total"] == len(PRODUCTS)


def test_what_is_typed_is_completed_and_marked(ask: Ask, complete: Callable[[], None]) -> None:
    complete()
    [answer] = ask(["search", "autocomplete", {"q": "mug of co", "rows": 10}])
    completions = answer["body"]["completions"]["title"]
    assert sorted(one["text"] for one in completions) == [
        product["title"] for product in PRODUCTS if product["title"].startswith("mug")
    ]
    for one in completions:
        assert one["text_with_markups"].replace("<mark>", "").replace("</mark>", "") == one["text"]
        assert "<mark>" in one["text_with_inverted_markups"]


def test_products_are_got_in_the_order_of_their_ids(ask: Ask) -> None:
    wanted = ["hat 1", "none", "mug 1"]
    [answer] = ask(["search", "mget", {"product_ids": wanted}])
    products = answer["body"]["products"]
    assert ids(answer) == wanted
    assert [one["_found"] for one in products] == [True, False, True]
    assert products[0]["title"] == "hat of colour 1"


# recommendation ---------------------------------------------------------------------------------


def test_every_list_is_answered(ask: Ask) -> None:
    ask(["interactions", "upload", {"type": "like", "product_ids": ["mug 0"]}])
    names = ("userToProducts", "userToTrending", "userToHistory")
    plain = [["recommendation", name, {"rows": 3}] for name in names]
    [*lists, like_it, categories, attributes] = ask(
        *plain,
        ["recommendation", "productToProducts", {"product_id": "mug 0", "fl": ["title"]}],
        ["recommendation", "userToCategories", {"root_category": ["all"]}],
        ["recommendation", "userToAttributes", {"field": "brand"}],
    )
    assert [len(ids(one)) for one in lists] == [3, 3, 1]
    assert ids(like_it) and "mug 0" not in ids(like_it)
    assert sorted(one["category"] for one in categories["body"]["categories"]) == [
        ["all", "hat"], ["all", "mug"],
    ]  # fmt: skip
    brands = attributes["body"]["attributes"]
    assert sorted(one["value"] for one in brands) == ["brand 0", "brand 1"]
    assert all(one["recommended_products"] for one in brands)


# bulk -------------------------------------------------------------------------------------------


def test_each_promise_of_a_bulk_is_settled_one_that_fails_too(ask: Ask) -> None:
    bulk = {"bulk": True}
    answers = ask(
        ["search", "search", {"q": "mug"}, bulk],
        ["search", "search", {"q": "mug", "rows": -1}, bulk],
        ["recommendation", "productToProducts", {"product_id": "none"}, bulk],
        ["search", "mget", {"product_ids": ["mug 0"]}, bulk],
    )
    assert [answer["status"] for answer in answers] == [200, 422, 404, 200]
    assert answers[1]["body"]["detail"][0]["loc"] == ["body", "rows"]
    assert ids(answers[3]) == ["mug 0"]


# errors -----------------------------------------------------------------------------------------


def test_what_went_wrong_can_be_read(ask: Ask) -> None:
    [refused, not_found] = ask(
        ["search", "search", {"q": "mug", "nonsense": 1}],
        ["recommendation", "productToProducts", {"product_id": "none"}],
    )
    assert refused["status"] == 422
    assert refused["body"]["detail"][0]["loc"] == ["body", "nonsense"]
    assert refused["message"].startswith("nonsense")
    assert (not_found["status"], not_found["body"]["message"]) == (404, not_found["message"])
    assert not_found["message"].startswith("not found")


def test_a_wrong_key_is_told_whatever_is_called(ask: Ask) -> None:
    calls = (
        ["search", "search", {"q": "mug"}],
        ["recommendation", "userToProducts", {}],
        ["interactions", "upload", {"type": "like", "product_ids": ["mug 0"]}],
    )
    for answer in ask(*calls, key="pk_wrong"):
        assert (answer["status"], answer["message"]) == (401, "invalid api key.")


def test_a_user_is_asked_for_with_a_hash(ask: Ask, shop: Receiver) -> None:
    call = ["recommendation", "userToProducts", {}]
    right = {"user_id": "ann", "user_hash": hash_of(shop, "ann").upper()}
    statuses = [
        ask(call, visitor=visitor)[0]["status"]
        for visitor in (right, {"user_id": "ann"}, right | {"user_id": "ben"})
    ]
    assert statuses == [200, 403, 403]


# what a page does beside the client -------------------------------------------------------------

FETCH = """async ([url, options]) => {
  const answer = await fetch(url, options)
  return [answer.status, await answer.json()]
}"""


def test_a_key_in_the_header_passes_the_preflight(page: Page, shop: Receiver) -> None:
    headers = {"X-API-KEY": shop.publishable_key, "Content-Type": "application/json"}
    options = {"method": "POST", "headers": headers, "body": json.dumps({"q": "mug"})}
    status, body = page.evaluate(FETCH, [f"{shop.url}/v1/search/search", options])
    assert (status, body["message"], body["data"]["total"]) == (200, "success", 4)
    options["headers"] = headers | {"X-API-KEY": "pk_wrong"}
    status, body = page.evaluate(FETCH, [f"{shop.url}/v1/search/search", options])
    assert (status, body["message"]) == (401, "invalid api key.")


def test_experiments_are_not_built(page: Page, shop: Receiver) -> None:
    """Neither has this version of the client a call for them."""
    url = f"{shop.url}/v1/experiments/one/events?api_key={shop.publishable_key}"
    options = {"method": "POST", "body": json.dumps(VISITOR)}
    assert page.evaluate(FETCH, [url, options])[0] == 404


def test_a_beacon_of_a_page_that_is_left_arrives(page: Page, shop: Receiver) -> None:
    """This version of the client sends none; those after 1.4.5 send their interactions so."""
    url = f"{shop.url}/v1/interactions?api_key={shop.publishable_key}"
    sent = json.dumps({"data": [{"type": "like", "product_ids": ["mug 0"], **VISITOR}]})
    page.evaluate(
        "([url, sent]) => { navigator.sendBeacon(url, sent); location.href = '/page.html#{}' }",
        [url, sent],
    )
    until(lambda: shop.events(), ARRIVED_S, what="the beacon")
    assert [event["product_ids"] for event in shop.events()] == [["mug 0"]]
