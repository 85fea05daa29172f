"""Keeps a release's schema, populated, for the upgrade tests of all later ones:

    python -m tests.upgrade.make 0.2.0

run once on the released code, writes `tests/upgrade/0.2.0/`: `database.sql.gz` (pg_dump's SQL of a
shop with something of everything) and `told.json.gz` (its keys, and every answer it gave at that
instant). Then add the release's migrations to `released.json`.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import time_machine
from cryptography.fernet import Fernet

from gateway import sealing
from gateway.http import create_app, state
from gateway.running import services
from gateway.settings import load
from schemas import database
from tests import everything

HERE = Path(__file__).parent
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def main(version: str) -> None:
    folder = HERE / version
    folder.mkdir()
    secret_key = Fernet.generate_key().decode()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o711)
        with services.start_postgres(home) as url, services.start_redis(home) as redis_url:
            os.environ |= {
                "DATABASE_URL": url,
                "REDIS_URL": redis_url,
                "ATTUNE_HOME": name,
                "ATTUNE_SECRET_KEY": secret_key,
            }
            told = _filled(url, secret_key)
            (folder / "database.sql.gz").write_bytes(gzip.compress(_dumped(url), mtime=0))
    text = json.dumps(told, sort_keys=True).encode()
    (folder / "told.json.gz").write_bytes(gzip.compress(text, mtime=0))


def _filled(url: str, secret_key: str) -> dict[str, object]:
    sealing.unlock(secret_key)
    with time_machine.travel(AT, tick=False):
        database.migrate(url, at=AT)
        with closing(database.connect(url)) as connection:
            place = everything.open_shop(connection)
            application = create_app(load())
            everything.fill(application.test_client(), place, AT)
            everything.work(connection, AT)
            answers = everything.ask(application.test_client(), place)
            state.of(application).close()
    return {
        "at": AT.isoformat(),
        "secret_key": secret_key,
        "place": asdict(place),
        "answers": answers,
    }


def _dumped(url: str) -> bytes:
    command = [str(services.postgres_binary("pg_dump")), "--no-owner", "--no-privileges", url]
    return subprocess.run(command, capture_output=True, check=True).stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
