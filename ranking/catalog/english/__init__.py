"""The words that everybody knows, so that what a shop does not sell is no misspelling of what it
does. catalog/spelling asks.

The language model's own words are not enough: it knows `cook` and makes `cooker` of two pieces.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from ranking.catalog import encoder


def knows(word: str) -> bool:
    """Whether a folded word is in a dictionary of English, or a name or word of another language
    that is common enough in English for the model to have it as a whole."""
    return word in _words() or encoder.knows(word)


@cache
def _words() -> frozenset[str]:
    text = gzip.decompress(Path(__file__).with_name("words.txt.gz").read_bytes()).decode()
    return frozenset(text.split("\n"))
