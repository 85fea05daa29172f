"""Archives in: files of products, users or events through `ingest`, in batches, like any sender.

Batches are applied by two processes side by side and counted in the order of the file, and
`imports` says how far each file has come: a killed import goes on there, and where that is lost its
records are duplicates. `files` knows formats, this module what a line is to the source.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from marshmallow import ValidationError

from gateway import access, apply, ingest, instant, sealing
from gateway.access import Site, Source
from gateway.importing import common_format, files
from gateway.importing.files import Bad, BadFile, Batch, Line, Place
from gateway.ingest import Pool, Receipt
from gateway.running import priority
from gateway.settings import Settings
from ranking.catalog import neighbours, popularity, snapshot, together
from schemas import database
from schemas.database import Connection
from schemas.errors import AttuneError, Malformed, counted
from schemas.fields import Id

SQL = database.queries(__file__)

TOPICS = {"products": "products", "users": "users", "events": "interactions"}
API = "api"
LINE = "line"
PROCESSES = min(2, os.cpu_count() or 1)
SMALL_BYTES = 4 << 20  # such files are through before a second process has begun
OBJECTS_A_COLLECTION = 500_000
NICE = 10  # lists go first where the gateway runs on the same machine
AHEAD = 2  # batches a process that wait for it
MOST_SHOWN = 20  # problems with their lines; the others are counted, and kept like these
GIVEN_UP = timedelta(days=7)
LOCKED_S = 2.0
PAUSES_S = (0.2, 1.0, 3.0, 10.0, 20.0)  # between the tries while Postgres is away or busy
NO_TIME = "An event of an archive needs its `timestamp`: without one it would happen now."

_encoder = msgspec.json.Encoder()
_product_id = Id()


class NotImported(AttuneError):
    """Nothing of this could be imported, or not to the end; its text says what to do."""


class Shown(NamedTuple):
    """One record that was left out, and where people find it."""

    file: str
    line: str
    pointer: str
    outcome: str
    reason: str


@dataclass
class Tally:
    """What became of records; the columns sum to `records`, too_old is a part of ignored."""

    records: int = 0
    accepted: int = 0
    duplicate: int = 0
    ignored: int = 0
    refused: int = 0
    failed: int = 0
    too_old: int = 0

    def add(self, other: Tally) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COUNTS = tuple(one.name for one in fields(Tally))


@dataclass
class FileReport(Tally):
    """One file; `error` where it could not be read to its end."""

    file: str = ""
    goes_on: bool = False  # after an earlier import, which had come to the line `began_at`
    began_at: int = 0
    nameless: int = 0  # of a snapshot's records those without an id, a part of refused
    error: str | None = None


@dataclass
class Report(Tally):
    """The whole import."""

    files: list[FileReport] = field(default_factory=list)
    problems: list[Shown] = field(default_factory=list)
    unavailable: int | None = None  # by a snapshot
    snapshot_error: str | None = None
    seconds: float = 0.0
    read: int = 0  # records of this run alone, without those of the one it goes on with

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.read / self.seconds if self.seconds else 0.0

    @property
    def is_complete(self) -> bool:
        return self.snapshot_error is None and not any(one.error for one in self.files)


@dataclass(frozen=True)
class Progress:
    """Told after each batch; `share` of the file is done."""

    path: Path
    share: float
    records: int


Told = Callable[[Progress], None]


@dataclass(frozen=True)
class Job:
    """What one import is, as its processes need it."""

    site_id: int
    source: str  # its public id
    connector: str
    kind: str
    run: str | None = None  # of a snapshot


def run(
    settings: Settings,
    site: Site,
    kind: str,
    paths: Sequence[Path],
    told: Told,
    *,
    source: Source | None = None,
    is_snapshot: bool = False,
    force: bool = False,
) -> Report:
    """Import the files in turn; a record that is refused, or a file that breaks, stops no other.

    Raises NotImported where nothing can be begun or Postgres stays away.
    """
    began = time.monotonic()
    report = Report()
    size = sum(path.stat().st_size for path in set(paths))
    with (
        _hands(settings, PROCESSES if size > SMALL_BYTES else 1) as hands,
        closing(_connected(settings)) as connection,
    ):
        through = source or access.api_source(connection, site.site_id)
        _check(through, site, kind, is_snapshot)
        _make_room(connection, settings)
        hashes = {path: files.identity(path) for path in paths}
        run_name = _run_name(hashes.values()) if is_snapshot else None
        job = Job(site.site_id, through.public_id, through.connector, kind, run_name)
        arriving = [_File(connection, job, through, *one) for one in hashes.items()]
        if is_snapshot and not any(one.goes_on() for one in arriving):
            snapshot.forget(connection, site.site_id, job.run or "")
        for one in arriving:
            report.files.append(one.bring(hands, told, report))
            report.add(report.files[-1])
        if is_snapshot:
            _end_snapshot(connection, job, hands, report, force, arriving)
    report.seconds = time.monotonic() - began
    return report


def refresh_lists(settings: Settings, site: Site) -> None:
    """Let popularity, neighbours and what is bought together know what was imported, the past
    too, and with them the very next list."""
    with closing(_connected(settings)) as connection:
        connection.execute("set statement_timeout = 0")
        connection.execute("set lock_timeout = 0")
        popularity.refresh(connection, site.site_id, instant.now(), everything=True)
        neighbours.refresh(connection, site.site_id, instant.now())
        together.refresh(connection, site.site_id, instant.now())


def _connected(settings: Settings) -> Connection:
    return database.connect(settings.database_url, options=database.INGEST_OPTIONS)


def _check(source: Source, site: Site, kind: str, is_snapshot: bool) -> None:
    if source.site_id != site.site_id:
        raise NotImported(f"source {source.public_id} is of another site")
    if source.connector != API and kind != "events":
        raise NotImported(
            f"{kind} come in the form of /v1 only: leave --source out ({source.public_id} is of "
            f"the connector {source.connector})"
        )
    if is_snapshot and kind != "products":
        raise NotImported("only products have snapshots: leave --snapshot out")


def _make_room(connection: Connection, settings: Settings) -> None:
    """RETENTION_EVENTS_DAYS may have been raised since the last migration."""
    database.make_partitions(
        connection, at=instant.now(), events_days=settings.retention_events_days
    )


def _run_name(hashes: Any) -> str:
    digest = blake2b(b"".join(sorted(one.bytes for one in hashes)), digest_size=16)
    return f"import-{digest.hexdigest()}"


def purge(connection: Connection, before: datetime) -> int:
    """Forget imports that neither ended nor went on since then, and what ended long ago."""
    return connection.execute(SQL.purge, {"before": before}).rowcount


# one file ---------------------------------------------------------------------------------------


Waiting = deque[tuple[Batch, "Future[Outcome]"]]


class _File:
    """A file on its way in, from where an earlier import of it stopped."""

    def __init__(
        self, connection: Connection, job: Job, source: Source, path: Path, file_hash: UUID
    ) -> None:
        self.connection = connection
        self.job = job
        self.path = path
        self.key = {
            "site_id": job.site_id,
            "source_id": source.source_id,
            "kind": job.kind,
            "file_hash": file_hash,
        }
        self.position = 0
        self.report = FileReport(file=str(path))
        self.problems: list[Shown] = []

    def bring(self, hands: Executor, told: Told, report: Report) -> FileReport:
        """Deliver what is left of it; adds its problems to the report."""
        with self._alone():
            self._find()
            try:
                self._deliver(hands, told, report)
            except BadFile as error:
                self.report.error = str(error)
            # The files of a snapshot end together, after its end.
            self._advance(finished=self.report.error is None and self.job.run is None)
        report.problems += self.problems[: MOST_SHOWN - len(report.problems)]
        return self.report

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two imports of one file at once would do no harm, and no good either."""
        key = {"key": "import " + " ".join(map(str, self.key.values()))}
        deadline = time.monotonic() + LOCKED_S  # a killed one's connection lives a moment longer
        while not self.connection.execute(SQL.lock, key).fetchone()[0]:  # type: ignore[index]
            if time.monotonic() > deadline:
                raise NotImported(
                    f"{self.path} is being imported already: wait for that import to end"
                )
            time.sleep(0.1)
        try:
            yield
        finally:
            if not self.connection.closed:
                self.connection.execute(SQL.unlock, key)

    def finish(self) -> None:
        self._advance(finished=True)

    def goes_on(self) -> bool:
        """Whether an earlier import of this file did not come to its end."""
        return self._found() is not None

    def _found(self) -> tuple[Any, ...] | None:
        since = instant.now() - GIVEN_UP
        known = {**self.key, "run": self.job.run, "since": since}
        return self.connection.execute(SQL.find, known).fetchone()

    def _find(self) -> None:
        row = self._found()
        if row is None:
            new = {"name": self.path.name, "run": self.job.run, "at": instant.now()}
            self.connection.execute(SQL.begin, self.key | new)
            return
        self.position, counts, problems = row
        self.problems = [Shown(*one) for one in problems]
        self.report = FileReport(
            file=str(self.path), goes_on=True, began_at=self.position, **counts
        )

    def _advance(self, finished: bool = False) -> None:
        counts = asdict(self.report)
        for name in ("file", "goes_on", "began_at", "error"):
            del counts[name]
        self.connection.execute(
            SQL.advance,
            {
                **self.key,
                "records": self.position,
                "counts": database.jsonb(counts),
                "problems": database.jsonb(self.problems),
                "at": instant.now(),
                "finished": finished,
            },
        )

    def _deliver(self, hands: Executor, told: Told, report: Report) -> None:
        place = files.place(self.path)
        if self.job.connector != API and place.word != LINE:
            raise BadFile(
                f"{self.path} is a table: archives of {self.job.connector} are JSON lines"
            )
        waiting: Waiting = deque()
        try:
            for batch in files.batches(self.path, self.job.kind, self.position):
                task = Task(self.job, self.path.name, place, batch, instant.now())
                waiting.append((batch, hands.submit(deliver, task)))
                if len(waiting) > AHEAD * PROCESSES:
                    self._settle(waiting, told, report)
        finally:
            while waiting:
                self._settle(waiting, told, report)

    def _settle(self, waiting: Waiting, told: Told, report: Report) -> None:
        """Count the first batch that waits. One that failed stays the first, so that the position
        never comes to be behind it."""
        batch, future = waiting[0]
        outcome = _result(future, self.path, self.position)
        waiting.popleft()
        self.report.add(outcome.tally)
        self.report.nameless += outcome.nameless
        report.read += outcome.tally.records
        self.problems += outcome.problems[: MOST_SHOWN - len(self.problems)]
        self.position = batch.end
        with _going_on(self.path, self.position):
            self._advance()
        told(Progress(self.path, batch.share, outcome.tally.records))


