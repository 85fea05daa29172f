"""`sites`, `sources`, `keys`: who may talk to the gateway."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from connectors import CONNECTORS
from connectors.segment import connect as segment
from connectors.shopify import connect as shopify
from connectors.wordpress import connect as wordpress
from gateway import access, sync
from gateway.commands import console, feeds
from gateway.commands.groups import Group
from gateway.settings import load
from schemas.database import Connection

Request = tuple[dict[str, str], str]

# The clicks to make in a platform, and a signed request to try, by connector.
CONNECT: dict[str, tuple[str, Callable[[str, datetime], Request]]] = {
    "segment": (segment.CLICKS, segment.test_request),
    "shopify": (shopify.CLICKS, shopify.test_request),
    "wordpress": (wordpress.CLICKS, wordpress.test_request),
}

MOST_PER_SECOND = 1_000_000

overlap_option = click.option(
    "--overlap",
    type=click.FloatRange(0, 24 * 365),
    default=24.0,
    show_default=True,
    help="Hours for which the old one still works.",
)


# sites -------------------------------------------------------------------------------------------


@click.group(cls=Group)
def sites() -> None:
    """Make sites: one for each shop or publication."""


@sites.command("create")
@click.argument("name")
@console.json_option
def create_site(name: str, as_json: bool) -> None:
    """Make a site with a secret and a publishable key."""
    with console.connected() as connection:
        made = access.create_site(connection, name)
    if as_json:
        console.show_json(made)
        return
    click.echo(
        f"Site {name} is made.\n"
        f"  secret key:      {made['secret_key']}   (shown only now; for your servers)\n"
        f"  publishable key: {made['publishable_key']}   (for web pages)"
    )


@sites.command("list")
@console.json_option
def list_sites(as_json: bool) -> None:
    """List the sites."""
    with console.connected() as connection:
        names = access.site_names(connection)
    if as_json:
        console.show_json({"sites": names})
    else:
        console.show_table(["site"], [[name] for name in names], "There are no sites yet.")


# sources -----------------------------------------------------------------------------------------


@click.group(cls=Group)
def sources() -> None:
    """Connect what sends events and catalogs."""


@sources.command("create")
@click.argument("site")
@click.argument("connector")
@click.option("--secret", help="Shared secret; one is made where it is left out.")
@feeds.options
@console.json_option
def create_source(
    site: str, connector: str, secret: str | None, as_json: bool, **of_feed: str | None
) -> None:
    """Connect a platform to a site, and say what to click there; or a feed, which is pulled."""
    if connector != sync.CONNECTOR and any(of_feed.values()):
        raise click.UsageError("--feed-url and what belongs to it are for the connector `feed`")
    with console.connected() as connection:
        of_site = access.site(connection, site)
        if connector == sync.CONNECTOR:
            source = feeds.create(connection, of_site, secret, of_feed)
            feeds.created(site, source, as_json)
            return
        made = access.create_source(connection, of_site, connector, secret)
        answer = _connection(connection, of_site, made)
    if as_json:
        console.show_json(answer)
    else:
        click.echo(_instructions(connector, answer))


def _connection(
    connection: Connection, site: access.Site, made: access.NewSource
) -> dict[str, Any]:
    base, path = load().public_url, f"{made.source.connector}/{made.source.public_id}"
    answer = {
        "site": site.name,
        "source": made.source.public_id,
        "url": f"{base}/webhooks/{path}",
        "secret": made.secret,
    }
    if made.write_key:
        answer["write_key"] = made.write_key
    if CONNECTORS[made.source.connector].browser:
        answer["collect_url"] = f"{base}/collect/{path}?api_key={_publishable(connection, site)}"
    return answer


def _publishable(connection: Connection, site: access.Site) -> str:
    """The site's newest publishable key that works; a word in its place where there is none."""
    rows = access.keys(connection, site)
    works = [row["key"] for row in rows if row["kind"] == "publishable" and not row["expired"]]
    return str(works[-1]) if works else "PUBLISHABLE_KEY"


