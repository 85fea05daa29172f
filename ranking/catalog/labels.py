"""Readable names for groups of products: the words that tell one apart from the others, as people
typed them. Pure; clusters asks.

Class-based TF-IDF: a word's count in a group times log(1 + A / f), where f is its count in all
groups and A what a group counts on average (Grootendorst, "BERTopic", 2022, arXiv:2203.05794).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ranking.catalog import words

LEAST_WORDS, WORDS, MOST_WORDS = 2, 3, 4
SHORTEST = 3  # characters, in scripts that have blanks between words
LONGEST_UNBROKEN = 8  # characters: a longer run without blanks is a sentence
LEAST_SHARE = 0.08  # of a group's products: what fewer say is about them alone
SAYS_LITTLE = 0.2  # of what the first word says: then two words do
FIELDS = ("title", "brand", "color", "material")

Said = dict[str, str]  # by what its forms have in common: the word as it was typed
Label = tuple[str, ...]


def said(record: dict[str, Any]) -> Said:
    """The words of a product, each once: of its title, brand, categories, tags, color, material."""
    language = words.language_of(record)
    return {
        _stem(token.word or typed, language): typed
        for text in _texts(record)
        for token in words.tokens(text)
        if _is_telling(typed := text[token.start : token.end], token.word)
    }


def labels(
    groups: Mapping[int, Sequence[Said]], kept: Mapping[int, Label] | None = None
) -> dict[int, Label]:
    """Two to four words for each group, those that say most first; no two groups have the same
    ones. `groups` are the products of each, the most typical first; `kept` are labels that stay."""
    kept = kept or {}
    counts = {group: Counter(key for one in said for key in one) for group, said in groups.items()}
    everywhere: Counter[str] = sum(counts.values(), Counter())
    average = everywhere.total() / max(1, len(counts))
    taken = {frozenset(label) for label in kept.values()}
    found = dict(kept)
    for group in sorted(set(groups) - set(kept)):
        scores = _scores(counts[group], everywhere, average, len(groups[group]))
        label = _free(list(_apart(_typed(groups[group], scores))), scores, taken, group)
        taken.add(frozenset(label))
        found[group] = label
    return found


# words of a product -----------------------------------------------------------------------------


def _texts(record: dict[str, Any]) -> Iterator[str]:
    yield from (value for name in FIELDS if isinstance(value := record.get(name), str))
    for path in record.get("categories") or ():
        yield from (one for one in path if isinstance(one, str))
    yield from (one for one in record.get("tags") or () if isinstance(one, str))


def _is_telling(typed: str, word: str) -> bool:
    if not typed.isalpha() and not word.isalpha():
        return False
    if words.is_unbroken(typed):
        return len(typed) <= LONGEST_UNBROKEN
    return len(word) >= SHORTEST and word not in words.FUNCTION_WORDS


def _stem(word: str, language: str) -> str:
    """What `mug` and `mugs` have in common."""
    return min(words.forms(word, (language,)), key=lambda form: (len(form), form))


# words of a group -------------------------------------------------------------------------------


def _scores(
    counts: Counter[str], everywhere: Mapping[str, int], average: float, products: int
) -> dict[str, float]:
    """What each word says of a group, most first."""
    enough = LEAST_SHARE * products
    scores = {
        word: count * math.log(1 + average / everywhere[word])
        for word, count in counts.items()
        if count >= enough
    }
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def _typed(group: Iterable[Said], scores: Mapping[str, float]) -> dict[str, str]:
    """The words as most people type them."""
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in group:
        for key, typed in one.items():
            if key in scores:
                forms[key][typed] += 1
    return {key: min(forms[key].items(), key=lambda item: (-item[1], item[0]))[0] for key in scores}


def _apart(typed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(key, word) without those that only make a chosen one longer or shorter."""
    chosen: list[str] = []
    for key, word in typed.items():
        low = word.casefold()
        if not any(low.startswith(one) or one.startswith(low) for one in chosen):
            chosen.append(low)
            yield key, word


def _free(
    ranked: Sequence[tuple[str, str]],
    scores: Mapping[str, float],
    taken: Collection[frozenset[str]],
    group: int,
) -> Label:
    """The first words that no other group is called by; a number where there are none."""
    telling = [word for _, word in ranked]
    for label in _choices(telling, _how_many(ranked, scores)):
        if label and frozenset(label) not in taken:
            return label
    return (*telling[:WORDS], str(group))


def _how_many(ranked: Sequence[tuple[str, str]], scores: Mapping[str, float]) -> int:
    if len(ranked) < WORDS:
        return len(ranked)
    best, last = scores[ranked[0][0]], scores[ranked[WORDS - 1][0]]
    return LEAST_WORDS if last < SAYS_LITTLE * best else WORDS


def _choices(telling: Sequence[str], wanted: int) -> Iterator[Label]:
    for count in range(wanted, min(MOST_WORDS, len(telling)) + 1):
        yield tuple(telling[:count])
    for other in telling[MOST_WORDS:]:
        yield (*telling[:WORDS], other)
