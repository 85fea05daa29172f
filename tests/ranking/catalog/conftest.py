"""A site with vector tables, and encoders: a quick stand-in and the true one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranking.catalog.encoder import Encoder, QueryEncoder
from schemas.database import Connection
from tests.ranking.catalog.catalogs import Catalog, open_catalog


@pytest.fixture
def catalog(connection: Connection) -> Catalog:
    """An empty catalog, in a transaction that is rolled back."""
    return open_catalog(connection)


@pytest.fixture(scope="session")
def true_encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="session")
def query_encoder(true_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> QueryEncoder:
    folder: Path = tmp_path_factory.mktemp("models")
    true_encoder.export(folder)
    return QueryEncoder(folder)
