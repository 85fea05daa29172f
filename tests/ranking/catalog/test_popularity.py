"""What visitors asked for lately."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import log1p
from typing import Any
from uuid import uuid4

import pytest

from ranking.catalog import popularity
from tests.ranking.catalog.catalogs import NOW, Catalog, a_product


def event(
    catalog: Catalog, product: str, type: str = "product_detail_page_view", days: float = 1
) -> None:
    catalog.connection.execute(
        "insert into events (site_id, occurred_at, event_id, actor_id, type, product_ids, "
        "source_id, delivery_id, position, received_at) "
        "values (%s, %s, %s, %s, %s, %s, 1, %s, 0, %s)",
        [
            catalog.site_id,
            NOW - timedelta(days=days),
            uuid4(),
            uuid4(),
            type,
            [product],
            uuid4(),
            NOW,
        ],
    )  # fmt: skip


@pytest.fixture
def shop(catalog: Catalog) -> Catalog:
    catalog.upload(*(a_product(name, ago=9) for name in ("a", "b", "c")))
    return catalog


def popular(catalog: Catalog, column: str = "popular", at: datetime = NOW) -> dict[str, Any]:
    """The refreshed figures, the highest first."""
    popularity.refresh(catalog.connection, catalog.site_id, at)
    return dict(
        catalog.rows(
            f"select product_id, {column} from popularity "
            "join products using (site_id, product_no) "
            f"where site_id = %(site)s order by {column} desc, product_id"
        )
    )  # type: ignore[arg-type]


def test_a_purchase_says_more_than_a_cart_a_click_a_view(shop: Catalog) -> None:
    for name, type in (("a", "click"), ("b", "purchase"), ("c", "add_to_cart")):
        event(shop, name, type)
    assert list(popular(shop)) == ["b", "c", "a"]


def test_impressions_say_nothing(shop: Catalog) -> None:
    event(shop, "a")
    for _ in range(9):
        event(shop, "b", "impression")
        event(shop, "c", "viewable_impression")
    assert list(popular(shop)) == ["a"]


def test_events_older_than_the_window_or_after_the_instant_do_not_count(shop: Catalog) -> None:
    event(shop, "a", days=2)
    event(shop, "b", days=8)
    event(shop, "c", days=-1)
    shown = popular(shop)
    assert list(shown) == ["a", "b"]
    assert shown["b"] < 0.02 * shown["a"]  # of the past a hundredth counts


def test_trending_prefers_the_newer(shop: Catalog) -> None:
    for _ in range(3):
        event(shop, "a", days=5)
    event(shop, "b", days=0.1)
    assert list(popular(shop)) == ["a", "b"]
    assert list(popular(shop, "trending")) == ["b", "a"]


def test_a_day_halves_what_an_event_says_for_the_trend(shop: Catalog) -> None:
    event(shop, "a", days=1)
    event(shop, "b", days=2)
    trend = popular(shop, "trending")
    assert trend["a"] == pytest.approx(2 * trend["b"], rel=1e-4)


def test_an_empty_window_falls_back_to_the_newest_days_with_events(shop: Catalog) -> None:
    event(shop, "a", days=30)
    event(shop, "b", days=36)
    event(shop, "c", days=38)
    event(shop, "c", "impression", days=1)
    assert list(popular(shop)) == ["a", "b", "c"]


def test_a_site_without_events_has_no_popularity(shop: Catalog) -> None:
    assert popular(shop) == {}


def test_a_refresh_of_the_past_sees_the_past(shop: Catalog) -> None:
    event(shop, "a", days=20)
    event(shop, "b", days=1)
    assert list(popular(shop, at=NOW - timedelta(days=19))) == ["a"]


def test_products_that_left_the_window_keep_a_little(shop: Catalog) -> None:
    for _ in range(5):
        event(shop, "a", days=6)
    event(shop, "b", days=0)
    assert list(popular(shop)) == ["a", "b"]
    later = popular(shop, at=NOW + timedelta(days=3))
    assert list(later) == ["b", "a"]
    assert later["a"] > 0


def test_four_days_halve_what_an_event_says(shop: Catalog) -> None:
    event(shop, "a", days=1)
    event(shop, "b", days=5)
    shown = popular(shop, at=NOW.replace(hour=0, minute=0))
    assert shown["a"] == pytest.approx(2 * shown["b"], rel=0.02)


def test_a_product_without_history_is_given_its_sites_mean_and_a_half(shop: Catalog) -> None:
    for _ in range(300):
        event(shop, "a", "purchase")
    for _ in range(30):
        event(shop, "b", "purchase")
    popular(shop)
    [(norm, new_share)] = shop.rows("select norm, new_share from popularity_sites")
    shares = [log1p(value) / norm for value in popular(shop).values()]
    assert shares[0] == pytest.approx(1, rel=1e-4)
    assert new_share == pytest.approx(min(1, 1.5 * sum(shares) / 2), rel=1e-4)


def test_a_little_known_best_seller_says_little(shop: Catalog) -> None:
    event(shop, "a", "purchase")
    shown = popular(shop)
    [(norm,)] = shop.rows("select norm from popularity_sites")
    assert log1p(shown["a"]) / norm < 0.3


def test_deleted_products_are_not_popular(shop: Catalog) -> None:
    event(shop, "a")
    shop.remove("a")
    assert popular(shop) == {}


def test_rows_that_stay_equal_are_not_written(shop: Catalog) -> None:
    event(shop, "a")
    noon = NOW.replace(hour=12, minute=0, second=0)
    popular(shop, at=noon)
    assert popular(shop, "popularity.computed_at", at=noon + timedelta(minutes=1)) == {"a": noon}


def test_another_sites_events_do_not_count(shop: Catalog) -> None:
    event(Catalog(shop.connection, shop.site_id + 1000), "a")
    assert popular(shop) == {}
