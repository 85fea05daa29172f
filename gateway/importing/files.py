"""Files of records, read piece by piece: JSON lines, CSV, Parquet, each also gzipped. The importer
and `backtest` read through here.

Whatever the format, a file is a sequence of numbered lines, each the JSON text of one record, so
that nothing behind this module knows formats. Memory holds one batch, never the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import UUID

import msgspec

from gateway.importing import cells
from schemas import payload
from schemas.errors import AttuneError, Malformed

RECORDS_A_BATCH = 2000
BYTES_A_BATCH = 4 << 20
LONGEST_LINE = 8 << 20
BUFFER = 1 << 20

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json", ".log", "")
CSV_SUFFIXES = (".csv", ".tsv")
DELIMITERS = ",;\t"
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # what a spreadsheet calls "Unicode text"

LISTED = ", "  # between the cells of a row that is shown

# What `payload` may have to clean, and an integer that it refuses and msgspec takes.
_ESCAPE = b"\\u"
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_HUGE = b"0" * (payload.MAX_INTEGER_DIGITS + 1)
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder(enc_hook=str)


class BadFile(AttuneError):
    """A file that cannot be read, or not to its end; its text says how far that came."""


class Bad(NamedTuple):
    """A line that is no record: what can be shown of it, and why."""

    text: str
    reason: str
    pointer: str = ""


Line = bytes | Bad  # blank: nothing stands there


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that follow each other, `first` counted from 0; `share` of the file is read then."""

    first: int
    lines: list[Line]
    share: float

    @property
    def end(self) -> int:
        return self.first + len(self.lines)


@dataclass(frozen=True, slots=True)
class Place:
    """How people find a line of this file: "line 12", or "row 13" of a table with a head."""

    word: str
    first: int

    def of(self, position: int) -> str:
        return f"{self.word} {self.number(position)}"

    def number(self, position: int) -> int:
        return self.first + position


PLACES = {"json": Place("line", 1), "csv": Place("row", 2), "parquet": Place("row", 1)}


def identity(path: Path) -> UUID:
    """Names the file by its bytes; raises BadFile."""
    if not path.is_file():
        raise BadFile(f"{path} is no file that can be read twice: save what it gives first")
    digest = blake2b(digest_size=16)
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(BUFFER):
                digest.update(block)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}") from None
    return UUID(bytes=digest.digest())


def batches(path: Path, kind: str, skip: int = 0) -> Iterator[Batch]:
    """The file's lines from number `skip` on. The same bytes make the same batches from every
    multiple of them on, because equal records are told apart by their place in a batch.

    `kind` says what a table's columns mean: products, users or events. Raises BadFile, after what
    could be read was given.
    """
    with _opened(path) as opened:
        place = PLACES[opened.format]
        end, broken = skip, None
        lines = _READERS[opened.format](opened, kind)
        for batch in _batches(_until_broken(lines, skip), opened, skip):
            if isinstance(batch, BaseException):
                broken = batch
                break
            end = batch.end
            yield batch
    if broken is not None:
        raise BadFile(_broken(path, broken, place, end)) from None


def place(path: Path) -> Place:
    """How people find a line of this file."""
    with _opened(path) as opened:
        return PLACES[opened.format]


