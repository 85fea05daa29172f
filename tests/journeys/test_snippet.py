"""The browser snippet on a shop's pages, in a real browser, against a whole gateway."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from gateway import access
from ranking.catalog import embeddings
from schemas import database
from tests.journeys.gateway_process import GatewayProcess, gateway, until
from tests.journeys.shop_pages import ShopPages, json_ld, schema, shop_pages

pytestmark = pytest.mark.heavy

COLORS = ("red", "blue", "green", "black")
THINGS = ("mug", "lamp", "scarf", "clock", "teapot")
RUN = "window.ran=1"
MARKUP = (
    f"<img src=x onerror={RUN}>",
    f"<script>{RUN}</script>",
    f'"><svg onload={RUN}>',
    "{{constructor.constructor('" + RUN + "')()}}",
)
EVENTS, LISTS = "**/v1/interactions*", "**/v1/recommendation/**"
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
RESERVED = "<style>[data-attune] { display: block; min-height: 18rem }</style>"


@dataclass(frozen=True)
class Shop:
    """A site of the gateway with a catalog, and the shop's own server."""

    api: str
    secret_key: str
    publishable_key: str
    pages: ShopPages

    def page(self, body: str = "", *, head: str = "", **attributes: str) -> str:
        """A page's text with the snippet in it; `attributes` are the script's."""
        told = {"key": self.publishable_key} | attributes
        shown = " ".join(f'data-{n.replace("_", "-")}="{v}"' for n, v in told.items())
        script = f'<script async src="{self.api}/snippet.js" {shown}></script>'
        return (
            f'<!doctype html><html lang="en"><head><title>Shop</title>{head}{script}</head>'
            f"<body>{body}</body></html>"
        )

    def get(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"{self.api}{path}", params=query, headers=self.headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> None:
        answer = httpx.post(f"{self.api}{path}", json=body, headers=self.headers, trust_env=False)
        assert answer.status_code == 200, answer.text

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-KEY": self.secret_key}

    def events(self, visitor: str, kind: str = "") -> list[dict[str, Any]]:
        """What the gateway has of a visitor, oldest first."""
        found = self.get("/admin/v1/events", visitor=visitor, limit="100")["events"]
        return [one for one in reversed(found) if kind in ("", one["type"])]

    def sent(self, event: dict[str, Any]) -> dict[str, Any]:
        """The record that an event came as, context and all."""
        for one in self.get("/admin/v1/deliveries", limit="50")["deliveries"]:
            body = self.get(f"/admin/v1/deliveries/{one['delivery_id']}")["body"]
            for record in json.loads(body)["data"] if body else ():  # none kept of a duplicate
                context: dict[str, Any] = record.get("context", {}).get("custom_context", {})
                if context.get("uuid") == event["message_id"]:
                    found: dict[str, Any] = record
                    return found
        raise AssertionError(f"no delivery holds {event}")

    def until_events(self, visitor: str, kind: str, count: int = 1) -> list[dict[str, Any]]:
        until(lambda: len(self.events(visitor, kind)) >= count, what=f"{count} {kind} of {visitor}")
        return self.events(visitor, kind)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("snippet")
    with gateway(folder / "home") as running, shop_pages() as pages:
        keys = json.loads(running.say("sites", "create", "shop", "--json").stdout)
        made = Shop(running.url, keys["secret_key"], keys["publishable_key"], pages)
        made.post("/v1/products", {"data": [_product(c, t, pages) for c in COLORS for t in THINGS]})
        made.post("/v1/products", {"data": [_marked(n, text) for n, text in enumerate(MARKUP)]})
        bought = [f"{color}-{thing}" for thing in THINGS for color in COLORS]
        made.post("/v1/interactions", {"data": [_purchase(n, one) for n, one in enumerate(bought)]})
        until(lambda: _is_encoded(running), 120, what="the encoding")
        yield made


def _product(color: str, thing: str, pages: ShopPages) -> dict[str, Any]:
    return {
        "product_id": f"{color}-{thing}", "title": f"{color.title()} {thing}", "brand": "Acme",
        "url": f"{pages.url}/products/{color}-{thing}", "categories": [[thing]],
        "cover_image": f"{pages.url}/{color}-{thing}.png",
        "sale_price": 9.5, "original_price": 12 if color == "red" else 9.5,
    }  # fmt: skip


def _plain(title: str, picture: str | None = None) -> dict[str, Any]:
    """Without an address, and without a picture that can be shown."""
    made = {"product_id": title, "title": title, "tags": ["plain"], "sale_price": 3}
    return made | ({"cover_image": f"http://127.0.0.1:9{picture}"} if picture else {})


def _marked(number: int, text: str) -> dict[str, Any]:
    return {
        "product_id": f"marked-{number}", "title": text, "brand": text, "tags": ["marked"],
        "url": f"javascript:{RUN}", "cover_image": f"javascript:{RUN}", "sale_price": 1,
    }  # fmt: skip


def _purchase(number: int, product: str) -> dict[str, Any]:
    return {"type": "checkout", "product_ids": [product], "anonymous_id": f"buyer-{number}"}


def _is_encoded(running: GatewayProcess) -> bool:
    services = json.loads((running.home / "run" / "services.json").read_text())
    with database.connect(services["database_url"]) as connection:
        return not embeddings.waiting(connection, access.site(connection, "shop").site_id)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def visitor() -> str:
    """A visitor that nobody has seen before, named by the page."""
    return f"v-{uuid4()}"


@dataclass
class Wire:
    """What the snippet sends, which goes no further: every record in order."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def take(self, route: Route) -> None:
        self.records += json.loads(route.request.post_data or "{}")["data"]
        route.fulfill(status=200, headers=CORS, json={"message": "success"})

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.records if one["type"] == kind]


@pytest.fixture
def wire(page: Page) -> Wire:
    made = Wire()
    page.route(EVENTS, made.take)
    return made


def is_loaded(page: Page) -> None:
    page.wait_for_function(
        "window.attune && window.attune.track && document.readyState != 'loading'"
    )


def mark(page: Page) -> None:
    """Tell of something and wait until it has arrived: what was told before has arrived too."""
    is_loaded(page)
    page.evaluate("attune.track('like', {product_ids: ['mark']})")


def storage(page: Page) -> dict[str, Any]:
    """Everything that the page's origin keeps in this browser."""
    return {
        "cookies": page.context.cookies(),
        "local": page.evaluate("Object.keys(localStorage)"),
        "session": page.evaluate("Object.keys(sessionStorage)"),
    }


NOTHING = {"cookies": [], "local": [], "session": []}

# views -------------------------------------------------------------------------------------------

OTHER = schema("Organization", sku="not-a-product")
PAGES = {
    "a product": (schema(sku="p1"), {"product_ids": ["p1"]}),
    "of two types": (schema(**{"@type": ["Book", "Product"]}, sku="p1"), {"product_ids": ["p1"]}),
    "a full type": (schema("https://schema.org/Product", sku="p1"), {"product_ids": ["p1"]}),
    "a list of things": ([OTHER, schema(sku="p1")], {"product_ids": ["p1"]}),
    "a graph": ({"@graph": [OTHER, schema(sku="p1")]}, {"product_ids": ["p1"]}),
    "of a page": (schema("ItemPage", mainEntity=schema(sku="p1")), {"product_ids": ["p1"]}),
    "sku first": (schema(gtin13="4006381333931", productID="x", sku="p1"), {"product_ids": ["p1"]}),
    "then productID": (schema(gtin13="4006381333931", productID="x"), {"product_ids": ["x"]}),
    "then gtin": (schema(gtin13="4006381333931"), {"product_ids": ["4006381333931"]}),
    "a number": (schema(sku=17), {"product_ids": ["17"]}),
    "variants": (
        schema("ProductGroup", productGroupID="g1", hasVariant=[schema(sku="a"), schema(sku="b")]),
        {"product_group_ids": ["g1"]},
    ),
    "several products": ([schema(sku="p1"), schema(sku="p2")], None),
    "a list page": (schema("ItemList", itemListElement=[{"item": schema(sku="p1")}]), None),
    "no id": (schema(**{"@id": "https://shop.example/p1"}), None),
    "nothing": (None, None),
}  # fmt: skip


@pytest.mark.parametrize("told", list(PAGES))
def test_a_page_says_by_its_json_ld_which_product_it_is_about(
    shop: Shop, page: Page, wire: Wire, told: str
) -> None:
    data, expected = PAGES[told]
    page.goto(shop.pages.put("/p", shop.page(json_ld(data))) + "?token=secret#top")
    mark(page)
    views = wire.of("product_detail_page_view")

    assert [{n: one[n] for n in one if n.startswith("product_")} for one in views] == (
        [expected] if expected else []
    )
    assert {one["context"]["page"]["url"] for one in wire.records} == {f"{shop.pages.url}/p"}


BROKEN = '<script type="application/ld+json">{"@type": "Product", </script>'


@pytest.mark.parametrize(
    ("body", "script", "expected"),
    [
        ('<main data-product-id="own"></main>', {}, "own"),
        ("", {"product_id": "own"}, "own"),
        ('<main data-product-id="a"></main>', {"product_id": "own"}, "own"),
        ('<b data-product-id="a"></b><b data-product-id="b"></b>', {}, "p1"),
        ('<div data-attune="similar" data-product-id="a"></div>', {}, "p1"),
        (BROKEN, {}, "p1"),
        ("", {"product_property": "mpn"}, "m1"),
    ],
    ids=["element", "script", "script first", "tiles", "a list's", "broken JSON", "property"],
)
def test_a_page_may_say_it_itself(
    shop: Shop, page: Page, wire: Wire, body: str, script: dict[str, str], expected: str
) -> None:
    text = shop.page(body + json_ld(schema(sku="p1", mpn="m1")), **script)
    page.goto(shop.pages.put("/p", text))
    mark(page)

    assert [one["product_ids"] for one in wire.of("product_detail_page_view")] == [[expected]]


def test_a_view_counts_at_once_and_its_duration_when_the_page_is_left(
    shop: Shop, page: Page, visitor: str
) -> None:
    body = json_ld(schema(sku="red-mug")) + "<p style='height: 4000px'>tall</p>"
    page.goto(shop.pages.put("/p", shop.page(body, visitor=visitor)))
    [view] = shop.until_events(visitor, "product_detail_page_view")
    page.evaluate("scrollTo(0, 1500)")
    page.wait_for_function("performance.now() > 500")
    page.goto("about:blank")
    [left] = shop.until_events(visitor, "custom")

    assert view["product_ids"] == ["red-mug"]
    assert left["product_ids"] == []
    said = shop.sent(left)["context"]["custom_context"]
    assert said["product_ids"] == ["red-mug"]
    assert said["duration"] > 0
    assert 0.5 < said["scroll"] < 0.7


def test_another_product_without_another_page_is_another_view(
    shop: Shop, page: Page, wire: Wire
) -> None:
    page.goto(shop.pages.put("/p", shop.page(json_ld(schema(sku="p1")))))
    mark(page)
    page.wait_for_function("performance.now() > 300")
    change = """([url, text]) => {
      history.pushState(null, "", url);
      document.querySelector("[type='application/ld+json']").textContent = text;
    }"""
    page.evaluate(change, ["/p2", json.dumps(schema(sku="p2"))])
    until(lambda: page.evaluate("1") and len(wire.of("product_detail_page_view")) == 2)
    page.evaluate(change, ["/list", "{}"])
    until(lambda: page.evaluate("1") and len(wire.of("custom")) == 2)
    page.go_back()
    page.evaluate(change, ["/p2", json.dumps(schema(sku="p2"))])
    until(lambda: page.evaluate("1") and len(wire.of("product_detail_page_view")) == 3)

    views = wire.of("product_detail_page_view")
    assert [one["product_ids"] for one in views] == [["p1"], ["p2"], ["p2"]]
    assert views[1]["context"]["page"]["url"].endswith("/p2")
    left = [one["context"]["custom_context"]["product_ids"] for one in wire.of("custom")]
    assert left == [["p1"], ["p2"]]


def change_product(page: Page, product: str) -> None:
    page.evaluate("id => document.querySelector('main').dataset.productId = id", product)
    page.clock.run_for(200)


def test_only_time_with_the_page_before_ones_eyes_counts(
    shop: Shop, page: Page, wire: Wire
) -> None:
    page.clock.install()
    page.goto(shop.pages.put("/p", shop.page('<main data-product-id="p1"></main>')))
    is_loaded(page)
    change_product(page, "p2")
    page.clock.run_for(7_000)
    page.evaluate("document.hasFocus = () => false; dispatchEvent(new Event('blur'))")
    page.clock.run_for(60_000)
    page.evaluate("delete document.hasFocus; dispatchEvent(new Event('focus'))")
    page.clock.run_for(2_000)
    change_product(page, "p3")
    until(lambda: page.evaluate("1") and len(wire.of("product_detail_page_view")) == 3)

    said = wire.of("custom")[-1]["context"]["custom_context"]
    assert said["product_ids"] == ["p2"]
    assert said["duration"] == pytest.approx(9, abs=0.5)


HIDE = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})}"


