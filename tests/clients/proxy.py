"""Stands between a client and the gateway and does to the first requests what a network may do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

LOSE = "the answer is lost"  # the gateway has applied it, the client hears nothing
UNAVAILABLE, TOO_FAST = "503", "429"  # in the gateway's own words
NOT_PASSED_ON = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
BY_THE_CONNECTION = {"connection", "content-length", "transfer-encoding", "content-encoding"}


class Proxy(ThreadingHTTPServer):
    """`plan` is for the first POSTs, one each; `told` are the statuses that POSTs came to."""

    daemon_threads = True

    def __init__(self, target: str, plan: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.plan = list(plan)
        self.told: list[int | str] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_of_plan(self) -> str | None:
        with self._lock:
            return self.plan.pop(0) if self.plan else None


@contextlib.contextmanager
def proxy(target: str, plan: Sequence[str]) -> Iterator[Proxy]:
    with Proxy(target, plan) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_post = self.command == "POST"
        planned = self.server.next_of_plan() if is_post else None
        if planned in (UNAVAILABLE, TOO_FAST):
            self.server.told.append(int(planned))
            later = self._retry_headers()
            self._answer(httpx.Response(int(planned), headers=later, json={"message": "-"}))
            return
        answer = httpx.request(
            self.command,
            self.server.target + self.path,
            content=body,
            headers=[(k, v) for k, v in self.headers.items() if k.lower() not in NOT_PASSED_ON],
            timeout=60,
            trust_env=False,
        )
        if is_post:
            self.server.told.append(planned or answer.status_code)
        if planned == LOSE:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._answer(answer)

    do_GET = do_POST = do_OPTIONS = _pass

    def _answer(self, answer: httpx.Response) -> None:
        with contextlib.suppress(ConnectionError):  # the page may be gone
            self.send_response(answer.status_code)
            for name, value in answer.headers.multi_items():
                if name.lower() not in BY_THE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    def _retry_headers(self) -> dict[str, str]:
        return {
            "Retry-After": "1",
            "X-RateLimit-Reset": "1",
            "Access-Control-Allow-Origin": self.headers.get("Origin") or "*",
            "Access-Control-Expose-Headers": "Retry-After, X-RateLimit-Reset",
        }

    def log_message(self, format: str, *args: object) -> None:
        pass