def records(path: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every record with where it stands; raises BadFile for a line that is none."""
    found = place(path)
    for batch in batches(path, kind):
        for position, line in enumerate(batch.lines, start=batch.first):
            if line:
                where = f"{path}, {found.of(position)}"
                yield where, _record(where, line)


def _record(where: str, line: Line) -> dict[str, Any]:
    try:
        return record(line)
    except Malformed as error:
        raise BadFile(f"{where}: {error}") from None


def record(line: Line) -> dict[str, Any]:
    """The record of a line that is not blank; raises Malformed."""
    if isinstance(line, Bad):
        raise Malformed(line.reason, line.pointer)
    try:
        found = _parsed(line)
    except Malformed as error:
        raise Malformed(str(error).replace("The body", "The line", 1), error.pointer) from None
    if type(found) is list:
        raise Malformed("The line is a list: put each record on a line of its own (jq -c '.[]').")
    if type(found) is not dict:
        raise Malformed("The line is no JSON object.")
    return found


def _parsed(line: bytes) -> Any:
    """What `payload.parse` makes of it, by msgspec where both are sure to agree: 5 us, not 8."""
    if _needs_care(line):
        return payload.parse(line)
    try:
        return _decoder.decode(line)
    except ValueError:
        return payload.parse(line)


def _needs_care(line: bytes) -> bool:
    depth = line.count(b"{") + line.count(b"[")
    return depth > payload.MAX_DEPTH or _ESCAPE in line or _HUGE in line.translate(_DIGITS)


# batches ----------------------------------------------------------------------------------------

# What a file that is not what its name says, or not whole, raises while it is read.
BROKEN = (EOFError, zlib.error, OSError, BadFile)


def _until_broken(lines: Iterable[Line], skip: int) -> Iterator[Line | BaseException]:
    """The lines after the first `skip`, and last of all what stopped them."""
    try:
        for number, line in enumerate(lines):
            if number >= skip:
                yield line
    except BROKEN as error:
        yield error


def _batches(
    lines: Iterable[Line | BaseException], opened: _Opened, skip: int
) -> Iterator[Batch | BaseException]:
    batch: list[Line] = []
    size, first = 0, skip
    for line in lines:
        if isinstance(line, BaseException):
            if batch:
                yield Batch(first, batch, opened.share())
            yield line
            return
        batch.append(line)
        size += len(line)
        if len(batch) == RECORDS_A_BATCH or size >= BYTES_A_BATCH:
            yield Batch(first, batch, opened.share())
            first += len(batch)
            batch, size = [], 0
    if batch:
        yield Batch(first, batch, 1.0)


def _broken(path: Path, error: BaseException, place: Place, end: int) -> str:
    if isinstance(error, BadFile):
        return str(error)
    if isinstance(error, EOFError):
        why = "is cut off"
    elif isinstance(error, (zlib.error, gzip.BadGzipFile)):
        why = f"is damaged ({error})"
    else:
        why = f"cannot be read on ({error})"
    if end == 0:
        return f"{path} {why}: nothing of it could be read"
    return f"{path} {why} after {place.of(end - 1)}: what stands before was read"


# opening ----------------------------------------------------------------------------------------


@dataclass
class _Opened:
    path: Path
    raw: io.FileIO  # the file itself, whose position tells how much is read
    bytes: io.BufferedReader  # what is in it
    size: int
    format: str
    rows_read: int = 0
    rows: int = 0

    def share(self) -> float:
        if self.rows:
            return self.rows_read / self.rows
        return min(self.raw.tell() / self.size, 1.0) if self.size else 1.0


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(io.FileIO(path))
            zipped = _begins(raw) == GZIP
            content: Any = raw
            if zipped:
                content = stack.enter_context(_Unzipped(raw))
            elif path.suffix == ".gz" and path.stat().st_size:
                raise BadFile(f"{path} is no gzip file, whatever its name says")
            buffered = io.BufferedReader(content, BUFFER)
            size = path.stat().st_size
        except OSError as error:
            raise BadFile(f"{path} cannot be read: {error.strerror}") from None
        yield _Opened(path, raw, buffered, size, _format(path, buffered))


class _Unzipped(io.RawIOBase):
    """What is in a gzip file, up to the very place where it breaks: GzipFile itself loses what it
    had read of a piece."""

    def __init__(self, raw: io.FileIO) -> None:
        self.file = gzip.GzipFile(fileobj=raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.file.read1(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _begins(raw: io.FileIO) -> bytes:
    start = raw.read(len(GZIP))
    raw.seek(0)
    return start


def _format(path: Path, content: io.BufferedReader) -> str:
    try:
        start = content.peek(BUFFER)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(_broken(path, error, PLACES["json"], 0)) from None
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if start.startswith(PARQUET):
        return "parquet"
    if suffix in CSV_SUFFIXES:
        return "csv"
    if suffix in JSON_SUFFIXES or start.removeprefix(_BOM).lstrip().startswith(b"{"):
        return "json"
    raise BadFile(
        f"{path} is of no format known here: it may be JSON lines (.jsonl, .ndjson), .csv, .tsv or "
        ".parquet, each also .gz"
    )


# formats ----------------------------------------------------------------------------------------


def _json_lines(opened: _Opened, kind: str) -> Iterator[Line]:
    read = opened.bytes.readline
    line = read(LONGEST_LINE + 1).removeprefix(_BOM)
    while line:
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            yield _too_long(line, read)
        else:
            yield line.strip()
        line = read(LONGEST_LINE + 1)


def _too_long(line: bytes, read: Any) -> Bad:
    start = line[:1000].decode("utf-8", "replace")
    while line and not line.endswith(b"\n"):
        line = read(LONGEST_LINE)
    return Bad(start, f"The line is longer than {LONGEST_LINE >> 20} MB.")


def _csv_rows(opened: _Opened, kind: str) -> Iterator[Line]:
    """Python's own reader: it takes a row of any form, and the memory of one row."""
    csv.field_size_limit(LONGEST_LINE)
    encoding = "utf-16" if opened.bytes.peek(2).startswith(_UTF_16) else "utf-8-sig"
    text = io.TextIOWrapper(opened.bytes, encoding, errors="surrogateescape", newline="")
    head = next((line for line in text if line.strip()), "")
    rows = csv.reader(chain([head], text), delimiter=max(DELIMITERS, key=head.count))
    names = [name.strip() for name in next(rows, [])]
    columns = cells.columns(opened.path, names, kind)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Bad("", f"The row cannot be read: {error}.")
            continue
        yield _row(columns, row) if any(row) else b""


def _row(columns: cells.Columns, row: list[str]) -> Line:
    if len(row) != len(columns):
        reason = f"The row has {len(row)} cells, the head {len(columns)}."
        return Bad(LISTED.join(row).encode("utf-8", "replace").decode(), reason)
    try:
        return _encoder.encode(columns.record(row))
    except UnicodeEncodeError:
        shown = LISTED.join(row).encode("utf-8", "replace").decode()
        return Bad(shown, "The row is not UTF-8: save the file in that encoding.")


def _parquet_rows(opened: _Opened, kind: str) -> Iterator[Line]:
    from pyarrow import ArrowException, parquet  # 50 MiB that only these files need

    with _seekable(opened) as content:
        try:
            file = parquet.ParquetFile(content, pre_buffer=False, buffer_size=BUFFER)
            opened.rows = file.metadata.num_rows
            columns = cells.columns(opened.path, file.schema_arrow.names, kind)
            for batch in file.iter_batches(RECORDS_A_BATCH, use_threads=False):
                for row in batch.to_pylist():
                    opened.rows_read += 1
                    yield _encoder.encode(columns.typed(row))
        except (ArrowException, OSError) as error:
            raise OSError(str(error).splitlines()[0]) from None


@contextmanager
def _seekable(opened: _Opened) -> Iterator[IO[bytes]]:
    """Parquet is read from its end: a gzipped one is unpacked beside, on disk."""
    if opened.bytes.raw is opened.raw:
        yield opened.raw
        return
    with tempfile.TemporaryFile() as unpacked:
        while block := opened.bytes.read(BUFFER):
            unpacked.write(block)
        unpacked.seek(0)
        yield unpacked


_READERS = {"json": _json_lines, "csv": _csv_rows, "parquet": _parquet_rows}