def test_a_page_in_the_background_is_not_viewed_before_it_is_seen(
    shop: Shop, page: Page, wire: Wire
) -> None:
    page.add_init_script(f"({HIDE})(true)")
    page.goto(shop.pages.put("/p", shop.page(json_ld(schema(sku="p1")))))
    mark(page)
    assert wire.of("product_detail_page_view") == []
    page.evaluate(HIDE, False)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    mark(page)

    assert len(wire.of("product_detail_page_view")) == 1


def test_a_page_one_comes_back_to_is_viewed_once_more(shop: Shop, page: Page, wire: Wire) -> None:
    page.goto(shop.pages.put("/p", shop.page(json_ld(schema(sku="p1")))))
    mark(page)
    for name in ("pagehide", "pageshow"):  # as the browser's back button does it
        page.evaluate(
            "name => dispatchEvent(new PageTransitionEvent(name, {persisted: true}))", name
        )
    mark(page)

    assert len(wire.of("product_detail_page_view")) == 2


# the visitor -------------------------------------------------------------------------------------


@pytest.mark.parametrize("consent", [{}, {"consent": "denied"}], ids=["not asked", "denied"])
def test_without_consent_nothing_is_stored_and_the_id_ends_with_the_page(
    shop: Shop, page: Page, wire: Wire, consent: dict[str, str]
) -> None:
    address = shop.pages.put("/p", shop.page(json_ld(schema(sku="p1")), **consent))
    page.goto(address)
    mark(page)
    assert storage(page) == NOTHING
    page.goto(address)
    mark(page)

    first, *_, last = [one["anonymous_id"] for one in wire.of("like")]
    assert first != last
    assert storage(page) == NOTHING


