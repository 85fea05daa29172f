"""Whose taste is like a visitor's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking import similar_users
from ranking.similar_users import Similar
from ranking.visitors.interests import Interest
from tests.ranking.market import Market

VIEW = "product_detail_page_view"

INTERESTS = st.lists(
    st.builds(
        lambda kind, name, weight: Interest(kind, name, weight, [0], [weight], 0.5),
        st.sampled_from(["brand", "category", "word"]), st.sampled_from("abc"), st.floats(0, 1),
    ), max_size=9, unique_by=lambda one: (one.kind, one.name),
)  # fmt: skip


@pytest.fixture
def stocked(market: Market) -> Market:
    for color in ("red", "blue"):
        market.stock(*(f"{color} {thing}" for thing in ("mug", "hat", "lamp")), brand=color)
    return market


def like(market: Market, visitor: str, limit: int = 9) -> list[Similar]:
    return similar_users.similar_users(
        market.connection, market.site_id, market.actor(visitor), at=market.now, limit=limit
    )


def test_who_likes_the_same_is_nearest_and_what_they_share_is_told(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red hat"), (VIEW, "red mug"))
    stocked.happens("v2", (VIEW, "red lamp"), (VIEW, "red mug"))
    stocked.happens("v3", (VIEW, "red mug"), (VIEW, "blue lamp"), (VIEW, "blue lamp"))
    stocked.happens("v4", (VIEW, "blue hat"))
    first, second = like(stocked, "v1")
    assert [first.id, second.id] == ["v2", "v3"]
    assert 1 >= first.score > second.score > 0.5
    assert first.product_ids == ["red mug"]
    assert {"kind": "brand", "name": "red", "weight": 1.0} in first.interests


def test_the_score_is_the_cosine_of_both_profiles(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red hat"), (VIEW, "red mug"))
    stocked.happens("v2", (VIEW, "red mug"))
    [found] = like(stocked, "v1")
    one, other = stocked.profile("v1").vector, stocked.profile("v2").vector
    assert one is not None and other is not None
    assert found.score == pytest.approx((1 + float(one @ other)) / 2, abs=1e-6)


def test_nobody_is_like_themselves_under_another_id(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"))
    stocked.happens("v1", {"type": VIEW, "product_ids": ["red mug"], "user_id": "u1"})
    stocked.happens("v2", (VIEW, "red mug"))
    assert [one.id for one in like(stocked, "v1")] == ["v2"]
    assert [(one.kind, one.id) for one in like(stocked, "v2")] == [("user", "u1")]


def test_of_whom_nothing_is_known_nobody_is_like(stocked: Market) -> None:
    stocked.happens("v2", (VIEW, "red mug"))
    assert like(stocked, "v1") == []


def test_only_so_many_are_told_and_always_the_same(stocked: Market) -> None:
    for number in range(5):
        stocked.happens(f"v{number}", (VIEW, "red mug"))
    assert len(like(stocked, "v0", 2)) == 2
    assert like(stocked, "v0") == like(stocked, "v0")


def test_another_sites_visitors_are_not_looked_at(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"))
    stocked.happens("v2", (VIEW, "red mug"))
    stocked.connection.execute(
        "update events set site_id = site_id + 1 where actor_id = %s", [stocked.actor("v2")]
    )
    assert like(stocked, "v1") == []


def test_of_categories_the_deepest_is_told() -> None:
    some = [
        Interest("category", name, 1.0, [0], [1.0], 0.5)
        for name in ("Home", "Home > Mugs", "Homes")
    ]
    told = similar_users.in_common(some, some)
    assert [one["name"] for one in told] == ["Home > Mugs", "Homes"]


@given(INTERESTS, INTERESTS)
def test_what_two_share_is_shared_both_ways(ours: list[Interest], theirs: list[Interest]) -> None:
    found = similar_users.in_common(ours, theirs)
    assert found == similar_users.in_common(theirs, ours)
    assert all(one["kind"] != "word" for one in found)
    assert [one["weight"] for one in found] == sorted((o["weight"] for o in found), reverse=True)
