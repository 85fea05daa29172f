"""Who belongs to whom, whatever order the facts come in."""

from __future__ import annotations

from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.visitors import identity
from tests.builders import ago, deliver, identify, one, rows, track
from tests.conftest import Shop

# The whole rule as one recursive query over the facts: what `members` must always say.
ORACLE = """
with recursive sent as (select actor_id from actors where sent_id is not null),
browsers as (
  select from_actor as a, to_actor as b from identity_edges
  where kind = 'device' and undone_at is null
  union all
  select to_actor, from_actor from identity_edges where kind = 'device' and undone_at is null
),
device (actor, other) as (
  select from_actor, from_actor from identity_edges where kind in ('owned', 'alias', 'device')
  union
  select to_actor, to_actor from identity_edges where kind = 'device'
  union
  select d.actor, b.b from device d join browsers b on b.a = d.other
),
owned as (
  select d.actor as from_actor,
         (array_agg(e.to_actor order by e.occurred_at, e.to_actor))[1] as to_actor
  from device d
  join identity_edges e on e.from_actor = d.other
  where e.kind in ('owned', 'alias') and e.undone_at is null
    and (e.unless_actor is null or e.unless_actor not in (select actor_id from sent))
  group by d.actor having count(distinct e.to_actor) <= 5
),
joins as (
  select from_actor as a, to_actor as b from owned
  union all
  select a, b from browsers
  union all
  select from_actor, to_actor from identity_edges
  where kind = 'same' and undone_at is null
    and from_actor in (select actor_id from sent) and to_actor in (select actor_id from sent)
),
linked as (select a, b from joins union select b, a from joins),
reach as (
  select a as actor, a as other from linked
  union
  select r.actor, b.b from reach r join linked b on b.a = r.other
)
select actor, min(other::text)::uuid from reach group by actor order by actor
"""


def visitors(shop: Shop) -> list[tuple[UUID, UUID]]:
    return rows(shop.pool, "select actor_id, visitor_id from members order by actor_id")  # type: ignore[return-value]


def actor(shop: Shop, kind: str, sent_id: str) -> UUID:
    return identity.actor_id(shop.site.pepper, kind, sent_id)


def visitor(shop: Shop, kind: str, sent_id: str) -> UUID:
    mine = actor(shop, kind, sent_id)
    return dict(visitors(shop)).get(mine, mine)


def alias(previous: str, user: str, **fields: object) -> dict[str, object]:
    return {"type": "alias", "previousId": previous, "userId": user, "timestamp": ago(minutes=5),
            "messageId": f"{previous}>{user}"} | fields  # fmt: skip


def test_an_anonymous_past_joins_the_user_who_logs_in(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [track(), identify("u1", "a1")])
    assert visitor(shop, "anonymous", "a1") == visitor(shop, "user", "u1")


def test_a_shared_device_never_joins_two_users(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, identify("u2", "a1", timestamp=ago(hours=1)))
    deliver(shop.pool, shop.segment, identify("u1", "a1", timestamp=ago(hours=2)))
    assert visitor(shop, "user", "u1") != visitor(shop, "user", "u2")
    assert visitor(shop, "anonymous", "a1") == visitor(shop, "user", "u1")


def test_an_alias_of_an_id_once_sent_as_a_user_joins_both(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, alias("u1", "u2"))
    assert visitor(shop, "user", "u1") != visitor(shop, "user", "u2")
    deliver(shop.pool, shop.segment, track(userId="u1", anonymousId=None))
    assert visitor(shop, "user", "u1") == visitor(shop, "user", "u2")


def test_an_alias_of_an_id_never_sent_as_a_user_gives_it_one_owner(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [alias("x", "u1", timestamp=ago(hours=2)), alias("x", "u2")])
    assert visitor(shop, "anonymous", "x") == visitor(shop, "user", "u1")
    assert visitor(shop, "user", "u1") != visitor(shop, "user", "u2")


def test_a_kiosk_belongs_to_nobody(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [identify(f"u{n}", "kiosk") for n in range(6)])
    assert visitors(shop) == []


