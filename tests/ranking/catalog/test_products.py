"""What of all that is said about a product counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from random import Random
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.catalog import products
from schemas import database
from schemas.database import Connection
from tests.ranking.catalog.catalogs import NOW, Catalog, a_product, open_catalog


def test_an_upload_replaces_the_whole_record(catalog: Catalog) -> None:
    catalog.upload(a_product(color="red", ago=2))
    catalog.upload(a_product(size="L", ago=1))
    assert catalog.get() == {"product_id": "p1", "title": "The p1", "size": "L"}


def test_an_older_upload_never_wins(catalog: Catalog) -> None:
    catalog.upload(a_product(title="new", ago=1))
    assert catalog.upload(a_product(title="old", ago=2)).older == 1
    assert catalog.get()["title"] == "new"


def test_the_senders_updated_at_is_its_instant(catalog: Catalog) -> None:
    catalog.upload(a_product(title="new", updated_at="2024-02-01"))
    catalog.upload(a_product(title="old", updated_at="2024-01-31T23:59:59Z"))
    assert catalog.get()["title"] == "new"


def test_an_upload_without_a_time_is_as_of_its_receipt(catalog: Catalog) -> None:
    catalog.upload(a_product(title="later"), at=NOW)
    catalog.upload(a_product(title="earlier"), at=NOW - timedelta(seconds=1))
    assert catalog.get()["title"] == "later"


def test_an_instant_in_the_future_locks_nobody_out(catalog: Catalog) -> None:
    catalog.upload(a_product(title="typo", updated_at="2999-01-01"), at=NOW - timedelta(minutes=1))
    catalog.upload(a_product(title="mended"), at=NOW)
    assert catalog.get()["title"] == "mended"


def test_an_unreadable_updated_at_counts_as_absent(catalog: Catalog) -> None:
    assert catalog.upload(a_product(updated_at="yesterday")).applied == 1


def test_the_same_product_twice_in_one_upload_counts_once(catalog: Catalog) -> None:
    stored = catalog.upload(a_product(title="a", ago=1), a_product(title="b", ago=2))
    assert (stored.applied, stored.older) == (1, 1)
    assert catalog.get()["title"] == "a"


# deletion ---------------------------------------------------------------------------------------


def test_a_deleted_product_is_gone(catalog: Catalog) -> None:
    catalog.upload(a_product(ago=1))
    assert catalog.remove("p1") == 1
    assert catalog.get() is None
    assert products.ids(catalog.connection, catalog.site_id) == []


def test_an_upload_from_before_the_deletion_does_not_resurrect(catalog: Catalog) -> None:
    catalog.remove("p1", at=NOW)
    catalog.upload(a_product(ago=1))
    assert catalog.get() is None


def test_an_upload_from_after_the_deletion_does(catalog: Catalog) -> None:
    catalog.upload(a_product(ago=9))
    catalog.remove("p1", at=NOW - timedelta(minutes=5))
    catalog.upload(a_product(ago=1))
    assert catalog.get() is not None
    assert catalog.encode() == 1


def test_a_deletion_takes_the_vectors_along(catalog: Catalog) -> None:
    catalog.upload(a_product("p1", ago=1), a_product("p2"))
    catalog.encode()
    catalog.remove("p1")
    assert list(catalog.served()) == ["p2"]
    assert catalog.rows("select count(*) from {texts}") == [(1,)]


def test_deleting_what_is_not_there_counts_nothing(catalog: Catalog) -> None:
    assert catalog.remove("p1") == 0


# provisional products ---------------------------------------------------------------------------


def test_an_event_makes_a_provisional_product(catalog: Catalog) -> None:
    assert catalog.upload(a_product(provisional=True)).to_encode == 1
    assert catalog.get() is not None


def test_any_upload_overwrites_a_provisional_product(catalog: Catalog) -> None:
    catalog.upload(a_product(title="from an event", provisional=True))
    catalog.upload(a_product(title="uploaded", updated_at="2001-01-01"))
    assert catalog.get()["title"] == "uploaded"


def test_a_provisional_product_never_overwrites(catalog: Catalog) -> None:
    catalog.upload(a_product("p1", title="uploaded", ago=600))
    catalog.remove("p2", at=NOW - timedelta(minutes=600))
    catalog.upload(a_product("p1", provisional=True), a_product("p2", provisional=True))
    assert catalog.get("p1")["title"] == "uploaded"
    assert catalog.get("p2") is None


def test_a_later_hours_event_refreshes_a_provisional_product(catalog: Catalog) -> None:
    catalog.upload(a_product(title="old", provisional=True, ago=120))
    catalog.upload(a_product(title="new", provisional=True, ago=0))
    assert catalog.get()["title"] == "new"


def test_events_of_a_known_product_lock_nothing(clean_database: str) -> None:
    first, second = database.connect(clean_database), database.connect(clean_database)
    catalog = open_catalog(first)
    catalog.upload(a_product(provisional=True))
    with first.transaction():
        products.upsert(first, catalog.site_id, [a_product(provisional=True)], NOW)
        second.execute("set lock_timeout = '200ms'")
        Catalog(second, catalog.site_id).upload(a_product(title="uploaded"))
    assert catalog.get()["title"] == "uploaded"


def test_ids_are_those_uploaded(catalog: Catalog) -> None:
    catalog.upload(a_product("b", type="book"), a_product("a"), a_product("made", provisional=True))
    assert products.ids(catalog.connection, catalog.site_id) == ["a", "b"]
    assert products.ids(catalog.connection, catalog.site_id, "book") == ["b"]


# numbers, columns, encoding -----------------------------------------------------------------------


def test_a_number_is_drawn_only_for_a_new_product(catalog: Catalog) -> None:
    catalog.upload(a_product("p1", ago=3))
    catalog.upload(a_product("p1", title="again", ago=2))
    catalog.upload(a_product("p2", ago=1))
    numbers = [n for (n,) in catalog.rows("select product_no from products order by product_id")]
    assert numbers[1] == numbers[0] + 1


def test_a_price_change_costs_no_encoding(catalog: Catalog) -> None:
    catalog.upload(a_product(sale_price=10, ago=2))
    catalog.encode()
    stored = catalog.upload(a_product(sale_price=9, availability="OUT_OF_STOCK", ago=1))
    assert (stored.applied, stored.to_encode, catalog.waiting()) == (1, 0, 0)


def test_a_price_change_is_at_once_beside_the_vector(catalog: Catalog) -> None:
    catalog.upload(a_product(sale_price=10, ago=2))
    catalog.encode()
    catalog.upload(a_product(sale_price=9, availability="OUT_OF_STOCK", ago=1))
    assert catalog.served("sale_price") == {"p1": 9}
    assert catalog.served("available") == {"p1": False}


def test_a_new_title_is_encoded_again(catalog: Catalog) -> None:
    catalog.upload(a_product(title="one", ago=2))
    catalog.encode()
    assert catalog.upload(a_product(title="two", ago=1)).to_encode == 1


def test_a_product_without_any_text_loses_its_vector(catalog: Catalog) -> None:
    catalog.upload(a_product(ago=2))
    catalog.encode()
    assert catalog.upload(a_product(title=None, ago=1)).to_encode == 0
    assert catalog.served() == {}


def test_another_site_is_another_catalog(catalog: Catalog) -> None:
    other = open_catalog(catalog.connection)
    catalog.upload(a_product())
    assert other.get() is None
    assert other.remove("p1") == 0
    assert catalog.get() is not None


# any order --------------------------------------------------------------------------------------

sayings = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["upload", "upload", "remove", "event"]),
            "product_id": st.sampled_from(["p1", "p2"]),
            "title": st.sampled_from(["a", "b", "c"]),
            "ago": st.integers(0, 200),
        }
    ),
    max_size=12,
)


def say(catalog: Catalog, saying: dict[str, Any]) -> None:
    fields = {name: saying[name] for name in ("product_id", "title", "ago")}
    if saying["kind"] == "remove":
        catalog.remove(saying["product_id"], at=NOW - timedelta(minutes=saying["ago"]))
    else:
        catalog.upload(a_product(**fields, provisional=saying["kind"] == "event"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sayings=sayings, seed=st.integers(0, 2**32))
def test_shuffled_and_repeated_news_give_the_same_catalog(
    connection: Connection, sayings: list[dict[str, Any]], seed: int
) -> None:
    in_order, shuffled = open_catalog(connection), open_catalog(connection)
    for saying in sayings:
        say(in_order, saying)
    again = sayings + sayings[: len(sayings) // 2]
    Random(seed).shuffle(again)
    for saying in again:
        say(shuffled, saying)
    assert shuffled.state() == in_order.state()


def test_overlapping_uploads_do_not_deadlock(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        site_id = open_catalog(connection).site_id
        before = deadlocks(connection)
        with ThreadPoolExecutor(8) as threads:
            applied = threads.map(
                lambda seed: upload_shuffled(clean_database, site_id, seed), range(8)
            )
            assert sum(applied) >= 100
        assert deadlocks(connection) == before


def upload_shuffled(url: str, site_id: int, seed: int) -> int:
    """Ten uploads of the same hundred products, each one transaction as a delivery is."""
    applied = 0
    with database.connect(url) as connection:
        for turn in range(10):
            uploaded = [a_product(f"p{n}", title=f"{n} {seed} {turn}") for n in range(100)]
            Random(seed).shuffle(uploaded)
            at = NOW + timedelta(seconds=turn)
            with connection.transaction():
                applied += products.upsert(connection, site_id, uploaded, at).applied
    return applied


def deadlocks(connection: psycopg.Connection[Any]) -> int:
    connection.execute("select pg_stat_force_next_flush()")
    row = connection.execute(
        "select deadlocks from pg_stat_database where datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_rows_are_made_without_a_database() -> None:
    made = products.rows([a_product("b"), a_product("a")], datetime.now(NOW.tzinfo))
    assert [row["product_id"] for row in made] == ["a", "b"]
