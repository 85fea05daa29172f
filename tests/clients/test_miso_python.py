"""Miso's unmodified library for Python: every call that it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Receiver, by_python

pytestmark = pytest.mark.heavy

PRODUCTS: list[dict[str, Any]] = [
    {"product_id": f"p{number}", "title": f"mug {number}", "brand": "b", "categories": [["all"]]}
    for number in range(4)
]
ANN, BEN = {"user_id": "ann", "name": "Ann"}, {"user_id": "ben", "name": "Ben"}
LIKE = {"type": "like", "user_id": "ann", "product_ids": ["p0"]}

Answer = dict[str, Any]
Call = tuple[str, str, dict[str, Any]]


@pytest.fixture
def ask(pip: Path, receiver: Receiver) -> Callable[..., list[Answer]]:
    """What the calls of one client came to, one after the other, and which calls it has."""

    def asked(*calls: Call, key: str | None = None) -> list[Answer]:
        told = {"key": key or receiver.secret_key, "host": receiver.url, "calls": calls}
        found = json.loads(by_python(pip, HERE / "miso_calls.py", told))
        called = {(group, name) for group, name, _ in ALL_CALLS}
        has = {(group, name) for group, names in found["names"].items() for name in names}
        assert has == called, "the tests call what the library has"
        answers: list[Answer] = found["answers"]
        return answers

    return asked


DATA: list[Call] = [
    ("product", "upload", {"data": PRODUCTS}),
    ("product", "read", {"product_id": "p0"}),
    ("user", "upload", {"data": [ANN, BEN]}),
    ("user", "read", {"user_id": "ann"}),
    ("interaction", "upload", {"data": [LIKE, LIKE | {"user_id": "ben"}]}),
]
LISTS: list[Call] = [
    ("recommendation", "user_to_products", {"user_id": "ann", "rows": 10}),
    ("recommendation", "user_to_trending", {"user_id": "ann", "rows": 10, "fl": ["title"]}),
    ("recommendation", "product_to_products", {"user_id": "ann", "product_ids": ["p0", "p1"]}),
    ("search", "search", {"user_id": "ann", "q": "mug", "boost_fq": 'product_id:"p3"'}),
    ("search", "multi_get", {"product_ids": ["p3", "p0"]}),
]
GROUPS: list[Call] = [
    ("recommendation", "user_to_categories", {"user_id": "ann", "root_category": []}),
    ("recommendation", "user_to_attributes", {"user_id": "ann", "field": "brand"}),
    ("search", "autocomplete", {"anonymous_id": "a1", "q": "mug", "fl": ["title"]}),
]
BULK: Call = (
    "bulk",
    "bulk",
    {
        "requests": [
            {"api_name": "search/search", "body": {"q": "mug", "user_id": "ann"}},
            {"api_name": "search/search", "body": {"q": "mug", "rows": -1}},
        ]
    },
)
DELETIONS: list[Call] = [
    ("interaction", "delete", {"user_ids": ["ann"]}),
    ("product", "delete", {"product_id": "p0"}),
    ("user", "delete", {"user_id": "ben"}),
]
NOT_BUILT: list[Call] = [
    ("experiment", "send", {"experiment": "one", "user_id": "ann"}),
    ("qa", "question_answering", {"q": "what?", "min_probability": 0.3}),
    ("qa", "upload_question_bank", {"data": [{"question": "what?"}]}),
    ("qa", "question_autocomplete", {"q": "wh"}),
]
ALL_CALLS = [*DATA, *LISTS, *GROUPS, BULK, *DELETIONS, *NOT_BUILT]

Ask = Callable[..., list[Answer]]


def bodies(answers: list[Answer]) -> list[Any]:
    assert [answer["status"] for answer in answers] == [200] * len(answers), answers
    return [answer["body"] for answer in answers]


def test_records_are_taken_and_read_back(ask: Ask, receiver: Receiver) -> None:
    uploaded, product, users, ann, interactions = bodies(ask(*DATA))
    assert set(uploaded) == set(users) == {"task_id"} and interactions == []
    assert product == PRODUCTS[0]
    assert ann == ANN
    assert [event["product_ids"] for event in receiver.events()] == [["p0"], ["p0"]]


def test_lists_are_answered(ask: Ask) -> None:
    liked, trending, like_them, found, got = bodies(ask(*DATA, *LISTS)[len(DATA) :])
    assert {one["product_id"] for one in liked["products"]} == {"p1", "p2", "p3"}
    assert all(one["title"] for one in trending["products"])
    assert {one["product_id"] for one in like_them["products"]} == {"p2", "p3"}
    assert found["products"][0]["product_id"] == "p3"
    assert [one["_boosted"] for one in found["products"]] == [True, False, False, False]
    assert [one["product_id"] for one in got["products"]] == ["p3", "p0"]


def test_groups_and_completions_are_answered(ask: Ask, complete: Callable[[], None]) -> None:
    ask(*DATA)
    complete()
    categories, attributes, completed = bodies(ask(*GROUPS))
    assert [one["category"] for one in categories["categories"]] == [["all"]]
    assert [one["value"] for one in attributes["attributes"]] == ["b"]
    completions = completed["completions"]["title"]
    assert {one["product"]["title"] for one in completions} == {f"mug {n}" for n in range(4)}
    assert {type(one["product"]["_boosted"]) for one in completions} == {bool}


def test_each_of_a_bulk_is_answered(ask: Ask) -> None:
    [answered] = bodies(ask(*DATA, BULK)[len(DATA) :])
    assert [one["status_code"] for one in answered] == [200, 422]
    assert [one["error"] for one in answered] == [False, True]
    assert len(answered[0]["body"]["data"]["products"]) == 4


def test_what_is_deleted_is_gone(ask: Ask, receiver: Receiver) -> None:
    gone: list[Call] = [
        ("product", "read", {"product_id": "p0"}),
        ("user", "read", {"user_id": "ben"}),
    ]
    answers = ask(*DATA, *DELETIONS, *gone)[len(DATA) :]
    bodies(answers[: len(DELETIONS)])
    for answer in answers[len(DELETIONS) :]:
        assert answer["status"] == 404
        assert answer["body"]["message"].startswith("not found")
    assert [event["user_id"] for event in receiver.events()] == ["ben"]


def test_one_bad_record_refuses_the_upload_with_a_line_for_it(ask: Ask, receiver: Receiver) -> None:
    bad = PRODUCTS[1] | {"sale_price": "cheap"}
    [answer] = ask(("product", "upload", {"data": [PRODUCTS[0], bad]}))
    assert answer["status"] == 422
    assert answer["body"]["errors"] is True
    [line] = answer["body"]["data"]
    assert line.startswith("data.1.sale_price")
    assert receiver.ledger()["applied"] == 0


def test_a_key_is_needed_that_may_do_it(ask: Ask, receiver: Receiver) -> None:
    [wrong] = ask(DATA[0], key="sk_wrong")
    assert (wrong["status"], wrong["body"]["message"]) == (401, "invalid api key.")
    [lacks] = ask(DATA[0], key=receiver.publishable_key)
    assert lacks["status"] == 403


def test_experiments_and_questions_are_not_built(ask: Ask) -> None:
    for answer in ask(*NOT_BUILT):
        assert answer["status"] == 404
        assert answer["body"]["message"].startswith("not found")
