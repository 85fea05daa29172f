"""`orders`, `merge`, `unmerge`, `export`, `erase`, `requests`: people and what they bought."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from gateway import access, people
from gateway.access import Site
from gateway.commands import console
from gateway.commands.inspect import limit_option
from gateway.ingest import Pool
from ranking.visitors import orders as all_orders
from schemas import database

# Tables in which somebody erased has rows as well: a tombstone, a profile that says nothing.
DERIVED = ("actors", "profiles")


@click.command()
@click.argument("site")
@click.argument("order_id", required=False)
@limit_option
@console.json_option
def orders(site: str, order_id: str | None, limit: int, as_json: bool) -> None:
    """List the newest orders, or show one: whether it counts, and what each source told of it."""
    with console.connected() as connection:
        site_id = access.site(connection, site).site_id
        if order_id is None:
            rows = all_orders.newest(connection, site_id, limit)
            _list(rows, as_json)
            return
        found = all_orders.get(connection, site_id, order_id)
    if found is None:
        raise click.ClickException(f"nobody told of an order {order_id!r}")
    if as_json:
        console.show_json(found)
    else:
        _show(found)


def _list(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        console.show_json({"orders": rows})
        return
    table = [
        [
            row["order_id"],
            row["placed_at"],
            row["status"] or "not placed yet",
            "yes" if row["count"] else "no",
            console.money(row["revenue"], row["currency"]),
            row["products"],
            row["sources"],
        ]
        for row in rows
    ]
    names = ["order_id", "placed_at", "status", "a purchase", "revenue left", "products",
             "sources telling"]  # fmt: skip
    console.show_table(
        names, table, "No orders were told of yet.", folded=["order_id", "status"],
        spare=["sources telling", "products"],
    )  # fmt: skip


def _show(order: dict[str, Any]) -> None:
    who = order["user_id"] or order["anonymous_id"] or "nobody"
    revenue = console.money(order["revenue"], order["currency"]) or "of no known amount"
    placed = f", placed at {console.plain(order['placed_at'])}" if order["placed_at"] else ""
    click.echo(
        f"Order {order['order_id']} of {who}: {order['status'] or 'not placed yet'}{placed}, "
        f"{revenue} left of it"
    )
    for line in order["lines"]:
        back = f", {line['returned']:g} came back" if line["returned"] else ""
        count = "some" if line["quantity"] is None else f"{line['quantity']:g}"
        click.echo(f"  {count} × {line['product_id']}{back}")
    names = ["as_of", "connector", "source", "told", "delivery"]
    tellings = [one | {"as_of": datetime.fromisoformat(one["as_of"])} for one in order["tellings"]]
    console.show_table(
        names, [[one[name] for name in names] for one in tellings], "", folded=["as_of"],
        spare=["connector"],
    )  # fmt: skip


@click.command()
@click.argument("site")
@click.argument("one")
@click.argument("other")
@console.json_option
def merge(site: str, one: str, other: str, as_json: bool) -> None:
    """Say that two ids are one person's."""
    with _site(site) as (pool, of_site):
        done = people.merge(pool, of_site, one, other)
    if as_json:
        console.show_json(done)
    else:
        ids = ", ".join(f"{known['kind']} {known['id']}" for known in done["ids"])
        if done["changed"]:
            click.echo(f"One person now: {ids}\nThe fact is delivery {done['delivery']}.")
        else:
            click.echo(f"They are one person already: {ids}\nDelivery {done['delivery']} said so; "
                       "nothing was written.")  # fmt: skip


@click.command()
@click.argument("site")
@click.argument("one")
@click.argument("other")
@console.json_option
def unmerge(site: str, one: str, other: str, as_json: bool) -> None:
    """Undo the facts that join two ids directly; told again they stay undone, until `merge`."""
    with _site(site) as (pool, of_site):
        done = people.unmerge(pool, of_site, one, other)
    if as_json:
        console.show_json(done)
        return
    for fact in done["undone"]:
        click.echo(
            f"Undone: {fact['from_id']} {fact['kind']} {fact['to_id']} "
            f"since {console.plain(fact['occurred_at'])}, told by delivery {fact['delivery_id']}"
        )