def test_an_undone_fact_separates_again(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, identify("u1", "a1"))
    with shop.pool.connection() as connection, connection.transaction():
        ends = actor(shop, "anonymous", "a1"), actor(shop, "user", "u1")
        [fact] = identity.undo_all(connection, shop.site.site_id, [ends])
        assert fact["kind"] == "owned"
    assert visitors(shop) == []
    assert one(shop.pool, "select count(*) from identity_edges where undone_at is not null") == 1


def test_thousands_of_devices_in_two_uploads_are_one_visitor(shop: Shop) -> None:
    for numbers in range(1_500), range(1_500, 3_000):
        deliver(shop.pool, shop.segment, [identify("u1", f"a{n}") for n in numbers])
    assert len(visitors(shop)) == 3_001
    assert {joined for _, joined in visitors(shop)} == {visitor(shop, "user", "u1")}
    assert visitors(shop) == rows(shop.pool, ORACLE)


def test_ids_of_one_browser_have_one_owner_the_earliest(shop: Shop) -> None:
    deliver(shop.pool, shop.api, same_device("a1", "a2"), "people/_merge")
    deliver(shop.pool, shop.segment, identify("u2", "a1", timestamp=ago(hours=1)))
    assert visitor(shop, "anonymous", "a2") == visitor(shop, "user", "u2")
    deliver(shop.pool, shop.segment, identify("u1", "a2", timestamp=ago(hours=2)))
    for device in ("a1", "a2"):
        assert visitor(shop, "anonymous", device) == visitor(shop, "user", "u1")
    assert visitor(shop, "user", "u1") != visitor(shop, "user", "u2")


def test_a_browser_with_too_many_owners_is_nobodys_and_still_one(shop: Shop) -> None:
    deliver(shop.pool, shop.segment, [identify(f"u{n}", f"a{n % 2}") for n in range(6)])
    deliver(shop.pool, shop.api, same_device("a0", "a1"), "people/_merge")
    assert visitor(shop, "anonymous", "a0") == visitor(shop, "anonymous", "a1")
    assert len(visitors(shop)) == 2


def same_device(one_id: str, other_id: str) -> dict[str, object]:
    return {"data": [{"anonymous_id": one_id, "other_id": other_id}]}


USERS, DEVICES = ["u1", "u2", "u3"], ["a1", "a2", "u1"]
FACTS = st.lists(
    st.one_of(
        st.tuples(st.just("device"), st.sampled_from(DEVICES), st.sampled_from(["a1", "a3"]),
                  st.just(0)),
        st.tuples(st.just("seen"), st.sampled_from(DEVICES), st.sampled_from(USERS),
                  st.integers(1, 9)),
        st.tuples(st.just("alias"), st.sampled_from(DEVICES + USERS), st.sampled_from(USERS),
                  st.integers(1, 9)),
        st.tuples(st.just("sent"), st.just(""), st.sampled_from(USERS), st.integers(1, 9)),
    ),
    min_size=1, max_size=10,
)  # fmt: skip


def messages(facts: list[tuple[str, str, str, int]]) -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    for number, (kind, device, user, hours) in enumerate(facts):
        common = {"messageId": f"f{number}", "timestamp": ago(hours=hours)}
        if kind == "seen":
            made.append(identify(user, device, **common))
        elif kind == "alias":
            made.append(alias(device, user, **common))
        elif kind == "sent":
            made.append(track(userId=user, anonymousId=None, **common))
        else:
            made.append(same_device(device, user))
    return made


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(facts=FACTS, order=st.randoms(use_true_random=False))
def test_members_follow_the_facts_in_any_order(shop: Shop, facts, order) -> None:  # type: ignore[no-untyped-def]
    sent = messages(facts)
    found = []
    for _ in range(2):
        with shop.pool.connection() as connection:
            for table in ("events", "event_keys", "members", "identity_edges", "actors"):
                connection.execute(f"delete from {table}")
        for message in sent:
            by_hand = "data" in message
            source, topic = (shop.api, "people/_merge") if by_hand else (shop.segment, None)
            deliver(shop.pool, source, message, topic)
        found.append(visitors(shop))
        assert found[-1] == rows(shop.pool, ORACLE)
        order.shuffle(sent)
    assert found[0] == found[1]
