"""Markup in everything that the demo page shows, in a real browser: shown as text, run nowhere."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from gateway import access
from ranking.catalog import embeddings
from schemas import database
from tests.hostile.test_server import Server, server
from tests.ranking.market import Words

__all__ = ["server"]
pytestmark = pytest.mark.heavy


TRAIL = 8  # the last things a visitor did, as the page lists them
RUN = "window.ran=1"
CORPUS = [
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f'"><script>{RUN}</script>',
    f"'><svg/onload={RUN}>",
    f'" onmouseover="{RUN}" x="',
    f"' onfocus='{RUN}' autofocus='",
    f"javascript:{RUN}",
    f"</title><script>{RUN}</script>",
    f"</textarea><script>{RUN}</script>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'>",
    f"<math><mtext><style><img src=x onerror={RUN}></style></mtext></math>",
    f"<details open ontoggle={RUN}>",
    "<a href='https://evil.example/'>x</a>",
    "<base href='https://evil.example/'>",
    "<style>*{background:url(https://evil.example/)}</style>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e",
    "{{constructor.constructor('" + RUN + "')()}}",
    "${" + RUN + "}",
    "\u202e<b>\u2028\ufeff",
    f"<scr\0ipt>{RUN}</scr\0ipt>",
    "__proto__",
    "constructor",
]


# Those that a browser's input takes as they are.
SEARCHED = [words for words in CORPUS if not set(words) & {"\0", "\u202e", "\u2028"}]


@dataclass(frozen=True)
class Visited:
    """The page of a site full of markup, and what went wrong on it."""

    page: Page
    complaints: list[str]


@pytest.fixture(scope="module")
def stocked(server: Server) -> str:
    """The address of a page whose products hold the corpus in every field that is shown."""
    records = [
        {
            "product_id": f"p{number} {text}", "title": text, "brand": text, "sale_price": 3,
            "categories": [[text, text]], "tags": [text], "description": text,
            "cover_image": "https://evil.example/" + quote(text), "size": text, "color": text,
            "custom_attributes": {"x": text},
        }
        for number, text in enumerate(CORPUS)
    ]  # fmt: skip
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/v1/products?partial=1",
        json={"data": records},
        headers={"X-API-KEY": server.key},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    with contextlib.closing(database.connect(server.database_url)) as connection:
        site = access.site(connection, "shop")
        embeddings.drain(connection, site.site_id, Words())
        connection.execute(
            """update sources set settings = '{"currency": "<script>window.ran=1</script>"}'"""
        )
    return f"http://127.0.0.1:{server.port}/demo?site=shop"


@pytest.fixture
def visited(browser: Browser, server: Server, stocked: str) -> Iterator[Visited]:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    # Pictures may come from anywhere, and do not come at all here.
    page.route("https://evil.example/**", lambda route: route.abort())
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda r: _note(r.url, r.resource_type, server, complaints))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(stocked)
    yield Visited(page, complaints)
    context.close()


def _note(url: str, kind: str, server: Server, complaints: list[str]) -> None:
    own = url.startswith((f"http://127.0.0.1:{server.port}/", "data:"))
    if not own and kind != "image":
        complaints.append(f"{kind}: {url}")


def shown(words: str) -> str:
    """As a line of the page shows it: blanks as one, no NUL."""
    return " ".join(words.replace("\0", "").split())


def check_nothing_ran(visited: Visited) -> None:
    page = visited.page
    assert page.evaluate("window.ran") is None
    assert visited.complaints == []
    assert page.locator("script").count() == 1
    assert page.locator("iframe, base, object, embed, math, [onerror], [onload]").count() == 0
    attributes = page.evaluate(
        "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]"
        ".filter(a => a.name.startsWith('on') || /^\\s*javascript:/i.test(a.value) &&"
        " ['href', 'src', 'action'].includes(a.name)).map(a => e.outerHTML))"
    )
    assert attributes == []


def test_markup_in_products_is_text(visited: Visited) -> None:
    expect(visited.page.locator(".tile").first).to_be_visible()
    titles = visited.page.locator(".tile .open").all_inner_texts()
    assert any(f"<img src=x onerror={RUN}>" in title for title in titles)
    check_nothing_ran(visited)


def test_markup_in_what_a_visitor_did_is_text(visited: Visited) -> None:
    page = visited.page
    for _ in range(4):
        before = page.locator("#trail li:not(.hint)").count()
        page.locator(".tile .open").first.click()
        expect(page.locator("#trail li:not(.hint)")).to_have_count(before + 1)
    check_nothing_ran(visited)
    page.reload()
    expect(page.locator("#trail li:not(.hint)")).to_have_count(4)
    check_nothing_ran(visited)


def test_markup_in_a_search_is_text(visited: Visited) -> None:
    page = visited.page
    for count, words in enumerate(SEARCHED, 1):
        page.fill("#words", words.replace("\0", ""))
        page.press("#words", "Enter")
        expect(page.locator("#trail li:not(.hint)")).to_have_count(min(count, TRAIL))
        expect(page.locator("#trail li").first).to_contain_text(shown(words))
    check_nothing_ran(visited)


def test_markup_kept_in_the_browser_is_text(visited: Visited) -> None:
    """Another page of the same host may have written it there."""
    page = visited.page
    trail = [{"type": text, "about": text, "effect": text, "at": 1} for text in CORPUS]
    stored = json.dumps({"id": CORPUS[1], "trail": trail})
    page.evaluate(
        "text => { for (const name of Object.keys(localStorage)) localStorage[name] = text }",
        stored,
    )
    page.reload()
    expect(page.locator("#trail li").first).to_be_visible()
    assert page.evaluate("window.ran") is None
    assert page.locator("script").count() == 1


def test_markup_in_the_name_of_a_site_is_text(browser: Browser, server: Server) -> None:
    context = browser.new_context()
    page = context.new_page()
    for name in CORPUS:
        page.goto(f"http://127.0.0.1:{server.port}/demo?site={quote(name)}")
        expect(page.locator("h1")).to_have_text("Nothing to show")
        assert page.evaluate("window.ran") is None
        assert page.locator("main script, main img, main svg, iframe, base").count() == 0
    context.close()


def test_the_page_of_the_routes_shows_them_under_its_policy(
    browser: Browser, server: Server
) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"http://127.0.0.1:{server.port}/docs")
    expect(page.locator("details").first).to_be_visible()
    assert page.locator("details").count() > 20
    assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"
    assert complaints == []
    context.close()
