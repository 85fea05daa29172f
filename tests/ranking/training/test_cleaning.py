"""Who does not count: the rules one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from ranking.training import cleaning
from ranking.training.cleaning import Cleaned, Cleaning, Happened

DAY = 86_400.0


def cleaned(*visitors: Iterable[Happened]) -> Cleaned:
    made = Cleaning()
    for one in visitors:
        made.visitor(one)
    return made.done()


def visit(*rows: int, at: float = 0.0, session: str | None = None, kind: int = 2) -> list[Happened]:
    return [Happened(at + 60.0 * step, row, kind, session) for step, row in enumerate(rows)]


def rows(made: Cleaned) -> list[list[int]]:
    return [one[0] for one in made.sessions]


def test_half_an_hour_without_an_event_ends_a_session() -> None:
    assert rows(cleaned([*visit(1, 2), *visit(3, at=DAY)])) == [[1, 2], [3]]


def test_the_senders_sessions_are_kept_whatever_the_gaps() -> None:
    events = [*visit(1, session="a"), *visit(2, session="b", at=60), *visit(3, session="a", at=DAY)]
    assert rows(cleaned(events)) == [[1, 3], [2]]


def test_immediate_repeats_are_one_event_of_the_strongest_kind() -> None:
    events = [*visit(1, kind=2), *visit(1, kind=5, at=1), *visit(2, at=2)]
    [(found, kinds, _, _)] = cleaned(events).sessions
    assert (found, kinds) == ([1, 2], [5, 2])


def test_a_click_and_the_page_it_leads_to_count_once() -> None:
    click, page = visit(1, kind=2), visit(1, kind=2, at=1)
    events = [*(one._replace(weight=2.5) for one in click), *page, *visit(2, at=2)]
    [(found, _, _, weights)] = cleaned(events).sessions
    assert (found, weights) == ([1, 2], [2.5, 1.0])


def crawler(a_day: int, days: int) -> Iterator[Happened]:
    for day in range(days):
        for step in range(a_day):
            yield Happened(day * DAY + step, step % 50, 2, None)


def test_a_visitor_with_a_day_of_too_many_events_is_a_machine() -> None:
    made = cleaned(crawler(cleaning.MOST_A_DAY + 1, 1), visit(1, 2))
    assert rows(made) == [[1, 2]]
    assert made.left_out.machines == 1
    assert made.left_out.machine_events == cleaning.MOST_A_DAY + 1


def test_a_million_events_of_one_visitor_are_not_held() -> None:
    made = cleaned(crawler(50_000, 20), visit(1, 2))
    assert rows(made) == [[1, 2]]
    assert made.left_out.machine_events == 1_000_000


def test_of_a_long_session_only_the_first_products_count() -> None:
    made = cleaned(visit(*range(cleaning.MOST_OF_SESSION + 7)))
    assert rows(made) == [list(range(cleaning.MOST_OF_SESSION))]
    assert made.left_out.long_session_events == 7


def test_the_same_series_again_and_again_is_a_script() -> None:
    made = cleaned(*(visit(1, 2, 3, 4) for _ in range(9)))
    assert len(rows(made)) == cleaning.MOST_ALIKE
    assert made.left_out.script_sessions == 9 - cleaning.MOST_ALIKE


def test_short_visits_may_be_alike() -> None:
    assert len(rows(cleaned(*(visit(1, 2) for _ in range(9))))) == 9


def test_nobody_is_more_than_a_part_of_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "FEWEST_CUT", 4)
    heavy = [one for day in range(10) for one in visit(day, day + 1, at=day * DAY)]
    made = cleaned(heavy, *(visit(50 + n, 60 + n) for n in range(20)))
    assert rows(made)[:2] == [[8, 9], [9, 10]]  # the newest
    assert made.left_out.heavy_visitors == 1
    assert made.left_out.heavy_events == 16
