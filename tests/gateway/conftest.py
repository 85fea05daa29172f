"""The web application on this process's database, without a server in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.http import create_app, metrics, state
from gateway.settings import Settings, load
from tests.conftest import SECRET_KEY


@pytest.fixture
def app_settings(clean_database: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a gateway that runs on the test's services."""
    return replace(
        load(find_services=False),
        home=tmp_path,
        database_url=clean_database,
        redis_url=redis_url,
        secret_key=SECRET_KEY,
        public_url="https://attune.example",
    )


@pytest.fixture
def app(app_settings: Settings) -> Iterator[Flask]:
    """The whole application."""
    metrics.totals.forget()
    made = create_app(app_settings)
    yield made
    state.of(made).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Sends requests to it."""
    return app.test_client()
