"""A feed's file, whatever it holds: items, or one sentence that says why there are none."""

from __future__ import annotations

import gzip
import io
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.feed import bounded, items, translate
from connectors.feed.bounded import Bounded, Broken, Item
from schemas import Malformed
from tests.connectors.reading import ROOT

FIXTURES = sorted(
    path
    for path in (ROOT / "connectors" / "feed" / "fixtures").iterdir()
    if not path.name.endswith(".expected.json")
)
FIELDS = {"fields": {"Artikelnummer": "id"}}
LIMIT = 50 << 20


def read(body: bytes, settings: dict[str, Any] | None = None, limit: int = LIMIT) -> list[Item]:
    return list(items.read(io.BytesIO(body), settings or {}, limit))


def why(body: bytes, settings: dict[str, Any] | None = None, limit: int = LIMIT) -> str:
    with pytest.raises(Broken) as caught:
        read(body, settings, limit)
    return str(caught.value)


def rss(*entries: str, head: str = "") -> bytes:
    inside = "".join(f"<item>{entry}</item>" for entry in entries)
    return f'<?xml version="1.0"?>{head}<rss><channel>{inside}</channel></rss>'.encode()


# bombs ------------------------------------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
DECLARED = [
    f'<!DOCTYPE rss [<!ENTITY l0 "ha">{LAUGHS}]>',
    '<!DOCTYPE rss [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE rss [<!ENTITY l11 SYSTEM "http://127.0.0.1:1/">]>',
    '<!DOCTYPE rss [<!ENTITY l11 PUBLIC "x" "file:///dev/zero">]>',
    '<!DOCTYPE rss [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]>',
    '<!DOCTYPE rss [<!ENTITY l11 "' + "A" * 50_000 + '">]>',
]


@pytest.mark.parametrize("head", DECLARED, ids=range(len(DECLARED)))
@pytest.mark.parametrize("where", ["<id>{}</id>", '<id type="{}">1</id>'])
def test_a_file_that_declares_entities_is_refused(head: str, where: str) -> None:
    said = why(rss(where.format("&l11;"), head=head))
    assert "entities" in said or "not well-formed" in said
    assert "root:" not in said


def test_a_document_type_that_lies_elsewhere_is_not_fetched() -> None:
    head = '<!DOCTYPE rss SYSTEM "http://127.0.0.1:1/rss.dtd">'
    assert read(rss("<id>1</id>", head=head)) == [("/line/1", {"id": "1"}, None)]


def test_inclusions_are_elements_like_any_other() -> None:
    included = (
        '<id xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></id>'
    )
    [item] = read(rss(included))
    assert "root:" not in json.dumps(item.record)


