"""The demo in a real browser, on a whole gateway that has loaded it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway import access
from ranking.catalog import embeddings
from schemas import database
from tests.journeys.gateway_process import GatewayProcess, end, free_port, until

pytestmark = pytest.mark.heavy

LOADED_S = 600.0
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose demo is loaded and encoded."""
    folder = tmp_path_factory.mktemp("demo")
    running = GatewayProcess(folder / "home", free_port(), {"ATTUNE_DEMO": "1"})
    running.start()
    try:
        running.wait_until_ready()
        until(lambda: _has_orders(running), LOADED_S, what="the load of the demo")
        until(lambda: _is_encoded(running), LOADED_S, what="the encoding")
        yield running
    finally:
        end(running)


@pytest.fixture
def page(browser: Browser, shop: GatewayProcess) -> Iterator[Page]:
    """The page as a visitor sees it who has never been here."""
    context = browser.new_context(viewport=DESKTOP)
    opened = context.new_page()
    opened.goto(f"{shop.url}/demo")
    expect(opened.locator(".tile")).to_have_count(24)
    yield opened
    context.close()


def _has_orders(running: GatewayProcess) -> bool:
    return _segment(running).get("applied") == 5977


def _is_encoded(running: GatewayProcess) -> bool:
    """Every product has a vector, and the model was fitted on them: lists do not change by it."""
    services = json.loads((running.home / "run" / "services.json").read_text())
    with database.connect(services["database_url"]) as connection:
        site_id = access.site(connection, "demo").site_id
        encoded = not embeddings.waiting(connection, site_id)
        return encoded and not embeddings.is_due(connection, site_id)


def _segment(running: GatewayProcess) -> dict[str, int]:
    """The ledger's line of the demo's Segment source; empty while there is none."""
    said = running.say("ledger", "demo", "--json")
    sources = json.loads(said.stdout)["sources"] if said.returncode == 0 else []
    return next((one for one in sources if one["connector"] == "segment"), {})


def _list(page: Page) -> list[str]:
    return page.locator(".tile").evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")


def _trail(page: Page) -> int:
    return page.locator("#trail li:not(.hint)").count()


def _do(page: Page, button: str, nth: int = 0) -> None:
    """Press one and wait for the list that follows from it."""
    before = _trail(page)
    page.locator(button).nth(nth).click()
    expect(page.locator("#trail li:not(.hint)")).to_have_count(before + 1)


def _search(page: Page, words: str) -> None:
    before = _trail(page)
    page.fill("#words", words)
    page.press("#words", "Enter")
    expect(page.locator("#trail li:not(.hint)")).to_have_count(before + 1)


def test_every_order_came_through_the_webhook_door_in_six_deliveries(
    shop: GatewayProcess,
) -> None:
    segment = _segment(shop)

    assert (segment["deliveries"], segment["received"], segment["applied"]) == (6, 5977, 5977)


def test_a_stranger_sees_what_is_popular(page: Page) -> None:
    expect(page.locator("#title")).to_have_text("Popular this week")
    expect(page.locator("#because")).to_contain_text("what everybody buys")


def test_each_of_three_clicks_changes_the_list(page: Page) -> None:
    lists = [_list(page)]
    for nth in (3, 0, 5):
        clicked = _list(page)[nth]
        _do(page, ".tile .open", nth)
        lists.append(_list(page))
        assert clicked not in lists[-1]

    assert len({tuple(one) for one in lists}) == 4
    expect(page.locator("#title")).to_have_text("Picked for this visitor")
    expect(page.locator("#because li")).to_have_count(3)


def test_the_clicked_product_names_itself_in_interests_and_reasons(page: Page) -> None:
    title = page.locator(".tile .open").nth(2).inner_text()
    shelf = page.locator(".tile .shelf").nth(2).inner_text()
    _do(page, ".tile .open", 2)

    expect(page.locator("#because")).to_contain_text(title)
    expect(page.locator("#interests")).to_contain_text(shelf)


def test_liking_and_the_cart_count_as_well(page: Page) -> None:
    _do(page, ".tile [aria-label^='Like']", 1)
    _do(page, ".tile [aria-label^='Add to cart']", 4)

    expect(page.locator("#because")).to_contain_text("liked")
    expect(page.locator("#because")).to_contain_text("put in the cart")


def _titles(page: Page) -> list[str]:
    return page.locator(".tile .open").all_inner_texts()


