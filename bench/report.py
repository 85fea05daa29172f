"""One JSON line a figure, with the baseline of the same run and the bar it is held to."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Line:
    """A figure; `met` is None where there is no bar, only something worth knowing."""

    question: str
    figure: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    bar: str | None = None
    met: bool | None = None

    def print(self) -> None:
        print(json.dumps(asdict(self)), flush=True)


def at_most(question: str, figure: float, unit: str, bar: float) -> Line:
    """A figure that must not exceed its bar."""
    return Line(question, round(figure, 3), unit, bar=f"<= {bar:g}", met=figure <= bar)


def at_least(question: str, figure: float, unit: str, bar: float) -> Line:
    """A figure that must reach its bar."""
    return Line(question, round(figure, 4), unit, bar=f">= {bar:g}", met=figure >= bar)


def against(
    question: str, figure: float, unit: str, baseline: float, *, least: float | None = None,
    most: float | None = None,
) -> Line:  # fmt: skip
    """A figure as a ratio to the baseline of the same run."""
    ratio = figure / baseline if baseline else float("inf")
    bar = f"ratio >= {least:g}" if least is not None else f"ratio <= {most:g}"
    met = ratio >= least if least is not None else ratio <= (most or 0.0)
    return Line(question, round(figure, 3), unit, round(baseline, 3), round(ratio, 3), bar, met)


def beside(question: str, figure: float, unit: str, baseline: float) -> Line:
    """A figure as a ratio to the baseline of the same run, without a bar."""
    ratio = round(figure / baseline, 3) if baseline else float("inf")
    return Line(question, round(figure, 3), unit, round(baseline, 3), ratio)


def known(question: str, figure: float, unit: str, *, digits: int = 3) -> Line:
    """A figure without a bar."""
    return Line(question, round(figure, digits), unit)


def note(text: str) -> None:
    """Progress, for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (0-100) by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(q / 100 * (len(ordered) - 1)))]
