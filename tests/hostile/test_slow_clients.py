"""Peers that send or read as slowly as they can, against the real server: they cost a socket, and
never a thread that others wait for."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.hostile.test_server import BODY, THREADS, Server, server, status
from tests.journeys.gateway_process import until

__all__ = ["server"]

MANY = THREADS * 5
PATIENCE_S = 3.0  # far below every deadline for slow peers: who waits for one of them fails


@contextlib.contextmanager
def connected(server: Server, count: int, first: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent this."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            one.settimeout(PATIENCE_S)
            one.sendall(first)
            found.append(one)
        yield found


def answers_at_once(server: Server) -> bool:
    url = f"http://127.0.0.1:{server.port}/healthz"
    return httpx.get(url, timeout=PATIENCE_S, trust_env=False).status_code == 200


def upload(server: Server, *headers: str) -> bytes:
    lines = ["POST /v1/interactions HTTP/1.1", "Host: x", f"X-API-KEY: {server.key}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


SLOW = {
    "silent": lambda server: b"",
    "half a header": lambda server: b"POST /v1/interactions HTTP/1.1\r\nX-A: ",
    "no body": lambda server: upload(server, "Content-Length: 5000"),
    "half a body": lambda server: upload(server, "Content-Length: 5000") + b'{"data": [',
    "half a chunk": lambda server: upload(server, "Transfer-Encoding: chunked") + b"99\r\n{",
    "a chunk of many words": lambda server: (
        upload(server, "Transfer-Encoding: chunked") + b"5;" + b"a" * 300 + b'\r\n{"d'
    ),
    "a chunk of many zeros": lambda server: (
        upload(server, "Transfer-Encoding: chunked") + b"0" * 40 + b'5\r\n{"d'
    ),
    "a body that waits to be asked for": lambda server: upload(
        server, "Content-Length: 5000", "Expect: 100-continue"
    ),
    "an ended request and half of another": lambda server: (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHos"
    ),
    "an answer to close after": lambda server: (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ),
    "a body nobody reads": lambda server: (
        b"POST /v1/products HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n{"
    ),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
def test_many_slow_senders_keep_nobody_waiting(server: Server, slow: object) -> None:
    with connected(server, MANY, slow(server)):  # type: ignore[operator]
        for _ in range(5):
            assert answers_at_once(server)


@pytest.mark.parametrize("path", ["/openapi.json", "/demo/page.js", "/docs"])
def test_many_slow_readers_keep_nobody_waiting(server: Server, path: str) -> None:
    """Each asks for more than its socket takes, several times, and reads nothing of it."""
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 20
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            reader.connect(("127.0.0.1", server.port))
            reader.sendall(asked)
        for _ in range(5):
            assert answers_at_once(server)


def test_a_slow_reader_gets_the_whole_answer_in_the_end(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    whole = httpx.get(url, trust_env=False).content
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reader.connect(("127.0.0.1", server.port))
        reader.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        reader.settimeout(PATIENCE_S)
        received = b""
        while piece := reader.recv(4096):
            received += piece
    assert received.partition(b"\r\n\r\n")[2] == whole


def test_requests_sent_together_are_answered_in_their_order(server: Server) -> None:
    paths = ["/healthz", "/nope", "/openapi.json", "/healthz", "/demo/page.js", "/nope"]
    sent = b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths)
    with connected(server, 1, sent) as [connection]:
        found = []
        stream = connection.makefile("rb")
        for _ in paths:
            found.append(int(stream.readline().split()[1]))
            length = 0
            while line := stream.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            stream.read(length)
    assert found == [200, 404, 200, 200, 200, 404]


def test_who_asks_whether_to_go_on_is_told_and_answered(server: Server) -> None:
    body = b'{"data": [{"type": "search", "search": {"keywords": "mug"}, "anonymous_id": "a"}]}'
    head = upload(server, f"Content-Length: {len(body)}", "Expect: 100-continue")
    path = b"/v1/interactions?dry_run=1"
    with connected(server, 1, head.replace(b"/v1/interactions", path)) as [connection]:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert status(connection.recv(65536)) == 200


def test_nobody_is_asked_to_go_on_with_what_is_too_large(server: Server) -> None:
    head = upload(server, "Content-Length: 99000000", "Expect: 100-continue")
    with connected(server, 1, head) as [connection]:
        connection.settimeout(20)
        received = connection.recv(65536)
        if received.startswith(b"HTTP/1.1 100"):
            received = received.partition(b"\r\n\r\n")[2] or connection.recv(65536)
        assert status(received) == 413


def test_another_expectation_is_417(server: Server) -> None:
    assert server.says(upload(server, "Content-Length: 2", "Expect: miracles") + b"{}") == 417


def test_chunks_of_every_cut_make_one_body(server: Server) -> None:
    """One byte a chunk, in two pieces each: what arrives is what was sent."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\nX-Trailer: y\r\n\r\n"
    raw = server.head("Transfer-Encoding: chunked").replace(b"webhooks/segment/", b"webhooks/no/")
    with connected(server, 1, raw) as [connection]:
        for at in range(0, len(chunks), 7):
            connection.sendall(chunks[at : at + 7])
        assert status(connection.recv(65536)) == 404


