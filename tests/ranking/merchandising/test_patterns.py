"""Regular expressions of facets mean in Postgres what Lucene means by them."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranking.merchandising import patterns
from ranking.merchandising.patterns import PatternError
from schemas.database import Connection


def matches(connection: Connection, pattern: str, text: str) -> bool:
    asked = [text, patterns.translate(pattern)]
    row = connection.execute("select %s::text ~ %s::text", asked).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize(
    ("pattern", "text", "does"),
    [
        ("Steven.*", "Steven Spielberg", True),
        ("Steven.*", "Ann Steven", False),
        ("steven.*", "Steven Spielberg", False),
        ('"St.".*', "St. Moritz", True),
        ('"St.".*', "Star", False),
        ('"a|(b"', "a|(b", True),
        (r"St\..*", "St. Moritz", True),
        (r"St\..*", "Star", False),
        ("[A-C]b{2,3}", "Bbbb", True),
        ("[^A-C]b{2}", "Abb", False),
        ("[a-]+", "a-a", True),
        (r"[\]^]", "]", True),
        ("a|bc", "bc", True),
        ("a|bc", "ac", False),
        ("$^", "$^", True),
        ("Über.", "Übers", True),
        (".", "😀", True),
        (r"\d", "d", True),
        (r"\d", "1", False),
        ('""', "", True),
        ("a.b", "a\nb", True),
    ],
)
def test_the_whole_value_counts(
    connection: Connection, pattern: str, text: str, does: bool
) -> None:
    assert matches(connection, pattern, text) is does


@pytest.mark.parametrize(
    ("pattern", "position"),
    [("", 0), ("a)", 1), ("(a", 2), ("*a", 0), ("a**", 2), ("[]", 2), ("a{3,1}", 6), ("a|", 2),
     ("a&b", 1), ('"a', 2), ("(a{20}){20}", 11), ("a{200}", 6), ("(" * 9 + "a" + ")" * 9, 8),
     ("a" * 201, 200), ("a\\", 2), ("[b-a]", 4), ("a{x}", 1)],
)  # fmt: skip
def test_what_cannot_be_read_is_said_where(pattern: str, position: int) -> None:
    with pytest.raises(PatternError) as error:
        patterns.translate(pattern)
    assert error.value.position == position


@pytest.mark.parametrize(
    "pattern",
    ["(a|a)*b", "(a*)*b", "((a|aa)+)+b", "(a?){100}a{100}", "(.*a){10}.{10}", "((a{1,10}){1,10})b",
     "(a|b|ab)*c", "(.*.*)*x"],
)  # fmt: skip
def test_no_expression_takes_long(connection: Connection, pattern: str) -> None:
    """Where engines that backtrack take ages; the timeout is the one of a serving connection."""
    connection.execute("set local statement_timeout = 2000")
    for text in ("a" * 300, "ab" * 150, "a" * 299 + "!"):
        matches(connection, pattern, text)


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", '"a.b"', r"\.", "c"])
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=expressions, text=st.text("abc.", max_size=8))
def test_it_means_what_python_means(connection: Connection, pattern: str, text: str) -> None:
    python = pattern.replace('"a.b"', r"(?:a\.b)")
    assert matches(connection, pattern, text) is bool(re.fullmatch(python, text, re.DOTALL))