def _result(future: Future[Outcome], path: Path, position: int) -> Outcome:
    with _going_on(path, position):
        return future.result()


@contextmanager
def _going_on(path: Path, position: int) -> Iterator[None]:
    """Says what stopped the import, and how far it is."""
    how_far = f"{path} is imported up to record {position:,}; the same command goes on there"
    try:
        yield
    except BrokenProcessPool:
        raise NotImported(
            f"a process of the import was killed, perhaps for want of memory: {how_far}"
        ) from None
    except psycopg.OperationalError as error:
        raise NotImported(f"Postgres stayed away ({_first_line(error)}): {how_far}") from None


def _first_line(error: psycopg.Error) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else repr(error)


# snapshots --------------------------------------------------------------------------------------


def _end_snapshot(
    connection: Connection,
    job: Job,
    hands: Executor,
    report: Report,
    force: bool,
    arriving: Sequence[_File],
) -> None:
    """Make what the files did not name unavailable, if they can be believed. Only then, or where
    they cannot, the files are finished: an end that fails is made by the next run."""
    assert job.run is not None
    if any(one.error for one in report.files):
        report.snapshot_error = "no product was made unavailable, because a file is not whole"
        return
    with _ending():
        try:
            _doubt(connection, job, report, force)
            gone = snapshot.vanished(connection, job.site_id, job.run, force=force)
        except (NotImported, snapshot.TooManyVanish) as error:
            report.snapshot_error = str(error)
        else:
            done = [hands.submit(patch, job, body) for body in snapshot.patches(gone)]
            report.unavailable = sum(future.result() for future in done)
        with connection.transaction():
            for one in arriving:
                one.finish()
            snapshot.forget(connection, job.site_id, job.run)


