"""Who may talk to us: sites, their sources, their keys, and the secrets of both.

The doors find a key or a source here, the command line makes them. Secrets that we must use
(secret keys, because `user_hash` is an HMAC with them; secrets of sources) are encrypted with
`ATTUNE_SECRET_KEY`; keys are found by a keyed hash. What the doors look up is remembered for
`REMEMBER_S` in each process, so a revoked key is refused within two seconds everywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import connectors
from gateway import instant, sealing
from ranking.catalog import embeddings
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError, Malformed

SQL = database.queries(__file__)

REMEMBER_S = 2.0
REMEMBER_AT_MOST = 10_000
LONGEST_ID = 64  # of a source; nothing longer is looked for or remembered
DEFAULT_OVERLAP = timedelta(hours=24)
API = "api"

PREFIXES = {"secret": "sk_", "publishable": "pk_", "write": "wk_"}  # nosec B105
SECRET_SCOPES = (
    "interactions:write",
    "products:write",
    "products:read",
    "users:write",
    "users:read",
    "engine:read",
    "admin:read",
    "admin:write",
    "experiments:write",
)
SCOPES: dict[str, tuple[str, ...]] = {
    "secret": SECRET_SCOPES,
    "publishable": ("interactions:write", "engine:read"),
    "write": ("collect",),
}
# Whose collector takes what a browser sends, and therefore gets a write key.
COLLECTED = ("segment",)

_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class AccessError(AttuneError):
    """Something about sites, sources or keys is not as asked for."""


class UnknownSite(AccessError):
    """No site has that name."""


class SiteExists(AccessError):
    """The name is taken."""


class UnknownSource(AccessError):
    """No source has that id."""


class UnknownKey(AccessError):
    """The site has no such key."""


class BadRequest(AccessError):
    """A name, kind, scope, connector or secret that cannot be used."""


@dataclass(frozen=True, slots=True)
class Site:
    """One tenant; `pepper` keys every hash of a person's id."""

    site_id: int
    name: str
    pepper: bytes
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """One connected sender; `secrets` are those accepted now, newest first."""

    site_id: int
    source_id: int
    public_id: str
    connector: str
    dedupe_scope: int
    secrets: list[str]
    settings: dict[str, Any]
    pepper: bytes


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source just made, with what its platform must be told."""

    source: Source
    secret: str
    write_key: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was presented and is valid; `secret` only for secret keys."""

    site_id: int
    key_id: int
    kind: str
    scopes: frozenset[str]
    source_id: int | None
    secret: str | None
    requests_per_second: int | None = None


# what the doors ask ------------------------------------------------------------------------------

_T = TypeVar("_T")


class _Memory(Generic[_T]):
    """What was found lately, by name; of the texts that a sender presents also what was not found.
    That hides nothing new: keys and ids of sources are drawn at random when they are made, so what
    was asked for before was another one."""

    def __init__(self) -> None:
        self._found: dict[Any, tuple[float, _T]] = {}
        self._missed: dict[str, float] = {}

    def get(self, name: Any) -> _T | None:
        entry = self._found.get(name)
        return entry[1] if entry and entry[0] > time.monotonic() else None

    def last(self, name: Any) -> _T | None:
        """What was found, however long ago."""
        entry = self._found.get(name)
        return entry[1] if entry else None

    def missed(self, name: Any) -> bool:
        """Whether it was looked for in vain a moment ago."""
        return self._missed.get(name, 0.0) > time.monotonic()

    def get_or(self, name: Any, look_up: Callable[[], _T | None]) -> _T | None:
        known = self.get(name)
        if known is not None or self.missed(name):
            return known
        found = look_up()
        if found is not None:
            _keep(self._found, name, (time.monotonic() + REMEMBER_S, found))
        elif type(name) is str:
            _keep(self._missed, name, time.monotonic() + REMEMBER_S)
        return found

    def clear(self) -> None:
        self._found.clear()
        self._missed.clear()


def _keep(memory: dict[Any, Any], name: Any, value: Any) -> None:
    if len(memory) >= REMEMBER_AT_MOST:
        memory.clear()
    memory[name] = value


