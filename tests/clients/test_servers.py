"""Segment's unmodified libraries for Node and Python: whatever the network does to their requests,
each of their calls has one effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Receiver, by_node, by_python
from tests.clients.proxy import LOSE, UNAVAILABLE, proxy

pytestmark = pytest.mark.heavy

PRODUCTS = [f"p{number}" for number in range(8)]
CALLS = len(PRODUCTS) + 2  # a page, an identify
SEND_BY_NODE, SEND_BY_PYTHON = HERE / "send.cjs", HERE / "send.py"

NETWORKS: dict[str, Sequence[str]] = {
    "good": (),
    "lost acknowledgements": (LOSE, LOSE),
    "unavailable": (UNAVAILABLE, UNAVAILABLE),
}


def to(host: str, key: str, flush_at: int, **more: Any) -> dict[str, Any]:
    """What the senders are told."""
    return {
        "host": host,
        "key": key,
        "products": PRODUCTS,
        "flushAt": flush_at,
        "user": "u1",
        "visitor": "a1",
    } | more


def check_each_call_once(receiver: Receiver) -> dict[str, int]:
    events = receiver.events()
    assert sorted(product for event in events for product in event["product_ids"]) == PRODUCTS
    assert len({event["message_id"] for event in events}) == len(events) == len(PRODUCTS) + 1
    ledger = receiver.ledger()
    assert ledger["applied"] == CALLS
    assert ledger["refused"] == ledger["failed"] == ledger["ignored"] == 0
    assert ledger["received"] == ledger["applied"] + ledger["duplicate"]
    return ledger


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("flush_at", [15, 3])
def test_node(receiver: Receiver, npm: Path, network: str, flush_at: int) -> None:
    with proxy(receiver.url, NETWORKS[network]) as between:
        by_node(npm, SEND_BY_NODE, to(between.url, receiver.write_key, flush_at))
    check(receiver, between.told, network)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("flush_at", [100, 3])
@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_python(receiver: Receiver, pip: Path, network: str, flush_at: int, gzip: bool) -> None:
    with proxy(receiver.url, NETWORKS[network]) as between:
        by_python(pip, SEND_BY_PYTHON, to(between.url, receiver.write_key, flush_at, gzip=gzip))
    check(receiver, between.told, network)


def check(receiver: Receiver, told: Sequence[int | str], network: str) -> None:
    ledger = check_each_call_once(receiver)
    if network == "lost acknowledgements":
        assert list(told).count(LOSE) == 2
        assert ledger["duplicate"] > 0
    else:
        assert ledger["duplicate"] == 0
        assert list(told).count(503) == (2 if network == "unavailable" else 0)


def test_node_comes_again_when_it_is_told_to(receiver: Receiver, npm: Path) -> None:
    with proxy(receiver.url, ()) as between:
        by_node(npm, SEND_BY_NODE, to(between.url, receiver.slow_key, 1))
    assert 429 in between.told
    assert check_each_call_once(receiver)["duplicate"] == 0


def test_python_comes_again_when_it_is_told_to(receiver: Receiver, pip: Path) -> None:
    with proxy(receiver.url, ()) as between:
        by_python(pip, SEND_BY_PYTHON, to(between.url, receiver.slow_key, 1, gzip=False))
    assert 429 in between.told
    assert check_each_call_once(receiver)["duplicate"] == 0


def test_the_prefix_is_reached_too(receiver: Receiver, pip: Path) -> None:
    with proxy(receiver.url, ()) as between:
        host = f"{between.url}/segment"
        by_python(pip, SEND_BY_PYTHON, to(host, receiver.write_key, 100, gzip=True))
    check_each_call_once(receiver)
