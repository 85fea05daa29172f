"""A disk that fills up under load, with all there is of an installation on it: refusals, no
broken promise, and work as before as soon as there is room again."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest

from schemas import database
from tests.conftest import SECRET_KEY
from tests.faults.installation import Keys, a_site
from tests.faults.test_killed_web import judge_effects, summary, until_acknowledged
from tests.faults.test_services_away import refused
from tests.faults.traffic import senders
from tests.journeys.gateway_process import GatewayProcess, end, free_port, until

pytestmark = pytest.mark.heavy

SIZE_MB = 600
BALLAST = "ballast"


class OnSmallDisk(GatewayProcess):
    """A gateway whose home, logs and all, lies on a file system of its own."""

    @property
    def disk(self) -> Path:
        return self.home.parent

    @property
    def database_url(self) -> str:
        found = json.loads((self.home / "run" / "services.json").read_text())
        return str(found["database_url"])

    @contextlib.contextmanager
    def database(self) -> Iterator[database.Connection]:
        with closing(database.connect(self.database_url)) as connection:
            yield connection

    def fill_disk(self) -> None:
        """Take every byte that is left."""
        with open(self.disk / BALLAST, "ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def free_disk(self) -> None:
        (self.disk / BALLAST).unlink()


@pytest.fixture
def running(folder: Path) -> Iterator[OnSmallDisk]:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=711", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    environment = {"ATTUNE_SECRET_KEY": SECRET_KEY, "WEB_CONCURRENCY": "2"}
    made = OnSmallDisk(disk / "home", free_port(), environment)
    try:
        made.start()
        made.wait_until_ready()
        yield made
    finally:
        end(made)
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_refuses_and_breaks_nothing(running: OnSmallDisk) -> None:
    with running.database() as connection:
        keys = a_site(connection)
    sending = senders(running, keys, seed=5)  # type: ignore[arg-type]
    for sender in sending:
        sender.start()
    until_acknowledged(sending, 40)
    supervisor, web = running.supervisor, running.find("web")

    running.fill_disk()
    lists = []
    for _ in range(3):
        before = refused(sending)
        until(lambda: refused(sending) > before + 10, 60, what="refusals")  # noqa: B023
        running.fill_disk()
        lists.append(asked_for_list(running, keys))
    assert 200 in lists  # each, unless Postgres stopped itself between the two
    running.free_disk()
    until_acknowledged(sending, 100)

    running.fill_disk()
    until(lambda: write_ahead_log_is_full(running), 60, what="the end of Postgres")
    before = refused(sending)
    until(lambda: refused(sending) > before + 10, 60, what="refusals")
    running.free_disk()
    until_acknowledged(sending, 100)

    for sender in sending:
        sender.finish()
    print(f"\n{summary(sending)}; statuses {[dict(sender.statuses) for sender in sending]}")
    assert [sender.broken for sender in sending] == [0] * len(sending)
    assert {status for sender in sending for status in sender.statuses} == {200, 503}
    assert (running.supervisor, running.find("web")) == (supervisor, web)
    judge_effects(running, keys, sending)  # type: ignore[arg-type]


def asked_for_list(running: OnSmallDisk, keys: Keys) -> int:
    answer = httpx.post(
        f"{running.url}/v1/recommendation/user_to_products",
        headers={"X-API-KEY": keys.publishable_key},
        json={"anonymous_id": "visitor-1", "rows": 5},
        timeout=30,
        trust_env=False,
    )
    return answer.status_code


def write_ahead_log_is_full(running: OnSmallDisk) -> bool:
    """Ask for one segment after the other, until there is none and Postgres stops itself; its log
    has no room to say so."""
    running.fill_disk()
    with contextlib.suppress(psycopg.Error), running.database() as connection:
        for _ in range(20):
            connection.execute("select pg_logical_emit_message(false, 'attune', 'segment')")
            connection.execute("select pg_switch_wal()")
    try:
        psycopg.connect(running.database_url).close()
    except psycopg.OperationalError:
        return True
    return False
