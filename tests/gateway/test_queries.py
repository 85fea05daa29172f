"""What visitors search for, as the operator sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from gateway import instant
from gateway.__main__ import cli
from ranking.catalog import searched, suggestions
from tests.builders import ago, rows
from tests.conftest import Shop


class Caller:
    """Sends searches that happened, searches itself, and asks what was searched for."""

    def __init__(self, client: FlaskClient, shop: Shop) -> None:
        self.client, self.shop = client, shop

    def happened(self, text: str, *visitors: str, days: float = 1) -> None:
        events = [
            {"type": "search", "anonymous_id": visitor, "timestamp": ago(days=days, seconds=number),
             "search": {"keywords": text}}
            for number, visitor in enumerate(visitors)
        ]  # fmt: skip
        self.post("/v1/interactions", {"data": events})

    def search(self, q: str, **body: Any) -> None:
        self.post("/v1/search/search", {"q": q, **body})

    def post(self, path: str, body: Any) -> None:
        headers = {"X-API-KEY": self.shop.secret_key}
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text

    def refresh(self) -> None:
        with self.shop.pool.connection() as connection:
            searched.refresh(connection, self.shop.site.site_id, instant.now())

    def queries(self, **asked: Any) -> list[dict[str, Any]]:
        headers = {"X-API-KEY": self.shop.secret_key}
        answer = self.client.get("/admin/v1/queries", query_string=asked, headers=headers)
        assert answer.status_code == 200 and answer.json, answer.text
        return answer.json["queries"]  # type: ignore[no-any-return]

    def counted(self, *names: str, **asked: Any) -> list[tuple[Any, ...]]:
        return [tuple(one[name] for name in names) for one in self.queries(**asked)]


@pytest.fixture
def caller(client: FlaskClient, shop: Shop) -> Caller:
    made = Caller(client, shop)
    made.post("/v1/products", {"data": [{"product_id": "p1", "title": "Red mug"}]})
    return made


def test_the_most_searched_for_come_first(caller: Caller) -> None:
    caller.happened("Red Mug", "a", "b", "a")
    caller.happened("  red  mug ", "c", days=20)
    caller.happened("Red Mug", "d", days=100)
    caller.happened("hat", "a", "b")
    caller.refresh()
    found = caller.counted("text", "searches", "visitors", kind="popular")
    assert found == [("Red Mug", 4, 3), ("hat", 2, 2)]
    assert len(caller.queries(limit=1)) == 1
    assert caller.queries()[0]["last_searched_at"] > ago(days=2)


def test_a_person_with_two_ids_is_one_visitor(caller: Caller) -> None:
    caller.happened("mug", "a", "b")
    caller.post("/admin/v1/merge", {"ids": ["a", "b"]})
    caller.refresh()
    assert caller.counted("text", "visitors") == [("mug", 1)]


def test_rising_is_what_is_searched_for_more_than_the_week_before(caller: Caller) -> None:
    for text, before, lately in (("falling", 5, 1), ("rising", 1, 5), ("new", 0, 2)):
        caller.happened(text, *(f"v{n}" for n in range(before)), days=10)
        caller.happened(text, *(f"v{n}" for n in range(lately)), days=2)
    caller.refresh()
    names = ("text", "searches_7_days", "searches_7_days_before")
    assert caller.counted(*names, kind="rising") == [("rising", 5, 1), ("new", 2, 0)]


def test_searches_that_found_nothing_are_counted(caller: Caller) -> None:
    for query in ("velvet sofa", "Velvet  SOFA", "piano", "red mug", "*", "ann@example.org"):
        caller.search(query)
    caller.search("harp", fq="brand:none")
    caller.search("harp", start=5)
    caller.happened("piano", "a", "b")
    caller.refresh()
    names = ("text", "searches", "visitors")
    found = caller.counted(*names, kind="no_results")
    assert found == [("Velvet  SOFA", 2, None), ("piano", 1, 2)]


@pytest.fixture
def spelling(caller: Caller) -> Caller:
    """Knows the words of the catalog."""
    with caller.shop.pool.connection() as connection:
        suggestions.refresh(connection, caller.shop.site.site_id, instant.now())
    return caller


def test_searches_that_found_something_once_corrected_are_counted(spelling: Caller) -> None:
    for query in ("rde mugg", "RDE  mugg", "mgu", "red mug", "mug zzzzzz", "mgu zzzzzz"):
        spelling.search(query)
    spelling.search("mgu", fq="brand:none")
    spelling.search("mgu", start=5)
    spelling.search("mgu", spellcheck={"enable_auto_spelling_correction": False})
    spelling.happened("mgu", "a", "b")
    spelling.refresh()
    names = ("text", "corrected_text", "searches", "visitors")
    found = spelling.counted(*names, kind="corrected")
    assert found == [("RDE  mugg", "RED  mug", 2, None), ("mgu", "mug", 1, 2)]
    assert spelling.counted("text", "searches", kind="no_results") == [
        ("mgu", 1), ("mgu zzzzzz", 1), ("mug zzzzzz", 1),
    ]  # fmt: skip


def test_corrected_searches_are_forgotten_in_time_and_shown_by_the_command(
    spelling: Caller, environment: dict[str, str]
) -> None:
    spelling.search("mgu")
    spelling.search("ann@example.org mgu")
    shown = CliRunner().invoke(cli, ["queries", "shop", "--kind", "corrected"]).stdout
    assert "mgu" in shown and "mug" in shown and "ann" not in shown
    with spelling.shop.pool.connection() as connection:
        assert searched.purge(connection, instant.now() - searched.WINDOW) == 0
        assert searched.purge(connection, instant.now() + searched.LATELY) == 1
    assert spelling.queries(kind="corrected") == []


def test_what_says_something_of_a_person_is_not_kept(caller: Caller) -> None:
    for text in ("ann@example.org", "call 0170 1234567", "4006381333931", "+1 (555) 010-9999"):
        caller.happened(text, "a", "b")
        caller.search(text)
    caller.happened("2000 lamps", "a")
    caller.refresh()
    assert caller.counted("text") == [("2000 lamps",)]
    assert caller.queries(kind="no_results") == []


def test_an_erased_persons_searches_go(caller: Caller) -> None:
    caller.happened("mug", "a", "b")
    caller.happened("secret wish", "a")
    caller.refresh()
    caller.post("/admin/v1/erase", {"id": "a"})
    caller.refresh()
    assert caller.counted("text", "searches") == [("mug", 1)]


def test_what_finds_nothing_completes_nothing(caller: Caller) -> None:
    caller.happened("velvet sofa", "a", "b")
    caller.refresh()
    asked = "select text from completions where field = 'historical_queries'"
    assert rows(caller.shop.pool, asked) == [("velvet sofa",)]
    caller.search("velvet sofa")
    caller.search("velvet sofa")
    caller.refresh()
    assert rows(caller.shop.pool, asked) == []


def test_rows_that_stay_equal_are_not_written(caller: Caller) -> None:
    caller.happened("mug", "a", "b")
    asked = "select xmin::text from searched union all select xmin::text from completions"
    caller.refresh()
    before = rows(caller.shop.pool, asked)
    caller.refresh()
    assert rows(caller.shop.pool, asked) == before


def test_searches_in_vain_are_forgotten_in_time(caller: Caller) -> None:
    caller.search("piano")
    with caller.shop.pool.connection() as connection:
        assert searched.purge(connection, instant.now() - searched.WINDOW) == 0
        assert searched.purge(connection, instant.now() + searched.LATELY) == 1


def test_an_unknown_kind_is_refused(caller: Caller) -> None:
    headers = {"X-API-KEY": caller.shop.secret_key}
    answer = caller.client.get("/admin/v1/queries?kind=odd", headers=headers)
    assert answer.status_code == 422 and answer.json
    assert answer.json["problems"][0]["pointer"] == "/kind"


def test_the_command_shows_the_same(caller: Caller, environment: dict[str, str]) -> None:
    caller.search("piano")
    done = CliRunner().invoke(cli, ["queries", "shop", "--kind", "no_results", "--json"])
    assert done.exit_code == 0, done.output
    [told] = json.loads(done.stdout)["queries"]
    assert (told["text"], told["searches"], told["visitors"]) == ("piano", 1, None)
    assert "piano" in CliRunner().invoke(cli, ["queries", "shop", "--kind", "no_results"]).stdout
    assert "Nothing" in CliRunner().invoke(cli, ["queries", "shop"]).stdout
