"""`/snippet.js` as it is served: what browsers and caches are told, and how much it weighs."""

from __future__ import annotations

import gzip
import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.http.snippet import SOURCE, trimmed

LARGEST_BYTES = 6000


def get(client: FlaskClient, **headers: str) -> TestResponse:
    return client.get("/snippet.js", headers={n.replace("_", "-"): v for n, v in headers.items()})


def test_it_is_a_script_that_any_page_may_load(client: FlaskClient) -> None:
    answer = get(client, Origin="https://shop.example")

    assert answer.status_code == 200
    assert answer.content_type == "text/javascript; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "public" in answer.headers["Cache-Control"]
    assert "Set-Cookie" not in answer.headers


def test_it_weighs_six_kilobytes_on_the_wire(client: FlaskClient) -> None:
    answer = get(client, Accept_Encoding="gzip, deflate, br")

    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) == len(answer.data) <= LARGEST_BYTES


def test_zipped_or_not_it_is_the_same_script(client: FlaskClient) -> None:
    zipped, plain = get(client, Accept_Encoding="gzip"), get(client)

    assert gzip.decompress(zipped.data) == plain.data
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    assert {zipped.headers["Vary"], plain.headers["Vary"]} == {"Accept-Encoding"}


def test_who_refuses_gzip_gets_none(client: FlaskClient) -> None:
    assert "Content-Encoding" not in get(client, Accept_Encoding="gzip;q=0, br").headers


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_who_has_it_already_gets_no_body(client: FlaskClient, encoding: str) -> None:
    tag = get(client, Accept_Encoding=encoding).headers["ETag"]
    again = get(client, Accept_Encoding=encoding, If_None_Match=tag)

    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == tag


def test_no_comment_is_served_and_every_statement_is(client: FlaskClient) -> None:
    text = get(client).text

    assert "/*" not in text and not re.search(r"(^|\s)// ", text, re.MULTILINE)
    assert [line for line in text.splitlines() if line != line.strip() or not line] == []
    assert "".join(text.split()) == "".join(code().split())


def code() -> str:
    """The source without its comments."""
    source = SOURCE.read_text(encoding="utf-8").partition("*/")[2]
    return "\n".join(re.sub(r"\s*// .*", "", line) for line in source.splitlines())


def test_trimming_touches_no_text() -> None:
    source = '/* a\n b */\nconst a = "http://x // y"; // why\n\n  // alone\n  f(a);\n'

    assert trimmed(source) == 'const a = "http://x // y";f(a);\n'


def test_a_line_break_goes_only_where_a_statement_ends_without_it() -> None:
    assert trimmed("f(a)\n  g(\n  {\n b,\n c\n})\n;\n") == "f(a)\ng(\n{b,c\n})\n;\n"


def test_it_uses_nothing_that_a_strict_page_forbids() -> None:
    text = SOURCE.read_text(encoding="utf-8")

    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert word not in text
    assert not re.search(r"\?\.[a-z(\[]|\?\?", text), "newer than ES2018"
