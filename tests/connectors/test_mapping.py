"""Rules over a sender's record: what they change, what they leave alone, what is no rule."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import mapping
from schemas import Invalid

SEEN = {
    "when": {"/event": "Artikel gesehen"},
    "set": {"/event": "Product Viewed"},
    "move": {"/properties/product_id": "/properties/artikel/nr"},
}


def mapped(record: Any, *rules: dict[str, Any]) -> Any:
    return mapping.applied(record, mapping.check({"rules": list(rules)}))


# rules ------------------------------------------------------------------------------------------


def test_a_rule_gives_a_record_our_names() -> None:
    record = {"event": "Artikel gesehen", "properties": {"artikel": {"nr": 7}}}
    assert mapped(record, SEEN) == {
        "event": "Product Viewed",
        "properties": {"artikel": {"nr": 7}, "product_id": 7},
    }
    assert record == {"event": "Artikel gesehen", "properties": {"artikel": {"nr": 7}}}


@pytest.mark.parametrize(
    ("wanted", "sent", "holds"),
    [
        ("Artikel gesehen", " ARTIKEL GESEHEN\n", True),
        ("GRÖSSE", "größe", True),
        ("a", "b", False),
        (1, 1.0, True),
        (1, "1", False),
        (1, True, False),
        (False, 0, False),
        (None, None, True),
        ("a", ["a"], False),
    ],
    ids=repr,
)
def test_texts_are_compared_trimmed_and_in_any_case(wanted: Any, sent: Any, holds: bool) -> None:
    rule = {"when": {"/x": wanted}, "set": {"/y": 1}}
    assert ("y" in mapped({"x": sent}, rule)) is holds


def test_all_of_when_must_hold_and_what_is_absent_holds_nothing() -> None:
    rule = {"when": {"/a": 1, "/b": None}, "set": {"/c": 2}}
    assert "c" in mapped({"a": 1, "b": None}, rule)
    assert "c" not in mapped({"a": 1}, rule)
    assert mapped({}, {"set": {"/c": 2}}) == {"c": 2}


def test_nothing_is_moved_from_where_nothing_is() -> None:
    record = {"event": "x", "properties": {"product_id": "kept"}}
    assert mapped(record, {"move": SEEN["move"]}) == record


def test_rules_read_what_was_sent_and_write_one_after_the_other() -> None:
    first = {"when": {"/a": 1}, "set": {"/a": 2, "/b": "first"}}
    second = {"when": {"/a": 2}, "set": {"/b": "never"}}
    third = {"when": {"/a": 1}, "set": {"/b": "third"}, "move": {"/c": "/a"}}
    assert mapped({"a": 1}, first, second, third) == {"a": 2, "b": "third", "c": 1}


@pytest.mark.parametrize(
    ("record", "pointer", "expected"),
    [
        ({}, "/a/b/c", {"a": {"b": {"c": 1}}}),
        ({"a": None}, "/a/b", {"a": {"b": 1}}),
        ({"a": "text"}, "/a/b", {"a": "text"}),
        ({"a": [5, {"b": 6}]}, "/a/1/b", {"a": [5, {"b": 1}]}),
        ({"a": [5]}, "/a/1", {"a": [5]}),
        ({"a": [5]}, "/a/-", {"a": [5]}),
        ({"a": [5]}, "/a/00", {"a": [5]}),
        ({}, "/a~1b/~0", {"a/b": {"~": 1}}),
        ({}, "/", {"": 1}),
    ],
    ids=repr,
)
def test_a_pointer_leads_where_rfc_6901_says(record: Any, pointer: str, expected: Any) -> None:
    assert mapped(record, {"set": {pointer: 1}}) == expected


@pytest.mark.parametrize("record", ["p1", 7, None, True, [{"event": "x"}]], ids=repr)
def test_a_record_that_is_no_object_stays_as_it_is(record: Any) -> None:
    assert mapped(record, {"set": {"/0": 1}}) == record


def test_a_record_that_copies_itself_over_and_over_stays_small() -> None:
    rules = [{"move": {f"/copy/{n}": "/text"}} for n in range(mapping.RULES_AT_MOST)]
    made = mapped({"text": "x" * 100_000}, *rules)
    assert len(made["copy"]) == 10


NAMES = st.sampled_from(["a", "b", "0", "1", "-", "", "a/b", "~"]) | st.text(max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
STEPS = st.sampled_from(["a", "b", "0", "1", "-", "", "a~1b", "~0"])
POINTERS = st.lists(STEPS, min_size=1, max_size=4).map(lambda steps: "/" + "/".join(steps))
SCALARS = st.none() | st.booleans() | st.integers() | st.text()
RULES = st.fixed_dictionaries(
    {"set": st.dictionaries(POINTERS, VALUES, min_size=1, max_size=1)},
    optional={"when": st.dictionaries(POINTERS, SCALARS, max_size=2)},
) | st.fixed_dictionaries(
    {"move": st.dictionaries(POINTERS, POINTERS, min_size=1, max_size=1)},
    optional={"when": st.dictionaries(POINTERS, SCALARS, max_size=2)},
)


@given(record=VALUES, rules=st.lists(RULES, max_size=6))
def test_no_record_fails_and_each_stays_as_it_was(record: Any, rules: list[dict[str, Any]]) -> None:
    compiled = mapping.check({"rules": rules})
    before = copy.deepcopy(record)
    first, second = mapping.applied(record, compiled), mapping.applied(record, compiled)
    assert repr(record) == repr(before)
    assert repr(first) == repr(second)


# documents --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ([], [""]),
        (None, [""]),
        ({}, ["/rules"]),
        ({"rules": {}}, ["/rules"]),
        ({"rules": [], "a/b": 1}, ["/a~1b"]),
        ({"rules": [{"set": {"/a": 1}}] * 201}, ["/rules"]),
        ({"rules": [7]}, ["/rules/0"]),
        ({"rules": [{"when": {"/a": 1}}]}, ["/rules/0"]),
        ({"rules": [{"set": {}, "move": {}}]}, ["/rules/0"]),
        ({"rules": [{"set": {"/a": 1}, "unset": 1}]}, ["/rules/0/unset"]),
        ({"rules": [{"set": ["/a"]}]}, ["/rules/0/set"]),
        ({"rules": [{"set": {"a": 1, "/~2": 1}}]}, ["/rules/0/set/a", "/rules/0/set/~1~02"]),
        ({"rules": [{"set": {"": 1}}]}, ["/rules/0/set/"]),
        ({"rules": [{"move": {"/a": 1}}]}, ["/rules/0/move/~1a"]),
        ({"rules": [{"move": {"/a": "event"}}]}, ["/rules/0/move/~1a"]),
        ({"rules": [{"when": {"/a": {}}, "set": {"/a": 1}}]}, ["/rules/0/when/~1a"]),
        ({"rules": [{"set": {"/a": 1}, "move": {"/a/b": "/c"}}]}, ["/rules/0/move/~1a~1b"]),
        ({"rules": [{"set": {"/a": 1}, "move": {"/a": "/c"}}]}, ["/rules/0/set/~1a"]),
        ({"rules": [{"set": {"/a" * 33: 1}}]}, ["/rules/0/set/" + "~1a" * 33]),
        ({"rules": [{"set": {f"/{n}": n for n in range(51)}}]}, ["/rules/0/set"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_with_a_document_is_pointed_at(document: Any, pointers: list[str]) -> None:
    with pytest.raises(Invalid) as raised:
        mapping.check(document)
    assert [problem.pointer for problem in raised.value.problems] == pointers
    assert all(problem.message.endswith(".") for problem in raised.value.problems)
