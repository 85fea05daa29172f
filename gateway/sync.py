"""What we fetch ourselves: feeds, pulled on a schedule. The clock names the sites that are due, the
worker pulls, `python -m gateway pull` too.

A pull: fetch what changed → items → deliveries of that source, through `ingest` like any other →
what the feed holds no longer becomes unavailable. Postgres knows how far each feed is; a pull that
was killed is simply made again, and comes to the same.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any, BinaryIO
from uuid import UUID

import msgspec
import psycopg
import structlog
from psycopg.rows import dict_row

from connectors.feed import attributes, client, items, translate
from connectors.feed.bounded import Broken, Item
from gateway import access, ingest, instant, outgoing
from gateway.access import Site, Source
from gateway.settings import Settings, load
from ranking.catalog import snapshot
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError, counted

SQL = database.queries(__file__)
log = structlog.get_logger(__name__)

CONNECTOR = "feed"
TOPIC = "products"
RUN = "Attune-Feed-Run"  # which pull a delivery came with

EVERY = "6h"
LEAST_EVERY = timedelta(minutes=1)
MOST_EVERY = timedelta(days=31)
FIRST_WAIT = timedelta(minutes=1)  # after a failure; doubled after each further one
LEAST_PAUSE = timedelta(minutes=10)  # between pulls because of what a file means at another time
RUNS_KEPT = 50
RUNS_SHOWN = 5
PROBLEMS_KEPT = 20

LIMIT_BYTES = 2 << 30  # of a feed, unpacked
DEADLINE_S = 600.0
ITEMS_A_DELIVERY = 1000
BYTES_A_DELIVERY = 4 << 20
LOCK = 0x4645_4544  # any constant: the class of our advisory locks

_EVERY = re.compile(r"(\d{1,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OUR_HEADERS = frozenset(("host", "content-length", "transfer-encoding", "connection",
                          "accept-encoding", "if-none-match", "if-modified-since"))  # fmt: skip

Told = Callable[[str, int, int | None], None]  # stage, done, of how many


class BadFeed(AttuneError):
    """A feed's address or setting cannot be used."""


class Busy(AttuneError):
    """The feed is being pulled already."""


@dataclass
class Run:
    """One pull and what came of it."""

    started_at: datetime
    outcome: str = "running"
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[dict[str, str]] = field(default_factory=list)  # the first of them
    warning: str | None = None
    error: str | None = None

    def count(self, **more: int) -> None:
        for name, number in more.items():
            self.counts[name] = self.counts.get(name, 0) + number


# settings ---------------------------------------------------------------------------------------


def interval(settings: Mapping[str, Any]) -> timedelta:
    """How often a feed is pulled; raises BadFeed."""
    written = str(settings.get("every") or EVERY)
    found = _EVERY.fullmatch(written)
    every = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not LEAST_EVERY <= every <= MOST_EVERY:
        raise BadFeed(f"every: {written!r} must be from 1m to 31d, such as 30m, 6h or 1d")
    return every


def check(settings: Mapping[str, Any], rules: outgoing.Rules) -> None:
    """Raise where a feed with these settings could never be pulled; connects to nothing."""
    interval(settings)
    url = settings.get("url")
    if not isinstance(url, str) or not url:
        raise BadFeed("a feed needs the address that it lies at: --feed-url URL")
    outgoing.check(url, rules)
    header = settings.get("header")
    if header is not None and (
        not isinstance(header, str)
        or not _HEADER.fullmatch(header)
        or header.lower() in _OUR_HEADERS
    ):
        raise BadFeed(f"{header!r} is no header that can be sent with a request")
    fields = settings.get("fields")
    if fields is not None and not (
        isinstance(fields, dict) and all(isinstance(name, str) for name in fields.values())
    ):
        raise BadFeed('fields must be an object of names, such as {"article number": "id"}')
    for name in (fields or {}).values():
        if not attributes.is_known(name):
            raise BadFeed(
                f"fields: {name!r} is no attribute that feeds have: correct it, or write "
                f"{attributes.OWN + name!r} where it is one of your own"
            )


def urls(connection: Connection, site: Site) -> dict[str, str]:
    """Where each feed of a site lies, by its public id, without secrets."""
    rows = connection.execute(SQL.urls, {"site_id": site.site_id})
    return {public_id: shown_url(settings) for public_id, settings in rows}


def shown_url(settings: Mapping[str, Any]) -> str:
    """A feed's address without what may be a secret in it."""
    return outgoing.shown(str(settings.get("url") or ""))


