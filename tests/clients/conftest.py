"""Segment's own clients, a gateway that they are pointed at, and a network that misbehaves."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import access, sealing
from tests.conftest import SECRET_KEY
from tests.faults.installation import Installation, installation
from tests.journeys.gateway_process import free_port, until

HERE = Path(__file__).parent
INSTALL_S = 300

_numbers = count(1)


@pytest.fixture(scope="session")
def running() -> Iterator[Installation]:
    """A gateway's web role with Postgres and Redis."""
    folder = Path(tempfile.mkdtemp(prefix="attune-clients-"))
    folder.chmod(0o711)
    with installation(folder, "web") as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pinned npm packages lie."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("there is no npm: install Node.js 20 or newer with it")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(HERE / "package.json", folder)
    _install(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], folder)
    return folder


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pinned Python packages lie."""
    folder = tmp_path_factory.mktemp("pip")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _install([*pip, "--target", str(folder), "-r", str(HERE / "requirements.txt")], folder)
    return folder


def _install(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode:
        pytest.skip(f"{command[0]} could not install the clients: {done.stderr.strip()[-300:]}")


@dataclass(frozen=True)
class Receiver:
    """A site of its own, as its owner sees it."""

    url: str
    secret_key: str
    write_key: str
    slow_key: str  # may be used once a second

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("events?limit=500")["events"]
        return found

    def ledger(self) -> dict[str, int]:
        found: dict[str, int] = self._get("ledger")["total"]
        return found

    def _get(self, path: str) -> Any:
        answer = httpx.get(
            f"{self.url}/admin/v1/{path}",
            headers={"X-API-KEY": self.secret_key},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def receiver(running: Installation) -> Receiver:
    """A fresh site with a Segment source."""
    sealing.unlock(SECRET_KEY)
    with running.database() as connection:
        name = f"shop{next(_numbers)}"
        keys = access.create_site(connection, name)
        site = access.site(connection, name)
        made = access.create_source(connection, site, "segment")
        slow = access.create_key(
            connection, site, "write", source_id=made.source.source_id, requests_per_second=1
        )
    assert made.write_key
    return Receiver(running.url, keys["secret_key"], made.write_key, slow)


@pytest.fixture
def serve_page(npm: Path, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """`serve_page("analytics-next-1.84")`: the address of a page that loads that client."""
    servers: list[subprocess.Popen[bytes]] = []

    def serve(package: str) -> str:
        shutil.copy(HERE / "page.html", tmp_path)
        shutil.copytree(npm / "node_modules" / package / "dist" / "umd", tmp_path / "umd")
        server, url = _static(tmp_path)
        servers.append(server)
        return f"{url}/page.html"

    yield serve
    for server in servers:
        server.terminate()
        server.wait()


def _static(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(url, timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    until(answers, 30, what="an answer of the page's server")
    return server, url
