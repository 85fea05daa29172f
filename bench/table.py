"""`python -m bench.table < LINES`: the JSON lines of `make bench` as the README's table."""

from __future__ import annotations

import json
import sys
from typing import Any


def row(line: dict[str, Any]) -> str:
    """One Markdown row: question, figure, what it is compared with, bar."""
    figure = f"{line['figure']:,.4g}" if line["figure"] < 1000 else f"{line['figure']:,.0f}"
    ratio = f"{line['ratio']:.2f} of {line['baseline']:,.4g}" if line["ratio"] else ""
    bar = f"{line['bar']} {'met' if line['met'] else '**missed**'}" if line["bar"] else ""
    return f"| {line['question']} | {figure} {line['unit']} | {ratio} | {bar} |"


def main() -> None:
    """Anything but JSON lines is left out."""
    print("| question | figure | against the baseline of the same run | bar |\n|---|---|---|---|")
    for text in sys.stdin:
        if text.startswith("{"):
            print(row(json.loads(text)))


main()
