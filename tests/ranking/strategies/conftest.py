"""A market that is slow to answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from gateway import access
from schemas import database
from tests.ranking.market import Market, open_market

VIEW = "product_detail_page_view"
CATALOG = [
    f"{color} {thing}"
    for color in ("red", "blue", "green", "black")
    for thing in ("mug", "hat", "bag")
]


@pytest.fixture
def slow(clean_database: str) -> Iterator[Market]:
    """A market whose vectors nobody can read, on a connection that waits a tenth of a second."""
    access.forget()
    with contextlib.ExitStack() as stack:
        setup = stack.enter_context(contextlib.closing(database.connect(clean_database)))
        market = open_market(setup)
        setup.commit()
        market.stock(*CATALOG)
        market.popular("green bag", "red hat")
        market.happens("v1", (VIEW, "red mug"))
        locked = stack.enter_context(psycopg.connect(clean_database))
        locked.execute(f"lock table vectors_{market.site_id}_1 in access exclusive mode")
        options = "-c statement_timeout=100"
        market.connection = stack.enter_context(
            contextlib.closing(database.connect(clean_database, options=options))
        )
        yield market
