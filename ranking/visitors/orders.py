"""Orders: what sources tell of them, and the one purchase that each comes to.

An order is a pure function of the set of its tellings, so their order of arrival and repetitions
change nothing. Of its content the most trusted source's newest telling counts: a platform's own
webhook before a backend. What only a key in a web page vouches for, anybody can claim: it counts
only until somebody else says that the order was placed.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from schemas import database
from schemas.database import Connection

SQL = database.queries(__file__)

PLATFORM, BACKEND, BROWSER = 3, 2, 1  # trust


Teller = tuple[int, int]  # a source, and how far it is believed: its pages less than itself


class Telling(NamedTuple):
    """The newest that one source told of an order; fields as in order_tellings."""

    order_id: str
    source_id: int
    told: str
    reference: str
    trust: int
    as_of: datetime
    told_hash: UUID
    occurred_at: datetime
    user_actor_id: UUID | None
    anonymous_actor_id: UUID | None
    content: dict[str, Any]
    delivery_id: UUID
    position: int
    received_at: datetime

    @property
    def teller(self) -> Teller:
        return self.source_id, self.trust

    @property
    def rank(self) -> tuple[int, datetime, UUID]:
        return self.trust, self.as_of, self.told_hash


@dataclass(frozen=True, slots=True)
class Line:
    """A product of an order; `quantity` None where nobody told how many."""

    product_id: str
    quantity: float | None
    returned: float = 0.0

    @property
    def is_left(self) -> bool:
        return self.quantity is None or self.quantity > self.returned


@dataclass(frozen=True, slots=True)
class Order:
    """What all tellings come to; `best` is the telling that is believed for its content."""

    order_id: str
    status: str | None
    best: Telling | None
    lines: list[Line]
    revenue: float | None
    refunded: float
    currency: str | None
    user_actor_id: UUID | None
    anonymous_actor_id: UUID | None

    @property
    def actor_id(self) -> UUID | None:
        return self.user_actor_id or self.anonymous_actor_id

    @property
    def counts(self) -> bool:
        """Whether it is a purchase."""
        return self.status in ("placed", "partly_refunded")


@dataclass(frozen=True, slots=True)
class Told:
    """Whose events changed (actor, kind, id as sent), and the anonymous ids that were seen with a
    user on one order, since when."""

    actors: list[tuple[UUID, str, str | None]]
    sightings: list[tuple[UUID, UUID, datetime]]


class Earlier(NamedTuple):
    """What a delivery told before it is read anew, but for records at the positions `erased`."""

    delivery_id: UUID
    erased: list[int]


# what tellings come to --------------------------------------------------------------------------


def settled(order_id: str, tellings: Iterable[Telling]) -> Order:
    """The order that these tellings come to. Pure."""
    ranked = sorted(_believed(tellings), key=lambda one: one.rank, reverse=True)
    placed = [one for one in ranked if one.told == "placed"]
    best = placed[0] if placed else None
    returned, all_returned, refunded = _refunds(ranked)
    lines = _lines(best, returned, all_returned=all_returned)
    return Order(
        order_id,
        _status(ranked, placed, lines, touched=bool(refunded or returned), whole=all_returned),
        best,
        lines,
        _first(one.content.get("revenue") for one in placed),
        refunded,
        _first(one.content.get("currency") for one in placed),
        _first(one.user_actor_id for one in ranked),
        _first(one.anonymous_actor_id for one in ranked),
    )


def _believed(tellings: Iterable[Telling]) -> list[Telling]:
    """Without claims where another source knows the order: a claim could cancel it, or name its
    buyer, to whom its products are shown."""
    known = list(tellings)
    vouched = [one for one in known if one.trust > BROWSER]
    return vouched if any(one.told == "placed" for one in vouched) else known


def _status(
    ranked: list[Telling], placed: list[Telling], lines: list[Line], *, touched: bool, whole: bool
) -> str | None:
    if any(_stands(one, placed) for one in ranked if one.told == "cancelled"):
        return "cancelled"
    if not placed:
        return None
    if whole or (touched and lines and not any(line.is_left for line in lines)):
        return "refunded"
    return "partly_refunded" if touched else "placed"


def _stands(cancelled: Telling, placed: list[Telling]) -> bool:
    """A platform tells an order's present state whole: what it placed again since is not cancelled.
    Elsewhere a late update of a cancelled order is no reason to count it."""
    return not any(
        one.source_id == cancelled.source_id
        and one.trust == PLATFORM
        and one.as_of > cancelled.as_of
        for one in placed
    )


def _refunds(ranked: list[Telling]) -> tuple[dict[str, float], bool, float]:
    """What came back by product, whether all did, and what was paid back. One source's refunds add
    up; of several sources, who tell of the same refunds, the one that tells of most counts."""
    products: dict[Teller, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    paid: dict[Teller, float] = defaultdict(float)
    whole = False
    for one in ranked:
        if one.told != "refunded":
            continue
        ids, revenue = one.content.get("product_ids") or [], one.content.get("revenue")
        whole = whole or (not ids and revenue is None)
        for product_id, quantity in _counted(ids, one.content.get("quantities")):
            products[one.teller][product_id] += 1.0 if quantity is None else quantity
        paid[one.teller] += abs(revenue or 0.0)
    most: dict[str, float] = defaultdict(float)
    for by_product in products.values():
        for product_id, quantity in by_product.items():
            most[product_id] = max(most[product_id], quantity)
    return most, whole, max(paid.values(), default=0.0)


def _lines(
    best: Telling | None, returned: Mapping[str, float], *, all_returned: bool
) -> list[Line]:
    """The lines of an order, a product once; what came back never exceeds what was bought."""
    if best is None:
        return []
    content = best.content
    bought: dict[str, float | None] = {}
    for product_id, quantity in _counted(content.get("product_ids"), content.get("quantities")):
        known = bought.get(product_id)
        bought[product_id] = quantity if known is None else known + (quantity or 0.0)
    return [
        Line(product_id, quantity, _back(quantity, returned.get(product_id, 0.0), all_returned))
        for product_id, quantity in bought.items()
    ]


def _back(quantity: float | None, returned: float, all_returned: bool) -> float:
    if quantity is None:
        return returned
    return quantity if all_returned else min(returned, quantity)


def _counted(
    product_ids: Sequence[str] | None, quantities: Sequence[float] | None
) -> Iterable[tuple[str, float | None]]:
    ids = product_ids or []
    return zip(ids, quantities or itertools.repeat(None, len(ids)), strict=True)


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


# telling ----------------------------------------------------------------------------------------


def tell(
    connection: Connection,
    site_id: int,
    told: Sequence[dict[str, Any]],
    event_ids: Mapping[str, UUID],
    horizon: datetime,
    *,
    instead_of: Earlier | None = None,
) -> Told:
    """Store what a delivery tells of orders, and make the purchase of each anew, inside the
    caller's transaction. `told` are rows of order_tellings; `event_ids` name the purchase of each
    order that is to be made. One placed before `horizon` is an order without an event. What was
    told `instead_of` this is forgotten first, and the orders of which nobody tells then."""
    where = {
        "site": site_id, "ids": sorted(event_ids), "horizon": horizon, "claimed": BROWSER,
    }  # fmt: skip
    if instead_of is not None:
        connection.execute(SQL.lock, where)
        connection.execute(SQL.take_back, where | instead_of._asdict())
    connection.execute(SQL.tell, where | {"rows": database.jsonb(told)})
    settled = _settle(connection, where, event_ids)
    if instead_of is not None:
        for statement in (SQL.forget_untold, SQL.forget_people):
            connection.execute(statement, where)
    return settled


def told_by(connection: Connection, site_id: int, earlier: Earlier) -> list[str]:
    """The orders of which the newest word of a source is this delivery's."""
    parameters = {"site": site_id} | earlier._asdict()
    return [row[0] for row in connection.execute(SQL.told_by, parameters)]


