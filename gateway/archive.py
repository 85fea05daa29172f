"""The file of a backup: what pg_dump wrote, then what we must know of it, then a checksum of both.

    dump (PostgreSQL's custom format) · manifest (JSON) · its length · SHA-256 · magic

pg_restore reads such a file as it is, because it asks for nothing behind its own last block.
`gateway.backup` is the one caller.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from schemas.errors import AttuneError

MAGIC = b"attune-backup-01"
FOOTER = struct.Struct(">Q32s16s")
PIECE = 1 << 20
FORMAT = 1

Told = Callable[[int, int], None]  # so many bytes done, of so many


class NotABackup(AttuneError):
    """The file is no whole backup of Attune."""


class Manifest(msgspec.Struct, kw_only=True):
    """What a restore must know before it changes anything."""

    format: int = FORMAT
    version: str  # of Attune
    made_at: datetime
    migrations: list[str]
    postgres: int  # server_version_num
    key_check: str  # tells whether a secret key is the one, never which it is
    secret_key: str | None = None
    tables: dict[str, int]  # bytes by table, for the progress of a restore
    sites: list[str]
    dump_bytes: int


def seal(path: Path, manifest: Manifest, told: Told) -> None:
    """Append manifest and checksum to a finished dump, and have the disk keep it."""
    with open(path, "r+b") as file:
        encoded = msgspec.json.encode(manifest)
        digest = _digest(file, manifest.dump_bytes, told)
        digest.update(encoded)
        file.seek(manifest.dump_bytes)
        file.write(encoded + FOOTER.pack(len(encoded), digest.digest(), MAGIC))
        file.flush()
        os.fsync(file.fileno())


def manifest(path: Path) -> Manifest:
    """Read what a backup says of itself, without reading it whole; raises NotABackup."""
    with _opened(path) as file:
        encoded, _ = _ending(file, path)
    try:
        return msgspec.json.decode(encoded, type=Manifest)
    except msgspec.MsgspecError:
        raise NotABackup(
            f"{path} was made by a version of Attune that this one cannot read"
        ) from None


def verify(path: Path, told: Told) -> None:
    """Read the file whole; raises NotABackup where it is not as it was written."""
    with _opened(path) as file:
        encoded, expected = _ending(file, path)
        size = os.fstat(file.fileno()).st_size - FOOTER.size - len(encoded)
        digest = _digest(file, size, told)
    digest.update(encoded)
    if digest.digest() != expected:
        raise NotABackup(f"{path} is damaged: its checksum is not the one it was written with")


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise NotABackup(f"{path} cannot be read ({error.strerror})") from None


def _ending(file: BinaryIO, path: Path) -> tuple[bytes, bytes]:
    """The manifest's bytes and the checksum."""
    size = file.seek(0, os.SEEK_END)
    if size < FOOTER.size:
        raise _cut(path)
    file.seek(size - FOOTER.size)
    length, digest, magic = FOOTER.unpack(file.read(FOOTER.size))
    if magic != MAGIC or length > size - FOOTER.size:
        raise _cut(path)
    file.seek(size - FOOTER.size - length)
    return file.read(length), digest


def _cut(path: Path) -> NotABackup:
    return NotABackup(
        f"{path} is no backup made by `python -m gateway backup`, or its end is missing"
    )


def _digest(file: BinaryIO, size: int, told: Told) -> hashlib._Hash:
    digest = hashlib.sha256()
    file.seek(0)
    done = 0
    while done < size and (piece := file.read(min(PIECE, size - done))):
        digest.update(piece)
        done += len(piece)
        told(done, size)
    return digest
