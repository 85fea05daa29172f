"""Formulas mean what a plain evaluator makes of them, and sorting keeps to its ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.merchandising import order
from ranking.merchandising.order import FormulaError, Key

# A formula as text beside what it is: number, name, or (function, arguments).
Tree = Any
NAMES = ("sale_price", "margin", "custom_attributes.x", "_search_score")


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise ArithmeticError
    return value


PLAIN: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: a / b, "%": lambda a, b: a % b, "^": math.pow, "**": math.pow,
    "pow": math.pow, "maximum": max, "minimum": min, "sqrt": math.sqrt, "exp": math.exp,
    "log": math.log, "log2": math.log2, "log10": math.log10, "abs": abs,
    "round": lambda a: float(round(a)), "floor": lambda a: float(math.floor(a)),
    "ceil": lambda a: float(math.ceil(a)), "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "asin": math.asin, "acos": math.acos, "atan": math.atan, "negative": lambda a: -a,
}  # fmt: skip


def plain(tree: Tree, values: dict[str, float]) -> float:
    """Its value, ArithmeticError or ValueError where there is none."""
    if isinstance(tree, float):
        return tree
    if isinstance(tree, str):
        return finite(values[tree])
    function, *arguments = tree
    return finite(PLAIN[function](*(plain(one, values) for one in arguments)))


def spelled(tree: Tree) -> str:
    """As text, with no more brackets than are needed to say so."""
    if isinstance(tree, float):
        return repr(tree)
    if isinstance(tree, str):
        return tree
    function, *arguments = tree
    texts = [spelled(one) for one in arguments]
    if function == "negative":
        return f"(-{texts[0]})"
    if not function[0].isalpha():
        return f"({texts[0]} {function} {texts[1]})"
    return f"{function}({', '.join(texts)})"


numbers = st.floats(0, 50, allow_nan=False).map(lambda one: round(one, 2))
# What is rounded as IEEE 754 says must be equal to the last bit, however deep.
EXACT = ["+", "-", "*", "/", "%", "maximum", "minimum"]
EXACT_OF_ONE = ["sqrt", "abs", "round", "floor", "ceil", "negative"]
trees = st.recursive(
    st.one_of(numbers, st.sampled_from(NAMES)),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(EXACT), inner, inner),
        st.tuples(st.sampled_from(EXACT_OF_ONE), inner),
    ),
    max_leaves=8,
)
held = st.one_of(st.just(math.nan), st.integers(-9, 9).map(float), numbers)


def both(tree: Tree, values: dict[str, float]) -> tuple[float, float]:
    """A formula by ours, and by the plain evaluator."""
    key = Key(order.parse(spelled(tree)), default=-7.0)
    arrays = {name: np.array([value]) for name, value in values.items()}
    [found] = order.evaluated(key, arrays, 1)
    try:
        return float(found), plain(tree, values)
    except (ArithmeticError, ValueError):
        return float(found), -7.0


@given(tree=trees, values=st.fixed_dictionaries(dict.fromkeys(NAMES, held)))
def test_a_formula_is_what_a_plain_evaluator_makes_of_it(
    tree: Tree, values: dict[str, float]
) -> None:
    found, expected = both(tree, values)
    assert found == expected


@given(function=st.sampled_from(sorted(PLAIN)), one=held, other=held)
def test_every_function_is_the_one_of_its_name(function: str, one: float, other: float) -> None:
    of_two = function in (*EXACT, "^", "**", "pow")
    tree = (function, "sale_price", "margin") if of_two else (function, "sale_price")
    found, expected = both(tree, {"sale_price": one, "margin": other})
    assert math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7), ("-2^2", -4), ("2^3^2", 512), ("2**-1", 0.5), ("7 - 3 - 2", 2),
        ("8 / 4 / 2", 1), ("-7 % 3", 2), ("(1 + 2) * 3", 9), ("pow(2, 3)", 8), ("1/0", -1),
        ("log(0)", -1), ("sqrt(-1)", -1), ("1 / exp(1000)", -1), ("margin", -1), ("margin^0", -1),
        ("maximum(margin, 3)", -1), ("sale_price*2", 20), (".5 + 1e1", 10.5), ("- -3", 3),
        ("attributes.a-b", 5), ("round(2.5)", 2),
    ],
)  # fmt: skip
def test_what_some_formulas_are(text: str, value: float) -> None:
    values = {"sale_price": 10.0, "margin": math.nan, "custom_attributes.a-b": 5.0}
    arrays = {name: np.array([one]) for name, one in values.items()}
    assert order.evaluated(Key(order.parse(text), default=-1.0), arrays, 1) == [value]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0), ("nonsense", 0), ("1 + nonsense", 4), ("title", 0), ("sale_price +", 12),
        ("foo(1)", 0), ("pow(1)", 0), ("sqrt(1, 2)", 0), ("1 2", 2), ("(1", 2), ("sqrt", 0),
        ("__import__", 0), ("sale_price.x", 0), ("custom_attributes", 0), ("'a'", 0), ("1;2", 1),
        ("1" * 501, 500), ("_score", 0), ("max(1, 2)", 0), ("a.__class__", 0),
    ],
)  # fmt: skip
def test_what_cannot_be_ordered_by_is_said_where(text: str, position: int) -> None:
    with pytest.raises(FormulaError) as error:
        order.parse(text)
    assert error.value.position == position


def test_a_formula_may_be_long_and_not_deep() -> None:
    for text in ("-" * 100 + "1", "(" * 249 + "1" + ")" * 249, "1" + "+1" * 100, "2" + "^1" * 100):
        assert len(order.evaluated(Key(order.parse(text)), {}, 3)) == 3
    for text in (
        "-" * 101 + "1",
        "1" + "+1" * 101,
        "2" + "^1" * 101,
        "abs(" * 101 + "1" + ")" * 101,
    ):
        with pytest.raises(FormulaError, match=r"deeper|longer"):
            order.parse(text)


rows = st.lists(
    st.tuples(*[st.sampled_from([0.0, 1.0, 1.04, 1.09, 2.0, -1.0, -1.02, 5.0])] * 2), max_size=12
)


@given(
    rows=rows,
    thresholds=st.tuples(*[st.sampled_from([0.0, 0.05, 0.5])] * 2),
    descending=st.tuples(st.booleans(), st.booleans()),
)
def test_ties_go_on_from_one_to_the_next(
    rows: list[tuple[float, float]],
    thresholds: tuple[float, float],
    descending: tuple[bool, bool],
) -> None:
    """Against the rule applied by hand: sort, cut where two neighbours differ, go on inside."""

    def by_hand(places: list[int], level: int) -> list[list[int]]:
        if level == 2:
            return [places]
        sign = -1 if descending[level] else 1
        places = sorted(places, key=lambda at: sign * rows[at][level])
        groups: list[list[int]] = []
        for at in places:
            here = rows[at][level]
            last = rows[groups[-1][-1]][level] if groups else None
            if last is not None and abs(here - last) <= thresholds[level] * max(
                abs(here), abs(last)
            ):
                groups[-1].append(at)
            else:
                groups.append([at])
        return [inner for group in groups for inner in by_hand(sorted(group), level + 1)]

    keys = [
        (Key(order.Number(0.0), descending[n], threshold=thresholds[n]),
         np.array([row[n] for row in rows]))
        for n in range(2)
    ]  # fmt: skip
    found, tie = order.sorted_by(keys)
    expected = by_hand(list(range(len(rows))), 0) if rows else []
    assert [found[tie == number].tolist() for number in np.unique(tie)] == [
        sorted(group) for group in expected
    ]


def test_equal_ones_keep_the_order_they_came_in() -> None:
    key = Key(order.Number(0.0))
    found, tie = order.sorted_by([(key, np.array([1.0, 2.0, 1.0, 2.0]))])
    assert found.tolist() == [1, 3, 0, 2]
    assert tie.tolist() == [0, 0, 1, 1]
