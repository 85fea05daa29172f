"""Feeds: made, pulled by hand and by the clock, from a real server on this machine."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import access, clock, ingest, jobs, sync, tasks
from gateway.__main__ import cli
from gateway.access import Source
from schemas import database
from tests.builders import deliver, one, rows
from tests.conftest import Shop
from tests.connectors.reading import SHARED
from tests.gateway.feed_server import Server, serving
from tests.journeys.gateway_process import until

Gateway = Callable[..., Result]
CATALOGS = SHARED / "shopify" / "catalogs"
NOW = datetime.now(UTC)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def gateway(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """Runs a command and expects `status`; feeds may lie on this machine."""
    monkeypatch.setenv("FEED_ALLOW_PRIVATE", "1")
    jobs._hints.cache_clear()

    def run(*words: str, status: int = 0) -> Result:
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == status, result.output
        return result

    yield run
    jobs._hints.cache_clear()


def answer(result: Result) -> Any:
    return json.loads(result.stdout)


def a_csv(*ids: str, price: str = "1 EUR") -> str:
    return "id,title,price\n" + "".join(f"{one},Title of {one},{price}\n" for one in ids)


def made(gateway: Gateway, url: str, *more: str) -> str:
    told = answer(gateway("sources", "create", "shop", "feed", "--feed-url", url, *more, "--json"))
    assert set(told) == {"site", "source", "url", "every"}
    return str(told["source"])


def pulled(gateway: Gateway, source: str, *more: str, status: int = 0) -> dict[str, Any]:
    told = answer(gateway("pull", "shop", source, *more, "--json", status=status))
    assert isinstance(told, dict)
    return told


def available(shop: Shop) -> set[str]:
    found = rows(shop.pool, "select product_id from products where available and not deleted")
    return {product_id for (product_id,) in found}


def prices(shop: Shop) -> dict[str, Any]:
    return dict(rows(shop.pool, "select product_id, original_price from products"))


def source_of(shop: Shop, public_id: str) -> Source:
    with shop.pool.connection() as connection:
        found = access.source_by_public_id(connection, public_id)
    assert found is not None
    return found


# making one -------------------------------------------------------------------------------------


def test_a_feed_is_made_and_pulled(gateway: Gateway, shop: Shop, server: Server) -> None:
    url = server.put("/feed.csv", a_csv("a", "b"))
    words = gateway("sources", "create", "shop", "feed", "--feed-url", url, "--every", "30m").stdout
    source = words.split()[1]
    assert "every 30m" in words
    assert f"pull shop {source}" in words
    assert "2 items read, 2 applied" in gateway("pull", "shop", source).stdout
    assert available(shop) == {"a", "b"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "needs the address"),
        (("--feed-url", "ftp://shop.example/"), "must begin with https"),
        (("--feed-url", "shop.example/feed"), "must begin with https"),
        (("--feed-url", "http://u:p@shop.example/"), "--username"),
        (("--feed-url", "http://nowhere.invalid/feed"), "has no address"),
        (("--feed-url", "http://169.254.169.254/"), "is not fetched from"),
        (("--feed-url", "http://127.0.0.1/", "--every", "1s"), "30m, 6h or 1d"),
        (("--feed-url", "http://127.0.0.1/", "--every", "0h"), "30m, 6h or 1d"),
        (("--feed-url", "http://127.0.0.1/", "--every", "9999d"), "30m, 6h or 1d"),
        (("--feed-url", "http://127.0.0.1/", "--header", "Host: x"), "no header"),
        (("--feed-url", "http://127.0.0.1/", "--header", "a b: x"), "no header"),
    ],
)
def test_a_feed_that_could_never_be_pulled_is_not_made(
    gateway: Gateway, shop: Shop, words: tuple[str, ...], reason: str
) -> None:
    said = gateway("sources", "create", "shop", "feed", *words, status=1)
    assert reason in said.stderr
    assert one(shop.pool, "select count(*) from sources where connector = 'feed'") == 0


@pytest.mark.parametrize("header", ["nothing", "X-Key:", "X-Key: a\r\nX-Other: b"])
def test_a_header_has_a_name_and_a_value(gateway: Gateway, shop: Shop, header: str) -> None:
    words = ("--feed-url", "http://127.0.0.1/", "--header", header)
    assert "Name: value" in gateway("sources", "create", "shop", "feed", *words, status=2).stderr


def test_private_networks_are_closed_unless_opened(
    gateway: Gateway, shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.put("/feed.csv", a_csv("a"))
    source = made(gateway, url)
    monkeypatch.delenv("FEED_ALLOW_PRIVATE")
    words = ("sources", "create", "shop", "feed", "--feed-url", url)
    said = gateway(*words, status=1).stderr
    assert f"{url.split('/')[2]} is not fetched from: it is private (FEED_ALLOW_PRIVATE=1" in said
    assert "private" in pulled(gateway, source, status=1)["error"]
    assert server.asked == []


def test_options_of_a_feed_are_for_feeds(gateway: Gateway, shop: Shop) -> None:
    words = ("sources", "create", "shop", "segment", "--feed-url", "http://x.example/")
    assert "connector `feed`" in gateway(*words, status=2).stderr


def test_a_setting_that_would_break_it_is_refused(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a")))
    for name, value in [("every", "soon"), ("url", "file:///x"), ("fields", '["id"]')]:
        gateway("sources", "set", "shop", source, name, value, status=1)
    slip = gateway("sources", "set", "shop", source, "fields", '{"Preis": "prize"}', status=1)
    assert "write 'c:prize'" in slip.stderr
    gateway("sources", "set", "shop", source, "fields", '{"Stoff": "c:fabric", "Preis": "g:price"}')
    gateway("sources", "set", "shop", source, "every", "2h")
    assert answer(gateway("feeds", "shop", "--json"))["feeds"][0]["every"] == "2h"


def test_passwords_and_headers_open_a_feed_and_lie_sealed(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    login = ("Authorization", "Basic dTpwYXNz")
    url = server.put("/login.csv", a_csv("a"), secret=login)
    source = made(gateway, url, "--username", "u", "--password", "pass")
    assert pulled(gateway, source)["outcome"] == "done"
    url = server.put("/key.csv", a_csv("b"), secret=("X-Key", "k: 1"))
    source = made(gateway, url, "--header", "X-Key: k: 1")
    assert pulled(gateway, source)["outcome"] == "done"
    stored = json.dumps([str(row) for row in rows(shop.pool, "select * from sources")])
    stored += json.dumps([str(row) for row in rows(shop.pool, "select headers from deliveries")])
    assert "dTpwYXNz" not in stored and "k: 1" not in stored


def test_a_feed_that_wants_other_credentials_says_so(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a"), secret=("X-Key", "new")))
    assert "status 401" in pulled(gateway, source, status=1)["error"]
    gateway("sources", "set", "shop", source, "header", "X-Key")
    gateway("sources", "rotate", "shop", source, "--secret", "new")
    assert pulled(gateway, source)["outcome"] == "done"


def test_nothing_can_be_sent_to_a_feed(
    gateway: Gateway, client: FlaskClient, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a")))
    answered = client.post(f"/webhooks/feed/{source}", json={"items": []})
    assert answered.status_code == 401
    assert one(shop.pool, "select count(*) from deliveries") == 0


# what a pull does -------------------------------------------------------------------------------


def test_each_item_has_its_own_outcome_and_place(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    body = "id,title,price\na,A,1 EUR\n,Nobody,1 EUR\nc,C,dear\nd,D,2 EUR,surplus\ne,E,3 EUR\n"
    run = pulled(gateway, made(gateway, server.put("/feed.csv", body)))
    assert run["outcome"] == "done"
    assert run["counts"] | {"bytes": 0} == {
        "bytes": 0, "items": 5, "applied": 2, "duplicate": 0, "ignored": 0, "refused": 3,
        "failed": 0, "absent": 0,
    }  # fmt: skip
    found = rows(shop.pool, "select pointer, reason from delivery_problems order by position")
    assert [pointer for pointer, _ in found] == ["/line/3/id", "/line/4/price", "/line/5"]
    assert "no price" in found[1][1]
    assert run["problems"] == [{"pointer": at, "message": why} for at, why in found]


def test_a_pull_is_kept_as_deliveries_that_can_be_replayed(
    gateway: Gateway, client: FlaskClient, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", "Nummer,title\na,A\n"))
    assert "no column is named id" in pulled(gateway, source, status=1)["error"]
    gateway("sources", "set", "shop", source, "fields", '{"Nummer": "id"}')
    server.put("/feed.csv", "Nummer,title,Preis\na,A,1 EUR\n,B,\n")
    pulled(gateway, source)
    headers = {"X-API-KEY": shop.secret_key}
    [told] = client.get("/admin/v1/deliveries", headers=headers).json["deliveries"]  # type: ignore[index]
    assert (told["connector"], told["topic"]) == ("feed", "products")
    path = f"/admin/v1/deliveries/{told['delivery_id']}"
    found = client.get(path, headers=headers).json
    assert found and found["records"][1]["pointer"] == "/line/3"
    assert found["records"][0]["record"]["item"] == {"Nummer": "a", "title": "A", "Preis": "1 EUR"}
    gateway("sources", "set", "shop", source, "fields", '{"Nummer": "id", "title": "id"}')
    assert client.post(f"{path}/replay", headers=headers).json["mended"] == 1  # type: ignore[index]
    assert available(shop) == {"a", "B"}


@pytest.fixture
def batches_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "ITEMS_A_DELIVERY", 10)


@pytest.mark.usefixtures("batches_of_ten")
def test_a_long_feed_comes_in_batches(gateway: Gateway, shop: Shop, server: Server) -> None:
    ids = [f"p{number}" for number in range(25)]
    run = pulled(gateway, made(gateway, server.put("/feed.csv", a_csv(*ids), zipped=True)))
    assert run["counts"]["applied"] == 25
    assert one(shop.pool, "select count(*) from deliveries") == 3
    assert available(shop) == set(ids)


def test_a_gz_file_is_unpacked(gateway: Gateway, shop: Shop, server: Server) -> None:
    packed = gzip.compress(a_csv("a").encode())
    assert pulled(gateway, made(gateway, server.put("/feed.gz", packed)))["outcome"] == "done"
    assert available(shop) == {"a"}


def test_what_did_not_change_is_not_read_again(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a")))
    assert [pulled(gateway, source)["outcome"] for _ in range(2)] == ["done", "unchanged"]
    assert "If-None-Match" not in server.asked[0][1]
    assert server.asked[1][1]["If-None-Match"]
    assert one(shop.pool, "select count(*) from deliveries") == 1
    server.put("/feed.csv", a_csv("a", price="2 EUR"))
    assert pulled(gateway, source)["outcome"] == "done"
    assert prices(shop) == {"a": 2}


def test_a_date_alone_is_asked_by_too(gateway: Gateway, shop: Shop, server: Server) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a"), etag=False, dated=True))
    assert [pulled(gateway, source)["outcome"] for _ in range(2)] == ["done", "unchanged"]
    assert "If-Modified-Since" in server.asked[1][1]


def test_the_same_bytes_are_the_same_feed(gateway: Gateway, shop: Shop, server: Server) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a"), etag=False))
    assert [pulled(gateway, source)["outcome"] for _ in range(2)] == ["done", "unchanged"]
    assert one(shop.pool, "select count(*) from deliveries") == 1


def test_force_reads_it_all_the_same(gateway: Gateway, shop: Shop, server: Server) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a")))
    pulled(gateway, source)
    assert pulled(gateway, source, "--force")["outcome"] == "done"
    assert "If-None-Match" not in server.asked[1][1]


def test_a_feed_is_read_anew_when_its_settings_change(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", "id,title,Preis\na,A,3 EUR\n"))
    pulled(gateway, source)
    assert prices(shop) == {"a": None}
    gateway("sources", "set", "shop", source, "fields", '{"Preis": "price"}')
    assert [pulled(gateway, source)["outcome"] for _ in range(2)] == ["done", "unchanged"]
    assert prices(shop) == {"a": 3}
    moved = server.put("/moved.csv", "id,title,Preis\na,A,4 EUR\n", headers={"ETag": '"same"'})
    gateway("sources", "set", "shop", source, "url", moved)
    pulled(gateway, source)
    assert "If-None-Match" not in server.asked[-1][1]
    assert prices(shop) == {"a": 4}


def test_an_item_no_product_can_be_made_of_is_refused_alone(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    found = [
        {"id": "x" * 513, "title": "long id"},
        {"id": "a", "title": "A", "description": "y" * 1_000_001},
        {"id": "\0\ud800", "title": "odd id"},
        {"id": "b", "title": "B"},
    ]
    body = "\n".join(json.dumps(item) for item in found)
    run = pulled(gateway, made(gateway, server.put("/feed.jsonl", body)))
    assert [one["pointer"] for one in run["problems"]] == ["/line/1/id", "/line/2"]
    assert available(shop) == {"\ufffd\ufffd", "b"}


def test_a_sale_begins_although_the_feed_has_not_changed(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    begins, ends = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    item = {
        "id": "a", "price": "10 EUR", "sale_price": "7 EUR", "updated_at": "2020-01-01",
        "sale_price_effective_date": f"{begins.isoformat()}/{ends.isoformat()}",
    }  # fmt: skip
    source = source_of(shop, made(gateway, server.put("/feed.jsonl", json.dumps(item))))
    told = []
    with shop.pool.connection() as connection:
        for at in (
            NOW - timedelta(hours=3),
            NOW - timedelta(hours=2),
            NOW - timedelta(minutes=1),
            NOW,
        ):
            outcome = sync.pull(connection, shop.pool, source, at=at).outcome
            told.append((outcome, one(shop.pool, "select sale_price from products")))
    assert told == [("done", None), ("unchanged", None), ("done", 7), ("unchanged", 7)]
    assert one(shop.pool, "select next_run from feeds") == ends


# what is no longer in it ------------------------------------------------------------------------


def test_what_the_feed_holds_no_longer_becomes_unavailable_and_comes_back(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a", "b", "c")))
    pulled(gateway, source)
    server.put("/feed.csv", a_csv("a", "b"))
    run = pulled(gateway, source)
    assert run["counts"]["absent"] == 1
    assert available(shop) == {"a", "b"}
    [(record,)] = rows(shop.pool, "select record from products where product_id = 'c'")
    assert record["title"] == "Title of c"
    server.put("/feed.csv", a_csv("a", "b", "c"))
    pulled(gateway, source)
    assert available(shop) == {"a", "b", "c"}


def test_it_comes_back_although_its_own_date_is_old(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    def lines(*ids: str) -> str:
        return "\n".join(json.dumps({"id": one, "updated_at": "2020-01-01"}) for one in ids)

    source = made(gateway, server.put("/feed.jsonl", lines("a", "b", "c")))
    for held in (("a", "b", "c"), ("a", "b"), ("c", "b", "a")):
        server.put("/feed.jsonl", lines(*held))
        pulled(gateway, source)
        assert available(shop) == set(held)


def test_more_than_half_vanish_only_by_force(gateway: Gateway, shop: Shop, server: Server) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a", "b", "c")))
    pulled(gateway, source)
    server.put("/feed.csv", a_csv("a"))
    run = pulled(gateway, source)
    assert run["outcome"] == "done" and "2 of 3" in run["warning"]
    assert available(shop) == {"a", "b", "c"}
    assert "2 of 3" in gateway("feeds", "shop").stdout
    assert pulled(gateway, source, "--force")["counts"]["absent"] == 2
    assert available(shop) == {"a"}


def test_only_what_this_feed_held_can_vanish_from_it(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    body = {"data": [{"product_id": "own", "title": "Mine"}]}
    deliver(shop.pool, shop.api, body, "products")
    first = made(gateway, server.put("/1.csv", a_csv("a", "b", "both")))
    second = made(gateway, server.put("/2.csv", a_csv("x", "both")))
    for source in (first, second):
        pulled(gateway, source)
    server.put("/1.csv", a_csv("a", "b"))
    assert pulled(gateway, first)["counts"]["absent"] == 0
    assert available(shop) == {"own", "a", "b", "both", "x"}
    server.put("/2.csv", a_csv("x"))
    assert pulled(gateway, second)["counts"]["absent"] == 1
    assert available(shop) == {"own", "a", "b", "x"}


def test_what_is_written_while_a_pull_runs_is_judged_by_the_next(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a", "b", "c")))
    pulled(gateway, source)
    server.put("/feed.csv", a_csv("a", "b"))
    server.held = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        pull = threads.submit(_pull, shop, source)
        until(lambda: len(server.asked) == 2, what="a request for the feed")
        body = {"data": [{"product_id": "c", "title": "Written meanwhile"}]}
        deliver(shop.pool, shop.api, body, "products")
        server.held.set()
        assert pull.result(30) == "done"
    assert available(shop) == {"a", "b", "c"}
    assert pulled(gateway, source)["counts"]["absent"] == 1
    assert available(shop) == {"a", "b"}
    assert pulled(gateway, source)["outcome"] == "unchanged"


def _pull(shop: Shop, source: str) -> str:
    with shop.pool.connection() as connection:
        return sync.pull(connection, shop.pool, source_of(shop, source)).outcome


def test_a_feed_may_hold_only_news(gateway: Gateway, shop: Shop, server: Server) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a", "b", "c")))
    gateway("sources", "set", "shop", source, "keep_absent", "true")
    pulled(gateway, source)
    server.put("/feed.csv", a_csv("a"))
    pulled(gateway, source)
    assert available(shop) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("body", "how"),
    [
        (a_csv("a", "b"), {"cut_at": 20}),
        (a_csv("a", "b"), {"unframed": True}),
        (a_csv("a", "b") + ',no id,"1"\n', {}),
        (a_csv("a", "b") + '"d,never closed\n', {}),
        ("<rss><channel><item><id>a</id></item><item><id>b</id></item></channel>", {}),
        ("<rss><channel><item><id>a</id></item>&nbsp;<item><id>b</id></item></channel></rss>", {}),
        ('[{"id": "a"}, {"id": "b"}, {"id":', {}),
        ('{"id": "a"}\n{"id": "b"}\n{"id":\n', {}),
        ("<html><body>We are closed</body></html>", {}),
        ("id,title\n", {}),
        ("", {}),
        (gzip.compress(a_csv("a", "b").encode(), mtime=0)[:-4].decode("latin-1"), {}),
    ],
    ids=[
        "cut off",
        "of no length",
        "an item without id",
        "an open quote",
        "an open element",
        "an unknown entity",
        "an open list",
        "an open line",
        "a web page",
        "no item",
        "nothing",
        "broken gzip",
    ],
)
def test_nothing_vanishes_by_a_feed_that_is_not_whole(
    gateway: Gateway, shop: Shop, server: Server, body: str, how: dict[str, Any]
) -> None:
    source = made(gateway, server.put("/feed", a_csv("a", "b", "c")))
    pulled(gateway, source)
    raw = body.encode("latin-1") if body.startswith("\x1f") else body
    server.put("/feed", raw, **how)
    result = CliRunner().invoke(cli, ["pull", "shop", source, "--json"])
    told = json.loads(result.stdout)
    assert told["error"] or told["warning"]
    assert available(shop) == {"a", "b", "c"}


@pytest.mark.usefixtures("batches_of_ten")
def test_a_file_that_breaks_off_is_read_as_far_as_it_goes_and_again(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    ids = [f"p{number}" for number in range(12)]
    whole = a_csv(*ids)
    source = made(gateway, server.put("/feed.csv", whole + '"z,never closed\n'))
    told = pulled(gateway, source, status=1)
    assert "line 14" in told["error"]
    assert available(shop) == set(ids)
    server.put("/feed.csv", whole)
    assert pulled(gateway, source)["outcome"] == "done"


# by the clock -----------------------------------------------------------------------------------


def test_the_clock_names_the_site_and_the_worker_pulls(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    sources = [
        made(gateway, server.put("/1.csv", a_csv("a")), "--every", "1h"),
        made(gateway, server.put("/2.csv", a_csv("b"))),
    ]
    with shop.pool.connection() as connection:
        later = datetime.now(UTC) + timedelta(seconds=1)
        assert ("feeds", shop.site.site_id) in clock.tick(connection, later)
    for _ in sources:
        tasks.run("feeds", shop.site.site_id)
    assert available(shop) == {"a", "b"}
    with shop.pool.connection() as connection:
        assert sync.due(connection, datetime.now(UTC) + timedelta(minutes=59)) == []
        assert sync.due(connection, datetime.now(UTC) + timedelta(minutes=61)) == [
            shop.site.site_id
        ]
    tasks.run("feeds", shop.site.site_id)
    assert len(server.asked) == 2


def test_a_feed_that_fails_waits_longer_each_time(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, f"{server.url}/missing", "--every", "6m")
    waits = []
    for _ in range(5):
        assert _pull(shop, source) == "failed"
        [(wait,)] = rows(shop.pool, "select next_run - (select max(started_at) from feed_runs) "
                                    "from feeds")  # fmt: skip
        waits.append(wait / timedelta(minutes=1))
    assert waits == [1, 2, 4, 6, 6]
    [told] = answer(gateway("feeds", "shop", "--json"))["feeds"]
    assert (told["status"], told["failures"], told["last_success"]) == ("failed", 5, None)
    next_run = one(shop.pool, "select next_run from feeds")
    assert "status 404" in pulled(gateway, source, status=1)["error"]
    assert rows(shop.pool, "select failures, next_run from feeds") == [(5, next_run)]
    server.put("/missing", a_csv("a"))
    pulled(gateway, source)
    assert answer(gateway("feeds", "shop", "--json"))["feeds"][0]["failures"] == 0


def test_two_workers_pull_a_feed_once(gateway: Gateway, shop: Shop, server: Server) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a")))
    server.held = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(tasks.run, "feeds", shop.site.site_id)
        until(lambda: server.asked, what="a request for the feed")
        assert "pulled already" in gateway("pull", "shop", source, status=1).stderr
        tasks.run("feeds", shop.site.site_id)
        server.held.set()
        first.result(30)
    assert len(server.asked) == 1
    assert rows(shop.pool, "select outcome from feed_runs") == [("done",)]


@pytest.mark.usefixtures("batches_of_ten")
def test_a_pull_that_was_killed_is_made_again_and_comes_to_the_same(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    ids = [f"p{number}" for number in range(25)]
    source = source_of(shop, made(gateway, server.put("/feed.csv", a_csv(*ids, "gone"))))
    with shop.pool.connection() as connection:
        sync.pull(connection, shop.pool, source)
    server.put("/feed.csv", a_csv(*ids, price="2 EUR"))
    _die_after_the_first_batch(shop, source)
    assert rows(shop.pool, "select outcome from feed_runs order by started_at desc limit 1") == [
        ("running",)
    ]
    assert 2 in prices(shop).values() and 1 in prices(shop).values()
    with shop.pool.connection() as connection:
        run = sync.pull(connection, shop.pool, source)
    assert (run.outcome, run.counts["absent"]) == ("done", 1)
    assert available(shop) == set(ids)
    assert set(prices(shop).values()) == {1, 2} and prices(shop)["gone"] == 1
    told = rows(shop.pool, "select outcome from feed_runs order by started_at")
    assert told == [("done",), ("interrupted",), ("done",)]


def _die_after_the_first_batch(shop: Shop, source: Source) -> None:
    """As a killed process does: its connections end, and it notes nothing."""
    dying = database.connect(shop.pool.conninfo, options=database.INGEST_OPTIONS)

    def told(stage: str, done: int, total: int | None) -> None:
        if stage == "reading":
            dying.close()

    with pytest.raises(Exception, match="closed"):
        sync.pull(dying, shop.pool, source, told=told)


def test_a_worker_that_is_stopped_leaves_it_for_the_next(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = source_of(shop, made(gateway, server.put("/feed.csv", a_csv("a"))))
    with shop.pool.connection() as connection:
        assert sync.pull(connection, shop.pool, source, stop=lambda: True).outcome == "interrupted"
        assert sync.due(connection, datetime.now(UTC)) == [shop.site.site_id]
        assert sync.pull(connection, shop.pool, source).outcome == "done"


# looking inside ---------------------------------------------------------------------------------


def test_feeds_and_pulls_are_shown(gateway: Gateway, shop: Shop, server: Server) -> None:
    assert "no feed" in gateway("feeds", "shop").stdout
    source = made(gateway, server.put("/feed.csv", a_csv("a", "")) + "?token=secret")
    assert "waiting" in gateway("feeds", "shop").stdout
    assert "/line/3/id  The item has no id." in gateway("pull", "shop", source).stdout
    shown = gateway("feeds", "shop", source).stdout
    assert "done" in shown and "names 1 product;" in shown
    assert "2 items: 1 applied, 1 refused; " in shown
    assert f"{NOW.astimezone():%Z}; last good pull" in shown
    assert "/line/3/id  The item has no id." in shown
    assert "/feed.csv?…" in gateway("sources", "list", "shop").stdout
    assert "secret" not in shown + gateway("sources", "list", "shop", "--json").stdout
    said = gateway("pull", "shop", source).stdout
    assert "not changed" in said and f"gateway feeds shop {source}" in said


def test_a_feed_of_another_site_is_out_of_reach(
    gateway: Gateway, client: FlaskClient, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a")))
    other = answer(gateway("sites", "create", "other", "--json"))
    for words in (("feeds", "other", source), ("pull", "other", source)):
        assert "has no feed" in gateway(*words, status=1).stderr
    assert "has no feed" in gateway("pull", "shop", shop.segment.public_id, status=1).stderr
    headers = {"X-API-KEY": other["secret_key"]}
    assert client.get("/admin/v1/feeds", headers=headers).json == {"feeds": []}
    path = f"/admin/v1/feeds/{source}/pull"
    assert client.post(path, headers=headers).status_code == 404
    assert server.asked == []


def test_the_api_shows_feeds_and_asks_for_a_pull(
    gateway: Gateway, client: FlaskClient, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a")))
    pulled(gateway, source)
    headers = {"X-API-KEY": shop.secret_key}
    [told] = client.get("/admin/v1/feeds", headers=headers).json["feeds"]  # type: ignore[index]
    assert (told["source"], told["status"], told["products"]) == (source, "done", 1)
    assert told["runs"][0]["counts"]["applied"] == 1
    with shop.pool.connection() as connection:
        assert sync.due(connection, datetime.now(UTC)) == []
        answered = client.post(f"/admin/v1/feeds/{source}/pull", headers=headers)
        assert answered.status_code == 202
        assert sync.due(connection, datetime.now(UTC)) == [shop.site.site_id]


def test_doctor_learns_which_feeds_are_late(gateway: Gateway, shop: Shop, server: Server) -> None:
    source = made(gateway, f"{server.url}/missing", "--every", "1h")
    _pull(shop, source)
    with shop.pool.connection() as connection:
        now = datetime.now(UTC)
        [soon] = sync.health(connection, now)
        [late] = sync.health(connection, now + timedelta(hours=3))
    assert (soon.site, soon.source, soon.failures, soon.late) == ("shop", source, 1, False)
    assert soon.error and "404" in soon.error
    assert late.late


# real and odd files -----------------------------------------------------------------------------

_values = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "1 EUR",
            "-1",
            "NaN",
            "1e999",
            "2026-01-01",
            "2026-01-01/2026-02-01",
            "in stock",
            "<b",
            "&#0;",
        ]
    ),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
_names = st.sampled_from(
    ["id", "title", "price", "sale_price", "sale_price_effective_date", "availability", "link",
     "product_type", "tags", "custom_attributes", "updated_at", "expiration_date", "rating", "x"]
)  # fmt: skip


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.dictionaries(_names, _values, max_size=8), min_size=1, max_size=5))
def test_no_item_is_an_error_of_ours(
    gateway: Gateway, shop: Shop, server: Server, found: list[dict[str, Any]]
) -> None:
    body = "\n".join(json.dumps(item) for item in [*found, {"id": "sound"}])
    url = server.put("/feed.jsonl", '{"id": "first"}\n' + body)
    with shop.pool.connection() as connection:
        made_now = access.create_source(connection, shop.site, "feed", None, {"url": url}).source
        run = sync.pull(connection, shop.pool, made_now)
    assert run.outcome == "done"
    assert run.counts["items"] == len(found) + 2
    assert run.counts["failed"] == 0
    assert {"first", "sound"} <= available(shop)


@pytest.mark.skipif(not CATALOGS.exists(), reason="the shared Shopify catalogs are not here")
@pytest.mark.parametrize(
    "name", ["shopify-partners-apparel.csv", "shopify-partners-jewelery.csv", "mit-apparel-128.csv"]
)
def test_a_product_export_of_shopify_is_a_feed(
    gateway: Gateway, shop: Shop, server: Server, name: str
) -> None:
    source = made(gateway, server.put("/export.csv", (CATALOGS / name).read_bytes()))
    run = pulled(gateway, source)
    assert (run["outcome"], run["counts"]["refused"]) == ("done", 0)
    titles = rows(shop.pool, "select record ->> 'title', original_price from products")
    assert len(titles) == run["counts"]["items"] > 10
    assert all(title and price is not None for title, price in titles)


def test_replaying_every_delivery_of_a_pull_changes_nothing(
    gateway: Gateway, shop: Shop, server: Server
) -> None:
    source = made(gateway, server.put("/feed.csv", a_csv("a", "b", "c")))
    pulled(gateway, source)
    server.put("/feed.csv", a_csv("a", "b", price="2 EUR"))
    pulled(gateway, source)
    state = "select product_id, record, available from products order by product_id"
    before = rows(shop.pool, state)
    for (delivery_id,) in rows(shop.pool, "select delivery_id from deliveries"):
        ingest.replay(shop.pool, source_of(shop, source), delivery_id)
    assert rows(shop.pool, state) == before
