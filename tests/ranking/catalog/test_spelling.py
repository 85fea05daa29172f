"""Queries with misspelt words."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import access
from ranking.catalog import english, spelling, suggestions
from ranking.catalog.spelling import Spelling
from schemas.database import Connection
from tests.ranking.market import Market, open_market

TITLES = (
    "White denim jeans", "White cotton shirt", "Whale lamp", "Robin Hood: Prince of Thieves",
    "Mechanical keyboard", "Python cookbook", "Café table", "Running shoes", "Chocolate mug",
    "Denim jacket", "Red mug", "Spinning wheel 2000", "Garden hose", "Garden house", "Hose clamp",
)  # fmt: skip
WORDS = sorted({word.strip(":").lower() for title in TITLES for word in title.split()})
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def shop(connection: Connection) -> Market:
    access.forget()
    market = open_market(connection)
    market.stock(*TITLES, encode=False, description="Perfectly comfortable everywhere")
    suggestions.refresh(connection, market.site_id, market.now)
    return market


def corrected(shop: Market, query: str) -> Spelling:
    return spelling.corrected(shop.connection, shop.site_id, query, ("en",))


@pytest.mark.parametrize(
    ("query", "original", "meant"),
    [
        ("whte denem jeans", "<mark>whte</mark> <mark>denem</mark> jeans",
         "<mark>white</mark> <mark>denim</mark> jeans"),
        ("what is pythn", "what is <mark>pythn</mark>", "what is <mark>python</mark>"),
        ("  Chocolat,  MUGG ", "  <mark>Chocolat</mark>,  <mark>MUGG</mark> ",
         "  <mark>Chocolate</mark>,  <mark>MUG</mark> "),
        ("robinhood", "<mark>robinhood</mark>", "<mark>robin</mark> <mark>hood</mark>"),
        ("mechanical key board", "mechanical <mark>key</mark> <mark>board</mark>",
         "mechanical <mark>keyboard</mark>"),
        ("caffe", "<mark>caffe</mark>", "<mark>café</mark>"),
        ("demin", "<mark>demin</mark>", "<mark>denim</mark>"),
    ],
    ids=["letters", "one-of-three", "case-and-spaces", "space-missing", "space-too-many", "accent",
         "transposed"],
)  # fmt: skip
def test_misspelt_words_are_marked_one_by_one(
    shop: Market, query: str, original: str, meant: str
) -> None:
    found = corrected(shop, query)
    assert (found.original, found.original_marked) == (query, original)
    assert found.corrected_marked == meant
    assert found.corrected == meant.replace("<mark>", "").replace("</mark>", "")


@pytest.mark.parametrize(
    "query",
    ["white", "WHITE Denim", "jean", "shoe", "runs", "comfortable", "cafe", "2000", "2001", "mugg1",
     "rd", "*", "?!", "", "qwzxkvjp", "絹の布", "garden hose", "the of and",
     "rug", "sofa", "beer", "bike wife", "lute", "whaler", '"pythn"', 'red "pythn demin"'],
)  # fmt: skip
def test_what_is_right_or_unknown_stays(shop: Market, query: str) -> None:
    assert corrected(shop, query) == spelling.unchanged(query)


def test_of_equally_near_words_the_one_that_goes_with_the_others(shop: Market) -> None:
    shop.stock("jute bag", "cute dog", "cute cat", encode=False)
    suggestions.refresh(shop.connection, shop.site_id, shop.now, everything=True)
    assert corrected(shop, "bag vute").corrected == "bag jute"
    assert corrected(shop, "dog vute").corrected == "dog cute"
    assert corrected(shop, "vute").corrected == "cute"


def test_of_equally_near_words_the_one_that_more_products_have(shop: Market) -> None:
    shop.stock("boat one", "boot two", "boot three", encode=False)
    suggestions.refresh(shop.connection, shop.site_id, shop.now, everything=True)
    assert corrected(shop, "boxt").corrected == "boot"
    assert corrected(shop, "boxt one").corrected == "boat one"


def test_a_new_products_word_is_no_error(shop: Market) -> None:
    assert corrected(shop, "pythan").is_wrong
    shop.product("Pythan 3", encode=False)
    assert not corrected(shop, "pythan").is_wrong


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chosen=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), upper=st.booleans())
def test_a_query_of_existing_words_is_never_changed(
    shop: Market, chosen: list[str], upper: bool
) -> None:
    query = "  ".join(chosen)
    query = query.upper() if upper else query
    assert corrected(shop, query) == spelling.unchanged(query)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(word=st.sampled_from([one for one in WORDS if len(one) > 4 and one.isalpha()]),
       chance=st.integers(0, 10**6))  # fmt: skip
def test_a_typo_is_undone_or_left_alone(shop: Market, word: str, chance: int) -> None:
    """Left alone where it makes another word; another word as near may be meant too."""
    typed = a_typo(word, Random(chance))
    found = corrected(shop, typed)
    near = [one for one in WORDS if distance(typed, one) == 1]
    if found.is_wrong:
        assert spelling.words.fold(found.corrected) in map(spelling.words.fold, near)
    else:
        assert (
            typed in WORDS
            or english.knows(typed)
            or spelling._occurs(shop.connection, shop.site_id, typed, ("en",))
        )


def distance(one: str, other: str) -> int | None:
    return spelling.vocabulary.distance_of(one, spelling.words.fold(other), 2)


def a_typo(word: str, chance: Random) -> str:
    at, letter = chance.randrange(len(word) - 1), chance.choice(LETTERS)
    return chance.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )
