"""Unmodified clients of Segment and Miso, a gateway that they are pointed at, and a network that
misbehaves."""

from __future__ import annotations

import json
import os
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

from gateway import access, instant, sealing
from ranking.catalog import popularity, suggestions
from tests.conftest import SECRET_KEY
from tests.faults.installation import Installation, installation
from tests.journeys.gateway_process import free_port, until

HERE = Path(__file__).parent
INSTALL_S = 300
DONE_S = 120

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
    install(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], folder)
    return folder


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pinned Python packages lie."""
    folder = tmp_path_factory.mktemp("pip")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install([*pip, "--target", str(folder), "-r", str(HERE / "requirements.txt")], folder)
    return folder


def install(command: list[str], folder: Path) -> None:
    """Run what installs something in a folder; skips the test where it cannot."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode:
        pytest.skip(f"{command[0]} could not install the clients: {done.stderr.strip()[-300:]}")


def by_node(folder: Path, script: Path, told: dict[str, Any]) -> str:
    """What a script of Node's prints, which is told that as its argument."""
    return _said(["node", str(script), json.dumps(told)], NODE_PATH=str(folder / "node_modules"))


def by_python(folder: Path, script: Path, told: dict[str, Any]) -> str:
    """The same of Python."""
    return _said([sys.executable, str(script), json.dumps(told)], PYTHONPATH=str(folder))


def _said(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=DONE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Receiver:
    """A site of its own, as its owner sees it."""

    url: str
    site_id: int
    secret_key: str
    publishable_key: str
    write_key: str
    slow_key: str  # may be used once a second

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._read("admin/v1/events?limit=500")["events"]
        return found

    def upload(self, kind: str, records: list[dict[str, Any]]) -> None:
        """Send `products`, `users` or `interactions` with the secret key, without any client."""
        answer = self._ask("POST", f"v1/{kind}", json={"data": records})
        assert answer.status_code == 200, answer.text

    def record(self, kind: str, record_id: str) -> dict[str, Any]:
        """A product or user as it is kept."""
        found: dict[str, Any] = self._read(f"v1/{kind}/{record_id}")["data"]
        return found

    def ids(self, kind: str) -> list[str]:
        """The ids of all products or users."""
        found: list[str] = self._read(f"v1/{kind}/_ids")["data"]["ids"]
        return found

    def deliveries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._read("admin/v1/deliveries")["deliveries"]
        return found

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Each record of the deliveries of a topic, as it came beside what it became."""
        return [
            record
            for one in self.deliveries()
            if one["topic"] == topic
            for record in self._read(f"admin/v1/deliveries/{one['delivery_id']}")["records"]
        ]

    def ledger(self) -> dict[str, int]:
        found: dict[str, int] = self._read("admin/v1/ledger")["total"]
        return found

    def _read(self, path: str) -> Any:
        answer = self._ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"X-API-KEY": self.secret_key}
        url = f"{self.url}/{path}"
        return httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **more)


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
    secret_key, publishable_key = keys["secret_key"], keys["publishable_key"]
    return Receiver(running.url, site.site_id, secret_key, publishable_key, made.write_key, slow)


@pytest.fixture
def complete(running: Installation, receiver: Receiver) -> Callable[[], None]:
    """Find what completes a search among the products, as the clock has it done."""

    def completed() -> None:
        at = instant.now()
        with running.database() as connection:
            popularity.refresh(connection, receiver.site_id, at)
            suggestions.refresh(connection, receiver.site_id, at, everything=True)

    return completed


@pytest.fixture
def serve_page(npm: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`serve_page("analytics-next-1.84")`: the address of a page that loads that client."""
    servers: list[subprocess.Popen[bytes]] = []

    def serve(package: str, page: str = "page.html") -> str:
        for file in ("page.html", "miso.html", "miso.js"):
            shutil.copy(HERE / file, tmp_path)
        shutil.copytree(npm / "node_modules" / package / "dist" / "umd", tmp_path / "umd")
        server, url = _static(tmp_path)
        servers.append(server)
        return f"{url}/{page}"

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
