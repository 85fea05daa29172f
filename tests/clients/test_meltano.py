"""Meltano as its page of the documentation sets it up: lines of files arrive by the unmodified
tap-jsonl and target-miso, each once, and what is bad among them is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.clients.conftest import HERE, Receiver, install
from tests.journeys.gateway_process import ROOT

pytestmark = pytest.mark.heavy

PAGE = ROOT / "docs" / "how-to" / "meltano.md"
STREAMS = ("products", "users", "interactions")

PRODUCTS: list[dict[str, Any]] = [
    {
        "product_id": f"p{number}",
        "title": f"mug № {number}",
        "sale_price": number + 0.9,
        "categories": [["all", "mugs"]],
        "custom_attributes": {"rims": [number, 2]},
    }
    for number in range(250)  # three calls of the target
]
USERS = [{"user_id": f"u{number}", "name": f"User {number}"} for number in range(5)]
INTERACTIONS: list[dict[str, Any]] = [
    {
        "type": "like",
        "user_id": f"u{number % 5}",
        "product_ids": [f"p{number}"],
        "timestamp": "2026-11-01T10:00:00Z",
        "context": {"custom_context": {"uuid": str(UUID(int=number))}},
    }
    for number in range(40)
]
BAD_PRODUCT = {"product_id": "bad", "availability": "PERHAPS"}
BAD_INTERACTION = {"type": "likes", "user_id": "u1", "product_ids": ["p1"]}
NO_JSON = "{no json"
RUN_S = 240

Run = Callable[..., str]


def block(kind: str) -> str:
    """The page's one block of that kind."""
    [found] = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


@pytest.fixture(scope="session")
def meltano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Meltano's command, and a project in the folder that it stands for, with its plug-ins."""
    folder = tmp_path_factory.mktemp("meltano")
    wanted = HERE / "requirements-meltano.txt"
    assert wanted.read_text().split("\n")[1] in PAGE.read_text(), "the page says another version"
    [uv] = [line for line in wanted.read_text().splitlines() if line.startswith("uv==")]
    bin_ = folder / "venv" / "bin"
    install([sys.executable, "-m", "venv", str(folder / "venv")], folder)
    install([str(bin_ / "pip"), "install", "--quiet", uv], folder)
    python = str(bin_ / "python")
    install([str(bin_ / "uv"), "pip", "install", "--python", python, "-r", str(wanted)], folder)
    (folder / "meltano.yml").write_text(block("yaml"))
    for name in ("data", "templates"):
        (folder / name).mkdir()
    for stream in STREAMS:
        (folder / "templates" / f"{stream}.jsonnet").write_text(block("jsonnet"))
    install([str(bin_ / "meltano"), "install"], folder)
    return bin_ / "meltano"


@pytest.fixture
def run(meltano: Path, receiver: Receiver) -> Run:
    """`run(products=[…], users=[…])`: what a run of these says, with files of those lines."""
    project = meltano.parent.parent.parent
    environment = {"ATTUNE_URL": receiver.url, "ATTUNE_KEY": receiver.secret_key, "NO_COLOR": "1"}

    def ran(**files: list[Any]) -> str:
        ways = [word for stream in files for word in (f"tap-{stream}", "target-miso")]
        for stream, lines in files.items():
            text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
            (project / "data" / f"{stream}.jsonl").write_text("\n".join(text) + "\n")
        done = subprocess.run(
            [str(meltano), "run", *ways],
            cwd=project,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    return ran


def test_each_line_arrives_once_and_bad_ones_are_shown(run: Run, receiver: Receiver) -> None:
    said = run(
        products=[*PRODUCTS[:100], BAD_PRODUCT, NO_JSON, *PRODUCTS[100:]],
        users=USERS,
        interactions=[*INTERACTIONS[:9], BAD_INTERACTION, *INTERACTIONS[9:]],
    )
    check_everything_is_there(receiver)
    ledger = receiver.ledger()
    assert ledger["refused"] == 2
    assert ledger["applied"] == len(PRODUCTS) + len(USERS) + len(INTERACTIONS)
    assert ledger["duplicate"] == ledger["failed"] == ledger["ignored"] == 0

    assert "/data/0/availability" in said  # the first of the second hundred
    assert "/data/9/type" in said
    assert "Skipping invalid JSON" in said
    kept = [one for one in receiver.records("products") if one["record"] == BAD_PRODUCT]
    assert [one["outcome"] for one in kept] == ["refused"]
    assert receiver.secret_key not in said

    run(interactions=INTERACTIONS)
    check_everything_is_there(receiver)
    again = receiver.ledger()
    assert again["duplicate"] == len(INTERACTIONS) and again["applied"] == ledger["applied"]


def check_everything_is_there(receiver: Receiver) -> None:
    assert sorted(receiver.ids("products")) == sorted(one["product_id"] for one in PRODUCTS)
    assert sorted(receiver.ids("users")) == sorted(one["user_id"] for one in USERS)
    assert receiver.record("products", "p7") == PRODUCTS[7]
    assert receiver.record("users", "u3") == USERS[3]
    events = receiver.events()
    told = [(event["user_id"], event["product_ids"]) for event in events]
    assert sorted(told) == sorted((one["user_id"], one["product_ids"]) for one in INTERACTIONS)
