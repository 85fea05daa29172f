"""The whole application on this process's services, and two sites in it."""

from __future__ import annotations

import pytest

from gateway import access
from tests.conftest import Shop
from tests.gateway.conftest import app, app_settings, client, environment

__all__ = ["app", "app_settings", "client", "environment"]


@pytest.fixture
def stranger(shop: Shop) -> Shop:
    """Another site of the same installation, with keys and a source of its own."""
    with shop.pool.connection() as connection:
        keys = access.create_site(connection, "stranger")
        site = access.site(connection, "stranger")
        made = access.create_source(connection, site, "segment")
        api = access.api_source(connection, site.site_id)
    return Shop(
        shop.pool,
        site,
        api,
        made.source,
        keys["secret_key"],
        keys["publishable_key"],
        made.write_key or "",
    )
