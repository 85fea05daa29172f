"""`run` starts a whole installation, `settings` lists what it can be told."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx

from gateway import access, home, site_settings
from gateway.commands import console
from gateway.running import services, supervision
from gateway.settings import TABLE, Settings, load, sources
from gateway.telemetry import logs
from schemas import database
from schemas.errors import Invalid

STAGES = ["migrate", "demo", "announce"]
READY_TIMEOUT_S = 600.0
DEMO_KEYS_TIMEOUT_S = 60.0


@click.command()
@click.option("--stage", type=click.Choice(STAGES), hidden=True, help="One step of a start.")
def run(stage: str | None) -> None:
    """Start everything: Postgres, Redis, migrations, every role, the demo site.

    Ctrl-C or SIGTERM stops all of it. DATABASE_URL and REDIS_URL replace the embedded servers.
    """
    if stage is None:
        supervision.start(load(find_services=False))
        return
    settings = load()
    logs.configure(settings.log_level, role=stage, form=settings.log_format)
    if stage == "migrate":
        _migrate(settings)
    elif stage == "demo":
        _demo(settings)
    else:
        _announce(settings)


def _migrate(settings: Settings) -> None:
    if settings.database_url == services.postgres_url(settings.home):
        services.create_database(settings.database_url)
    else:
        services.wait_for_postgres(settings.database_url)
    applied = database.migrate(settings.database_url, events_days=settings.retention_events_days)
    if applied:
        logs.log.info("migrated", applied=applied)


def _demo(settings: Settings) -> None:
    _wait_until_ready(settings)
    services.wait_for(lambda: _has_partitions(settings), READY_TIMEOUT_S, "partitions are missing")
    os.execv(sys.executable, [sys.executable, "-m", "gateway", "demo"])


def _has_partitions(settings: Settings) -> bool:
    """Ready means that the tables are there; `migrate` makes the partitions right after."""
    with database.connect(settings.database_url) as connection:
        return not database.missing_partitions(connection, at=datetime.now(UTC))


def _wait_until_ready(settings: Settings) -> None:
    url = f"{settings.local_url}/readyz"
    services.wait_for(lambda: _is_ready(url), READY_TIMEOUT_S, f"{url} did not answer 200")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


# the first words --------------------------------------------------------------------------------


def _announce(settings: Settings) -> None:
    _wait_until_ready(settings)
    keys = _demo_keys(settings.home / "demo.json") if settings.demo else None
    if settings.log_format == "json":
        logs.log.info("ready", url=settings.public_url)  # keys are for people, not for a log
        return
    click.echo("\n".join(["", *_greeting(settings.public_url, keys), ""]))


def _demo_keys(path: Path) -> dict[str, Any] | None:
    """What the demo loader wrote, which runs beside us at a first start."""
    deadline = time.monotonic() + DEMO_KEYS_TIMEOUT_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return json.loads(path.read_text()) if path.exists() else None


def _greeting(url: str, keys: dict[str, Any] | None) -> list[str]:
    if keys is None:
        return [
            f"Attune is ready at {url}",
            "  create a site:  .venv/bin/python -m gateway sites create NAME",
        ]
    return [
        f"Attune is ready at {url}",
        f"  demo page:        {url}/demo",
        f"  secret key:       {keys['secret_key']}",
        f"  publishable key:  {keys['publishable_key']}",
        "  a first list, as soon as the demo is loaded:",
        f"    curl '{url}/v1/recommendation/user_to_products?api_key={keys['publishable_key']}' \\",
        "      -H 'Content-Type: application/json' \\",
        r"""      -d '{"anonymous_id": "you", "rows": 5, "fl": ["title"]}' -w '\n'""",
    ]


# settings ---------------------------------------------------------------------------------------


@click.command()
@click.argument("site", required=False)
@click.argument("name", required=False)
@click.argument("value", required=False)
@console.json_option
def settings(site: str | None, name: str | None, value: str | None, as_json: bool) -> None:
    """List every setting, its value and its meaning; with SITE what that site decides for itself,
    with NAME and VALUE change it ("" takes it back to its default)."""
    if site is not None:
        _of_site(site, name, value, as_json)
        return
    rows = _rows(load(find_services=False))
    if as_json:
        click.echo(json.dumps({"settings": rows}, indent=2))
        return
    columns = ("name", "value", "default", "doc")
    console.show_table(
        ("setting", "value", "default", "meaning"),
        ([_written(row[name]) for name in columns] for row in rows),
        nothing="There are no settings.",
    )


def _of_site(name: str, setting: str | None, value: str | None, as_json: bool) -> None:
    if (setting is None) != (value is None):
        raise click.UsageError("a setting is changed by its name and its value")
    with console.connected() as connection:
        site = access.site(connection, name)
        if setting is not None:
            try:
                site = site_settings.change(connection, site, {setting: _read(value)})
            except Invalid as error:
                raise click.ClickException(f"{setting}: {error}") from None
    shown = site_settings.shown(site)
    if as_json:
        console.show_json({"site": name} | shown)
        return
    console.show_table(
        ("setting", "value", "default", "meaning"),
        ([one.name, shown["settings"][one.name], one.default, one.doc]
         for one in site_settings.TABLE),
        nothing="There are no settings.",
    )  # fmt: skip


def _read(value: str | None) -> Any:
    """A number where it spells one; nothing where it is empty."""
    try:
        return json.loads(value) if value else None
    except ValueError:
        return value


def _written(value: Any) -> str:
    """As it would stand in the environment."""
    return str(int(value) if isinstance(value, bool) else value)


def _rows(current: Settings) -> list[dict[str, Any]]:
    """In force: of the gateway that runs on this home it is known where it answers and what it
    runs on, all else is what a process started here would take."""
    origin, running = sources(), home.running(current.home)
    if running is not None:
        shared = {"port", "public_url", "database_url", "redis_url"}
        taken = [s for s in TABLE if s.field in shared and origin[s.name] == "default"]
        current = replace(current, **{s.field: getattr(running, s.field) for s in taken})
        origin |= {setting.name: "running gateway" for setting in taken}
    return [
        {
            "name": setting.name,
            "value": _shown(getattr(current, setting.field), setting.secret),
            "default": setting.default_text(),
            "source": origin[setting.name],
            "doc": setting.doc,
        }
        for setting in TABLE
    ]


def _shown(value: Any, secret: bool) -> Any:
    if isinstance(value, Path):
        return str(value)
    if secret:
        return "(set)" if value else "(not set)"
    return value


COMMANDS: list[click.Command] = [run, settings]
