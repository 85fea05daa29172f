"""Makes the demo's two data files from the Online Retail set; run by hand, its output is committed.

`python demo/make.py [FOLDER]`, where FOLDER holds `items.jsonl.gz` and `events.jsonl.gz`.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "shared" / "data" / "online-retail"
DAY_S = 86_400
DAYS = 90
ANONYMOUS = "anon-"
# "Box with lid": what stands before these words names the product.
ASIDE = re.compile(r"\b(?:with|w|in|for|from)\b")
SPELLINGS = {
    "t-light": "t light",
    "tlight": "t light",
    "&": " and ",
    "light blue": "pale blue",
    "light pink": "pale pink",
}
MOTIFS = "?"


def main(source: Path = SOURCE) -> None:
    """Write both files and say how many products have a category."""
    found = products(read(source / "items.jsonl.gz"))
    write(HERE / "products.jsonl.gz", found)
    made = orders(read(source / "events.jsonl.gz"))
    write(HERE / "orders.jsonl.gz", made)
    with_category = sum("categories" in product for product in found)
    print(f"{len(found)} products, {with_category / len(found):.1%} with a category")
    print(f"{len(made)} orders, {sum(len(order['lines']) for order in made)} lines")


# products ----------------------------------------------------------------------------------------


def products(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records as `POST /v1/products` takes them; categories and tags are read off the title."""
    category = Categories.read(HERE / "categories.txt")
    tags = Tags.read(HERE / "tags.txt")
    return [product(item, category, tags) for item in items]


def product(
    item: dict[str, Any],
    category: Callable[[str], list[str] | None],
    tags: Callable[[str], list[str]],
) -> dict[str, Any]:
    """One record; a field that would be empty is left out."""
    title = spelled(item["title"])
    path = category(title)
    record = {
        "product_id": item["product_id"],
        "title": title,
        "categories": [path] if path else None,
        "tags": tags(title),
        "original_price": item["price"],
        "sale_price": item["price"],
    }
    return {name: value for name, value in record.items() if value}


@dataclass
class Department:
    """The phrases of a department's shelves, and the words that claim a title for it."""

    claims: list[str] = field(default_factory=list)
    shelves: dict[str, list[str]] = field(default_factory=dict)


class Categories:
    """The rules of categories.txt, as a function from a title to a path."""

    def __init__(self, departments: dict[str, Department]) -> None:
        self.claiming = {
            name: (pattern(found.claims), Shelves(found.shelves))
            for name, found in departments.items()
            if found.claims
        }
        self.shelves = Shelves(
            {
                f"{name} > {shelf}": phrases
                for name, found in departments.items()
                if not found.claims
                for shelf, phrases in found.shelves.items()
            }
        )
        self.last_shelf = {
            name: list(found.shelves)[-1].rstrip(MOTIFS) for name, found in departments.items()
        }

    @classmethod
    def read(cls, path: Path) -> Categories:
        departments: dict[str, Department] = {}
        for name, phrases in rules(path):
            department, _, shelf = name.partition(" > ")
            found = departments.setdefault(department.rstrip("!"), Department())
            if shelf:
                found.shelves[shelf] = phrases
            else:
                found.claims = phrases
        return cls(departments)

    def __call__(self, title: str) -> list[str] | None:
        """[department, shelf], or None where no rule speaks of this title."""
        text = plain(title)
        for department, (claims, shelves) in self.claiming.items():
            if claims.search(text):
                return [department, shelves.named_by(text) or self.last_shelf[department]]
        path = self.shelves.named_by(text)
        return path.split(" > ") if path else None


class Tags:
    """The rules of tags.txt: colours and motifs that a title names."""

    def __init__(self, tags: dict[str, list[str]]) -> None:
        self.patterns = {tag: pattern(phrases) for tag, phrases in tags.items()}

    @classmethod
    def read(cls, path: Path) -> Tags:
        return cls(dict(rules(path)))

    def __call__(self, title: str) -> list[str]:
        text = plain(title)
        return [tag for tag, found in self.patterns.items() if found.search(text)]


class Phrases:
    """Finds which name's phrase ends last in a text."""

    def __init__(self, named: dict[str, list[str]]) -> None:
        # One pattern a phrase: a single alternation would not see overlapping phrases.
        self.patterns = [
            (pattern([phrase]), phrase, name)
            for name, phrases in named.items()
            for phrase in phrases
        ]

    def last_in(self, text: str) -> str | None:
        ends = [
            (match.end(), len(phrase), name)
            for found, phrase, name in self.patterns
            for match in found.finditer(text)
        ]
        return max(ends)[2] if ends else None


class Shelves:
    """Finds the shelf of a text: by the thing it names, else by a motif it mentions."""

    def __init__(self, named: dict[str, list[str]]) -> None:
        self.things = Phrases({n: found for n, found in named.items() if not n.endswith(MOTIFS)})
        self.motifs = Phrases({n: found for n, found in named.items() if n.endswith(MOTIFS)})

    def named_by(self, text: str) -> str | None:
        head = ASIDE.split(text, maxsplit=1)[0]
        for phrases, part in itertools.product((self.things, self.motifs), (head, text)):
            found = phrases.last_in(part)
            if found is not None:
                return found.rstrip(MOTIFS)
        return None


def pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Any of the phrases as whole words, plural or not."""
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})(?:s|es)?\b")


def spelled(title: str) -> str:
    """The title without what its source's conversion to title case and to UTF-8 broke."""
    return re.sub(r"(?<=\w)'S\b", "'s", title).replace("Â£", "£")


def plain(title: str) -> str:
    """The title as the rules read it: small letters, one blank between words."""
    text = title.lower()
    for spelling, meant in SPELLINGS.items():
        text = text.replace(spelling, meant)
    return " ".join(re.sub(r"[^a-z0-9']+", " ", text).split())


def rules(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each rule of a file: its name, its phrases."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, phrases = line.partition(": ")
            yield name, [phrase.strip() for phrase in phrases.split(",")]


# orders ------------------------------------------------------------------------------------------


def orders(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The orders of the last 90 days, oldest first: {"id", "at", "customer"?, "lines"}.

    `at` is in unix seconds, a line is [product_id, quantity]; no customer is an anonymous order.
    """
    lines = sorted(events, key=lambda event: (event["session_id"], event["ts"]))
    made = [
        order(list(group)) for _, group in itertools.groupby(lines, key=lambda e: e["session_id"])
    ]
    newest = max(event["ts"] for event in lines)
    kept = [one for one in made if one["at"] > newest - DAYS * DAY_S]
    return sorted(kept, key=lambda one: (one["at"], one["id"]))


def order(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """One order from its lines in the sequence they were keyed."""
    first = lines[0]
    made = {
        "id": first["session_id"].removeprefix("s"),
        "at": first["ts"],
        "lines": [[line["product_id"], line["quantity"]] for line in lines],
    }
    if not first["user_id"].startswith(ANONYMOUS):
        made["customer"] = first["user_id"]
    return made


# files -------------------------------------------------------------------------------------------


def read(path: Path) -> list[dict[str, Any]]:
    """The objects of a gzipped JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Gzipped JSON lines; the same records give the same bytes."""
    lines = "".join(
        json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records
    )
    path.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
