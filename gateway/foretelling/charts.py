"""Charts as inline SVG: nothing is fetched, every figure is readable without a pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from markupsafe import Markup

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 240, 16, 40
GRID = 5  # lines
APART = 15  # points between labels at the right end


@dataclass(frozen=True)
class Series:
    """One method's shares (0 to 1) by label, with the class that colours it."""

    name: str
    kind: str
    values: Mapping[str, float]


def lines(series: Sequence[Series], labels: Sequence[str], title: str) -> Markup:
    """A line a series over the labels, named at its right end."""
    top = _top(series)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels) - 1)
    places = {label: LEFT + step * at for at, label in enumerate(labels)}
    pieces = [_axis(top), *(_below(places[one], one) for one in labels)]
    ends: list[tuple[float, Series]] = []
    for one in series:
        points = [(places[x], _height(one.values[x], top)) for x in labels if x in one.values]
        if not points:
            continue
        path = Markup(" ").join(Markup(f"{x:.1f},{y:.1f}") for x, y in points)
        pieces.append(Markup('<polyline class="line {}" points="{}"/>').format(one.kind, path))
        for label, (x, y) in zip([x for x in labels if x in one.values], points, strict=True):
            told = f"{one.name}, {label}: {100 * one.values[label]:.1f} of 100"
            pieces.append(
                Markup('<circle class="dot {}" cx="{}" cy="{}" r="4"><title>{}</title></circle>')
                .format(one.kind, f"{x:.1f}", f"{y:.1f}", told)
            )  # fmt: skip
        ends.append((points[-1][1], one))
    pieces += _ends(ends, WIDTH - RIGHT + 10)
    return _svg(pieces, title)


def bars(series: Sequence[Series], labels: Sequence[str], title: str) -> Markup:
    """Groups of bars, one a label, a bar a series; the figure above each."""
    top = _top(series)
    group = (WIDTH - LEFT - 12) / max(1, len(labels))
    width = min(46.0, (group - 14) / max(1, len(series)))
    pieces = [_axis(top, right=12)]
    for at, label in enumerate(labels):
        start = LEFT + group * at + (group - width * len(series)) / 2
        pieces.append(_below(LEFT + group * (at + 0.5), label))
        for number, one in enumerate(series):
            if label in one.values:
                pieces.append(_bar(one, label, start + width * number, width, top))
    return _svg(pieces, title)


def _bar(one: Series, label: str, x: float, width: float, top: float) -> Markup:
    share = one.values[label]
    y = _height(share, top)
    said = f"{one.name}, {label}: {100 * share:.1f} of 100"
    return Markup(
        '<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
        '<text class="value" x="{}" y="{}">{}</text>'
    ).format(
        one.kind, f"{x + 1:.1f}", f"{y:.1f}", f"{width - 2:.1f}",
        f"{max(0.0, HEIGHT - BOTTOM - y):.1f}", said,
        f"{x + width / 2:.1f}", f"{y - 4:.1f}", f"{100 * share:.0f}",
    )  # fmt: skip


def _top(series: Sequence[Series]) -> float:
    """The upper end of the axis: the next step of .05 above the highest value."""
    highest = max((value for one in series for value in one.values.values()), default=0.0)
    return max(0.05, ceil(highest * 1.08 / 0.05) * 0.05)


def _height(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _axis(top: float, right: int = RIGHT) -> Markup:
    pieces = []
    for line in range(GRID + 1):
        value = top * line / GRID
        y = _height(value, top)
        pieces.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text class="axis" x="{}" y="{}">{}</text>'
            ).format(
                LEFT, WIDTH - right, f"{y:.1f}", f"{y:.1f}",
                LEFT - 8, f"{y + 4:.1f}", f"{100 * value:.0f}",
            )
        )  # fmt: skip
    return Markup("").join(pieces)


def _below(x: float, label: str) -> Markup:
    return Markup('<text class="below" x="{}" y="{}">{}</text>').format(
        f"{x:.1f}", HEIGHT - BOTTOM + 20, label
    )


def _ends(ends: Sequence[tuple[float, Series]], x: float) -> list[Markup]:
    """The names, moved apart so that none lies over another."""
    placed: list[Markup] = []
    lowest = float("-inf")
    for y, one in sorted(ends, key=lambda end: end[0]):
        lowest = max(y, lowest + APART)
        placed.append(
            Markup('<text class="end {}" x="{}" y="{}">{}</text>').format(
                one.kind, x, f"{lowest + 4:.1f}", one.name
            )
        )
    return placed


def _svg(pieces: Sequence[Markup], title: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, Markup("").join(pieces)
    )
