"""What platforms and uploads say of a person."""

from __future__ import annotations

from itertools import permutations

from ranking.visitors import users
from tests.builders import ago, deliver, identify
from tests.conftest import Shop


def record(shop: Shop) -> object:
    with shop.pool.connection() as connection:
        return users.get(connection, shop.site.site_id, "u1")


def test_traits_merge_by_their_times_in_any_order(shop: Shop) -> None:
    told = [
        identify("u1", "a1", traits={"name": "Ann", "plan": "free", "age": 30},
                 timestamp=ago(hours=3)),
        identify("u1", "a1", traits={"plan": "pro"}, timestamp=ago(hours=2)),
        identify("u1", "a1", traits={"age": None, "plan": None}, timestamp=ago(hours=1)),
        identify("u1", "a1", traits={"team": "x"}, timestamp=ago(hours=4)),
    ]  # fmt: skip
    for order in permutations(told):
        with shop.pool.connection() as connection:
            connection.execute("delete from user_traits")
        for message in order:
            deliver(shop.pool, shop.segment, message)
        expected = {"user_id": "u1", "name": "Ann", "custom_attributes": {"team": "x"}}
        assert record(shop) == expected


def test_an_upload_replaces_what_was_told_before_it(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, identify("u1", "a1", traits={"plan": "free"}))
    deliver(shop.pool, shop.api, {"data": [{"user_id": "u1", "name": "Bea"}]}, "users")
    assert record(shop) == {"user_id": "u1", "name": "Bea"}


def test_a_removed_record_comes_back_with_newer_traits_alone(shop: Shop) -> None:
    deliver(shop.pool, shop.api, {"data": [{"user_id": "u1", "name": "Bea"}]}, "users")
    deliver(shop.pool, shop.api, {"data": {"user_ids": ["u1"]}}, "users/_delete")
    assert record(shop) is None
    deliver(shop.pool, shop.segment, identify("u1", "a1", traits={"plan": "pro"}, timestamp=None))
    assert record(shop) == {"user_id": "u1", "custom_attributes": {"plan": "pro"}}
