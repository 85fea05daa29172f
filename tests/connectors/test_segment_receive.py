"""Segment's own signature: of a batch only the first element, as it stands in the body."""

from __future__ import annotations

import json

import pytest

from connectors.segment.receive import authenticate, records
from tests.connectors.reading import SHARED
from tests.connectors.signing import segment as sign

SIGNED = SHARED / "segment" / "webhook" / "signed.json"
ONE, TWO = b'{"type":"track","n":1e-7,"s":"a\\u00e9"}', b'{"type":"page"}'


def is_authentic(body: bytes, signed_text: bytes = ONE, secret: str = "s") -> bool:
    return bool(authenticate(sign(signed_text, secret), body, ["s"], {}))


@pytest.mark.skipif(not SIGNED.exists(), reason="the shared Segment fixtures are not here")
def test_the_shared_vectors_are_judged_right() -> None:
    vectors = json.loads(SIGNED.read_text(encoding="utf-8"))["requests"]
    judged = [
        bool(authenticate(dict(v["headers"]), v["body"].encode(), [v["secret"]], {}))
        for v in vectors
    ]
    assert judged == [v["valid"] for v in vectors]
    assert set(judged) == {True, False}


@pytest.mark.parametrize(
    "body",
    [
        b"[" + ONE + b"]",
        b"[" + ONE + b"," + TWO + b"]",
        b" \r\n[\t\n" + ONE + b" , " + TWO + b" ]\n",
        b'[{"json":' + ONE + b"},{" + b'"json":' + TWO + b"}]",
        b'[ { "json" : ' + ONE + b" } ]",
    ],
)
def test_of_a_batch_the_first_element_is_signed(body: bytes) -> None:
    assert is_authentic(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + TWO + b"," + ONE + b"]",
        b"[]",
        b"[",
        b"[ ",
        b"",
        b"[" + ONE[:-1],
        b'[{"other":' + ONE + b"}]",
        b"[" * 100_000,
        b"[" + b'{"a":' * 100_000,
        b"[\xff\xfe]",
    ],
)
def test_a_batch_that_does_not_begin_with_it_is_refused(body: bytes) -> None:
    assert not is_authentic(body)


def test_bytes_that_are_no_utf8_are_judged_as_they_are() -> None:
    odd = b'{"name":"\xff\xfe"}'
    assert is_authentic(odd, odd)
    assert is_authentic(b"[" + odd + b"]", odd)


def test_numbers_of_any_length_do_not_hide_the_first_element() -> None:
    long = b'{"n":' + b"9" * 5_000 + b"}"
    assert is_authentic(b"[" + long + b"]", long)


def test_a_named_header_is_asked_for_instead_of_the_signature() -> None:
    settings = {"header": "X-Attune-Secret"}
    assert authenticate({"x-attune-secret": "s"}, ONE, ["new", "s"], settings)
    assert not authenticate({"x-attune-secret": "t"}, ONE, ["s"], settings)
    assert not authenticate(sign(ONE, "s"), ONE, ["s"], settings)


@pytest.mark.parametrize("value", ["", "é", "\udcff", "s\x00"])
def test_an_odd_value_of_the_named_header_is_refused(value: str) -> None:
    assert not authenticate({"X-Own": value}, ONE, ["s"], {"header": "X-Own"})


def test_records_carry_their_place_in_the_body() -> None:
    event = {"type": "page"}
    assert list(records(event)) == [("", event)]
    assert list(records([event, 1])) == [("/0", event), ("/1", 1)]
    assert list(records([{"json": event}, event])) == [("/0/json", event), ("/1", event)]
    assert list(records({"json": event})) == [("/json", event)]
    assert list(records([])) == []
