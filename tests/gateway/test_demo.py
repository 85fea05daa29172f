"""The demo: its data, its loader against a listening gateway, its page."""

from __future__ import annotations

import gzip
import json
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from rq import Queue
from rq.serializers import JSONSerializer
from werkzeug.serving import make_server

from demo.make import Categories
from gateway import access, jobs
from gateway.__main__ import cli
from gateway.commands import demo
from gateway.http.demo import FILES
from gateway.settings import Settings
from tests.builders import one, rows
from tests.conftest import Shop

DATA = Path(__file__).parent.parent.parent / "demo"
ORDERS = 30

Load = Callable[..., Result]


def _lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# the data ----------------------------------------------------------------------------------------


def test_the_orders_are_those_of_ninety_days() -> None:
    orders = _lines("orders.jsonl.gz")

    assert len(orders) == 5977
    assert orders[-1]["at"] - orders[0]["at"] < timedelta(days=90).total_seconds()
    assert [one["at"] for one in orders] == sorted(one["at"] for one in orders)


def test_every_order_is_of_products_in_the_catalog() -> None:
    known = {product["product_id"] for product in _lines("products.jsonl.gz")}

    assert {line[0] for order in _lines("orders.jsonl.gz") for line in order["lines"]} <= known


def test_most_products_have_a_category_of_two_levels() -> None:
    products = _lines("products.jsonl.gz")
    with_category = [product for product in products if "categories" in product]

    assert len(with_category) / len(products) >= 0.9
    assert all(len(path) == 2 for product in with_category for path in product["categories"])


@pytest.mark.parametrize(
    ("title", "path"),
    [
        ("Red Retrospot Mug", ["Kitchen & Dining", "Mugs & Cups"]),
        ("Jumbo Bag Dolly Girl Design", ["Bags & Travel", "Shopping & Tote Bags"]),
        ("Set Of 3 Cake Tins Pantry Design", ["Kitchen & Dining", "Baking"]),
        ("White Hanging Heart T-Light Holder", ["Home", "Candles & Holders"]),
        ("Box Of 6 Christmas Cake Decorations", ["Christmas", "Table & Kitchen"]),
        ("Lunch Box With Cutlery Retrospot", ["Kitchen & Dining", "Lunch & Picnic"]),
        ("High Resolution Image", None),
    ],
)
def test_a_title_is_shelved_by_the_thing_it_names(title: str, path: list[str] | None) -> None:
    assert Categories.read(DATA / "categories.txt")(title) == path


# the loader --------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of a few orders in batches of ten, for the speed of these tests."""
    folder = tmp_path / "data"
    folder.mkdir()
    orders = _lines("orders.jsonl.gz")[-ORDERS:]
    bought = {line[0] for order in orders for line in order["lines"]}
    products = [one for one in _lines("products.jsonl.gz") if one["product_id"] in bought]
    for name, records in (("products", products), ("orders", orders)):
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(demo, "DATA", folder)
    monkeypatch.setattr(demo, "ORDERS_A_REQUEST", 10)


@pytest.fixture
def port(app: Flask) -> Iterator[int]:
    """Where the application listens."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()


@pytest.fixture
def load(small: None, port: int, app_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Runs `python -m gateway demo` and expects its exit status."""
    access.forget()
    values = {
        "DATABASE_URL": app_settings.database_url,
        "REDIS_URL": app_settings.redis_url,
        "ATTUNE_HOME": str(app_settings.home),
        "ATTUNE_SECRET_KEY": app_settings.secret_key,
        "PORT": str(port),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    def run(status: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["demo"])
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture
def file(app_settings: Settings) -> Path:
    return app_settings.home / "demo.json"


def _counts(pool: Any) -> tuple[int, int, int]:
    """Deliveries, events, products."""
    return (
        one(pool, "select count(*) from deliveries"),
        one(pool, "select count(*) from events"),
        one(pool, "select count(*) from products"),
    )


def test_orders_go_through_the_webhook_door_signed_and_in_batches(load: Load, pool: Any) -> None:
    """Unsigned they would not be there; the signature itself is not kept."""
    load()

    deliveries = rows(
        pool,
        "select received, applied, headers ? 'X-Signature' from deliveries join sources "
        "using (site_id, source_id) where connector = 'segment'",
    )
    assert deliveries == [(10, 10, False)] * (ORDERS // 10)
    assert rows(pool, "select distinct type::text from events") == [("purchase",)]


def test_lists_are_made_of_the_orders_as_soon_as_they_are_there(
    load: Load, pool: Any, app_settings: Settings
) -> None:
    jobs._hints.cache_clear()
    load()
    with redis.Redis.from_url(app_settings.redis_url) as client:
        waiting = Queue("default", connection=client, serializer=JSONSerializer).get_job_ids()
    jobs._hints.cache_clear()
    site = one(pool, "select site_id from sites where name = 'demo'")
    assert {f"popularity-{site}", f"together-{site}"} <= set(waiting)


def test_the_newest_order_is_the_time_of_the_first_load(load: Load, pool: Any) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    load()

    newest, oldest = rows(pool, "select max(occurred_at), min(occurred_at) from events")[0]
    assert before <= newest <= datetime.now(UTC)
    assert newest - oldest < timedelta(days=90)


def test_a_second_run_sends_nothing_and_says_the_same_keys(load: Load, pool: Any) -> None:
    first = load().stdout
    counts = _counts(pool)

    assert load().stdout in first
    assert _counts(pool) == counts


def test_an_interrupted_load_goes_on_where_it_stopped(load: Load, pool: Any, file: Path) -> None:
    load()
    deliveries, events, products = _counts(pool)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"orders": 20}))

    assert "30 of 30 orders" in load().stdout
    assert _counts(pool) == (deliveries + 1, events, products)


