"""`python -m bench [QUESTION …]`: run the questions, print their JSON lines.

Without a name all but the long ones are run.
"""

from __future__ import annotations

import sys
from importlib import import_module

from bench.report import note

QUESTIONS = (
    "quality", "search_quality", "recommend", "search", "engine", "webhook", "collector", "shopify",
    "interactions", "importing", "freshness", "encode", "footprint", "tenants", "slow", "soak",
)  # fmt: skip
LONG = (
    "affinities", "curve", "diversity", "exploration", "learning", "mixing", "neighbours",
    "typesense",
)  # fmt: skip


def main() -> None:
    """Every short question, or those named; an unknown name ends it with a sentence."""
    chosen = sys.argv[1:] or QUESTIONS
    known = QUESTIONS + LONG
    if unknown := [name for name in chosen if name not in known]:
        sys.exit(f"bench: there is no question {unknown[0]!r}; there are: {', '.join(known)}")
    for name in chosen:
        note(f"bench: {name}")
        for line in import_module(f"bench.{name}").run():
            line.print()


main()
