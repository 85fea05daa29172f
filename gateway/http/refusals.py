"""Answers that the web worker gives by itself, before the application sees a request: in the form
of the application's own."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from http import HTTPStatus

from gunicorn.http import errors  # type: ignore[import-untyped]

from gateway.http import cors, limits

RETRY_AFTER_S = {429: limits.RETRY_AFTER_S, 503: 2}

# What gunicorn's parser raises, without the bytes that it names: they are the sender's.
UNREADABLE: dict[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (414, "the address is longer than 4,094 bytes"),
    errors.LimitRequestHeaders: (
        431,
        "there are over 100 headers, or one of over 8,190 bytes",
    ),
    errors.UnsupportedTransferCoding: (501, "of transfer codings only `chunked` is understood"),
    errors.ExpectationFailed: (417, "of expectations only `100-continue` is understood"),
    errors.InvalidHTTPVersion: (505, "only HTTP/1.0 and HTTP/1.1 are spoken here"),
    errors.InvalidRequestLine: (400, "the first line is not one of HTTP"),
    errors.InvalidRequestMethod: (400, "the method is not one of HTTP"),
    errors.InvalidHeader: (
        400,
        "a header holds what none may, or contradicts another",
    ),
    errors.InvalidHeaderName: (400, "a header's name holds what no name may"),
    errors.ObsoleteFolding: (
        400,
        "a header goes on in a second line, as none may any more",
    ),
    errors.InvalidChunkSize: (400, "the size of a chunk is no hexadecimal number"),
    errors.ChunkMissingTerminator: (400, "a chunk does not end where its size says"),
    errors.InvalidChunkExtension: (400, "the extension of a chunk holds what none may"),
}
BAD_CHUNKS = "the chunks of the body are none: a size in hexadecimal, its bytes, a line's end"
OTHERWISE = (400, "the request is not one of HTTP/1.1")


def of_unreadable(error: Exception) -> tuple[int, str]:
    """(status, sentence) of what the parser does not read."""
    found = (answer for kind, answer in UNREADABLE.items() if isinstance(error, kind))
    return next(found, OTHERWISE)


def new_id() -> str:
    """Names one request, as the application does."""
    return os.urandom(8).hex()


def answer(
    status: int,
    sentence: str,
    *,
    close: bool,
    path: bytes = b"",
    headers: Sequence[tuple[str, str]] = (),
    request_id: str | None = None,
    is_head: bool = False,
) -> bytes:
    """The bytes of a refusal; `path` decides whether a page of another origin may read it."""
    body = json.dumps({"message": sentence, "problems": []}).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        "X-Content-Type-Options: nosniff",
        f"X-Request-Id: {request_id or new_id()}",
        f"Content-Length: {len(body)}",
    ]
    if close:
        lines.append("Connection: close")
    if status in RETRY_AFTER_S:
        lines.append(f"Retry-After: {RETRY_AFTER_S[status]}")
    lines += [f"{name}: {value}" for name, value in headers]
    if path.startswith(tuple(path.encode() for path in cors.PATHS)):
        lines += [
            "Access-Control-Allow-Origin: *",
            f"Access-Control-Expose-Headers: {cors.EXPOSED}",
        ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if is_head else body)
