"""The one way a request's body is read: with a deadline, a size limit and gzip undone.

Every POST of every door comes through `read_body`; the server itself has no deadline for bodies,
and a dozen dripping senders would hold all its threads.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import after_this_request, request
from gunicorn.http.errors import (  # type: ignore[import-untyped]
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    ParseException,
)

from gateway.http import refusals
from gateway.http.deadline import watch
from gateway.http.errors import BodyLate, HttpError, TooLarge, Unavailable, Unreadable

DEADLINE_S = 10.0
LARGE_BYTES = 4 * 1024 * 1024
LARGE_AT_ONCE = 2
LONGEST_LENGTH = 30  # digits of a Content-Length

BAD_CHUNKS = (ChunkMissingTerminator, InvalidChunkExtension, InvalidChunkSize)

_READ_BYTES = 256 * 1024
_INFLATE_BYTES = 4 * 1024 * 1024
_GZIP_MEMBERS = 16  # nobody sends more; each costs an inflater
_GZIP = 31  # zlib's wbits for gzip's own header

_large = threading.BoundedSemaphore(LARGE_AT_ONCE)


def read_body(limit_bytes: int, *, few_large: bool = True, deadline_s: float = DEADLINE_S) -> bytes:
    """The request's body, inflated where it is gzip (one that is broken comes as it was sent).

    With `few_large` at most two bodies over 4 MB are in work in this process, until their answer.
    Raises BodyLate (408: later than the deadline, cut short), TooLarge (413), Unavailable (503:
    enough large ones in work), Unreadable (400) and 415 for another encoding.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise HttpError(
            f"the content encoding {encoding!r} is not understood: send gzip", status=415
        )
    budget = _Budget(limit_bytes, few_large)
    body = _received(budget, deadline_s)
    return (
        _inflated(body, _Budget(limit_bytes, few_large, budget.slot))
        if "gzip" in encoding
        else body
    )


@dataclass(slots=True)
class _Budget:
    """How many more bytes may come; takes a slot for a large body."""

    limit: int
    few_large: bool
    slot: bool = False
    size: int = 0

    def add(self, count: int) -> None:
        self.size += count
        if self.size > self.limit:
            raise TooLarge(f"the body is larger than {self.limit:,} bytes: send it in parts")
        if self.size > LARGE_BYTES and self.few_large and not self.slot:
            _take_slot()
            self.slot = True


def _take_slot() -> None:
    if not _large.acquire(blocking=False):
        raise Unavailable("two large bodies are in work already: send it again in a moment")

    @after_this_request
    def give_back(response: Any) -> Any:
        _large.release()
        return response


def _received(budget: _Budget, deadline_s: float) -> bytes:
    length = _content_length()
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""
    if length is not None:
        budget.add(length)
    with _deadline(deadline_s) as late:
        try:
            chunks = list(_chunks(length, budget))
        except BAD_CHUNKS:
            raise Unreadable(refusals.BAD_CHUNKS) from None
        except (OSError, ParseException):  # gunicorn's own name for a body that ends too early
            chunks, length = [], -1
    if late():
        raise BodyLate(f"the body did not arrive within {deadline_s:g} s")
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if length is not None and len(body) != length:
        raise BodyLate("the body ended before its announced length")
    return body


def _content_length() -> int | None:
    text = request.environ.get("CONTENT_LENGTH") or None
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Unreadable("the header Content-Length is no number")
    if len(text) > LONGEST_LENGTH:  # Python reads no number of more than 4,300 digits
        raise TooLarge("the header Content-Length announces more than anybody sends")
    return int(text)


def _chunks(length: int | None, budget: _Budget) -> Iterator[bytes]:
    read = request.environ["wsgi.input"].read
    left = length
    while left is None or left > 0:
        chunk = read(_READ_BYTES if left is None else min(_READ_BYTES, left))
        if not chunk:
            return
        if left is None:
            budget.add(len(chunk))
        else:
            left -= len(chunk)
        yield chunk


# gzip -------------------------------------------------------------------------------------------


def _inflated(body: bytes, budget: _Budget) -> bytes:
    """The inflated body, or the body itself where it is no whole gzip stream."""
    try:
        pieces = list(_inflate(body, budget))
    except zlib.error:
        return body
    return b"".join(pieces)


def _inflate(body: bytes, budget: _Budget) -> Iterator[bytes]:
    for _ in range(_GZIP_MEMBERS):
        inflater = zlib.decompressobj(_GZIP)
        while not inflater.eof:
            piece = inflater.decompress(body, _INFLATE_BYTES)
            if not piece and not inflater.eof:
                raise zlib.error("cut short")
            budget.add(len(piece))
            yield piece
            body = inflater.unconsumed_tail
        body = inflater.unused_data
        if not body:
            return
    raise zlib.error("too many members")


# the deadline -----------------------------------------------------------------------------------


@contextmanager
def _deadline(seconds: float) -> Iterator[Callable[[], bool]]:
    """Within it the request's socket gives no more data after that; yields whether it passed."""
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        yield lambda: False
        return
    entry = watch.add(connection, seconds)
    try:
        yield lambda: entry.passed
    finally:
        watch.remove(entry)