def placed_by(
    connection: Connection, site_id: int, actors: Sequence[UUID], at: datetime
) -> list[str]:
    """The orders that were told up to an instant to be of these actors."""
    where = {"site": site_id, "actors": list(actors), "at": at}
    return [row[0] for row in connection.execute(SQL.placed_by, where)]


def tellings_of(connection: Connection, site_id: int, delivery_id: UUID) -> list[tuple[int, str]]:
    """(position, hash of what is told) of each record by which a delivery tells of orders."""
    parameters = {"site": site_id, "delivery": delivery_id}
    return connection.execute(SQL.tellings_of, parameters).fetchall()


def unname(connection: Connection, site_id: int, actors: Sequence[UUID], at: datetime) -> int:
    """Orders placed up to an instant by erased actors stay, as nobody's; returns how many."""
    parameters = {"site": site_id, "actors": list(actors), "at": at}
    for statement in (SQL.unname, SQL.forget):
        connection.execute(statement, parameters)
    return connection.execute(SQL.disown, parameters).rowcount


def _settle(
    connection: Connection, where: Mapping[str, Any], event_ids: Mapping[str, UUID]
) -> Told:
    tellings = [Telling(*row) for row in connection.execute(SQL.tellings, where)]
    by_order: dict[str, list[Telling]] = {order_id: [] for order_id in where["ids"]}
    for one in tellings:
        by_order[one.order_id].append(one)
    rows = [
        _row(settled(order_id, told), event_ids[order_id]) for order_id, told in by_order.items()
    ]
    found = connection.execute(SQL.settle, dict(where) | {"rows": database.jsonb(rows)}).fetchall()
    return Told(
        [(actor, kind, sent_id) for actor, kind, sent_id, user, _ in found if user is None],
        [(actor, user, since) for actor, _, _, user, since in found if user is not None],
    )