def test_a_lost_file_gets_new_keys_and_counts_nothing_twice(
    load: Load, pool: Any, file: Path
) -> None:
    load()
    before, (_, events, products) = json.loads(file.read_text()), _counts(pool)
    file.unlink()
    load()

    after = json.loads(file.read_text())
    assert after["secret_key"] != before["secret_key"] and after["source"] == before["source"]
    assert _counts(pool)[1:] == (events, products)


def test_the_keys_are_for_their_owner_alone(load: Load, file: Path) -> None:
    load()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_site_that_only_has_the_name_is_left_alone(load: Load, pool: Any) -> None:
    with pool.connection() as connection:
        access.create_site(connection, "demo")

    assert "that the demo did not make" in load(status=1).output
    assert _counts(pool) == (0, 0, 0)


def test_a_gateway_that_never_answers_is_one_sentence(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PATIENCE_S", 0.0)
    monkeypatch.setattr(demo, "PAUSE_S", 0.0)
    monkeypatch.setenv("PORT", "9")

    said = load(status=1).output
    assert "/v1/products did not take it" in said and "Traceback" not in said


# the page ----------------------------------------------------------------------------------------


def test_the_page_of_a_site_holds_its_publishable_key_and_no_other(
    client: FlaskClient, shop: Shop
) -> None:
    answer = client.get("/demo?site=shop")

    assert answer.status_code == 200
    assert shop.publishable_key in answer.text and "sk_" not in answer.text
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_a_revoked_key_is_not_handed_out(client: FlaskClient, shop: Shop) -> None:
    with shop.pool.connection() as connection:
        [key] = [k for k in access.keys(connection, shop.site) if k["kind"] == "publishable"]
        access.revoke_key(connection, shop.site, key["key_id"])
    answer = client.get("/demo?site=shop")

    assert shop.publishable_key not in answer.text
    assert "no publishable key" in answer.text


@pytest.mark.parametrize("query", ["", "?site=other", "?site=%00", "?site=<script>"])
def test_an_unknown_site_is_a_sentence_that_names_no_other(
    client: FlaskClient, shop: Shop, query: str
) -> None:
    answer = client.get(f"/demo{query}")

    assert answer.status_code == 404
    assert "pk_" not in answer.text and "shop" not in answer.text.replace("Demo shop", "")
    assert "<script>" not in answer.text


@pytest.mark.parametrize("name", FILES)
def test_what_the_page_loads_is_served_with_its_type(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/demo/{name}")

    assert answer.status_code == 200
    assert answer.mimetype == ("text/css" if name.endswith(".css") else "text/javascript")


@pytest.mark.parametrize("name", ["__init__.py", "page.html", "..%2f__init__.py", "other.js"])
def test_nothing_else_of_the_folder_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/demo/{name}").status_code == 404


def test_the_page_loads_nothing_from_elsewhere() -> None:
    folder = Path(demo.__file__).parent.parent / "http" / "demo"
    texts = [(folder / name).read_text(encoding="utf-8") for name in (*FILES, "page.html")]

    assert not any('src="http' in text or "@import" in text or "url(http" in text for text in texts)


def test_prices_are_shown_in_the_currency_that_a_source_names(
    client: FlaskClient, shop: Shop
) -> None:
    with shop.pool.connection() as connection:
        access.create_source(connection, shop.site, "segment", settings={"currency": "EUR"})

    assert 'data-currency="EUR"' in client.get("/demo?site=shop").text
