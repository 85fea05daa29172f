"""The one way out: an HTTP GET of an address that somebody typed in.

Whoever types it must not reach what only this machine reaches (SSRF). So a host is resolved here
and nowhere else, each of its addresses is judged, and the connection goes to the very address that
was judged, whatever its name resolves to a moment later; TLS and `Host` still know the name.
"""

from __future__ import annotations

import contextlib
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, BinaryIO
from urllib.parse import urljoin

import httpcore
import httpx

from schemas.errors import AttuneError

CONNECT_S = 10.0
READ_S = 30.0
REDIRECTS = 5
LONGEST_URL = 2048
PIECE_BYTES = 64 * 1024
PORTS = {"http": 80, "https": 443}
REDIRECT_STATUS = frozenset((301, 302, 303, 307, 308))

Resolve = Callable[[str, int], list[str]]


class OutgoingError(AttuneError):
    """An address could not be fetched."""


class Forbidden(OutgoingError):
    """The address is none that we fetch from."""


class Unreachable(OutgoingError):
    """Nobody answered, or the answer broke off."""


class TooLarge(OutgoingError):
    """The answer is longer than we take."""


class TooSlow(OutgoingError):
    """The whole answer did not come in time."""


# addresses --------------------------------------------------------------------------------------

# Never, whatever is allowed: nobody keeps a feed there, and clouds keep their credentials there.
# https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 twin.
NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::/32", "fd20:ce::254/128",
    )
)  # fmt: skip
PRIVATE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
        "198.18.0.0/15", "::1/128", "fc00::/7",
    )
)  # fmt: skip
GLOBAL = IPv6Network("2000::/3")  # of IPv6 nothing else is routed between networks
GLOBAL_BUT = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))
NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


def refusal(text: str, *, allow_private: bool = False) -> str | None:
    """Why an address is none to connect to; None where it is."""
    address = _inner(ip_address(text.partition("%")[0]))
    if any(address in network for network in NEVER):
        return f"{text} is reserved, link-local, multicast or a cloud's own"
    if any(address in network for network in PRIVATE):
        opening = (
            "FEED_ALLOW_PRIVATE=1 opens private networks, for the gateway and in each shell "
            "that makes or pulls feeds"
        )
        return None if allow_private else f"{text} is private ({opening})"
    if isinstance(address, IPv4Address):
        return None
    if address not in GLOBAL or any(address in network for network in GLOBAL_BUT):
        return f"{text} is no public address"
    return None


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one is translated to, by whatever stands on the way."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if address in NAT64:
        inner = IPv4Address(address.packed[-4:])
    return inner or address


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, by the system's resolver; raises Unreachable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable(f"the host {host} has no address: check its name") from None
    return list(dict.fromkeys(str(row[4][0]) for row in found))


# what is asked for -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """What one fetch may do; `limit_bytes` counts what is written, after decompression."""

    limit_bytes: int = 1 << 30
    deadline_s: float = 600.0
    allow_private: bool = False
    resolve: Resolve = resolve
    read_s: float = READ_S


@dataclass(frozen=True)
class Answer:
    """The last answer, header names in lower case. `is_whole` is False where only the end of the
    connection marked the end of the body, so that it may have been cut."""

    status: int
    url: str
    headers: Mapping[str, str]
    size: int = 0
    is_whole: bool = True


def check(url: str, rules: Rules | None = None) -> None:
    """Raise Forbidden or Unreachable where `get` would refuse to begin; connects to nothing."""
    rules = rules or Rules()
    target = _parsed(url)
    _addresses(target.host.decode(), target.port or 0, rules)


def get(
    url: str,
    into: BinaryIO,
    *,
    headers: Mapping[str, str] | None = None,
    rules: Rules | None = None,
) -> Answer:
    """Fetch an address into a file, following redirects on the same host.

    Only a body of status 200 is written, without its content encoding. Raises OutgoingError; what
    was written until then is worth nothing.
    """
    rules = rules or Rules()
    deadline = time.monotonic() + rules.deadline_s
    backend = _Guarded(rules, deadline)
    for _ in range(REDIRECTS + 1):
        answer = _one(url, into, headers or {}, rules, backend)
        if answer.status not in REDIRECT_STATUS or "location" not in answer.headers:
            return answer
        url = _next(url, answer.headers["location"])
    raise Forbidden(
        f"{shown(url)} redirects more than {REDIRECTS} times: give the last address itself"
    )


def shown(url: str) -> str:
    """An address without what may be a secret in it."""
    address, query, _ = url.partition("?")
    return f"{address[:200]}?…" if query else address[:200]


def _parsed(url: str) -> httpcore.URL:
    """The one reading of a URL that both the judging and the connecting use."""
    if len(url) > LONGEST_URL:
        raise Forbidden(f"the URL is longer than {LONGEST_URL} characters")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host
    except (httpx.InvalidURL, ValueError, UnicodeError) as error:
        raise Forbidden(f"{shown(url)!r} is no URL: {error}") from None
    if parsed.scheme not in PORTS or not host:
        raise Forbidden(f"{shown(url)!r} cannot be fetched: it must begin with https:// or http://")
    if not 0 < (parsed.port or PORTS[parsed.scheme]) < 65536:
        raise Forbidden(f"{shown(url)!r} has a port that there is not")
    if parsed.userinfo:
        raise Forbidden("the URL holds a user name: give --username and --password instead")
    return httpcore.URL(
        scheme=parsed.scheme.encode(),
        host=host,
        port=parsed.port or PORTS[parsed.scheme],
        target=parsed.raw_path,
    )


