"""Miso's wire into facts: its types, its quirks, and the lines its clients read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import AttuneError, Event, Invalid, Malformed, load, v1
from schemas.event import EVENT_TYPES
from tests.schemas.test_payload import json_values

LINE = re.compile(r"data\.(\d+)((?:\.\S+)?) (?:\((.+)\) )?is invalid\. .+")
UUID = "9b2d4f0e-3a51-4fd6-9b4c-2f6a8d6c1f00"


@dataclass
class AProblem:
    position: int
    pointer: str
    reason: str
    value: Any = None


def an_interaction(**fields: Any) -> dict[str, Any]:
    return {"type": "like", "product_ids": ["p1"], "anonymous_id": "a1"} | fields


def translate(record: Any, topic: str = "interactions", **settings: Any) -> list[dict[str, Any]]:
    return v1.translate(topic, record, settings)


def event(record: Any) -> Any:
    return load(translate(record)[0])


def pointers(record: Any, topic: str = "interactions") -> list[str]:
    with pytest.raises(Invalid) as caught:
        for fact in translate(record, topic):
            load(fact)
    return [problem.pointer for problem in caught.value.problems]


# interactions -----------------------------------------------------------------------------------


def test_every_type_of_ours_but_one_is_on_the_wire() -> None:
    assert len(v1.INTERACTION_TYPES) == len(EVENT_TYPES) - 1 == 29
    assert "purchase" not in v1.INTERACTION_TYPES


@pytest.mark.parametrize("name", v1.INTERACTION_TYPES)
def test_every_type_is_understood(name: str) -> None:
    action = {"custom_action_name": "zoom"} if name == "custom" else {}
    fact = event({"type": name, "user_id": "u1", **action})
    assert v1.wire_type(fact.type) == name


def test_a_checkout_is_a_purchase() -> None:
    sent = an_interaction(type="checkout", product_ids=["p1", "p2"], quantities=2, revenue=19.9)
    assert event(sent) == Event(
        "purchase",
        anonymous_id="a1",
        product_ids=["p1", "p2"],
        quantities=[2.0, 2.0],
        revenue=19.9,
    )


def test_the_clients_uuid_identifies_the_event() -> None:
    sent = an_interaction(context={"custom_context": {"uuid": UUID, "site": "x"}})
    assert event(sent).message_id == UUID


@pytest.mark.parametrize("uuid", [None, "", {"a": 1}, ["x"], "u" * 2000])
def test_a_uuid_that_is_none_is_no_reason_to_refuse(uuid: Any) -> None:
    assert event(an_interaction(context={"custom_context": {"uuid": uuid}})).message_id is None


def test_both_ids_are_a_sighting_too() -> None:
    sent = an_interaction(user_id="u1", timestamp="2026-03-01T12:00:00Z")
    _, sighting = translate(sent)
    assert sighting["fact"] == "sighting"
    assert (sighting["anonymous_id"], sighting["user_id"]) == ("a1", "u1")


def test_who_names_nobody_gets_the_id_of_the_address() -> None:
    [fact] = translate({"type": "like", "user_id": "null"}, anonymous_id="ip-1")
    assert load(fact).anonymous_id == "ip-1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"type": "purchase"}, "/type"),
        ({"type": "checkout_started"}, "/type"),
        ({"type": None}, "/type"),
        ({"type": ["like"]}, "/type"),
        ({"colour": "red"}, "/colour"),
        ({"rating": 5}, "/rating"),
        ({"currency": "EUR"}, "/currency"),
        ({"fact": "erase"}, "/fact"),
        ({"product_ids": "p1"}, "/product_ids"),
        ({"product_ids": ["p" * 513]}, "/product_ids/0"),
        ({"user_id": "u" * 513}, "/user_id"),
        ({"anonymous_id": "a" * 1025}, "/anonymous_id"),
        ({"anonymous_id": ["a1"]}, "/anonymous_id"),
        ({"timestamp": "2026-03-01T12:00:00"}, "/timestamp"),
        ({"timestamp": 1767225600}, "/timestamp"),
        ({"miso_id": "x"}, "/miso_id"),
        ({"context": []}, "/context"),
        ({"context": {"campaign": {"name": 5}}}, "/context/campaign/name"),
        ({"type": "add_to_cart", "quantities": [1, 2]}, "/quantities"),
        ({"type": "add_to_cart", "quantities": "x"}, "/quantities/0"),
        ({"type": "rate", "rating": 6}, "/rating"),
        ({"type": "search", "product_ids": ["p1"]}, "/product_ids"),
        ({"type": "search", "product_ids": None, "search": {"keywords": 5}}, "/search/keywords"),
        ({"type": "custom"}, "/custom_action_name"),
    ],
)
def test_a_bad_interaction_is_refused_where_it_is_bad(fields: Any, pointer: str) -> None:
    assert pointers(an_interaction(**fields)) == [pointer]


@pytest.mark.parametrize("record", [None, 5, "like", ["like"]])
def test_an_interaction_is_an_object(record: Any) -> None:
    assert pointers(record) == ["/type"]


# records ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"data": ["a", "b"]}, [("/data/0", "a"), ("/data/1", "b")]),
        ({"data": {"3": "a"}}, [("/data/3", "a")]),
        ({"data": {"product_ids": ["p1"]}}, [("/data/product_ids/0", "p1")]),
        ({"data": {"product_ids": {"3": "p7"}}}, [("/data/product_ids/3", "p7")]),
        ({"data": {"user_ids": ["u1"]}}, [("/data/user_ids/0", "u1")]),
        ({"user_ids": ["u1"]}, [("/user_ids/0", "u1")]),
        ({"data": []}, []),
    ],
)
def test_records_are_found_in_every_form(body: Any, found: list[tuple[str, Any]]) -> None:
    assert list(v1.records(body)) == found


@pytest.mark.parametrize("body", [None, [], 5, {}, {"data": None}, {"data": 5}, {"data": "x"}])
def test_a_body_without_records_is_malformed(body: Any) -> None:
    with pytest.raises(Malformed):
        list(v1.records(body))


def test_a_record_carries_the_senders_instant() -> None:
    [product] = translate({"product_id": "p1", "updated_at": "2026-03-01"}, "products")
    assert load(product).as_of.isoformat() == "2026-03-01T00:00:00+00:00"  # type: ignore[union-attr]
    [user] = translate({"user_id": 17}, "users")
    assert load(user).record == {"user_id": "17"}  # type: ignore[union-attr]


@pytest.mark.parametrize("product_id", ["_ids", "a,b", "", "p" * 513, None])
def test_a_product_id_must_fit_paths_and_lists(product_id: Any) -> None:
    assert pointers({"product_id": product_id}, "products") == ["/product_id"]


def test_a_user_id_must_not_look_like_a_route() -> None:
    assert pointers({"user_id": "_ids"}, "users") == ["/user_id"]
    assert pointers("u1", "users") == ["/user_id"]


@pytest.mark.parametrize(
    ("topic", "fact"),
    [
        ("products/_delete", {"fact": "removed", "kind": "product", "id": "x"}),
        ("users/_delete", {"fact": "removed", "kind": "user", "id": "x"}),
        ("interactions/_delete", {"fact": "erase", "user_id": "x"}),
    ],
)
def test_deletions_are_facts(topic: str, fact: dict[str, Any]) -> None:
    assert translate("x", topic) == [fact]
    with pytest.raises(Invalid):
        translate({"id": "x"}, topic)


# lines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (AProblem(0, "/data/0/type", "It is bad.", "x"), "data.0.type (x) is invalid. It is bad."),
        (AProblem(7, "/data/a/b/2", "Bad.", ["x"]), "data.7.b.2 is invalid. Bad."),
        (AProblem(1, "/data/1/a b\nc", "Very\nbad.", 5), "data.1.a_b_c (5) is invalid. Very bad."),
        (AProblem(1, "/data/1/a~1b~0c", "Bad.", True), "data.1.a/b~c (true) is invalid. Bad."),
        (AProblem(2, "/data/2/t", "Bad.", "long" * 99), "data.2.t is invalid. Bad."),
    ],
)
def test_a_line_has_the_form_that_clients_read(problem: AProblem, line: str) -> None:
    assert v1.lines([problem]) == [line]
    assert LINE.fullmatch(line)


topics = st.sampled_from(["interactions", "products", "users", "users/_delete", "x", None])
keys = st.sampled_from([*v1.INTERACTION_FIELDS["checkout"], *v1._PRODUCT.fields, "user_id", "zz"])
records = st.dictionaries(keys, json_values, max_size=5)


@given(topics, records | json_values, st.sampled_from([None, *v1.INTERACTION_TYPES]))
def test_any_record_is_translated_or_refused(topic: Any, record: Any, name: Any) -> None:
    if name and isinstance(record, dict):
        record["type"] = name
    try:
        for fact in translate(record, topic):
            load(fact)
    except Invalid as error:
        found = [AProblem(0, f"/data/0{p.pointer}", p.message, p.value) for p in error.problems]
        assert all(LINE.fullmatch(line) for line in v1.lines(found))
    except AttuneError:
        return


def test_a_long_key_is_not_repeated_whole_by_each_problem_of_its_record() -> None:
    [(pointer, record)] = v1.records({"data": {"k" * 100_000: {"type": "like"}}})
    assert pointer == "/data/" + "k" * 100
    assert record == {"type": "like"}


@given(json_values)
def test_any_body_has_records_or_is_malformed(body: Any) -> None:
    try:
        assert all(pointer.startswith("/") for pointer, _ in v1.records(body))
    except Malformed:
        return
