"""Places left to chance for new products, what becomes of lists, and a site's settings; through the
real application."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import time_machine
from click.testing import CliRunner
from flask.testing import FlaskClient

from gateway import access, tasks
from gateway.__main__ import cli
from gateway.jobs import EVERY_SITE
from ranking import impressions
from ranking.catalog import embeddings, newcomers
from tests.builders import rows
from tests.conftest import Shop
from tests.gateway.test_v1_rules import Caller
from tests.ranking.market import Words

BRANDS = ("nike", "puma", "avia")
KNOWN = [
    {
        "product_id": f"old-{number}",
        "title": f"shoe {BRANDS[number % 3]} {number}",
        "brand": BRANDS[number % 3],
        "product_group_id": f"group-{number // 2}",
    }
    for number in range(24)
]
NEW = [
    {
        "product_id": f"new-{number}",
        "title": f"shoe {BRANDS[number % 3]} fresh {number}",
        "brand": BRANDS[number % 3],
        "product_group_id": f"fresh-{number // 2}",
    }
    for number in range(12)
]
LIST = "recommendation/user_to_products"
HALF = {"exploration": 0.5}


class Explorer(Caller):
    """A shop of old products, which everybody looked at, and of new ones."""

    @property
    def site_id(self) -> int:
        return self.shop.site.site_id

    def admin(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answered = self.client.open(
            f"/admin/v1/{path}",
            method=method,
            query_string=query,
            headers={"X-API-KEY": self.shop.secret_key},
            data=None if body is None else json.dumps(body),
        )
        return answered.status_code, answered.json

    def set(self, **changes: Any) -> None:
        status, answered = self.admin("PATCH", "settings", changes)
        assert status == 200, answered

    def tells(self, *events: dict[str, Any]) -> None:
        status, answered = self.answer("interactions", key=self.shop.secret_key, data=list(events))
        assert status == 200, answered

    def task(self, name: str = "impressions", site_id: int | None = None) -> dict[str, Any]:
        with self.shop.pool.connection() as connection:
            connection.autocommit = True
            return tasks.TASKS[name](connection, self.site_id if site_id is None else site_id)

    def list(self, path: str = LIST, **body: Any) -> dict[str, Any]:
        asked = {"rows": 8, "anonymous_id": "somebody", "fl": ["brand", "product_group_id"]}
        data: dict[str, Any] = self.data(path, **asked | body)
        return data

    def explored(self, **body: Any) -> set[str]:
        """What stood at free places by chance, over some lists."""
        found = [self.list(**body)["products"] for _ in range(30)]
        return {one["product_id"] for some in found for one in some if "_explored" in one}

    def kept(self, miso_id: str) -> Any:
        statement = "select put, propensities, first_place from answers where miso_id = %s"
        [row] = rows(self.shop.pool, statement, miso_id)
        return row


@pytest.fixture
def clock() -> Iterator[time_machine.Coordinates]:
    at = datetime.now(UTC).replace(hour=12)
    with time_machine.travel(at, tick=False) as travelling:
        yield travelling


@pytest.fixture
def explorer(client: FlaskClient, shop: Shop, clock: time_machine.Coordinates) -> Explorer:
    made = Explorer(client, shop)
    for records in (KNOWN, NEW):
        status, answered = made.answer("products", key=shop.secret_key, data=records)
        assert status == 200, answered
    with shop.pool.connection() as connection:
        embeddings.drain(connection, made.site_id, Words())
    made.tells(
        *(viewed(f"v{number}-{at}", one["product_id"])
          for number, one in enumerate(KNOWN) for at in range(3)),
        viewed("somebody", "old-0"),
    )  # fmt: skip
    made.task("popularity")
    return made


def viewed(who: str, *product_ids: str, **more: Any) -> dict[str, Any]:
    event = {"type": "product_detail_page_view", "anonymous_id": who, "product_ids": product_ids}
    return event | more


def ids(data: dict[str, Any]) -> list[str]:
    return [one["product_id"] for one in data["products"]]


def put(data: dict[str, Any]) -> list[tuple[str, bool]]:
    """What stands where, and whether chance put it there."""
    return [(one["product_id"], "_explored" in one) for one in data["products"]]


# settings ---------------------------------------------------------------------------------------


def test_a_site_sets_what_it_wants_and_takes_it_back(explorer: Explorer) -> None:
    status, before = explorer.admin("GET", "settings")
    assert (status, before["set"]) == (200, [])
    assert before["settings"]["exploration"] == 0
    status, now = explorer.admin(
        "PATCH", "settings", {"exploration": 0.1, "exploration_chances": 7}
    )
    assert status == 200
    assert now["settings"] == before["settings"] | {"exploration": 0.1, "exploration_chances": 7}
    assert now["set"] == ["exploration", "exploration_chances"]
    explorer.set(exploration=None)
    status, after = explorer.admin("GET", "settings")
    assert after["set"] == ["exploration_chances"]
    assert after["settings"]["exploration"] == 0


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({"exploration": 0.6}, "/exploration"),
        ({"exploration": "much"}, "/exploration"),
        ({"exploration_chances": 0}, "/exploration_chances"),
        ({"explore": 1}, "/explore"),
        ({"explore": None}, "/explore"),
        ({"": 1}, "/"),
        ({"exploration": 0.1, "a/b": None}, "/a~1b"),
        ({}, ""),
        ([], ""),
    ],
    ids=[
        "too much",
        "no number",
        "too few",
        "unknown",
        "unknown taken back",
        "no name",
        "one of two",
        "nothing",
        "no object",
    ],
)
def test_what_cannot_be_set_is_said(explorer: Explorer, sent: Any, pointer: str) -> None:
    status, answered = explorer.admin("PATCH", "settings", sent)
    assert status == 422
    assert pointer in [one["pointer"] for one in answered["problems"]]
    assert explorer.admin("GET", "settings")[1]["set"] == []


@pytest.mark.usefixtures("environment")
def test_the_command_line_sets_the_same(explorer: Explorer) -> None:
    name = explorer.shop.site.name
    told = CliRunner().invoke(cli, ["settings", name, "exploration", "0.25", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["settings"]["exploration"] == 0.25
    refused = CliRunner().invoke(cli, ["settings", name, "exploration", "9"])
    assert refused.exit_code == 1
    assert "exploration: It is from 0 to 0.5." in refused.output


# places left to chance --------------------------------------------------------------------------


def test_nothing_is_left_to_chance_unless_a_site_says_so(explorer: Explorer) -> None:
    explorer.task()
    first = explorer.list()
    assert ids(first) == ids(explorer.list())
    assert explorer.kept(first["miso_id"]) == (None, None, 0)


def test_new_products_come_to_free_places(explorer: Explorer) -> None:
    without = ids(explorer.list(rows=24))
    explorer.set(**HALF)
    explorer.task()
    for _ in range(30):
        data = explorer.list()
        listed = ids(data)
        assert len(set(listed)) == len(listed) == 8
        explored = [at for at, one in enumerate(data["products"]) if "_explored" in one]
        assert all(listed[at].startswith("new-") and at >= 2 for at in explored)
        rest = [one for at, one in enumerate(listed) if at not in explored]
        assert rest == without[: len(rest)] or set(rest) <= set(without)
        put, chances, first_place = explorer.kept(data["miso_id"])
        assert first_place == 0
        if explored:
            assert [at for at, letter in enumerate(put) if letter == "e"] == explored
            assert all(0 < chance <= 1 for chance in chances)
            assert chances[:2] == [1, 1]
            assert all(chances[at] <= 0.5 for at in explored)
        else:
            assert (put, chances) == (None, None)
    assert explorer.explored()


def test_pages_and_a_seed_agree(explorer: Explorer) -> None:
    explorer.set(**HALF)
    explorer.task()
    pages = [explorer.list(pagination_id="p", start=start, rows=4) for start in (0, 4, 8, 12)]
    listed = [one for page in pages for one in ids(page)]
    assert len(set(listed)) == len(listed)
    again = [explorer.list(pagination_id="p", start=start, rows=4) for start in (0, 4, 8, 12)]
    assert [put(page) for page in again] == [put(page) for page in pages]
    assert any("_explored" in one for page in pages for one in page["products"])
    for page, second in zip(pages, again, strict=True):
        assert explorer.kept(second["miso_id"]) == explorer.kept(page["miso_id"])
    assert [explorer.kept(page["miso_id"])[2] for page in pages] == [0, 4, 8, 12]
    seeded = [put(explorer.list(seed="s")) for _ in range(3)]
    assert seeded[0] == seeded[1] == seeded[2]


def test_an_explored_product_says_so_and_its_parts_sum(explorer: Explorer) -> None:
    explorer.set(**HALF)
    explorer.task()
    lists = (explorer.list(explain=True) for _ in range(60))
    data = next(one for one in lists if any("_explored" in each for each in one["products"]))
    for at, one in enumerate(data["products"], start=1):
        told = one["_explanation"]
        assert told["position"] == at
        assert sum(told["parts"].values()) == pytest.approx(one["_personalization_score"])
        assert ("explored" in told["parts"]) == ("_explored" in one)
        if "_explored" in one:
            assert told["parts"]["explored"] >= 0
            assert told["position_without_exploration"] is None
        else:
            assert told["position_without_exploration"] <= at


def test_rules_filters_and_groups_hold_whatever_chance_does(explorer: Explorer) -> None:
    """Any rules: pinned products stand where they stood, nothing repeats."""
    explorer.set(**HALF)
    explorer.task()
    chance = Random(5)
    explored = 0
    for number in range(60):
        asked = a_request(chance)
        explorer.set(exploration=None)
        before = explorer.list(**asked)["products"]
        explorer.set(**HALF)
        data = explorer.list(**asked, seed=f"s{number}")
        after = data["products"]
        put, _, _ = explorer.kept(data["miso_id"])
        explored += sum("_explored" in one for one in after)
        assert len(after) == len(before)
        check(asked, before, after, put or "r" * len(after))
    assert explored > 40


def a_request(chance: Random) -> dict[str, Any]:
    asked: dict[str, Any] = {"rows": chance.randint(3, 12)}
    if chance.random() < 0.6:
        positions = chance.sample(range(8), 2)
        asked["boost_fq"], asked["boost_positions"] = 'brand:"puma"', positions
    elif chance.random() < 0.5:
        asked["boost_fq"] = 'brand:"puma" AND product_id:"old-1"'
    if chance.random() < 0.4:
        asked["fq"] = 'brand:("puma" OR "nike")'
    if chance.random() < 0.4:
        asked["exclude"] = [f"new-{number}" for number in range(6)]
    if chance.random() < 0.3:
        asked["dedupe_product_group_id"] = False
    return asked


def check(
    asked: dict[str, Any], before: list[dict[str, Any]], after: list[dict[str, Any]], put: str
) -> None:
    listed = [one["product_id"] for one in after]
    assert len(set(listed)) == len(listed)
    if asked.get("dedupe_product_group_id", True):
        groups = [one["product_group_id"] for one in after]
        assert len(set(groups)) == len(groups)
    assert not set(listed) & set(asked.get("exclude", ()))
    if "fq" in asked:
        assert {one["brand"] for one in after} <= {"puma", "nike"}
    for at, letter in enumerate(put):
        if letter in "bpa":
            assert after[at]["product_id"] == before[at]["product_id"], (asked, put)
        assert (letter == "e") == ("_explored" in after[at])
    pinned = [at for at, one in enumerate(before) if one["_boosted"]]
    assert all(after[at]["product_id"] == before[at]["product_id"] for at in pinned)


def test_a_list_that_keeps_products_apart_is_left_alone(explorer: Explorer) -> None:
    explorer.set(**HALF)
    explorer.task()
    apart = {"diversification": {"brand": {"minimum_distance": 1}}}
    assert explorer.explored(**apart) == set()


@pytest.mark.parametrize(
    ("path", "body", "does"),
    [
        ("recommendation/product_to_products", {"product_id": "old-5"}, True),
        ("recommendation/user_to_trending", {}, False),
        ("recommendation/user_to_history", {}, False),
        ("search/search", {"q": "shoe"}, False),
    ],
    ids=["similar", "trending", "history", "search"],
)
def test_only_lists_for_somebody_or_beside_something_explore(
    explorer: Explorer, path: str, body: dict[str, Any], does: bool
) -> None:
    explorer.set(**HALF)
    explorer.task()
    assert bool(explorer.explored(path=path, **body)) == does


def test_the_budget_goes_to_the_next_once_products_had_their_chance(
    explorer: Explorer, clock: time_machine.Coordinates
) -> None:
    explorer.set(exploration=0.5, exploration_chances=2)
    assert explorer.task()["open"] == len(NEW)
    for number in range(40):
        data = explorer.list(anonymous_id=f"w{number}")
        explorer.tells(seen(f"w{number}", data, *ids(data)))
    assert explorer.task()["waiting"] > 0  # not settled, yet given as many as they are to have
    clock.shift(timedelta(hours=1))
    told = explorer.task()
    assert told["lists"] == 40
    assert told["done"] > 3
    done = {
        row[0]
        for row in rows(
            explorer.shop.pool,
            "select product_id from products join newcomers using (site_id, product_no) "
            "where state = 'done'",
        )
    }
    assert not explorer.explored() & done
    explorer.set(exploration_chances=1_000)
    assert explorer.task()["done"] == 0


def chances(explorer: Explorer) -> dict[str, float]:
    """What new products have had, by their ids."""
    statement = (
        "select product_id, chances from products join newcomers using (site_id, product_no)"
    )
    return {name: had for name, had in rows(explorer.shop.pool, statement) if had}


def test_a_visitor_counts_once_a_day_for_each_product(
    explorer: Explorer, clock: time_machine.Coordinates
) -> None:
    explorer.set(exploration=0.5, exploration_chances=2)
    explorer.task()
    for _ in range(2):
        for _ in range(30):
            data = explorer.list()
            explorer.tells(seen("somebody", data, *ids(data)))
        assert explorer.task()["waiting"] == 0
        clock.shift(timedelta(hours=1))
        told = explorer.task()
        assert (told["waiting"], told["done"]) == (0, 0)
    had = chances(explorer)
    assert had
    assert set(had.values()) == {1.0}
    clock.shift(timedelta(days=1))
    for _ in range(30):
        data = explorer.list()
        explorer.tells(seen("somebody", data, *ids(data)))
    clock.shift(timedelta(hours=1))
    assert explorer.task()["done"] > 0


def test_the_best_of_a_visitors_lists_is_what_counts(
    explorer: Explorer, clock: time_machine.Coordinates
) -> None:
    explorer.set(**HALF)
    explorer.task()
    for _ in range(10):
        explorer.list()
    clock.shift(timedelta(hours=1))
    explorer.task()
    looked = chances(explorer)
    assert min(looked.values()) < 1
    shown = set()
    for _ in range(10):
        data = explorer.list()
        explorer.tells(seen("somebody", data, *ids(data)))
        explores = any("_explored" in one for one in data["products"])
        shown |= {one for one in ids(data) if explores and one.startswith("new-")}
    clock.shift(timedelta(hours=1))
    explorer.task()
    assert chances(explorer) == looked | dict.fromkeys(shown, 1.0)


@pytest.mark.parametrize(
    ("path", "body"),
    [("search/search", {"q": "fresh", "rows": 12}), (LIST, {"fq": 'product_id:"new-2"'})],
    ids=["a search", "a list of one"],
)
def test_lists_that_explore_nothing_are_no_chances(
    explorer: Explorer, clock: time_machine.Coordinates, path: str, body: dict[str, Any]
) -> None:
    explorer.set(**HALF)
    explorer.task()
    for number in range(3):
        data = explorer.list(path, anonymous_id=f"w{number}", **body)
        assert "new-2" in ids(data)
        explorer.tells(seen(f"w{number}", data, *ids(data)))
    clock.shift(timedelta(hours=1))
    assert explorer.task()["lists"] == 3
    assert chances(explorer) == {}


def test_whose_chances_are_counted_is_forgotten(
    explorer: Explorer, clock: time_machine.Coordinates
) -> None:
    explorer.set(**HALF)
    explorer.task()
    explorer.explored()
    clock.shift(timedelta(hours=1))
    explorer.task()
    explorer.task("purge", EVERY_SITE)
    assert rows(explorer.shop.pool, "select 1 from chances")
    clock.shift(timedelta(days=2))
    explorer.task("purge", EVERY_SITE)
    assert not rows(explorer.shop.pool, "select 1 from chances")


# what becomes of lists --------------------------------------------------------------------------


def seen(who: str, data: dict[str, Any], *product_ids: str, type: str = "impression") -> Any:
    return {"type": type, "anonymous_id": who, "miso_id": data["miso_id"],
            "product_ids": product_ids}  # fmt: skip


def test_the_report_counts_what_was_shown_seen_and_clicked(
    explorer: Explorer, clock: time_machine.Coordinates
) -> None:
    told, viewable, silent, clicked, late = (explorer.list(rows=4) for _ in range(5))
    a, b, c, d = ids(told)
    explorer.tells(
        seen("v", told, a, b, c, d),
        seen("v", told, b, type="click"),
        seen("v", told, b, type="click"),  # twice, and its page: one product was clicked
        viewed("v", b, miso_id=told["miso_id"]),
        seen("v", viewable, a, b, c, d),
        seen("v", viewable, a, type="viewable_impression"),
        seen("v", clicked, c, type="click"),
        viewed("v", a),  # of no list
    )
    clock.shift(impressions.LATE + timedelta(minutes=5))
    explorer.tells(seen("v", late, a, type="click"))
    explorer.task()
    status, report = explorer.admin("GET", "impressions")
    assert status == 200
    assert silent["miso_id"]
    of_places = {one["place"]: one for one in report["places"]}
    assert set(of_places) == {1, 2, 3, 4}
    counts = {place: told_of(one) for place, one in of_places.items()}
    assert counts == {1: (5, 3, 0), 2: (5, 2, 1), 3: (5, 2, 1), 4: (5, 1, 0)}
    assert of_places[2]["ctr"] == pytest.approx(0.2)
    assert [of_places[place]["looks"] for place in (1, 4)] == pytest.approx([1, 0.5], rel=0.2)
    of_products = {one["product_id"]: told_of(one) for one in report["products"]}
    assert of_products == {a: (5, 3, 0), b: (5, 2, 1), c: (5, 2, 1), d: (5, 1, 0)}
    by_rate = sorted(report["products"], key=lambda one: -one["corrected_rate"])
    assert by_rate[0]["product_id"] == c  # as often as b, from further down
    explorer.task()  # counted once
    assert explorer.admin("GET", "impressions")[1]["products"] == report["products"]
    _, of_one = explorer.admin("GET", "impressions", product=b)
    assert [one["product_id"] for one in of_one["products"]] == [b]


def told_of(one: dict[str, Any]) -> tuple[int, int, int]:
    return one["shown"], one["seen"], one["clicked"]


def test_places_count_over_pages(explorer: Explorer, clock: time_machine.Coordinates) -> None:
    pages = [explorer.list(pagination_id="p", start=start, rows=2) for start in (0, 2)]
    explorer.tells(seen("v", pages[1], ids(pages[1])[0], type="click"))
    clock.shift(timedelta(hours=1))
    explorer.task()
    _, report = explorer.admin("GET", "impressions")
    clicks = {one["place"]: one["clicked"] for one in report["places"]}
    assert clicks == {1: 0, 2: 0, 3: 1, 4: 0}


def test_values_are_no_list_in_an_order(
    explorer: Explorer, clock: time_machine.Coordinates
) -> None:
    explorer.data("recommendation/user_to_attributes", anonymous_id="v", field="brand")
    clock.shift(timedelta(hours=1))
    assert explorer.task()["lists"] == 0


def test_another_sites_lists_are_not_counted(
    explorer: Explorer, clock: time_machine.Coordinates
) -> None:
    data = explorer.list()
    with explorer.shop.pool.connection() as connection:
        access.create_site(connection, "other")
        other = access.site(connection, "other").site_id
    explorer.tells(seen("v", data, ids(data)[0], type="click"))
    clock.shift(timedelta(hours=1))
    assert explorer.task(site_id=other)["lists"] == 0
    assert explorer.task()["lists"] == 1
    with explorer.shop.pool.connection() as connection:
        assert impressions.report(
            connection, other, since=datetime.now(UTC) - timedelta(days=9), limit=5
        )["products"] == []  # fmt: skip


def looks_of(explorer: Explorer, clock: time_machine.Coordinates, *visitors: str) -> list[float]:
    """How likely places are looked at, once each clicked on all from the ninth place on."""
    for number, who in enumerate(visitors):
        data = explorer.list(rows=20, anonymous_id=who, dithering=1000, seed=str(number))
        explorer.tells(seen(who, data, *ids(data)[8:], type="click"))
    clock.shift(timedelta(hours=1))
    explorer.task()
    with explorer.shop.pool.connection() as connection:
        return impressions.known(connection, explorer.site_id).curve


def test_one_visitor_does_not_move_the_places(
    explorer: Explorer, clock: time_machine.Coordinates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impressions, "MOST_OF_ONE", 2)
    assumed = impressions.Known().curve
    curve = looks_of(explorer, clock, *["one"] * 40)
    assert curve == pytest.approx(assumed, rel=0.1)
    clock.shift(timedelta(days=1))
    many = looks_of(explorer, clock, *(f"w{number}" for number in range(40)))
    assert all(there > 1.2 * here for here, there in zip(curve[8:12], many[8:12], strict=True))


def test_an_estimate_ends_at_so_many_places(
    explorer: Explorer, clock: time_machine.Coordinates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impressions, "MOST_PLACES", 25)
    one = looks_of(explorer, clock, "a", "b", "c")
    monkeypatch.setattr(impressions, "MOST_PLACES", 100)
    clock.shift(timedelta(days=1))
    assert looks_of(explorer, clock) != one


def test_a_span_of_many_lists_is_counted_piece_by_piece(
    explorer: Explorer, clock: time_machine.Coordinates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impressions, "LISTS_A_SLICE", 3)
    for _ in range(8):
        data = explorer.list(rows=4)
        explorer.tells(seen("v", data, ids(data)[0], type="click"))
        clock.shift(timedelta(seconds=1))
    clock.shift(timedelta(hours=1))
    assert explorer.task()["lists"] == 8
    _, report = explorer.admin("GET", "impressions")
    assert {one["place"]: told_of(one) for one in report["places"]} == {
        1: (8, 8, 8), 2: (8, 0, 0), 3: (8, 0, 0), 4: (8, 0, 0)
    }  # fmt: skip


@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"], ids=["first", "last"]
)
def test_a_time_outside_of_the_calendar_is_refused(explorer: Explorer, since: str) -> None:
    status, answered = explorer.admin("GET", "impressions", since=since)
    assert status == 422
    assert [one["pointer"] for one in answered["problems"]] == ["/since"]


def test_old_weeks_are_forgotten(explorer: Explorer, clock: time_machine.Coordinates) -> None:
    explorer.list()
    clock.shift(timedelta(hours=1))
    explorer.task()
    assert explorer.task("purge", EVERY_SITE)["impressions"] == 0
    clock.shift(timedelta(days=100))
    assert explorer.task("purge", EVERY_SITE)["impressions"] > 0


@pytest.mark.usefixtures("environment")
def test_the_command_tells_the_same(explorer: Explorer, clock: time_machine.Coordinates) -> None:
    explorer.list()
    clock.shift(timedelta(hours=1))
    explorer.task()
    name = explorer.shop.site.name
    told = CliRunner().invoke(cli, ["impressions", name, "--json"])
    assert told.exit_code == 0, told.output
    _, report = explorer.admin("GET", "impressions")
    assert json.loads(told.output) == {"site": name} | report
    plain = CliRunner().invoke(cli, ["impressions", name])
    assert "New products: 0" in plain.output


def test_a_product_without_events_enters_once(explorer: Explorer) -> None:
    with explorer.shop.pool.connection() as connection:
        now = datetime.now(UTC)
        for _ in range(2):
            told = newcomers.refresh(connection, explorer.site_id, now, settled=now, looks=[1.0])
    assert told == {"open": len(NEW), "waiting": 0, "done": 0}
