"""What is known of a visitor: true of every event and of nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from ranking.catalog import clusters
from ranking.visitors import profile
from ranking.visitors.interests import MAX_TOUCHED
from schemas.facts import Event
from tests.ranking.market import Market, a_interaction

VIEW = "product_detail_page_view"


@pytest.fixture
def stocked(market: Market) -> Market:
    market.stock("red mug", "red hat", "blue mug", "blue hat")
    return market


def likeness(market: Market, visitor: str, text: str) -> float:
    """The cosine of a visitor's interest and the product of that id."""
    vector = market.profile(visitor).vector
    assert vector is not None
    other = market.connection.execute(
        f"select vector::vector from vectors_{market.site_id}_1 where product_no = %s",
        [market.numbers()[text]],
    ).fetchone()
    return float(vector @ other[0].to_numpy())  # type: ignore[index]


def touched(market: Market, visitor: str) -> list[str]:
    names = {number: name for name, number in market.numbers().items()}
    return [names[number] for number in market.profile(visitor).contents.touched]


def stored(market: Market) -> list[tuple[Any, ...]]:
    return market.connection.execute(
        "select fingerprint, made_at from profiles where site_id = %s", [market.site_id]
    ).fetchall()


def test_somebody_unknown_has_an_empty_profile_that_is_not_kept(market: Market) -> None:
    assert market.profile("v1").vector is None
    assert stored(market) == []