@pytest.mark.heavy
def test_chunks_without_end_are_cut_at_the_limit(server: Server) -> None:
    """20 MB at `/v1`, whatever follows."""
    with connected(server, 1, upload(server, "Transfer-Encoding: chunked")) as [connection]:
        connection.settimeout(20)
        received = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        with contextlib.suppress(ConnectionError):
            received = connection.recv(65536)
    assert status(received) in (0, 413)
    assert answers_at_once(server)


@pytest.mark.heavy
@pytest.mark.parametrize("begin", ["headers", "body"])
def test_a_slow_sender_is_told_so_at_its_deadline(server: Server, begin: str) -> None:
    first = b"POST / HTTP/1.1\r\nX-" if begin == "headers" else upload(server, "Content-Length: 9")
    with connected(server, 1, first) as [connection]:
        connection.settimeout(20)
        answer = connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == 408 and b"Connection: close" in head
    assert begin in json.loads(body)["message"]


def test_more_connections_than_a_process_holds_make_room_for_those_that_ask(
    server: Server,
) -> None:
    with connected(server, 1100, b"GET /"):
        until(lambda: answers_at_once(server), 5, what="an answer beside 1,100 open connections")


@pytest.mark.heavy
@pytest.mark.parametrize(
    "mode",
    [
        ["-H", "-i", "1", "-x", "24", "-u", "{url}/v1/products"],
        ["-B", "-i", "1", "-s", "8192", "-x", "10", "-t", "POST", "-u", "{url}{keyed}"],
        ["-R", "-a", "10", "-b", "600", "-t", "HEAD", "-u", "{url}/demo/page.js"],
        ["-X", "-w", "1", "-y", "1", "-n", "5", "-z", "32", "-k", "3", "-u", "{url}/openapi.json"],
    ],
    ids=["headers", "bodies", "ranges", "reads"],
)
def test_slowhttptest_keeps_nobody_waiting(server: Server, mode: list[str]) -> None:
    if shutil.which("slowhttptest") is None:
        pytest.skip("there is no slowhttptest: install Debian's")
    url, keyed = f"http://127.0.0.1:{server.port}", f"/v1/interactions?api_key={server.key}"
    words = [word.format(url=url, keyed=keyed) for word in mode]
    command = ["slowhttptest", *words, "-c", "500", "-r", "500", "-l", "8", "-p", str(PATIENCE_S)]
    attacker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asked = 0
        while attacker.poll() is None and asked < 400:
            assert answers_at_once(server)
            asked += 1
    finally:
        attacker.terminate()
        attacker.wait()
    assert asked > 5