_keys: _Memory[Key] = _Memory()
_sources: _Memory[Source] = _Memory()
_sites: _Memory[Site] = _Memory()
_secret_keys: _Memory[list[str]] = _Memory()


def forget() -> None:
    """Drop what this process remembers, so that a change made here is seen here at once."""
    for memory in (_keys, _sources, _sites, _secret_keys):
        memory.clear()


def known_key(text: str) -> Key | None:
    """The key if this process looked it up within `REMEMBER_S`; needs no connection."""
    return _keys.get(text)


def key_for(connection: Connection, text: str) -> Key | None:
    """The valid key of that text, None for an unknown, revoked or expired one."""
    return _keys.get_or(text, lambda: _find_key(connection, text))


def unknown_key(text: str) -> bool:
    """Whether this process looked for that key in vain within `REMEMBER_S`."""
    return _keys.missed(text)


def known_source(public_id: str) -> Source | None:
    """The source if this process looked it up within `REMEMBER_S`; needs no connection."""
    return _sources.get(public_id)


def site_of_key(text: str) -> int | None:
    """The site that a key opened in this process before; it may have been revoked since."""
    key = _keys.last(text)
    return key.site_id if key else None


def site_of_source(public_id: str) -> int | None:
    """The site of a source that was addressed in this process before."""
    source = _sources.last(public_id)
    return source.site_id if source else None


def unknown_source(public_id: str) -> bool:
    """Whether this process looked for that source in vain within `REMEMBER_S`."""
    return _sources.missed(public_id)


def source_by_public_id(connection: Connection, public_id: str) -> Source | None:
    """The source whose id stands in a URL, None if there is none."""
    if "\0" in public_id or len(public_id) > LONGEST_ID:
        return None
    return _sources.get_or(
        public_id, lambda: _source(connection, SQL.source_by_public_id, public_id=public_id)
    )


def sources_of(connection: Connection, connector: str, shop: str) -> list[Source]:
    """The sources whose setting `shop` that is, the newest first."""
    rows = connection.execute(SQL.sources_of, {"connector": connector, "shop": shop})
    return [_opened(row) for row in rows]


def source_by_id(connection: Connection, site_id: int, source_id: int) -> Source | None:
    """A site's source by number, None if that site has none such."""
    return _sources.get_or(
        (connection.info.dbname, site_id, source_id),
        lambda: _source(connection, SQL.source_by_id, site_id=site_id, source_id=source_id),
    )


def api_source(connection: Connection, site_id: int) -> Source:
    """The implicit source of each site, that which `/v1` speaks for."""
    found = _sources.get_or(
        (connection.info.dbname, site_id, API),
        lambda: _source(connection, SQL.api_source, site_id=site_id),
    )
    if found is None:
        raise UnknownSource(f"site {site_id} has no source of connector {API!r}")
    return found


def site_by_id(connection: Connection, site_id: int) -> Site:
    """The site of that number; raises UnknownSite."""
    found = _sites.get_or(
        (connection.info.dbname, site_id), lambda: _site(connection, SQL.site_by_id, site_id)
    )
    if found is None:
        raise UnknownSite(f"there is no site {site_id}")
    return found


def user_hash_matches(
    connection: Connection, site_id: int, message: str, user_hash: str | None
) -> bool:
    """Whether a hash is the HMAC-SHA256 of the message with any live secret key of the site.

    `message` is `user_id`, or `user_type:user_id` where the sender names a type; the hash is hex
    in any letter case.
    """
    if not user_hash:
        return False
    given = user_hash.lower().encode("utf-8", "replace")
    text = message.encode("utf-8", "replace")
    matches = False
    for key in _live_secret_keys(connection, site_id):
        expected = hmac.new(key.encode(), text, hashlib.sha256).hexdigest().encode()
        matches |= hmac.compare_digest(expected, given)
    return matches


def _live_secret_keys(connection: Connection, site_id: int) -> list[str]:
    found = _secret_keys.get_or(
        (connection.info.dbname, site_id),
        lambda: [
            sealing.open_sealed(row[0])
            for row in connection.execute(SQL.live_secret_keys, {"site_id": site_id})
        ],
    )
    return found or []