def test_one_view_is_an_interest(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"))
    assert likeness(stocked, "v1", "red mug") == pytest.approx(1, abs=1e-3)


def test_profiles_kept_and_made_are_counted(stocked: Market) -> None:
    def counted() -> list[float]:
        names = ({"was": "made"}, {"was": "kept"})
        return [REGISTRY.get_sample_value("attune_profiles_total", name) or 0 for name in names]

    made, kept = counted()
    stocked.happens("v1", (VIEW, "red mug"))
    for _ in range(3):
        stocked.profile("v1")
    assert counted() == [made + 1, kept + 2]


def test_an_earlier_visit_counts_an_eighth_of_its_steps(stocked: Market) -> None:
    hours = {"red mug": 29, "red hat": 28.6, "blue mug": 1, "blue hat": 0.6}
    for product_id, ago in hours.items():
        at = stocked.now - timedelta(hours=ago)
        stocked.happens("v1", a_interaction(VIEW, product_id) | {"timestamp": at.isoformat()})
    weights = [one.weight for one in stocked.profile("v1").contents.events]
    assert weights == [1, 0.5, 0.25 / 8, 0.125 / 8]


def test_each_step_back_counts_half(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"), (VIEW, "blue hat"))
    weights = [one.weight for one in stocked.profile("v1").contents.events]
    assert weights == [1, 0.5]
    assert likeness(stocked, "v1", "blue hat") > likeness(stocked, "v1", "red mug")


def test_a_purchase_says_more_than_a_view(stocked: Market) -> None:
    stocked.happens("v1", ("checkout", "red mug"), (VIEW, "blue hat"))
    assert likeness(stocked, "v1", "red mug") > likeness(stocked, "v1", "blue hat")


def test_a_search_alone_is_an_interest(stocked: Market) -> None:
    stocked.searches("v1", "blue")
    assert likeness(stocked, "v1", "blue mug") > likeness(stocked, "v1", "red mug") + 0.3


@pytest.mark.parametrize(
    "event",
    [
        a_interaction("impression", "red mug"),
        a_interaction("viewable_impression", "red mug"),
        {**a_interaction("custom", "red mug"), "custom_action_name": "heartbeat"},
        {**a_interaction("custom", "red mug"), "custom_action_name": "generic_click"},
        {
            "type": "search",
            "search": {"keywords": "red"},
            "context": {"custom_context": {"channel": "miso_api"}},
        },
        {"type": "home_page_view"},
        {"type": "search", "search": {"keywords": " "}},
    ],
)
def test_what_says_nothing_of_a_visitor_changes_nothing(
    stocked: Market, event: dict[str, Any]
) -> None:
    stocked.happens("v1", event)
    assert stocked.profile("v1").vector is None
    assert touched(stocked, "v1") == []


def test_a_glance_is_no_interest_but_was_seen(stocked: Market) -> None:
    stocked.happens("v1", {**a_interaction(VIEW, "red mug"), "duration": 2})
    assert stocked.profile("v1").vector is None
    assert touched(stocked, "v1") == ["red mug"]


def test_a_dislike_turns_away(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "blue mug"))
    before = likeness(stocked, "v1", "red mug")
    stocked.happens("v1", ("dislike", "red mug"))
    assert likeness(stocked, "v1", "red mug") < before


def test_a_dislike_alone_is_no_interest(stocked: Market) -> None:
    stocked.happens("v1", ("dislike", "red mug"))
    assert stocked.profile("v1").vector is None


@pytest.mark.parametrize(("rating", "interested"), [(5, True), (3, True), (1, False)])
def test_a_rating_is_an_interest_unless_it_is_bad(
    stocked: Market, rating: float, interested: bool
) -> None:
    stocked.happens("v1", {**a_interaction("rate", "red mug"), "rating": rating})
    assert (stocked.profile("v1").vector is not None) == interested


def test_a_reload_counts_once(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"), (VIEW, "red mug"), (VIEW, "red mug"))
    assert len(stocked.profile("v1").contents.events) == 1


def test_twelve_events_shape_the_interest(market: Market) -> None:
    market.stock(*(f"p{number}" for number in range(14)))
    market.happens("v1", *((VIEW, f"p{number}") for number in range(14)))
    told = market.profile("v1").contents.events
    assert [one.product_ids for one in told] == [[f"p{number}"] for number in range(13, 1, -1)]


def test_the_last_fifty_products_are_remembered_through_any_noise(market: Market) -> None:
    names = market.stock(*(f"p{number}" for number in range(MAX_TOUCHED + 2)), encode=False)
    market.happens("v1", *((VIEW, name) for name in names))
    market.happens("v1", *(("impression", names[0]) for _ in range(250)))
    assert touched(market, "v1") == names[:1:-1]


def test_a_group_stands_for_its_variants(market: Market) -> None:
    market.stock("shirt S", "shirt M", product_group_id="shirt")
    market.happens("v1", {"type": VIEW, "product_group_ids": ["shirt"]})
    assert set(touched(market, "v1")) == {"shirt S", "shirt M"}
    assert likeness(market, "v1", "shirt S") == pytest.approx(
        likeness(market, "v1", "shirt M"), 1e-2
    )


def test_what_was_bought_is_kept_with_its_time(stocked: Market) -> None:
    stocked.happens("v1", ("checkout", "red mug"), *[(VIEW, "blue hat"), (VIEW, "blue mug")] * 120)
    [(product_no, at)] = stocked.profile("v1").contents.bought
    assert product_no == stocked.numbers()["red mug"]
    assert at < stocked.now


def test_additional_interactions_count_and_leave_no_trace(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "blue hat"))
    plain = stocked.profile("v1")
    more = stocked.profile("v1", additional=[Event(type="purchase", product_ids=["red mug"])])
    assert more.contents.events[0].product_ids == ["red mug"]
    # What was done for long before it was an earlier visit.
    assert [one.weight for one in more.contents.events] == [3, 0.5 / 8]
    assert stocked.profile("v1").contents == plain.contents


def test_names_of_what_was_looked_at_become_interests(market: Market) -> None:
    market.product(
        "m1", title="Large Mug with handle", brand="Acme", tags=["gift"],
        categories=[["Home", "Kitchen"]], sale_price=4.0,
    )  # fmt: skip
    market.product("m2", title="Small mug", brand="Acme", original_price=9.0)
    market.happens("v1", (VIEW, "m1"), (VIEW, "m2"))
    shown = profile.interests(market.profile("v1"))
    named = {(tag["kind"], tag["name"]): tag for tag in shown["tags"]}
    assert named["brand", "Acme"]["weight"] == 1
    assert named["word", "mug"]["weight"] == 1
    assert named["tag", "gift"]["weight"] == pytest.approx(0.5 / 1.5, abs=1e-3)
    assert named["category", "Home > Kitchen"]["event_ids"] == [shown["events"][1]["event_id"]]
    assert ("word", "with") not in named
    price = shown["price"]
    assert (price["low"], price["high"]) == (4.0, 9.0)
    assert price["typical"] == pytest.approx(6.87, abs=0.01)


def test_an_interest_is_the_sum_of_what_its_events_add(market: Market) -> None:
    market.stock("red mug", brand="Acme")
    market.stock("red hat", brand="Other")
    market.happens("v1", (VIEW, "red mug"), (VIEW, "red hat"), ("add_to_cart", "red mug"))
    for tag in profile.interests(market.profile("v1"))["tags"]:
        assert tag["weight"] == pytest.approx(sum(tag["shares"]), abs=1e-4)
        assert tag["weight"] <= 1
        assert len(tag["shares"]) == len(tag["event_ids"])
        assert tag["sure"] == pytest.approx(
            len(tag["event_ids"]) / (len(tag["event_ids"]) + 1), abs=1e-4
        )


def test_taking_an_event_away_takes_its_share_away(market: Market) -> None:
    """Of all that was told, so that what is left is a share of as much as before."""
    market.stock("red mug", brand="Acme")
    market.stock("red hat", brand="Other")
    market.happens("v1", (VIEW, "red hat"), (VIEW, "red mug"))
    [acme] = [t for t in market.profile("v1").contents.interests if t.name == "Acme"]
    events = market.profile("v1").contents.events
    total = sum(one.weight for one in events)
    assert acme.behind == [0]
    assert acme.shares == [pytest.approx(events[0].weight / total, abs=1e-4)]


def test_attributes_are_interests_where_they_are_words(market: Market) -> None:
    custom = {"fit": ["slim", "long"], "stock": "12", "link": "https://a.b/c", "currency": "EUR"}
    market.product("m1", color="red", material=" wool ", custom_attributes=custom)
    market.happens("v1", (VIEW, "m1"))
    tags = market.profile("v1").contents.interests
    assert {tag.name for tag in tags if tag.kind == "attribute"} == {
        "color: red", "material: wool", "fit: slim", "fit: long"
    }  # fmt: skip


def test_of_one_product_the_first_names_of_each_kind_count(market: Market) -> None:
    long = {"k" * 61: "too long", "note": "n" * 5000} | {
        f"k{at:02}": f"v{at:02}" for at in range(99)
    }
    market.product(
        "m1",
        title=" ".join(f"w{chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(99)),
        tags=[f"t{at:02}" for at in range(99)],
        categories=[[f"c{at:02}", "below"] for at in range(99)],
        custom_attributes=long,
    )
    market.product("m2", title="wdu wdt", tags=["t98", "t23"], categories=[["c98"], ["c11"]])
    market.happens("v1", (VIEW, "m1"), (VIEW, "m2"))
    counts = {
        (one.kind, one.name): len(one.behind) for one in market.profile("v1").contents.interests
    }
    assert [counts[key] for key in (("tag", "t23"), ("category", "c11"))] == [2, 2]
    assert [counts[key] for key in (("tag", "t98"), ("category", "c98"), ("word", "wdu"))] == [
        1,
        1,
        1,
    ]
    assert counts["attribute", "k00: v00"] == 1


@pytest.fixture
def styled(market: Market) -> Market:
    """A catalog of two prices, large enough for clusters."""
    for number in range(60):
        for thing, place, price in (("mug", "kitchen drink", 5.0), ("hat", "head wear", 50.0)):
            market.product(f"{thing} {number}", title=f"{thing} n{number}", description=place,
                           sale_price=price + number, encode=False)  # fmt: skip
    market.encode()
    clusters.refresh(market.connection, market.site_id)
    return market


def test_the_style_of_what_was_looked_at_is_an_interest(styled: Market) -> None:
    styled.happens("v1", (VIEW, "mug 1"))
    [style] = [tag for tag in styled.profile("v1").contents.interests if tag.kind == "style"]
    assert "mug" in style.name.casefold()
    assert (style.weight, style.sure) == (1.0, 0.5)


def test_a_fit_makes_profiles_anew(styled: Market) -> None:
    styled.happens("v1", (VIEW, "mug 1"))
    styled.profile("v1")
    before = stored(styled)
    styled.connection.execute("update cluster_sites set version = version + 1")
    styled.profile("v1")
    assert stored(styled) != before


def test_a_price_is_compared_within_its_style(styled: Market) -> None:
    styled.happens("v1", (VIEW, "mug 59"))
    dear = styled.profile("v1").contents.price
    styled.happens("v2", (VIEW, "hat 0"))
    cheap = styled.profile("v2").contents.price
    assert dear is not None and cheap is not None
    assert dear.position is not None and cheap.position is not None
    assert dear.high > dear.low or dear.high == 64.0
    assert dear.position > 0.5 > cheap.position
    assert dear.events[0].among == "catalog"


def test_what_is_chosen_counts_among_what_was_seen(styled: Market) -> None:
    looked = [(VIEW, f"mug {number}") for number in (5, 6, 7, 8)]
    styled.happens("v1", *looked, ("checkout", "mug 5"), (VIEW, "hat 59"))
    price = styled.profile("v1").contents.price
    assert price is not None and price.position is not None
    assert (price.by, price.word) == ("chosen", "low")
    [bought] = price.events
    assert (bought.product_id, bought.type) == ("mug 5", "purchase")
    assert price.position == pytest.approx(0.5 + bought.adds)


def test_other_currencies_are_never_mixed(styled: Market) -> None:
    styled.product("yen", title="mug", sale_price=9000.0, custom_attributes={"currency": "jpy"})
    styled.happens("v1", (VIEW, "yen"), (VIEW, "mug 1"), (VIEW, "mug 2"))
    price = styled.profile("v1").contents.price
    assert price is not None
    assert price.high == 7.0
    assert {one.product_id for one in price.events} == {"mug 1", "mug 2"}


# staleness --------------------------------------------------------------------------------------


def test_a_fresh_profile_is_used_as_it_was_stored(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"), ("checkout", "blue hat"))
    made = stocked.profile("v1")
    [(fingerprint, made_at)] = stored(stocked)
    stocked.now += timedelta(hours=1)
    again = stocked.profile("v1")
    assert fingerprint is not None
    assert stored(stocked) == [(fingerprint, made_at)]
    assert again.contents == made.contents
    assert again.vector is not None
    assert made.vector is not None
    assert np.array_equal(again.vector, made.vector)


def test_every_event_makes_it_anew(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"))
    stocked.profile("v1")
    stocked.happens("v1", {**a_interaction(VIEW, "red hat"), "timestamp": "2026-02-01T00:00:00Z"})
    assert touched(stocked, "v1") == ["red mug", "red hat"]


def test_after_a_day_products_are_looked_at_again(stocked: Market) -> None:
    stocked.happens("v1", (VIEW, "red mug"))
    stocked.profile("v1")
    [(_, made_at)] = stored(stocked)
    stocked.now += timedelta(hours=25)
    stocked.profile("v1")
    assert stored(stocked)[0][1] > made_at


def test_a_profile_waits_for_its_products_to_be_encoded(market: Market) -> None:
    market.stock("red mug", encode=False)
    market.happens("v1", (VIEW, "red mug"))
    assert market.profile("v1").vector is None
    assert stored(market)[0][0] is None
    market.encode()
    assert market.profile("v1").vector is not None
    assert stored(market)[0][0] is not None


def test_a_profile_waits_for_its_products_to_be_uploaded(market: Market) -> None:
    market.happens("v1", (VIEW, "red mug"))
    assert touched(market, "v1") == []
    market.stock("red mug")
    assert touched(market, "v1") == ["red mug"]


def test_products_nothing_can_be_said_of_are_not_waited_for(market: Market) -> None:
    market.product("x", title="")
    market.product("gone")
    market.remove("gone")
    market.happens("v1", (VIEW, "x"), (VIEW, "gone"))
    assert market.profile("v1").vector is None
    assert stored(market)[0][0] is not None
