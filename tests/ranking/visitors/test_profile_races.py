"""The ways in which a stored profile could outlive the truth, each with connections that commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from gateway import access
from ranking.visitors import erase, identity
from schemas import database
from tests.ranking.market import Market, open_market

VIEW = "product_detail_page_view"
SEEN_TOGETHER = {"type": VIEW, "product_ids": ["red mug"], "user_id": "u1"}


@pytest.fixture
def market(clean_database: str) -> Iterator[Market]:
    """A market whose every statement commits; u1 has looked at the red hat."""
    access.forget()
    with closing(database.connect(clean_database)) as connection:
        made = open_market(connection)
        made.connection.commit()
        made.stock("red mug", "red hat", "blue mug", "blue hat")
        made.happens("nobody", {"type": VIEW, "product_ids": ["red hat"], "user_id": "u1"})
        yield made


@contextmanager
def uncommitted(market: Market, url: str) -> Iterator[Market]:
    """The same market in a transaction of its own, which the end of the block commits."""
    with closing(database.connect(url, autocommit=False)) as connection:
        yield replace(market, connection=connection)
        connection.commit()


def touched(market: Market, visitor: str = "u1", kind: str = "user") -> set[str]:
    names = {number: name for name, number in market.numbers().items()}
    known = market.profile(visitor, kind=kind)
    return {names[number] for number in known.contents.touched}


def test_an_event_that_began_first_and_committed_last_is_seen(
    market: Market, clean_database: str
) -> None:
    market.happens("a1", SEEN_TOGETHER)
    with uncommitted(market, clean_database) as slow:
        slow.happens("a1", (VIEW, "blue mug"))
        market.happens("nobody", {"type": VIEW, "product_ids": ["blue hat"], "user_id": "u1"})
        assert touched(market) == {"red hat", "red mug", "blue hat"}
    assert touched(market) == {"red hat", "red mug", "blue hat", "blue mug"}


def test_an_event_that_was_open_while_its_visitor_merged_is_seen(
    market: Market, clean_database: str
) -> None:
    market.happens("a1", (VIEW, "blue hat"))
    with uncommitted(market, clean_database) as slow:
        slow.happens("a1", (VIEW, "blue mug"))
        merge(market)
        assert touched(market) == {"red hat", "blue hat"}
    assert touched(market) == {"red hat", "blue hat", "blue mug"}


def test_a_reader_never_keeps_old_events_under_a_new_version(
    market: Market, clean_database: str
) -> None:
    with closing(database.connect(clean_database, autocommit=False)) as connection:
        reader = replace(market, connection=connection)
        assert touched(reader) == {"red hat"}
        market.happens("nobody", {"type": VIEW, "product_ids": ["blue hat"], "user_id": "u1"})
        connection.commit()
    assert touched(market) == {"red hat", "blue hat"}


def test_events_leave_with_an_undone_merge_and_return_with_it(market: Market) -> None:
    market.happens("a1", SEEN_TOGETHER, (VIEW, "blue hat"))
    assert touched(market) == {"red hat", "red mug", "blue hat"}
    anonymous, user = market.actor("a1"), market.actor("u1", "user")
    assert identity.undo_all(market.connection, market.site_id, [(anonymous, user)])
    assert touched(market) == {"red hat", "red mug"}
    assert touched(market, "a1", "anonymous") == {"blue hat"}


def test_an_unmerge_and_as_many_events_are_not_taken_for_nothing_new(market: Market) -> None:
    market.happens("a1", SEEN_TOGETHER, (VIEW, "blue hat"))
    before = touched(market)
    anonymous, user = market.actor("a1"), market.actor("u1", "user")
    versions = version(market, "a1", "anonymous")
    identity.undo_all(market.connection, market.site_id, [(anonymous, user)])
    for _ in range(versions):
        market.happens("nobody", {"type": VIEW, "product_ids": ["blue mug"], "user_id": "u1"})
    assert touched(market) == before - {"blue hat"} | {"blue mug"}


def test_nothing_is_left_of_who_was_erased(market: Market) -> None:
    assert touched(market) == {"red hat"}
    user = market.actor("u1", "user")
    erase.erase(market.connection, market.site_id, [user], market.now)
    assert touched(market) == set()
    assert market.profile("u1", kind="user").vector is None


def merge(market: Market) -> None:
    """What a sighting without an event of its own leaves: the fact, and members derived anew."""
    anonymous, user = market.actor("a1"), market.actor("u1", "user")
    with market.connection.transaction():
        market.connection.execute(
            "insert into identity_edges values (%s, 'owned', %s, %s, %s)",
            [market.site_id, anonymous, user, market.now],
        )
        identity.rebuild(market.connection, market.site_id, [anonymous, user])


def version(market: Market, visitor: str, kind: str) -> int:
    row = market.connection.execute(
        "select version from actors where site_id = %s and actor_id = %s",
        [market.site_id, market.actor(visitor, kind)],
    ).fetchone()
    assert row is not None
    return int(row[0])