@pytest.mark.parametrize(
    "body",
    [
        rss("<a>" * 100_000),
        rss("<id>1</id>" + "<a/>" * 20_000),
        rss(f"<id>{'x' * 1_200_000}</id>"),
        b"<rss><channel>" + b"<other>x</other>" * 200_000 + b"</channel></rss>",
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"products": [{"id": "' + b"x" * 2_000_000 + b'"}]}',
        b'{"id": "' + b"x" * 2_000_000,
        b"id,title\n1," + b"x" * 2_000_000,
        b'id,title\n1,"' + b"x\n" * 500_000,
        b"id\ttitle\n1\t" + b"x" * 2_000_000,
        b"<" + b" " * 2_000_000,
        b" " * 2_000_000,
    ],
    ids=["deep", "wide", "long text", "no item", "deep lists", "deep objects", "a long string",
         "a long line", "a long field", "an open quote", "a long tab field", "a long tag",
         "blanks"],
)  # fmt: skip
def test_what_would_fill_the_memory_is_a_sentence_or_a_refused_item(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MOST_BYTES", 1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        assert all(item.problem or len(item.record) for item in read(body))
    except Broken as error:
        assert 10 < len(str(error)) < 600
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024


def test_a_packed_bomb_ends_at_the_limit() -> None:
    bomb = gzip.compress(b"id,title\n" + b"1,x\n" * 400_000)
    assert "larger than 1 MiB" in why(bomb, limit=1 << 20)


def test_no_item_may_be_longer_than_what_lies_between_two() -> None:
    file = Bounded(io.BytesIO(b"x" * (17 << 20)), 1 << 30)
    with pytest.raises(Broken, match="hold no item"):
        while file.read():
            pass


def test_the_list_of_products_is_the_first_of_objects() -> None:
    found = read(b'{"errors": [], "tags": ["x"], "a": {"b~/": [{"id": 1}, 7, [[{"id": 2}]], null, '
                 b'{"id": 3, "parts": [{"id": 4}]}]}, "more": [{"id": 5}]}')  # fmt: skip
    assert [item.pointer for item in found] == [f"/a/b~0~1/{number}" for number in range(5)]
    assert [item.record.get("id") for item in found] == [1, None, None, None, 3]
    assert [bool(item.problem) for item in found] == [False, True, True, True, False]


# odd files --------------------------------------------------------------------------------------


def facts(found: list[Item], settings: dict[str, Any]) -> Iterator[Any]:
    """What `translate` makes of them; it may refuse, and raises nothing else."""
    for item in found:
        body = {"pulled_at": "2026-11-24T12:00:00+00:00", "items": [item.told()]}
        [(_, record)] = translate.records(body)
        try:
            yield translate.translate("products", record, settings)
        except Malformed as error:
            yield error


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.name)
@given(data=st.data())
def test_a_damaged_file_is_read_or_a_sentence(path: Path, data: st.DataObject) -> None:
    body = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    raw = bytes(body[: data.draw(st.integers(1, len(body)))])
    try:
        list(facts(read(raw, FIELDS), FIELDS))
    except Broken as error:
        assert str(error)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_bytes_are_read_or_a_sentence(body: bytes) -> None:
    try:
        list(facts(read(body), {}))
    except Broken as error:
        assert str(error)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["title", "color", "brand", "gtin"]),
            st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20)
            .map(str.strip)
            .filter(bool),
        ),
        max_size=6,
    )
)
def test_csv_and_lines_tell_the_same(found: list[dict[str, str]]) -> None:
    import csv

    table = io.StringIO(newline="")
    names = ["id", "title", "color", "brand", "gtin"]
    writer = csv.DictWriter(table, names)
    writer.writeheader()
    told = [{"id": f"p{number}", **item} for number, item in enumerate(found)]
    writer.writerows(told)
    lines = "\n".join(map(json.dumps, told)) or " "
    by_csv = [item.record for item in read(table.getvalue().encode())]
    by_lines = [item.record for item in read(lines.encode())] if told else []
    assert by_csv == by_lines == told


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
def test_a_table_may_be_encoded_otherwise(encoding: str) -> None:
    body = "id,title\n1,Größe 5 €\n".encode(encoding)
    settings = {"encoding": encoding} if encoding.startswith("w") else {}
    assert read(body, settings)[0].record == {"id": "1", "title": "Größe 5 €"}


def test_a_line_of_another_encoding_is_refused_alone() -> None:
    found = read("id,title\n1,Größe\n2,Fine\n".encode("windows-1252"))
    assert [item.problem is None for item in found] == [False, True]
    assert "encoding" in (found[0].problem or "")
    assert found[0].record == {"id": "1"}
    assert "no encoding" in why(b"id\n1\n", {"encoding": "klingon"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_xml_says_its_own_encoding(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><rss><item><id>é</id></item></rss>'
    assert read(text.encode(encoding))[0].record == {"id": "é"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"PK\x03\x04rest", "zip"),
        (b"%PDF-1.7", "PDF"),
        (b"\xd0\xcf\x11\xe0rest", "Excel"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"Not found", "no column is named id"),
        (b"title,price\n1,2\n", "no column is named id"),
        (b'{"error": "no such shop"}', "no list of products"),
        (b'{"error": ', "breaks off before its first item"),
        (b'{"error": nope}', "not valid JSON"),
        (b"\x1f\x8bnot gzip", "gzip"),
    ],
)
def test_what_is_no_feed_is_told_in_a_sentence(body: bytes, reason: str) -> None:
    assert reason in why(body)


@pytest.mark.parametrize("row", ["id\ttitle\n1\tMug\n", "id,title\n1,Mug\n"])
def test_a_table_cut_in_a_character_is_a_sentence(row: str) -> None:
    assert "cannot be read from line" in why(row.encode("utf-16")[:-1])


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'[{"id": "a"}, {"id": "b"}, {"id":', "after item 2"),
        (b'[{"id": "a"}', "after item 1"),
        (b'{"products": [{"id":', "before its first item"),
    ],
    ids=["in an item", "between two", "in the first"],
)
def test_a_document_that_breaks_off_says_after_which_item(body: bytes, where: str) -> None:
    assert why(body) == f"the file breaks off {where}"
