"""What a partial record makes of the one that is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from ranking.catalog import products
from schemas import database
from schemas.facts import ProductPatch
from tests.ranking.catalog.catalogs import NOW, Catalog, a_product, open_catalog
from tests.ranking.catalog.test_products import deadlocks

LATER = NOW + timedelta(minutes=1)


def patch(
    catalog: Catalog,
    product_id: str = "p1",
    *,
    at: datetime = LATER,
    as_of: datetime | None = None,
    again: bool = False,
    **fields: Any,
) -> bool | None:
    """Whether a patch counted; None where there is no such product."""
    told = ProductPatch({"product_id": product_id, **fields}, as_of)
    with catalog.connection.transaction():
        stored = products.lock(catalog.connection, catalog.site_id, [product_id]).get(product_id)
        if stored is None:
            return None
        after = products.patched(stored, told, at, again=again)
        if after is not None:
            products.patch(catalog.connection, catalog.site_id, [after])
        return after is not None


def get(catalog: Catalog) -> dict[str, Any]:
    found = catalog.get()
    assert found is not None
    return found


def test_a_field_replaces_null_clears_absent_stays(catalog: Catalog) -> None:
    attributes = {"size": {"eu": 42, "us": 9}, "fit": "slim", "old": 1}
    catalog.upload(a_product(brand="Acme", tags=["a", "b"], custom_attributes=attributes))
    told = {"size": {"eu": 43}, "old": None, "new": True}
    assert patch(catalog, brand=None, tags=["c"], custom_attributes=told)
    assert catalog.get() == {
        "product_id": "p1",
        "title": "The p1",
        "tags": ["c"],
        "custom_attributes": {"size": {"eu": 43}, "fit": "slim", "new": True},
    }


def test_unknown_and_deleted_products_are_not_there(catalog: Catalog) -> None:
    assert patch(catalog) is None
    catalog.upload(a_product())
    catalog.remove("p1", at=LATER)
    assert patch(catalog) is None


def test_a_new_price_costs_no_encoding_and_is_at_once_beside_the_vector(catalog: Catalog) -> None:
    catalog.upload(a_product(sale_price=10))
    catalog.encode()
    patch(catalog, sale_price=9, availability="OUT_OF_STOCK")
    assert catalog.waiting() == 0
    assert catalog.served("sale_price") == {"p1": 9}
    assert catalog.served("available") == {"p1": False}


def test_a_new_title_is_encoded_again_and_no_text_loses_the_vector(catalog: Catalog) -> None:
    catalog.upload(a_product())
    catalog.encode()
    patch(catalog, title="Another")
    assert catalog.waiting() == 1
    patch(catalog, title=None)
    assert catalog.served() == {}


# which counts -----------------------------------------------------------------------------------


def test_one_without_an_instant_leaves_the_records(catalog: Catalog) -> None:
    first = a_product(updated_at="2024-02-01", availability="IN_STOCK")
    catalog.upload(first)
    patch(catalog, availability="OUT_OF_STOCK")
    catalog.upload(a_product(updated_at="2024-01-31"))
    assert get(catalog)["availability"] == "OUT_OF_STOCK"
    catalog.upload(first, at=LATER)  # back in the feed as it was
    assert get(catalog)["availability"] == "IN_STOCK"


def test_one_with_an_instant_counts_from_then_on(catalog: Catalog) -> None:
    catalog.upload(a_product(ago=10))
    assert patch(catalog, size="L", as_of=NOW - timedelta(minutes=5))
    catalog.upload(a_product(size="M", ago=6))
    assert get(catalog)["size"] == "L"
    catalog.upload(a_product(size="S", ago=5))
    assert get(catalog)["size"] == "S"


def test_one_older_than_the_record_changes_nothing(catalog: Catalog) -> None:
    catalog.upload(a_product(ago=5))
    assert patch(catalog, size="L", as_of=NOW - timedelta(minutes=6)) is False
    assert "size" not in get(catalog)


def test_one_of_the_records_own_instant_counts(catalog: Catalog) -> None:
    catalog.upload(a_product(ago=5))
    assert patch(catalog, size="L", as_of=NOW - timedelta(minutes=5))
    assert patch(catalog, color="red", as_of=NOW - timedelta(minutes=5))
    assert (get(catalog)["size"], get(catalog)["color"]) == ("L", "red")


def test_an_instant_in_the_future_locks_nobody_out(catalog: Catalog) -> None:
    catalog.upload(a_product())
    patch(catalog, size="L", as_of=NOW + timedelta(days=365))
    catalog.upload(a_product(size="M"), at=LATER)
    assert get(catalog)["size"] == "M"


@pytest.mark.parametrize("as_of", [None, LATER])
def test_one_that_was_overtaken_does_not_count_when_it_is_replayed(
    catalog: Catalog, as_of: datetime | None
) -> None:
    catalog.upload(a_product())
    patch(catalog, sale_price=9, at=LATER + timedelta(seconds=1), as_of=as_of)
    assert patch(catalog, sale_price=8, again=True, as_of=as_of) is False
    assert patch(catalog, sale_price=7, again=True, at=LATER + timedelta(seconds=2), as_of=as_of)


def test_of_two_that_meet_both_count_whichever_was_received_first(catalog: Catalog) -> None:
    catalog.upload(a_product())
    patch(catalog, size="L", at=LATER + timedelta(seconds=1))
    assert patch(catalog, color="red", at=LATER)
    assert (get(catalog)["size"], get(catalog)["color"]) == ("L", "red")


# provisional products ---------------------------------------------------------------------------


@pytest.mark.parametrize("as_of", [None, NOW])
def test_events_change_a_patched_provisional_product_no_more_any_upload_does(
    catalog: Catalog, as_of: datetime | None
) -> None:
    catalog.upload(a_product(provisional=True))
    patch(catalog, availability="OUT_OF_STOCK", as_of=as_of)
    catalog.upload(a_product(provisional=True), at=NOW + timedelta(days=9))
    assert get(catalog)["availability"] == "OUT_OF_STOCK"
    assert products.ids(catalog.connection, catalog.site_id) == []
    catalog.upload(a_product(title="uploaded", updated_at="2001-01-01"))
    assert get(catalog) == {"product_id": "p1", "title": "uploaded", "updated_at": "2001-01-01"}


def test_a_deleted_one_is_back_with_the_next_upload(catalog: Catalog) -> None:
    catalog.upload(a_product(provisional=True))
    patch(catalog, availability="OUT_OF_STOCK")
    products.delete(catalog.connection, catalog.site_id, ["p1"], LATER)
    catalog.upload(a_product(), at=LATER + timedelta(seconds=1))
    assert get(catalog)["title"] == "The p1"


# at once ----------------------------------------------------------------------------------------


def test_overlapping_patches_uploads_and_deletions_do_not_deadlock(clean_database: str) -> None:
    with database.connect(clean_database) as connection:
        catalog = open_catalog(connection)
        catalog.upload(*(a_product(f"p{n}") for n in range(100)), at=NOW - timedelta(days=1))
        before = deadlocks(connection)
        with ThreadPoolExecutor(8) as threads:
            patched = threads.map(
                lambda seed: write_shuffled(clean_database, catalog.site_id, seed), range(8)
            )
            assert sum(patched) >= 1000
        assert deadlocks(connection) == before


def write_shuffled(url: str, site_id: int, seed: int) -> int:
    """Six transactions on most of the same hundred products; how many patches were made."""
    random, patched = Random(seed), 0
    with database.connect(url) as connection:
        for turn in range(6):
            ids = [f"p{n}" for n in range(100)]
            random.shuffle(ids)
            at = NOW + timedelta(seconds=turn)
            with connection.transaction():
                if seed % 4 == 0:
                    uploaded = [a_product(one, title=f"{seed} {turn}") for one in ids[:80]]
                    products.upsert(connection, site_id, uploaded, at)
                elif seed % 4 == 1 and turn % 5 == 4:
                    products.delete(connection, site_id, ids[:10], at)
                else:
                    told = ProductPatch({"size": f"{seed} {turn}"})
                    stored = products.lock(connection, site_id, ids[:80]).values()
                    after = [one for old in stored if (one := products.patched(old, told, at))]
                    products.patch(connection, site_id, after)
                    patched += len(after)
    return patched
