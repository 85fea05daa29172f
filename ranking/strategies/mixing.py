"""How several reasons to show a product become one score, each a named part of it.

Pure. A nearness (a cosine, a logit) and a share of what others took are added as odds, not as
ranks: where ranks are joined, a new product, which stands in one list only, is nowhere
(docs/decisions.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ranking.question import Candidate

Parts = dict[str, float]


def added(
    nearness: float, share: float, *, weight: float, temperature: float, top: float = 1.0
) -> float:
    """What a share (0 to 1) adds to a nearness, in points of nearness.

    It is what makes exp(sum / temperature) = exp(nearness / temperature) + weight · share ·
    exp(top / temperature): shares of a softmax and shares of neighbours summed, on the scale of the
    nearness. `top` is where a share of all counts `weight` times as much as a nearness of `top`: 1
    for cosines, the logarithm of the softmax's sum for logits. Nothing where the share is nothing;
    a nearness of `top` and a share of all come to top + `most(weight, temperature)` together.
    """
    if share <= 0:
        return 0.0
    odds = math.log(weight * share) + (top - nearness) / temperature
    # log(1 + exp(odds)), which would overflow where odds are high.
    return temperature * (max(odds, 0.0) + math.log1p(math.exp(-abs(odds))))


def most(weight: float, temperature: float) -> float:
    """By how much shares can lift a score above the highest nearness."""
    return temperature * math.log1p(weight)


def scaled(points: Mapping[str, float], whole: float) -> Parts:
    """The parts of a score from 0 to 1; `whole` is what all points of one product can come to."""
    return {name: value / whole for name, value in points.items()}


def best(candidates: Mapping[int, Candidate], limit: int) -> list[Candidate]:
    """Those with the highest score, ties by number."""
    ordered = sorted(candidates.values(), key=lambda one: (-one.score, one.product_no))
    return ordered[:limit]
