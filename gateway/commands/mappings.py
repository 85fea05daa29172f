"""`mappings`: a customer's own names, by source: shown, set, tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gateway import access
from gateway import mappings as all_mappings
from gateway.access import Source
from gateway.commands import console
from gateway.commands.groups import Group
from schemas.database import Connection
from schemas.errors import Invalid

# Of bodies that one trial reads into memory.
TRIED_BYTES = 256 * 1024 * 1024

file_type = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Group)
def mappings() -> None:
    """Read a source's records by your own names."""


@mappings.command("show")
@click.argument("site")
@click.argument("source")
@click.option("--version", type=click.IntRange(1), help="An older one, not the one in use.")
@console.json_option
def show_mapping(site: str, source: str, version: int | None, as_json: bool) -> None:
    """Show the mapping of a source and the list of its versions."""
    with _source(site, source) as (connection, of_source):
        found = all_mappings.show(connection, of_source, version)
    if as_json:
        console.show_json(found)
        return
    if found["version"] is None:
        click.echo(f"Source {source} has no mapping.")
        return
    click.echo(f"Version {found['version']}, since {console.plain(found['created_at'])}:")
    console.show_json(found["mapping"])
    names = ["version", "created_at", "rules"]
    console.show_table(names, [[one[name] for name in names] for one in found["versions"]], "")


@mappings.command("set")
@click.argument("site")
@click.argument("source")
@click.argument("file", type=file_type, required=False)
@click.option("--version", type=click.IntRange(1), help="Use an older version again.")
@console.json_option
def set_mapping(
    site: str, source: str, file: Path | None, version: int | None, as_json: bool
) -> None:
    """Use the mapping in FILE, or an older version again.

    It holds within two seconds for what arrives; `replay --remap` applies it to what was kept.
    """
    if file is None and version is None:
        raise click.UsageError("name a FILE, or give --version N")
    if file is not None and version is not None:
        raise click.UsageError("name a FILE or give --version N, not both")
    with _source(site, source) as (connection, of_source):
        if version is not None:
            done = all_mappings.put_back(connection, of_source, version)
        else:
            done = all_mappings.put(connection, of_source, _document(file))
    if as_json:
        console.show_json(done)
    elif done["changed"]:
        click.echo(f"Source {source} is read by version {done['version']} now.")
    else:
        click.echo("Nothing changed: that is the mapping in use.")


@mappings.command("try")
@click.argument("site")
@click.argument("source")
@click.argument("file", type=file_type)
@click.option(
    "--last",
    type=click.IntRange(1, all_mappings.DELIVERIES_AT_MOST),
    default=all_mappings.DELIVERIES,
    show_default=True,
    help="Of how many deliveries.",
)
@console.json_option
def try_mapping(site: str, source: str, file: Path, last: int, as_json: bool) -> None:
    """Show what the last deliveries become now and would become by the mapping in FILE.

    Nothing is written.
    """
    with _source(site, source) as (connection, of_source):
        deliveries = all_mappings.kept(connection, of_source, last=last, most_bytes=TRIED_BYTES)
        found = all_mappings.tried(of_source, _document(file), deliveries)
    if as_json:
        console.show_json(found)
    else:
        _show_trial(found)


def _show_trial(found: dict[str, Any]) -> None:
    names = ["now", "then", "fields", "records", "delivery_id"]
    console.show_table(
        ["", "becomes now", "would become", "differs in", "records", "for example"],
        [["*" if row["changed"] else "", *(row[name] for name in names)] for row in found["rows"]],
        "No delivery of this source is kept.",
        folded=["becomes now", "would become", "differs in"],
    )
    if found["rows_left_out"]:
        click.echo(f"… and {found['rows_left_out']} rows more")
    click.echo(
        f"\n{found['changed']} of {found['records']} records in {found['deliveries']} deliveries "
        "would become something else."
    )
    for word, sums in (("now", found["now"]), ("then", found["then"])):
        counts = ", ".join(f"{count} {name}" for name, count in sums.items())
        click.echo(f"{word:5} {counts}")


def _document(file: Path | None) -> Any:
    assert file is not None
    written = file.read_bytes()
    try:
        json.loads(written)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise click.ClickException(f"{file} is not JSON: {error.msg} at {at}") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} is not UTF-8") from None
    except RecursionError:
        pass  # what reads it in earnest says so
    return all_mappings.parsed(written)


@contextmanager
def _source(site: str, source: str) -> Iterator[tuple[Connection, Source]]:
    """A source and a connection; each problem of a document is a line of its own."""
    with console.connected() as connection:
        try:
            yield (
                connection,
                access.source_of_site(connection, access.site(connection, site), source),
            )
        except Invalid as error:
            lines = (f"{one.pointer or 'The mapping'}: {one.message}" for one in error.problems)
            raise click.ClickException("\n".join(lines)) from None


COMMANDS: list[click.Command] = [mappings]
