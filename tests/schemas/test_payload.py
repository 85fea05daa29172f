"""Bodies as anybody may send them: parsed, or refused with a sentence, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Malformed
from schemas.payload import MAX_DEPTH, parse

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
numbers = st.integers(-(10**200), 10**200) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"{", "line 1 column 2"),
        (b'{"a": 1,}', "line 1 column 9"),
        (b"<html>", "not valid JSON"),
        (b"[" * 100_000, "deeper than 64"),
        (b'{"a":' * 100_000, "deeper than 64"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper than 64"),
        (b"[1, NaN]", "NaN is not a number near line 1 column 5"),
        (b"-Infinity", "-Infinity is not a number"),
        (b"[1e400]", "too large"),
        (b"9" * 4_000, "4000 digits"),
        (b"9" * 5_000, "5000 digits"),
        (b"\xff\xfe{\x00}\x00", "not valid UTF-8 at byte 0"),
        ("{}".encode("utf-16-le"), "not valid JSON"),
        (b'"\xed\xa0\x80"', "not valid UTF-8"),
        (b'"a\x00b"', "not valid JSON"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_place(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf{}", {}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'"\\u0000"', "\ufffd"),
        (b'"\\ud800x\\uDFFF"', "\ufffdx\ufffd"),
        (b'{"\\ud800": ["\\udc00"]}', {"\ufffd": ["\ufffd"]}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"9" * 300, int("9" * 300)),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    ],
)
def test_what_postgres_could_not_hold_is_cleaned(body: bytes, value: Any) -> None:
    parsed = parse(body)
    assert value is None or parsed == value


@given(json_values, st.booleans())
def test_json_comes_back_as_it_was(value: Any, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0dD89aeE+-.1 ntf').map(str.encode))
def test_no_bytes_raise_anything_but_malformed(body: bytes) -> None:
    try:
        value = parse(body)
    except Malformed:
        return
    text = json.dumps(value, ensure_ascii=False)
    assert "\0" not in text
    text.encode()


def test_a_body_of_brackets_alone_is_refused_quickly() -> None:
    with pytest.raises(Malformed):
        parse(b"[" * 20_000_000)