def _doubt(connection: Connection, job: Job, report: Report, force: bool) -> None:
    """Raises NotImported where the names are not all that the files hold."""
    assert job.run is not None
    if report.accepted and snapshot.began(connection, job.site_id, job.run) is None:
        raise NotImported(
            "no product was made unavailable, because what the files named is not known any "
            "longer: import them once more"
        )
    nameless = sum(one.nameless for one in report.files)
    _, gone = snapshot.count(connection, job.site_id, job.run)
    if nameless and gone and not force:
        raise NotImported(
            f"no product was made unavailable, because {counted(nameless, 'record')} without an id "
            f"might be any of the {gone:,} that seem to be gone: mend the records, or say --force"
        )


@contextmanager
def _ending() -> Iterator[None]:
    """Says what stopped the end of a snapshot, and how to go on."""
    how = (
        "the files are imported, but what they lack is not yet all unavailable; the same command "
        "goes on there"
    )
    try:
        yield
    except BrokenProcessPool:
        raise NotImported(f"a process of the import was killed: {how}") from None
    except psycopg.OperationalError as error:
        raise NotImported(f"Postgres stayed away ({_first_line(error)}): {how}") from None


# in the processes that deliver ------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One batch to deliver. `at` is given in the order of the file: a later line wins."""

    job: Job
    file: str
    place: Place
    batch: Batch
    at: datetime


