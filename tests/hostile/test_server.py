"""The wire itself, against the real server: lengths that lie, broken chunks, senders that drip."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import psycopg
import pytest
from psycopg import sql

from gateway import access, home, sealing
from gateway.running import services
from schemas import database
from tests.conftest import SECRET_KEY, _alone
from tests.connectors.signing import segment as sign
from tests.journeys.gateway_process import ROOT, free_port, until

BODY = b'{"type":"page","anonymousId":"a1","messageId":"m1"}'
LATE_S = 10  # the door's deadline
THREADS = 4  # of the one web process


@dataclass(frozen=True)
class Server:
    """A web role of one process on a database of its own, and how to address it."""

    port: int
    path: str
    secret: str
    key: str
    database_url: str

    def says(self, raw: bytes, *, end: bool = True, timeout_s: float = 30.0) -> int:
        """The status of what is answered to these bytes, 0 where the connection just ends."""
        return status(b"".join(self.answer(raw, end=end, timeout_s=timeout_s)))

    def answer(self, raw: bytes, *, end: bool, timeout_s: float) -> Iterator[bytes]:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection,
            contextlib.suppress(ConnectionError),
        ):
            send(connection, raw, end)
            while piece := connection.recv(65536):
                yield piece
                if not end:
                    return

    def head(self, *headers: str, body: bytes = BODY) -> bytes:
        """The request line and headers of a signed delivery, without any length."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: x", "Connection: close", *headers]
        lines += [f"{name}: {value}" for name, value in sign(body, self.secret).items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def deliveries(self) -> int:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("select count(*) from deliveries").fetchone()
        return int(row[0]) if row else 0

    def is_well(self) -> bool:
        return is_ready(self.port)


def send(connection: socket.socket, raw: bytes, end: bool) -> None:
    """What is answered early may end the connection before all is sent."""
    with contextlib.suppress(OSError):
        connection.sendall(raw)
        if end:
            connection.shutdown(socket.SHUT_WR)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


@pytest.fixture(scope="module")
def server(
    servers: dict[str, str],
    template_url: str,
    redis_url: str,
    worker_name: str,
    request: pytest.FixtureRequest,
) -> Iterator[Server]:
    asking = request.module.__name__.rpartition(".")[2]
    with _alone(servers):
        url = own_database(template_url, f"{asking}_{worker_name}")
    sealing.unlock(SECRET_KEY)
    with contextlib.closing(database.connect(url)) as connection:
        made = access.create_site(connection, "shop")
        site = access.site(connection, "shop")
        source = access.create_source(connection, site, "segment")
    with web(url, redis_url) as port:
        yield Server(
            port,
            f"/webhooks/segment/{source.source.public_id}",
            source.secret,
            made["secret_key"],
            url,
        )


def own_database(template_url: str, name: str) -> str:
    with psycopg.connect(template_url.replace("/attune?", "/postgres?"), autocommit=True) as one:
        named = sql.Identifier(name)  # another module of this process may have used it
        one.execute(sql.SQL("drop database if exists {} with (force)").format(named))
        one.execute(sql.SQL("create database {} template attune").format(named))
    return template_url.replace("/attune?", f"/{name}?")


@contextlib.contextmanager
def web(url: str, redis_url: str, processes: int = 1) -> Iterator[int]:
    """The web role on this database; yields its port when it answers."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="attune-hostile-") as folder:
        home.make(Path(folder))
        environment = os.environ | {
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "ATTUNE_HOME": folder,
            "ATTUNE_SECRET_KEY": SECRET_KEY,
            "PORT": str(port),
            "WEB_CONCURRENCY": str(processes),
        }
        with open(Path(folder) / "run" / "web.log", "ab") as log:
            process = subprocess.Popen(
                services.dies_with_parent([sys.executable, "-m", "gateway", "web"]),
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: is_ready(port), 60, what="an answer of the web role")
            yield port
        finally:
            services.end(process, signal.SIGTERM, within_s=30)


def is_ready(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


@pytest.fixture(autouse=True)
def nothing_is_kept(server: Server) -> Iterator[None]:
    """Every request below is refused before anything is kept, and the server stays well."""
    before = server.deliveries()
    yield
    assert server.is_well()
    assert server.deliveries() == before


# lengths ----------------------------------------------------------------------------------------


def test_a_length_too_short_cuts_the_body_and_its_signature(server: Server) -> None:
    assert server.says(server.head("Content-Length: 20") + BODY) == 401


def test_a_length_too_long_is_408(server: Server) -> None:
    assert server.says(server.head(f"Content-Length: {len(BODY) + 9}") + BODY) == 408


def test_no_length_is_no_body(server: Server) -> None:
    assert server.says(server.head() + BODY) == 401


@pytest.mark.parametrize(
    "length",
    ["-1", "+5", "5 5", "5,5", "0x10", "1e3", "five", "5.0", "\xb2", "", " ", "9" * 30, "9" * 5000],
    ids=ascii,
)
def test_a_length_that_is_none_is_refused(server: Server, length: str) -> None:
    assert server.says(server.head(f"Content-Length: {length}") + BODY) in (400, 401, 413)


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        (f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked, chunked",),
        ("Transfer-Encoding: nonsense",),
        ("Transfer-Encoding : chunked",),
        ("Content-Length : 5",),
    ],
    ids=" + ".join,
)
def test_two_lengths_or_none_that_is_known_are_refused(
    server: Server, headers: tuple[str, ...]
) -> None:
    assert server.says(server.head(*headers) + BODY) in (400, 401, 408, 501)


def test_a_body_announced_beyond_the_limit_is_413_at_once(server: Server) -> None:
    head = server.head(f"Content-Length: {129 * 1024 * 1024}")
    assert server.says(head + BODY, end=False, timeout_s=5) == 413


# chunks -----------------------------------------------------------------------------------------

CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "chunks",
    [
        b"",
        b"5\r\n",
        b"5\r\nhe",
        b"5\r\nhello",
        b"5\r\nhello\r\n",
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello!!!\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"\x00\xff\xfe",
        Random(1).randbytes(1000),
    ],
    ids=lambda chunks: ascii(chunks[:24]),
)
def test_broken_chunks_are_refused(server: Server, chunks: bytes) -> None:
    assert server.says(server.head(CHUNKED) + chunks) in (400, 401, 408)


def test_chunks_that_break_late_are_refused_as_early_ones(server: Server) -> None:
    """Beyond what the loop gathers, where the application reads them."""
    good = b"180000\r\n" + b" " * 0x180000 + b"\r\n"
    assert server.says(server.head(CHUNKED) + good + b"no size\r\n") == 400


ASKED = b'{"requests":[{"api_name":"search/search","body":{"q":"mug"}}]}'
WHOLE = b"%x\r\n%b\r\n" % (len(ASKED), ASKED)


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ((f"Content-Length: {len(ASKED)}",), ASKED, 200),
        ((f"Content-Length: {len(ASKED) - 5}",), ASKED, 422),
        ((f"Content-Length: {len(ASKED) + 5}",), ASKED, 408),
        (("Content-Length: 0",), ASKED, 422),
        ((), ASKED, 422),
        ((CHUNKED,), WHOLE + b"0\r\n\r\n", 200),
        ((CHUNKED,), b"".join(b"1\r\n%c\r\n" % one for one in ASKED) + b"0\r\n\r\n", 200),
        ((CHUNKED,), WHOLE + b"0\r\nX-API-KEY: another\r\n\r\n", 200),
        ((CHUNKED,), WHOLE, 408),
        ((CHUNKED,), WHOLE + b"5\r\n", 408),
        ((CHUNKED,), WHOLE + b"zz\r\n", 400),
        ((CHUNKED,), b"0\r\n\r\n" + ASKED, 422),
        ((CHUNKED, f"Content-Length: {len(ASKED)}"), WHOLE + b"0\r\n\r\n", 400),
        ((f"Content-Length: {4 * 1024 * 1024 + 1}",), ASKED, 413),
    ],
    ids=[
        "whole", "too short", "too long", "none", "not said", "chunks", "a chunk a byte",
        "trailer", "no end", "cut short", "no size", "behind the end", "two lengths", "too large",
    ],
)  # fmt: skip
def test_a_bulk_is_asked_for_by_its_whole_body_alone(
    server: Server, headers: tuple[str, ...], body: bytes, expected: int
) -> None:
    lines = ["POST /v1/bulk HTTP/1.1", "Host: x", f"X-API-KEY: {server.key}", "Connection: close"]
    head = "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n"
    answer = b"".join(server.answer(head + body, end=True, timeout_s=30))
    assert status(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == 1
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["data"][0]["status_code"] == 200 if expected == 200 else told["message"]


# requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        Random(2).randbytes(2000),
        b"POST " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n",
        b"POST / HTTP/1.1\r\nX-A: " + b"b" * 200_000 + b"\r\n\r\n",
        b"POST /webhooks/segment/%00%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /webhooks/%2e%2e/%2e%2e HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST //evil.example/webhooks HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /webhooks/segment/\xc3\x28 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/interactions?api_key=%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/products/%00 HTTP/1.1\r\nHost: x\r\nX-API-KEY: \xff\xfe\r\n\r\n",
    ],
    ids=lambda raw: ascii(raw[:40]),
)
def test_a_request_that_is_none_is_refused(server: Server, raw: bytes) -> None:
    assert server.says(raw) in (0, 400, 401, 404, 405, 414, 431, 505)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"nothing\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 500 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX A: <script>\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: br\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: gold\r\n\r\na", 417),
    ],
    ids=["line", "version", "address", "headers", "name", "coding", "expectation"],
)
def test_what_no_parser_reads_is_told_in_our_form(
    server: Server, raw: bytes, expected: int
) -> None:
    answer = b"".join(server.answer(raw, end=True, timeout_s=30))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == expected
    assert b"\r\nX-Request-Id: " in head and b"\r\nContent-Type: application/json" in head
    told = json.loads(body)
    assert told["message"] and told["problems"] == [] and "<script>" not in told["message"]


@pytest.mark.parametrize(
    "signature", [b"\xff" * 40, "é".encode() * 20, b"\x01\x02", b"a" * 7000, b"", b"\xb2" * 40]
)
def test_a_signature_of_any_bytes_is_refused(server: Server, signature: bytes) -> None:
    head = server.head(f"Content-Length: {len(BODY)}")
    at = head.index(b"X-Signature: ") + len(b"X-Signature: ")
    changed = head[:at] + signature + head[head.index(b"\r\n", at) :]
    assert server.says(changed + BODY) in (400, 401)


# senders that drip ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["SCRIPT_NAME: /healthz", "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off"],
    ids=["path", "scheme"],
)
def test_no_header_says_where_a_request_goes(server: Server, header: str) -> None:
    asked = f"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n"
    assert server.says(asked.encode()) == 200


@pytest.mark.parametrize("expected", ["foo", "100-continue, foo"])
def test_nothing_is_asked_for_that_is_refused_then(server: Server, expected: str) -> None:
    asked = server.head(f"Expect: {expected}", f"Content-Length: {len(BODY)}")
    assert server.says(asked, end=False) == 417


@pytest.mark.parametrize("length", ["9" * 16, "9" * 30])
def test_more_endless_lengths_than_threads_hold_nobody_up(server: Server, length: str) -> None:
    asked = f"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
    with contextlib.ExitStack() as held:
        for _ in range(4 * THREADS):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=LATE_S)
            held.enter_context(connection).sendall(asked)
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert server.is_well()


@pytest.mark.parametrize("size", ["zz", "-5", "+5", "0x5", " 5", "5\r\nabcdeXX0", "5" * 300])
def test_chunks_that_are_none_are_answered_once(server: Server, size: str) -> None:
    head = "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = f"{head}{size}\r\nabcde\r\n0\r\n\r\n".encode()
    answer = b"".join(server.answer(raw, end=True, timeout_s=10))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == 400


@pytest.mark.heavy
def test_more_dripping_senders_than_threads_are_cut_and_the_server_lives(server: Server) -> None:
    """A byte every second for ever would hold every thread; each gets 408 at the deadline."""
    head = server.head(f"Content-Length: {len(BODY)}")
    with ThreadPoolExecutor(THREADS * 2) as threads:
        statuses = list(threads.map(lambda _: dripped(server, head), range(THREADS * 2)))
    assert set(statuses) == {408}


def dripped(server: Server, head: bytes) -> int:
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        connection.sendall(head)
        for _ in range(LATE_S * 4):
            with contextlib.suppress(TimeoutError):
                if received := connection.recv(65536):
                    return status(received)
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(b" ")
    return 0


@pytest.mark.heavy
def test_a_sender_that_stays_silent_is_408_at_the_deadline(server: Server) -> None:
    head = server.head(f"Content-Length: {len(BODY)}")
    assert server.says(head + BODY[:9], end=False, timeout_s=LATE_S * 2) == 408


@pytest.mark.heavy
def test_a_route_of_v1_cuts_a_silent_sender_too(server: Server) -> None:
    head = (
        f"POST /v1/interactions HTTP/1.1\r\nHost: x\r\nX-API-KEY: {server.key}\r\n"
        "Content-Length: 99\r\n\r\n"
    )
    assert server.says(head.encode() + b"{", end=False, timeout_s=LATE_S * 2) == 408


@pytest.mark.heavy
def test_headers_that_never_end_hold_nobody_up(server: Server) -> None:
    """Connections that send half a header occupy no thread for good."""
    with contextlib.ExitStack() as held:
        for _ in range(THREADS * 3):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            held.enter_context(connection).sendall(b"POST /v1/interactions HTTP/1.1\r\nX-A: ")
        until(server.is_well, LATE_S * 3, what="an answer beside open headers")


def test_an_accepted_delivery_is_accepted_still(server: Server) -> None:
    """So that the refusals above are no property of the head we send: unsigned bytes differ."""
    body = json.dumps({"type": "nonsense"}).encode()
    head = server.head(f"Content-Length: {len(body)}", body=body)
    before = server.deliveries()
    assert server.says(head + body) == 200
    with psycopg.connect(server.database_url) as connection:
        connection.execute("delete from delivery_problems")
        connection.execute("delete from deliveries")
    assert before == server.deliveries() == 0
