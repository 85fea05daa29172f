"""Fetching a feed: only what changed since the last time comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from schemas.errors import AttuneError


class Answer(Protocol):
    """Of a GET whose body was written to a file."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def size(self) -> int: ...
    @property
    def is_whole(self) -> bool: ...


Send = Callable[[str, Mapping[str, str], BinaryIO], Answer]

WHY = {
    401: "it wants other credentials: `sources rotate SITE SOURCE --secret` changes them",
    403: "it does not let us in",
    404: "there is nothing at this address",
    410: "the feed is gone for good",
    429: "it wants fewer requests: pull less often with `sources set SITE SOURCE every 1d`",
}


class NotFetched(AttuneError):
    """The feed's server answered with something else than the feed."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the server said of the file that we have."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The file as it is now; `is_whole` is False where a cut-off one would look the same."""

    known: Known
    size: int
    is_whole: bool


def fetch(
    send: Send, url: str, secret: tuple[str, str] | None, known: Known, into: BinaryIO
) -> Fetched | None:
    """Write the feed into a file; None where it is still the one we know. Raises NotFetched and
    what `send` raises. `secret` is a header's name and value."""
    headers = dict([secret] if secret else [])
    if known.etag:
        headers["If-None-Match"] = known.etag
    if known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    answer = send(url, headers, into)
    if answer.status == 304 and (known.etag or known.last_modified):
        return None
    if answer.status != 200:
        why = WHY.get(answer.status, "try the address in a browser")
        raise NotFetched(f"the server answered with status {answer.status}: {why}")
    told = Known(_header(answer, "etag"), _header(answer, "last-modified"))
    return Fetched(told, answer.size, answer.is_whole)


def _header(answer: Answer, name: str) -> str | None:
    """A validator that can be sent back as it is."""
    value = answer.headers.get(name, "")
    return value if 0 < len(value) <= 500 and value.isascii() and value.isprintable() else None
