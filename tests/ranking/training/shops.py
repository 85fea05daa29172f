"""A shop with an archive in Postgres, through the doors that a shop's archive comes through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

import numpy as np

from ranking.catalog import popularity
from ranking.training import train as training
from ranking.training.network import Settings
from ranking.training.train import Outcome
from tests.ranking.market import Market

KINDS = ("mug", "lamp", "scarf", "chair", "clock", "vase", "rug", "bowl")
COLOURS = ("red", "blue", "green", "white", "black", "pink")
DAYS = 60
QUICK = Settings(
    threads=1, epochs=4, rows_a_step=512, blocks=6, learning_rate=5e-3, history_rate=1e-2
)

# Who and when (a day before now, a second of it), and what they looked at.
Visit = tuple[str, float, list[str]]


def stocked(market: Market) -> list[str]:
    """Six products of each kind. Their texts tell the colour too, as much as the kind."""
    return market.stock(*(f"{colour} {kind}" for kind in KINDS for colour in COLOURS))


def visits_by_colour(number: int, seed: int = 0) -> Iterator[Visit]:
    """Visits of three products of one colour, of kinds that go together in this shop: what texts do
    not tell. They come one after another in a ring: what neighbours do not tell. Half of the visits
    end with any product."""
    random = np.random.default_rng(seed)
    for visit in range(number):
        colour = COLOURS[random.integers(len(COLOURS))]
        room, first = random.integers(2), random.integers(4)
        seen = [f"{colour} {KINDS[(first + step) % 4 * 2 + room]}" for step in range(3)]
        if visit % 2:
            seen.append(f"{random.choice(COLOURS)} {random.choice(KINDS)}")
        yield f"v{visit}", DAYS * (number - visit) / number, seen


def visits_by_chance(number: int, seed: int = 0) -> Iterator[Visit]:
    """Visits of any four products."""
    random = np.random.default_rng(seed)
    products = [f"{colour} {kind}" for kind in KINDS for colour in COLOURS]
    for visit in range(number):
        chosen = random.permutation(len(products))[:4]
        yield f"v{visit}", DAYS * (number - visit) / number, [products[one] for one in chosen]


def archived(market: Market, visits: Iterable[Visit], step_s: float = 60.0) -> None:
    """Upload them as events of anonymous visitors, each visit's a minute apart."""
    records = [
        {
            "type": "product_detail_page_view",
            "anonymous_id": visitor,
            "product_ids": [product_id],
            "timestamp": (market.now - timedelta(days=days, seconds=-step * step_s)).isoformat(),
        }
        for visitor, days, products in visits
        for step, product_id in enumerate(products)
    ]
    for start in range(0, len(records), 1000):
        market.post("interactions", *records[start : start + 1000])
    popularity.refresh(market.connection, market.site_id, market.now)


def train(market: Market, *, scheduled: bool = False) -> Outcome:
    return training.train(
        market.connection, market.site_id, market.now, settings=QUICK, scheduled=scheduled
    )
