"""`feeds`, `pull`: catalogs that we fetch. `sources create SITE feed` makes one."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gateway import access, sync
from gateway.access import Site, Source
from gateway.commands import console
from gateway.settings import load
from gateway.telemetry import logs
from schemas import database
from schemas.database import Connection
from schemas.errors import counted

FATES = ("applied", "duplicate", "ignored", "refused", "failed")


def options(command: Any) -> Any:
    """What `sources create` asks of a feed."""
    for option in reversed(
        (
            click.option("--feed-url", help="feed: the address that it lies at."),
            click.option("--every", help="feed: how often it is pulled, such as 30m, 6h or 1d."),
            click.option("--username", help="feed: for a server that asks for one."),
            click.option(
                "--password",
                prompt=True,
                prompt_required=False,
                hide_input=True,
                help="feed: asked for where nothing follows the option.",
            ),
            click.option("--header", help='feed: sent with each request, such as "X-Key: secret".'),
        )
    ):
        command = option(command)
    return command


def create(connection: Connection, site: Site, secret: str | None, given: dict[str, Any]) -> Source:
    """Make a feed after judging its address; raises AttuneError."""
    header, value = _secret(given)
    settings = {"url": given["feed_url"], "every": given["every"], "header": header}
    told = {name: one for name, one in settings.items() if one is not None}
    sync.check(told, sync.rules_of(load()))
    return access.create_source(connection, site, sync.CONNECTOR, value or secret, told).source


def _secret(given: dict[str, Any]) -> tuple[str | None, str | None]:
    """Name and value of the header that opens the feed."""
    username, password, header = (given[name] for name in ("username", "password", "header"))
    if header is not None:
        name, colon, value = header.partition(":")
        if not colon or not value.strip() or not value.strip().isprintable():
            raise click.BadParameter('write it as "Name: value"', param_hint="--header")
        return name.strip(), value.strip()
    if username is None and password is None:
        return None, None
    told = f"{username or ''}:{password or ''}".encode()
    return "Authorization", f"Basic {base64.b64encode(told).decode()}"


def created(site: str, source: Source, as_json: bool) -> None:
    """Say what will happen with a new feed."""
    every = source.settings.get("every") or sync.EVERY
    if as_json:
        answer = {"site": site, "source": source.public_id, "url": source.settings["url"]}
        console.show_json(answer | {"every": every})
        return
    click.echo(
        f"Feed {source.public_id} of site {site} is made.\n\n"
        f"It is pulled every {every} from {sync.shown_url(source.settings)}; while a gateway runs, "
        "for the first time within a minute.\n"
        "What it holds becomes products; what it holds no longer becomes unavailable, unless more "
        "than half would.\n\n"
        "Pull it now and see what comes of each item:\n"
        f"  .venv/bin/python -m gateway pull {site} {source.public_id}\n"
        "See how it fares, and what was refused with which reason:\n"
        f"  .venv/bin/python -m gateway feeds {site}"
    )


# feeds ------------------------------------------------------------------------------------------


@click.command()
@click.argument("site")
@click.argument("source", required=False)
@console.json_option
def feeds(site: str, source: str | None, as_json: bool) -> None:
    """Say how the feeds of a site fare, and how the last pulls went."""
    with console.connected() as connection:
        of_site = access.site(connection, site)
        if source is not None:
            feed_of(connection, of_site, source)
        found = sync.states(connection, of_site, source, runs=20 if source else sync.RUNS_SHOWN)
    if as_json:
        console.show_json({"feeds": found})
        return
    if not found:
        click.echo(f"{site} has no feed: `sources create {site} feed --feed-url URL` makes one.")
    for row in found:
        _show(row, with_problems=source is not None)


def _problems(problems: list[dict[str, str]], indent: str = "  ") -> str:
    """A line each: the place in the file and the reason."""
    return "".join(f"{indent}{one['pointer']}  {one['message']}\n" for one in problems)


def _show(row: dict[str, Any], *, with_problems: bool) -> None:
    good = _time(row["last_success"]) if row["last_success"] else "never"
    click.echo(
        f"{row['source']}  {row['url']}\n"
        f"  {row['status']}; names {counted(row['products'], 'product')}; every {row['every']}, "
        f"next {_time(row['next_run'])}; last good pull {good}"
    )
    for run in row["runs"]:
        counts = _counts(run["counts"])
        click.echo(f"    {_time(run['started_at'])}  {run['outcome']:11}  {counts}")
        for name in ("warning", "error"):
            if run[name]:
                click.echo(f"        {name}: {run[name]}")
        if with_problems:
            click.echo(_problems(run["problems"], "        "), nl=False)


def _counts(counts: dict[str, int]) -> str:
    """`5 items: 3 applied, 2 refused; 812 bytes`: what became of the items adds up to them."""
    fates = ", ".join(_count(name, counts[name]) for name in FATES if counts.get(name))
    items = [_count("items", counts["items"])] if counts.get("items") else []
    rest = [name for name in counts if name not in (*FATES, "items") and counts[name]]
    parts = [": ".join([*items, *([fates] if fates else [])])]
    parts += [_count(name, counts[name]) for name in rest]
    return "; ".join(filter(None, parts))


def _count(name: str, number: int) -> str:
    nouns = {"bytes": "byte", "items": "item"}
    return counted(number, nouns[name]) if name in nouns else f"{number:,} {name}"


def _time(at: datetime) -> str:
    return f"{console.plain(at)} {at.astimezone():%Z}"


# pull -------------------------------------------------------------------------------------------


@click.command()
@click.argument("site")
@click.argument("source")
@click.option(
    "--force",
    is_flag=True,
    help="Read it although nothing changed, and let more than half of its products vanish.",
)
@console.json_option
def pull(site: str, source: str, force: bool, as_json: bool) -> None:
    """Pull a feed now, and say what came of it. Status 1 where it could not be read."""
    with console.sentences() as settings:
        logs.configure("WARNING")
        with (
            closing(database.connect(settings.database_url)) as connection,
            database.open_pool(
                settings.database_url, size=1, options=database.INGEST_OPTIONS, name="pull"
            ) as pool,
            _progress() as told,
        ):
            found = feed_of(connection, access.site(connection, site), source)
            run = sync.pull(connection, pool, found, force=force, by_hand=True, told=told)
    if as_json:
        names = ("started_at", "outcome", "counts", "problems", "warning", "error")
        console.show_json({"source": source, **{name: getattr(run, name) for name in names}})
    else:
        click.echo(_sentence(site, source, run))
    if run.outcome == "failed":
        sys.exit(1)


def feed_of(connection: Connection, site: Site, source: str) -> Source:
    """The feed of that name, if the site has it; raises UnknownSource."""
    found = access.source_by_public_id(connection, source)
    if found is None or found.site_id != site.site_id or found.connector != sync.CONNECTOR:
        raise access.UnknownSource(f"site {site.name} has no feed {source!r}: see `feeds`")
    return found


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on a terminal's error output, silence elsewhere."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    task = bars.add_task("fetching", total=None)
    with bars:
        yield lambda stage, done, total: bars.update(
            task, description=stage, completed=done, total=total
        )


def _sentence(site: str, source: str, run: sync.Run) -> str:
    if run.outcome == "unchanged":
        return (
            "The feed has not changed since the last pull: nothing to do. What came of its items:\n"
            f"  .venv/bin/python -m gateway feeds {site} {source}"
        )
    counts = run.counts
    parts = [f"{counted(counts.get('items', 0), 'item')} read"]
    parts += [f"{counts[name]:,} {name}" for name in FATES if counts.get(name)]
    if counts.get("absent"):
        parts.append(f"{counts['absent']:,} held no longer and made unavailable")
    lines = [", ".join(parts) + "."]
    if run.problems:
        lines.append(_problems(run.problems).rstrip())
    if counts.get("refused", 0) > len(run.problems):
        lines.append(f"All of them: .venv/bin/python -m gateway deliveries {site}")
    if run.warning:
        lines.append(f"Warning: {run.warning}.")
    if run.error:
        lines.append(f"It failed: {run.error}.")
    return "\n".join(lines)


COMMANDS: list[click.Command] = [feeds, pull]