def test_with_consent_the_visitor_is_known_on_the_next_page(
    shop: Shop, page: Page, wire: Wire
) -> None:
    address = shop.pages.put("/p", shop.page(consent="granted"))
    page.goto(address)
    mark(page)
    [cookie] = page.context.cookies()
    page.goto(address)
    mark(page)

    assert (cookie["name"], cookie["sameSite"], cookie["path"]) == ("attune_vid", "Lax", "/")
    assert {one["anonymous_id"] for one in wire.of("like")} == {cookie["value"]}
    assert 364 < (cookie["expires"] - page.evaluate("Date.now() / 1000")) / 86400 <= 365


def test_consent_given_on_the_page_keeps_its_id_and_taken_back_deletes_it(
    shop: Shop, page: Page, wire: Wire
) -> None:
    page.goto(shop.pages.put("/p", shop.page()))
    mark(page)
    page.evaluate("attune.consent(true)")
    [cookie] = page.context.cookies()
    assert cookie["value"] == wire.records[0]["anonymous_id"]

    page.evaluate("attune.consent(false)")
    assert storage(page) == NOTHING
    mark(page)
    assert wire.records[-1]["anonymous_id"] != cookie["value"]


def test_without_cookies_the_id_is_kept_in_local_storage(
    shop: Shop, page: Page, wire: Wire
) -> None:
    page.add_init_script("Object.defineProperty(document, 'cookie', {get: () => '', set() {}})")
    address = shop.pages.put("/p", shop.page(consent="granted"))
    page.goto(address)
    mark(page)
    page.goto(address)
    mark(page)

    kept = page.evaluate("localStorage.attune_vid")
    assert {one["anonymous_id"] for one in wire.of("like")} == {kept}


