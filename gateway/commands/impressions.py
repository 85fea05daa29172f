"""`impressions SITE`: what became of a site's lists."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from gateway import access, instant
from gateway.commands import console
from gateway.commands.inspect import limit_option
from ranking import impressions
from ranking.catalog import newcomers

SINCE = timedelta(days=28)


@click.command("impressions")
@click.argument("site")
@click.option("--product", help="Of this one product.")
@click.option("--weeks", type=click.IntRange(1, 60), help="So many last weeks, by default 4.")
@limit_option
@console.json_option
def show(site: str, product: str | None, weeks: int | None, limit: int, as_json: bool) -> None:
    """Show how often places and products of SITE's lists were shown, seen and clicked."""
    now = instant.now()
    since: datetime = now - (timedelta(weeks=weeks) if weeks else SINCE)
    with console.connected() as connection:
        site_id = access.site(connection, site).site_id
        found = impressions.report(
            connection, site_id, since=since, product_id=product, limit=limit
        )
        found["newcomers"] = newcomers.tally(connection, site_id)
    if as_json:
        console.show_json({"site": site} | found)
    else:
        _tell(found)


def _tell(found: dict[str, Any]) -> None:
    for name, columns, spare in (
        ("places", ("endpoint", "place", "shown", "seen", "clicked", "ctr", "looks"), ()),
        (
            "products",
            ("product_id", "title", "shown", "seen", "clicked", "ctr", "corrected_rate", "state"),
            ("title",),
        ),
    ):
        rows = [[_rounded(one[column]) for column in columns] for one in found[name]]
        console.show_table(columns, rows, f"No {name} are counted yet.", spare=spare)
        click.echo()
    waiting = found["newcomers"]
    click.echo(
        f"New products: {waiting['open']} are to have their chance, {waiting['waiting']} may have "
        f"had it, {waiting['done']} had it. Lists are counted until "
        f"{found['counted_until'] or 'never'}."
    )


def _rounded(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


COMMANDS = [show]
