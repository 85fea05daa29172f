"""The web application on this process's database, without a server in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.http import create_app, scrape, state
from gateway.settings import Settings, load
from tests.conftest import SECRET_KEY


@pytest.fixture
def environment(
    clean_database: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What any process needs to find the test's services; set in this one too."""
    values = {
        "DATABASE_URL": clean_database,
        "REDIS_URL": redis_url,
        "ATTUNE_HOME": str(tmp_path),
        "ATTUNE_SECRET_KEY": SECRET_KEY,
        "PUBLIC_URL": "https://attune.example",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("COLUMNS", raising=False)  # as in a pipe, whoever runs the tests
    return values


@pytest.fixture
def app_settings(environment: dict[str, str]) -> Settings:
    """Settings of a gateway that runs on the test's services."""
    return load()


@pytest.fixture
def app(app_settings: Settings) -> Iterator[Flask]:
    """The whole application."""
    scrape.totals.forget()
    made = create_app(app_settings)
    yield made
    state.of(made).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Sends requests to it."""
    return app.test_client()