def test_global_privacy_control_stores_nothing_whatever_the_page_says(
    shop: Shop, page: Page, wire: Wire
) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    page.goto(shop.pages.put("/p", shop.page(consent="granted")))
    mark(page)
    page.evaluate("attune.consent(true)")

    assert storage(page) == NOTHING


def test_a_page_may_want_nothing_told_before_consent(shop: Shop, page: Page, wire: Wire) -> None:
    page.goto(shop.pages.put("/p", shop.page(json_ld(schema(sku="p1")), consent="required")))
    mark(page)
    assert wire.records == []
    page.evaluate("attune.consent(true)")
    mark(page)
    assert [one["type"] for one in wire.records] == ["product_detail_page_view", "like"]


def test_commands_before_the_snippet_has_come_are_kept_for_it(
    shop: Shop, page: Page, wire: Wire
) -> None:
    early = """<script>
      window.attune = window.attune || [];
      attune.push(["visitor", "own-id"]);
      attune.push(["nonsense"]);
      attune.push(["track", "like", {product_ids: ["p9"]}]);
      attune.push((attune) => { window.known = typeof attune.recommend; });
    </script>"""
    page.goto(shop.pages.put("/p", shop.page(json_ld(schema(sku="p1")), head=early)))
    mark(page)

    assert [(one["type"], one["anonymous_id"]) for one in wire.records[:2]] == [
        ("like", "own-id"),
        ("product_detail_page_view", "own-id"),
    ]
    assert page.evaluate("known") == "function"


