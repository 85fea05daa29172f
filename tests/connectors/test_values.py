"""Single values as senders write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import values


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (2, 2),
        ("2", 2),
        ("19.00", 19),
        ("19,99", 19.99),
        ("$ 79.95", 79.95),
        ("79.95 USD", 79.95),
        ("CHF 1'299.50", 1299.5),
        ("1.299,50 €", 1299.5),
        ("-5", -5),
        (" 7 ", 7),
        ("10%", None),
        ("2026-01-02", None),
        ("free", None),
        ("3 for 2", None),
        ("", None),
        ("NaN", None),
        ("Infinity", None),
        ("1e400", None),
        (10**300, None),
        (True, None),
        (None, None),
        ([1], None),
        ("9" * 5_000, None),
    ],
)
def test_a_number_is_read_where_it_is_plain(written: Any, read: float | None) -> None:
    assert values.number(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [(" a ", "a"), ("", None), (7, "7"), (7.0, "7"), (7.5, "7.5"), (True, None), ([], None)],
)
def test_a_text_may_be_a_number(written: Any, read: str | None) -> None:
    assert values.text(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("A/B", ["A", "B"]),
        (" A / B / ", ["A", "B"]),
        ("A", ["A"]),
        (["A", 1, None, "B/C"], ["A", "1", "B/C"]),
        (None, []),
        ({}, []),
    ],
)
def test_a_category_is_a_path(written: Any, read: list[str]) -> None:
    assert values.path(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-10-04T12:00:00.964744581Z", "2026-10-04T12:00:00.964744+00:00"),
        ("2026-10-04T09:30:00-05:00", "2026-10-04T14:30:00+00:00"),
        ("2026-10-04T12:00:1500:00", None),
    ],
    ids=["nanoseconds", "offset", "broken"],
)
def test_an_instant_is_read_as_platforms_write_it(written: str, read: str | None) -> None:
    at = values.instant(written)
    assert (at and at.isoformat()) == read


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "read",
    [values.text, values.number, values.instant, values.objects, values.path, values.web_address],
)
@given(value=anything)
def test_no_value_is_an_error(read: Any, value: Any) -> None:
    read(value)


@given(value=st.from_regex(r"[\d.,'’ $€-]{0,45}", fullmatch=True))
def test_no_price_is_an_error(value: str) -> None:
    values.number(value)


@pytest.mark.parametrize("filler", [" ", "a", "1", ".", "€", "' "])
def test_a_long_text_is_no_number_and_costs_nothing(filler: str) -> None:
    assert values.number("$" + filler * 100_000 + "x") is None
