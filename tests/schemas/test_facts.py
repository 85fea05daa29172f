"""`schemas.load`: what becomes a fact, what does not, and what the sender is told."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Event, Invalid, Product, facts, load, present
from schemas.event import EVENT_TYPES, EventSchema
from schemas.fields import present as present_id
from tests.schemas.test_payload import json_values


def an_event(**fields: Any) -> dict[str, Any]:
    return {"fact": "event", "type": "like", "user_id": "u1"} | fields


def a_product(**fields: Any) -> dict[str, Any]:
    return {"fact": "product", "record": {"product_id": "p1"} | fields}


def a_user(**fields: Any) -> dict[str, Any]:
    return {"fact": "user", "record": {"user_id": "u1"} | fields}


def pointers(fact: dict[str, Any]) -> list[str]:
    with pytest.raises(Invalid) as caught:
        load(fact)
    return [problem.pointer for problem in caught.value.problems]


# events -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["null", "NULL", "undefined", "0", 0, "None", "", "  ", None])
def test_null_like_ids_are_absent(sent: Any) -> None:
    event = load(an_event(user_id=sent, anonymous_id="a1"))
    assert (event.user_id, event.anonymous_id) == (None, "a1")  # type: ignore[union-attr]
    assert present(sent) is None


@pytest.mark.parametrize(("sent", "kept"), [(17, "17"), (17.0, "17"), (1.5, "1.5"), ("00", "00")])
def test_number_ids_become_text(sent: Any, kept: str) -> None:
    event = load(an_event(user_id=sent, product_ids=[sent]))
    assert event.user_id == kept  # type: ignore[union-attr]
    assert event.product_ids == [kept]  # type: ignore[union-attr]


def test_an_event_of_nobody_is_refused() -> None:
    assert pointers(an_event(user_id="undefined")) == ["/user_id"]


def test_nulls_are_absent() -> None:
    fields = {field.name: None for field in dataclasses.fields(Event)}
    assert load(an_event(**fields | {"type": "like", "user_id": "u1"})) == Event("like", "u1")


def test_times_become_utc() -> None:
    event = load(an_event(occurred_at="2026-03-01T12:00:00.123456789+02:00"))
    assert event.occurred_at == datetime(2026, 3, 1, 10, 0, 0, 123456, UTC)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "sent", ["2026-03-01T12:00:00", "yesterday", 1767225600, "0001-01-01T00:00:00+12:00", [], ""]
)
def test_times_without_zone_or_sense_are_refused(sent: Any) -> None:
    assert pointers(an_event(occurred_at=sent)) == ["/occurred_at"]


def test_a_list_may_come_as_an_object() -> None:
    event = load(an_event(product_ids={"3": "p7", "5": "p9"}))
    assert event.product_ids == ["p7", "p9"]  # type: ignore[union-attr]


def test_every_problem_is_named_where_it_is() -> None:
    fact = an_event(
        type="likes",
        user_id="u" * 513,
        product_ids=["p1", "", None, "p" * 513],
        rating=9,
        unknown=1,
        context={"page": {"url": 5}},
    )
    assert pointers(fact) == [
        "/type",
        "/user_id",
        "/product_ids/1",
        "/product_ids/2",
        "/product_ids/3",
        "/rating",
        "/unknown",
        "/context/page/url",
    ]


def test_there_is_one_quantity_for_each_product() -> None:
    assert pointers(an_event(product_ids=["p1", "p2"], quantities=[1])) == ["/quantities"]


@pytest.mark.parametrize("sent", [1e300, -1, True, "many", float("nan"), float("inf"), 10**400])
def test_a_quantity_that_no_column_holds_is_refused(sent: Any) -> None:
    assert pointers(an_event(product_ids=["p1"], quantities=[sent])) == ["/quantities/0"]


def test_a_tiny_quantity_is_rounded_as_a_real_would_underflow() -> None:
    event = load(an_event(product_ids=["p1"], quantities=[1e-320]))
    assert event.quantities == [0.0]  # type: ignore[union-attr]


def test_data_is_what_has_no_column_of_its_own() -> None:
    event = load(an_event(product_ids=["p1"], duration="3", search={"keywords": "lamp"}))
    assert event.data() == {"duration": 3.0, "search": {"keywords": "lamp"}}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_type_loads(name: str) -> None:
    action = {"custom_action_name": "zoom"} if name == "custom" else {}
    assert load(an_event(type=name, **action)).type == name  # type: ignore[union-attr]


def test_the_schema_alone_judges_alike() -> None:
    fact = an_event(product_ids=["p1"], rating=4, context={"page": {"url": "https://x.test"}})
    fields = {name: value for name, value in fact.items() if name != "fact"}
    assert Event(**EventSchema().load(fields)) == load(fact)


# records ----------------------------------------------------------------------------------------


def test_a_product_is_kept_as_it_was_sent() -> None:
    record = {
        "product_id": "p/1",
        "title": "Lamp",
        "categories": [["Home", "Light"]],
        "original_price": 10,
        "updated_at": "2026-01-01",
        "location": [{"lat": 1, "lon": 2}],
        "i18n_de": {"title": "Lampe"},
        "custom_attributes": {"watts": [5, 7], "led": True, "bulb": {"base": "E27"}},
    }
    assert load({"fact": "product", "record": record}) == Product(record)


def test_nulls_leave_a_record() -> None:
    product = load(a_product(cover_image=None, custom_attributes={"a": None, "b": 1}))
    assert product == Product({"product_id": "p1", "custom_attributes": {"b": 1}})


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("product_id", "", "/record/product_id"),
        ("product_id", "p" * 513, "/record/product_id"),
        ("product_id", None, "/record/product_id"),
        ("title", 5, "/record/title"),
        ("colour", "red", "/record/colour"),
        ("condition", "new", "/record/condition"),
        ("availability", "SOLD", "/record/availability"),
        ("language", "e", "/record/language"),
        ("original_price", "cheap", "/record/original_price"),
        ("original_price", True, "/record/original_price"),
        ("rating", 5.1, "/record/rating"),
        ("url", "not an address", "/record/url"),
        ("created_at", "2026-13-01", "/record/created_at"),
        ("tags", "red", "/record/tags"),
        ("tags", ["red", 5], "/record/tags/1"),
        ("categories", ["Home"], "/record/categories/0"),
        ("children", [{"url": "/x"}], "/record/children/0/id"),
        ("location", {"lat": 1}, "/record/location/lon"),
        ("location", [{"lat": 91, "lon": 1}], "/record/location/0/lat"),
        ("custom_attributes", {"a": [1, "b"]}, "/record/custom_attributes/a"),
        ("custom_attributes", [1], "/record/custom_attributes"),
        ("i18n_de", "Lampe", "/record/i18n_de"),
        ("i18n_", {}, "/record/i18n_"),
        ("enable_question_answering", "yes", "/record/enable_question_answering"),
    ],
)
def test_a_bad_field_of_a_product_is_named(field: str, value: Any, pointer: str) -> None:
    assert pointers(a_product(**{field: value})) == [pointer]


def test_a_provisional_product_loses_its_bad_fields_only() -> None:
    fact = a_product(title="Lamp", url="not an address") | {"provisional": True}
    assert load(fact) == Product({"product_id": "p1", "title": "Lamp"}, provisional=True)


def test_a_user_has_miso_fields() -> None:
    user = load(a_user(age=44.0, name="Ada", custom_attributes={"vip": True}))
    assert user.record["age"] == 44  # type: ignore[union-attr]
    assert pointers(a_user(age="old", shoe_size=44)) == ["/record/age", "/record/shoe_size"]


# the other facts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "pointer"),
    [
        ({"fact": "sighting", "anonymous_id": "null", "user_id": "u"}, "/anonymous_id"),
        ({"fact": "merge", "user_id": "u"}, "/previous_id"),
        ({"fact": "removed", "kind": "order", "id": "1"}, "/kind"),
        ({"fact": "removed", "kind": "product"}, "/id"),
        ({"fact": "erase", "user_id": "undefined"}, "/user_id"),
        ({"fact": "lifecycle"}, "/name"),
        ({"fact": "invoice"}, "/fact"),
        ({}, "/fact"),
    ],
)
def test_a_fact_without_its_parts_is_refused(fact: dict[str, Any], pointer: str) -> None:
    assert pointers(fact) == [pointer]


def test_ids_that_are_no_text_at_all_are_absent() -> None:
    assert present_id(["u1"]) is None
    assert present_id(True) is None


known = st.sampled_from(
    [field.name for kind in ("Event", "Sighting", "Merge", "Removed", "Erase")
     for field in dataclasses.fields(getattr(facts, kind))] + ["record", "as_of", "provisional"]
)  # fmt: skip
kinds = st.sampled_from([*facts._LOADERS, "order"])
columns = st.sampled_from([*facts._PRODUCT_RECORD.fields, "user_id", "age", "i18n_de"])
records = st.dictionaries(columns, json_values, max_size=6)
events = st.dictionaries(known, json_values | st.sampled_from(["like", "u1"]), max_size=6)


@given(kinds, events, records)
def test_nothing_but_invalid_is_raised(kind: str, values: Any, record: Any) -> None:
    for fact in ({"fact": kind} | values, {"fact": kind, "record": record}):
        try:
            loaded = load(fact)
        except Invalid as error:
            assert all(problem.pointer.startswith("/") for problem in error.problems)
            continue
        json.dumps(dataclasses.asdict(loaded), default=datetime.isoformat, allow_nan=False)


@given(json_values)
def test_no_value_of_any_kind_raises_anything_else(value: Any) -> None:
    with pytest.raises(Invalid):
        load(value)