@dataclass(frozen=True)
class Outcome:
    """What became of one batch, and the first of its problems."""

    tally: Tally
    problems: list[Shown] = field(default_factory=list)
    nameless: int = 0


_pools: list[Pool] = []


@contextmanager
def _hands(settings: Settings, count: int) -> Iterator[Executor]:
    """Whoever delivers: one thread here, or processes of their own that end with this one."""
    given = (settings.database_url, settings.secret_key)
    if count == 1:
        with ThreadPoolExecutor(1, "import", _begin, given) as thread:
            yield thread
        while _pools:
            _pools.pop().close()
        return
    # Forked, and at once, while this process has no connection: to import everything again takes
    # a second.
    with ProcessPoolExecutor(count, get_context("fork"), _begin_apart, given) as processes:
        processes.submit(os.getpid)
        try:
            yield processes
        finally:
            processes.shutdown(cancel_futures=True)


def _begin(database_url: str, secret_key: str) -> None:
    sealing.unlock(secret_key)
    _pools.append(
        database.open_pool(
            database_url,
            size=1,
            options=database.INGEST_OPTIONS,
            name="import",
            prepare=partial(priority.yield_backend, nice=NICE),
        )
    )


def _begin_apart(database_url: str, secret_key: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says when it ends
    priority.yield_processor(NICE)
    # A batch is hundreds of thousands of objects without a cycle: looking for cycles among them
    # was a quarter of all the time (60 us a record, without it 45).
    gc.freeze()
    gc.set_threshold(OBJECTS_A_COLLECTION)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _begin(database_url, secret_key)


def _end_with_parent() -> None:
    """However the first process ends: an executor's processes would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def deliver(task: Task) -> Outcome:
    """One batch as one delivery: what `ingest` would do with a body of these records."""
    read = [
        (position, _read(task.job, line))
        for position, line in enumerate(task.batch.lines, start=task.batch.first)
        if line
    ]
    if not read:
        return Outcome(Tally())
    source = _source(task.job)
    records = [one.record for _, one in read]
    nameless = _name(task, records)
    body = _body(task.job.connector, [one.text for _, one in read])
    parsed = {"data": records} if task.job.connector == API else records
    topic = TOPICS[task.job.kind] if task.job.connector == API else None
    first = task.place.number(task.batch.first)
    headers = {"Attune-Import": task.file, "Attune-Import-First": str(first)}
    receipt = _patient(
        lambda: ingest.deliver(
            _pools[-1],
            source,
            topic=topic,
            headers=headers,
            body=body,
            received_at=task.at,
            parsed=parsed,
        )
    )
    return _outcome(task, receipt, read, nameless)


def patch(job: Job, body: bytes) -> int:
    """Deliver one body of a snapshot's end; returns how many products it changed."""
    source = _source(job)
    receipt = _patient(
        lambda: ingest.deliver(
            _pools[-1],
            source,
            topic=snapshot.TOPIC,
            headers={"Attune-Import": job.run or ""},
            body=body,
        )
    )
    return receipt.applied


def _source(job: Job) -> Source:
    with _pools[-1].connection() as connection:
        source = access.source_by_public_id(connection, job.source)
    if source is None:
        raise NotImported(f"there is no source {job.source} any longer")
    return source


def _patient(work: Callable[[], Receipt]) -> Receipt:
    for pause_s in PAUSES_S:
        try:
            return work()
        except psycopg.OperationalError:
            time.sleep(pause_s)
    return work()


def _name(task: Task, records: Sequence[Any]) -> int:
    """What a snapshot holds: a record that is refused is in it nevertheless. Returns how many have
    no id that can be read."""
    if task.job.run is None:
        return 0
    ids = [_id(record) for record in records]
    with _pools[-1].connection() as connection:
        named = (one for one in ids if one is not None)
        snapshot.name(connection, task.job.site_id, task.job.run, named, task.at)
    return ids.count(None)


def _id(record: Any) -> str | None:
    """The id as the schema reads it: 4.0 is "4"."""
    if not isinstance(record, dict):
        return None
    try:
        read = _product_id.deserialize(record.get("product_id"))
    except ValidationError:
        return None
    return None if read is None or "\0" in read else read


# lines as records -------------------------------------------------------------------------------


class _Read(NamedTuple):
    """A line as it goes into the body; `why` it can be no record of ours."""

    text: bytes
    record: Any
    why: Malformed | None = None


def _read(job: Job, line: Line) -> _Read:
    """A line that is no record goes as a JSON string: the connector refuses it, ingest keeps it."""
    try:
        record = files.record(line)
    except Malformed as error:
        return _unusable(line, error)
    if job.connector != API:
        return _Read(line, record)  # type: ignore[arg-type]
    try:
        told = _told(job.kind, record)
    except Malformed as error:
        return _unusable(line, error)
    return _Read(line if told is record else _encoder.encode(told), told)  # type: ignore[arg-type]


def _told(kind: str, record: dict[str, Any]) -> dict[str, Any]:
    """The record as `/v1` takes it, itself where it is one of `/v1`."""
    if kind == "products" and common_format.is_item(record):
        return common_format.product(record)
    if kind != "events":
        return record
    if common_format.is_event(record):
        return common_format.interaction(record)
    if record.get("timestamp") in (None, ""):
        raise Malformed(NO_TIME, "/timestamp")
    return record


def _unusable(line: Line, why: Malformed) -> _Read:
    text = line.text if isinstance(line, Bad) else line.decode("utf-8", "replace")
    return _Read(_encoder.encode(text), text, why)


def _body(connector: str, texts: Sequence[bytes]) -> bytes:
    records = b",\n".join(texts)
    return b'{"data":[' + records + b"]}" if connector == API else b"[" + records + b"]"


def _outcome(
    task: Task, receipt: Receipt, read: Sequence[tuple[int, _Read]], nameless: int
) -> Outcome:
    too_old = apply.REASONS["too_old"]
    tally = Tally(
        len(read), receipt.applied, receipt.duplicate, receipt.ignored, receipt.refused,
        receipt.failed, sum(one.reason == too_old for one in receipt.problems),
    )  # fmt: skip
    left_out = {
        one.position: (one.pointer, one.outcome, one.reason)
        for one in reversed(receipt.problems)
        if one.outcome != "ignored"
    }
    if receipt.failed:
        left_out = {0: ("", "failed", receipt.error or "")}
    problems = []
    for number, (pointer, outcome, reason) in sorted(left_out.items())[:MOST_SHOWN]:
        position, one = read[number]
        inside = one.why.pointer if one.why else _inside(pointer)
        where = task.place.of(position)
        problems.append(Shown(task.file, where, inside, outcome, str(one.why or reason)))
    return Outcome(tally, problems, nameless)


def _inside(pointer: str) -> str:
    """A pointer into the record, of one into the body."""
    steps = pointer.removeprefix("/data").split("/")[2:]
    return "/" + "/".join(steps) if steps else ""
