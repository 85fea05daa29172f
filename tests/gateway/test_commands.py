"""The command line, on a real database: what it makes, prints and says when it cannot."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from gateway import access
from gateway.__main__ import cli
from gateway.commands import console
from gateway.commands.access import CONNECT
from ranking.catalog import embeddings
from tests.builders import ago, deliver, identify, track
from tests.conftest import Shop
from tests.ranking.market import Words

Gateway = Callable[..., Result]


@pytest.fixture
def gateway(environment: dict[str, str]) -> Gateway:
    """`gateway("sites", "create", "shop")`: runs a command and expects `status`."""

    def run(*words: str, status: int = 0) -> Result:
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == status, result.output
        return result

    return run


def answer(result: Result) -> Any:
    return json.loads(result.stdout)


# sites, keys, sources ----------------------------------------------------------------------------


def test_a_migrated_database_has_nothing_to_apply(gateway: Gateway) -> None:
    assert answer(gateway("migrate", "--json")) == {"applied": []}
    assert "Nothing to apply" in gateway("migrate").stdout


def test_a_site_is_made_with_its_keys(gateway: Gateway, client: FlaskClient) -> None:
    made = answer(gateway("sites", "create", "books", "--json"))
    assert set(made) == {"site", "secret_key", "publishable_key"}
    headers = {"X-API-KEY": made["secret_key"]}
    assert client.get("/admin/v1/ledger", headers=headers).status_code == 200
    assert answer(gateway("sites", "list", "--json")) == {"sites": ["books"]}


def test_a_key_asks_as_fast_as_it_was_made_or_limited_to(
    gateway: Gateway, client: FlaskClient, shop: Shop
) -> None:
    made = answer(gateway("keys", "create", "shop", "--requests-per-second", "7", "--json"))

    def allowed() -> str:
        answered = client.get("/admin/v1/ledger", headers={"X-API-KEY": made["key"]})
        return answered.headers["RateLimit-Limit"]

    assert allowed() == "7"
    number = str(answer(gateway("keys", "list", "shop", "--json"))["keys"][-1]["key_id"])
    gateway("keys", "limit", "shop", number, "--requests-per-second", "9")
    assert allowed() == "9"
    fresh = answer(gateway("keys", "rotate", "shop", number, "--json"))["key"]
    answered = client.get("/admin/v1/ledger", headers={"X-API-KEY": fresh})
    assert answered.headers["RateLimit-Limit"] == "9"
    gateway("keys", "limit", "shop", number, "--json")
    assert allowed() == "5000"
    assert "no key 99999" in gateway("keys", "limit", "shop", "99999", status=1).output


def test_the_words_say_what_the_json_says(gateway: Gateway) -> None:
    said = gateway("sites", "create", "books").stdout
    assert "sk_" in said and "pk_" in said and "books" in said


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["sites", "create", "shop"], 1, "already"),
        (["sites", "create", "a b"], 1, "letters"),
        (["sources", "create", "shpo", "segment"], 1, "there are: shop"),
        (
            ["sources", "create", "shop", "segmnt"],
            1,
            "there are: feed, segment, shopify, wordpress",
        ),
        (["sources", "create", "shop", "segment", "--secret", ""], 1, "empty"),
        (["sources", "rotate", "shop", "nope"], 1, "no source"),
        (["keys", "revoke", "shop", "999999"], 1, "no key"),
        (["keys", "list", "nope"], 1, "there are: shop"),
        (["keys", "create", "shop", "--scope", "everything"], 1, "everything"),
        (["deliveries", "nope"], 1, "there are: shop"),
        (["deliveries", "shop", str(uuid4())], 1, "no delivery"),
        (["replay", "shop", str(uuid4())], 1, "no delivery"),
        (["events", "shop", "--type", "checkout"], 1, "purchase"),
        (["visitors", "shop", "nobody"], 1, "nobody"),
        (["replay", "shop"], 2, "--since"),
        (["deliveries", "shop", "x"], 2, "UUID"),
        (["ledger", "shop", "--since", "yesterday"], 2, "ISO 8601"),
        (["sites", "create"], 2, "NAME"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    gateway: Gateway, shop: Shop, words: list[str], status: int, sentence: str
) -> None:
    result = gateway(*words, status=status)
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_without_postgres_a_command_says_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@/x?host=/nonexistent")
    assert "Postgres does not answer" in gateway("sites", "list", status=1).stderr


def test_keys_are_made_replaced_and_revoked(gateway: Gateway, shop: Shop) -> None:
    made = answer(gateway("keys", "create", "shop", "--scope", "admin:read", "--json"))
    rotated = answer(gateway("keys", "rotate", "shop", "--json"))
    assert made["key"].startswith("sk_") and rotated["key"] != made["key"]
    gateway("keys", "revoke", "shop", str(rotated["old_key_id"]))
    rows = answer(gateway("keys", "list", "shop", "--json"))["keys"]
    assert [row["expired"] for row in rows if row["key_id"] == rotated["old_key_id"]] == [True]
    assert shop.secret_key not in gateway("keys", "list", "shop").stdout
    assert shop.publishable_key in gateway("keys", "list", "shop").stdout


def test_a_source_says_where_to_send(gateway: Gateway, shop: Shop) -> None:
    made = answer(gateway("sources", "create", "shop", "segment", "--secret", "geheim", "--json"))
    assert made["url"] == f"https://attune.example/webhooks/segment/{made['source']}"
    assert made["secret"] == "geheim"
    assert made["write_key"].startswith("wk_")


def test_a_segment_source_says_how_clients_are_pointed_here(gateway: Gateway, shop: Shop) -> None:
    said = gateway("sources", "create", "shop", "segment").stdout
    key = re.search(r"wk_[0-9a-f]{40}", said)
    assert key
    assert f"writeKey: '{key[0]}', host: 'https://attune.example'" in said
    assert f"analytics.write_key, analytics.host = '{key[0]}', 'https://attune.example'" in said
    assert f"{{ writeKey: '{key[0]}', cdnURL: 'https://attune.example' }}" in said
    assert "apiHost: 'attune.example/v1', protocol: 'https'" in said


def test_a_setting_that_means_nothing_is_not_set(gateway: Gateway, shop: Shop) -> None:
    source = shop.segment.public_id
    wrong = '{"Artikel gesehen": "Produkt Viewed"}'
    refused = gateway("sources", "set", "shop", source, "events", wrong, status=1)
    assert "did you mean 'Product Viewed'?" in refused.stderr
    right = wrong.replace("Produkt", "Product")
    told = answer(gateway("sources", "set", "shop", source, "events", right, "--json"))
    assert told["settings"] == {"events": {"Artikel gesehen": "Product Viewed"}}


@pytest.mark.parametrize("connector", CONNECT)
def test_the_printed_curl_works_when_pasted(
    gateway: Gateway, client: FlaskClient, shop: Shop, connector: str
) -> None:
    said = gateway("sources", "create", "shop", connector).stdout
    command = said[said.index("curl ") :].partition("\n\n")[0].replace("\\\n", " ")
    words = shlex.split(command)
    headers = dict(
        word.split(": ", 1) for before, word in itertools.pairwise(words) if before == "-H"
    )
    path = words[words.index("POST") + 1].removeprefix("https://attune.example")
    sent = client.post(path, data=words[words.index("-d") + 1], headers=headers)
    assert sent.status_code == 200, sent.text
    assert sent.json and (sent.json["received"], sent.json["applied"]) == (1, 1)
    assert len(answer(gateway("events", "shop", "--json"))["events"]) == (connector != "wordpress")
    assert words[words.index("-w") + 1] == r"\n"  # the prompt comes on a line of its own


def test_shopifys_request_is_to_be_tried_before_its_secret_is_replaced(
    gateway: Gateway, shop: Shop
) -> None:
    said = gateway("sources", "create", "shop", "shopify").stdout
    assert said.index("Try it now") < said.index("sources rotate")


def test_a_shopify_source_says_where_its_pixel_sends(
    gateway: Gateway, client: FlaskClient, shop: Shop
) -> None:
    made = answer(gateway("sources", "create", "shop", "shopify", "--json"))
    assert made["collect_url"].endswith(f"{made['source']}?api_key={shop.publishable_key}")
    path = made["collect_url"].removeprefix("https://attune.example")
    event = {"name": "product_viewed", "clientId": "c", "data": {"productVariant": {"id": "1"}}}
    assert client.post(path, json=event).json["message"] == "1 applied"  # type: ignore[index]
    assert "/collect/shopify/" in gateway("sources", "create", "shop", "shopify").stdout


@pytest.mark.parametrize(
    ("connector", "name", "value", "kept"),
    [
        ("shopify", "shop", "https://Acme.myshopify.com/", "acme.myshopify.com"),
        ("shopify", "shop", "acme.myshopify.com", "acme.myshopify.com"),
        ("shopify", "shop_url", "https://shop.example", "https://shop.example"),
        ("shopify", "untracked_stock", "true", True),
        ("wordpress", "currency", "eur", "EUR"),
    ],
)
def test_a_setting_is_kept_as_it_is_looked_up(
    gateway: Gateway, shop: Shop, connector: str, name: str, value: str, kept: Any
) -> None:
    source = answer(gateway("sources", "create", "shop", connector, "--json"))["source"]
    told = answer(gateway("sources", "set", "shop", source, name, value, "--json"))
    assert told["settings"] == {name: kept}
    told = answer(gateway("sources", "set", "shop", source, name, "null", "--json"))
    assert told["settings"] == {}


@pytest.mark.parametrize(
    ("connector", "name", "value", "sentence"),
    [
        ("shopify", "shop", "acme", "write acme.myshopify.com"),
        ("shopify", "shop", "shop.example", "write NAME.myshopify.com"),
        ("shopify", "shop", "17", "write NAME.myshopify.com"),
        ("shopify", "shop_url", "shop.example", "https://shop.example"),
        ("shopify", "untracked_stock", "yes", "true or false"),
        ("wordpress", "currency", "Euro", "such as EUR"),
        ("wordpress", "currency", "€", "such as EUR"),
    ],
)
def test_a_setting_that_would_turn_a_check_off_is_refused(
    gateway: Gateway, shop: Shop, connector: str, name: str, value: str, sentence: str
) -> None:
    source = answer(gateway("sources", "create", "shop", connector, "--json"))["source"]
    refused = gateway("sources", "set", "shop", source, name, value, status=1)
    assert sentence in refused.stderr


def test_of_a_mapping_the_settings_name_the_version(
    gateway: Gateway, shop: Shop, tmp_path: Path
) -> None:
    source, file = shop.segment.public_id, tmp_path / "mapping.json"
    file.write_text('{"rules": [{"set": {"/event": "artikel"}}]}')
    gateway("mappings", "set", "shop", source, str(file))
    said = gateway("sources", "set", "shop", source, "product_id", "sku").stdout
    assert "mapping=version 1, see `mappings show`, product_id=sku" in said
    assert "artikel" not in said


def test_without_an_overlap_the_old_secret_works_no_more(gateway: Gateway, shop: Shop) -> None:
    said = gateway("sources", "rotate", "shop", shop.segment.public_id, "--overlap", "0").stdout
    assert "The old one works no more." in said
    said = gateway("sources", "rotate", "shop", shop.segment.public_id, "--overlap", "2").stdout
    assert "The old one works for 2 hours more." in said


def test_a_rotated_source_secret_is_shown(gateway: Gateway, shop: Shop) -> None:
    rotated = answer(gateway("sources", "rotate", "shop", shop.segment.public_id, "--json"))
    assert rotated["source"] == shop.segment.public_id and rotated["secret"]
    listed = answer(gateway("sources", "list", "shop", "--json"))["sources"]
    assert [row["connector"] for row in listed] == ["api", "segment"]
    assert rotated["secret"] not in gateway("sources", "list", "shop").stdout


def test_sources_are_listed_with_their_settings(gateway: Gateway, shop: Shop) -> None:
    source = shop.segment.public_id
    gateway("sources", "set", "shop", source, "product_id", "sku")
    gateway("sources", "set", "shop", source, "consent", '["ads"]')
    heading, *lines = gateway("sources", "list", "shop").stdout.splitlines()
    assert heading.split() == ["source", "connector", "created_at", "url", "settings"]
    assert lines[-1].startswith(source)
    assert lines[-1].endswith('consent=["ads"], product_id=sku')
    [_, listed] = answer(gateway("sources", "list", "shop", "--json"))["sources"]
    assert (listed["source"], listed["settings"]) == (
        source, {"consent": ["ads"], "product_id": "sku"}
    )  # fmt: skip


# looking inside ----------------------------------------------------------------------------------


def test_a_delivery_is_one_line_with_reason_and_what_it_became(
    gateway: Gateway, shop: Shop
) -> None:
    deliver(shop.pool, shop.segment, [track(), track("Product Added"), 17])
    [line] = gateway("deliveries", "shop").stdout.splitlines()
    assert "2 applied, 1 refused" in line
    assert "product_detail_page_view, add_to_cart" in line
    assert "object" in line


def test_a_delivery_is_shown_raw_beside_mapped(gateway: Gateway, shop: Shop) -> None:
    receipt = deliver(shop.pool, shop.segment, track("[bold]Product Added", product="p7"))
    said = gateway("deliveries", "shop", str(receipt.delivery_id)).stdout
    assert "raw" in said and "mapped" in said and "[bold]Product Added" in said
    shown = answer(gateway("deliveries", "shop", str(receipt.delivery_id), "--json"))
    assert shown["records"][0]["outcome"] == "applied"


def test_the_tail_shows_what_comes(environment: dict[str, str], shop: Shop) -> None:
    first = deliver(shop.pool, shop.segment, track())
    words = ["deliveries", "shop", "--follow", "--json", "--since", ago(minutes=1)]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *words],
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        text=True,
    ) as tail:
        assert tail.stdout
        try:
            assert json.loads(tail.stdout.readline())["delivery_id"] == str(first.delivery_id)
            second = deliver(shop.pool, shop.segment, [track(), 17])
            line = json.loads(tail.stdout.readline())
        finally:
            tail.kill()
    assert line["delivery_id"] == str(second.delivery_id)
    assert line["mapped_to"] == "product_detail_page_view"
    assert line["reason"]


def test_a_replay_says_what_became_of_each(gateway: Gateway, shop: Shop) -> None:
    whole = deliver(shop.pool, shop.segment, track())
    left_out = deliver(shop.pool, shop.segment, [track(), 17])
    since = answer(gateway("replay", "shop", "--since", ago(hours=1), "--json"))["replayed"]
    assert [each["delivery_id"] for each in since] == [str(left_out.delivery_id)]
    single = answer(gateway("replay", "shop", str(whole.delivery_id), "--json"))["replayed"]
    assert single[0]["received"] == 1
    assert str(whole.delivery_id) in gateway("replay", "shop", str(whole.delivery_id)).stdout


def test_events_and_visitors_are_shown(gateway: Gateway, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [track(anonymousId="phone"), identify("u1", "phone")])
    deliver(shop.pool, shop.segment, track(anonymousId="else"))
    assert len(answer(gateway("events", "shop", "--visitor", "u1", "--json"))["events"]) == 1
    assert "product_detail_page_view" in gateway("events", "shop").stdout
    assert "anonymous phone owned user u1" in gateway("visitors", "shop", "u1").stdout
    assert answer(gateway("visitors", "shop", "phone", "--json"))["edges"]


MANY = [{"product_id": f"product-{n}"} for n in range(30)]


@pytest.mark.parametrize("columns", ["100", None])
def test_what_an_event_is_about_is_readable_in_any_width(
    gateway: Gateway, shop: Shop, monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    listed = track("Product List Viewed", properties={"products": MANY}, anonymousId="a" * 36)
    searched = track("Products Searched", properties={"query": "warm socks"})
    deliver(shop.pool, shop.segment, [listed, searched, track("Loyalty Joined")])
    said = gateway("events", "shop").stdout
    assert max(map(len, said.splitlines())) <= int(columns or 200)
    whole = " ".join(said.split())
    assert "and 27" in whole and "category_page_view" in whole
    assert "warm socks" in whole and "Loyalty" in whole
    assert "a" * (36 if columns is None else 12) in whole and "…" not in whole
    assert ("event_id" in said) is (columns is None)


@pytest.mark.parametrize("columns", ["20", "100", "300"])
def test_a_table_never_cuts_a_key(
    gateway: Gateway, shop: Shop, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    said = gateway("keys", "list", "shop").stdout
    assert shop.publishable_key in said and shop.write_key in said


def test_tables_fit_a_terminal_of_100_columns(
    gateway: Gateway, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    order = {"order_id": "o1", "revenue": 20.5, "currency": "EUR", "products": MANY[:2]}
    deliver(shop.pool, shop.segment, track("Order Completed", properties=order))
    receipt = deliver(shop.pool, shop.segment, [track(), 17])
    for words in (
        ["keys", "list", "shop"],
        ["orders", "shop"],
        ["orders", "shop", "o1"],
        ["events", "shop"],
        ["visitors", "shop", "a1"],
        ["ledger", "shop"],
        ["deliveries", "shop", str(receipt.delivery_id)],
    ):
        lines = gateway(*words).stdout.splitlines()
        assert [line for line in lines if len(line.rstrip()) > 100 and "{" not in line] == []


def test_orders_say_in_words_what_their_columns_count(gateway: Gateway, shop: Shop) -> None:
    order = {"order_id": "o1", "revenue": 20.5, "currency": "EUR", "products": MANY[:2]}
    deliver(shop.pool, shop.segment, track("Order Completed", properties=order))
    heading, line = gateway("orders", "shop").stdout.splitlines()
    assert "a purchase" in heading and "revenue left" in heading
    assert "yes" in line and "20.50 EUR" in line
    shown = gateway("orders", "shop", "o1").stdout
    assert "20.50 EUR left of it" in shown
    assert not re.search(r"\d{4}-\d\d-\d\dT", shown)  # instants have one form


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [(20.5, "EUR", "20.50 EUR"), (1200, "JPY", "1,200 JPY"), (1, "KWD", "1.000 KWD"),
     (3, None, "3.00"), (None, "EUR", "")],
)  # fmt: skip
def test_money_has_its_currencys_decimals(
    amount: float | None, currency: str | None, written: str
) -> None:
    assert console.money(amount, currency) == written


def test_deliveries_come_newest_first_as_in_json(gateway: Gateway, shop: Shop) -> None:
    made = [deliver(shop.pool, shop.segment, track(product=f"p{n}")) for n in range(3)]
    ids = [str(receipt.delivery_id) for receipt in reversed(made)]
    lines = gateway("deliveries", "shop").stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ids
    listed = answer(gateway("deliveries", "shop", "--json"))["deliveries"]
    assert [row["delivery_id"] for row in listed] == ids


def test_of_several_reasons_the_first_is_shown_with_how_many_more(
    gateway: Gateway, shop: Shop
) -> None:
    bad = [17, 18, {"type": "track"}, {"type": "novelty"}]
    receipt = deliver(shop.pool, shop.segment, bad)
    [line] = gateway("deliveries", "shop").stdout.splitlines()
    assert "object.; and 2 more" in line
    said = gateway("replay", "shop", str(receipt.delivery_id)).stdout
    assert "and 2 more" in " ".join(said.split())


def test_an_erased_id_says_when_and_a_second_time_nothing_is_left(
    gateway: Gateway, shop: Shop
) -> None:
    deliver(shop.pool, shop.segment, track())
    assert "events" in gateway("erase", "shop", "a1", "--yes").stdout
    said = gateway("visitors", "shop", "a1").stdout
    assert "erased at 2" in said and "interest" not in said
    assert "Nothing was left of 'a1'" in gateway("erase", "shop", "a1", "--yes").stdout
    assert "Nothing was left of 'nobody'" in gateway("erase", "shop", "nobody", "--yes").stdout


def test_no_fact_names_none(gateway: Gateway, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [track(), track(userId="u1", anonymousId=None)])
    assert "One person now" in gateway("merge", "shop", "u1", "a1").stdout
    assert "already" in gateway("merge", "shop", "u1", "a1").stdout
    assert "that is one id" in gateway("merge", "shop", "u1", "u1", status=1).stderr
    said = gateway("visitors", "shop", "u1").stdout
    assert "anonymous a1 alias user u1" in said and "None" not in said


def test_what_a_platform_asked_is_said_in_words(gateway: Gateway, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        source = access.create_source(connection, shop.site, "shopify").source
    asked = {
        "shop_domain": "a.myshopify.com",
        "customer": {"id": 7},
        "orders_requested": [5],
        "data_request": {"id": 99},
    }
    receipt = deliver(shop.pool, source, asked, "customers/data_request")
    said = gateway("requests", "shop").stdout
    assert "user 7, order 5" in said and "{" not in said
    assert "`export SITE ID`" in said
    done = gateway("requests", "shop", "--done", str(receipt.delivery_id)).stdout
    assert done.splitlines() == [f"Noted: what delivery {receipt.delivery_id} asked for is done."]
    assert "`export SITE ID`" not in gateway("requests", "shop").stdout


def test_a_fact_about_nobody_is_not_shown(gateway: Gateway, shop: Shop) -> None:
    events = [track(anonymousId="a1"), track(userId="u1", anonymousId=None)]
    deliver(shop.pool, shop.segment, events)
    gateway("merge", "shop", "u1", "a1")
    said = gateway("visitors", "shop", "u1").stdout
    assert said.count(" since ") == 1 and "anonymous a1 alias user u1" in said


def test_an_encoded_catalog_says_that_it_is(gateway: Gateway, shop: Shop) -> None:
    products = [{"product_id": f"p{n}", "title": f"Mug {n}"} for n in range(3)]
    deliver(shop.pool, shop.api, {"data": products}, "products")
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    assert "all 3 products have vectors" in gateway("encode", "shop").stdout


def test_the_list_of_commands_cuts_no_sentence(gateway: Gateway) -> None:
    for words in ([], ["keys"], ["sources"], ["mappings"]):
        assert "..." not in gateway(*words, "--help").stdout.partition("Commands:")[2]


def test_the_ledger_is_shown(gateway: Gateway, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [track(), 17])
    sums = answer(gateway("ledger", "shop", "--minutes", "5", "--json"))
    assert (sums["total"]["received"], sums["total"]["refused"]) == (2, 1)
    assert len(sums["minutes"]) == 1
    assert shop.segment.public_id in gateway("ledger", "shop").stdout


def test_the_ledger_says_how_products_may_be_named(gateway: Gateway, shop: Shop) -> None:
    deliver(shop.pool, shop.segment, track(properties={"artikel": "p1"}))
    said = gateway("ledger", "shop").stdout
    assert f"sources set shop {shop.segment.public_id} product_id" in said
