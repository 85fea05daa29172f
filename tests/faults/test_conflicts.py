"""Another session in the way: deadlocks are tried again with one effect, slow answers fall back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from gateway import access, ingest
from ranking.answer import FALLBACK, FALLBACKS, WITHOUT_FALLBACK, Answer
from ranking.strategies import STRATEGIES
from schemas import database
from tests.builders import deliver, one, rows, track
from tests.conftest import Shop
from tests.journeys.gateway_process import until
from tests.ranking.market import Market, open_market

pytestmark = pytest.mark.usefixtures("environment")

WAITING = (
    "select pid, query_start from pg_stat_activity "
    "where datname = current_database() and wait_event_type = 'Lock' order by query_start"
)
TRIES = 5


# deadlocks --------------------------------------------------------------------------------------


def test_a_delivery_that_lost_a_deadlock_is_applied_once(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, provisional("first", "Mug"))
    before = deadlocks(shop)
    for number in range(TRIES):
        events = one(shop.pool, "select count(*) from events")
        receipt = into_a_deadlock(shop, provisional(f"try {number}", f"Mug {number}"))
        if receipt is not None:
            break
    else:
        pytest.fail("the other session lost every time")
    until(lambda: deadlocks(shop) > before, what="a deadlock in Postgres's own count")
    assert receipt.outcome == "applied"
    assert one(shop.pool, "select count(*) from events") == events + 1
    kept = rows(
        shop.pool,
        "select outcome, applied from deliveries where delivery_id = %s",
        receipt.delivery_id,
    )
    assert kept == [("applied", receipt.applied)]
    assert one(shop.pool, "select record->>'title' from products") == f"Mug {number}"
    assert one(shop.pool, "select count(*) from deliveries where failed > 0") == 0


def deadlocks(shop: Shop) -> int:
    counted = "select deadlocks from pg_stat_database where datname = current_database()"
    return int(one(shop.pool, counted))


def provisional(name: str, title: str) -> dict[str, object]:
    """An event of one visitor that tells a product anew."""
    return track(messageId=name, properties={"product_id": "p1", "name": title, "price": 3})


def into_a_deadlock(shop: Shop, message: dict[str, object]) -> ingest.Receipt | None:
    """Hold the visitor, and ask for the product that a delivery holds which waits for the visitor.

    Postgres ends whoever looks first. Returns the receipt where that was the delivery; None where
    a busy machine made it the other session, which then asks too late.
    """
    with psycopg.connect(shop.pool.conninfo) as other, ThreadPoolExecutor(1) as thread:
        other.execute("set deadlock_timeout = '1min'")
        other.execute("set lock_timeout = '3s'")
        other.execute("update actors set version = version + 1")
        waiting: Future[ingest.Receipt] = thread.submit(deliver, shop.pool, shop.segment, message)
        until(lambda: rows(shop.pool, WAITING), what="a wait")
        try:
            other.execute("update products set rating = 3")
        except psycopg.errors.LockNotAvailable:
            other.rollback()
            with contextlib.suppress(psycopg.OperationalError):
                waiting.result()
            return None
        other.commit()
        return waiting.result()


# slow answers -----------------------------------------------------------------------------------


@pytest.fixture
def slow(clean_database: str) -> Iterator[Market]:
    """A market on a connection that waits a second for a statement."""
    access.forget()
    with closing(database.connect(clean_database)) as setup:
        market = open_market(setup)
        market.stock("red mug", "red hat", "blue mug", "green bag")
        market.popular("green bag", "red hat")
        market.happens("v1", ("product_detail_page_view", "red mug"))
        options = "-c statement_timeout=1000"
        with closing(database.connect(clean_database, options=options)) as impatient:
            market.connection = impatient
            yield market


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - WITHOUT_FALLBACK))
def test_where_a_statement_takes_too_long_another_strategy_answers_and_says_so(
    slow: Market, strategy: str
) -> None:
    answered = asked_while_one_statement_waits(slow, strategy)
    assert answered.fallback == FALLBACKS.get(strategy, FALLBACK)
    assert answered.products
    assert answered.miso_id is not None
    assert slow.ask("v1", strategy, **ASKED).fallback is None


ASKED = {"anchors": ["red mug"], "query": "mug"}


def asked_while_one_statement_waits(market: Market, strategy: str) -> Answer:
    """Nobody can read products until the first statement that wants to was given up."""
    url = market.connection.info.dsn
    with psycopg.connect(url) as blocker, closing(database.connect(url)) as watcher:
        blocker.execute("lock table products in access exclusive mode")
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(market.ask, "v1", strategy, **ASKED)
            first: list[tuple[object, ...]] = []

            def gave_up() -> bool:
                nonlocal first
                found = watcher.execute(WAITING).fetchall()
                first = first or found
                return bool(first) and (waiting.done() or (found != first and found != []))

            until(gave_up, 10, what="the second statement")
            blocker.rollback()
            return waiting.result()


@pytest.mark.parametrize("strategy", sorted(WITHOUT_FALLBACK))
def test_what_nothing_can_stand_in_for_is_an_error(slow: Market, strategy: str) -> None:
    with psycopg.connect(slow.connection.info.dsn) as blocker:
        blocker.execute("lock table products in access exclusive mode")
        with pytest.raises(psycopg.errors.QueryCanceled):
            slow.ask("v1", strategy, **ASKED)
