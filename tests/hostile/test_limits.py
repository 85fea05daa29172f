"""One key's limit over several web processes, as a crowd of its visitors meets it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from gateway import access, sealing
from schemas import database
from tests.conftest import SECRET_KEY, _alone
from tests.hostile.test_server import own_database, web
from tests.journeys.gateway_process import until

PROCESSES, CROWD = 3, 120
LIMIT = 10


@dataclass(frozen=True)
class Address:
    """Where a route is, with a key of that limit and one without."""

    port: int
    url: str
    limited: str
    free: str

    def ask(self, key: str) -> httpx.Response:
        """On a connection of its own, so that any process may get it."""
        headers = {"X-API-KEY": key}
        return httpx.get(self.url, headers=headers, timeout=20, trust_env=False)


@pytest.fixture(scope="module")
def address(
    servers: dict[str, str], template_url: str, redis_url: str, worker_name: str
) -> Iterator[Address]:
    with _alone(servers):
        url = own_database(template_url, f"limits_{worker_name}")
    sealing.unlock(SECRET_KEY)
    with contextlib.closing(database.connect(url)) as connection:
        free = access.create_site(connection, "shop")["secret_key"]
        site = access.site(connection, "shop")
        limited = access.create_key(connection, site, "secret", requests_per_second=LIMIT)
    with web(url, redis_url, PROCESSES) as port:
        yield Address(port, f"http://127.0.0.1:{port}/admin/v1/ledger?minutes=0", limited, free)


def test_a_limit_is_shared_by_all_processes(address: Address) -> None:
    began = int(time.time())
    with ThreadPoolExecutor(12) as crowd:
        answers = list(crowd.map(lambda _: address.ask(address.limited), range(CROWD)))
    seconds = int(time.time()) - began + 1
    let_in = sum(answer.status_code == 200 for answer in answers)
    assert {answer.status_code for answer in answers} == {200, 429}
    assert LIMIT <= let_in <= LIMIT * seconds

    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"] == "1"
    assert refused.headers["RateLimit-Remaining"] == "0"
    for answer in answers:
        assert answer.headers["RateLimit-Limit"] == str(LIMIT)


def test_who_waits_as_told_is_let_in_again(address: Address) -> None:
    while (answer := address.ask(address.limited)).status_code != 429:
        pass
    until(lambda: address.ask(address.limited).status_code == 200, 5, what="the next second")
    assert answer.json()["message"].startswith(f"more than {LIMIT} requests a second")


def test_another_key_of_the_site_is_as_fast_as_before(address: Address) -> None:
    with ThreadPoolExecutor(12) as crowd:
        answers = list(crowd.map(lambda _: address.ask(address.free), range(60)))
    assert {answer.status_code for answer in answers} == {200}


def test_a_key_that_never_pauses_is_refused_as_often_as_it_asks(address: Address) -> None:
    """Thousands of requests in one breath on one connection, each of them answered."""
    path = httpx.URL(address.url).raw_path.decode()
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {address.limited}\r\n\r\n".encode()
    count = 3000
    with socket.create_connection(("127.0.0.1", httpx.URL(address.url).port or 0)) as connection:
        connection.settimeout(20)
        sender = threading.Thread(target=connection.sendall, args=(asked * count,))
        sender.start()
        answered, rest = 0, b""
        while answered < count and (piece := connection.recv(65536)):
            *lines, rest = (rest + piece).split(b"\r\n")
            answered += sum(line.startswith(b"HTTP/1.1 ") for line in lines)
            answered += sum(b"}HTTP/1.1 " in line for line in lines)
        sender.join()
    assert answered == count
    assert address.ask(address.free).status_code == 200


# answered by the loop, before any thread ----------------------------------------------------------

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def beyond_the_limit(address: Address, *lines: str, body: bytes = b"") -> bytes:
    """All that comes back to these lines and bytes, sent when the key is used up; waits for 429."""
    raw = "\r\n".join([*lines, "Host: x", f"X-API-KEY: {address.limited}", "", ""]).encode() + body
    answers: list[bytes] = []

    def is_refused() -> bool:
        with ThreadPoolExecutor(12) as crowd:
            list(crowd.map(lambda _: address.ask(address.limited), range(3 * LIMIT)))
        with socket.create_connection(("127.0.0.1", address.port), timeout=5) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answers.append(b"".join(iter(lambda: connection.recv(65536), b"")))
        return b" 429 " in answers[-1][:16]

    until(is_refused, 20, what="a refusal")
    return answers[-1]


def test_a_refused_head_has_no_body(address: Address) -> None:
    answer = beyond_the_limit(address, "HEAD /admin/v1/ledger HTTP/1.1", body=HEALTH)
    _, _, after = answer.partition(b"\r\n\r\n")
    assert after.startswith(b"HTTP/1.1 200")


def test_what_is_never_limited_is_not_with_a_used_up_key(address: Address) -> None:
    after = beyond_the_limit(
        address,
        "GET /admin/v1/ledger HTTP/1.1",
        body=f"OPTIONS /v1/products?api_key={address.limited} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        + f"GET /healthz?api_key={address.limited} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        + f"POST /webhooks/segment/none?api_key={address.limited} HTTP/1.1\r\nHost: x\r\n".encode()
        + b"Content-Length: 2\r\n\r\n{}",
    )
    found = [int(line.split()[0]) for line in after.split(b"HTTP/1.1 ")[1:]]
    assert found == [429, 204, 200, 404]


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 36", "Content-Length: 36"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip",),
    ],
    ids=["two lengths", "length and chunks", "gzip"],
)
def test_no_body_is_taken_for_a_request(address: Address, headers: tuple[str, ...]) -> None:
    """Whether it is refused by the limit or by the parser."""
    asked = "\r\n".join(
        ["POST /v1/search/search HTTP/1.1", "Host: x", f"X-API-KEY: {address.limited}", *headers]
    )
    for _ in range(3 * LIMIT):
        with socket.create_connection(("127.0.0.1", address.port), timeout=5) as connection:
            connection.sendall(asked.encode() + b"\r\n\r\n" + HEALTH)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in answer
