"""The words of a catalog, and those a misspelt one may mean."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.catalog import suggestions, vocabulary
from ranking.catalog.vocabulary import distance_of, keys_of
from tests.ranking.catalog.catalogs import NOW, Catalog, a_product

letters = st.text("abcde", min_size=3, max_size=11)


def refresh(catalog: Catalog) -> dict[str, int]:
    return suggestions.refresh(catalog.connection, catalog.site_id, NOW, everything=True)


def words(catalog: Catalog) -> dict[str, tuple[str, int]]:
    rows = catalog.connection.execute(
        "select word, surface, products from vocabulary where site_id = %s", [catalog.site_id]
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def meant(catalog: Catalog, word: str) -> list[str]:
    asked = {word: vocabulary.edits(word)}
    found = vocabulary.near(catalog.connection, catalog.site_id, asked)
    return [one.word.word for one in found[word]]


def one_edit(word: str) -> set[str]:
    """All that one typo makes of a word over these few letters."""
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    some = "abcde"
    return (
        {left + right[1:] for left, right in cuts if right}
        | {left + one + right for (left, right), one in product(cuts, some)}
        | {left + one + right[1:] for (left, right), one in product(cuts, some) if right}
        | {left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1}
    )


def slow_distance(one: str, other: str, most: int) -> int:
    """By trying every typo after every typo."""
    reached = {one}
    for edits in range(most + 1):
        if other in reached:
            return edits
        if edits < most:
            reached = {made for word in reached for made in one_edit(word)}
    return most + 1


@given(
    word=st.text("abcde", min_size=1, max_size=6), typed=st.text("abcde", min_size=1, max_size=6)
)
def test_the_distance_is_the_least_number_of_typos(word: str, typed: str) -> None:
    found = distance_of(typed, word, 1)
    assert (2 if found is None else found) == slow_distance(typed, word, 1)


@given(word=letters, typed=letters)
def test_what_a_prefix_needs_is_the_least_of_what_its_beginnings_need(
    word: str, typed: str
) -> None:
    each = [distance_of(typed, word[:end], 2) for end in range(len(word) + 1)]
    assert distance_of(typed, word, 2, begins=True) == min(
        (one for one in each if one is not None), default=None
    )


@given(word=letters, data=st.data())
def test_a_word_shares_a_key_with_whatever_few_typos_make_of_it(
    word: str, data: st.DataObject
) -> None:
    typed = word
    for _ in range(vocabulary.edits(word)):
        typed = data.draw(st.sampled_from(sorted(one_edit(typed))))
    most = vocabulary.edits(typed)
    if distance_of(typed, word, most) is not None:
        asked = set(vocabulary._keys("1/", typed[: vocabulary.HEAD], most))
        assert asked & set(keys_of(1, word))


@given(word=st.text("abcde", min_size=5, max_size=11), data=st.data())
def test_a_beginning_with_a_typo_shares_one_too(word: str, data: st.DataObject) -> None:
    begun = word[: data.draw(st.integers(4, len(word)))]
    typed = data.draw(st.sampled_from(sorted(one_edit(begun))))
    if len(typed) >= min(vocabulary.BEGINNINGS):
        keys = set(vocabulary._keys("1/", typed[: vocabulary.HEAD], 1))
        if len(typed) in vocabulary.BEGINNINGS:
            keys |= set(vocabulary._keys("1~", typed, 1))
        assert keys & set(keys_of(1, word))


def test_words_are_counted_by_product_as_they_are_mostly_written(catalog: Catalog) -> None:
    catalog.upload(
        a_product("p1", title="Café mug mug", brand="LEGO", categories=[["Home", "Mugs"]]),
        a_product("p2", title="café Mug", brand="LEGO", tags=["Blue"], description="words apart"),
        a_product("p3", title="CAFÉ 42 x3", brand="Lego"),
    )
    refresh(catalog)
    found = words(catalog)
    assert (found["cafe"][1], found["mug"]) == (3, ("mug", 2))
    assert found["lego"] == ("LEGO", 3)
    assert {"home", "mugs", "blue"} <= set(found)
    assert not {"apart", "42", "x3"} & set(found)


def test_only_what_changed_is_written(catalog: Catalog) -> None:
    catalog.upload(*(a_product(f"p{n}", title=f"red thing{'abc'[n]}") for n in range(3)))
    assert refresh(catalog)["words"] >= 4
    assert refresh(catalog) == {"words": 0, "completions": 0}
    catalog.upload(a_product("p0", title="red lamp", ago=0))
    assert refresh(catalog) == {"words": 2, "completions": 2}
    assert "lamp" in words(catalog) and "thinga" not in words(catalog)


def test_a_catalog_is_read_again_when_its_words_changed(catalog: Catalog) -> None:
    catalog.upload(a_product("p0", title="red hat"))

    def again() -> bool:
        return bool(suggestions.refresh(catalog.connection, catalog.site_id, NOW))

    assert again()
    catalog.connection.execute("update suggestion_sites set took_s = 0")
    assert not again()
    catalog.upload(a_product("p1", title="red mug"))
    assert again()
    catalog.connection.execute("update suggestion_sites set took_s = 10")
    catalog.upload(a_product("p2", title="red cup"))
    assert not again()


@pytest.mark.parametrize(
    ("typed", "word"),
    [("whte", "white"), ("denem", "denim"), ("robniod", "robinod"), ("cup", "cap"), ("mgu", "mug"),
     ("chocloatte", "chocolate")],
)  # fmt: skip
def test_the_word_that_was_meant_is_found(catalog: Catalog, typed: str, word: str) -> None:
    catalog.upload(a_product("p1", title="white denim robinod cap mug chocolate", description=""))
    refresh(catalog)
    assert word in meant(catalog, typed)


def test_another_sites_words_are_not_meant(catalog: Catalog) -> None:
    catalog.upload(a_product("p1", title="white denim"))
    refresh(catalog)
    other = vocabulary.near(catalog.connection, catalog.site_id + 1, {"whte": 1})
    assert other == {"whte": []}