def _instructions(connector: str, answer: dict[str, Any]) -> str:
    """The request comes before the clicks: one of them may replace the secret that it is signed
    with."""
    clicks, test_request = CONNECT[connector]
    parts = [
        f"Source {answer['source']} of site {answer['site']} is made.",
        "Try it now, signed as the platform would sign it with the secret made just now:",
        curl(answer["url"], *test_request(answer["secret"], datetime.now(UTC))),
        clicks.format(**answer, **segment.hosts(load().public_url)),
        "Watch what arrives:",
        f"  .venv/bin/python -m gateway deliveries {answer['site']} --follow",
    ]
    return "\n\n".join(parts)


def curl(url: str, headers: dict[str, str], body: str) -> str:
    """A command that posts the body, ready for a shell."""
    words = [f"curl -X POST {shlex.quote(url)}"]
    words += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    words += [f"-d {shlex.quote(body)}", r"-w '\n'"]
    return " \\\n  ".join(words)


@sources.command("list")
@click.argument("site")
@console.json_option
def list_sources(site: str, as_json: bool) -> None:
    """List the sources of a site."""
    with console.connected() as connection:
        of_site = access.site(connection, site)
        rows, urls = access.sources(connection, of_site), sync.urls(connection, of_site)
    for row in rows:
        row["url"] = urls.get(row["source"])
        # A feed's address may hold a password: `url` shows it without.
        row["settings"] = {name: row["settings"][name] for name in row["settings"] if name != "url"}
    if as_json:
        console.show_json({"sources": rows})
    else:
        names = ["source", "connector", "created_at", "url", "settings"]
        shown = [[*(row[name] for name in names[:-1]), _compact(row["settings"])] for row in rows]
        spare = ["created_at"]
        console.show_table(names, shown, "No sources.", folded=["url", "settings"], spare=spare)


def _compact(settings: dict[str, Any]) -> str:
    """`product_id=sku, consent=["ads"]`: text as it was given, all else as JSON; of the mapping,
    which has commands of its own, the version."""
    return ", ".join(f"{name}={_value(name, value)}" for name, value in sorted(settings.items()))


def _value(name: str, value: Any) -> str:
    if name == "mapping":
        return f"version {value.get('version')}, see `mappings show`"
    return value if isinstance(value, str) else console.encoded(value)


@sources.command("rotate")
@click.argument("site")
@click.argument("source")
@click.option("--secret", help="The new secret; one is made where it is left out.")
@overlap_option
@console.json_option
def rotate_source(
    site: str, source: str, secret: str | None, overlap: float, as_json: bool
) -> None:
    """Give a source a new secret; the old one works until the overlap ends."""
    with console.connected() as connection:
        found = access.source_of_site(connection, access.site(connection, site), source)
        fresh = access.rotate_source_secret(connection, found, secret, timedelta(hours=overlap))
    if as_json:
        console.show_json({"source": source, "secret": fresh})
    else:
        old = f"works for {overlap:g} hours more" if overlap else "works no more"
        click.echo(f"New secret of {source}: {fresh}\nThe old one {old}.")


@sources.command("set")
@click.argument("site")
@click.argument("source")
@click.argument("name")
@click.argument("value")
@console.json_option
def set_source(site: str, source: str, name: str, value: str, as_json: bool) -> None:
    """Change a setting of a source; VALUE is JSON or plain text, null takes it away.

    It holds within two seconds for what arrives; a replay applies it to records that were refused
    or ignored. What was applied stays as it was.
    """
    with console.connected() as connection:
        of_site = access.site(connection, site)
        found = access.source_of_site(connection, of_site, source)
        changes = {name: _json_or_text(value)}
        if found.connector == sync.CONNECTOR:
            sync.check(found.settings | changes, sync.rules_of(load()))
        access.change_settings(connection, found, changes)
        settings = access.source_of_site(connection, of_site, source).settings
    if as_json:
        console.show_json({"source": source, "settings": settings})
    else:
        click.echo(f"Settings of {source}: {_compact(settings) or 'none'}")


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


