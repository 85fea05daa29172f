"""What each part of a search's score counts.

A score is from 0 to 1 and says how a product was found: the title is the text from .7 up, all words
occur from .3 up, below some words occur or it is near in meaning. No sum of the other parts lifts a
product over one with better words.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ranking.question import Search
from ranking.visitors import cohort

EXACT, LEAST, SPREAD = 0.7, 0.3, 0.1
# Chosen on three weeks of Online Retail before its test cut (bench/search_quality.py), where .08 to
# .12 of meaning, .12 to .16 of interest and .06 to .08 of popularity were about as good.
WITH_WORDS = {"meaning": 0.10, "interest": 0.13, "popularity": 0.07}
BY_MEANING = {"meaning": 0.24, "interest": 0.04, "popularity": 0.02}
# Where some words may do, for what has not all of them.
BY_SOME_WORDS = {"words": 0.16, "meaning": 0.08, "interest": 0.04, "popularity": 0.02}
# Of the others' weight, where a text is given that products should be like.
LIKENESS = 0.4
# Of the span above LEAST, where a language is asked for: those in it stand before all others whose
# title is not the text.
LANGUAGE = 0.5

Weights = Mapping[str, float]


def weights(search: Search) -> Weights:
    """By name: `with_…` where all words occur, `near_…` elsewhere; `exact`, `least` and `spread` of
    the words."""
    return _weights(search.personal, bool(search.like), bool(search.language), bool(search.partial))


@lru_cache(256)
def _weights(personal: float, like: bool, language: bool, partial: bool) -> Weights:
    kept = 1.0 - LANGUAGE if language else 1.0
    found = {
        "exact": LEAST + kept * (EXACT - LEAST),
        "least": LEAST,
        "spread": kept * SPREAD,
        "with_language": (1.0 - kept) * (1.0 - LEAST),
        "near_language": (1.0 - kept) * LEAST,
        "near_words": 0.0,
    }
    for kind, parts in (("with", WITH_WORDS), ("near", BY_SOME_WORDS if partial else BY_MEANING)):
        others = sum(weight for name, weight in parts.items() if name != "words")
        found[f"{kind}_likeness"] = kept * LIKENESS * others if like else 0.0
        for name, weight in parts.items():
            share = 1.0 - LIKENESS if like and name != "words" else 1.0
            found[f"{kind}_{name}"] = kept * share * weight
        found[f"{kind}_interest"] *= personal
    return found


def fits(search: Search, parts: Mapping[str, float]) -> float:
    """How well a product fits the visitor, from 0 to 1, as much as the visitor is to count."""
    kind = "with" if "words" in parts else "near"
    whole = weights(search)[f"{kind}_interest"]
    interest = parts.get("interest", parts.get(cohort.PART, 0.0))
    return min(1.0, search.personal * interest / whole) if whole else 0.0
