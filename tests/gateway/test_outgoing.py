"""The way out reaches nothing but what anybody on the internet reaches."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway import outgoing
from gateway.outgoing import Forbidden, OutgoingError, Rules, TooLarge, TooSlow, Unreachable
from tests.gateway.feed_server import Server, serving

INSIDE = Rules(allow_private=True)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def fetched(url: str, rules: Rules = INSIDE, **headers: str) -> bytes:
    into = io.BytesIO()
    answer = outgoing.get(url, into, headers=headers, rules=rules)
    assert answer.status == 200
    return into.getvalue()


# whom it connects to -----------------------------------------------------------------------------

NEVER = [
    "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
    "::", "fe80::1", "fe80::1%eth0", "ff02::1", "fec0::1", "fd00:ec2::254", "fd20:ce::254",
    "2001:db8::1", "2001::1", "3fff::1", "5f00::1", "100::1", "::7f00:1", "::ffff:0:7f00:1",
    "64:ff9b:1::7f00:1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "198.18.0.1", "::1", "fd12:3456::1", "fc00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111",
    "::ffff:8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_fetched_from(address: str) -> None:
    assert outgoing.refusal(address)
    assert outgoing.refusal(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_only_where_they_are_allowed(address: str) -> None:
    assert outgoing.refusal(address)
    assert outgoing.refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones_are(address: str) -> None:
    assert outgoing.refusal(address) is None


URLS = [
    "http://127.0.0.1/", "http://localhost/", "http://LOCALHOST./", "http://2130706433/",
    "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://017700000001/",
    "http://127.1/", "http://127.0.1/", "http://0/", "http://0.0.0.0/", "http://[::]/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/", "http://127。0。0。1/", "http://①②⑦.⓪.⓪.①/",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://2852039166/",
    "http://[::ffff:a9fe:a9fe]/", "http://127.0.0.1:0/", "http://127.0.0.1:65536/",
    "http://shop.example@127.0.0.1/", "http://user:pass@8.8.8.8/", "http://8.8.8.8\\@127.0.0.1/",
    "http://127.0.0.1\\.shop.example/", "http://127.0.0.1%2f@shop.example/",
    "http:/127.0.0.1/", "http:///127.0.0.1/", "http:127.0.0.1", "//127.0.0.1/", "127.0.0.1", "",
    "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "dict://127.0.0.1/",
    "jar:http://127.0.0.1!/", "data:text/csv,id", "javascript:1", "ws://127.0.0.1/",
    "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "http://127.0.0.1\r\nX-Injected: 1/", "http://\t127.0.0.1/", "http://127.0.0.1\0.shop.example/",
    "http://[::1", "http://[]/", "http://.../", "http://a..b/", "https://",
    "http://" + "a" * 3000 + "/",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS, ids=lambda url: ascii(url[:40]))
def test_no_spelling_of_an_inner_address_is_fetched(url: str) -> None:
    with pytest.raises(OutgoingError):
        outgoing.check(url)
    with pytest.raises(OutgoingError):
        outgoing.get(url, io.BytesIO())


def test_a_name_is_judged_by_every_address_it_has() -> None:
    rules = Rules(resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(Forbidden, match="private"):
        outgoing.check("http://shop.example/", rules)


def test_what_was_judged_is_what_is_connected_to(server: Server) -> None:
    """DNS rebinding: the name leads elsewhere at the second question, which nobody asks."""
    server.put("/feed", b"inside")
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    rules = Rules(allow_private=True, resolve=lambda host, port: next(answers))
    assert fetched(f"http://shop.example:{server.port}/feed", rules) == b"inside"
    assert server.asked[0][1]["Host"] == f"shop.example:{server.port}"


def test_a_name_that_turned_inside_since_it_was_checked_is_refused(server: Server) -> None:
    server.put("/feed", b"inside")
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    rules = Rules(resolve=lambda host, port: next(answers))
    url = f"http://shop.example:{server.port}/feed"
    outgoing.check(url, rules)
    with pytest.raises(Forbidden, match="private"):
        outgoing.get(url, io.BytesIO(), rules=rules)
    assert server.asked == []


def test_another_address_of_a_name_is_tried_where_the_first_is_deaf(server: Server) -> None:
    server.put("/feed", b"there")
    rules = Rules(allow_private=True, resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert fetched(f"http://shop.example:{server.port}/feed", rules) == b"there"


def test_proxies_of_the_environment_are_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetched(server.put("/feed", b"there")) == b"there"


# redirects --------------------------------------------------------------------------------------


def test_a_redirect_on_the_same_host_is_followed(server: Server) -> None:
    server.put("/now", b"there")
    assert fetched(server.redirect("/was", "/now")) == b"there"
    assert fetched(server.redirect("/was", f"{server.url}/now", 308)) == b"there"


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:{port}/now",
        "http://127.0.0.1:1/now",
        "//shop.example/now",
        "http://user:secret@127.0.0.1:{port}/now",
        "https://127.0.0.1:{port}/now",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://127.0.0.1:{port}@shop.example/now",
        "http://[::1",
        "\\\\shop.example\\now",
    ],
)
def test_a_redirect_anywhere_else_is_not(server: Server, to: str) -> None:
    server.put("/now", b"there")
    url = server.redirect("/was", to.format(port=server.port))
    into = io.BytesIO()
    try:
        answer = outgoing.get(url, into, rules=INSIDE, headers={"Authorization": "s"})
    except OutgoingError:
        pass
    else:
        assert answer.status == 404  # a path of the same host after all
    assert into.getvalue() == b""
    assert all(path != "/now" for path, _ in server.asked)


def test_a_redirect_is_judged_anew(server: Server) -> None:
    """The name has turned inside between the two requests."""
    server.redirect("/was", "/now")
    server.put("/now", b"inside")
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    rules = Rules(allow_private=True, resolve=lambda host, port: next(answers))
    with pytest.raises(Forbidden, match=r"169\.254"):
        outgoing.get(f"http://shop.example:{server.port}/was", io.BytesIO(), rules=rules)


def test_redirects_without_end_end(server: Server) -> None:
    with pytest.raises(Forbidden, match="more than 5 times"):
        fetched(server.redirect("/round", "/round"))
    assert len(server.asked) == 6


# bodies -----------------------------------------------------------------------------------------


def test_a_body_is_unpacked_and_counted(server: Server) -> None:
    url = server.put("/feed", b"there" * 1000, zipped=True)
    assert fetched(url) == b"there" * 1000


def test_the_limit_counts_what_is_unpacked(server: Server) -> None:
    bomb = server.put("/bomb", b"\0" * 50_000_000, zipped=True)
    into = io.BytesIO()
    with pytest.raises(TooLarge, match="larger than 1 MiB"):
        outgoing.get(bomb, into, rules=Rules(1 << 20, allow_private=True))
    assert len(into.getvalue()) <= 1 << 20


def test_a_bomb_is_unpacked_in_small_pieces() -> None:
    bomb = gzip.compress(b"\0" * 30_000_000)
    sizes = [len(piece) for piece in outgoing.unzipped([bomb])]
    assert sum(sizes) == 30_000_000
    assert max(sizes) <= outgoing.PIECE_BYTES


def test_several_members_are_one_body_and_a_cut_one_is_none() -> None:
    body = gzip.compress(b"a" * 100_000) + gzip.compress(b"b")
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    assert b"".join(outgoing.unzipped(pieces)) == b"a" * 100_000 + b"b"
    with pytest.raises(Exception, match="ends in the middle"):
        list(outgoing.unzipped([body[:-9]]))


@pytest.mark.parametrize("how", [{"cut_at": 3}, {"cut_at": 60, "zipped": True}])
def test_a_body_that_breaks_off_is_no_answer(server: Server, how: dict[str, Any]) -> None:
    url = server.put("/feed", bytes(range(256)) * 4, **how)
    with pytest.raises(Unreachable):
        fetched(url)


def test_a_body_of_untold_length_is_marked(server: Server) -> None:
    url = server.put("/feed", b"there", unframed=True)
    assert not outgoing.get(url, io.BytesIO(), rules=INSIDE).is_whole
    url = server.put("/feed", b"there")
    assert outgoing.get(url, io.BytesIO(), rules=INSIDE).is_whole


def test_an_encoding_nobody_asked_for_is_refused(server: Server) -> None:
    url = server.put("/feed", b"there", headers={"Content-Encoding": "br"})
    with pytest.raises(Unreachable, match="not asked for"):
        fetched(url)


def test_a_body_that_never_ends_is_left_at_the_deadline(server: Server) -> None:
    url = server.put("/feed", b"x" * 5000, dripping_s=0.05)
    with pytest.raises(TooSlow):
        fetched(url, Rules(allow_private=True, deadline_s=0.3))


def test_nobody_waits_for_a_silent_server(server: Server) -> None:
    server.held = threading.Event()
    url = server.put("/feed", b"there")
    with pytest.raises(TooSlow, match="did not answer"):
        fetched(url, Rules(allow_private=True, read_s=0.2))
    server.held.set()


def test_a_port_where_nobody_listens_is_a_sentence() -> None:
    with pytest.raises(Unreachable, match="could not be fetched"):
        fetched("http://127.0.0.1:1/")


# TLS --------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> Path:
    """Key and certificate of a server of that name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path


def test_a_certificate_is_checked_by_name_although_the_address_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path, "shop.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    rules = Rules(allow_private=True, resolve=lambda host, port: ["127.0.0.1"])
    with serving(path) as server:
        server.put("/feed", b"there")
        assert fetched(f"https://shop.example:{server.port}/feed", rules) == b"there"
        for other in ("other.example", "127.0.0.1"):
            with pytest.raises(Unreachable, match="certificate verify failed"):
                fetched(f"https://{other}:{server.port}/feed", rules)
    monkeypatch.delenv("SSL_CERT_FILE")
    with serving(path) as server, pytest.raises(Unreachable, match="certificate verify failed"):
        fetched(f"https://shop.example:{server.port}/feed", rules)