def _next(url: str, location: str) -> str:
    """Where a redirect leads: to the same host and port, or from http to https on it."""
    try:
        there = urljoin(url, location)
    except ValueError:
        raise Forbidden(f"{shown(url)} redirects to what is no URL") from None
    before, after = _parsed(url), _parsed(there)
    same = (before.scheme, before.host, before.port) == (after.scheme, after.host, after.port)
    secured = (before.scheme, before.port, after.scheme, after.port) == (b"http", 80, b"https", 443)
    if not same and not (secured and before.host == after.host):
        raise Forbidden(
            f"{shown(url)} redirects to {shown(there)}: if that is right, give it as the URL"
        )
    return there


def _addresses(host: str, port: int, rules: Rules) -> list[str]:
    """The addresses of a host, of which none may be forbidden."""
    found = rules.resolve(host.strip("[]"), port)
    for address in found:
        reason = refusal(address, allow_private=rules.allow_private)
        if reason:
            raise Forbidden(_not_fetched(host.strip("[]"), port, address, reason))
    if not found:
        raise Unreachable(f"the host {host} has no address: check its name")
    return found


def _not_fetched(host: str, port: int, address: str, reason: str) -> str:
    """The sentence, which names a host once that is an address itself."""
    whole = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if host == address:
        return f"{whole} is not fetched from: it{reason.removeprefix(address)}"
    return f"{whole} is not fetched from: {reason}"


# the connection ----------------------------------------------------------------------------------


@dataclass
class _Guarded(httpcore.NetworkBackend):
    """Connects to the address that was judged; every wait ends with the deadline."""

    rules: Rules
    deadline: float
    _sockets: httpcore.SyncBackend = field(default_factory=httpcore.SyncBackend)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port, self.rules)
        for position, address in enumerate(addresses):
            try:
                wait = left(self.deadline, timeout)
                return _Stream(self._sockets.connect_tcp(address, port, wait), self.deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(addresses) - 1:
                    raise
        raise AssertionError("unreachable")

    def connect_unix_socket(self, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        raise Forbidden("sockets of this machine are not fetched from")


@dataclass
class _Stream(httpcore.NetworkStream):
    inner: httpcore.NetworkStream
    deadline: float

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, left(self.deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, left(self.deadline, timeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        wait = left(self.deadline, timeout)
        return _Stream(self.inner.start_tls(ssl_context, server_hostname, wait), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


def left(deadline: float, timeout: float | None) -> float:
    """How long to wait at most; raises TooSlow where the time is up."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TooSlow("the answer took too long: the whole of it did not come in time")
    return min(remaining, timeout) if timeout is not None else remaining


def _one(
    url: str, into: BinaryIO, headers: Mapping[str, str], rules: Rules, backend: _Guarded
) -> Answer:
    """One request on a connection of its own."""
    timeouts = {"connect": CONNECT_S, "read": rules.read_s, "write": rules.read_s, "pool": 1.0}
    sent = {"Accept-Encoding": "gzip", "User-Agent": "Attune", "Accept": "*/*", **headers}
    target = _parsed(url)
    with (
        _sentences(target),
        httpcore.ConnectionPool(httpx.create_ssl_context(), network_backend=backend) as pool,
        pool.stream(
            "GET",
            target,
            headers=[("Host", _host(target)), *sent.items()],
            extensions={"timeout": timeouts},
        ) as response,
    ):
        told = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        size = 0
        if response.status == 200:
            pieces = _decoded(response.iter_stream(), told.get("content-encoding", ""))
            size = _write(pieces, into, rules.limit_bytes)
        is_whole = "content-length" in told or "transfer-encoding" in told
        return Answer(response.status, url, told, size, is_whole)


def _host(target: httpcore.URL) -> str:
    host, scheme = target.host.decode(), target.scheme.decode()
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return host if target.port == PORTS[scheme] else f"{host}:{target.port}"


@contextlib.contextmanager
def _sentences(target: httpcore.URL) -> Iterator[None]:
    """What goes wrong on the wire as a sentence."""
    host = target.host.decode()
    try:
        yield
    except httpcore.TimeoutException:
        raise TooSlow(f"{host} did not answer in time") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"{host} could not be fetched from: {reason}") from None
    except zlib.error as error:
        raise Unreachable(f"the answer of {host} is not the gzip it says it is: {error}") from None


def _write(pieces: Iterable[bytes], into: BinaryIO, limit: int) -> int:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise TooLarge(f"the answer is larger than {limit / (1 << 20):g} MiB")
        into.write(piece)
    return size


def _decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The body without its content encoding, in pieces of bounded size."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        yield from pieces
    elif name in ("gzip", "x-gzip"):
        yield from unzipped(pieces)
    else:
        raise Unreachable(f"the answer is encoded as {name[:40]!r}, which was not asked for")


def unzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip members hold, never more than a piece at a time; raises zlib.error."""
    member = zlib.decompressobj(31)
    for waiting in pieces:
        while waiting:
            if member.eof:
                member = zlib.decompressobj(31)
            yield member.decompress(waiting, PIECE_BYTES)
            waiting = member.unconsumed_tail or member.unused_data
    while piece := member.decompress(member.unconsumed_tail, PIECE_BYTES):
        yield piece
    if not member.eof:
        raise zlib.error("it ends in the middle")
