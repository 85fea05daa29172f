"""What does a tenant notice of another one's flood, or of the worst that another one can send?

Site A may ask 20 times a second with each of its keys, as somebody would say who shares a machine.
It floods its doors at many times that; site B's p95 is compared with what it was a moment before.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import catalog, load
from bench.report import Line, against, known, note, percentile
from bench.stage import Stage, stage, web
from bench.webhook import event
from gateway import access

PRODUCTS, VISITORS = 4_000, 300
RATE, SECONDS, ROUNDS = 40, 5.0, 4
CONNECTIONS = 16
LIMIT = 20  # requests a second with one key of A
FLOODED_S = 1.0  # until a flood is under way
SETTLE_S = 6.0  # nothing waits longer for a thread
LISTS = "/v1/recommendation/user_to_products"


@dataclass(frozen=True)
class Tenant:
    """A site with what its senders need."""

    key: str
    secret: str
    webhook: str

    def signed(self, body: bytes, secret: str | None = None, first: bytes | None = None) -> bytes:
        signed = body if first is None else first
        digest = hmac.new((secret or self.secret).encode(), signed, hashlib.sha1).hexdigest()
        return load.post(self.webhook, body, {"X-Signature": digest})

    def asks(self, visitor: str, **more: object) -> bytes:
        body = {"anonymous_id": visitor, "rows": 24} | more
        return load.post(f"{LISTS}?api_key={self.key}", json.dumps(body).encode(), {})


@dataclass(frozen=True)
class Flood:
    """Requests over and over, so many a second on so many connections."""

    rate: float
    connections: int
    requests: list[bytes]


def run() -> Iterator[Line]:
    with stage() as on:
        flooder, other = _tenants(on)
        with web(on) as port:
            _warm(port, flooder, other)
            for name, floods in _floods(flooder).items():
                yield from _compared(port, name, floods, other)


def _tenants(on: Stage) -> tuple[Tenant, Tenant]:
    with on.pool.connection() as connection:
        access.create_site(connection, "flooder")
        site = access.site(connection, "flooder")
        source = access.create_source(connection, site, "segment").source
        key = access.create_key(connection, site, "publishable", requests_per_second=LIMIT)
        api = access.api_source(connection, site.site_id)
    for site_id, of_site in ((site.site_id, api), (on.site.site_id, on.api)):
        catalog.fill(on.pool, site_id, PRODUCTS)
        catalog.visits(on.pool, site_id, of_site, VISITORS, 3)
    return (
        Tenant(key, source.secrets[0], f"/webhooks/segment/{source.public_id}"),
        Tenant(
            on.keys["publishable_key"],
            on.segment.secrets[0],
            f"/webhooks/segment/{on.segment.public_id}",
        ),
    )


def _warm(port: int, *tenants: Tenant) -> None:
    for tenant in tenants:
        for requests in (_lists(tenant), _webhooks(tenant)):
            load.closed(port, requests, connections=8, seconds=2.0)


def _lists(tenant: Tenant) -> Callable[[], bytes]:
    visitors = itertools.count()
    return lambda: tenant.asks(f"v{next(visitors) % VISITORS}")


def _webhooks(tenant: Tenant) -> Callable[[], bytes]:
    return lambda: tenant.signed(event())


# what A sends ------------------------------------------------------------------------------------


def _floods(flooder: Tenant) -> dict[str, list[Flood]]:
    return {
        "lists, 20 times its limit": [
            Flood(20 * LIMIT, 32, [flooder.asks(f"v{n}") for n in range(VISITORS)])
        ],
        "webhooks": [Flood(20 * LIMIT, 32, [flooder.signed(event()) for _ in range(20_000)])],
        "poison": [Flood(60, 16, _poison(flooder)), Flood(4, 4, _batches(flooder))],
    }


def _poison(flooder: Tenant) -> list[bytes]:
    """Small and bad: unreadable, deep, forged, and filters that cost as much as they may."""
    brands = " OR ".join(f'brand:"Brand {n}"' for n in range(400))
    ranges = " OR ".join(f"custom_attributes.x:[{n} TO {n + 1}]" for n in range(40))
    return [
        flooder.signed(b'{"type": "track", "event'),
        flooder.signed(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
        flooder.signed(b'{"a": ' + b"9" * 200_000 + b"}"),
        flooder.signed(event(), secret="forged"),
        flooder.asks("v1", fq=brands),
        flooder.asks("v2", fq=ranges),
        flooder.asks("v3", fq="(" * 40 + "brand:x" + ")" * 40, rows=500, fl=["*"], explain=True),
        flooder.asks("v4", exclude=[f"p{n}" for n in range(10_000)]),
        load.post(f"{LISTS}?api_key=pk_{'0' * 40}", b"{}", {}),
    ]


def _batches(flooder: Tenant) -> list[bytes]:
    """As large as Segment makes them."""
    made = []
    for _ in range(8):
        events = [event() for _ in range(4000)]
        first = json.dumps(json.loads(events[0]), separators=(",", ":")).encode()
        body = b"[" + first + b"," + b",".join(events[1:]) + b"]"
        made.append(flooder.signed(body, first=first))
    return made


@contextlib.contextmanager
def _under_way(port: int, floods: list[Flood]) -> Iterator[None]:
    """The floods come from processes of their own, and go on until the block ends."""
    spawn = multiprocessing.get_context("spawn")
    senders = [spawn.Process(target=pour, args=(port, one), daemon=True) for one in floods]
    for sender in senders:
        sender.start()
    time.sleep(FLOODED_S + 2.0)  # a process starts within
    try:
        yield
    finally:
        for sender in senders:
            sender.terminate()
            sender.join()


def pour(port: int, flood: Flood) -> None:
    """In a process of its own."""
    requests = itertools.cycle(flood.requests)
    load.open_loop(
        port,
        lambda: next(requests),
        connections=flood.connections,
        seconds=600,
        rate=flood.rate,
        forgiving=True,
    )


# what B notices ----------------------------------------------------------------------------------


def _compared(port: int, name: str, floods: list[Flood], other: Tenant) -> Iterator[Line]:
    doors = {"user_to_products": _lists(other), "webhook": _webhooks(other)}
    quiet: dict[str, list[float]] = {door: [] for door in doors}
    flooded: dict[str, list[float]] = {door: [] for door in doors}
    for number in range(ROUNDS):
        note(f"tenants: {name}, round {number + 1} of {ROUNDS}")
        _measure(port, doors, quiet)
        with _under_way(port, floods):
            _measure(port, doors, flooded)
        time.sleep(SETTLE_S)
    for door in doors:
        beside = percentile(flooded[door], 95)
        question = f"{door} p95 beside another site's {name}"
        yield against(question, beside, "ms", percentile(quiet[door], 95), most=1.2)
        yield known(f"the same, p50 against {percentile(quiet[door], 50):.1f}",
                    percentile(flooded[door], 50), "ms")  # fmt: skip


def _measure(
    port: int, doors: dict[str, Callable[[], bytes]], into: dict[str, list[float]]
) -> None:
    for door, requests in doors.items():
        found = load.open_loop(
            port, requests, connections=CONNECTIONS, seconds=SECONDS, rate=RATE
        ).check()
        into[door] += found.latencies
