"""`backtest`: an archive or a site foretold, and the page that says what was found."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from psycopg import sql

from gateway import ingest
from gateway.__main__ import cli
from gateway.foretelling import report
from gateway.foretelling.report import About
from ranking.catalog import embeddings
from ranking.catalog.models import SQL
from ranking.training import judged
from ranking.training.clickstream import Click, Split
from tests.conftest import Shop
from tests.ranking.market import Words

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CUT = NOW - timedelta(days=5)
SETS = ["abcd", "efgh", "ijkl"]
TITLES = {product: f"Thing {product}" for products in SETS for product in products}
METHODS = [judged.OURS, judged.UNTRAINED, *(name for name in judged.SIMPLE if name != judged.TEXT)]

Run = Callable[..., Result]


@pytest.fixture
def run(environment: dict[str, str], shop: Shop) -> Run:
    def ran(*words: Any, status: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["backtest", *map(str, words)], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result

    return ran


def visits(count: int, until: datetime) -> list[dict[str, Any]]:
    """Four visits an hour up to then; each stays among the products of one set."""
    chance = random.Random(7)
    events = []
    for number in range(count):
        at = until - timedelta(minutes=15 * (count - number))
        for place, product in enumerate(chance.sample(chance.choice(SETS), 4)):
            events.append({
                "user_id": "", "session_id": f"s{number:05}", "ts": at.timestamp() + place,
                "type": "click", "product_id": product,
            })  # fmt: skip
    return events


@pytest.fixture
def archive(tmp_path: Path) -> list[str]:
    """Options that name an archive of ids without texts."""
    catalog, events = tmp_path / "items.jsonl", tmp_path / "events.jsonl"
    catalog.write_text("".join(json.dumps({"product_id": one}) + "\n" for one in TITLES))
    told = visits(300, NOW)
    events.write_text("".join(json.dumps(one) + "\n" for one in told))
    cut = NOW - timedelta(days=1)
    return ["--catalog", str(catalog), "--events", str(events), "--cut", cut.isoformat()]


def test_an_archive_is_foretold_by_ours_and_by_simple_methods(run: Run, archive: list[str]) -> None:
    found = json.loads(run(*archive, "--json").stdout)
    rows = {(row["method"], row["k"]): row for row in found["results"]}
    assert [name for name, k in rows if k == 1] == METHODS
    assert {row["n"] for row in found["results"]} == {96}
    assert rows["attune", 2]["mrr@20"] > 2 * rows["popularity", 2]["mrr@20"]
    pooled = [one for one in found["comparisons"] if one["k"] == [1, 2, 3]]
    assert {one["against"] for one in pooled} == set(METHODS) - {"attune"}
    assert {one["n"] for one in pooled} == {3 * 96}
    assert [one["name"] for one in found["tuned"]] == ["item-knn", "vmis-knn", "stan"]


def test_the_command_says_what_it_found_and_writes_a_page(
    run: Run, archive: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    said = run(*archive, "--report", page).output
    assert "Of 100 visitors" in said
    assert "stan tuned on the last" in said
    assert page.read_text(encoding="utf-8").count("<svg") == 4


def test_nothing_is_left_behind(run: Run, archive: list[str], shop: Shop) -> None:
    run(*archive, "--json")
    with shop.pool.connection() as connection:
        left = connection.execute(
            "select nspname from pg_namespace where nspname like 'backtest%'"
        ).fetchall()
    assert left == []


@pytest.mark.parametrize(
    "words",
    [[], ["shop", "--catalog", __file__], ["--catalog", __file__, "--events", __file__]],
    ids=["nothing", "both", "no_cut"],
)
def test_what_is_missing_is_said(run: Run, words: list[str]) -> None:
    assert "SITE" in run(*words, status=2).output


# a site of its own --------------------------------------------------------------------------------


def upload(shop: Shop, topic: str, records: list[dict[str, Any]]) -> None:
    receipt = ingest.deliver(
        shop.pool, shop.api, topic=topic, headers={}, body=json.dumps({"data": records}).encode(),
        received_at=datetime.now(UTC),
    )  # fmt: skip
    assert receipt.applied


@pytest.fixture
def visited(shop: Shop) -> Shop:
    """The shop with a catalog, encoded, and a week of visits up to now."""
    products = [{"product_id": one, "title": title} for one, title in TITLES.items()]
    upload(shop, "products", products)
    told = [
        {
            "anonymous_id": one["session_id"],
            "timestamp": datetime.fromtimestamp(one["ts"], UTC).isoformat(),
            "type": "click",
            "product_ids": [one["product_id"]],
        }
        for one in visits(400, datetime.now(UTC))
    ]
    for start in range(0, len(told), 500):
        upload(shop, "interactions", told[start : start + 500])
    with shop.pool.connection() as connection:
        embeddings.drain(connection, shop.site.site_id, Words())
    return shop


def test_a_site_is_foretold_by_its_own_last_days(run: Run, visited: Shop, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    found = json.loads(run("shop", "--json", "--report", page).stdout)
    rows = {(row["method"], row["k"]): row for row in found["results"]}
    assert [name for name, k in rows if k == 1] == [*METHODS, judged.TEXT]
    assert rows["attune", 2]["mrr@20"] > 1.5 * rows["popularity", 2]["mrr@20"]
    assert "Thing a" in page.read_text(encoding="utf-8")


def test_what_visitors_see_does_not_change(
    run: Run, visited: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranking.training.heldout.FEWEST_SESSIONS", 50)
    monkeypatch.setattr("ranking.training.heldout.SHORTEST_SPAN", timedelta(days=1))
    tables = ("popularity", "popularity_sites", "neighbours", "answers", "models",
              "training_checkpoints", "profiles")  # fmt: skip

    def kept() -> list[Any]:
        with visited.pool.connection() as connection:
            return [
                connection.execute(
                    "select relname from pg_class where relkind in ('r', 'i') order by 1"
                ).fetchall(),
                *(
                    connection.execute(
                        sql.SQL("select * from {} order by 1, 2").format(sql.Identifier(table))
                    ).fetchall()
                    for table in tables
                ),
            ]

    before = kept()
    [training] = json.loads(run("shop", "--json").stdout)["trainings"]
    assert training["record"]["held_out_from"] < datetime.now(UTC).isoformat()
    assert kept() == before


@pytest.mark.parametrize("of", ["a site", "an archive"])
def test_a_training_that_runs_elsewhere_is_said(
    run: Run, visited: Shop, archive: list[str], of: str
) -> None:
    with visited.pool.connection() as trainer:
        trainer.execute(SQL.lock_training)
        try:
            said = run(*(["shop"] if of == "a site" else archive), status=1).output
        finally:
            trainer.execute(SQL.unlock_training)
    assert "another training runs" in said


def test_what_can_no_longer_be_had_is_left_out_and_said(
    run: Run, visited: Shop, tmp_path: Path
) -> None:
    whole = json.loads(run("shop", "--json").stdout)["results"][0]["n"]
    gone = {"product_id": "a", "title": "Thing a", "availability": "OUT_OF_STOCK"}
    upload(visited, "products", [gone])
    page = tmp_path / "report.html"
    found = json.loads(run("shop", "--json", "--report", page).stdout)["results"]
    assert found[0]["n"] < whole
    assert "can no longer be had" in page.read_text(encoding="utf-8")


def test_a_site_with_too_little_says_so(run: Run, shop: Shop) -> None:
    assert "no event of this site names a product" in run("shop", status=1).output


# the page -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a stream whose products have dangerous titles; ours is the item-kNN of all."""
    clicks = [
        Click(one["session_id"], "", one["ts"], "click", one["product_id"])
        for one in visits(300, NOW)
    ]
    cut = (NOW - timedelta(days=1)).timestamp()
    sessions: dict[str, list[Click]] = {}
    for click in clicks:
        sessions.setdefault(click.session_id, []).append(click)
    train = [c for s in sessions.values() if s[0].ts < cut for c in s if c.product_id != "l"]
    split = Split(train, [s for s in sessions.values() if s[0].ts >= cut])
    asked = judged.instances_of(split)
    methods, _ = judged.simple_methods(list(TITLES), split, cut, {}, ["stan"], lambda *told: None)
    ours = {judged.OURS: {k: [methods["stan"](some)] for k, some in asked.items()}}
    found = judged.judge(list(TITLES), split, cut, ours, {}, lambda *told: None)
    titles = TITLES | {"a": "<script>alert(1)</script>"}
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write(path, found, About("a <shop>", titles, ["A note."]), NOW)
    return path.read_text(encoding="utf-8")


def test_a_page_fetches_nothing(page: str) -> None:
    assert not re.search(r"https?://|src=|<link|@import|url\(", page)


def test_a_page_escapes_what_shops_write(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "Backtest of a &lt;shop&gt;" in page


def test_a_page_says_what_it_is_worth_by_what_and_by_whom(page: str) -> None:
    assert "Of 100 visitors who had touched two products" in page
    for text in ("never touched", "By the age of the product", "A note.",
                 "Similar visits (STAN), tuned", "Visits, side by side", "taken next",
                 "those of the best other method (", "half life days"):  # fmt: skip
        assert text in page


def test_every_bar_and_point_says_its_figure(page: str) -> None:
    assert len(re.findall(r"<title>[^<]+: [\d.]+ of 100</title>", page)) > 40
