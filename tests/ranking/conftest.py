"""A market inside a transaction that is rolled back."""

from __future__ import annotations

import pytest

from gateway import access
from schemas.database import Connection
from tests.ranking.market import Market, open_market


@pytest.fixture
def market(connection: Connection) -> Market:
    """A site without products."""
    access.forget()
    return open_market(connection)
