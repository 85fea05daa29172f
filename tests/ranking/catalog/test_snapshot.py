"""What a whole catalog does not name is gone, unless that would be most of it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from psycopg import sql

from ranking.catalog import snapshot, words
from ranking.catalog.snapshot import TooManyVanish
from tests.ranking.catalog.catalogs import NOW, Catalog, a_product

LATER = NOW + timedelta(minutes=1)


def named(catalog: Catalog, *product_ids: str, run: str = "r") -> None:
    snapshot.name(catalog.connection, catalog.site_id, run, product_ids, LATER)


def vanished(catalog: Catalog, run: str = "r", force: bool = False) -> list[str]:
    return snapshot.vanished(catalog.connection, catalog.site_id, run, force=force)


def test_what_was_not_named_vanished(catalog: Catalog) -> None:
    catalog.upload(*(a_product(f"p{n}") for n in range(4)))
    named(catalog, "p0", "p1")
    named(catalog, "p1", "p3", "of another shop")
    assert vanished(catalog) == ["p2"]
    assert snapshot.share(catalog.connection, catalog.site_id, "r") == 0.25


def test_what_is_unavailable_or_deleted_cannot_vanish(catalog: Catalog) -> None:
    catalog.upload(a_product("p1"), a_product("p2", availability="OUT_OF_STOCK"), a_product("p3"))
    catalog.remove("p3")
    named(catalog, "p1")
    assert vanished(catalog) == []


def test_half_may_vanish_and_more_may_not(catalog: Catalog) -> None:
    catalog.upload(*(a_product(f"p{n}") for n in range(4)))
    named(catalog, "p0", "p1")
    assert vanished(catalog) == ["p2", "p3"]
    catalog.upload(a_product("p4"))
    with pytest.raises(TooManyVanish, match="3 of 5 available products"):
        vanished(catalog)
    assert vanished(catalog, force=True) == ["p2", "p3", "p4"]


def test_a_snapshot_of_nothing_is_refused(catalog: Catalog) -> None:
    catalog.upload(a_product("p1"))
    with pytest.raises(TooManyVanish):
        vanished(catalog)


def test_what_came_since_the_run_began_stays(catalog: Catalog) -> None:
    catalog.upload(a_product("p1"))
    named(catalog, "p1")
    catalog.upload(a_product("p2"), at=LATER + timedelta(seconds=1))
    assert vanished(catalog) == []


def test_runs_and_sites_are_apart(catalog: Catalog) -> None:
    catalog.upload(a_product("p1"), a_product("p2"))
    named(catalog, "p1", run="a")
    named(catalog, "p2", run="b")
    snapshot.name(catalog.connection, catalog.site_id + 1, "a", ["p2"], LATER)
    assert vanished(catalog, run="a") == ["p2"]


def test_a_forgotten_run_has_named_nothing(catalog: Catalog) -> None:
    named(catalog, "p1", run="a")
    named(catalog, "p1", run="b")
    snapshot.forget(catalog.connection, catalog.site_id, "a")
    assert snapshot.purge(catalog.connection, LATER) == 0
    assert snapshot.purge(catalog.connection, LATER + timedelta(seconds=1)) == 1


def test_a_thousand_and_one_products_are_two_bodies() -> None:
    bodies = [json.loads(body)["data"] for body in snapshot.patches([str(n) for n in range(1001)])]
    assert [len(body) for body in bodies] == [1000, 1]
    assert bodies[1] == [{"product_id": "1000", "availability": "OUT_OF_STOCK"}]


@pytest.mark.parametrize(
    "statement",
    [snapshot.SQL.count, snapshot.SQL.vanished, words.SQL.gone],
    ids=["count", "vanished", "gone"],
)
def test_no_row_is_compared_with_each_other_row(catalog: Catalog, statement: str) -> None:
    asked = {"site_id": catalog.site_id, "run": "r", "began": LATER}
    plan = catalog.connection.execute(sql.SQL("explain " + statement), asked).fetchall()  # type: ignore[arg-type]
    said = "\n".join(row[0] for row in plan)
    assert "SetOp" in said
    assert "Nested Loop" not in said
