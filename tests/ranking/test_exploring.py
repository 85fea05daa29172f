"""Places left to chance, asked of the ranking itself: rules of every kind, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import psycopg
import pytest

from ranking import answer as answering
from ranking import exploring, preparation
from ranking.catalog import newcomers
from ranking.merchandising import filters
from ranking.merchandising.exploration import Exploring
from ranking.merchandising.rules import Anchoring, Boost, Rules
from ranking.question import Candidate, Question
from tests.ranking.market import Market, ids

HALF = Exploring(0.5, "s")


@pytest.fixture
def market(market: Market) -> Market:
    """Sixteen old shoes, three of them popular, and eight new ones that are open."""
    market.stock(*(f"shoe old {number}" for number in range(16)))
    market.popular(*(f"shoe old {number}" for number in range(16)))
    market.stock(*(f"shoe new {number}" for number in range(8)))
    market.happens("v", ("product_detail_page_view", "shoe old 0"))
    newcomers.refresh(market.connection, market.site_id, market.now, settled=market.now, looks=[1])
    return market


def ranked(market: Market, **asked: Any) -> answering.List:
    question = Question(
        site_id=market.site_id, strategy="recommend", at=market.now,
        actor=market.actor("v"), rows=10, **asked,
    )  # fmt: skip
    return answering.rank(market.connection, preparation.prepared(market.connection, question))


def names(page: list[Candidate]) -> list[str]:
    return [one.product_id for one in page]


def some_rules(chance: Random) -> Rules:
    boosts = [
        Boost(filters.equals("product_id", f"shoe old {chance.randint(1, 15)}"),
              tuple(chance.sample(range(9), chance.randint(0, 2))))
        for _ in range(chance.randint(0, 2))
    ]  # fmt: skip
    anchorings = [
        Anchoring(f"shoe old {chance.randint(1, 15)}", (f"shoe old {chance.randint(1, 15)}",),
                  chance.choice([-2, -1, 1, 2]))
        for _ in range(chance.randint(0, 2))
    ]  # fmt: skip
    return Rules(boosts=tuple(boosts), anchorings=tuple(anchorings), diversity=0.0)


def test_whatever_the_rules_put_somewhere_stays_there(market: Market) -> None:
    chance, explored = Random(3), 0
    for number in range(80):
        rules = some_rules(chance)
        before = ranked(market, rules=rules).page
        after = ranked(market, rules=rules, exploring=replace(HALF, seed=f"s{number}")).page
        assert len(set(names(after))) == len(after) == len(before)
        for old, new in zip(before, after, strict=True):
            assert 0 < new.chance <= 1
            if old.put:
                assert new == old
        assert names(after)[:2] == names(before)[:2]
        free = [one for one in after if not one.put]
        assert names(free) == [one for one in names(before) if one in names(free)]
        explored += sum(one.put == exploring.PUT for one in after)
    assert explored > 100


def test_so_many_of_the_free_places_are_explored(market: Market) -> None:
    pinned = Rules(boosts=(Boost(filters.equals("product_id", "shoe old 9"), (4,)),))
    asked = [Exploring(0.1, f"s{number}") for number in range(200)]
    lists = [ranked(market, rules=pinned, exploring=one).page for one in asked]
    free = 200 * 7  # of ten places the first two and the pinned one are not
    explored = sum(one.put == exploring.PUT for page in lists for one in page)
    assert abs(explored / free - 0.1) < 0.04
    assert all(page[4].product_id == "shoe old 9" for page in lists)


def test_filters_and_exclusions_hold(market: Market) -> None:
    asked = {
        "filter": filters.parse('NOT product_id:"shoe new 1"'),
        "exclude": ["shoe new 2", "shoe new 3"],
    }
    for number in range(20):
        page = ranked(market, **asked, exploring=Exploring(0.5, f"s{number}")).page
        assert not {f"shoe new {n}" for n in (1, 2, 3)} & set(names(page))


def test_nothing_is_looked_up_where_no_place_is_drawn(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(newcomers, "open_ones", lambda connection, site: asked.append(site) or [])
    before = 0
    for number in range(40):
        exploration = Exploring(0.05, f"s{number}")
        page = ranked(market, exploring=exploration).page
        drawn = exploring.exploration.places([False] * len(page), exploration)
        assert len(asked) - before == bool(drawn)
        before = len(asked)
    assert 0 < before < 40


def test_without_new_products_the_list_is_what_it_was(market: Market) -> None:
    market.connection.execute("update newcomers set state = 'done'")
    found = ranked(market, exploring=HALF)
    assert names(found.page) == names(ranked(market).page)
    assert found.proposed.unexplored is None
    assert all(one.chance == 1 for one in found.page)


def test_a_search_that_takes_too_long_leaves_the_list_as_it_is(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = names(ranked(market).page)

    def slow(connection: Any, question: Question) -> Any:
        raise psycopg.errors.QueryCanceled("too long")

    monkeypatch.setitem(exploring.STRATEGIES, "recommend", slow)
    assert names(ranked(market, exploring=HALF).page) == plain


def test_new_products_are_found_by_what_suits(market: Market) -> None:
    market.stock(*(f"lamp new {number}" for number in range(40)))
    newcomers.refresh(market.connection, market.site_id, market.now, settled=market.now, looks=[1])
    found = [
        one.product_id
        for number in range(40)
        for one in ranked(market, exploring=Exploring(0.2, f"s{number}")).page
        if one.put == exploring.PUT
    ]
    assert sum(one.startswith("shoe") for one in found) > 0.6 * len(found) > 10


def test_a_stranger_explores_too(market: Market) -> None:
    asked = {"rows": 10, "exploring": HALF}
    assert any(one.startswith("shoe new") for one in ids(market.ask(None, **asked)))
