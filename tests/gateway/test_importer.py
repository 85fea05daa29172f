"""Archives: every format says the same, nothing counts twice, whatever breaks on the way."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from gateway import instant
from gateway.__main__ import cli
from gateway.importing import files, importer
from gateway.settings import load
from ranking.catalog import embeddings
from schemas import payload
from schemas.errors import Malformed
from tests.builders import ago, deliver, delivery_row, one, rows, track
from tests.conftest import Shop
from tests.journeys.gateway_process import until
from tests.ranking.market import Words

Import = Callable[..., dict[str, Any]]

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def run(environment: dict[str, str], shop: Shop) -> Callable[..., Result]:
    """`run("events", path)`: imports into the shop and expects `status`."""

    def imported(*words: Any, status: int = 0) -> Result:
        arguments = ["import", "shop", *map(str, words)]
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result

    return imported


@pytest.fixture
def bring(run: Callable[..., Result]) -> Import:
    """The same without a forecast, answered as JSON."""

    def imported(*words: Any, status: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            run(*words, "--json", "--no-forecast", status=status).stdout
        )
        return answer

    return imported


def lines(path: Path, *records: Any) -> Path:
    """A JSON-lines file; a text or bytes stands there as it is."""
    raw = [
        one if isinstance(one, bytes) else one.encode() if isinstance(one, str)
        else json.dumps(one).encode() for one in records
    ]  # fmt: skip
    content = b"\n".join(raw) + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def view(product: str = "p1", **fields: Any) -> dict[str, Any]:
    return {
        "type": "product_detail_page_view",
        "anonymous_id": "a1",
        "product_ids": [product],
        "timestamp": ago(minutes=1),
    } | fields


def click(product: str = "p1", **fields: Any) -> dict[str, Any]:
    """An event of the common format."""
    told = {"user_id": "", "session_id": "s1", "ts": NOW.timestamp() - 60, "type": "view"}
    return told | {"product_id": product} | fields


def counts(answer: dict[str, Any]) -> tuple[int, ...]:
    return tuple(answer[name] for name in ("accepted", "duplicate", "ignored", "refused"))


def events(shop: Shop) -> list[tuple[Any, ...]]:
    return rows(
        shop.pool,
        "select type::text, sent_id, product_ids, quantities, occurred_at, data "
        "from events join actors using (site_id, actor_id) order by occurred_at, product_ids, data",
    )


# formats ------------------------------------------------------------------------------------------


def test_an_archive_is_applied_like_live_events(bring: Import, shop: Shop, tmp_path: Path) -> None:
    answer = bring("events", lines(tmp_path / "e.jsonl", view("p1"), view("p2"), ""))
    assert counts(answer) == (2, 0, 0, 0)
    assert [row[:3] for row in events(shop)] == [
        ("product_detail_page_view", "a1", ["p1"]),
        ("product_detail_page_view", "a1", ["p2"]),
    ]


def test_the_common_format_is_told_in_our_words(bring: Import, shop: Shop, tmp_path: Path) -> None:
    bought = click("p2", user_id="u1", type="purchase", quantity=3, ts=NOW.timestamp() - 30)
    bring("events", lines(tmp_path / "e.ndjson.gz", click("p1"), bought))
    session = {"context": {"custom_context": {"session": "s1"}}}
    at = [NOW - timedelta(seconds=60), NOW - timedelta(seconds=30)]
    assert events(shop) == [
        ("product_detail_page_view", "s1", ["p1"], None, at[0], session),
        ("purchase", "u1", ["p2"], [3.0], at[1], session),
    ]


def test_an_item_becomes_a_product(bring: Import, shop: Shop, tmp_path: Path) -> None:
    item = {"product_id": "p1", "title": "Mug", "description": None, "brand": "", "price": 2.5,
            "categories": [["Home", "Kitchen"]], "image": "https://x.example/p1.png"}  # fmt: skip
    bring("products", lines(tmp_path / "items.jsonl", item))
    assert one(shop.pool, "select record from products") == {
        "product_id": "p1", "title": "Mug", "sale_price": 2.5,
        "categories": [["Home", "Kitchen"]], "cover_image": "https://x.example/p1.png",
    }  # fmt: skip


def test_a_table_says_what_json_says(bring: Import, shop: Shop, tmp_path: Path) -> None:
    table = tmp_path / "products.csv"
    table.write_text(
        "product_id;title;categories;tags;sale_price;custom_attributes.fabric;custom_attributes\n"
        '1;"Mug; red";Home > Kitchen | Gifts;red|mug;2.5;clay;"{""weight"": 300}"\n'
        "\n"
        "002;;;;;;\n",
        encoding="utf-8-sig",
    )
    assert counts(bring("products", table)) == (2, 0, 0, 0)
    assert rows(shop.pool, "select record from products order by product_id") == [
        ({"product_id": "002"},),
        (
            {
                "product_id": "1", "title": "Mug; red", "sale_price": 2.5, "tags": ["red", "mug"],
                "categories": [["Home", "Kitchen"], ["Gifts"]],
                "custom_attributes": {"fabric": "clay", "weight": 300},
            },
        ),
    ]  # fmt: skip


def test_a_parquet_file_has_types_of_its_own(bring: Import, shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    table = pyarrow.table(
        {
            "type": ["checkout", "search"],
            "user_id": ["u1", None],
            "anonymous_id": [None, "a1"],
            "product_ids": [["p1", "p2"], None],
            "quantities": [[1, 2], None],
            "search": [None, {"keywords": "mug"}],
            "timestamp": pyarrow.array([NOW - timedelta(hours=2), NOW - timedelta(hours=1)]),
        }
    )
    parquet.write_table(table, path)
    zipped = tmp_path / "events.parquet.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert counts(bring("events", path)) == (2, 0, 0, 0)
    assert [row[:4] for row in events(shop)] == [
        ("purchase", "u1", ["p1", "p2"], [1.0, 2.0]),
        ("search", "a1", [], None),
    ]
    assert counts(bring("events", zipped)) == (0, 2, 0, 0)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=8)
WORD = st.text("abcäöü 0189,;\"'", min_size=1, max_size=6).map(str.strip).filter(bool)
RECORD = st.fixed_dictionaries(
    {"product_id": WORD},
    optional={
        "title": TEXT.filter(str.strip),
        "tags": st.lists(WORD, min_size=1, max_size=3),
        "categories": st.lists(st.lists(WORD, min_size=1, max_size=2), min_size=1, max_size=2),
        "sale_price": st.floats(0, 1e6) | st.integers(0, 10**6),
        "custom_attributes": st.dictionaries(WORD, st.integers(0, 9), min_size=1, max_size=2),
    },
)
FIELDS = ("product_id", "title", "tags", "categories", "sale_price", "custom_attributes")


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORD, min_size=1, max_size=5))
def test_formats_agree_with_each_other(records: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        written = [lines(base / "r.jsonl.gz", *records), _csv(base / "r.csv", records)]
        written.append(_parquet(base / "r.parquet", records))
        for path in written:
            assert [one for _, one in files.records(path, "products")] == records


NUMBER = st.floats(allow_nan=False) | st.integers() | st.sampled_from([0, -0.0, 1e308, 10**15])
JSON = st.recursive(
    NUMBER | st.text() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=3), st.booleans())
def test_a_line_is_what_the_doors_make_of_it(record: dict[str, Any], escaped: bool) -> None:
    line = json.dumps(record, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    try:
        expected = json.dumps(payload.parse(line))
    except Malformed as error:
        with pytest.raises(Malformed, match="line"):
            files.record(line)
        assert "The body" in str(error)
    else:
        assert json.dumps(files.record(line)) == expected


@pytest.mark.parametrize(
    "line",
    [b'{"a": 1e400}', b'{"a": NaN}', b'{"a": ' + b"1" * 400 + b"}", b"{" * 70, b'{"a": "\x01"}',
     b'{"a":' * 65 + b"1" + b"}" * 65, b'{"a": 01}', b"{'a': 1}", b'{"a": 1}{"b": 2}'],
    ids=["huge", "nan", "digits", "open", "control", "deep", "zero", "quotes", "two"],
)  # fmt: skip
def test_a_line_that_the_doors_refuse_is_no_record(line: bytes) -> None:
    with pytest.raises(Malformed):
        files.record(line)


def _csv(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(FIELDS)
    for record in records:
        cells = (record.get(name, "") for name in FIELDS)
        writer.writerow([json.dumps(c) if isinstance(c, (list, dict)) else c for c in cells])
    path.write_bytes(text.getvalue().encode())
    return path


def _parquet(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    """Numbers, lists of texts and, as JSON, free attributes."""
    columns = {name: [record.get(name) for record in records] for name in FIELDS}
    attributes = columns["custom_attributes"]
    columns["custom_attributes"] = [json.dumps(one) if one else None for one in attributes]
    columns["sale_price"] = [json.dumps(one) if one is not None else None
                             for one in columns["sale_price"]]  # fmt: skip
    parquet.write_table(pyarrow.table(columns), path)
    return path


# what is refused ----------------------------------------------------------------------------------


def test_bad_lines_are_kept_and_stop_nothing(bring: Import, shop: Shop, tmp_path: Path) -> None:
    path = lines(
        tmp_path / "e.jsonl",
        view("p1"), "{not json", view("p2", rating=1), "[1]", b'{"type": "\xff"}', view("p3"),
        view("p4", timestamp=None), click("p5", ts="soon"), click("p6", ts=NOW.timestamp() * 1000),
    )  # fmt: skip
    answer = bring("events", path, status=1)
    assert counts(answer) == (2, 0, 0, 7)
    shown = [(one["line"], one["pointer"], one["reason"]) for one in answer["problems"]]
    assert [row[:2] for row in shown] == [
        ("line 2", ""), ("line 3", "/rating"), ("line 4", ""), ("line 5", ""),
        ("line 7", "/timestamp"), ("line 8", "/ts"), ("line 9", "/ts"),
    ]  # fmt: skip
    assert "not valid JSON" in shown[0][2] and "milliseconds" in shown[-1][2]
    [(delivery, received, refused)] = rows(
        shop.pool, "select delivery_id, received, refused from deliveries"
    )
    assert (received, refused) == (9, 7)
    assert b"{not json" in delivery_row(shop.pool, delivery)["body"]


def test_a_row_of_another_width_is_refused_by_its_number(bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"product_id,title\np1,A\np2\np3,C,D\np4,\xe9\n")
    answer = bring("products", path, status=1)
    assert counts(answer) == (1, 0, 0, 3)
    assert [(one["line"], one["reason"]) for one in answer["problems"]] == [
        ("row 3", "The row has 1 cells, the head 2."),
        ("row 4", "The row has 3 cells, the head 2."),
        ("row 5", "The row is not UTF-8: save the file in that encoding."),
    ]


def test_a_cell_that_is_no_number_is_named(bring: Import, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text('product_id;sale_price\np1;"12,50"\n')
    [problem] = bring("products", table, status=1)["problems"]
    assert problem["pointer"] == "/sale_price"
    assert problem["reason"].endswith("'string' was given: '12,50'. A number is written as 12.50.")


def test_an_unknown_column_is_named_before_anything_is_done(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text("product_id,colour\np1,red\n")
    assert "custom_attributes.colour" in run("products", path, status=1).output


def test_events_that_are_too_old_are_said_so_plainly(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    old = view("p1", timestamp=ago(days=500))
    said = run("events", lines(tmp_path / "e.jsonl", old, view("p2")), "--no-forecast").output
    assert "2 events: 1 accepted, 0 duplicate, 1 ignored, 0 refused" in said
    assert "1 of the ignored is too old, older than 400 days: raise RETENTION_EVENTS_DAYS" in said


@pytest.mark.parametrize("name", ["e.jsonl.gz", "e.csv.gz"])
def test_a_cut_off_gzip_says_how_far_it_got(
    bring: Import, shop: Shop, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if ".csv" in name:
        rest = "".join(f"s{n},{NOW.timestamp() - n},view,p{n}\n" for n in range(5000))
        content = ("session_id,ts,type,product_id\n" + rest).encode()
    else:
        content = b"".join(json.dumps(click(f"p{n}")).encode() + b"\n" for n in range(5000))
    path.write_bytes(gzip.compress(content)[:-2000])
    answer = bring("events", path, status=1)
    [told] = answer["files"]
    assert "is cut off after" in told["error"]
    assert 0 < answer["accepted"] < 5000
    assert answer["refused"] == 0
    assert one(shop.pool, "select count(*) from events") == answer["accepted"]


def test_what_can_be_read_only_once_is_refused(run: Callable[..., Result], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    assert "save what it gives first" in run("events", pipe, status=1).output


def test_a_table_is_no_archive_of_segments(bring: Import, shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("type,messageId\ntrack,m1\n")
    answer = bring("events", path, "--source", shop.segment.public_id, status=1)
    assert "archives of segment are JSON lines" in answer["files"][0]["error"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.jsonl.gz", b"no gzip", "is no gzip file"),
        ("e.parquet", b"PAR1 and then nothing", "cannot be read"),
        ("e.xlsx", b"PK\x03\x04", "is of no format known here"),
    ],
    ids=["gzip", "parquet", "format"],
)
def test_a_file_that_is_not_what_it_seems_is_told_apart(
    bring: Import, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    good = lines(tmp_path / "good.jsonl", view())
    answer = bring("events", path, good, status=1)
    assert said in answer["files"][0]["error"]
    assert answer["accepted"] == 1


# once ---------------------------------------------------------------------------------------------


def test_a_second_import_counts_duplicates_only(bring: Import, shop: Shop, tmp_path: Path) -> None:
    path = lines(tmp_path / "e.jsonl", *(view(f"p{n}") for n in range(5)), click())
    assert counts(bring("events", path)) == (6, 0, 0, 0)
    assert counts(bring("events", path)) == (0, 6, 0, 0)
    assert one(shop.pool, "select count(*) from events") == 6


def test_an_archive_meets_what_came_live(bring: Import, shop: Shop, tmp_path: Path) -> None:
    named = view("p1", context={"custom_context": {"uuid": "one"}})
    plain = view("p2")
    deliver(shop.pool, shop.api, {"data": [named]}, "interactions")
    deliver(shop.pool, shop.api, {"data": [plain]}, "interactions")
    answer = bring("events", lines(tmp_path / "e.jsonl", named, plain, view("p3")))
    assert counts(answer) == (1, 2, 0, 0)


def test_a_segment_archive_is_read_by_its_source(bring: Import, shop: Shop, tmp_path: Path) -> None:
    live, old = track(), track("Order Completed", properties={"order_id": "o1", "products": []})
    deliver(shop.pool, shop.segment, live)
    path = lines(tmp_path / "archive.gz", live, old, {"type": "track"})
    answer = bring("events", path, "--source", shop.segment.public_id, status=1)
    assert counts(answer) == (1, 1, 0, 1)
    assert answer["problems"][0]["line"] == "line 3"
    assert one(shop.pool, "select count(*) from events") == 2


def test_a_source_of_another_connector_brings_no_catalog(
    run: Callable[..., Result], shop: Shop, tmp_path: Path
) -> None:
    path = lines(tmp_path / "p.jsonl", {"product_id": "p1"})
    said = run("products", path, "--source", shop.segment.public_id, status=1).output
    assert "leave --source out" in said


def test_later_lines_of_a_file_win(bring: Import, shop: Shop, tmp_path: Path) -> None:
    many = [{"product_id": "p1", "title": f"t{n}"} for n in range(2 * files.RECORDS_A_BATCH)]
    bring("products", lines(tmp_path / "p.jsonl", *many))
    assert one(shop.pool, "select record->>'title' from products") > f"t{files.RECORDS_A_BATCH - 1}"


@pytest.mark.heavy
@pytest.mark.parametrize("stop", ["kill", "postgres"])
def test_a_stopped_import_goes_on_where_it_was(
    bring: Import, shop: Shop, environment: dict[str, str], tmp_path: Path, stop: str
) -> None:
    count = 40_000
    at = NOW.timestamp() - count
    path = lines(tmp_path / "e.jsonl", *(click(f"p{n}", ts=at + n) for n in range(count)))
    command = [sys.executable, "-m", "gateway", "import", "shop", "events", str(path)]
    process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE)
    try:
        until(lambda: rows(shop.pool, "select 1 from imports where records > 4000"))
        if stop == "postgres":
            _end_sessions(environment["DATABASE_URL"])
            assert b"the same command goes on there" in process.communicate()[1]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    shop.pool.check()
    answer = bring("events", path)
    assert answer["files"][0]["began_at"] >= 4000
    assert answer["records"] == count
    assert answer["accepted"] + answer["duplicate"] == count
    assert one(shop.pool, "select count(*) from events") == count


def _end_sessions(database_url: str) -> None:
    """As when Postgres is started anew."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )


def test_one_file_is_imported_by_one_at_a_time(
    run: Callable[..., Result], shop: Shop, tmp_path: Path
) -> None:
    path = lines(tmp_path / "e.jsonl", view())
    key = f"import {shop.site.site_id} {shop.api.source_id} events {files.identity(path)}"
    with shop.pool.connection() as other:
        other.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [key])
        assert "is being imported already" in run("events", path, status=1).output
        other.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", [key])
    run("events", path)


# snapshots ----------------------------------------------------------------------------------------


def catalog(path: Path, *product_ids: str, **fields: Any) -> Path:
    return lines(
        path, *({"product_id": one, "title": f"The {one}"} | fields for one in product_ids)
    )


def available(shop: Shop) -> list[str]:
    found = rows(shop.pool, "select product_id from products where available order by product_id")
    return [product_id for (product_id,) in found]


def test_a_snapshot_makes_the_rest_unavailable_and_keeps_it(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    bring("products", catalog(tmp_path / "1.jsonl", "p1", "p2", "p3"))
    halves = catalog(tmp_path / "2.jsonl", "p1"), catalog(tmp_path / "3.jsonl", "p3")
    assert bring("products", *halves, "--snapshot")["unavailable"] == 1
    assert available(shop) == ["p1", "p3"]
    record = one(shop.pool, "select record from products where product_id = 'p2'")
    assert record["title"] == "The p2"


def test_what_comes_back_is_available_whatever_its_date(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    whole = catalog(tmp_path / "1.jsonl", "p1", "p2", updated_at="2024-01-01")
    bring("products", whole)
    bring("products", catalog(tmp_path / "2.jsonl", "p1"), "--snapshot")
    assert available(shop) == ["p1"]
    bring("products", whole, "--snapshot")
    assert available(shop) == ["p1", "p2"]


def test_a_snapshot_without_most_of_the_shop_is_refused(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    bring("products", catalog(tmp_path / "1.jsonl", "p1", "p2", "p3"))
    little = catalog(tmp_path / "2.jsonl", "p1")
    assert "2 of 3 available" in bring("products", little, "--snapshot", status=1)["snapshot_error"]
    assert available(shop) == ["p1", "p2", "p3"]
    assert bring("products", little, "--snapshot", "--force")["unavailable"] == 2
    assert available(shop) == ["p1"]


@pytest.mark.parametrize(
    "record", ["{", {"title": "Mug"}, {"product_id": True}, {"product_id": ""}]
)
def test_a_snapshot_with_a_record_without_id_is_refused(
    bring: Import, shop: Shop, tmp_path: Path, record: Any
) -> None:
    bring("products", catalog(tmp_path / "1.jsonl", "p1", "p2"))
    path = lines(tmp_path / "2.jsonl", {"product_id": "p1"}, record)
    answer = bring("products", path, "--snapshot", status=1)
    assert "1 record without an id might be any of the 1" in answer["snapshot_error"]
    assert (answer["refused"], [one["line"] for one in answer["problems"]]) == (1, ["line 2"])
    assert available(shop) == ["p1", "p2"]
    forced = bring("products", path, "--snapshot", "--force", status=1)
    assert forced["unavailable"] == 1


def test_a_record_without_id_matters_only_where_something_is_gone(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    path = lines(tmp_path / "1.jsonl", {"product_id": "p1"}, {"title": "Mug"})
    assert bring("products", path, "--snapshot", status=1)["unavailable"] == 0


def test_a_snapshot_names_ids_as_they_are_stored(bring: Import, shop: Shop, tmp_path: Path) -> None:
    whole = lines(tmp_path / "1.jsonl", *({"product_id": one} for one in (4.0, 5, "6", 7.5)))
    assert bring("products", whole, "--snapshot")["unavailable"] == 0
    assert available(shop) == ["4", "5", "6", "7.5"]


def test_a_snapshot_of_which_nothing_is_known_is_not_ended(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    bring("products", catalog(tmp_path / "1.jsonl", "p1", "p2"))
    path = catalog(tmp_path / "2.jsonl", "p1", "p3")
    with shop.pool.connection() as connection:
        connection.execute("create rule lost as on insert to snapshot_products do instead nothing")
    try:
        answer = bring("products", path, "--snapshot", "--force", status=1)
    finally:
        with shop.pool.connection() as connection:
            connection.execute("drop rule lost on snapshot_products")
    assert "import them once more" in answer["snapshot_error"]
    assert available(shop) == ["p1", "p2", "p3"]


def test_a_snapshot_whose_end_failed_is_ended_by_the_same_command(
    bring: Import, run: Callable[..., Result], shop: Shop, tmp_path: Path
) -> None:
    bring("products", catalog(tmp_path / "1.jsonl", "p1", "p2", "p3"))
    halves = catalog(tmp_path / "2.jsonl", "p1"), catalog(tmp_path / "3.jsonl", "p3")
    with _failing_end(shop):
        said = run("products", *halves, "--snapshot", status=1).output
    assert "what they lack is not yet all unavailable; the same command goes on there" in said
    deliveries = one(shop.pool, "select count(*) from deliveries")
    answer = bring("products", *halves, "--snapshot")
    assert [told["began_at"] for told in answer["files"]] == [1, 1]
    assert (answer["accepted"], answer["snapshot_error"]) == (2, None)
    assert one(shop.pool, "select count(*) from deliveries") == deliveries
    assert available(shop) == ["p1", "p3"]
    assert bring("products", *halves, "--snapshot")["files"][0]["began_at"] == 0


@contextlib.contextmanager
def _failing_end(shop: Shop) -> Iterator[None]:
    """What a run named cannot be forgotten, as when Postgres ends the statement."""
    with shop.pool.connection() as connection:
        connection.execute(
            "create function fail() returns trigger language plpgsql as "
            "$$begin raise query_canceled using message = 'statement timeout'; end$$"
        )
        connection.execute(
            "create trigger fail before delete on snapshot_products for each row "
            "execute function fail()"
        )
    try:
        yield
    finally:
        with shop.pool.connection() as connection:
            connection.execute("drop function fail cascade")


def test_duplicates_of_an_import_that_went_on_are_said_to_be_its_own(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    path = lines(tmp_path / "e.jsonl", view())
    bring("events", path)
    with shop.pool.connection() as connection:  # as if it had been killed before it said how far
        connection.execute("update imports set records = 0, counts = '{}', finished_at = null")
    said = bring("events", path)["sentence"]
    assert "1 event: 0 accepted, 1 duplicate (some of them brought by the run before)" in said
    assert "brought by the run before" not in bring("events", path)["sentence"]


def test_an_import_follows_the_clock_of_postgres(
    environment: dict[str, str], shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instant, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
    path = catalog(tmp_path / "1.jsonl", "p1")
    importer.run(load(), shop.site, "products", [path], lambda progress: None)
    assert one(shop.pool, "select as_of > now() + interval '50 minutes' from products")


def test_a_product_that_is_refused_has_not_vanished(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    bring("products", catalog(tmp_path / "1.jsonl", "p1", "p2"))
    path = catalog(tmp_path / "2.jsonl", "p1", "p2", rating=99)
    answer = bring("products", path, "--snapshot", status=1)
    assert (answer["refused"], answer["unavailable"]) == (2, 0)


def test_what_only_an_event_named_vanishes_too(bring: Import, shop: Shop, tmp_path: Path) -> None:
    named = {"product_id": "p9", "name": "Mug of yesterday"}
    deliver(shop.pool, shop.segment, track(properties=named))
    whole = catalog(tmp_path / "1.jsonl", "p1", "p2")
    assert bring("products", whole, "--snapshot")["unavailable"] == 1
    deliver(shop.pool, shop.segment, track(properties=named))
    assert available(shop) == ["p1", "p2"]


def test_only_products_have_snapshots(run: Callable[..., Result], tmp_path: Path) -> None:
    path = lines(tmp_path / "e.jsonl", view())
    assert "only products have snapshots" in run("events", path, "--snapshot", status=1).output


# afterwards ---------------------------------------------------------------------------------------


def test_lists_know_an_import_at_once(bring: Import, shop: Shop, tmp_path: Path) -> None:
    bring("products", catalog(tmp_path / "p.jsonl", "p1", "p2"))
    bring("events", lines(tmp_path / "e.jsonl", view("p1", timestamp=ago(days=40)), view("p2")))
    found = rows(
        shop.pool,
        "select product_id from popularity join products using (site_id, product_no) "
        "where popular > 0 order by popular desc",
    )
    assert found == [("p2",), ("p1",)]


def test_what_is_bought_together_is_counted_at_the_end_of_an_import(
    bring: Import, shop: Shop, tmp_path: Path
) -> None:
    bring("products", catalog(tmp_path / "p.jsonl", "p1", "p2"))
    order = view("p1", type="checkout", product_ids=["p1", "p2"], timestamp=ago(days=40))
    bring("events", lines(tmp_path / "e.jsonl", order))
    found = rows(
        shop.pool,
        "select product_id from bought_together join products using (site_id, product_no) "
        "order by product_id",
    )
    assert found == [("p1",), ("p2",)]


def test_too_few_sessions_give_no_forecast_but_the_reason(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    said = run("events", lines(tmp_path / "e.jsonl", view()))
    assert "No forecast: no product has a title yet" in said.output


def test_users_come_too(bring: Import, shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("user_id,name,age,custom_attributes.plan\nu1,Ada,36,gold\n")
    assert counts(bring("users", path)) == (1, 0, 0, 0)
    assert one(shop.pool, "select record from users") == {
        "user_id": "u1", "name": "Ada", "age": 36, "custom_attributes": {"plan": "gold"},
    }  # fmt: skip


def test_what_was_given_up_is_forgotten(bring: Import, shop: Shop, tmp_path: Path) -> None:
    bring("events", lines(tmp_path / "e.jsonl", view()))
    with shop.pool.connection() as connection:
        assert importer.purge(connection, datetime.now(UTC) - timedelta(days=1)) == 0
        assert importer.purge(connection, datetime.now(UTC)) == 1


def test_the_last_days_are_foretold_from_what_was_before(
    run: Callable[..., Result], shop: Shop, tmp_path: Path
) -> None:
    """Everybody looks at three of eight mugs, or lamps: lists that follow two clicks find the
    third, the ten bestsellers cannot tell mugs from lamps."""
    run("products", _shelf(tmp_path / "p.jsonl"))
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    said = run("events", _sessions(tmp_path / "e.jsonl", 200)).output
    found = re.search(
        r"On the last day, of the next clicks (\d+) of 100 are in our ten after two clicks "
        r"\((\d+) to (\d+)\), (\d+) of 100 in the bestsellers \(\d+ to \d+\); \d+ sessions",
        said,
    )
    assert found, said
    ours, low, high, bestsellers = map(int, found.groups())
    assert low <= ours <= high
    assert ours > bestsellers


def _shelf(path: Path) -> Path:
    return lines(path, *({"product_id": f"{kind}{n}", "title": f"{kind} {n}"}
                         for kind in ("mug", "lamp") for n in range(8)))  # fmt: skip


def _sessions(path: Path, count: int) -> Path:
    """Of three clicks each, one session every ten minutes."""

    def session(number: int) -> list[dict[str, Any]]:
        kind, start = ("mug", "lamp")[number % 2], number // 2 * 3
        at = NOW.timestamp() - 600 * (number + 1)
        return [
            click(f"{kind}{(start + step) % 8}", session_id=f"s{number}", ts=at + step)
            for step in range(3)
        ]

    return lines(path, *(one for number in range(count) for one in session(number)))