def test_who_logs_in_has_one_past(shop: Shop, page: Page, visitor: str) -> None:
    user = f"user-{visitor}"
    proof = hmac.new(shop.secret_key.encode(), user.encode(), hashlib.sha256).hexdigest()
    address = shop.pages.put("/p", shop.page(json_ld(schema(sku="red-mug")), visitor=visitor))
    for _ in range(2):
        page.goto(address)
        is_loaded(page)
        page.evaluate("([user, userHash]) => attune.identify(user, {userHash})", [user, proof])
    answer = page.evaluate("attune.recommend({rows: 3, explain: true})")

    events = shop.events(user)
    assert "product_detail_page_view" in {one["type"] for one in events}
    said = [one for one in events if one["message_id"].startswith("identify")]
    assert len(said) == 1  # of two times
    assert len(answer["products"]) == 3 and answer["interests"]


def test_who_logs_out_is_somebody_else(shop: Shop, page: Page, wire: Wire) -> None:
    page.goto(shop.pages.put("/p", shop.page(consent="granted")))
    is_loaded(page)
    page.evaluate("attune.identify('u1')")
    [before] = page.context.cookies()
    page.evaluate("attune.reset()")
    mark(page)
    [after] = page.context.cookies()

    assert before["value"] != after["value"] == wire.records[-1]["anonymous_id"]
    assert wire.records[0]["user_id"] == "u1" and "user_id" not in wire.records[-1]


# the queue ---------------------------------------------------------------------------------------


def test_an_event_whose_acknowledgement_was_lost_counts_once(
    shop: Shop, page: Page, visitor: str
) -> None:
    sent = []

    def lose_the_first_answer(route: Route) -> None:
        answer = route.fetch()
        sent.append(answer.status)
        if len(sent) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    page.route(EVENTS, lose_the_first_answer)
    page.goto(shop.pages.put("/p", shop.page(visitor=visitor)))
    is_loaded(page)
    page.evaluate("void attune.track('like', {product_ids: ['red-mug']})")
    until(lambda: page.evaluate("1") and len(sent) == 2)

    assert sent == [200, 200]
    assert len(shop.events(visitor, "like")) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_it_sends_again_when_it_was_told_to(
    shop: Shop, page: Page, wire: Wire, status: int
) -> None:
    page.unroute(EVENTS)
    asked = []

    def busy(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or "{}")["data"])
        if len(asked) == 1:
            headers = CORS | {"Retry-After": "30"}
            route.fulfill(status=status, headers=headers, json={"message": "busy"})
        else:
            route.fulfill(status=200, headers=CORS, json={"message": "success"})

    page.clock.install()
    page.route(EVENTS, busy)
    page.goto(shop.pages.put("/p", shop.page()))
    is_loaded(page)
    page.evaluate("attune.track('like', {product_ids: ['p1']})")
    page.clock.run_for(29_000)
    page.evaluate("attune.track('like', {product_ids: ['p2']})")
    assert len(asked) == 1
    page.clock.run_for(1_500)
    until(lambda: page.evaluate("1") and len(asked) == 2)

    assert asked[1][0] == asked[0][0] and len(asked[1]) == 2


def test_what_is_refused_is_not_sent_again_and_said(shop: Shop, page: Page, visitor: str) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(shop.pages.put("/p", shop.page(visitor=visitor)))
    is_loaded(page)
    page.evaluate("attune.track('nonsense')")
    page.evaluate("attune.track('like', {product_ids: ['p1']})")

    assert len(shop.events(visitor)) == 1
    until(lambda: page.evaluate("1") and any(one.startswith("attune:") for one in said))


@pytest.mark.parametrize("consent", ["granted", "none"])
def test_a_page_left_while_it_sends_has_told_everything_once(
    shop: Shop, page: Page, visitor: str, consent: str
) -> None:
    held: list[Route] = []
    page.route(EVENTS, lambda route: held.append(route))
    address = shop.pages.put("/p", shop.page(visitor=visitor, consent=consent))
    page.goto(address)
    is_loaded(page)
    page.evaluate("void attune.track('like', {product_ids: ['red-mug']})")
    until(lambda: page.evaluate("1") and held, what="a request")
    page.evaluate("void attune.track('share', {product_ids: ['red-mug']})")
    page.unroute(EVENTS)
    page.goto(address + "?next")
    shop.until_events(visitor, "share")
    mark(page)

    assert [one["type"] for one in shop.events(visitor)].count("like") == 2  # one is the mark
    assert len(shop.events(visitor, "share")) == 1


