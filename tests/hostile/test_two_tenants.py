"""One site's answers beside another with the very same ids, and without it: byte for byte equal.

A sequence of requests goes to a site that is alone, then to a second one like it while a third
does the same things, and others, under the same ids, each at the same moment of a clock of its own.
What is drawn at random is masked; everything else must not differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from gateway import access
from ranking.catalog import embeddings, popularity
from tests.conftest import Shop
from tests.hostile.calls import VALID, Call, compact, every_call, rows_of, stocked
from tests.hostile.test_bodies import HOSTILE_VALUES, full_body, places, replaced
from tests.ranking.market import Words

CALLS = 160
PEPPER = bytes(range(32))
# So long ago that what Postgres takes for now comes after all of it, in each of the worlds.
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)

MASKS = [
    (re.compile(rb'"took":[0-9.]+'), b'"took":_'),
    (re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), b"<uuid>"),
    (re.compile(rb"\b[0-9a-f]{24}\b"), b"<source>"),
    (re.compile(rb"ip-[0-9a-f]{32}"), b"<nobody>"),
    (re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), b"<time>"),
    (re.compile(rb"[0-9a-f]{40}"), b"<digest>"),
    (re.compile(rb'"source_id":\d+'), b'"source_id":_'),  # numbered over the installation
]
# What they say is about the whole installation, or about keys and addresses.
OF_EVERYBODY = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/demo",
    "/demo/<file>",
    "/snippet.js",
)


@dataclass(frozen=True)
class Tenant:
    shop: Shop
    calls: dict[tuple[str, str], Call]


Opened = Callable[[str], Tenant]


@pytest.fixture
def clock(app: Flask) -> Iterator[time_machine.Coordinates]:
    """Stands still but for a moment before each request, so that no two have the same time."""
    with time_machine.travel(BEGIN, tick=False) as travelling:
        app.before_request(lambda: travelling.shift(timedelta(milliseconds=10)))
        yield travelling


@pytest.fixture
def open_tenant(
    app: Flask, client: FlaskClient, shop: Shop, clock: time_machine.Coordinates
) -> Callable[[str], Tenant]:
    def opened(name: str) -> Tenant:
        clock.move_to(BEGIN)
        return tenant(app, client, shop, name)

    return opened


def share_scope(shop: Shop) -> None:
    """Events of one instant are ordered by hashes that the number of their source keys too."""
    with shop.pool.connection() as connection:
        connection.execute(
            "update sources set dedupe_scope = 1 where site_id = %s", [shop.site.site_id]
        )
    access.forget()


def tenant(app: Flask, client: FlaskClient, beside: Shop, name: str) -> Tenant:
    """A site with keys, a source, something of everything, encoded and counted."""
    with beside.pool.connection() as connection:
        keys = access.create_site(connection, name)
        # Facts of one instant are ordered by hashes that the pepper keys: else at random.
        connection.execute("update sites set pepper = %s where name = %s", (PEPPER, name))
        site = access.site(connection, name)
        made = access.create_source(connection, site, "segment")
        api = access.api_source(connection, site.site_id)
    shop = Shop(
        beside.pool,
        site,
        api,
        made.source,
        keys["secret_key"],
        keys["publishable_key"],
        made.write_key or "",
    )
    share_scope(shop)
    calls = every_call(app, shop, stocked(client, shop))
    share_scope(shop)
    prepare(shop)
    return Tenant(shop, {(call.method, call.rule): call for call in calls})


def prepare(shop: Shop) -> None:
    """What the roles do beside the doors."""
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
        popularity.refresh(connection, shop.site.site_id, datetime.now(UTC))


def script(seed: int) -> Iterator[tuple[tuple[str, str], Any]]:
    """Routes with bodies: each route once as it is meant, then any of them with anything in it."""
    chance = Random(seed)
    routes = sorted(route for route in VALID if route[1] not in OF_EVERYBODY)
    yield from ((route, None) for route in routes)
    for _ in range(CALLS):
        route = chance.choice(routes)
        yield route, chance.random()


def said(tenant: Tenant, route: tuple[str, str], how: float | None) -> Call:
    """The same request of every tenant: its own credentials, the same ids."""
    call = tenant.calls[route]
    if how is None or call.body is None:
        return call
    chance = Random(how)
    body = full_body(call)
    for _ in range(chance.randint(0, 2)):
        at = chance.choice(list(places(body)))
        value = chance.choice(HOSTILE_VALUES)
        body = replaced(body, at, value)
        if not at:
            break
    return call.saying(compact(body))


def masked(answer: Any) -> bytes:
    text = answer.data
    for pattern, by in MASKS:
        text = pattern.sub(by, text)
    if text.startswith(b'{"events":['):  # those of one moment come in the order of their random ids
        text = compact({"events": sorted(json.loads(text)["events"], key=compact)})
    return b"%d %b %b" % (answer.status_code, answer.headers["Content-Type"].encode(), text)


def played(
    client: FlaskClient,
    clock: time_machine.Coordinates,
    tenant: Tenant,
    seed: int,
    other: Tenant | None = None,
) -> list[tuple[str, bytes]]:
    """The masked answers to the script; with `other`, who does something before each of them."""
    answers = []
    chance = Random(-seed)
    for number, (route, how) in enumerate(script(seed), 1):
        if other is not None:
            said(other, route, how).send(client)
            said(other, chance.choice(sorted(other.calls)), chance.random()).send(client)
        clock.move_to(BEGIN + timedelta(seconds=number))
        call = said(tenant, route, how)
        answers.append((f"{call} {call.body!r:.200}", masked(call.send(client))))
    return answers


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(2, 10))]
)
def test_answers_are_the_same_beside_a_site_with_the_same_ids(
    client: FlaskClient, clock: time_machine.Coordinates, open_tenant: Opened, seed: int
) -> None:
    expected = played(client, clock, open_tenant("alone"), seed)
    other = open_tenant("other")
    found = played(client, clock, open_tenant("beside"), seed, other)
    for (what, before), (_, after) in zip(expected, found, strict=True):
        assert after == before, f"{what}: {differing(before, after)}"


def differing(before: bytes, after: bytes) -> str:
    """Where two answers part."""
    pairs = zip(before, after, strict=False)
    at = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(before), len(after)))
    around = slice(max(0, at - 80), at + 40)
    return f"{before[around]!r} became {after[around]!r}"


def test_what_one_site_does_moves_no_row_of_another(
    client: FlaskClient, open_tenant: Opened
) -> None:
    here, there = open_tenant("here"), open_tenant("there")
    before = rows_of(here.shop)
    for route, how in script(20):
        call = said(there, route, how)
        call.send(client)
        assert rows_of(here.shop) == before, f"{call} {call.body!r:.200}"


def test_the_script_reaches_what_it_is_about(
    client: FlaskClient, clock: time_machine.Coordinates, open_tenant: Opened
) -> None:
    """Else it would compare refusals with refusals."""
    one = open_tenant("one")
    statuses = [answer.split(b" ", 1)[0] for _, answer in played(client, clock, one, 1)]
    assert statuses.count(b"200") > len(statuses) // 2
    two = open_tenant("two")
    lists = [
        json.loads(call.send(client).data)["data"].get("products")
        for call in two.calls.values()
        if call.rule.startswith(("/v1/recommendation/", "/v1/search/"))
    ]
    assert any(lists)
