"""`deliveries`, `replay`, `events`, `visitors`, `ledger`: looking inside a site."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import click
from rich.console import Console
from rich.progress import Progress

from gateway import access, affinities, ingest, inspection, ledger
from gateway.access import Site
from gateway.commands import console
from gateway.http.admin import shown
from gateway.telemetry import logs
from schemas import database
from schemas.database import Connection

FOLLOW_EVERY_S = 1.0
# A delivery's time is set before it commits, so the tail looks back this far each time.
COMMIT_MAY_TAKE = timedelta(seconds=60)

COUNTS = ("applied", "duplicate", "ignored", "refused", "failed")


class Instant(click.ParamType):
    """An ISO 8601 time; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not an ISO 8601 time, such as 2026-01-31T12:00:00Z")
        return found if found.tzinfo else found.replace(tzinfo=UTC)


limit_option = click.option(
    "--limit", type=click.IntRange(1, inspection.ROWS_AT_MOST), default=20, show_default=True
)
since_option = click.option("--since", type=Instant(), help="Only from this time on.")


# deliveries --------------------------------------------------------------------------------------


@click.command()
@click.argument("site")
@click.argument("delivery_id", type=click.UUID, required=False)
@click.option("--follow", is_flag=True, help="Show deliveries as they come, until Ctrl-C.")
@click.option("--outcome", type=click.Choice(COUNTS), help="Only deliveries of this outcome.")
@since_option
@limit_option
@console.json_option
def deliveries(
    site: str,
    delivery_id: UUID | None,
    follow: bool,
    outcome: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what was received, show one delivery raw beside mapped, or follow what comes."""
    with console.connected() as connection:
        of_site = access.site(connection, site)
        if delivery_id is not None:
            _show_delivery(
                inspection.delivery(connection, of_site, delivery_id, whole=True), as_json
            )
        elif follow:
            _follow(connection, of_site, outcome, since, as_json)
        else:
            rows = inspection.deliveries(
                connection, of_site, outcome=outcome, since=since, limit=limit
            )
            _list(connection, of_site, rows, as_json)


def _list(connection: Connection, site: Site, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        console.show_json({"deliveries": rows})
        return
    if not rows:
        click.echo("Nothing was received yet.")
    for row in rows:
        _line(connection, site, row)


def _follow(
    connection: Connection,
    site: Site,
    outcome: str | None,
    since: datetime | None,
    as_json: bool,
) -> None:
    """The live tail: one line a delivery, oldest first. JSON: one object a line."""
    start = since or datetime.now(UTC)
    seen: dict[UUID, datetime] = {}
    if not as_json:
        click.echo(f"Waiting for deliveries to {site.name}; Ctrl-C ends.", err=True)
    while True:
        after = max(start, datetime.now(UTC) - COMMIT_MAY_TAKE) if seen else start
        rows = inspection.deliveries(
            connection, site, outcome=outcome, since=after, limit=inspection.ROWS_AT_MOST
        )
        for row in reversed(rows):
            if row["delivery_id"] not in seen:
                seen[row["delivery_id"]] = row["received_at"]
                _tell(connection, site, row, as_json)
        seen = {each: at for each, at in seen.items() if at >= after}
        time.sleep(FOLLOW_EVERY_S)


def _tell(connection: Connection, site: Site, row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        mapped = inspection.mapped_to(connection, site, row["delivery_id"])
        click.echo(console.encoded({**row, "mapped_to": mapped}))
    else:
        _line(connection, site, row)


COLOURS = {"applied": "green", "duplicate": "cyan", "ignored": "yellow"}


def _line(connection: Connection, site: Site, row: dict[str, Any]) -> None:
    """Time, source, outcome with its counts, what it was mapped to, and the first reason."""
    colour = COLOURS.get(row["outcome"], "red")
    counts = ", ".join(f"{row[name]} {name}" for name in COUNTS if row[name]) or "empty"
    mapped = inspection.mapped_to(connection, site, row["delivery_id"])
    parts = [
        console.text(row["received_at"]),
        console.text(row["connector"]),
        f"[{colour}]{counts}[/{colour}]",
        console.text(mapped),
        console.text(_reason_of(row)),
        f"[dim]{row['delivery_id']}[/dim]",
    ]
    Console(soft_wrap=True, highlight=False).print("  ".join(part for part in parts if part))


def _reason_of(row: dict[str, Any]) -> str | None:
    """The first open reason, and how many other ones there are."""
    more = (row["reasons"] or 1) - 1
    return (
        f"{row['reason']}; and {more} more"
        if row["reason"] and more
        else row["reason"] or row["error"]
    )


def _show_delivery(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.show_json(found)
        return
    for name in ("delivery_id", "received_at", "source", "connector", "topic", "outcome", "error"):
        click.echo(f"{name:12} {console.plain(found[name])}")
    counts = (f"{found[name]} {name}" for name in ledger.COLUMNS)
    click.echo(f"{'counts':12} {', '.join(counts)}")
    for one in found["records"]:
        reason = f": {one['reason']}" if one["reason"] else ""
        click.echo(f"\nrecord {one['position']} {one['pointer']}  {one['outcome']}{reason}")
        click.echo(f"  raw     {console.encoded(one['record'])}")
        if one["mapped"] and (note := _read_otherwise(one)):
            click.echo(f"  {note}")
        for fact in one["mapped"]:
            click.echo(f"  mapped  {console.encoded(fact)}")
    if not found["records"]:
        click.echo(f"\n{found['body']}" if found["body"] else "\nThe body is not kept: a repeat.")


def _read_otherwise(record: dict[str, Any]) -> str | None:
    """That what follows is not what was made of the record then, and by what that was."""
    if "read_by" in record:
        version = record["read_by"]
        then = f"with mapping version {version}" if version else "without a mapping"
        return f"read {then} then; today's would make:"
    if record["outcome"] in ("ignored", "refused", "failed"):
        return "nothing was made of it then; today's mapping and settings would make:"
    return None


# replay ------------------------------------------------------------------------------------------


@click.command()
@click.argument("site")
@click.argument("delivery_id", type=click.UUID, required=False)
@since_option
@click.option(
    "--remap",
    is_flag=True,
    help="Also make anew what was applied, as the mapping and settings of its source read it now.",
)
@console.json_option
def replay(
    site: str, delivery_id: UUID | None, since: datetime | None, remap: bool, as_json: bool
) -> None:
    """Apply kept deliveries again: one, or all since a time that left something out.

    What had been applied before stays as it is, whatever settings have changed since; with --remap
    its events and orders are made anew: of one delivery, or of all since a time from sources that
    have or had a mapping.
    """
    if delivery_id is None and since is None:
        raise click.UsageError("name a delivery (DELIVERY_ID), or give --since TIME")
    if delivery_id is not None and since is not None:
        raise click.UsageError("name one delivery or give --since TIME, not both")
    with console.sentences() as settings:
        logs.configure(settings.log_level)
        pool = database.open_pool(
            settings.database_url, size=1, options=database.INGEST_OPTIONS, name="replay"
        )
        try:
            receipts = _replay(pool, site, delivery_id, since, remap)
        finally:
            pool.close()
    _show_receipts(receipts, as_json, remap=remap)


def _replay(
    pool: ingest.Pool,
    name: str,
    delivery_id: UUID | None,
    since: datetime | None,
    remap: bool,
) -> list[dict[str, Any]]:
    with pool.connection() as connection:
        site = access.site(connection, name)
        if delivery_id is not None:
            wanted = [(inspection.source_of(connection, site, delivery_id), delivery_id)]
        else:
            wanted = _wanted(connection, site, since, remap)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        return [
            shown(ingest.replay(pool, source, each, remap=remap))
            for source, each in progress.track(wanted, description="Replaying")
        ]


def _wanted(
    connection: Connection, site: Site, since: datetime | None, remap: bool
) -> list[tuple[access.Source, UUID]]:
    found = inspection.replayable(connection, site, since, remap=remap)
    sources = {number: access.source_by_id(connection, site.site_id, number) for number, _ in found}
    return [(source, each) for number, each in found if (source := sources[number]) is not None]


def _show_receipts(receipts: list[dict[str, Any]], as_json: bool, *, remap: bool) -> None:
    if as_json:
        console.show_json({"replayed": receipts})
        return
    moved = ["mended", "changed"] if remap else ["mended"]
    console.show_table(
        ["delivery", *moved, *ledger.COLUMNS, "reason"],
        [
            [
                each["delivery_id"],
                *(each[name] for name in [*moved, *ledger.COLUMNS]),
                each["error"] or _reasons([p["reason"] for p in each["problems"]]),
            ]
            for each in receipts
        ],
        "There is nothing to replay since then.",
    )
    if receipts:
        click.echo(f"\n{_summary(receipts, remap=remap)}")


def _reasons(reasons: Sequence[str]) -> str:
    """The first of several different ones, and how many there are beside it."""
    different = list(dict.fromkeys(reasons))
    return console.and_more(different, most=1, between="; ")


def _summary(receipts: list[dict[str, Any]], *, remap: bool) -> str:
    """One sentence of all of them: what is applied that was not, what reads differently."""
    mended, changed = (sum(each[name] for each in receipts) for name in ("mended", "changed"))
    records = sum(each["received"] for each in receipts)
    said = f"{mended:,} of {records:,} records are applied now that were not"
    if remap:
        said += f"; {changed:,} came to something else than before, events and orders made anew"
    many = "1 delivery" if len(receipts) == 1 else f"{len(receipts):,} deliveries"
    return f"{many} replayed: {said}."


# events, visitors, ledger ------------------------------------------------------------------------


@click.command()
@click.argument("site")
@click.option("--visitor", help="Only of this person: any user or anonymous id.")
@click.option("--type", "kind", help="Only of this type.")
@since_option
@limit_option
@console.json_option
def events(
    site: str,
    visitor: str | None,
    kind: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List events, newest first."""
    with console.connected() as connection:
        rows = inspection.events(
            connection,
            access.site(connection, site),
            visitor=visitor,
            type=kind,
            since=since,
            limit=limit,
        )
    if as_json:
        console.show_json({"events": rows})
        return
    names = ["occurred_at", "type", "about", "visitor", "products", "source", "event_id"]
    console.show_table(
        names,
        [[*_event(row), row["source"], row["event_id"]] for row in rows],
        "No events.",
        folded=["about", "visitor", "products"],
        spare=["source", "event_id"],
    )


def _event(row: dict[str, Any]) -> list[Any]:
    """When, what, what was searched or what the sender calls it, who, which products."""
    both = row["user_id"] and row["anonymous_id"]
    who = f"{row['user_id']} ({row['anonymous_id']})" if both else None
    return [
        row["occurred_at"],
        row["type"],
        (row["search"] or {}).get("keywords") or row["custom_action_name"],
        who or row["user_id"] or row["anonymous_id"],
        console.and_more(row["product_ids"], most=3),
    ]


@click.command()
@click.argument("site")
@click.argument("id")
@click.option("--similar", is_flag=True, help="Whose taste is like theirs, and what they share.")
@console.json_option
def visitors(site: str, id: str, similar: bool, as_json: bool) -> None:
    """Show a person, by user or anonymous id: ids and what joins them, profile, interests."""
    with console.connected() as connection:
        of_site, now = access.site(connection, site), datetime.now(UTC)
        if similar:
            people = affinities.similar_users(connection, of_site, id, at=now)
        else:
            found = inspection.visitor(connection, of_site, id, at=now)
    if similar:
        _show_similar(people, as_json)
    elif as_json:
        console.show_json(found)
    else:
        _show_visitor(found)


def _show_similar(people: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        console.show_json({"similar_users": people})
        return
    console.show_table(
        ["kind", "id", "score", "products of both", "interests of both"],
        [
            [
                one["kind"],
                one["id"],
                f"{one['score']:.3f}",
                console.and_more(one["product_ids"], most=3),
                console.and_more([each["name"] for each in one["interests"]], most=4),
            ]
            for one in people
        ],
        "Nobody is known who did something with the same products and has such a taste.",
        folded=["products of both", "interests of both"],
    )


def _show_visitor(found: dict[str, Any]) -> None:
    known = [[row["kind"], _id(row["id"], row["erased_at"])] for row in found["ids"]]
    console.show_table(["kind", "id"], known, "")
    if all(row["id"] is None for row in found["ids"]):
        return
    for edge in found["edges"]:
        if not (edge["from_kind"] and edge["to_kind"]):
            continue  # an alias is kept as two, of which one is about a user whom nobody sent
        undone = " (undone)" if edge["undone_at"] else ""
        click.echo(
            f"{edge['from_kind']} {edge['from_id'] or '(erased)'} {edge['kind']} "
            f"{edge['to_kind']} {edge['to_id'] or '(erased)'} "
            f"since {console.plain(edge['occurred_at'])}{undone}"
        )
    click.echo()
    console.show_table(
        ["interest", "name", "share", "sure", "events"],
        [
            [one["kind"], one["name"], one["weight"], f"{one['sure']:.2f}", len(one["event_ids"])]
            for one in found["interests"]
        ],
        "No interests are known yet.",
    )
    if sentence := _of_price(found["profile"]["price"]):
        click.echo(f"price: {sentence}")
    for name in ("touched", "bought"):
        listed = found["profile"][name]
        ids = [one["product_id"] if isinstance(one, dict) else one for one in listed]
        click.echo(f"{name}: {', '.join(ids) or 'nothing'}")


def _of_price(price: dict[str, Any] | None) -> str | None:
    """`low (0.21, .75 sure): of what was chosen; mostly 4.95 GBP, from 0.85 to 12.5`."""
    if price is None:
        return None
    mostly = f"mostly {price['typical']} {price['currency'] or ''}".rstrip()
    span = f"{mostly}, from {price['low']} to {price['high']}"
    if price["position"] is None:
        return span
    told = f"{price['word']} ({price['position']:.2f}, {price['sure']:.2f} sure)"
    return f"{told} of what was {price['by']}; {span}"


def _id(sent_id: str | None, erased_at: datetime | None) -> str:
    """As it was sent; of one that was erased only that is known."""
    return f"erased at {console.plain(erased_at)}" if sent_id is None else sent_id


@click.command("ledger")
@click.argument("site")
@since_option
@click.option(
    "--minutes",
    type=click.IntRange(0, ledger.MINUTES_AT_MOST),
    default=0,
    metavar="N",
    help="With --json: also the last N minutes in which something came.",
)
@console.json_option
def show_ledger(site: str, since: datetime | None, minutes: int, as_json: bool) -> None:
    """Say what became of everything received, whole, by source and by minute."""
    with console.connected() as connection:
        site_id = access.site(connection, site).site_id
        sums = ledger.of_site(connection, site_id, since=since)
        sums["without_product"] = ledger.without_product(connection, site_id, at=datetime.now(UTC))
        if minutes:
            sums["minutes"] = ledger.minutes(connection, site_id, since=since, limit=minutes)
    if as_json:
        console.show_json(sums)
        return
    names = ["deliveries", *ledger.COLUMNS]
    rows = [
        [row["public_id"], row["connector"], *(row[n] for n in names)] for row in sums["sources"]
    ]
    rows.append(["all", "", *(sums["total"][name] for name in names)])
    console.show_table(["source", "connector", *names], rows, "", spare=["connector"])
    for row in sums["without_product"]:
        source = row["public_id"]
        click.echo(
            f"{row['events']} recent {row['action']} events of {source} named no product: "
            f"`sources set {site} {source} product_id NAME` says what names it"
        )


COMMANDS: list[click.Command] = [deliveries, replay, events, visitors, show_ledger]
