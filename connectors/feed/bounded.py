"""A feed's file as it is read: its items, and how far reading may go."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple

from schemas.errors import AttuneError

MOST_BYTES = 16 << 20  # between two items: what a parser may have to hold
PIECE = 64 * 1024


class Broken(AttuneError):
    """The file cannot be read, or not from some place on; its text says where and why."""


class Item(NamedTuple):
    """`pointer` says where in the file: `/line/17`, of a JSON document a pointer into it. With a
    `problem` it cannot be read, or not all of it, and `translate` refuses it for that."""

    pointer: str
    record: dict[str, Any]
    problem: str | None = None

    def told(self) -> dict[str, Any]:
        """As it stands in the body of a delivery."""
        told = {"at": self.pointer, "item": self.record}
        return told | ({"problem": self.problem} if self.problem else {})


class Bounded(io.BufferedIOBase):
    """Reads `file` until `limit` bytes, and MOST_BYTES after each `mark`; raises Broken."""

    def __init__(self, file: BinaryIO | io.BufferedIOBase, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._ahead = b""
        self._total = 0
        self._since = 0

    def mark(self) -> None:
        """An item ends here."""
        self._since = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Some of what comes next, at most `size` bytes; empty only at the end."""
        size = PIECE if size is None or size < 0 else size
        if not self._ahead:
            return self._take(size)
        piece, self._ahead = self._ahead[:size], self._ahead[size:]
        return piece

    read1 = read

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line with its end, whole, or the rest of the file."""
        self.peek_line(MOST_BYTES)
        end = self._ahead.find(b"\n") + 1 or len(self._ahead)
        line, self._ahead = self._ahead[:end], self._ahead[end:]
        return line

    def peek(self, size: int = PIECE) -> bytes:
        """What comes next, without reading it; less than `size` only at the end."""
        while len(self._ahead) < size and (piece := self._take(size - len(self._ahead))):
            self._ahead += piece
        return self._ahead[:size]

    def peek_line(self, most: int) -> bytes:
        """The next line without reading it, or its first `most` bytes."""
        searched = 0
        while (end := self._ahead.find(b"\n", searched)) < 0 and len(self._ahead) < most:
            searched = len(self._ahead)
            piece = self._take(PIECE)
            if not piece:
                break
            self._ahead += piece
        return self._ahead[: end if end >= 0 else most]

    def _take(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._total += len(piece)
        self._since += len(piece)
        if self._total > self._limit:
            raise Broken(f"the file is larger than {self._limit / (1 << 20):g} MiB when unpacked")
        if self._since > MOST_BYTES:
            raise Broken(f"{MOST_BYTES >> 20} MiB of the file hold no item")
        return piece