@click.command()
@click.argument("site")
@click.argument("id")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Into this file.")
def export(site: str, id: str, output: Path | None) -> None:
    """Write all that is known of a person as JSON."""
    with console.connected() as connection:
        found = people.export(connection, access.site(connection, site), id, at=datetime.now(UTC))
    if output is None:
        console.show_json(found)
        return
    output.write_text(console.encoded(found), encoding="utf-8")
    click.echo(f"{len(found['events'])} events and {len(found['orders'])} orders in {output}")


@click.command()
@click.argument("site")
@click.argument("id", required=False)
@click.option("--all", "everybody", is_flag=True, help="Everybody of the site.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@console.json_option
def erase(site: str, id: str | None, everybody: bool, yes: bool, as_json: bool) -> None:
    """Erase a person, for ever; answers with a receipt."""
    if (id is None) is not everybody:
        raise click.UsageError("name one ID, or say --all")
    if not yes:
        whom = repr(id) if id else "everybody"
        click.confirm(f"Erase all that is known of {whom} in {site}?", abort=True, err=True)
    with _site(site) as (pool, of_site):
        if id is None:
            _erase_all(pool, of_site, as_json)
            return
        with pool.connection() as connection:
            known = people.is_known(connection, of_site, id)
        receipt = people.erase(pool, of_site, id)
    if as_json:
        console.show_json(receipt)
        return
    rows = [[table, count] for table, count in receipt["rows"].items()]
    if not known and not any(count for table, count in rows if table not in DERIVED):
        click.echo(
            f"Nothing was left of {id!r} to erase; what is still on its way is refused. "
            f"The request is delivery {receipt['delivery']}."
        )
        return
    click.echo(f"Erased; the request is delivery {receipt['delivery']}.")
    console.show_table(["table", "rows"], rows, "")
    click.echo("What kept bodies say of the person is overwritten within a day.")


def _erase_all(pool: Pool, site: Site, as_json: bool) -> None:
    erased = 0
    for erased in people.erase_all(pool, site):
        click.echo(f"{erased:,} ids erased ...", err=True)
    if as_json:
        console.show_json({"site": site.name, "ids": erased})
    else:
        click.echo(f"{erased:,} ids are erased; kept bodies are overwritten within a day.")


@click.command()
@click.argument("site")
@click.option("--done", type=click.UUID, help="Note that the request of this delivery is done.")
@limit_option
@console.json_option
def requests(site: str, done: UUID | None, limit: int, as_json: bool) -> None:
    """List what platforms asked you to do: exports of people, the end of a connection."""
    with console.connected() as connection:
        of_site = access.site(connection, site)
        if done is not None:
            people.done(connection, of_site, done, at=datetime.now(UTC))
            if not as_json:
                click.echo(f"Noted: what delivery {done} asked for is done.")
                return
        rows = people.requests(connection, of_site, limit=limit)
    if as_json:
        console.show_json({"requests": rows})
        return
    names = ["asked_at", "connector", "kind", "request_id", "person", "delivery", "done_at"]
    shown = [
        [_person(row[name]) if name == "person" else row[name] for name in names] for row in rows
    ]
    console.show_table(
        names,
        shown,
        "No platform asked for anything.",
        folded=["asked_at", "person", "done_at"],
        spare=["connector", "request_id"],
    )
    for kind in dict.fromkeys(row["kind"] for row in rows if row["done_at"] is None):
        click.echo(f"{kind}: {people.WHAT_TO_DO.get(kind, 'nothing has to be done')}; then "
                   f"`requests {site} --done DELIVERY`")  # fmt: skip


def _person(person: dict[str, Any] | None) -> str:
    """`user 7, who placed order 5 and order 6`, as far as the platform named them."""
    if not person:
        return ""
    ids = [f"{kind} {person[f'{kind}_id']}" for kind in people.KINDS if person.get(f"{kind}_id")]
    orders = [f"order {one}" for one in person.get("order_ids") or []]
    return ", ".join([*ids, console.and_more(orders, most=3)] if orders else ids)


@contextmanager
def _site(name: str) -> Iterator[tuple[Pool, Site]]:
    """A site and a pool for its deliveries; what goes wrong ends the command with a sentence."""
    with (
        console.sentences() as settings,
        database.open_pool(
            settings.database_url, size=1, options=database.INGEST_OPTIONS, name="command"
        ) as pool,
    ):
        with pool.connection() as connection:
            found = access.site(connection, name)
        yield pool, found


COMMANDS: list[click.Command] = [orders, merge, unmerge, export, erase, requests]
