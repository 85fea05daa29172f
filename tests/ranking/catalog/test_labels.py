"""What groups of products are called."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ranking.catalog import labels

WORDS = ["red", "blue", "mug", "mugs", "hat", "lamp", "für", "Tasse", "12", "of", "日本語", "茶"]
TITLES = st.lists(st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join), max_size=6)


def group(*titles: str, **fields: Any) -> list[labels.Said]:
    return [labels.said({"title": title, **fields}) for title in titles]


@given(st.dictionaries(st.integers(1, 30), TITLES, max_size=8))
def test_labels_are_short_and_no_two_are_the_same(titles: dict[int, list[str]]) -> None:
    groups = {number: group(*some) for number, some in titles.items()}
    found = labels.labels(groups)
    assert set(found) == set(groups)
    assert all(1 <= len(label) <= labels.MOST_WORDS for label in found.values())
    assert len({frozenset(label) for label in found.values()}) == len(found)
    assert found == labels.labels(dict(reversed(groups.items())))


def test_a_group_is_called_by_what_tells_it_apart() -> None:
    found = labels.labels({
        1: group("Red Mug", "Blue Mug", "Green Mug"),
        2: group("Red Hat", "Blue Hat", "Green Hat"),
    })  # fmt: skip
    assert (found[1][0], found[2][0]) == ("Mug", "Hat")


def test_words_stand_as_most_people_typed_them_and_once() -> None:
    found = labels.labels({1: group("Wasserflaschen", "Wasserflasche", "wasserflasche rot",
                                    "Wasserflasche blau", language="de"),
                           2: group("Schal", "Schal", language="de")})  # fmt: skip
    assert found[1][0] == "Wasserflasche"
    assert sum("wasserflasche" in word.casefold() for word in found[1]) == 1


def test_what_stands_between_nouns_and_numbers_name_nothing() -> None:
    [label] = labels.labels({1: group("Set of 12 for the home", "Set of 12 and the home")}).values()
    assert {word.casefold() for word in label} <= {"set", "home"}


def test_scripts_without_blanks_have_words_too() -> None:
    assert labels.labels({1: group("茶碗", "茶碗"), 2: group("帽子", "帽子")})[1] == ("茶碗",)


def test_categories_brands_and_tags_are_words_too() -> None:
    told = {"brand": "Acme", "categories": [["Home", "Kitchen"]], "tags": ["gift"], "color": "red"}
    assert set(labels.said(told).values()) == {"Acme", "Home", "Kitchen", "gift", "red"}


def test_kept_labels_stay_and_are_nobody_elses() -> None:
    groups = {1: group("Mug", "Mug"), 2: group("Mug blue", "Mug blue")}
    found = labels.labels(groups, {1: ("Mug", "blue")})
    assert found[1] == ("Mug", "blue")
    assert frozenset(found[2]) != frozenset(found[1])
