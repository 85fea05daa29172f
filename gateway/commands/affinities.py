"""`clusters`: the style clusters of a site, and one of them."""

from __future__ import annotations

from typing import Any

import click

from gateway import access, affinities, instant
from gateway.commands import console


@click.command()
@click.argument("site")
@click.argument("cluster_id", type=click.IntRange(min=1), required=False)
@console.json_option
def clusters(site: str, cluster_id: int | None, as_json: bool) -> None:
    """List the style clusters of SITE, or show one with its products and who likes it."""
    with console.connected() as connection:
        of_site = access.site(connection, site)
        if cluster_id is None:
            _list(affinities.clusters(connection, of_site), as_json)
        else:
            found = affinities.cluster(connection, of_site, cluster_id, at=instant.now())
            _show(found, as_json)


def _list(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        console.show_json({"clusters": found})
        return
    console.show_table(
        ["id", "label", "products", "share", "examples"],
        [
            [
                one["id"],
                one["label"],
                one["products"],
                f"{one['share']:.1%}",
                "; ".join(each["title"] or each["product_id"] for each in one["examples"][:3]),
            ]
            for one in found
        ],
        "No clusters yet: they are made of 100 products or more, some minutes after these are "
        "encoded.",
        folded=["label", "examples"],
        spare=["examples"],
    )


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.show_json(found)
        return
    click.echo(f"{found['label']}: {found['products']} products, {found['share']:.1%} of what was "
               "asked for lately")  # fmt: skip
    for currency, median in found["price"].items():
        click.echo(f"half of them cost less than {median:,} {currency}".rstrip())
    click.echo()
    console.show_table(
        ["product", "title", "likeness"],
        [[one["product_id"], one["title"], f"{one['likeness']:.2f}"] for one in found["examples"]],
        "",
        folded=["title"],
    )
    click.echo()
    console.show_table(
        ["kind", "visitor", "events"],
        [[one["kind"], one["id"], one["events"]] for one in found["visitors"]],
        "Nobody did anything with them lately.",
    )


COMMANDS: list[click.Command] = [clusters]