# lists -------------------------------------------------------------------------------------------

LIST = '<div data-attune="recommend" data-rows="6"></div>'
SHIFTS = """() => { window.shifts = []; new PerformanceObserver((all) => {
  for (const one of all.getEntries()) shifts.push(one.value) }).observe(
  {type: "layout-shift", buffered: true}) }"""


def shown(page: Page) -> list[str]:
    return page.locator(".attune-list:not(.attune-wait) .attune-title").all_inner_texts()


def is_shown(page: Page, count: int = 6) -> None:
    expect(page.locator(".attune-list:not(.attune-wait) .attune-item")).to_have_count(count)


def test_a_list_comes_without_moving_anything(shop: Shop, page: Page, visitor: str) -> None:
    held: list[Route] = []
    page.add_init_script(f"({SHIFTS})()")
    page.route(LISTS, lambda route: held.append(route))
    place = LIST.replace("data-rows", 'data-fields="brand" data-rows')
    text = shop.page(f"{place}<h2 id=below>Below</h2>", head=RESERVED, visitor=visitor)
    page.goto(shop.pages.put("/p", text))
    expect(page.locator(".attune-wait .attune-item")).to_have_count(6)
    until(lambda: page.evaluate("1") and held, what="a request")
    before = [page.locator(one).bounding_box() for one in (".attune-list", "#below")]
    held[0].continue_()
    is_shown(page)
    after = [page.locator(one).bounding_box() for one in (".attune-list", "#below")]
    page.wait_for_function("[...document.images].every((one) => one.complete)")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    assert before == after
    assert page.evaluate("shifts") == []


def test_what_was_seen_and_clicked_is_told_with_the_answers_id(
    shop: Shop, page: Page, visitor: str
) -> None:
    listed = LIST.replace("data-rows", 'data-fq="brand:Acme" data-rows')
    body = f"{listed}<p style='height: 3000px'></p>{listed}"
    page.goto(shop.pages.put("/p", shop.page(body, visitor=visitor)))
    is_shown(page, 12)
    [seen] = shop.until_events(visitor, "viewable_impression")
    first = page.locator(".attune-card").first
    address = str(first.get_attribute("href"))
    shop.pages.put(address.removeprefix(shop.pages.url), "<p>There</p>")
    first.click()
    page.wait_for_url(address)
    [clicked] = shop.until_events(visitor, "click")

    assert len(seen["product_ids"]) == 6  # those of the list further down were not seen
    assert clicked["product_ids"] == seen["product_ids"][:1] == [address.rpartition("/")[2]]
    assert shop.sent(clicked)["miso_id"] == shop.sent(seen)["miso_id"]


def test_a_list_is_named_and_reached_by_keyboard(shop: Shop, page: Page, visitor: str) -> None:
    body = (
        '<div data-attune="recommend" data-rows="3" data-currency="EUR" data-fields="brand"></div>'
    )
    page.goto(shop.pages.put("/p", shop.page(body, visitor=visitor)))
    is_shown(page, 3)
    found = page.get_by_role("list", name="Recommended for you")
    titles = shown(page)

    expect(found.get_by_role("listitem")).to_have_count(3)
    for title in titles:
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        assert focused.get_attribute("href", timeout=1000)
        assert title in focused.inner_text() and "€9.50" in focused.inner_text()
        assert "Acme" in focused.inner_text()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for image in found.locator("img").all():
        assert image.get_attribute("alt") == ""  # the title stands in the same link
        assert image.get_attribute("width") and image.get_attribute("height")
    expect(page.locator("[data-attune]")).not_to_have_attribute("aria-busy", "true")


def test_a_row_of_six_fits_a_page_with_margins(shop: Shop, page: Page, visitor: str) -> None:
    page.set_viewport_size({"width": 1200, "height": 800})
    text = shop.page(LIST, head="<style>body { margin: 2rem }</style>", visitor=visitor)
    page.goto(shop.pages.put("/p", text))
    is_shown(page)

    assert page.evaluate(
        "(() => { const l = document.querySelector('.attune-list');"
        " return l.scrollWidth <= l.clientWidth })()"
    )


