"""Makes `words.txt.gz` anew from Debian's word lists:

apt-get install wamerican wbritish
python ranking/catalog/english/make.py
"""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path

LISTS = ("/usr/share/dict/american-english", "/usr/share/dict/british-english")
MADE = Path(__file__).with_name("words.txt.gz")
SHORTEST = 3


def words(lists: list[Path]) -> list[str]:
    """Their words in small letters, without accents; no names, which have capitals."""
    found = {line.strip() for path in lists for line in path.read_text("utf-8").splitlines()}
    bare = {_bare(word) for word in found if word.islower() and word.isalpha()}
    return sorted(word for word in bare if len(word) >= SHORTEST)


def _bare(word: str) -> str:
    return "".join(
        one for one in unicodedata.normalize("NFD", word) if not unicodedata.combining(one)
    )


if __name__ == "__main__":
    text = "\n".join(words([Path(one) for one in LISTS]))
    MADE.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{MADE.name}: {text.count(chr(10)) + 1:,} words")
