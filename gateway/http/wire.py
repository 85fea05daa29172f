"""One connection as the web worker's loop sees it: what has arrived of a request, what is left to
send of an answer. Neither ever blocks a thread; the worker decides what to do about it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Hashable
from typing import Any

from gunicorn.workers.gthread import TConn  # type: ignore[import-untyped]

# A request up to this size is gathered before a thread sees it. It is what a browser may send: a
# larger one needs a secret key or a signature, whose owner has no reason to drip.
GATHERED_BYTES = 1024 * 1024 + 64 * 1024
LONGEST_HEAD = 64 * 1024
_FIRST_BYTES, _RECEIVE_BYTES = 32 * 1024, 256 * 1024

_HEADERS = re.compile(
    rb"\r\n(content-length|transfer-encoding|expect|x-api-key|authorization)[ \t]*:"
    rb"[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
_FIRST_LINE = re.compile(rb"(\S+) ([^ ?]*)(?:\?([^ ]*))? (HTTP/1\.\d)")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]+)[ \t]*(?:;[^\r\n]*)?\r\n")
# A loop that looks through a long line at each byte of it has no time for anybody else.
LONGEST_SIZE, LONGEST_TRAILERS = 256, 8 * 1024
LENGTH_DIGITS = 15  # of a length that anybody could mean


class Wire(socket.socket):
    """A socket whose `sendall` returns at once: what the peer does not take yet waits in `rest`."""

    rest: list[memoryview]

    @classmethod
    def of(cls, accepted: socket.socket) -> Wire:
        made = cls(fileno=accepted.detach())
        made.rest = []
        return made

    def setblocking(self, flag: bool) -> None:
        """gunicorn asks for it at each request, mostly for what is so already."""
        if (self.gettimeout() is None) != flag:
            super().setblocking(flag)

    def sendall(self, data: Any, flags: int = 0) -> None:
        view = memoryview(data)
        if not self.rest:
            view = view[self._sent(view) :]
        if view:
            self.rest.append(view)

    def flush(self) -> bool:
        """Send what waits; whether nothing is left. Raises OSError where the peer is gone."""
        while self.rest:
            first = self.rest[0]
            sent = self._sent(first)
            if sent < len(first):
                self.rest[0] = first[sent:]
                return False
            self.rest.pop(0)
        return True

    def _sent(self, data: memoryview) -> int:
        try:
            return self.send(data, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return 0

    @property
    def waiting(self) -> int:
        """Bytes that the peer has not taken."""
        return sum(len(piece) for piece in self.rest)


class Connection(TConn):  # type: ignore[misc]
    """gunicorn's connection, with the bytes of the request that is arriving on it."""

    def __init__(self, cfg: Any, sock: Wire, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.begun_at = self.queued_at = self.deadline = 0.0
        self.after: Any = None  # called with it at the deadline
        self.dropped = False
        self.begin(b"")

    def begin(self, already: bytes) -> None:
        """Another request is to come; the end of the last read may hold its beginning."""
        self.received = bytearray(already)
        self.ended = False  # the peer sends no more
        self.whole = self.was_passed = False
        self.has_bad_chunks = False
        self.announced = 0  # bytes of the body that is to come
        self.method, self.path, self.query = b"", b"", b""
        self.key, self.authorization = b"", b""
        self.tenant: Hashable = None
        self._head = 0  # length of the head, once it is whole
        self._needed: int | None = 0  # length of the request; None: it comes in chunks
        self._is_framed = False  # whether we know where it ends as surely as the parser
        self._scanned = 0
        self._continue = False

    def receive(self) -> None:
        """Take what the socket has, at most what is worth gathering at once."""
        try:
            piece = self.sock.recv(_RECEIVE_BYTES if self._head else _FIRST_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        self.received += piece
        self.ended = not piece

    @property
    def is_idle(self) -> bool:
        return not self.received

    @property
    def has_head(self) -> bool:
        return self._head > 0

    def is_complete(self) -> bool:
        """Whether a thread should have it: all of it is here, or it is larger than we gather, or
        it ends or is wrong in a way that the parser will say. Answers an `Expect`."""
        if not self.find_head():
            return self.ended and bool(self.received)
        if self._needed is None:
            self._walk_chunks()
        if not self._is_framed:
            return True  # the parser says what is wrong, and the connection ends with that
        if self._needed is not None:
            self.whole = len(self.received) >= self._needed
        if self.whole or self.ended or len(self.received) >= GATHERED_BYTES:
            return True
        if self._needed is not None and self._needed > GATHERED_BYTES:
            return True
        self._say_continue()
        return False

    def rest_after_request(self) -> bytes | None:
        """What follows a whole request, None where the connection cannot go on after it."""
        head = bytes(self.received[: self._head])
        if not self.whole or b" HTTP/1.1\r\n" not in head or b"\nconnection:" in head.lower():
            return None
        return bytes(self.received[self._needed :])

    @property
    def is_too_long(self) -> bool:
        """Whether the head has no end within reason."""
        return not self._head and len(self.received) > LONGEST_HEAD

    def find_head(self) -> bool:
        """Whether the head is whole; reads it as soon as it is."""
        if self._head:
            return True
        at = self.received.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if at < 0:
            self._scanned = len(self.received)
            return False
        self._head = self._scanned = at + 4
        self._read_head(bytes(self.received[: self._head]))
        return True

    def _read_head(self, head: bytes) -> None:
        first = _FIRST_LINE.match(head)
        if first is not None:
            self.method, self.path, self.query = first[1], first[2], first[3] or b""
        lengths: list[bytes] = []
        codings: list[bytes] = []
        understood = True
        for name, value in _HEADERS.findall(head):
            match name.lower():
                case b"content-length":
                    lengths.append(value.strip())
                case b"transfer-encoding":
                    codings.append(value.strip().lower())
                case b"expect":
                    understood = value.strip().lower() == b"100-continue"
                    self._continue = first is not None and first[4] == b"HTTP/1.1"
                case b"x-api-key":
                    self.key = value.strip()
                case _:
                    self.authorization = value.strip()
        if first is not None and understood:
            self._frame(first[4], lengths, codings)

    def _frame(self, version: bytes, lengths: list[bytes], codings: list[bytes]) -> None:
        """Where the body ends: RFC 9112, 6.3. Whatever is not plainly one of its cases is not ours
        to read."""
        self._needed = self._head
        if not lengths and codings == [b"chunked"]:
            self._needed, self._is_framed = None, version == b"HTTP/1.1"
        elif not codings and len(lengths) == 1 and lengths[0].isdigit():
            digits = lengths[0].lstrip(b"0")[: LENGTH_DIGITS + 1]
            self.announced = int(digits or b"0")
            self._needed += self.announced
            self._is_framed = True
        else:
            self._is_framed = not lengths and not codings

    def _walk_chunks(self) -> None:
        """From chunk to chunk; `_scanned` is where the next one's size is expected."""
        while True:
            at = self._scanned
            size = _CHUNK_SIZE.match(self.received, at, at + LONGEST_SIZE)
            if size is None:
                line = self.received[at : at + LONGEST_SIZE]
                self.has_bad_chunks = b"\n" in line or len(line) == LONGEST_SIZE
                return
            length = int(size[1], 16)
            if length == 0:
                self._find_end_of_trailers(size.end() - 2)
                return
            following = size.end() + length + 2
            if following > len(self.received):
                return
            if self.received[following - 2 : following] != b"\r\n":
                self.has_bad_chunks = True
                return
            self._scanned = following

    def _find_end_of_trailers(self, begin: int) -> None:
        end = self.received.find(b"\r\n\r\n", begin, begin + LONGEST_TRAILERS)
        if end >= 0:
            self._needed = end + 4
        else:
            self.has_bad_chunks = len(self.received) - begin >= LONGEST_TRAILERS

    def _say_continue(self) -> None:
        if self._continue:
            self._continue = False
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
