"""Bodies as they come over a wire: late, cut short, too large, compressed."""

from __future__ import annotations

import contextlib
import gzip
import io
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import SocketUnreader

from gateway.http import door
from gateway.http.errors import BodyLate, HttpError, TooLarge, Unavailable, Unreadable

MB = 1024 * 1024
DEADLINE_S = 0.3

app = Flask("door")


@contextlib.contextmanager
def request(body: Any, length: int | str | None = None, **headers: str) -> Iterator[None]:
    """A request of this body; without a length its end is the stream's end (chunked)."""
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    environ: dict[str, Any] = {"wsgi.input": stream, "wsgi.input_terminated": True}
    environ |= {} if length is None else {"CONTENT_LENGTH": str(length)}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    with app.test_request_context(method="POST", environ_overrides=environ):
        yield


def read(body: Any, length: int | str | None = None, limit: int = MB, **headers: str) -> bytes:
    with request(body, length, **headers):
        return door.read_body(limit, deadline_s=DEADLINE_S)


# whole bodies -----------------------------------------------------------------------------------


def test_a_body_is_read_by_its_length() -> None:
    assert read(b"{}", 2) == b"{}"
    assert read(b"{}garbage", 2) == b"{}"


def test_a_chunked_body_is_read_to_its_end() -> None:
    assert read(b"x" * 700_000) == b"x" * 700_000


def test_no_length_and_no_chunks_is_no_body() -> None:
    environ = {"wsgi.input": io.BytesIO(b"{}")}
    with app.test_request_context(method="POST", environ_overrides=environ):
        assert door.read_body(MB) == b""


def test_a_body_that_is_shorter_than_announced_is_late() -> None:
    with pytest.raises(BodyLate, match="announced"):
        read(b"{", 2)


@pytest.mark.parametrize("length", ["-1", "two", "1e3", "²"])
def test_a_length_that_is_no_number_is_unreadable(length: str) -> None:
    with pytest.raises(Unreadable):
        read(b"{}", length)


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        read(b"", MB + 1)
    with pytest.raises(TooLarge):
        read(b"x" * (MB + 1))
    assert len(read(b"x" * MB, MB)) == MB


# compressed bodies ------------------------------------------------------------------------------


def test_gzip_is_undone() -> None:
    body = gzip.compress(b"[1]") + gzip.compress(b" ")
    assert read(body, len(body), content_encoding="gzip") == b"[1] "
    assert read(body, content_encoding="GZIP") == b"[1] "


def test_a_bomb_is_refused_at_the_limit() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(bytes(64 * MB)) + packer.flush()
    with pytest.raises(TooLarge):
        read(bomb, len(bomb), content_encoding="gzip")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        gzip.compress(b"[1]")[:-9],
        gzip.compress(b"[1]") + b"x",
        gzip.compress(b"") * 99,
    ],
    ids=["nothing", "plain", "cut", "followed by more", "many empty ones"],
)
def test_broken_gzip_comes_as_it_was_sent(body: bytes) -> None:
    assert read(body, len(body), content_encoding="gzip") == body


def test_another_encoding_is_named() -> None:
    with pytest.raises(HttpError, match="'br'") as caught:
        read(b"{}", 2, content_encoding="br")
    assert caught.value.status == 415


# large bodies -----------------------------------------------------------------------------------


def test_a_third_large_body_must_wait_for_an_answer() -> None:
    large = bytes(5 * MB)
    with request(large, len(large)):
        door.read_body(8 * MB)
        with request(large, len(large)):
            door.read_body(8 * MB)
            with request(large, len(large)), pytest.raises(Unavailable):
                door.read_body(8 * MB)
            with request(large, len(large)):
                assert door.read_body(8 * MB, few_large=False) == large
            app.process_response(app.response_class())
        with request(large, len(large)):
            assert door.read_body(8 * MB) == large
            app.process_response(app.response_class())
        app.process_response(app.response_class())


def test_small_gzip_of_a_large_body_counts_as_large() -> None:
    packed = gzip.compress(bytes(5 * MB))
    with request(packed, len(packed), content_encoding="gzip"):
        door.read_body(8 * MB)
        assert door._large._value == door.LARGE_AT_ONCE - 1  # type: ignore[attr-defined]
        app.process_response(app.response_class())


# slow senders -----------------------------------------------------------------------------------


@contextlib.contextmanager
def sender() -> Iterator[tuple[socket.socket, SocketUnreader, dict[str, Any]]]:
    """The sender's end of a connection, and what gunicorn makes of ours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield theirs, SocketUnreader(ours), {"gunicorn.socket": ours, "wsgi.input_terminated": True}


def read_from(environ: dict[str, Any], body: Body, length: int | None) -> bytes:
    environ |= {"wsgi.input": body} | ({} if length is None else {"CONTENT_LENGTH": str(length)})
    with app.test_request_context(method="POST", environ_overrides=environ):
        return door.read_body(MB, deadline_s=DEADLINE_S)


def drip(connection: socket.socket, stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not stop.wait(DEADLINE_S / 10):
            connection.send(b"x")


def test_a_dripping_sender_is_cut_at_the_deadline() -> None:
    with sender() as (theirs, unreader, environ):
        stop = threading.Event()
        dripping = threading.Thread(target=drip, args=(theirs, stop))
        dripping.start()
        try:
            with pytest.raises(BodyLate, match="did not arrive"):
                read_from(environ, Body(LengthReader(unreader, 1000)), 1000)
        finally:
            stop.set()
            dripping.join()
        environ["gunicorn.socket"].send(b"408")
        assert theirs.recv(3) == b"408"


def test_a_silent_sender_of_chunks_is_cut_at_the_deadline() -> None:
    with sender() as (theirs, unreader, environ):
        theirs.send(b"5\r\nhel")
        with pytest.raises(BodyLate, match="did not arrive"):
            read_from(environ, Body(ChunkedReader(None, unreader)), None)


def test_a_sender_that_hangs_up_is_cut_short() -> None:
    with sender() as (theirs, unreader, environ):
        theirs.send(b"hel")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(BodyLate, match="announced"):
            read_from(environ, Body(LengthReader(unreader, 5)), 5)


def test_chunks_that_end_too_early_are_cut_short() -> None:
    with sender() as (theirs, unreader, environ):
        theirs.send(b"5\r\nhello\r\n")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(BodyLate, match="announced"):
            read_from(environ, Body(ChunkedReader(None, unreader)), None)


def test_a_quick_sender_is_left_alone() -> None:
    with sender() as (theirs, unreader, environ):
        theirs.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert read_from(environ, Body(ChunkedReader(None, unreader)), None) == b"hello"
        theirs.send(b"again")
        assert environ["gunicorn.socket"].recv(5) == b"again"