def _find_key(connection: Connection, text: str) -> Key | None:
    row = connection.execute(SQL.key, {"key_hash": sealing.digest(text)}).fetchone()
    if row is None:
        return None
    site_id, key_id, kind, scopes, source_id, sealed, per_second = row
    secret = sealing.open_sealed(sealed) if sealed is not None else None
    return Key(site_id, key_id, kind, frozenset(scopes), source_id, secret, per_second)


def _source(connection: Connection, statement: str, **params: Any) -> Source | None:
    row = connection.execute(statement, params).fetchone()
    return None if row is None else _opened(row)


def _opened(row: tuple[Any, ...]) -> Source:
    site_id, source_id, public_id, connector, dedupe_scope, sealed, settings, pepper = row
    now = instant.now().timestamp()
    live = [
        secret
        for secret, until in json.loads(sealing.open_sealed(sealed))
        if until is None or until > now
    ]
    return Source(
        site_id, source_id, public_id, connector, dedupe_scope, live, settings, bytes(pepper)
    )


# sites -------------------------------------------------------------------------------------------


def create_site(connection: Connection, name: str) -> dict[str, str]:
    """Make a site with a secret and a publishable key: {"site", "secret_key", "publishable_key"}.

    Raises SiteExists and BadRequest. This is the only time the secret key is shown.
    """
    if not _SITE_NAME.fullmatch(name):
        raise BadRequest(
            f"{name!r} cannot be a site's name: use 1 to 100 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    with connection.transaction():
        row = connection.execute(
            SQL.insert_site, {"name": name, "pepper": secrets.token_bytes(32)}
        ).fetchone()
        if row is None:
            raise SiteExists(f"there is a site named {name!r} already: choose another name")
        found = site(connection, name)
        _insert_source(connection, found, API, secrets.token_hex(20), {}, None)
        made = {kind: create_key(connection, found, kind) for kind in ("secret", "publishable")}
        embeddings.create_tables(connection, found.site_id)
    return {"site": name, "secret_key": made["secret"], "publishable_key": made["publishable"]}


def site(connection: Connection, name: str) -> Site:
    """The site of that name; raises UnknownSite, which lists those there are."""
    found = _site(connection, SQL.site_by_name, name)
    if found is None:
        raise UnknownSite(_no_such_site(name, site_names(connection)))
    return found


def change_site_settings(connection: Connection, site: Site, changes: Mapping[str, Any]) -> None:
    """Set what `site_settings` has checked; None takes one away."""
    parameters = {"site_id": site.site_id, "changes": Jsonb(dict(changes))}
    connection.execute(SQL.change_site_settings, parameters)
    forget()


def site_names(connection: Connection) -> list[str]:
    """The names of all sites, sorted."""
    return [row[0] for row in connection.execute(SQL.site_names)]


def _site(connection: Connection, statement: str, name: str | int) -> Site | None:
    row = connection.execute(statement, {"name": name, "site_id": name}).fetchone()
    return Site(row[0], row[1], bytes(row[2]), row[3]) if row else None


def _no_such_site(name: str, names: list[str]) -> str:
    if not names:
        return f"there is no site {name!r}: make one with `python -m gateway sites create NAME`"
    return f"there is no site {name!r}; there are: {', '.join(names)}"


# sources -----------------------------------------------------------------------------------------


def create_source(
    connection: Connection,
    site: Site,
    connector: str,
    secret: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    archive_of: Source | None = None,
) -> NewSource:
    """Connect a sender; without a secret one is made. Raises BadRequest.

    `archive_of` is the live source whose old events this one brings: both share what counts as
    the same event.
    """
    if connector not in connectors.CONNECTORS:
        raise BadRequest(
            f"there is no connector {connector!r}; there are: "
            f"{', '.join(sorted(connectors.CONNECTORS))}"
        )
    shared = secrets.token_hex(20) if secret is None else _usable(secret)
    with connection.transaction():
        source = _insert_source(connection, site, connector, shared, settings or {}, archive_of)
        write_key = None
        if connector in COLLECTED:
            write_key = create_key(connection, site, "write", source_id=source.source_id)
    return NewSource(source, shared, write_key)


def rotate_source_secret(
    connection: Connection,
    source: Source,
    secret: str | None = None,
    overlap: timedelta = DEFAULT_OVERLAP,
) -> str:
    """Give a source a new secret; the old ones are accepted until the overlap ends."""
    fresh = secrets.token_hex(20) if secret is None else _usable(secret)
    until = instant.now().timestamp() + overlap.total_seconds()
    where = {"site_id": source.site_id, "source_id": source.source_id}
    with connection.transaction():
        row = connection.execute(SQL.lock_source_secrets, where).fetchone()
        if row is None:
            raise UnknownSource(f"there is no source {source.public_id}")
        old = [
            [text, min(until, expires or until)]
            for text, expires in json.loads(sealing.open_sealed(row[0]))
        ]
        sealed = sealing.seal(json.dumps([[fresh, None], *old]))
        connection.execute(SQL.update_source_secrets, {**where, "secrets_sealed": sealed})
    forget()
    return fresh


def change_settings(connection: Connection, source: Source, changes: Mapping[str, Any]) -> None:
    """Set a source's settings; None takes one away. Raises BadRequest for one it does not have,
    or a value that it cannot have."""
    connector = connectors.CONNECTORS[source.connector]
    known = connector.settings
    for name in changes:
        if name not in known:
            raise BadRequest(
                f"{source.connector} has no setting {name!r}; there are: {', '.join(sorted(known))}"
            )
    try:
        kept = connector.check(changes)
    except Malformed as error:
        raise BadRequest(str(error)) from None
    connection.execute(
        SQL.change_settings,
        {
            "site_id": source.site_id,
            "source_id": source.source_id,
            "changes": Jsonb(dict(kept)),
        },
    )
    forget()


def source_of_site(connection: Connection, site: Site, public_id: str) -> Source:
    """A site's source by the id in its URL; raises UnknownSource."""
    found = source_by_public_id(connection, public_id)
    if found is None or found.site_id != site.site_id:
        raise UnknownSource(f"site {site.name} has no source {public_id!r}")
    return found


def lock_source(connection: Connection, source: Source) -> None:
    """Let nobody else change the source until the end of the transaction."""
    where = {"site_id": source.site_id, "source_id": source.source_id}
    connection.execute(SQL.lock_source, where)


def set_mapping(
    connection: Connection, source: Source, version: int, document: Mapping[str, Any]
) -> None:
    """Let a source's records be read by this mapping; gateway/mappings.py keeps its versions."""
    where = {"site_id": source.site_id, "source_id": source.source_id}
    values = {"version": version, "document": Jsonb(dict(document))}
    connection.execute(SQL.set_mapping, where | values)


def sources(connection: Connection, site: Site) -> list[dict[str, Any]]:
    """The site's sources, oldest first, without their secrets."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SQL.sources, {"site_id": site.site_id}).fetchall()


def _insert_source(
    connection: Connection,
    site: Site,
    connector: str,
    secret: str,
    settings: Mapping[str, Any],
    archive_of: Source | None,
) -> Source:
    public_id = secrets.token_hex(12)
    row = connection.execute(
        SQL.insert_source,
        {
            "site_id": site.site_id,
            "public_id": public_id,
            "connector": connector,
            "dedupe_scope": archive_of.dedupe_scope if archive_of else None,
            "secrets_sealed": sealing.seal(json.dumps([[secret, None]])),
            "settings": Jsonb(dict(settings)),
        },
    ).fetchone()
    assert row is not None
    return Source(
        site.site_id, row[0], public_id, connector, row[1], [secret], dict(settings), site.pepper
    )


def _usable(secret: str) -> str:
    if not secret.strip():
        raise BadRequest(
            "the secret is empty, so anybody could sign: leave --secret out to have one made"
        )
    return secret


# keys --------------------------------------------------------------------------------------------


def create_key(
    connection: Connection,
    site: Site,
    kind: str,
    scopes: list[str] | None = None,
    *,
    source_id: int | None = None,
    requests_per_second: int | None = None,
) -> str:
    """Make a key and return it; `scopes` narrows what its kind may do, `requests_per_second` how
    much of it. Raises BadRequest."""
    text = PREFIXES[_known_kind(kind)] + secrets.token_hex(20)
    connection.execute(
        SQL.insert_key,
        {
            "key_hash": sealing.digest(text),
            "site_id": site.site_id,
            "kind": kind,
            "scopes": _allowed(kind, scopes),
            "source_id": source_id,
            "requests_per_second": requests_per_second,
            "sealed": sealing.seal(text) if kind == "secret" else None,
            "plain": None if kind == "secret" else text,
        },
    )
    return text


def keys(connection: Connection, site: Site) -> list[dict[str, Any]]:
    """The site's keys, oldest first; of a secret key only its ends are shown."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL.keys, {"site_id": site.site_id}).fetchall()
    return [_shown(row) for row in rows]


def rotate_key(
    connection: Connection,
    site: Site,
    key_id: int | None = None,
    overlap: timedelta = DEFAULT_OVERLAP,
) -> tuple[str, int, datetime]:
    """Replace a key by a new one of the same kind and scopes: (new key, old number, its expiry).

    Without a number the newest live secret key is replaced. The old one works until its expiry.
    """
    with connection.transaction():
        old = _key_to_rotate(keys(connection, site), key_id)
        text = create_key(
            connection,
            site,
            old["kind"],
            old["scopes"],
            source_id=old["source_id"],
            requests_per_second=old["requests_per_second"],
        )
        connection.execute(
            SQL.retire_keys,
            {"site_id": site.site_id, "key_ids": [old["key_id"]], "overlap": overlap},
        )
        after = _numbered(keys(connection, site), old["key_id"])
    forget()
    return text, old["key_id"], after["expires_at"]


def limit_key(
    connection: Connection, site: Site, key_id: int, requests_per_second: int | None
) -> None:
    """Let a key make so many requests a second, None: as many as its site's keys may; raises
    UnknownKey."""
    values = {
        "site_id": site.site_id,
        "key_id": key_id,
        "requests_per_second": requests_per_second,
    }
    if connection.execute(SQL.limit_key, values).fetchone() is None:
        raise _no_such_key(key_id)
    forget()


def revoke_key(connection: Connection, site: Site, key_id: int) -> None:
    """Refuse a key from now on, everywhere within `REMEMBER_S`; raises UnknownKey."""
    where = {"site_id": site.site_id, "key_id": key_id}
    if connection.execute(SQL.revoke_key, where).fetchone() is None:
        raise _no_such_key(key_id)
    forget()


def _key_to_rotate(rows: list[dict[str, Any]], key_id: int | None) -> dict[str, Any]:
    if key_id is not None:
        return _numbered(rows, key_id)
    live = [row for row in rows if row["kind"] == "secret" and not row["expired"]]
    if not live:
        raise UnknownKey("the site has no live secret key: make one with `keys create SITE`")
    return live[-1]


def _numbered(rows: list[dict[str, Any]], key_id: int) -> dict[str, Any]:
    for row in rows:
        if row["key_id"] == key_id:
            return row
    raise _no_such_key(key_id)


def _no_such_key(key_id: int) -> UnknownKey:
    return UnknownKey(f"the site has no key {key_id}: `keys list SITE` shows those it has")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    sealed, plain = row.pop("sealed"), row.pop("plain")
    text = plain if sealed is None else sealing.open_sealed(sealed)
    return {**row, "key": text if sealed is None else f"{text[:7]}…{text[-4:]}"}


def _known_kind(kind: str) -> str:
    if kind not in PREFIXES:
        raise BadRequest(f"there is no kind of key {kind!r}; there are: {', '.join(PREFIXES)}")
    return kind


def _allowed(kind: str, scopes: list[str] | None) -> list[str]:
    """The scopes asked for, all of the kind where none are; more than the kind's are refused."""
    if not scopes:
        return list(SCOPES[kind])
    beyond = sorted(set(scopes) - set(SCOPES[kind]))
    if beyond:
        raise BadRequest(
            f"a {kind} key cannot have {', '.join(beyond)}; it can have: {', '.join(SCOPES[kind])}"
        )
    return sorted(set(scopes), key=SCOPES[kind].index)