def rules_of(settings: Settings) -> outgoing.Rules:
    """How far a pull may go."""
    return outgoing.Rules(LIMIT_BYTES, DEADLINE_S, settings.feed_allow_private)


# what is due ------------------------------------------------------------------------------------


def due(connection: Connection, at: datetime) -> list[int]:
    """The sites that have a feed to pull."""
    return [row[0] for row in connection.execute(SQL.due, {"at": at})]


def pull_next(
    connection: Connection,
    pool: ingest.Pool,
    site_id: int,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Pull the one feed of the site that has waited longest, and say whether more are due."""
    where = {"site_id": site_id, "at": instant.now()}
    waiting = [row[0] for row in connection.execute(SQL.due_of, where)]
    for position, source_id in enumerate(waiting):
        source = access.source_by_id(connection, site_id, source_id)
        if source is None:
            continue
        try:
            run = pull(connection, pool, source, stop=stop)
        except Busy:
            continue
        report = {"source": source.public_id, "outcome": run.outcome, **run.counts}
        if run.error and run.outcome == "failed":
            report["problem"] = run.error
        return report | {"more": position + 1 < len(waiting)}
    return {"more": False}


def ask(connection: Connection, source: Source) -> None:
    """Make a feed due now; its pull begins with the next hint or minute."""
    connection.execute(SQL.ask, _key(source) | {"at": instant.now()})


# one pull ---------------------------------------------------------------------------------------


def pull(
    connection: Connection,
    pool: ingest.Pool,
    source: Source,
    *,
    force: bool = False,
    by_hand: bool = False,
    told: Told = lambda stage, done, total: None,
    stop: Callable[[], bool] = lambda: False,
    at: datetime | None = None,
) -> Run:
    """Pull one feed now and say what came of it; a feed that cannot be read is no exception.

    `force` reads it although nothing changed, and lets more than half of its products vanish.
    `by_hand` changes nothing of when the next pull is due, unless it ends well.
    `connection` (autocommit) holds the lock meanwhile. Raises Busy, and psycopg.Error where
    Postgres is away.
    """
    with _alone(connection, source):
        run = Run(at or instant.now())
        state = _begin(connection, source, run, by_hand)
        one = _Pull(connection, pool, source, run, told, stop)
        try:
            one.do(state, force)
        except (AttuneError, OSError) as error:
            run.outcome, run.error = "failed", str(error) or type(error).__name__
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # nothing can be noted; the run is found again
        except Exception as error:
            run.outcome, run.error = "failed", f"our own fault: {type(error).__name__}: {error}"
            raise
        except BaseException:
            run.outcome = "interrupted"
            raise
        finally:
            if run.outcome != "running":
                _finish(connection, source, run, one, by_hand)
    log.info("feed pulled", source=source.public_id, outcome=run.outcome, error=run.error,
             warning=run.warning, **run.counts)  # fmt: skip
    return run


@contextlib.contextmanager
def _alone(connection: Connection, source: Source) -> Iterator[None]:
    parameters = {"class": LOCK, "source_id": source.source_id}
    row = connection.execute(SQL.lock, parameters).fetchone()
    if not (row and row[0]):
        raise Busy(
            f"feed {source.public_id} is being pulled already: `feeds` shows how far that is"
        )
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(SQL.unlock, parameters)


@dataclass(frozen=True)
class _State:
    """What is known of the file that was read last."""

    known: client.Known
    content_hash: UUID | None
    changes_at: datetime | None
    settings_hash: UUID | None

    def is_stale(self, at: datetime, settings_hash: UUID) -> bool:
        """Whether the same file means something else by now."""
        if self.content_hash is None or self.settings_hash != settings_hash:
            return True
        return self.changes_at is not None and self.changes_at <= at


@dataclass
class _Pull:
    """The steps of one pull, and what it has found so far."""

    connection: Connection
    pool: ingest.Pool
    source: Source
    run: Run
    told: Told
    stop: Callable[[], bool]
    known: client.Known = field(default_factory=client.Known)
    content_hash: UUID | None = None
    changes_at: datetime | None = None
    nameless: int = 0

    def do(self, state: _State, force: bool) -> None:
        settings = load()
        check(self.source.settings, rules_of(settings))
        meaning = _meaning(self.source.settings)
        read_anyway = force or state.is_stale(self.run.started_at, meaning)
        folder = settings.run_dir if settings.run_dir.is_dir() else None
        with tempfile.TemporaryFile(dir=folder) as file:
            fetched = self.fetch(client.Known() if read_anyway else state.known, file)
            if fetched is None:
                self.run.outcome = "unchanged"
                return
            self.known, self.content_hash = fetched.known, _hash(file)
            self.run.count(bytes=fetched.size)
            if self.content_hash == state.content_hash and not read_anyway:
                self.run.outcome = "unchanged"
                return
            self.read(file, fetched.size)
        if self.run.outcome == "running":
            self.leave_out_absent(fetched.is_whole, force)
            self.run.outcome = "done"

    def fetch(self, known: client.Known, file: BinaryIO) -> client.Fetched | None:
        self.told("fetching", 0, None)
        header = self.source.settings.get("header")
        secret = (str(header), self.source.secrets[0]) if header else None
        send = partial(_send, rules_of(load()))
        return client.fetch(send, self.source.settings["url"], secret, known, file)

    def read(self, file: BinaryIO, size: int) -> None:
        """Deliver every item; a file that breaks off keeps what came before, and fails."""
        file.seek(0)
        found = items.read(file, self.source.settings, LIMIT_BYTES)
        for batch in _batches(found):
            if self.stop():
                self.run.outcome = "interrupted"
                return
            self.deliver(batch)
            self.note_progress()
            self.told("reading", min(file.tell(), size), size)
        if not self.run.counts.get("items"):
            raise BadFeed("the feed holds no products")

    def deliver(self, batch: list[Item]) -> None:
        settings, at = self.source.settings, self.run.started_at
        ids = [translate.product_id(item.record, settings) for item in batch]
        self.nameless += ids.count(None)
        self.name({one for one in ids if one})
        for item in batch:
            self.note_change(translate.next_change(item.record, settings, at))
        told = [item.told() for item in batch]
        body = msgspec.json.encode({"pulled_at": at.isoformat(), "items": told})
        receipt = self._deliver(TOPIC, body)
        self.run.count(items=len(batch), **_counts(receipt))
        self.run.problems += [
            {"pointer": one.pointer, "message": one.reason}
            for one in receipt.problems[: PROBLEMS_KEPT - len(self.run.problems)]
        ]

    def note_progress(self) -> None:
        parameters = _key(self.source) | {"at": self.run.started_at}
        parameters["counts"] = database.jsonb(self.run.counts)
        self.connection.execute(SQL.note_progress, parameters)

    def name(self, ids: set[str]) -> None:
        parameters = _key(self.source) | {"at": self.run.started_at}
        self.connection.execute(SQL.name, parameters | {"ids": database.jsonb(sorted(ids))})

    def note_change(self, at: datetime | None) -> None:
        if at is not None and (self.changes_at is None or at < self.changes_at):
            self.changes_at = at

    def leave_out_absent(self, is_whole: bool, force: bool) -> None:
        """Make unavailable what the feed held before and holds no longer, unless it may be cut."""
        if self.source.settings.get("keep_absent"):
            return
        parameters = _key(self.source) | {"at": self.run.started_at}
        gone = [row[0] for row in self.connection.execute(SQL.vanished, parameters)]
        self.run.warning = self.doubt(len(gone), is_whole, force)
        if self.run.warning:
            return
        for body in snapshot.patches(gone):
            self._deliver(snapshot.TOPIC, body)
        self.run.count(absent=len(gone))
        self.connection.execute(SQL.forget_vanished, parameters)
        row = self.connection.execute(SQL.left_over, parameters).fetchone()
        if row and row[0]:  # read the same file again, to judge them
            self.known, self.content_hash = client.Known(), None

    def doubt(self, gone: int, is_whole: bool, force: bool) -> str | None:
        """Why the absent are left as they are."""
        if not gone:
            return None
        if self.nameless:
            return (
                f"{counted(self.nameless, 'item')} without an id might be any of the {gone:,} "
                "that the feed held before: none was made unavailable"
            )
        if not is_whole and not force:
            return (
                "the server does not say how long the feed is, so it may be cut off and none of "
                f"the {gone:,} absent products was made unavailable"
            )
        row = self.connection.execute(
            SQL.count, _key(self.source) | {"at": self.run.started_at}
        ).fetchone()
        available = row[0] if row else 0
        if gone > snapshot.MOST_VANISH * available and not force:
            return str(snapshot.TooManyVanish(gone, available))
        return None

    def _deliver(self, topic: str, body: bytes) -> ingest.Receipt:
        headers = {RUN: self.run.started_at.isoformat()}
        return ingest.deliver(self.pool, self.source, topic=topic, headers=headers, body=body)


def _send(
    rules: outgoing.Rules, url: str, headers: Mapping[str, str], into: BinaryIO
) -> outgoing.Answer:
    return outgoing.get(url, into, headers=headers, rules=rules)


def _hash(file: BinaryIO) -> UUID:
    file.seek(0)
    digest = blake2b(digest_size=16)
    while piece := file.read(1 << 20):
        digest.update(piece)
    return UUID(bytes=digest.digest())


def _meaning(settings: Mapping[str, Any]) -> UUID:
    """What a file's items depend on beside the file."""
    told = [translate.RECIPE, *(settings.get(name) for name in ("url", "fields", "encoding"))]
    return UUID(bytes=blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).digest())


