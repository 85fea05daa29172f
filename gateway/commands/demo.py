"""`demo`: the demo site, its catalog by `/v1/products` and its orders through the webhook door.

`run` calls it at each start once the gateway answers. It goes on where it was interrupted, and a
complete demo is left as it is. demo/README.md says what the data are.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway import access, jobs
from gateway.access import Source
from gateway.commands import console
from gateway.settings import Settings
from gateway.telemetry import logs
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError

DATA = Path(__file__).parent.parent.parent / "demo"
SITE = "demo"
CURRENCY = "GBP"
PRODUCTS_A_REQUEST = 500
ORDERS_A_REQUEST = 1000
TIMEOUT_S = 120.0
PATIENCE_S = 300.0
PAUSE_S = 1.0
LISTS = ("popularity", "neighbours", "together")  # tasks that make them of what was loaded
RETRIED = (408, 429, 500, 502, 503, 504)

Record = dict[str, Any]
Told = Callable[[int], None]


class DemoNotLoaded(AttuneError):
    """Something stands in the way of the demo; the gateway itself is not concerned."""


@dataclass(frozen=True)
class Demo:
    """What `demo.json` holds: keys, the source, how far the load has come."""

    site: str
    secret_key: str
    publishable_key: str
    source: str
    webhook_url: str
    webhook_secret: str
    newest_order_at: str
    products: int = 0
    orders: int = 0


@click.command()
def demo() -> None:
    """Make and fill the demo site, or say where it is."""
    with console.sentences() as settings:
        logs.configure(settings.log_level, form=settings.log_format)
        path = settings.home / "demo.json"
        with _connected(settings) as connection:
            state = _state_of(connection, path, settings)
            site_id = access.site(connection, SITE).site_id
        with httpx.Client(
            base_url=settings.local_url, timeout=TIMEOUT_S, trust_env=False
        ) as client:
            if _load(client, path, state):
                for task in LISTS:  # else a first list waits for the clock's next slot
                    jobs.hint(task, site_id)
    _say(settings, state)


def _say(settings: Settings, state: Demo) -> None:
    if settings.log_format == "json":
        logs.log.info("the demo site is complete", url=f"{settings.public_url}/demo")
        return
    click.echo(
        f"The demo site is complete: {settings.public_url}/demo\n"
        f"  secret key:      {state.secret_key}\n"
        f"  publishable key: {state.publishable_key}"
    )


# the site ----------------------------------------------------------------------------------------


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection]:
    options = database.INGEST_OPTIONS
    with database.connect(settings.database_url, options=options) as connection:
        yield connection


def _state_of(connection: Connection, path: Path, settings: Settings) -> Demo:
    return _existing(connection, path, settings.public_url) or _make(connection, path, settings)


def _existing(connection: Connection, path: Path, public_url: str) -> Demo | None:
    """What an earlier run wrote, if this database still knows its keys and source."""
    try:
        state = Demo(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    known = (
        SITE in access.site_names(connection)
        and access.key_for(connection, state.secret_key)
        and access.key_for(connection, state.publishable_key)
        and access.source_by_public_id(connection, state.source)
    )
    return replace(state, webhook_url=_webhook_url(public_url, state.source)) if known else None


def _make(connection: Connection, path: Path, settings: Settings) -> Demo:
    """Make the site, or new keys where only the file was lost.

    The file is there before the commit: keys that nobody was told cannot come to be.
    """
    with connection.transaction():
        if SITE in access.site_names(connection):
            state = _found_again(connection, settings)
        else:
            state = _made(connection, settings)
        _write(path, state)
    return state


def _made(connection: Connection, settings: Settings) -> Demo:
    keys = access.create_site(connection, SITE)
    newest = datetime.now(UTC).replace(microsecond=0).isoformat()
    made = access.create_source(
        connection,
        access.site(connection, SITE),
        "segment",
        settings={"demo": {"newest_order_at": newest}, "currency": CURRENCY},
    )
    return _state(settings, made.source, keys["secret_key"], keys["publishable_key"])


def _found_again(connection: Connection, settings: Settings) -> Demo:
    """The load starts over; every order is a duplicate then, because its time stays the same."""
    site = access.site(connection, SITE)
    source = _demo_source(connection, site)
    if source is None:
        raise DemoNotLoaded(
            f"there is a site named {SITE!r} that the demo did not make: set ATTUNE_DEMO=0"
        )
    secret, publishable = (
        access.create_key(connection, site, k) for k in ("secret", "publishable")
    )
    return _state(settings, source, secret, publishable)


def _demo_source(connection: Connection, site: access.Site) -> Source | None:
    for row in access.sources(connection, site):
        source = access.source_by_id(connection, site.site_id, row["source_id"])
        if source is not None and "demo" in source.settings:
            return source
    return None


def _state(settings: Settings, source: Source, secret_key: str, publishable_key: str) -> Demo:
    return Demo(
        SITE,
        secret_key,
        publishable_key,
        source.public_id,
        _webhook_url(settings.public_url, source.public_id),
        source.secrets[0],
        source.settings["demo"]["newest_order_at"],
    )


def _webhook_url(public_url: str, source: str) -> str:
    return f"{public_url}/webhooks/segment/{source}"


def _write(path: Path, state: Demo) -> None:
    """The file holds a secret key, so it is ours alone; it is there whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
    draft.replace(path)


