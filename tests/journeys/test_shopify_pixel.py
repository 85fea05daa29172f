"""The custom pixel of docs/how-to/shopify.md, run in a browser as Shopify runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.connectors.reading import outcomes

pytestmark = pytest.mark.heavy

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "shopify.md"
CODE = re.findall(r"```js\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

# What a custom pixel finds around itself: https://shopify.dev/docs/api/web-pixels-api
SANDBOX = """
const subscribers = {}, sent = [];
const analytics = { subscribe: (name, act) => { subscribers[name] = act; } };
const browser = { cookie: { get: async (name) => ({ attune_vid: "vid-9" })[name] || "" } };
const init = { data: { customer: { id: "5" } } };
const fetch = (url, options) => sent.push([url, options]);
"""
EVENTS = """
const data = { cart: { id: "c1" }, checkout: { token: "t1" }, searchResult: { query: "a" } };
const each = ([name, act]) => act({ name, id: name, clientId: "cl-9", data });
return Promise.all(Object.entries(subscribers).map(each)).then(() => sent);
"""


@pytest.fixture(scope="module")
def sent(browser: Browser) -> list[tuple[dict[str, Any], Any]]:
    """(options of `fetch`, body) of one event of each name that the pixel asks for."""
    page = browser.new_page()
    got = page.evaluate("(code) => new Function(code)()", SANDBOX + CODE[0] + EVENTS)
    page.close()
    return [(options, json.loads(options["body"])) for _, options in got]


def test_the_page_has_one_pixel() -> None:
    assert len(CODE) == 1


def test_the_pixel_tells_of_carts_and_checkouts_without_a_preflight(
    sent: list[tuple[dict[str, Any], Any]],
) -> None:
    names = {body["events"][0]["name"] for _, body in sent}
    assert names > {"product_added_to_cart", "checkout_started", "checkout_completed"}
    for options, _ in sent:
        assert (options["headers"], options["keepalive"]) == ({"Content-Type": "text/plain"}, True)


def test_what_the_pixel_tells_is_the_snippets_visitors(
    sent: list[tuple[dict[str, Any], Any]],
) -> None:
    told = 0
    for _, body in sent:
        [facts] = outcomes("shopify", json.dumps(body).encode(), headers={"Topic": "browser"})
        told += len(facts)
        assert {fact["anonymous_id"] for fact in facts} == {"vid-9"}
        assert (body["attune_vid"], body["customer_id"]) == ("vid-9", "5")
    assert told > len(sent)