@pytest.fixture
def plain(shop: Shop) -> Iterator[None]:
    """Two products for as long as the test lasts: lists of other tests are of those with pages."""
    products = [_plain("Old book"), _plain("Torn map", "/gone")]
    shop.post("/v1/products", {"data": products})
    yield
    ids = [one["product_id"] for one in products]
    shop.post("/v1/products/_delete", {"data": {"product_ids": ids}})


@pytest.mark.usefixtures("plain")
def test_a_product_without_picture_and_address_looks_like_one(shop: Shop, page: Page) -> None:
    body = LIST.replace("data-rows", 'data-fq="tags:plain" data-rows')
    page.goto(shop.pages.put("/p", shop.page(body)))
    is_shown(page, 2)
    initials = page.locator(".attune-picture")

    expect(page.locator(".attune-list img")).to_have_count(0)  # the one that is gone, too
    assert sorted(initials.all_inner_texts()) == ["O", "T"]
    for picture in initials.all():
        assert picture.get_attribute("aria-hidden") == "true"
        box = picture.bounding_box()
        assert box and abs(box["width"] - box["height"]) < 1
    assert page.locator(".attune-list a").count() == 0
    page.locator(".attune-card").first.hover()
    assert (
        page.evaluate(
            "getComputedStyle(document.querySelector('.attune-title')).textDecorationLine"
        )
        == "none"
    )


OWN = '<p id="own">Our own picks</p>'


@pytest.mark.parametrize(
    "attributes",
    ['data-fq="brand:nobody"', 'data-fq="(broken"', 'data-product-id="nobody"'],
    ids=["empty", "refused", "unknown product"],
)
def test_without_products_the_pages_own_content_stays(
    shop: Shop, page: Page, attributes: str
) -> None:
    kind = "similar" if "product-id" in attributes else "recommend"
    body = f'<div data-attune="{kind}" {attributes}>{OWN}</div>'
    with page.expect_response(LISTS):
        page.goto(shop.pages.put("/p", shop.page(body)))
    expect(page.locator("[aria-busy]")).to_have_count(0)

    expect(page.locator("#own")).to_be_visible()
    assert page.locator(".attune-list").count() == 0


def test_without_a_gateway_the_pages_own_content_stays(shop: Shop, page: Page) -> None:
    page.route("**/v1/**", lambda route: route.abort())
    body = f'<div data-attune="recommend">{OWN}</div><div id=empty data-attune="trending"></div>'
    page.goto(shop.pages.put("/p", shop.page(body)))
    is_loaded(page)
    expect(page.locator("[aria-busy]")).to_have_count(0)

    expect(page.locator("#own")).to_be_visible()
    expect(page.locator("#empty")).to_be_empty()


def test_the_pages_own_content_makes_room_for_products(shop: Shop, page: Page) -> None:
    body = f'<div data-attune="recommend">{OWN}</div>'
    page.goto(shop.pages.put("/p", shop.page(body)))
    is_shown(page)

    expect(page.locator("#own")).to_have_count(0)


@pytest.mark.parametrize("kind", ["similar", "trending", "history", "search"])
def test_there_are_lists_of_every_kind(shop: Shop, page: Page, visitor: str, kind: str) -> None:
    shop.post("/v1/interactions", {"data": [
        {"type": "like", "product_ids": ["blue-lamp"], "anonymous_id": visitor}
    ]})  # fmt: skip
    body = f'<div data-attune="{kind}" data-query="lamp"></div>'
    text = shop.page(json_ld(schema(sku="red-lamp")) + body, visitor=visitor)
    page.goto(shop.pages.put("/p", text))
    expect(page.locator(".attune-list:not(.attune-wait) .attune-item").first).to_be_visible()

    titles = shown(page)
    assert ("Red lamp" in titles) == (kind in ("history", "search"))
    assert kind == "trending" or any("lamp" in title for title in titles)


def test_a_live_list_follows_what_the_visitor_does(shop: Shop, page: Page, visitor: str) -> None:
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if "/recommendation/" in r.url else None)
    body = LIST.replace("data-rows", "data-live data-rows") + LIST
    page.goto(shop.pages.put("/p", shop.page(body, visitor=visitor)))
    is_shown(page, 12)
    before = shown(page)
    assert len(asked) == 2
    page.evaluate("attune.track('add_to_cart', {product_ids: ['red-mug']})")
    until(lambda: page.evaluate("1") and shown(page)[:6] != before[:6], what="another list")

    assert sum("mug" in title for title in shown(page)[:3]) >= 2
    assert shown(page)[6:] == before[6:]
    assert len(asked) == 3


