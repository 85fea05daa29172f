"""A whole installation to measure: what `python -m gateway run` starts on an empty home."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import catalog
from bench.stage import free_port, wait_until_it_answers
from gateway import access, sealing, settings
from gateway.settings import Settings
from schemas import database

STARTS_S = 180


@dataclass(frozen=True)
class Installation:
    """The process of its supervisor, the port of its web role, and the settings of all roles."""

    pid: int
    port: int
    settings: Settings

    def shop(self, products: int, visitors: int) -> tuple[dict[str, str], access.Source]:
        """A site `bench` with a catalog and visits to it; its keys and its Segment source."""
        with database.open_pool(
            self.settings.database_url, size=2, options=database.INGEST_OPTIONS, name="bench"
        ) as pool:
            with pool.connection() as connection:
                keys = access.create_site(connection, "bench")
                site = access.site(connection, "bench")
                segment = access.create_source(connection, site, "segment").source
                api = access.api_source(connection, site.site_id)
            catalog.fill(pool, site.site_id, products)
            catalog.visits(pool, site.site_id, api, visitors, 3)
        return keys, segment


@contextlib.contextmanager
def installation() -> Iterator[Installation]:
    """All roles and their services, without the demo, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as home:
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ["ATTUNE_HOME"] = home
        port = free_port()
        with open(Path(home) / "run.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run"],
                env=os.environ | {"PORT": str(port), "ATTUNE_DEMO": "0"},
                stdout=log,
                stderr=log,
            )
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/readyz", process, STARTS_S)
            found = settings.load()
            sealing.unlock(found.secret_key)
            yield Installation(process.pid, port, found)
        finally:
            process.terminate()
            process.wait(60)
