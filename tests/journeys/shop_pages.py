"""A shop's own web server, on another origin than the gateway, for journeys in a real browser."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGNoaGiAIAYIBQAjLgT5n5QeKwAAAABJRU5E"
    "rkJggg=="
)


@dataclass
class ShopPages:
    """Pages by their path, each a text with headers; every `.png` is a small picture."""

    url: str
    pages: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)

    def put(self, path: str, text: str, **headers: str) -> str:
        """Serve a page from now on; returns its address."""
        self.pages[path] = (text, {name.replace("_", "-"): one for name, one in headers.items()})
        return self.url + path


@contextmanager
def shop_pages() -> Iterator[ShopPages]:
    """A server that runs within the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    shop = ShopPages(f"http://127.0.0.1:{server.server_port}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.endswith(".png"):
                self.answer(200, PICTURE, {"Content-Type": "image/png"})
            elif path in shop.pages:
                text, headers = shop.pages[path]
                html = {"Content-Type": "text/html; charset=utf-8"}
                self.answer(200, text.encode(), html | headers)
            else:
                self.answer(404, b"", {})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: pytest's output is for tests."""

    server.RequestHandlerClass = Handler
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()


def json_ld(data: Any) -> str:
    """The element that tells search engines, and the snippet, what a page is about."""
    return f'<script type="application/ld+json">{json.dumps(data)}</script>'


def schema(kind: str = "Product", **fields: Any) -> dict[str, Any]:
    """A thing of schema.org's."""
    return {"@context": "https://schema.org", "@type": kind, "name": "A thing", **fields}