def test_a_list_that_follows_leaves_the_focus_where_it_was(
    shop: Shop, page: Page, visitor: str
) -> None:
    body = LIST.replace("data-rows", "data-live data-rows")
    page.goto(shop.pages.put("/p", shop.page(body, visitor=visitor)))
    is_shown(page)
    page.locator(".attune-card").nth(2).focus()
    page.evaluate("document.querySelector('.attune-list').id = 'former'")
    page.evaluate("attune.track('like', {product_ids: ['green-scarf']})")
    expect(page.locator("#former")).to_have_count(0)

    expect(page.locator(".attune-card").nth(2)).to_be_focused()


def test_a_list_that_a_script_adds_or_changes_is_filled(shop: Shop, page: Page) -> None:
    page.goto(shop.pages.put("/p", shop.page("<main></main>")))
    is_loaded(page)
    page.evaluate(
        """() => { const made = document.createElement("div"); made.dataset.attune = "search";
        made.dataset.query = "lamp"; document.querySelector("main").append(made) }"""
    )
    is_shown(page, 4)
    assert all("lamp" in title for title in shown(page))
    page.evaluate("document.querySelector('[data-attune]').dataset.query = 'scarf'")
    expect(page.locator(".attune-title").first).to_contain_text("scarf")


def test_a_page_asks_for_products_itself(shop: Shop, page: Page, visitor: str) -> None:
    page.goto(shop.pages.put("/p", shop.page(visitor=visitor)))
    is_loaded(page)
    found = page.evaluate("attune.search('teapot', {rows: 3})")
    similar = page.evaluate("attune.recommend({product_id: 'red-clock', rows: 2})")
    error = page.evaluate("attune.recommend({rows: -1}).catch((error) => error.message)")

    assert [one["title"].split()[1] for one in found["products"]] == ["teapot"] * 3
    assert len(similar["products"]) == 2 and similar["miso_id"]
    assert "rows" in error
    [searched] = shop.events(visitor, "search")
    assert shop.sent(searched)["search"] == {"keywords": "teapot"}


# hostile -----------------------------------------------------------------------------------------


def test_markup_in_products_is_text_and_no_script_is_an_address(shop: Shop, page: Page) -> None:
    body = LIST.replace("data-rows", 'data-fq="tags:marked" data-fields="brand" data-rows')
    page.goto(shop.pages.put("/p", shop.page(body)))
    is_shown(page, len(MARKUP))

    assert sorted(shown(page)) == sorted(MARKUP)
    assert page.evaluate("window.ran") is None
    assert page.locator("[data-attune] :is([href], img, script, svg)").count() == 0


def test_it_runs_under_the_strictest_policy(shop: Shop, page: Page, visitor: str) -> None:
    policy = (
        f"default-src 'none'; script-src {shop.api}; connect-src {shop.api}; "
        f"img-src {shop.pages.url}; require-trusted-types-for 'script'; trusted-types 'none'; "
        "base-uri 'none'; form-action 'none'"
    )
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    body = (
        json_ld(schema(sku="red-mug")) + LIST + '<div data-attune="search" data-query="lamp"></div>'
    )
    text = shop.page(body, visitor=visitor, consent="granted")
    page.goto(shop.pages.put("/p", text, Content_Security_Policy=policy))
    is_shown(page, 10)
    page.locator(".attune-card").first.hover()
    shop.until_events(visitor, "viewable_impression")

    assert (
        page.evaluate("getComputedStyle(document.querySelector('.attune-list')).display") == "flex"
    )
    assert [one for one in complaints if "favicon" not in one] == []


def test_who_wants_less_motion_sees_none(browser: Browser, shop: Shop) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    held: list[Route] = []
    page.route(LISTS, lambda route: held.append(route))
    page.goto(shop.pages.put("/p", shop.page(LIST)))
    expect(page.locator(".attune-wait")).to_be_visible()

    assert page.evaluate("document.getAnimations().length") == 0
    context.close()


def test_two_script_elements_are_one_snippet(shop: Shop, page: Page, wire: Wire) -> None:
    text = shop.page(json_ld(schema(sku="p1")))
    script = text[text.index("<script async") : text.index("</head>")]
    page.goto(shop.pages.put("/p", text.replace("</body>", f"{script}</body>")))
    mark(page)

    assert len(wire.of("product_detail_page_view")) == 1
