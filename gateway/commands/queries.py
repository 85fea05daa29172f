"""`queries`: what a site's visitors search for."""

from __future__ import annotations

import click

from gateway import access, instant
from gateway.commands import console
from gateway.commands.inspect import limit_option
from ranking.catalog import searched

# What a report shows beside the columns of all.
MORE = {
    "rising": ("searches_7_days", "searches_7_days_before"),
    "corrected": ("corrected_text",),
}


@click.command("queries")
@click.argument("site")
@click.option(
    "--kind",
    type=click.Choice(searched.KINDS),
    default="popular",
    show_default=True,
    help="Most searched for, more than before, in vain, or corrected.",
)
@limit_option
@console.json_option
def show(site: str, kind: str, limit: int, as_json: bool) -> None:
    """List what visitors search for: how often, how many of them, and when last."""
    with console.connected() as connection:
        site_id = access.site(connection, site).site_id
        found = searched.report(connection, site_id, kind, at=instant.now(), limit=limit)
    if as_json:
        console.show_json({"queries": found})
    else:
        names = ["text", "searches", "visitors", "last_searched_at", *MORE.get(kind, ())]
        rows = [[row[name] for name in names] for row in found]
        console.show_table(names, rows, "Nothing was searched for.")


COMMANDS = [show]
