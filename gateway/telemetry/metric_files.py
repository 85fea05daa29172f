"""The files that processes count in, with their blocks reserved before anything is written.

prometheus_client maps sparse files: where the disk is full, the first write to a new page ends the
process by SIGBUS, and so every process that answers requests. `reserve` is called before anything
counts.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

SIZE = 1 << 18
LONGEST_ENTRY = 1 << 12
UNFINISHED = ".new"


def reserve() -> None:
    """From now on in this process and those forked from it."""
    values.MmapedDict = Reserved  # type: ignore[attr-defined]


class Reserved(MmapedDict):
    """Counts in memory where the disk is full; nobody else sees that, and nothing fails."""

    _f: Any
    _m: Any

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode and not _reserved(filename):
            filename = f"/proc/self/fd/{os.memfd_create('metrics')}"
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + LONGEST_ENTRY > self._capacity:
            self._grow()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self) -> None:
        larger = 2 * self._capacity
        try:
            os.posix_fallocate(self._f.fileno(), 0, larger)
        except OSError:
            written = self._m[:]
            self._f = open(os.memfd_create("metrics"), "r+b")  # noqa: SIM115
            self._f.write(written)
            self._f.truncate(larger)
        self._capacity = larger
        self._m = mmap.mmap(self._f.fileno(), larger)


def _reserved(filename: str) -> bool:
    """Whether the file is there with its blocks. It has its name only then: what is killed in
    between leaves nothing behind that a reader would take for figures."""
    if os.path.exists(filename):
        return True
    made = f"{filename}{UNFINISHED}"
    try:
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False
    try:
        os.posix_fallocate(descriptor, 0, SIZE)
    except OSError:
        os.unlink(made)
        return False
    finally:
        os.close(descriptor)
    os.rename(made, filename)
    return True
