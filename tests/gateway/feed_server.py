"""A shop's web server as a feed's remote: real HTTP on this machine, and what it was asked."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Page:
    """What lies at a path; `answer` replaces all of it."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: bool = True
    dated: bool = False
    secret: tuple[str, str] | None = None  # a header that must come with the request
    cut_at: int | None = None  # end the connection after so many bytes
    unframed: bool = False  # no length: the end of the connection is the end
    dripping_s: float = 0.0  # so long between two bytes
    zipped: bool = False  # Content-Encoding


@dataclass
class Server:
    """Pages by path, and the requests that came: (path, headers)."""

    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    held: threading.Event | None = None  # answers wait for it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, path: str, body: bytes | str, **how: Any) -> str:
        """Lay something there; returns its address."""
        self.pages[path] = Page(body.encode() if isinstance(body, str) else body, **how)
        return self.url + path

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        self.pages[path] = Page(status=status, headers={"Location": to})
        return self.url + path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        place: Server = self.server.told  # type: ignore[attr-defined]
        place.asked.append((self.path, dict(self.headers)))
        if place.held is not None:
            place.held.wait(30)
        page = place.pages.get(self.path.partition("?")[0], Page(status=404))
        if page.secret and self.headers.get(page.secret[0]) != page.secret[1]:
            page = Page(status=401)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._answer(page)

    def _answer(self, page: Page) -> None:
        body = gzip.compress(page.body) if page.zipped else page.body
        etag = f'"{sha256(page.body).hexdigest()[:16]}"'
        dated = formatdate(1_700_000_000, usegmt=True)
        same = page.etag and self.headers.get("If-None-Match") == etag
        same = same or (page.dated and self.headers.get("If-Modified-Since") == dated)
        self.send_response(304 if same and page.status == 200 else page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.etag and page.status == 200:
            self.send_header("ETag", etag)
        if page.dated:
            self.send_header("Last-Modified", dated)
        if page.zipped:
            self.send_header("Content-Encoding", "gzip")
        if page.unframed:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", "0" if same else str(len(body)))
        self.end_headers()
        if not same:
            self._send(body if page.cut_at is None else body[: page.cut_at], page)
        if page.cut_at is not None or page.unframed:
            self.close_connection = True

    def _send(self, body: bytes, page: Page) -> None:
        if not page.dripping_s:
            self.wfile.write(body)
            return
        for position in range(len(body)):
            self.wfile.write(body[position : position + 1])
            self.wfile.flush()
            time.sleep(page.dripping_s)

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the tests' output."""


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    """A server that is gone after the block; with a certificate (and its key) over TLS."""
    told = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    http.told = told  # type: ignore[attr-defined]
    told.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
