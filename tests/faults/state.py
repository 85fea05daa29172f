"""What a site came to, without what depends on arrival: versions, product numbers, deliveries,
times of receipt."""

from __future__ import annotations

from typing import Any

from schemas.database import Connection

STATEMENTS = {
    "events": "select event_id, occurred_at, actor_id, anonymous_actor_id, type::text, "
    "product_ids, quantities, revenue, data, message_id, source_id "
    "from events where site_id = %s order by event_id",
    "event keys": "select event_id from event_keys where site_id = %s order by 1",
    "actors": "select actor_id, kind, sent_id, erased_at from actors where site_id = %s order by 1",
    "edges": "select kind, from_actor, to_actor, occurred_at, unless_actor, undone_at "
    "from identity_edges where site_id = %s order by 1, 2, 3",
    "members": "select actor_id, visitor_id from members where site_id = %s order by 1",
    "products": "select product_id, as_of, record_hash, deleted, provisional, text_hash, "
    "available, original_price, sale_price, rating, terms, ranges, record "
    "from products where site_id = %s order by 1",
    "users": "select user_id, as_of, record_hash, deleted, record from users where site_id = %s "
    "order by 1",
    "traits": "select user_id, name, as_of, value from user_traits where site_id = %s "
    "order by 1, 2",
}
LEDGER = (
    "select count(*), coalesce(sum(received), 0), coalesce(sum(applied), 0), "
    "coalesce(sum(duplicate), 0), coalesce(sum(ignored), 0), coalesce(sum(refused), 0), "
    "coalesce(sum(failed), 0) from deliveries where site_id = %s"
)


def state(connection: Connection, site_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that must be equal however the same messages came."""
    return {
        name: connection.execute(statement, [site_id]).fetchall()  # type: ignore[call-overload]
        for name, statement in STATEMENTS.items()
    }


def assert_equal_states(
    first: dict[str, list[tuple[Any, ...]]], second: dict[str, list[tuple[Any, ...]]]
) -> None:
    """As an assertion that shows the few rows that differ instead of all."""
    for name, rows in first.items():
        differing = [pair for pair in zip(rows, second[name], strict=False) if pair[0] != pair[1]]
        assert len(rows) == len(second[name]), f"{name}: {len(rows)} and {len(second[name])} rows"
        assert not differing, f"{name}: {len(differing)} rows differ, such as {differing[0]}"


def ledger(connection: Connection, site_id: int) -> dict[str, int]:
    """Sums over all deliveries; `deliveries` counts them."""
    row = connection.execute(LEDGER, [site_id]).fetchone()
    names = ("deliveries", "received", "applied", "duplicate", "ignored", "refused", "failed")
    found = {name: int(value) for name, value in zip(names, row or (), strict=True)}
    assert found["received"] == sum(found[name] for name in names[2:])
    return found