# keys --------------------------------------------------------------------------------------------


@click.group(cls=Group)
def keys() -> None:
    """List, make, replace and revoke keys."""


@keys.command("list")
@click.argument("site")
@console.json_option
def list_keys(site: str, as_json: bool) -> None:
    """List the keys of a site; secret ones are never shown whole."""
    with console.connected() as connection:
        rows = access.keys(connection, access.site(connection, site))
    names = ["key_id", "kind", "key", "scopes", "requests_per_second", "created_at", "expires_at"]
    if as_json:
        console.show_json({"keys": rows})
    else:
        console.show_table(
            names,
            [[row[name] for name in names] for row in rows],
            "No keys.",
            folded=["scopes", "expires_at"],
            spare=["created_at", "requests_per_second"],
        )


@keys.command("create")
@click.argument("site")
@click.option(
    "--kind",
    type=click.Choice(["secret", "publishable"]),
    default="secret",
    show_default=True,
    help="Publishable keys may stand in web pages.",
)
@click.option("--scope", "scopes", multiple=True, help="Only this scope; may be repeated.")
@click.option(
    "--requests-per-second",
    "per_second",
    type=click.IntRange(1, MOST_PER_SECOND),
    help="How fast it may ask; else as its site's keys may.",
)
@console.json_option
def create_key(
    site: str, kind: str, scopes: tuple[str, ...], per_second: int | None, as_json: bool
) -> None:
    """Make one more key."""
    with console.connected() as connection:
        made = access.create_key(
            connection,
            access.site(connection, site),
            kind,
            list(scopes),
            requests_per_second=per_second,
        )
    if as_json:
        answer = {"site": site, "kind": kind, "key": made}
        console.show_json(answer | ({"requests_per_second": per_second} if per_second else {}))
    else:
        click.echo(f"New {kind} key of {site}: {made}")


@keys.command("rotate")
@click.argument("site")
@click.argument("key_id", type=int, required=False)
@overlap_option
@console.json_option
def rotate_key(site: str, key_id: int | None, overlap: float, as_json: bool) -> None:
    """Replace a key (without a number, the newest secret key) by a new one of its kind."""
    with console.connected() as connection:
        fresh, old, expires_at = access.rotate_key(
            connection, access.site(connection, site), key_id, timedelta(hours=overlap)
        )
    if as_json:
        console.show_json(
            {"site": site, "key": fresh, "old_key_id": old, "old_expires_at": expires_at}
        )
    else:
        until = f"works until {console.plain(expires_at)}" if overlap else "works no more"
        click.echo(f"New key of {site}: {fresh}\nKey {old} {until}.")


@keys.command("limit")
@click.argument("site")
@click.argument("key_id", type=int)
@click.option(
    "--requests-per-second",
    "per_second",
    type=click.IntRange(1, MOST_PER_SECOND),
    help="How fast it may ask; left out, as its site's keys may.",
)
@console.json_option
def limit_key(site: str, key_id: int, per_second: int | None, as_json: bool) -> None:
    """Say how many requests a second a key may make; every process knows within two seconds."""
    with console.connected() as connection:
        access.limit_key(connection, access.site(connection, site), key_id, per_second)
    if as_json:
        console.show_json({"site": site, "key_id": key_id, "requests_per_second": per_second})
    elif per_second:
        click.echo(f"Key {key_id} of {site} may make {per_second:,} requests a second.")
    else:
        click.echo(f"Key {key_id} of {site} may make as many requests as its site's keys may.")


@keys.command("revoke")
@click.argument("site")
@click.argument("key_id", type=int)
@console.json_option
def revoke_key(site: str, key_id: int, as_json: bool) -> None:
    """Refuse a key from now on; every process knows within two seconds."""
    with console.connected() as connection:
        access.revoke_key(connection, access.site(connection, site), key_id)
    if as_json:
        console.show_json({"site": site, "revoked": key_id})
    else:
        click.echo(f"Key {key_id} of {site} is revoked.")


COMMANDS: list[click.Command] = [sites, sources, keys]
