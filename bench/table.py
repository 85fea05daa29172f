"""`python -m bench.table < LINES`: the JSON lines of `make bench` as the README's table."""

from __future__ import annotations

import json
import sys
from typing import Any


def row(line: dict[str, Any]) -> str:
    """One Markdown row: question, figure, what it is compared with, bar."""
    compared = f"{line['ratio']:.2f} of {_short(line['baseline'])}" if line["ratio"] else ""
    verdict = f"{line['bar']} {'met' if line['met'] else '**missed**'}" if line["bar"] else "none"
    figure = f"{_short(line['figure'])} {line['unit']}"
    return f"| {line['question']} | {figure} | {compared} | {verdict} |"


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"


def main() -> None:
    """Figures without a bar or a baseline, and anything but JSON lines, are left out."""
    print("| question | figure | against the baseline of the same run | bar |\n|---|---|---|---|")
    for text in sys.stdin:
        if not text.startswith("{"):
            continue
        line = json.loads(text)
        if line["bar"] or line["ratio"]:
            print(row(line))


main()