# the load ----------------------------------------------------------------------------------------


def _load(client: httpx.Client, path: Path, state: Demo) -> bool:
    """Send what has not been acknowledged yet, and remember after each request how far it came.

    False where nothing was left to send.
    """
    products = _read("products.jsonl.gz")
    orders = _messages(
        _read("orders.jsonl.gz"), products, datetime.fromisoformat(state.newest_order_at)
    )
    before = state
    with _progress("products", len(products), state.products) as told:
        for done in _upload(client, state, products):
            state = replace(state, products=done)
            _write(path, state)
            told(done)
    with _progress("orders", len(orders), state.orders) as told:
        for done in _deliver(client, state, orders):
            state = replace(state, orders=done)
            _write(path, state)
            told(done)
    return state != before


def _read(name: str) -> list[Record]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _upload(client: httpx.Client, state: Demo, products: Sequence[Record]) -> Iterator[int]:
    for start in range(state.products, len(products), PRODUCTS_A_REQUEST):
        batch = products[start : start + PRODUCTS_A_REQUEST]
        headers = {"X-API-KEY": state.secret_key}
        _post(client, "/v1/products", json.dumps({"data": batch}).encode(), headers)
        yield start + len(batch)


def _deliver(client: httpx.Client, state: Demo, orders: Sequence[Record]) -> Iterator[int]:
    """As Segment does it: an array of events, of which the first one is signed."""
    for start in range(state.orders, len(orders), ORDERS_A_REQUEST):
        batch = [json.dumps(order) for order in orders[start : start + ORDERS_A_REQUEST]]
        headers = {"X-Signature": _signature(state.webhook_secret, batch[0])}
        body = f"[{','.join(batch)}]".encode()
        answer = _post(client, f"/webhooks/segment/{state.source}", body, headers)
        if answer.get("refused") or answer.get("failed"):
            raise DemoNotLoaded(f"orders from the {start}th on were not applied: {answer}")
        yield start + len(batch)


def _signature(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest()


def _post(client: httpx.Client, path: str, body: bytes, headers: dict[str, str]) -> Record:
    """The answer, once the gateway gives a good one; raises DemoNotLoaded for any other."""
    headers = headers | {"Content-Type": "application/json"}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        response = _tried(client, path, body, headers)
        if isinstance(response, httpx.Response) and response.is_success:
            answer: Record = response.json()
            return answer
        if isinstance(response, httpx.Response) and response.status_code not in RETRIED:
            raise DemoNotLoaded(f"{path} answered {response.status_code}: {_message(response)}")
        if time.monotonic() > deadline:
            raise DemoNotLoaded(f"{path} did not take it within {PATIENCE_S:.0f} s: {response}")
        time.sleep(PAUSE_S)


def _tried(
    client: httpx.Client, path: str, body: bytes, headers: dict[str, str]
) -> httpx.Response | httpx.TransportError:
    try:
        return client.post(path, content=body, headers=headers)
    except httpx.TransportError as error:
        return error


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _tell(sentence: str) -> None:
    if os.environ.get("LOG_FORMAT") == "json":
        logs.log.info(sentence)
    else:
        click.echo(sentence)


@contextmanager
def _progress(what: str, total: int, done: int) -> Iterator[Told]:
    """A bar in a terminal, else a line for each request."""
    if done == total or not Console().is_terminal:
        yield lambda now: _tell(f"demo: {now:,} of {total:,} {what}")
        return
    columns = (TextColumn("demo {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda now: bar.update(task, completed=now)


# orders as Segment tells them --------------------------------------------------------------------


def _messages(
    orders: Sequence[Record], products: Sequence[Record], newest_at: datetime
) -> list[Record]:
    """One `Order Completed` an order, all shifted by the same time."""
    prices = {product["product_id"]: product["sale_price"] for product in products}
    shift = newest_at - _instant(orders[-1]["at"])
    return [_order_completed(order, prices, shift) for order in orders]


def _order_completed(order: Record, prices: dict[str, float], shift: timedelta) -> Record:
    lines = [{"product_id": p, "quantity": quantity} for p, quantity in order["lines"]]
    who = (
        {"userId": order["customer"]}
        if "customer" in order
        else {"anonymousId": f"anon-{order['id']}"}
    )
    revenue = sum(prices.get(line["product_id"], 0) * line["quantity"] for line in lines)
    return who | {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"online-retail-{order['id']}",
        "timestamp": (_instant(order["at"]) + shift).isoformat(),
        "properties": {
            "order_id": order["id"],
            "revenue": round(revenue, 2),
            "currency": CURRENCY,
            "products": lines,
        },
    }


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


COMMANDS: list[click.Command] = [demo]