def _batches(found: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    try:
        for item in found:
            batch.append(item)
            size += sum(len(str(value)) for value in item.record.values())
            if len(batch) == ITEMS_A_DELIVERY or size >= BYTES_A_DELIVERY:
                yield batch
                batch, size = [], 0
    except Broken:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _counts(receipt: ingest.Receipt) -> dict[str, int]:
    names = ("applied", "duplicate", "ignored", "refused", "failed")
    return {name: getattr(receipt, name) for name in names}


# state ------------------------------------------------------------------------------------------


def _key(source: Source) -> dict[str, Any]:
    return {"site_id": source.site_id, "source_id": source.source_id}


def _every(source: Source) -> timedelta:
    try:
        return interval(source.settings)
    except BadFeed:
        return interval({})


def _begin(connection: Connection, source: Source, run: Run, by_hand: bool) -> _State:
    parameters = _key(source) | {
        "at": run.started_at,
        "first_wait": FIRST_WAIT,
        "every": _every(source),
    }
    with connection.transaction():
        begin = SQL.begin_by_hand if by_hand else SQL.begin
        row = connection.execute(begin, parameters).fetchone()
        connection.execute(SQL.end_those_left, parameters)
        connection.execute(SQL.insert_run, parameters)
    assert row is not None
    return _State(client.Known(row[0], row[1]), *row[2:])


def _finish(connection: Connection, source: Source, run: Run, one: _Pull, by_hand: bool) -> None:
    parameters = _key(source) | {
        "at": run.started_at,
        "finished_at": instant.now(),
        "outcome": run.outcome,
        "counts": database.jsonb(run.counts),
        "problems": database.jsonb(run.problems),
        "warning": run.warning,
        "error": run.error,
        "every": _every(source),
        **asdict(one.known),
        "content_hash": one.content_hash,
        "changes_at": one.changes_at,
        "settings_hash": _meaning(source.settings),
        "pause": LEAST_PAUSE,
        "kept": RUNS_KEPT,
    }
    statements = {
        "done": SQL.succeeded,
        "unchanged": SQL.still_the_same,
        "interrupted": SQL.interrupted,
    }
    with connection.transaction():
        connection.execute(SQL.finish_run, parameters)
        connection.execute(SQL.keep_runs, parameters)
        if run.outcome in statements and not (by_hand and run.outcome == "interrupted"):
            connection.execute(statements[run.outcome], parameters)


def states(
    connection: Connection, site: Site, source: str | None = None, *, runs: int = RUNS_SHOWN
) -> list[dict[str, Any]]:
    """The feeds of a site, each with its last runs, newest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        where = {"site_id": site.site_id, "source": source}
        found = cursor.execute(SQL.states, where).fetchall()
        for row in found:
            settings = row.pop("settings")
            row["url"], row["every"] = shown_url(settings), settings.get("every") or EVERY
            of_one = {"site_id": site.site_id, "source_id": row.pop("source_id"), "limit": runs}
            row["runs"] = cursor.execute(SQL.runs, of_one).fetchall()
            row["status"] = row["runs"][0]["outcome"] if row["runs"] else "waiting"
    return found


@dataclass(frozen=True)
class Health:
    """How one feed fares; `late` means that its last good pull is more than two intervals ago."""

    site: str
    source: str
    url: str
    last_success: datetime | None
    failures: int
    error: str | None
    late: bool


def health(connection: Connection, at: datetime) -> list[Health]:
    """Every feed of every site, for `doctor`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL.health).fetchall()
    return [_health(row, at) for row in rows]


def _health(row: dict[str, Any], at: datetime) -> Health:
    settings = row["settings"]
    try:
        every = interval(settings)
    except BadFeed:
        every = interval({})
    late = at - (row["last_success"] or row["created_at"]) > 2 * every
    return Health(
        row["site"],
        row["source"],
        shown_url(settings),
        row["last_success"],
        row["failures"],
        row["error"],
        late,
    )