def _row(order: Order, event_id: UUID) -> dict[str, Any]:
    """The row of `orders`, and of its purchase in `events` where it counts."""
    row: dict[str, Any] = {
        "order_id": order.order_id,
        "event_id": event_id,
        "status": order.status,
        "revenue": order.revenue,
        "refunded": order.refunded,
        "currency": order.currency,
        "lines": [
            {"product_id": one.product_id, "quantity": one.quantity, "returned": one.returned}
            for one in order.lines
        ],
        "actor_id": order.actor_id,
    }
    if order.best is not None:
        row |= {"placed_at": order.best.occurred_at} | _event(order, order.best)
    return row


def _event(order: Order, best: Telling) -> dict[str, Any]:
    left = [line for line in order.lines if line.is_left]
    quantities = [line.quantity - line.returned for line in left if line.quantity is not None]
    revenue = order.revenue
    return {
        "counts": order.counts and order.actor_id is not None,
        "anonymous_actor_id": order.anonymous_actor_id if order.user_actor_id else None,
        "product_ids": [line.product_id for line in left],
        "quantities": quantities if quantities and len(quantities) == len(left) else None,
        "left_revenue": None if revenue is None else max(revenue - order.refunded, 0.0),
        "data": best.content.get("data") or {"order_id": order.order_id},
        "message_id": best.content.get("message_id"),
        "source_id": best.source_id,
        "delivery_id": best.delivery_id,
        "position": best.position,
        "received_at": best.received_at,
    }


# looking ----------------------------------------------------------------------------------------


def get(connection: Connection, site_id: int, order_id: str) -> dict[str, Any] | None:
    """An order as the API shows it, with what each source told; None if nobody told of it."""
    found = database.dicts(connection.execute(SQL.get, {"site": site_id, "order": order_id}))
    return found[0] if found else None


def newest(connection: Connection, site_id: int, limit: int) -> list[dict[str, Any]]:
    """The orders placed last, newest first."""
    return database.dicts(connection.execute(SQL.newest, {"site": site_id, "limit": limit}))
