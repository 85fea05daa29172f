"""`attributes`: the types of a site's custom attributes."""

from __future__ import annotations

from typing import Any

import click

from gateway import access, attributes
from gateway.attributes import Kind
from gateway.commands import console


@click.command("attributes")
@click.argument("site")
@click.option("--forget", metavar="NAME", help="Free the type of one that no record has.")
@click.option(
    "--kind",
    type=click.Choice(["product", "user"]),
    default="product",
    show_default=True,
    help="Whose attribute to forget.",
)
@console.json_option
def show(site: str, forget: str | None, kind: Kind, as_json: bool) -> None:
    """List the custom attributes of products and users, each with its type and how many records
    have it."""
    with console.connected() as connection:
        site_id = access.site(connection, site).site_id
        if forget is not None:
            attributes.forget(connection, site_id, kind, forget)
        found = attributes.of_site(connection, site_id)
    if as_json:
        console.show_json({"attributes": found} | ({"forgotten": forget} if forget else {}))
    elif forget is not None:
        click.echo(f"The next {kind} with {forget} decides its type.")
    else:
        _table(found)


def _table(found: list[dict[str, Any]]) -> None:
    names = ["kind", "name", "type", "records", "first_told_at"]
    rows = [[row[name] for name in names] for row in found]
    console.show_table(names, rows, "No record had a custom attribute yet.")


COMMANDS = [show]
