"""`python -m bench [QUESTION …]`: run the questions, print their JSON lines."""

from __future__ import annotations

import sys
from importlib import import_module

from bench.report import note

QUESTIONS = (
    "quality", "recommend", "webhook", "interactions", "freshness", "encode", "footprint",
)  # fmt: skip


def main() -> None:
    """Every question, or those named; an unknown name ends it with a sentence."""
    chosen = sys.argv[1:] or QUESTIONS
    if unknown := [name for name in chosen if name not in QUESTIONS]:
        sys.exit(f"bench: there is no question {unknown[0]!r}; there are: {', '.join(QUESTIONS)}")
    for name in chosen:
        note(f"bench: {name}")
        for line in import_module(f"bench.{name}").run():
            line.print()


main()
