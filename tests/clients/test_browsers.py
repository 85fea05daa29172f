"""Segment's unmodified library for browsers in a real Chromium: whatever the network does, and
however a page is left, each call has one effect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from tests.clients.conftest import Receiver
from tests.clients.proxy import LOSE, TOO_FAST, UNAVAILABLE, Proxy, proxy
from tests.journeys.gateway_process import until

pytestmark = pytest.mark.heavy

ARRIVED_S = 60
PRODUCTS = [f"p{number}" for number in range(6)]
PAGES = ["Home", "Mugs", "Checkout"]

STANDARD: dict[str, Any] = {"strategy": "standard", "config": {"keepalive": True}}
BATCHING: dict[str, Any] = {
    "strategy": "batching",
    "config": {"size": 3, "timeout": 300, "keepalive": True},
}
# Before 1.84 batches went by https only.
CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "1.84": ("analytics-next-1.84", STANDARD),
    "1.84 in batches": ("analytics-next-1.84", BATCHING),
    "1.83": ("analytics-next-1.83", STANDARD),
}
NETWORKS: dict[str, Sequence[str]] = {
    "good": (),
    "lost acknowledgements": (LOSE, LOSE, LOSE),
    "unavailable": (UNAVAILABLE, UNAVAILABLE),
}


def address(page_url: str, between: Proxy, key: str, strategy: dict[str, Any]) -> str:
    told = {"key": key, "gateway": between.url, "strategy": strategy}
    return f"{page_url}#{quote(json.dumps(told))}"


def look_around(page: Page, url: str) -> None:
    """A page, and another view in it; nothing here waits for what the library promises."""
    page.goto(url)
    page.evaluate("shop.ready()")  # what is called before lives in the page alone
    page.evaluate("shop.page('Home'); view('p0'); view('p1'); null")
    page.evaluate("shop.identify('u1', { name: 'Ann' }); null")
    page.evaluate("history.pushState({}, '', '/mugs' + location.hash)")
    page.evaluate("shop.page('Mugs'); view('p2'); null")


def leave(page: Page, url: str) -> None:
    """The page is left while its events are under way; on the next one the library sends what it
    could not before."""
    following = url.replace("#", "?second#")
    page.evaluate("url => { view('p3'); view('p4'); location.href = url }", following)
    page.wait_for_url(re.compile(r"\?second"))
    page.evaluate("shop.ready()")
    page.evaluate("shop.page('Checkout'); view('p5'); null")


def stay(page: Page) -> None:
    page.evaluate("view('p3'); view('p4'); shop.page('Checkout'); view('p5'); null")


def products(receiver: Receiver) -> list[str]:
    return sorted(product for event in receiver.events() for product in event["product_ids"])


def check_each_call_once(receiver: Receiver) -> dict[str, int]:
    until(
        lambda: receiver.ledger()["applied"] >= len(PRODUCTS) + len(PAGES) + 1,
        ARRIVED_S,
        what="each call",
    )
    assert products(receiver) == PRODUCTS
    assert len(receiver.events()) == len(PRODUCTS) + len(PAGES)
    ledger = receiver.ledger()
    assert ledger["applied"] == len(PRODUCTS) + len(PAGES) + 1
    assert ledger["refused"] == ledger["failed"] == ledger["ignored"] == 0
    return ledger


@pytest.fixture
def page(browser: Browser) -> Any:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_call_has_one_effect(
    page: Page, serve_page: Callable[[str], str], receiver: Receiver, client: str, network: str
) -> None:
    package, strategy = CLIENTS[client]
    with proxy(receiver.url, NETWORKS[network]) as between:
        url = address(serve_page(package), between, receiver.write_key, strategy)
        look_around(page, url)
        # A batch that is refused behind a page that was left is lost by the library itself.
        if strategy is BATCHING and network == "unavailable":
            stay(page)
        else:
            leave(page, url)
        ledger = check_each_call_once(receiver)
        if network == "lost acknowledgements":
            until(lambda: receiver.ledger()["duplicate"] > 0, ARRIVED_S, what="a repeat")
        assert between.plan == []
    print(f"\n{client}, {network}: {between.told}, {ledger}")


@pytest.mark.parametrize("client", CLIENTS)
def test_it_comes_again_when_it_is_told_to(
    page: Page, serve_page: Callable[[str], str], receiver: Receiver, client: str
) -> None:
    package, strategy = CLIENTS[client]
    # What waits goes as one batch, so that fast enough a key is not asked by itself.
    plan = (TOO_FAST,) if strategy is BATCHING else ()
    with proxy(receiver.url, plan) as between:
        url = address(serve_page(package), between, receiver.slow_key, strategy)
        look_around(page, url)
        stay(page)
        check_each_call_once(receiver)
    assert 429 in between.told
