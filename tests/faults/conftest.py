"""A running installation and a site in it, of each test its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import access, jobs
from tests.faults.installation import Installation, Keys, a_site, installation


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres's own user reaches."""
    made = Path(tempfile.mkdtemp(prefix="attune-faults-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def running(folder: Path) -> Iterator[Installation]:
    """With the web role; a module that needs another one has a fixture of this name."""
    with installation(folder, "web") as made:
        yield made


@pytest.fixture
def keys(running: Installation) -> Keys:
    """Of a site in it."""
    with running.database() as connection:
        return a_site(connection)


@pytest.fixture
def in_its_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Installation], None]]:
    """Lets this process act as one of an installation's own."""

    def enter(running: Installation) -> None:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        forget()

    yield enter
    forget()


@pytest.fixture
def environment(
    clean_database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Lets this process act as a role on the test's own services."""
    monkeypatch.setenv("DATABASE_URL", clean_database)
    monkeypatch.setenv("REDIS_URL", redis_url)
    forget()
    yield
    forget()


def forget() -> None:
    """What a process keeps of the services it was started on."""
    access.forget()
    jobs._hints.cache_clear()