def test_a_search_shows_what_has_its_words_and_the_picks_lean_to_it(page: Page) -> None:
    _search(page, "lantern")

    assert all("antern" in title for title in _titles(page)[:12])
    expect(page.locator("#title")).to_have_text("Found for “lantern”")
    expect(page.locator("#because")).to_contain_text("searched for “lantern”")

    page.get_by_role("button", name="Back to the picks").click()
    expect(page.locator("#title")).to_have_text("Picked for this visitor")
    assert sum("antern" in title for title in _titles(page)[:12]) >= 4


@pytest.mark.parametrize(
    ("clicked", "words", "kind"),
    [
        ("dolly girl lunch box", "box", "Lunch Box"),
        ("alarm clock bakelike red", "red", "Clock"),
        ("regency cakestand 3 tier", "set", "Cake"),
    ],
)
def test_the_same_search_shows_first_what_is_like_the_product_looked_at(
    page: Page, clicked: str, words: str, kind: str
) -> None:
    _search(page, words)
    before = sum(kind in title for title in _titles(page)[:6])
    _search(page, clicked)
    _do(page, ".tile .open")
    _search(page, words)

    assert sum(kind in title for title in _titles(page)[:6]) > before


def test_a_search_without_words_in_common_is_answered_by_meaning_or_says_so(page: Page) -> None:
    _search(page, "something to write with")
    assert any("Writing Set" in title for title in _titles(page)[:5])
    _search(page, "qwertz uiop")
    expect(page.locator("#title")).to_have_text("Nothing for “qwertz uiop”")
    expect(page.locator("#notice")).to_contain_text("Try other words")
    page.fill("#words", "")
    expect(page.locator(".tile")).to_have_count(24)


def test_a_new_visitor_starts_from_nothing(page: Page) -> None:
    before = _list(page)
    _do(page, ".tile .open")
    page.get_by_role("button", name="New visitor").click()

    expect(page.locator("#title")).to_have_text("Popular this week")
    assert _list(page) == before
    assert _trail(page) == 0


def test_the_visitor_is_known_again_after_a_reload(page: Page) -> None:
    _do(page, ".tile .open")
    after = _list(page)
    page.reload()
    expect(page.locator(".tile")).to_have_count(24)

    assert _list(page) == after
    assert _trail(page) == 1


def test_the_parts_of_a_score_sum_to_it(page: Page) -> None:
    _do(page, ".tile .open")
    page.locator(".tile .why summary").first.click()

    score = float(page.locator(".tile .sum").first.inner_text().split()[-1])
    parts = page.locator(".tile").first.locator(".parts .value").all_inner_texts()
    assert sum(map(float, parts)) == pytest.approx(score, abs=0.011)
    page.keyboard.press("Escape")
    expect(page.locator(".why[open]")).to_have_count(0)


def test_by_keyboard_one_goes_on_from_where_one_was(page: Page) -> None:
    page.locator(".tile .open").nth(2).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#trail li:not(.hint)")).to_have_count(1)

    assert page.evaluate("document.activeElement.className") == "open"
    expect(page.locator("#said")).to_have_text(re.compile("^Looked at .+ products are new"))


def test_without_an_answer_the_page_says_so_and_tries_again(page: Page) -> None:
    page.route("**/v1/**", lambda route: route.abort())
    page.locator(".tile .open").first.click()
    expect(page.locator("#notice")).to_contain_text("The gateway does not answer")
    page.unroute("**/v1/**")
    page.get_by_role("button", name="Try again").click()

    expect(page.locator("#notice")).to_be_hidden()


def test_a_refused_request_is_shown_in_its_own_words(page: Page) -> None:
    page.route("**/v1/**", lambda route: route.fulfill(status=429, json={"message": "too fast"}))
    page.locator(".tile .open").first.click()

    expect(page.locator("#notice")).to_contain_text("answered 429: too fast")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_fits_every_screen_and_loads_nothing_from_elsewhere(
    browser: Browser, shop: GatewayProcess, scheme: str, viewport: dict[str, int]
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(shop.url) else complaints.append(r.url))
    page.goto(f"{shop.url}/demo")
    expect(page.locator(".tile")).to_have_count(24)
    _do(page, ".tile .open")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [one for one in complaints if not one.startswith("data:")] == []
    context.close()


def test_who_wants_less_motion_gets_none(browser: Browser, shop: GatewayProcess) -> None:
    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{shop.url}/demo")
    expect(page.locator(".tile")).to_have_count(24)
    page.locator(".tile .open").first.click()
    expect(page.locator("#title")).to_have_text("Picked for this visitor")

    moving = "[...document.querySelectorAll('.tile')].flatMap(t => t.getAnimations()).length"
    assert page.evaluate(moving) == 0
    context.close()
