"""What a web process says while no search can be encoded."""

from __future__ import annotations

import threading
import time

import pytest
from structlog.testing import capture_logs

from gateway.http import warming
from gateway.http.lanes import Lanes
from ranking.catalog import queries


class Clock:
    """Goes on only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each try to load the network comes to; False once it is used up."""
    left: list[bool] = []
    monkeypatch.setattr(queries, "warm_up", lambda: left.pop(0) if left else False)
    monkeypatch.setattr(queries, "problem", lambda: "no network")
    return left


def said() -> list[tuple[str, str]]:
    clock = Clock()
    with capture_logs() as lines:
        warming.warm_up(clock.pause, clock)
    return [(line["log_level"], line["error"]) for line in lines]


def test_a_network_that_is_being_made_is_no_warning(tries: list[bool]) -> None:
    tries += [False, False, True]
    assert said() == [("info", "no network")]


def test_a_network_that_does_not_come_is_one_warning(tries: list[bool]) -> None:
    assert said() == [("info", "no network"), ("warning", "no network")]


def test_a_network_that_is_there_is_not_talked_about(tries: list[bool]) -> None:
    tries.append(True)
    assert said() == []


def test_a_process_that_ends_waits_for_what_is_being_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that comes back from C++ to an interpreter that is gone aborts the process."""
    loading, loaded = threading.Event(), threading.Event()

    def load() -> bool:
        loading.set()
        return loaded.wait(30)

    monkeypatch.setattr(queries, "warm_up", load)
    warming.begin()
    assert loading.wait(30)
    assert not warming.end(time.monotonic())
    loaded.set()
    assert warming.end(time.monotonic() + 30)


def test_a_process_that_ends_does_not_wait_for_the_next_try(
    tries: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "PAUSE_S", 3600.0)
    warming.begin()
    assert warming.end(time.monotonic() + 30)


def test_a_process_that_ends_waits_for_requests_in_work() -> None:
    working, done = threading.Event(), threading.Event()

    def work(job: object) -> None:
        working.set()
        done.wait(30)

    lanes = Lanes(2, work)
    lanes.put("tenant", "request")
    assert working.wait(30)
    lanes.shutdown()
    assert not lanes.join(time.monotonic())
    done.set()
    assert lanes.join(time.monotonic() + 30)
